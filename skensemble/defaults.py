"""What "auto" stands for: rules that look at the number of rows alone."""

import math

import numpy as np

#: Up to so many rows in one batch, the built-in network trains in float64 and without dropout,
#: so that a row of weight two is a row that stands twice, to rounding.
SMALL = 32


def auto_batch_size(n_samples: int) -> int:
    """``n_samples / 24`` rounded to a power of two from 32 to 128."""
    return int(2 ** np.clip(np.rint(np.log2(n_samples / 24)), 5, 7))


def auto_n_chains(n_samples: int, most: int = 8) -> int:
    """As many as are worth their time.

    Four from 200,000 rows on, where more no longer lower the loss; fewer for few rows: one for
    each 16, and one up to 32 rows.

    Parameters
    ----------
    n_samples : int
    most : int, default=8
        Below 10,000 rows; from there on eight at most.
    """
    if n_samples >= 200_000:
        return 4
    return 1 if n_samples <= SMALL else min(most if n_samples < 10_000 else 8, n_samples // 16)


def auto_hidden(n_chains: int) -> tuple[int, int]:
    """Units of the hidden layers: 128-128, and 64-64 where there are more than eight chains.

    Sixteen small networks take as long as eight large ones.
    """
    return (64, 64) if n_chains > 8 else (128, 128)


def auto_max_epochs(n_samples: int) -> int:
    """So many epochs that there are 4,000 steps, at least 10 and at most 250.

    Below 500 rows at most as many as half the rows, but not below 100.
    """
    steps_per_epoch = math.ceil(n_samples / auto_batch_size(n_samples))
    most = int(np.clip(n_samples // 2, 100, 250))
    return int(np.clip(round(4000 / steps_per_epoch), 10, most))
