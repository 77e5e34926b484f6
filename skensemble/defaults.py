"""What "auto" stands for: rules that look at the number of rows alone."""

import math

import numpy as np

#: Up to so many rows in one batch, the built-in network trains in float64 and without any dropout,
#: so that a row of weight two equals a row that stands twice, to rounding.
SMALL = 32

#: From so many rows on, a table is large, or huge: network and chains are chosen accordingly.
_LARGE, _HUGE = 10_000, 200_000

#: Up to so many columns, a table is not wide however few rows it has.
_NARROW = 128


def auto_batch_size(n_samples: int) -> int:
    """Round ``n_samples / 24`` to a power of two from 32 to 128."""
    return int(2 ** np.clip(np.rint(np.log2(n_samples / 24)), 5, 7))


def auto_n_chains(n_samples: int, is_classifier: bool) -> int:
    """Return eight, or sixteen in a regressor of fewer than 10,000 rows.

    From 200,000 rows on there are four, since more no longer lower the loss. Few rows have fewer:
    one chain for each 16 rows, and one up to 32.
    """
    if n_samples >= _HUGE:
        return 4
    most = 8 if is_classifier or n_samples >= _LARGE else 16
    return 1 if n_samples <= SMALL else min(most, n_samples // 16)


def auto_hidden(n_samples: int, n_chains: int, is_classifier: bool) -> tuple[int, int]:
    """Return 128 units in each of two layers, but fewer where those would not lower the loss.

    A classifier of fewer than 10,000 rows has 64 in the second layer. More than eight chains of a
    regressor have 64 in both: sixteen of them take as long as eight large ones.
    """
    if is_classifier:
        return (128, 64) if n_samples < _LARGE else (128, 128)
    return (64, 64) if n_chains > 8 else (128, 128)


def auto_column_dropout(n_samples: int, is_classifier: bool) -> float:
    """Return 0.1 in a classifier of fewer than 200,000 rows.

    More rows keep a network from hanging on single columns by themselves, and a regressor loses
    accuracy.
    """
    return 0.1 if is_classifier and n_samples < _HUGE else 0.0


def auto_max_epochs(n_samples: int, n_columns: int = 1) -> int:
    """Return so many epochs that there are 4,000 steps, at least 10 and at most 250.

    Below 500 rows there are at most half as many epochs as rows, but at least 100 are allowed.
    Where there are more columns than rows (and than 128), there are so many times fewer epochs as
    there are more columns: a network then knows its rows by heart after a few.
    """
    steps_per_epoch = math.ceil(n_samples / auto_batch_size(n_samples))
    most = int(np.clip(n_samples // 2, 100, 250))
    epochs = min(round(4000 / steps_per_epoch), most)
    return max(10, round(epochs * min(1.0, max(n_samples, _NARROW) / n_columns)))
