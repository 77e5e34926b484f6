"""What "auto" stands for: rules that look at the number of rows alone."""

import math

import numpy as np

#: Up to so many rows in one batch, the built-in network trains in float64 and without any dropout,
#: so that a row of weight two is a row that stands twice, to rounding.
SMALL = 32

#: From so many rows on, the network and the number of its chains are those of large tables, and
#: of the largest.
_MANY, _MOST = 10_000, 200_000


def auto_batch_size(n_samples: int) -> int:
    """``n_samples / 24`` rounded to a power of two from 32 to 128."""
    return int(2 ** np.clip(np.rint(np.log2(n_samples / 24)), 5, 7))


def auto_n_chains(n_samples: int, is_classifier: bool) -> int:
    """Eight, or sixteen in a regressor of less than 10,000 rows.

    Four from 200,000 rows on, where more no longer lower the loss; fewer for few rows: one for
    each 16, and one up to 32 rows.
    """
    if n_samples >= _MOST:
        return 4
    most = 8 if is_classifier or n_samples >= _MANY else 16
    return 1 if n_samples <= SMALL else min(most, n_samples // 16)


def auto_hidden(n_samples: int, n_chains: int, is_classifier: bool) -> tuple[int, int]:
    """128 units in each of two layers, but fewer where those would not lower the loss.

    A classifier of less than 10,000 rows has 64 in the second layer; more than eight chains of a
    regressor have 64 in both: sixteen of them take as long as eight large ones.
    """
    if is_classifier:
        return (128, 64) if n_samples < _MANY else (128, 128)
    return (64, 64) if n_chains > 8 else (128, 128)


def auto_column_dropout(n_samples: int, is_classifier: bool) -> float:
    """0.1 in a classifier of less than 200,000 rows.

    More rows keep a network from hanging on single columns by themselves, and a regressor loses
    accuracy.
    """
    return 0.1 if is_classifier and n_samples < _MOST else 0.0


def auto_max_epochs(n_samples: int) -> int:
    """So many epochs that there are 4,000 steps, at least 10 and at most 250.

    Below 500 rows at most as many as half the rows, but not below 100.
    """
    steps_per_epoch = math.ceil(n_samples / auto_batch_size(n_samples))
    most = int(np.clip(n_samples // 2, 100, 250))
    return int(np.clip(round(4000 / steps_per_epoch), 10, most))
