"""What the functions of this folder are asked: checks of estimators, numbers and rows."""

import contextlib
import copy
from collections.abc import Iterator
from numbers import Integral
from typing import TypeVar

import torch
from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skensemble._nets.generators import on_named_device
from skensemble._types import Input
from skensemble._warnings import short
from skensemble.base import BaseSnapshotEnsemble
from skensemble.choosing import Again
from skensemble.fitted import Fitted
from skensemble.pipelines import Estimator, last_step, seen_by_last

#: An ensemble, or a pipeline that ends in one.
Ensemble = TypeVar("Ensemble", bound=Estimator)

#: Which rows are given.
_ROWS = ("training", "new")


def opened(estimator: Estimator, X: Input) -> tuple[BaseSnapshotEnsemble, Input]:
    """Return a fitted ensemble, that of a pipeline too, and X as it sees that; None stays."""
    last = last_step(estimator)
    check_is_fitted(last)
    return last, None if X is None else seen_by_last(estimator, X)


@contextlib.contextmanager
def making_tensors(fitted: Fitted) -> Iterator[None]:
    """Make tensors as a fit does, in whatever mode of torch's a user calls from."""
    with on_named_device(fitted.nets[0].device), torch.inference_mode(False):
        yield


def with_last(estimator: Ensemble, last: BaseSnapshotEnsemble) -> Ensemble:
    """Return an ensemble, at the end of a copy of the pipeline where the other one stood in one."""
    if not isinstance(estimator, Pipeline):
        return last  # type: ignore[return-value]  # of the same class
    made = copy.copy(estimator)
    made.steps = [*estimator.steps[:-1], (estimator.steps[-1][0], last)]
    return made


def with_members(estimator: Ensemble, fitted: Fitted) -> Ensemble:
    """Return an estimator of the same parameters with other members."""
    made = copy.copy(last_step(estimator))
    made.snapshots_per_cycle = n = fitted.n_per_cycle // fitted.n_chains
    made._commit(fitted.as_made_of({**fitted.resume.made_of, "snapshots_per_cycle": n}))
    return with_last(estimator, made)


def whole(name: str, value: object) -> int:
    """Return a whole number of at least 1; refuse anything else."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
        raise ValueError(f"Got {name}={short(value)}, but expected an integer of at least 1.")
    return int(value)


def read_if_judged(
    estimator: BaseSnapshotEnsemble,
    fitted: Fitted,
    X: Input,
    y: ArrayLike | None,
    sample_weight: ArrayLike | None,
    groups: ArrayLike | None,
    rows: str,
) -> Again | None:
    """Read the rows that are to judge; None where y is not given."""
    if y is None:
        if groups is not None or sample_weight is not None:
            raise ValueError(
                "Got sample_weight or groups without y, but expected X and y beside them: they "
                "say how rows judge, and statistics of batch normalisation heed none."
            )
        return None
    if X is None:
        raise ValueError("Got y without X, but expected both.")
    return read_again(estimator, fitted, X, y, sample_weight, groups, rows)


def read_again(
    estimator: BaseSnapshotEnsemble,
    fitted: Fitted,
    X: Input,
    y: ArrayLike | None,
    sample_weight: ArrayLike | None,
    groups: ArrayLike | None,
    rows: str,
) -> Again:
    """Read the rows that are to judge."""
    if rows not in _ROWS:
        raise ValueError(f"Got rows={short(rows)}, but expected one of {_ROWS}.")
    return Again.read(estimator, fitted, X, y, sample_weight, groups=groups, rows=rows)
