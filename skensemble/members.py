"""Which members count, with what weight, and their outputs combined.

A rule for members is one function of the number of cycles, registered in :data:`RULES`.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn


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
