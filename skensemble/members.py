"""Which members count, with what weight, and their outputs combined.

A rule for members takes the number of cycles and returns a weight for each.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def cycle_weights(members: str | int, n_cycles: int) -> NDArray[np.float64]:
    """Weight of each cycle.

    Parameters
    ----------
    members : "all" or int
        An integer means the last so many cycles (Huang et al. 2017, section 3), all of them
        where there are fewer.
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
    last = n_cycles if members == "all" else min(int(members), n_cycles)
    weights = np.zeros(n_cycles)
    weights[n_cycles - last :] = 1 / last
    return weights


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
