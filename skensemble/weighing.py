"""What the cycles are worth, and what unseen rows say of them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._data.targets import Targets
from ._nets.snapshots import Snapshots
from ._types import Array
from ._uncertainty.conformal import Conformity
from ._uncertainty.temperature import find_temperature
from .members import cycle_weights
from .scoring import EVEN, is_of_two_classes
from .unseen import UnseenRows


class Verdict(NamedTuple):
    """What unseen rows say of the cycles."""

    #: Score after 1, 2, … cycles.
    cycle_scores: NDArray[np.float64]
    #: Weighted mean of the predictions for each row, where it is out of fold.
    predictions: NDArray[np.float64] | None
    #: R2 under the weights of all cycles; None for classes.
    r2: float | None = None
    #: How far off the predictions were; None: not known.
    conformity: Conformity | None = None
    #: Of probabilities, after the mean.
    temperature: float = 1.0
    #: Probability of the second of two classes above which it is predicted.
    threshold: float = EVEN


def threshold_of(verdict: Verdict | None) -> float:
    """Return the probability of the second of two classes above which it is predicted."""
    return EVEN if verdict is None else verdict.threshold


def show_threshold(targets: Targets, verdict: Verdict | None) -> float | None:
    """Return the fitted attribute; None where there are not two classes."""
    return threshold_of(verdict) if is_of_two_classes(targets) else None


def decide(targets: Targets, verdict: Verdict | None, combined: NDArray[np.float64]) -> Array:
    """Return the predictions that combined values stand for."""
    threshold = threshold_of(verdict)
    if verdict is not None and threshold != EVEN:
        p = targets.temper(combined, verdict.temperature)[..., 1]
        # A class is predicted where its column is the greatest, of equal ones the first.
        combined = np.stack([np.full_like(p, threshold), p], axis=-1)
    return targets.decode(combined)


class Weighed(NamedTuple):
    """Snapshots, their weights, and what unseen rows say: fields of the same name of Fitted."""

    snapshots: Snapshots
    stage_weights: NDArray[np.float64]
    verdict: Verdict | None


def weigh_cycles(
    gather: Callable[[Sequence[int]], Snapshots],
    n_cycles: int,
    n_chains: int,
    n_per_cycle: int,
    members: Any,
    unseen: UnseenRows | None,
    targets: Targets,
) -> Weighed:
    """Weigh the cycles, by unseen rows where there are some.

    Parameters
    ----------
    gather : callable
        Returns all snapshots, in the order of :class:`Fitted`. It is given the indices of those
        that are to lie next to each other.
    n_cycles, n_chains : int
    n_per_cycle : int
        Snapshots of all chains in each cycle.
    members : str, int or callable
        The rule for members where there are no unseen rows; unseen rows have their own.
    unseen : UnseenRows or None
        It has seen all cycles.
    targets : Targets
    """
    if unseen is None:
        by_cycle = [cycle_weights(members, m) for m in range(1, n_cycles + 1)]
    else:
        unseen.keep(n_cycles)
        by_cycle = [cycle.weights for cycle in unseen.cycles]
    stage_weights = np.zeros((n_cycles, n_cycles))
    for m, weights in enumerate(by_cycle):
        stage_weights[m, : m + 1] = weights
    # Those that predict lie side by side, so that they need not be copied for it.
    first = np.flatnonzero(of_members(stage_weights[-1], n_per_cycle)).tolist()
    verdict = None if unseen is None else _verdict(unseen, n_chains, targets)
    return Weighed(gather(first), stage_weights, verdict)


def _verdict(unseen: UnseenRows, n_chains: int, targets: Targets) -> Verdict:
    scores = np.array([cycle.score for cycle in unseen.cycles])
    # With one chain, or rows that no chain has seen, predictions are those of predict.
    is_out_of_fold = n_chains > 1 and not unseen.is_unseen_by_all
    combined = unseen.combine()
    predictions = targets.shape_unseen(combined) if is_out_of_fold else None
    temperature = targets.choose_temperature(lambda: find_temperature(*unseen.beside(combined)))
    conformity = unseen.conformity(combined)
    threshold = unseen.threshold(combined, temperature)
    return Verdict(scores, predictions, unseen.r2(combined), conformity, temperature, threshold)


def of_members(by_cycle: NDArray[np.float64], n_per_cycle: int) -> NDArray[np.float64]:
    """Turn weights of cycles into those of snapshots: all of a cycle share one."""
    return np.repeat(by_cycle / n_per_cycle, n_per_cycle, axis=-1)


def of_each_chain(
    by_cycle: NDArray[np.float64], n_chains: int, n_per_cycle: int
) -> NDArray[np.float64]:
    """Turn weights of cycles into those of snapshots in each chain alone, a row for each chain."""
    n_times = n_per_cycle // n_chains
    own = np.tile(np.eye(n_chains), n_times)
    return np.kron(by_cycle / n_times, own).astype(np.float64, copy=False)
