"""X, y and weights of one call, checked together."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from torch.utils.data import Dataset

from skensemble._compat import check_sample_weight, check_y
from skensemble._types import Array, Floats, Input

from .containers import naming, open_container
from .intake import Intake, TableParameters
from .label_targets import targets_for
from .sources import DatasetInput, Source, open_in_memory
from .targets import Targets, Weight


class Examples(NamedTuple):
    """Checked rows of one call."""

    source: Source
    #: Encoded targets.
    y: Array
    #: The user's weights, for statistics of columns and targets; None: all are equal.
    sample_weight: Weight
    #: The same times the class weights, scaled to mean 1, for the loss; None: all are 1.
    loss_weight: Weight


class Known(NamedTuple):
    """What an earlier call learned of X and y."""

    intake: Intake
    targets: Targets


def read_training(
    estimator: TableParameters,
    X: Input,
    y: Input,
    sample_weight: ArrayLike | None,
    *,
    targets: Targets,
    classes: ArrayLike | None,
    before: Known | None,
) -> tuple[Examples, Known]:
    """Check training rows, and learn what X and y mean, or compare with what `before` learned.

    Nothing is written on the estimator. `targets` is what its parameters say of y, and `classes`
    are all classes, where they are known beforehand.
    """
    then = None if before is None else before.targets
    X, y = open_in_memory(X, y)
    targets, y = _open_targets(y, targets, then)
    if before is None:
        intake, source, y = Intake.learn(estimator, X, y, targets.y_checks)
    else:
        intake = before.intake
        source, y = intake.read(estimator, X, y, targets.y_checks)
    if y is None:
        targets, y = _read_own_targets(source, targets, then)
    weight = _read_weight(sample_weight, source.n_samples)
    if before is None:
        targets, codes = targets.learn(y, weight, classes)
    else:
        targets, codes = targets.resume(before.targets, y, weight, classes)
    return _weigh(source, codes, weight, targets), Known(intake, targets)


def read_later(
    estimator: object, X: Input, y: Input, sample_weight: ArrayLike | None, known: Known
) -> Examples:
    """Check rows that are not trained on, by what is known of X and y."""
    intake, targets = known
    X, y = open_in_memory(X, y)
    _, y = _open_targets(y, targets, targets)
    source, y = intake.read(estimator, X, y, targets.y_checks)
    if y is None:
        _, y = _read_own_targets(source, targets, targets)
    weight = _read_weight(sample_weight, source.n_samples)
    return _weigh(source, targets.encode(y), weight, targets)


def read_validation(
    estimator: object, X: Input, y: Input, sample_weight: ArrayLike | None, known: Known
) -> Examples | None:
    """Check ``X_val`` and what belongs to it; None where it is not given."""
    if X is None:
        if y is not None or sample_weight is not None:
            raise ValueError(
                "Got y_val or sample_weight_val without X_val, but expected both. Give X_val= too."
            )
        return None
    if y is None and not isinstance(X, Dataset):
        raise ValueError(
            "Got X_val without y_val, but expected both. Give two arguments: fit(X, y, "
            "X_val=X_val, y_val=y_val)."
        )
    try:
        return read_later(estimator, X, y, sample_weight, known)
    except (ValueError, TypeError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"Of X_val, y_val and sample_weight_val: {error}") from error


def _open_targets(y: Input, targets: Targets, known: Targets | None) -> tuple[Targets, Input]:
    """Return the targets that y asks for, and y out of its container; None stays.

    `known` are those that an earlier call learned.
    """
    if y is None:
        return targets, y
    y = open_container(y, "y")
    with naming("y"):
        return targets_for(y, targets, known)


def _read_own_targets(
    source: Source, targets: Targets, known: Targets | None
) -> tuple[Targets, Array]:
    """Return the targets that those of a dataset ask for, and these, checked."""
    assert isinstance(source, DatasetInput)
    with naming("y"):
        targets, y = targets_for(source.targets(), targets, known)
        return targets, check_y(y, **targets.y_checks)


def _read_weight(sample_weight: ArrayLike | None, n_samples: int) -> Weight:
    if sample_weight is None:
        return None
    with naming("sample_weight"):
        weight: Floats = check_sample_weight(
            open_container(sample_weight, "sample_weight"),
            np.empty((n_samples, 1)),
            dtype=np.float64,
            ensure_non_negative=True,
        )
        if not np.isfinite(weight).all():  # scikit-learn does not look at a single number
            raise ValueError(
                "Got sample_weight=nan or infinite, but expected finite numbers. None weighs all "
                "rows alike."
            )
    if not weight.any():
        raise ValueError(
            "Got sample_weight with zeros alone, but expected at least one above zero "
            "(Invalid weights: all weights are zero). None weighs all rows alike."
        )
    # Equal weights, of whatever value, count as none, to the bit.
    return None if _are_equal(weight) else weight


def _weigh(source: Source, y: Array, sample_weight: Weight, targets: Targets) -> Examples:
    """Scale the weights in the loss to mean 1; None where all are equal, which changes no bit."""
    weight = targets.weigh(y, sample_weight)
    if weight is None or _are_equal(weight):
        return Examples(source, y, sample_weight, None)
    weight = weight / weight.max()  # first, lest the sum overflow
    return Examples(source, y, sample_weight, weight * (len(weight) / weight.sum()))


def _are_equal(weight: Floats) -> bool:
    return bool((weight == weight[0]).all())
