"""Which cycles count, with what weight, and the members' outputs combined.

A rule for members is one function, registered in :data:`RULES`: of the number of cycles alone, or
of what the cycles predicted for rows that they have not seen.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

#: A probability below this counts as this: one sure mistake must not outweigh all other rows.
_EPS = 1e-15

#: Rounds of the greedy selection.
_ROUNDS = 100

#: Weights below this are rounding of the optimizer's.
_NO_WEIGHT = 1e-5

#: What a gradient must promise for a further cycle to be let in, and how many are at once.
_SLACK, _AT_ONCE = 1e-7, 8


class Unseen(NamedTuple):
    """What each cycle predicted for rows that it has not seen, and the truth."""

    #: Of shape (M, n, k): class probabilities, or values.
    predictions: NDArray[np.float64]
    #: Class indices of shape (n,), or values of shape (n, k).
    y: NDArray[Any]
    #: Of shape (n,).
    sample_weight: NDArray[np.float64]

    @classmethod
    def of_true_class(
        cls, probabilities: NDArray[Any], sample_weight: NDArray[np.float64]
    ) -> "Unseen":
        """Hold the probabilities of the true class alone, (M, n): the only class, number 0."""
        y = np.broadcast_to(np.intp(0), probabilities.shape[1:])
        return cls(probabilities[:, :, None], y, sample_weight)

    def score(self, weights: NDArray[np.float64]) -> float:
        """Return the negative log-loss or squared error of the weighted mean: higher is better."""
        if self.y.ndim == 1:
            true = _of_true_class(self.predictions, self.y)
            losses = -np.log(_mean(weights, true).clip(_EPS))
        else:
            combined = _mean(weights, self.predictions)
            losses = ((combined - self.y) ** 2).mean(axis=1)
        return -float(np.average(losses, weights=self.sample_weight))


def all_cycles(n_cycles: int) -> NDArray[np.float64]:
    """Every cycle, with the same weight (Huang et al. 2017)."""
    return np.full(n_cycles, 1 / n_cycles)


def last_cycles(n_cycles: int, m: int) -> NDArray[np.float64]:
    """The last `m` cycles, all where there are fewer (Huang et al. 2017, section 3)."""
    weights = np.zeros(n_cycles)
    weights[-m:] = 1 / min(m, n_cycles)
    return weights


def stacked(
    predictions: NDArray[np.float64], y: NDArray[Any], sample_weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Convex weights of the cycles with the least loss on unseen rows.

    Log-loss or squared error, whose minimum over the simplex is a convex problem (Wolpert 1992;
    Breiman 1996, section 2).

    Parameters
    ----------
    predictions : ndarray of float64 of shape (M, n, k)
        Class probabilities, or values.
    y : ndarray of shape (n,) or (n, k)
        Class indices, or values.
    sample_weight : ndarray of float64 of shape (n,)

    Returns
    -------
    weights : ndarray of float64 of shape (M,)
        At least 0, of sum 1.

    Examples
    --------
    >>> import numpy as np
    >>> from skensemble.members import stacked
    >>> values = np.array([[[0.0], [1.0]], [[2.0], [3.0]]])
    >>> stacked(values, np.array([[0.5], [1.5]]), np.ones(2)).round(4)
    array([0.75, 0.25])
    """
    from scipy.optimize import minimize  # here, since no other part of the package needs it

    loss = _loss(predictions, y, sample_weight)
    weights = np.zeros(len(predictions))
    weights[np.argmin([loss(single)[0] for single in np.eye(len(predictions))])] = 1

    def on_face(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        full = np.zeros_like(weights)
        full[face] = values
        value, gradient = loss(full)
        return value, gradient[face]

    # Few cycles have a weight. From the best one on, those are let in that the gradient asks for,
    # until it asks for none: then the minimum over those few is that over all.
    for _ in range(len(predictions)):
        gradient = loss(weights)[1]
        wanted = gradient < gradient @ weights - _SLACK
        wanted &= weights == 0
        if not wanted.any():
            break
        asked = np.flatnonzero(wanted)
        asked = asked[np.argsort(gradient[asked])][:_AT_ONCE]
        face = np.sort(np.concatenate([np.flatnonzero(weights), asked]))
        found = minimize(
            on_face,
            weights[face],
            jac=True,
            method="SLSQP",
            bounds=[(0, 1)] * len(face),
            constraints={
                "type": "eq",
                "fun": lambda a: a.sum() - 1,
                "jac": lambda a: np.ones_like(a),
            },
            options={"ftol": 1e-10, "maxiter": 200},
        )
        better = np.zeros(len(predictions))
        # Rounded, lest the number of BLAS's threads in the optimizer decide about the last bits.
        better[face] = np.where(found.x > _NO_WEIGHT, found.x, 0).round(6)
        better /= better.sum()
        if loss(better)[0] >= loss(weights)[0]:
            break
        weights = better
    return weights


def greedy(
    predictions: NDArray[np.float64], y: NDArray[Any], sample_weight: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Ensemble selection with replacement (Caruana et al. 2004, section 2.1).

    Round after round the cycle is added that lowers the loss of the mean most; the best of all
    rounds counts. Parameters and result as in :func:`stacked`.
    """
    loss = _loss(predictions, y, sample_weight)
    counts, best, least = np.zeros(len(predictions)), np.zeros(0), np.inf
    for _ in range(_ROUNDS):
        candidates = counts + np.eye(len(predictions))
        candidates /= candidates[0].sum()
        losses = [loss(weights)[0] for weights in candidates]
        chosen = int(np.argmin(losses))
        counts[chosen] += 1
        if losses[chosen] < least:
            best, least = candidates[chosen], losses[chosen]
    return best


Loss = Callable[[NDArray[np.float64]], tuple[float, NDArray[np.float64]]]


def _loss(
    predictions: NDArray[np.float64], y: NDArray[Any], sample_weight: NDArray[np.float64]
) -> Loss:
    """Loss of the weighted mean and its gradient, as a function of the weights."""
    share = sample_weight / sample_weight.sum()
    return (_log_loss if y.ndim == 1 else _squared_error)(predictions, y, share)


def _log_loss(
    predictions: NDArray[np.float64], y: NDArray[Any], share: NDArray[np.float64]
) -> Loss:
    """Log-loss of class probabilities."""
    true = _of_true_class(predictions, y)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        p = _mean(weights, true).clip(_EPS)
        return -float((share * np.log(p)).sum()), -np.einsum("mn,n->m", true, share / p)

    return loss


def _mean(weights: NDArray[np.float64], values: NDArray[Any]) -> NDArray[np.float64]:
    """Weighted mean over the first axis, without BLAS, whose bits depend on its threads."""
    return np.einsum("m,m...->...", weights, values)


def _of_true_class(predictions: NDArray[Any], y: NDArray[Any]) -> NDArray[np.float64]:
    """Select the probabilities of the true classes, (M, n)."""
    if predictions.shape[2] == 1:  # they are all there is: see `Unseen.of_true_class`
        return predictions[:, :, 0]
    true = predictions[:, np.arange(len(y)), y]
    return np.ascontiguousarray(true, dtype=np.float64)


def _squared_error(
    predictions: NDArray[np.float64], y: NDArray[Any], share: NDArray[np.float64]
) -> Loss:
    """Squared error: with weights of sum 1 a quadratic form of the errors, up to a factor."""
    errors = (predictions - y) * np.sqrt(share)[:, None]
    errors = errors.reshape(len(errors), -1)
    products = np.einsum("ip,jp->ij", errors, errors)
    # By the best cycle's: one that is far off must not set the measure.
    least = max(products.diagonal().min(), np.finfo(np.float64).eps * np.trace(products))
    products /= max(least, np.finfo(np.float64).tiny)

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        gradient = np.einsum("ij,j->i", products, weights)
        return float((weights * gradient).sum()), 2 * gradient

    return loss


#: Rules that need nothing but the number of cycles.
RULES: dict[str, Callable[[int], NDArray[np.float64]]] = {"all": all_cycles}

#: Rules that look at unseen rows.
UNSEEN_RULES: dict[str, Callable[..., NDArray[np.float64]]] = {
    "stacked": stacked,
    "greedy": greedy,
}


def cycle_weights(members: Any, n_cycles: int, unseen: Unseen | None = None) -> NDArray[np.float64]:
    """Weight of each cycle.

    Parameters
    ----------
    members : str, int or callable
        A key of :data:`RULES` or :data:`UNSEEN_RULES`, "auto", how many of the last cycles count,
        or a function like :func:`stacked`.
    n_cycles : int
    unseen : Unseen, default=None
        Predictions of these cycles for unseen rows, where there are any.

    Returns
    -------
    weights : ndarray of float64 of shape (n_cycles,)
        Sums to 1.

    Raises
    ------
    ValueError
        If a callable returns something else.

    Examples
    --------
    >>> from skensemble.members import cycle_weights
    >>> cycle_weights(2, n_cycles=4)
    array([0. , 0. , 0.5, 0.5])
    """
    if not needs_unseen(members) and not (members == "auto" and unseen is not None):
        if isinstance(members, str):
            return RULES["all" if members == "auto" else members](n_cycles)
        return last_cycles(n_cycles, int(members))
    if unseen is None or not unseen.sample_weight.any():
        return all_cycles(n_cycles)
    rule = (
        members if callable(members) else UNSEEN_RULES["stacked" if members == "auto" else members]
    )
    weights = np.asarray(rule(*unseen), dtype=np.float64)
    good = weights.shape == (n_cycles,) and np.isfinite(weights).all() and (weights >= 0).all()
    if not good or not weights.any():
        raise ValueError(
            f"Got {weights} from members={members!r}, but expected {n_cycles} weights of at least "
            "0, not all of them 0."
        )
    return weights / weights.sum()


def needs_unseen(members: Any) -> bool:
    """Whether a rule can choose only by rows that were left out."""
    return callable(members) or (isinstance(members, str) and members in UNSEEN_RULES)


def average(outputs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted means over members (Huang et al. 2017, section 3).

    Parameters
    ----------
    outputs : Tensor of float64 of shape (M, n, k)
        Fastest where the rows lie next to each other in memory.
    weights : Tensor of float64 of shape (S, M)
        A row for each mean.

    Returns
    -------
    means : Tensor of float64 of shape (S, n, k)
    """
    n_members, n, k = outputs.shape
    return (weights @ outputs.mT.reshape(n_members, -1)).reshape(-1, k, n).mT


def majority(probabilities: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weight of the members that vote for each class; shapes as in :func:`average`.

    A tie goes to the first class, where ``argmax`` is taken of the result.
    """
    n_classes = probabilities.shape[-1]
    votes = nn.functional.one_hot(probabilities.argmax(dim=-1), n_classes).to(weights.dtype)
    # Rounded, so that equal sums of equal weights tie whatever their order.
    return average(votes, weights).round(decimals=12)
