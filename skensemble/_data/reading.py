"""X, y and weights of one call, checked together."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import Dataset

from skensemble._compat import check_sample_weight, check_y

from .intake import Intake
from .sources import Source
from .targets import Targets, Weight


class Examples(NamedTuple):
    """Checked rows of one call."""

    source: Source
    #: Encoded targets.
    y: NDArray[Any]
    #: The user's weights, for statistics of columns and targets; None: all are equal.
    sample_weight: Weight
    #: Those times the class weights, of mean 1, for the loss; None: all are 1.
    loss_weight: Weight


class Known(NamedTuple):
    """What an earlier call learned of X and y."""

    intake: Intake
    targets: Targets


def read_training(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: ArrayLike | None,
    *,
    targets: Targets,
    classes: ArrayLike | None,
    before: Known | None,
) -> tuple[Examples, Known]:
    """Check training rows, and learn what X and y mean, or compare with what `before` learned.

    Parameters
    ----------
    estimator : object
        Whose parameters say how X is read; nothing is written on it.
    X, y, sample_weight : object
        As the user gave them.
    targets : Targets
        What the parameters of the estimator say of y.
    classes : array-like or None
        All classes, where they are known beforehand.
    before : Known or None
    """
    if y is not None:
        targets.check_kind(y)
    if before is None:
        intake, source, y = Intake.learn(estimator, X, y, targets.y_checks)
    else:
        intake = before.intake
        source, y = intake.read(estimator, X, y, targets.y_checks)
    y = _targets_of(source, targets) if y is None else y
    weight = _read_weight(sample_weight, source.n_samples)
    if before is None:
        targets, codes = targets.learn(y, weight, classes)
    else:
        targets, codes = targets.resume(before.targets, y, weight, classes)
    return _weighed(source, codes, weight, targets), Known(intake, targets)


def read_later(
    estimator: Any, X: Any, y: Any, sample_weight: ArrayLike | None, known: Known
) -> Examples:
    """Check rows that are not trained on, by what is known of X and y."""
    intake, targets = known
    if y is not None:
        targets.check_kind(y)
    source, y = intake.read(estimator, X, y, targets.y_checks)
    y = _targets_of(source, targets) if y is None else y
    weight = _read_weight(sample_weight, source.n_samples)
    return _weighed(source, targets.encode(y), weight, targets)


def read_validation(
    estimator: Any, X: Any, y: Any, sample_weight: ArrayLike | None, known: Known
) -> Examples | None:
    """Check ``X_val`` and what belongs to it; None where it is not given."""
    if X is None:
        if y is not None or sample_weight is not None:
            raise ValueError("Got y_val or sample_weight_val without X_val, but expected both.")
        return None
    if y is None and not isinstance(X, Dataset):
        raise ValueError("Got X_val without y_val, but expected both.")
    try:
        return read_later(estimator, X, y, sample_weight, known)
    except ValueError as error:
        raise ValueError(f"Of X_val, y_val and sample_weight_val: {error}") from error


def _targets_of(source: Any, targets: Targets) -> NDArray[Any]:
    """Return a dataset's own targets, checked."""
    y = source.targets()
    targets.check_kind(y)
    return check_y(y, **targets.y_checks)


def _read_weight(sample_weight: ArrayLike | None, n_samples: int) -> Weight:
    if sample_weight is None:
        return None
    weight: NDArray[np.float64] = check_sample_weight(
        sample_weight, np.empty((n_samples, 1)), dtype=np.float64, ensure_non_negative=True
    )
    if not weight.any():
        raise ValueError(
            "Got sample_weight with zeros alone, but expected at least one above zero "
            "(Invalid weights: all weights are zero)."
        )
    # Equal weights are as none, to the bit and whatever their value.
    return None if _are_equal(weight) else weight


def _weighed(source: Source, y: NDArray[Any], sample_weight: Weight, targets: Targets) -> Examples:
    loss_weight = _of_mean_one(targets.weigh(y, sample_weight))
    return Examples(source, y, sample_weight, loss_weight)


def _of_mean_one(weight: Weight) -> Weight:
    """Scale weights to mean 1; None where they are all equal, which changes no bit."""
    if weight is None or _are_equal(weight):
        return None
    weight = weight / weight.max()  # first, lest the sum overflow
    return weight * (len(weight) / weight.sum())


def _are_equal(weight: NDArray[np.float64]) -> bool:
    return bool((weight == weight[0]).all())
