"""Which cycles count, with what weight, and the members' outputs combined.

A rule for members is one function, registered in a table: in :data:`RULES` if it needs the number
of cycles alone, in :data:`UNSEEN_RULES` if it looks at what the cycles predicted for unseen rows.
"""

import inspect
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from ._types import Array, Floats, Members
from ._warnings import short
from .measures import Loss, Measure, measure_of

#: Rounds of the greedy selection.
_ROUNDS = 100

#: Of what takes long to ask: how often it is, about, and the rounds without gain that are the last.
_ASKED, _NO_GAIN = 40, 2

#: Weights below this are rounding of the optimizer's.
_NO_WEIGHT = 1e-5

#: Least gain, by the gradient, for which a further cycle is let in, and how many are at once.
_SLACK, _AT_ONCE = 1e-7, 8

#: Most by which a minimum may lie below what was found. The optimizer ends some 1e-6 above it, or
#: far above: where it is stuck.
_STUCK = 1e-3


class Unseen(NamedTuple):
    """What each cycle predicted for rows that it has not seen, and the truth."""

    #: Of shape (M, n, k): class probabilities, or values.
    predictions: Floats
    #: Class indices of shape (n,), or values of shape (n, k).
    y: Array
    #: Of shape (n,).
    sample_weight: Floats
    #: None: the log-loss of class indices, the squared error of values.
    measure: Measure | None = None

    @classmethod
    def of_true_class(cls, probabilities: Array, sample_weight: Floats) -> "Unseen":
        """Hold the probabilities of the true class alone, (M, n): the only class, number 0."""
        y = np.broadcast_to(np.intp(0), probabilities.shape[1:])
        return cls(probabilities[:, :, None], y, sample_weight)

    def up_to(self, n_cycles: int) -> "Unseen":
        """Return the same for the first cycles alone."""
        return self._replace(predictions=self.predictions[:n_cycles])

    def in_units(self, units: Floats) -> "Unseen":
        """Divide the values of each output by its unit, so that each counts alike."""
        # An output may have several values, such as quantiles.
        each = np.repeat(units, self.predictions.shape[2] // len(units))
        measure = None if self.measure is None else self.measure.in_units(units)
        return self._replace(predictions=self.predictions / each, y=self.y / units, measure=measure)

    def score(self, weights: Floats) -> float:
        """Return the score of the weighted mean: higher is better."""
        measure = measure_of(self.y) if self.measure is None else self.measure
        return measure.score(self.predictions, self.y, self.sample_weight, weights)


def all_cycles(n_cycles: int) -> Floats:
    """Give every cycle the same weight (Huang et al. 2017)."""
    return np.full(n_cycles, 1 / n_cycles)


def last_cycles(n_cycles: int, m: int) -> Floats:
    """Weigh the last `m` cycles alike, or all where there are fewer (Huang et al. 2017, sec. 3)."""
    weights = np.zeros(n_cycles)
    weights[-m:] = 1 / min(m, n_cycles)
    return weights


def stacked(
    predictions: Floats, y: Array, sample_weight: Floats, measure: Measure | None = None
) -> Floats:
    """Find the convex weights of the cycles with the least loss on unseen rows.

    The minimum of a convex loss over the simplex is a convex problem (Wolpert 1992; Breiman 1996,
    section 2). It is at most that of the best cycle alone and that of equal weights. Of a measure
    that is not convex they are those of :func:`greedy`, if it prefers these to the weights of least
    loss.

    Parameters
    ----------
    predictions : ndarray of float64 of shape (M, n, k)
        Class probabilities, or values.
    y : ndarray of shape (n,) or (n, k)
        Class indices, or values.
    sample_weight : ndarray of float64 of shape (n,)
    measure : Measure, default=None
        The loss. None: the log-loss or the squared error.

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
    if measure is not None and not measure.is_convex:
        usual = stacked(predictions, y, sample_weight, measure.usual)
        found = greedy(predictions, y, sample_weight, measure)
        return found if measure.prefers(found, usual, predictions, y, sample_weight) else usual
    loss = _loss_of_weights(predictions, y, sample_weight, measure)
    weights = _from_the_best(loss, len(predictions))
    gradient = loss(weights)[1]
    # A convex loss is nowhere less than its tangent.
    if gradient @ weights - gradient.min() > _STUCK:
        # Each cycle alone may be so sure of a mistake that its slope there says nothing. The mean
        # of all is not.
        equal = all_cycles(len(predictions))
        others = [equal, _minimize(loss, equal, np.arange(len(predictions)))]
        weights = min([weights, *others], key=lambda w: loss(w)[0])
    return weights


def _from_the_best(loss: Loss, n_cycles: int) -> Floats:
    """Find convex weights of little loss, beginning with the best cycle alone."""
    weights = np.zeros(n_cycles)
    weights[np.argmin([loss(single)[0] for single in np.eye(n_cycles)])] = 1
    return _improve(loss, weights)


def _improve(loss: Loss, weights: Floats) -> Floats:
    """Lower the loss from weights on, until no further cycle would.

    Few cycles have a weight. Those are let in that the gradient asks for, until it asks for none:
    then the minimum over those few is that over all.
    """
    for _ in range(len(weights)):
        gradient = loss(weights)[1]
        asked = np.flatnonzero((gradient < gradient @ weights - _SLACK) & (weights == 0))
        if not len(asked):
            break
        asked = asked[np.argsort(gradient[asked])][:_AT_ONCE]
        better = _minimize(loss, weights, np.sort([*np.flatnonzero(weights), *asked]))
        if not loss(better)[0] < loss(weights)[0]:
            break
        weights = better
    return weights


def _minimize(loss: Loss, start: Floats, face: Array) -> Floats:
    """Find the best convex weights that are 0 outside of the cycles in `face`."""
    from scipy.optimize import minimize  # here, since no other part of the package needs it

    def on_face(values: Floats) -> tuple[float, Floats]:
        weights = np.zeros_like(start)
        weights[face] = values
        value, gradient = loss(weights)
        return value, gradient[face]

    sums_to_one = {"type": "eq", "fun": lambda a: a.sum() - 1, "jac": np.ones_like}
    found = minimize(
        on_face,
        start[face],
        jac=True,
        method="SLSQP",
        bounds=[(0, 1)] * len(face),
        constraints=sums_to_one,
        options={"ftol": 1e-10, "maxiter": 200},
    )
    weights = np.zeros_like(start)
    # Rounded, lest the number of BLAS's threads in the optimizer decide about the last bits.
    weights[face] = np.where(found.x > _NO_WEIGHT, found.x, 0).round(6)
    return weights / weights.sum()


def greedy(
    predictions: Floats, y: Array, sample_weight: Floats, measure: Measure | None = None
) -> Floats:
    """Select cycles one by one, with replacement (Caruana et al. 2004, section 2.1).

    Each round adds the cycle that lowers the loss of the mean most; the best round counts, or
    equal weights where no round is as good. By a measure that is not convex, which takes long to
    ask, two rounds without gain are the last, and there are fewer.
    Parameters and result are those of :func:`stacked`.
    """
    loss = _loss_of_weights(predictions, y, sample_weight, measure)
    counts, best, least = np.zeros(len(predictions)), np.zeros(0), np.inf
    is_quick, since = measure is None or measure.is_convex, 0
    for _ in range(_ROUNDS if is_quick else max(3, _ASKED // len(predictions))):
        candidates = counts + np.eye(len(predictions))
        candidates /= candidates[0].sum()
        losses = [loss(weights)[0] for weights in candidates]
        chosen = int(np.argmin(losses))
        counts[chosen] += 1
        if losses[chosen] < least:
            best, least, since = candidates[chosen], losses[chosen], 0
            continue
        since += 1
        if since == _NO_GAIN and not is_quick:
            break
    equal = all_cycles(len(predictions))
    return equal if loss(equal)[0] < least else best


def best_subset(unseen: Unseen, n_cycles: int) -> list[int]:
    """Return the cycles whose equal mean has the least loss, found one by one.

    Each round adds the cycle that lowers the loss of the mean most, or raises it least
    (Caruana et al. 2004, section 2, without replacement).

    Parameters
    ----------
    unseen : Unseen
    n_cycles : int
        How many to find.

    Returns
    -------
    cycles : list of int
        In order of time.
    """
    loss = _loss_of_weights(*unseen)
    chosen = np.zeros(len(unseen.predictions))
    for _ in range(n_cycles):
        left = np.flatnonzero(chosen == 0)
        losses = [loss((chosen + one) / (chosen.sum() + 1))[0] for one in np.eye(len(chosen))[left]]
        chosen[left[np.argmin(losses)]] = 1
    return np.flatnonzero(chosen).tolist()


def _loss_of_weights(
    predictions: Floats, y: Array, sample_weight: Floats, measure: Measure | None = None
) -> Loss:
    """Return the loss of the weighted mean of predictions, as a function of the weights."""
    total = sample_weight.sum()
    if sample_weight.strides == (0,):  # all rows share one number
        share = np.broadcast_to(sample_weight[0] / total, sample_weight.shape)
    else:
        share = sample_weight / total
    chosen = measure_of(y) if measure is None else measure
    return chosen.loss_of_weights(predictions, y, share)


#: Rules that need nothing but the number of cycles.
RULES: dict[str, Callable[[int], Floats]] = {"all": all_cycles}

#: Rules that look at unseen rows.
UNSEEN_RULES: dict[str, Callable[..., Floats]] = {"stacked": stacked, "greedy": greedy}


def cycle_weights(
    members: Members,
    n_cycles: int,
    unseen: Unseen | None = None,
    *,
    before: Floats | None = None,
) -> Floats:
    """Weigh the cycles by a rule.

    Parameters
    ----------
    members : str, int or callable
        A key of :data:`RULES` or :data:`UNSEEN_RULES`, how many of the last cycles count, or a
        function like :func:`stacked`; "auto" is "stacked" where there are unseen rows, else "all".
    n_cycles : int
    unseen : Unseen, default=None
        Predictions of these cycles for unseen rows, where there are any.
    before : ndarray of float64 of shape (n_cycles - 1,), default=None
        Weights by the same rule without the last cycle, from which "stacked" goes on.

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
    if members == "auto":
        members = "all" if unseen is None else "stacked"
    if isinstance(members, str) and members not in UNSEEN_RULES:
        return RULES[members](n_cycles)
    if not isinstance(members, str) and not callable(members):
        return last_cycles(n_cycles, int(members))
    if unseen is None or not unseen.sample_weight.any():
        return all_cycles(n_cycles)
    is_convex = unseen.measure is None or unseen.measure.is_convex
    if members == "stacked" and before is not None and is_convex:
        return _improve(_loss_of_weights(*unseen), np.append(before, 0.0))
    rule: Callable[..., ArrayLike] = members if callable(members) else UNSEEN_RULES[members]
    weights = _ask(rule, unseen)
    are_finite = weights.shape == (n_cycles,) and np.isfinite(weights).all()
    if not are_finite or (weights < 0).any() or not weights.any():
        raise ValueError(
            f"Got {short(weights.tolist())} from members={short(members)}, but expected "
            f"{n_cycles} weights of at least 0, not all of them 0. Return an array with one for "
            "each cycle."
        )
    return weights / weights.sum()


def _ask(rule: Callable[..., ArrayLike], unseen: Unseen) -> Floats:
    """Return what a rule answers as numbers; a user's own may answer anything."""
    try:
        # A rule of the user's knows nothing of measures.
        given = unseen if rule in UNSEEN_RULES.values() else unseen[:3]
        return np.asarray(rule(*given), dtype=np.float64)
    except (TypeError, ValueError) as error:
        if rule in UNSEEN_RULES.values():
            raise
        names = ", ".join([*inspect.signature(Unseen).parameters][:3])
        raise ValueError(
            f"Got members={short(rule)}, but expected a function of ({names}) "
            f"that returns one weight for each cycle; it ended in {type(error).__name__}: {error}."
        ) from error


def needs_unseen(members: Members) -> bool:
    """Tell whether a rule can choose only by rows that were left out."""
    return callable(members) or (isinstance(members, str) and members in UNSEEN_RULES)


def at_most_one(probabilities: Floats) -> Floats:
    """Clip weighted means, which rounding lifts above 1; scikit-learn's log_loss refuses that."""
    return np.minimum(probabilities, 1, out=probabilities)


def average(outputs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return weighted means over members (Huang et al. 2017, section 3).

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
    """Return the weight of the members that vote for each class, in shapes as :func:`average`.

    A tie goes to the first class, where ``argmax`` is taken of the result.
    """
    n_classes = probabilities.shape[-1]
    votes = nn.functional.one_hot(probabilities.argmax(dim=-1), n_classes).to(weights.dtype)
    # Rounded, so that equal sums of equal weights tie whatever their order.
    return average(votes, weights).round(decimals=12)


def majority_of_labels(probabilities: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Return the weight of the members that vote for each label, in shapes as :func:`average`.

    Each label is voted on for itself. It is there where it has more than half of the weight: at a
    tie it is not.
    """
    votes = (probabilities > 0.5).to(weights.dtype)
    return average(votes, weights).round(decimals=12)
