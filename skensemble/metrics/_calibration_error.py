"""How far probabilities are from how often they come true."""

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_consistent_length

from skensemble._types import Array, Floats
from skensemble._warnings import short

from ._arguments import (
    check_choice,
    check_indicators,
    check_probabilities,
    check_values,
    check_weights,
    encode,
    is_multilabel,
)

#: Sums of weights differ by less from what they stand for.
_ROUNDING = 1e-12


def expected_calibration_error(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    *,
    n_bins: int = 15,
    strategy: str = "uniform",
    kind: str = "confidence",
    norm: str = "l1",
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
) -> float:
    """Compare probabilities with how often they come true, in bins of like probability.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_labels)
        True classes; of several labels, 0 and 1 for each.
    y_proba : array-like of shape (n_samples, n_classes), (n_samples,) or (n_samples, n_labels)
        Probabilities of the classes, of the second of two classes, or of each label.
    n_bins : int, default=15
        Number of bins; those without rows count nothing.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of one width, from 0 to 1, or bins of about the same weight.
    kind : {"confidence", "classwise"}, default="confidence"
        The probability of the predicted class against the accuracy [1]_, or the mean over classes
        of each one's probability against its frequency [2]_. Several labels need ``"classwise"``.
    norm : {"l1", "l2", "max"}, default="l1"
        The mean of the bins' differences, the root of their mean square [3]_, or the largest (the
        maximum calibration error).
    labels : array-like of shape (n_classes,), default=None
        Classes in the order of the columns. None: those of `y_true`, sorted.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.

    Returns
    -------
    error : float
        From 0 to 1, the lower the better.

    Raises
    ------
    ValueError
        If `y_proba` has no probabilities, or if its columns do not fit the classes.

    See Also
    --------
    sklearn.calibration.calibration_curve : The bins of two classes, to draw them.

    Notes
    -----
    A bin has the probabilities above its lower edge, up to its upper one. The error is biased: it
    is above 0 for perfect probabilities, too, and the more so the fewer rows a bin has. Compare
    values for the same rows and bins alone.

    References
    ----------
    .. [1] C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On Calibration of Modern Neural
       Networks", ICML 2017, eq. 3 and 5.
    .. [2] M. Kull et al., "Beyond Temperature Scaling: Obtaining Well-Calibrated Multi-Class
       Probabilities with Dirichlet Calibration", NeurIPS 2019, eq. 1.
    .. [3] A. Kumar, P. Liang and T. Ma, "Verified Uncertainty Calibration", NeurIPS 2019.

    Examples
    --------
    >>> from skensemble.metrics import expected_calibration_error
    >>> round(expected_calibration_error(["a", "b", "b", "b"], [[0.2, 0.8]] * 4), 3)
    0.05
    """
    check_choice("strategy", strategy, ("uniform", "quantile"))
    check_choice("kind", kind, ("confidence", "classwise"))
    check_choice("norm", norm, ("l1", "l2", "max"))
    if not isinstance(n_bins, int | np.integer) or isinstance(n_bins, bool) or n_bins < 1:
        raise ValueError(f"Got n_bins={short(n_bins)}, but expected an integer of at least 1.")
    p, is_true = _read(y_true, y_proba, labels, kind)
    weights = check_weights("sample_weight", sample_weight, len(p))
    if kind == "confidence":
        chosen = p.argmax(axis=1)[:, None]
        p, is_true = (np.take_along_axis(each, chosen, 1) for each in (p, is_true))
    errors = [
        _binned_error(p[:, c], is_true[:, c], weights, n_bins, strategy, norm)
        for c in range(p.shape[1])
    ]
    return float(np.mean(errors))


def _read(
    y_true: ArrayLike, y_proba: ArrayLike, labels: ArrayLike | None, kind: str
) -> tuple[Floats, Array]:
    """Return probabilities, and whether each came true: both of shape (n_samples, n_classes)."""
    p = check_values("y_proba", y_proba, (1, 2))
    check_consistent_length(y_true, p)
    if is_multilabel(y_true):
        y = check_indicators(y_true)
        if kind != "classwise" or p.shape != y.shape or p.min() < 0 or p.max() > 1:
            raise ValueError(
                f"Got y_true of {y.shape[1]} labels with kind={kind!r}, but expected "
                'kind="classwise" and a probability of each label.'
            )
        return p, y
    if p.ndim == 1:
        p = np.stack([1 - p, p], axis=1)
    p = check_probabilities("y_proba", p)
    return p, np.eye(p.shape[1], dtype=bool)[encode(y_true, labels, p.shape[1])[0]]


def _binned_error(
    p: Floats, is_true: Array, weights: Floats, n_bins: int, strategy: str, norm: str
) -> float:
    """Return the error of the probabilities of one event."""
    edges = np.linspace(0, 1, n_bins + 1)[1:-1]
    if strategy == "quantile":
        order = np.argsort(p)
        share = np.cumsum(weights[order]) / weights.sum()
        at = np.searchsorted(share, edges - _ROUNDING)
        edges = np.unique(p[order][at])
    bins = np.searchsorted(edges, p)
    mass = np.bincount(bins, weights, n_bins)
    gap = np.abs(np.bincount(bins, weights * (p - is_true), n_bins))[mass > 0]
    mass, total = mass[mass > 0], weights.sum()
    if norm == "max":
        return float((gap / mass).max())
    return float(gap.sum() / total if norm == "l1" else np.sqrt((gap**2 / mass).sum() / total))
