"""What members gain together: the loss of their ensemble against their own."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax, xlogy
from sklearn.utils import check_consistent_length

from skensemble._types import Array, Floats

from ._arguments import (
    check_choice,
    check_decisions,
    check_indicators,
    check_member_values,
    check_probabilities,
    check_shares,
    check_values,
    check_weights,
    encode,
    is_multilabel,
    over_outputs,
    over_rows,
)

#: Probabilities below it count as this, as in scikit-learn's log_loss.
_LEAST = np.finfo(np.float64).eps


class AmbiguityDecomposition(NamedTuple):
    """The parts of an ensemble's loss: ``ensemble_loss == average_loss - diversity``.

    Attributes
    ----------
    ensemble_loss : float or ndarray of float64 of shape (n_outputs,)
        Loss of the combined members.
    average_loss : float or ndarray of float64 of shape (n_outputs,)
        Weighted mean of the members' losses.
    diversity : float or ndarray of float64 of shape (n_outputs,)
        What combining them takes off it.
    """

    ensemble_loss: float | Floats
    average_loss: float | Floats
    diversity: float | Floats


class _Loss(NamedTuple):
    """A loss and the combiner that belongs to it."""

    #: From targets and predictions of one shape to the loss of each row, (n, q) or (n, 1).
    of: Callable[[Array, Array], Floats]
    #: From members of shape (n_members, n, q) and their weights to their centroid, (n, q).
    centroid: Callable[[Array, Floats], Array]


def ambiguity_decomposition(
    y_true: ArrayLike,
    members: ArrayLike,
    *,
    loss: str = "squared_error",
    combiner: str = "centroid",
    weights: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    multioutput: str | ArrayLike = "uniform_average",
) -> AmbiguityDecomposition:
    """Split the loss of an ensemble into the mean loss of its members less their diversity.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,), (n_samples, n_outputs) or (n_samples, n_labels)
        True values or classes. Of several labels, each counts as a row.
    members : array-like of shape (n_members, n_samples), (n_members, n_samples, n_classes), \
            (n_members, n_samples, n_outputs) or (n_members, n_samples, n_labels)
        Predictions as ``predict_members`` returns them; for ``"zero_one"`` labels, too.
    loss : {"squared_error", "log_loss", "poisson", "gamma", "zero_one"}, default="squared_error"
        ``"poisson"`` and ``"gamma"`` are deviances, in the scale of scikit-learn.
    combiner : {"centroid", "mean"}, default="centroid"
        How the members are combined: by the centroid of the loss (see Notes), or by the arithmetic
        mean of predictions, as the estimators do.
    weights : array-like of shape (n_members,), default=None
        Weights of the members, such as ``member_weights_``. None: all are alike.
    labels : array-like of shape (n_classes,), default=None
        Classes in the order of the columns of probabilities. None: those of `y_true`, sorted.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.
    multioutput : {"raw_values", "uniform_average"} or array-like of shape (n_outputs,), \
            default="uniform_average"
        How outputs of a regression are averaged, as in scikit-learn.

    Returns
    -------
    parts : AmbiguityDecomposition
        With ``ensemble_loss``, ``average_loss`` and ``diversity``.

    Raises
    ------
    ValueError
        If targets or predictions are out of the range of the loss.

    Notes
    -----
    Each loss has a combiner of its own, the centroid of the members [1]_:

    - ``"squared_error"``: the arithmetic mean,
    - ``"log_loss"``: the normalised geometric mean of probabilities,
    - ``"poisson"``: the geometric mean,
    - ``"gamma"``: the harmonic mean,
    - ``"zero_one"``: the majority vote; ties go to the first class.

    With it the diversity is the mean loss of the members where the centroid is the truth: at least
    0, and independent of `y_true`. The zero-one loss has no such form: there the diversity is the
    difference of the two losses, depends on `y_true`, and may be below 0.

    The estimators of this package take the arithmetic mean of probabilities. With
    ``combiner="mean"``, the ensemble's loss is theirs, and the diversity is the difference of
    the two losses. For the log-loss this is the Jensen gap of the logarithm at the true class: at
    least 0, but it depends on `y_true`. For the zero-one loss the ensemble votes by the mean
    probability; it needs probabilities.

    References
    ----------
    .. [1] D. Wood, T. Mu, A. Webb, H. Reeve, M. Luján and G. Brown, "A Unified Theory of Diversity
       in Ensemble Learning", Journal of Machine Learning Research 24, 2023.
    .. [2] A. Krogh and J. Vedelsby, "Neural Network Ensembles, Cross Validation, and Active
       Learning", NIPS 1994.

    Examples
    --------
    >>> from skensemble.metrics import ambiguity_decomposition
    >>> parts = ambiguity_decomposition([1.0, 2.0], [[0.0, 2.0], [2.0, 4.0]])
    >>> parts.ensemble_loss, parts.average_loss, parts.diversity
    (0.5, 1.5, 1.0)
    """
    check_choice("loss", loss, tuple(_LOSSES))
    check_choice("combiner", combiner, ("centroid", "mean"))
    share = check_shares("weights", weights, len(np.asarray(members)))
    n = len(np.asarray(y_true))
    rows = check_weights("sample_weight", sample_weight, n)
    pool = _mean if combiner == "mean" else _LOSSES[loss].centroid
    if loss == "zero_one":
        y, each, combined = _votes(y_true, members, labels, pool, share)
    else:
        y, each = _read(loss, y_true, members, labels)
        combined = pool(each, share)
    rows = np.repeat(rows, len(y) // n)

    def mean_loss(truth: Array, predictions: Sequence[Array] | Array, by: Floats) -> Floats:
        losses = [over_rows(_LOSSES[loss].of(truth, q), rows) for q in predictions]
        return np.average(losses, axis=0, weights=by)

    ensemble, average = mean_loss(y, [combined], np.ones(1)), mean_loss(y, each, share)
    diversity = average - ensemble
    if loss != "zero_one" and combiner == "centroid":
        diversity = np.maximum(mean_loss(combined, each, share), 0)  # no rounding below 0
    return AmbiguityDecomposition(
        *(over_outputs(part, multioutput) for part in (ensemble, average, diversity))
    )


def _read(
    loss: str, y_true: ArrayLike, members: ArrayLike, labels: ArrayLike | None
) -> tuple[Floats, Floats]:
    """Return the truth of shape (n, q) and what members say of it, of shape (n_members, n, q)."""
    if loss == "log_loss":
        return _read_probabilities(y_true, members, labels)
    y, each = check_member_values(y_true, members)
    if loss in _LEAST_TRUTH:
        least, rule = _LEAST_TRUTH[loss]
        if y.min() < least:
            raise ValueError(f"Got y_true={y.min()}, but expected {rule} for loss={loss!r}.")
        if each.min() <= 0:
            raise ValueError(
                f"Got members with {each.min()}, but expected numbers above 0 for loss={loss!r}."
            )
    return y, each


def _read_probabilities(
    y_true: ArrayLike, members: ArrayLike, labels: ArrayLike | None
) -> tuple[Floats, Floats]:
    """Return true probabilities, 0 and 1, and those of members; a row for each of several labels.

    Both are of shape (..., n, n_classes).
    """
    if is_multilabel(y_true):
        y, p = check_member_values(check_indicators(y_true), members)
        if p.min() < 0 or p.max() > 1:
            raise ValueError("Got members beyond 0 and 1, but expected probabilities.")
        codes, p = y.ravel().astype(np.int64), p.reshape(len(p), -1)
        p = np.stack([1 - p, p], axis=2)
    else:
        p = check_probabilities("members", check_values("members", members, (3,)))
        codes = encode(y_true, labels, p.shape[2])[0]
        check_consistent_length(codes, p[0])
    return np.eye(p.shape[2])[codes], np.clip(p, _LEAST, 1)


def _votes(
    y_true: ArrayLike,
    members: ArrayLike,
    labels: ArrayLike | None,
    pool: Callable[[Array, Floats], Array],
    share: Floats,
) -> tuple[Array, Array, Array]:
    """Return the true class of each row, that of each member, and that of the ensemble."""
    y, each = check_decisions(y_true, members, labels)
    if pool is _mean:
        if np.ndim(members) != 3:
            raise ValueError(
                f"Got members of shape {np.shape(members)} with combiner='mean', but expected "
                "probabilities of shape (n_members, n_samples, n_classes)."
            )
        p = check_values("members", members, (3,))
        if is_multilabel(y_true):
            combined = (pool(p, share) > 0.5).ravel()
        else:
            combined = pool(p, share).argmax(axis=1)
    else:
        combined = pool(each, share)
    return y[:, None], each[:, :, None], combined[:, None]


def _mean(values: Array, share: Floats) -> Array:
    return np.tensordot(share, values, 1)


def _geometric_mean(values: Floats, share: Floats) -> Floats:
    return np.exp(np.tensordot(share, np.log(values), 1))


def _normalised_geometric_mean(p: Floats, share: Floats) -> Floats:
    return softmax(np.tensordot(share, np.log(p), 1), axis=1)


def _harmonic_mean(values: Floats, share: Floats) -> Floats:
    return 1 / np.tensordot(share, 1 / values, 1)


def _majority(decided: Array, share: Floats) -> Array:
    """Return the label with most votes; ties, up to rounding, go to the first one."""
    classes = np.unique(decided)
    votes = np.stack([np.tensordot(share, decided == each, 1) for each in classes])
    return classes[votes.round(12).argmax(axis=0)]


def _squared_error(y: Floats, q: Floats) -> Floats:
    return (y - q) ** 2


def _divergence(y: Floats, q: Floats) -> Floats:
    """Return the Kullback-Leibler divergence, which for a true class is the log-loss."""
    return xlogy(y, y / q).sum(axis=1, keepdims=True)


def _poisson_deviance(y: Floats, q: Floats) -> Floats:
    return 2 * (xlogy(y, y / q) - y + q)


def _gamma_deviance(y: Floats, q: Floats) -> Floats:
    return 2 * (np.log(q / y) + y / q - 1)


def _zero_one(y: Array, q: Array) -> Floats:
    return (y != q).astype(np.float64)


_LOSSES = {
    "squared_error": _Loss(_squared_error, _mean),
    "log_loss": _Loss(_divergence, _normalised_geometric_mean),
    "poisson": _Loss(_poisson_deviance, _geometric_mean),
    "gamma": _Loss(_gamma_deviance, _harmonic_mean),
    "zero_one": _Loss(_zero_one, _majority),
}

#: What the truth must be for a deviance.
_LEAST_TRUTH = {
    "poisson": (0.0, "numbers of at least 0"),
    "gamma": (np.nextafter(0, 1), "numbers above 0"),
}
