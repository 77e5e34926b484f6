"""How much members differ, pair by pair."""

import numpy as np
from numpy.typing import ArrayLike

from skensemble._types import Array, Floats

from ._arguments import (
    check_choice,
    check_decisions,
    check_labels,
    check_member_values,
    check_shares,
    check_weights,
    over_outputs,
    over_pairs,
)

#: What is less, relative to its whole, is rounding.
_ROUNDING = 1e-12


def disagreement_score(
    members: ArrayLike,
    *,
    average: str | None = "pairs",
    sample_weight: ArrayLike | None = None,
) -> float | Floats:
    """Measure in which part of the rows two members predict different labels.

    It is 0 where all members are alike. More is more diverse, which is not better by itself.

    Parameters
    ----------
    members : array-like of shape (n_members, n_samples) or (n_members, n_samples, n_classes)
        Labels, or probabilities as ``predict_members`` returns them.
    average : {"pairs", None}, default="pairs"
        The mean over all pairs of members, or None: the matrix of all pairs.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    score : float or ndarray of float64 of shape (n_members, n_members)
        From 0 to 1. The mean is NaN for a single member, which has no pair.

    See Also
    --------
    kappa_statistic : Agreement beyond that by chance.

    Notes
    -----
    Kuncheva and Whitaker [1]_ count the rows where one of two members is right. Give
    ``predictions == y_true`` as the members for that: with two classes it is the same, with more,
    two members that are wrong in different ways then agree.

    References
    ----------
    .. [1] L. I. Kuncheva and C. J. Whitaker, "Measures of Diversity in Classifier Ensembles and
       Their Relationship with the Ensemble Accuracy", Machine Learning 51, 2003, section 2.1.3.

    Examples
    --------
    >>> from skensemble.metrics import disagreement_score
    >>> disagreement_score([["a", "b", "b", "a"], ["a", "b", "a", "a"]])
    0.25
    """
    check_choice("average", average, ("pairs", None))
    agreement, _ = _agreement(members, sample_weight)
    return over_pairs(np.clip(1 - agreement, 0, 1), average)


def kappa_statistic(
    members: ArrayLike,
    *,
    average: str | None = "pairs",
    sample_weight: ArrayLike | None = None,
) -> float | Floats:
    """Measure how far the labels of two members agree beyond chance: Cohen's kappa.

    Parameters
    ----------
    members : array-like of shape (n_members, n_samples) or (n_members, n_samples, n_classes)
        Labels, or probabilities as ``predict_members`` returns them.
    average : {"pairs", None}, default="pairs"
        The mean over all pairs of members, or None: the matrix of all pairs.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    kappa : float or ndarray of float64 of shape (n_members, n_members)
        At most 1, which means alike; 0 is agreement by chance. It is NaN for two members that
        predict one and the same class for all rows. The mean leaves such pairs out, and is NaN if
        there are no others.

    See Also
    --------
    sklearn.metrics.cohen_kappa_score : The same for one pair.

    References
    ----------
    .. [1] J. Cohen, "A Coefficient of Agreement for Nominal Scales", Educational and Psychological
       Measurement 20, 1960.
    .. [2] D. D. Margineantu and T. G. Dietterich, "Pruning Adaptive Boosting", ICML 1997, which
       takes it for pairs of members.

    Examples
    --------
    >>> from skensemble.metrics import kappa_statistic
    >>> kappa_statistic([["a", "b", "b", "a"], ["a", "b", "a", "a"]])
    0.5
    """
    check_choice("average", average, ("pairs", None))
    agreement, chance = _agreement(members, sample_weight)
    kappa = _divide(agreement - chance, np.where(1 - chance > _ROUNDING, 1 - chance, 0))
    return over_pairs(kappa, average)


def q_statistic(
    y_true: ArrayLike,
    members: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    average: str | None = "pairs",
    sample_weight: ArrayLike | None = None,
) -> float | Floats:
    """Measure whether two members are right on the same rows: Yule's Q.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_labels)
        True classes. Of several labels, each counts as a row.
    members : array-like of shape (n_members, n_samples), (n_members, n_samples, n_classes) or \
            (n_members, n_samples, n_labels)
        Labels, or probabilities as ``predict_members`` returns them.
    labels : array-like of shape (n_classes,), default=None
        Classes in the order of the columns of probabilities. None: those of `y_true`, sorted.
    average : {"pairs", None}, default="pairs"
        The mean over all pairs of members, or None: the matrix of all pairs.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    q : float or ndarray of float64 of shape (n_members, n_members)
        From -1 to 1, 0 for members whose errors are independent. It is NaN where 0 is divided by
        0, such as for two members without errors. The mean leaves such pairs out, and is NaN if
        there are no others.

    References
    ----------
    .. [1] L. I. Kuncheva and C. J. Whitaker, "Measures of Diversity in Classifier Ensembles and
       Their Relationship with the Ensemble Accuracy", Machine Learning 51, 2003, eq. 2.

    Examples
    --------
    >>> from skensemble.metrics import q_statistic
    >>> members = [["a", "b", "a", "b", "a"], ["a", "a", "b", "b", "a"]]
    >>> round(q_statistic(["a", "b", "b", "a", "a"], members), 3)
    0.333
    """
    check_choice("average", average, ("pairs", None))
    both, none, first, second = _counts(y_true, members, labels, sample_weight)
    alike, apart = both * none, first * second
    return over_pairs(_divide(alike - apart, alike + apart), average)


def error_correlation(
    y_true: ArrayLike,
    members: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    average: str | None = "pairs",
    sample_weight: ArrayLike | None = None,
) -> float | Floats:
    """Correlate where two members predict a wrong class.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_labels)
        True classes. Of several labels, each counts as a row.
    members : array-like of shape (n_members, n_samples), (n_members, n_samples, n_classes) or \
            (n_members, n_samples, n_labels)
        Labels, or probabilities as ``predict_members`` returns them.
    labels : array-like of shape (n_classes,), default=None
        Classes in the order of the columns of probabilities. None: those of `y_true`, sorted.
    average : {"pairs", None}, default="pairs"
        The mean over all pairs of members, or None: the matrix of all pairs.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    rho : float or ndarray of float64 of shape (n_members, n_members)
        From -1 to 1. It is NaN for a member that is always right, or always wrong. The mean leaves
        its pairs out, and is NaN if there are no others.

    See Also
    --------
    residual_correlation : The same for regression.

    References
    ----------
    .. [1] L. I. Kuncheva and C. J. Whitaker, "Measures of Diversity in Classifier Ensembles and
       Their Relationship with the Ensemble Accuracy", Machine Learning 51, 2003, eq. 3.

    Examples
    --------
    >>> from skensemble.metrics import error_correlation
    >>> members = [["a", "b", "a", "b", "a"], ["a", "a", "b", "b", "a"]]
    >>> round(error_correlation(["a", "b", "b", "a", "a"], members), 3)
    0.167
    """
    check_choice("average", average, ("pairs", None))
    both, none, first, second = _counts(y_true, members, labels, sample_weight)
    right, wrong = both + first, second + none  # of the first member
    spread = np.sqrt(right * wrong * (both + second) * (first + none))
    return over_pairs(_divide(both * none - first * second, spread), average)


def residual_correlation(
    y_true: ArrayLike,
    members: ArrayLike,
    *,
    average: str | None = "pairs",
    sample_weight: ArrayLike | None = None,
    multioutput: str | ArrayLike = "uniform_average",
) -> float | Floats:
    """Correlate the residuals of two members of a regression.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_outputs)
        True values.
    members : array-like of shape (n_members, n_samples) or (n_members, n_samples, n_outputs)
        Predictions as ``predict_members`` returns them.
    average : {"pairs", None}, default="pairs"
        The mean over all pairs of members, or None: the matrix of all pairs.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.
    multioutput : {"raw_values", "uniform_average"} or array-like of shape (n_outputs,), \
            default="uniform_average"
        How outputs are averaged, as in scikit-learn. A matrix of pairs needs one output.

    Returns
    -------
    rho : float or ndarray of float64
        From -1 to 1; of shape (n_members, n_members) for ``average=None`` and of shape (n_outputs,)
        for ``"raw_values"``. It is NaN for a member whose residuals are all the same. The mean
        leaves its pairs out, and is NaN if there are no others.

    Raises
    ------
    ValueError
        If the matrix of pairs is asked for several outputs.

    See Also
    --------
    error_correlation : The same for classes.
    numpy.corrcoef : Correlations without weights.

    Examples
    --------
    >>> from skensemble.metrics import residual_correlation
    >>> round(residual_correlation([1.0, 2.0, 3.0], [[1.5, 2.0, 2.5], [1.5, 2.5, 2.5]]), 3)
    0.866
    """
    check_choice("average", average, ("pairs", None))
    y, predicted = check_member_values(y_true, members)
    weights = check_shares("sample_weight", sample_weight, len(y))
    if average is None:
        if y.shape[1] > 1:
            raise ValueError(
                f"Got average=None for {y.shape[1]} outputs, but expected one; give one output "
                "after the other."
            )
        return _correlations(y[:, 0], predicted[:, :, 0], weights)
    matrices = [_correlations(y[:, q], predicted[:, :, q], weights) for q in range(y.shape[1])]
    return over_outputs(np.array([over_pairs(each, average) for each in matrices]), multioutput)


def _correlations(y: Floats, predicted: Floats, weights: Floats) -> Floats:
    """Return the correlations of the residuals of all pairs for one output."""
    residuals = y - predicted
    residuals -= (residuals @ weights)[:, None]
    size = np.maximum(np.abs(y).max(), np.abs(predicted).max(axis=1))
    deviation = np.sqrt(residuals**2 @ weights)
    deviation[deviation <= _ROUNDING * size] = 0
    covariance = (residuals * weights) @ residuals.T
    return np.clip(_divide(covariance, np.outer(deviation, deviation)), -1, 1)


def _agreement(members: ArrayLike, sample_weight: ArrayLike | None) -> tuple[Floats, Floats]:
    """Return for all pairs how often they agree, and how often they would by chance."""
    predicted = check_labels(members)
    weights = check_weights("sample_weight", sample_weight, predicted.shape[1])
    agreement, chance = np.zeros((2, len(predicted), len(predicted)))
    for label in np.unique(predicted):
        is_label = (predicted == label).astype(np.float64)
        agreement += (is_label * weights) @ is_label.T
        share = is_label @ weights
        chance += np.outer(share, share)
    total = weights.sum()
    return agreement / total, chance / total**2


def _counts(
    y_true: ArrayLike,
    members: ArrayLike,
    labels: ArrayLike | None,
    sample_weight: ArrayLike | None,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return for all pairs the share of rows: both right, both wrong, the first, the second."""
    y, decided = check_decisions(y_true, members, labels)
    n = len(np.asarray(y_true))
    weights = np.repeat(check_shares("sample_weight", sample_weight, n), len(y) // n)
    right: Array = (decided == y).astype(np.float64)
    wrong = 1 - right
    first = (right * weights) @ wrong.T
    return (right * weights) @ right.T, (wrong * weights) @ wrong.T, first, first.T


def _divide(a: Floats, b: Floats) -> Floats:
    """Return a / b, NaN where b is 0."""
    return np.divide(a, b, out=np.full(a.shape, np.nan), where=b > 0)
