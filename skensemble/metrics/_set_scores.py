"""Scores of prediction sets of a classification."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length

from skensemble._types import Array, Floats

from ._arguments import check_choice, check_weights, encode, over_rows


def set_coverage_score(
    y_true: ArrayLike,
    sets: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    average: str | None = "micro",
    sample_weight: ArrayLike | None = None,
) -> float | Floats:
    """Measure in which part of the rows the true class is in its set.

    It is best near the coverage asked for; 1 for sets of all classes.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True classes.
    sets : array-like of bool of shape (n_samples, n_classes)
        Whether each class is in the set of a row, as ``predict_set`` returns it.
    labels : array-like of shape (n_classes,), default=None
        Classes in the order of the columns. None: those of `y_true`, sorted.
    average : {"micro", "macro", None}, default="micro"
        Over all rows; the mean of the coverages of all true classes; or None: each of them.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    score : float or ndarray of float64 of shape (n_classes,)
        From 0 to 1. It is NaN for a class without rows, which the mean leaves out.

    Raises
    ------
    ValueError
        If the columns do not fit the classes.

    Examples
    --------
    >>> from skensemble.metrics import set_coverage_score
    >>> sets = [[True, False], [True, True], [True, False], [False, True]]
    >>> set_coverage_score(["a", "b", "b", "b"], sets)
    0.75
    >>> set_coverage_score(["a", "b", "b", "b"], sets, average=None).round(3)
    array([1.   , 0.667])
    """
    check_choice("average", average, ("micro", "macro", None))
    given = _check_sets(sets)
    check_consistent_length(y_true, given)
    columns, classes = encode(y_true, labels, given.shape[1])
    weights = check_weights("sample_weight", sample_weight, len(given))
    is_in = given[np.arange(len(given)), columns].astype(np.float64)
    if average == "micro":
        return float(over_rows(is_in, weights))
    mass = np.bincount(columns, weights, len(classes))
    inside = np.bincount(columns, weights * is_in, len(classes))
    each = np.divide(inside, mass, out=np.full(len(classes), np.nan), where=mass > 0)
    return each if average is None else float(np.nanmean(each))


def mean_set_size(sets: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """Measure how many classes a set has in the mean.

    Parameters
    ----------
    sets : array-like of bool of shape (n_samples, n_classes)
        Whether each class is in the set of a row, as ``predict_set`` returns it.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    size : float
        From 0 to ``n_classes``.

    Examples
    --------
    >>> from skensemble.metrics import mean_set_size
    >>> mean_set_size([[True, False, False], [True, True, False]])
    1.5
    """
    given = _check_sets(sets)
    weights = check_weights("sample_weight", sample_weight, len(given))
    return float(over_rows(given.sum(axis=1).astype(np.float64), weights))


def _check_sets(sets: ArrayLike) -> Array:
    """Return sets as an array of bool; probabilities are none."""
    given = np.asarray(sets)
    if given.ndim != 2 or not given.size or not ((given == 0) | (given == 1)).all():
        raise ValueError(
            f"Got sets of shape {given.shape} and type {given.dtype}, but expected bool of shape "
            "(n_samples, n_classes)."
        )
    return given.astype(bool)
