"""An ensemble by itself, or at the end of a pipeline."""

from typing import TypeAlias

from sklearn.pipeline import Pipeline

from ._types import Input, Options
from ._warnings import short
from .base import BaseSnapshotEnsemble

#: An ensemble, or a pipeline that ends in one.
Estimator: TypeAlias = BaseSnapshotEnsemble | Pipeline


def last_step(estimator: Estimator) -> BaseSnapshotEnsemble:
    """Return the ensemble, or the one that a pipeline ends in."""
    last = estimator[-1] if isinstance(estimator, Pipeline) else estimator
    if not isinstance(last, BaseSnapshotEnsemble):
        raise ValueError(
            f"Got estimator={short(estimator)}, but expected a SnapshotEnsembleClassifier, a "
            "SnapshotEnsembleRegressor or a Pipeline that ends in one. Make an instance of a class."
        )
    return last


def seen_by_last(estimator: Estimator, X: Input) -> Input:
    """Return the rows as the first steps of a fitted pipeline hand them to the ensemble."""
    if isinstance(estimator, Pipeline) and len(estimator) > 1:
        return estimator[:-1].transform(X)
    return X


def fit_last(estimator: Estimator, X: Input, y: Input, **given: object) -> None:
    """Fit, with further arguments of fit for the ensemble alone; those that are None are not."""
    prefix = f"{estimator.steps[-1][0]}__" if isinstance(estimator, Pipeline) else ""
    named: Options = {
        f"{prefix}{name}": value for name, value in given.items() if value is not None
    }
    estimator.fit(X, y, **named)
