"""Which fold each row is in.

Copies of a row share a fold, or a chain would be judged by rows that it has seen: with rows drawn
at random, the log-loss of a bootstrap sample was .033 where the truth was .095. But where values
repeat by nature, new rows repeat them too. Leaving out whole values then judges chains by what they
need not do: three categories, each in 333 rows, were predicted with .13 where the frequency was
.04. Two bounds tell the cases apart, both found by experiment (``tests/test_assignment.py``):

- Rows are spread one by one, copies over all folds, where at most :data:`FEW_DISTINCT` of them are
  distinct and most distinct rows have copies. So it is with XOR, categorical columns, or a designed
  experiment with replicates; not with a bootstrap sample (63 % distinct) or an oversampled minority
  (whose other class has no copies).
- Otherwise a value is spread alone if it has more rows than a fold.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skensemble._types import Floats

from .hashes import Hashes

#: Up to this share of distinct rows, rows are spread one by one.
FEW_DISTINCT = 0.3

#: The values with most copies are placed one by one, so many for each fold, since that balances
#: best. The others are placed by their hash, so that nothing need be kept of them.
_PLACED = 32


class Assignment(NamedTuple):
    """How the rows of a first call came into folds, so that copies in later calls join them."""

    #: Part of the rows that each fold is to have.
    shares: Floats
    is_by_row: bool
    #: Hashes of the values that are spread over the folds.
    spread: Hashes
    #: Hashes of large values that are kept together, sorted, and the fold of each.
    placed: Hashes
    fold_of_placed: NDArray[np.int64]
    #: All other values: the least hash of each fold but the first.
    starts: Hashes


def learn_folds(hashes: Hashes, shares: Floats, *, are_groups: bool) -> Assignment:
    """Decide which values share a fold, and in which fold they are.

    The folds' sizes differ by at most the largest value that is kept together, or by one row.

    Parameters
    ----------
    hashes : ndarray of uint64 of shape (n_samples,)
        A hash of each row's values, or of its group.
    shares : ndarray of float64 of shape (n_folds,)
        Part of the rows that each fold is to have.
    are_groups : bool
        Whether rows of equal hashes are kept together however many they are.
    """
    values, counts = np.unique(hashes, return_counts=True)
    n, n_distinct, fold_size = len(hashes), len(values), len(hashes) * shares.min()
    n_single = int(np.count_nonzero(counts == 1))
    is_by_row = not are_groups and n_distinct <= FEW_DISTINCT * n and 2 * n_single <= n_distinct
    is_spread = np.full(n_distinct, is_by_row)
    if not are_groups:
        is_spread |= counts > fold_size
    load = shares * counts[is_spread].sum()
    copied = np.flatnonzero(~is_spread & (counts > 1))
    largest = copied[np.argsort(-counts[copied], kind="stable")][: _PLACED * len(shares)]
    fold_of = np.full(n_distinct, -1)
    for value in largest:
        fold_of[value] = np.argmin(load / shares)  # the emptiest
        load[fold_of[value]] += counts[value]
    placed = np.sort(largest)
    small = np.flatnonzero(~is_spread & (fold_of < 0))
    room = _room(load, shares, counts[small].sum())
    middle = np.cumsum(counts[small]) - counts[small] / 2
    fold_of_small = np.searchsorted(np.cumsum(room)[:-1], middle, side="right")
    first = np.searchsorted(fold_of_small, np.arange(1, len(shares)))
    ends = np.append(values[small], np.iinfo(np.uint64).max)
    return Assignment(
        shares,
        is_by_row,
        values[:0] if is_by_row else values[is_spread],
        values[placed],
        fold_of[placed],
        ends[first],
    )


def _room(load: Floats, shares: Floats, n_rows: int) -> Floats:
    """Return how many further rows each fold takes, so that all come to the same level."""
    order = np.argsort(load / shares)
    levels = (n_rows + np.cumsum(load[order])) / np.cumsum(shares[order])
    # Folds are filled from the emptiest on; those above the level that results take none.
    level = levels[np.flatnonzero(levels >= (load / shares)[order])[-1]]
    return np.maximum(level * shares - load, 0)


def assign_folds(assignment: Assignment, hashes: Hashes, seed: int) -> NDArray[np.int64]:
    """Return the fold of each row, in the call that learned the assignment or in a later one."""
    fold = np.searchsorted(assignment.starts, hashes, side="right")
    if len(assignment.placed):
        place = np.searchsorted(assignment.placed, hashes).clip(max=len(assignment.placed) - 1)
        is_placed = assignment.placed[place] == hashes
        fold[is_placed] = assignment.fold_of_placed[place[is_placed]]
    is_spread = np.isin(hashes, assignment.spread) | assignment.is_by_row
    rows = np.flatnonzero(is_spread)
    random = np.random.default_rng([seed % 2**32, 3]).permutation(len(rows))
    # Copies stand in a row, so that dealing them out in turn puts as many into each fold.
    fold[rows[np.lexsort((random, hashes[rows]))]] = _deal(len(rows), assignment.shares)
    return fold


def _deal(n: int, shares: Floats) -> NDArray[np.int64]:
    """Deal out rows in turn, each fold its share."""
    if np.ptp(shares) == 0:
        return np.arange(n) % len(shares)
    done = np.floor(np.arange(n + 1) * shares[0] + 0.5)
    return 1 - np.diff(done).astype(np.int64)
