"""Which members count, with what weight, and their outputs combined.

A rule for members is one function of the number of cycles, registered in :data:`RULES`.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def all_cycles(n_cycles: int) -> NDArray[np.float64]:
    """Every cycle, with the same weight (Huang et al. 2017)."""
    return np.full(n_cycles, 1 / n_cycles)


def last_cycles(n_cycles: int, m: int) -> NDArray[np.float64]:
    """The last `m` cycles, all where there are fewer (Huang et al. 2017, section 3)."""
    weights = np.zeros(n_cycles)
    weights[-m:] = 1 / min(m, n_cycles)
    return weights


RULES: dict[str, Callable[[int], NDArray[np.float64]]] = {"all": all_cycles}


def cycle_weights(members: str | int, n_cycles: int) -> NDArray[np.float64]:
    """Weight of each cycle.

    Parameters
    ----------
    members : str or int
        A key of :data:`RULES`, or how many of the last cycles count.
    n_cycles : int

    Returns
    -------
    weights : ndarray of float64 of shape (n_cycles,)
        Sums to 1.

    Examples
    --------
    >>> from skensemble.members import cycle_weights
    >>> cycle_weights(2, n_cycles=4)
    array([0. , 0. , 0.5, 0.5])
    """
    if isinstance(members, str):
        return RULES[members](n_cycles)
    return last_cycles(n_cycles, int(members))


def average(outputs: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weighted mean over members: ``(M, n, k)`` to ``(n, k)`` (Huang et al. 2017, eq. in 3)."""
    return np.einsum("mnk,m->nk", outputs, weights)


def majority(probabilities: NDArray[Any], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of the members that vote for each class: ``(M, n, k)`` to ``(n, k)``.

    A tie goes to the first class, where ``argmax`` is taken of the result.
    """
    n_classes = probabilities.shape[2]
    votes = np.eye(n_classes)[probabilities.argmax(axis=2)]
    # Rounded, so that equal sums of equal weights tie whatever their order.
    return average(votes, weights).round(12)
