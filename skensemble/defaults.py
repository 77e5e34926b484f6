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


def auto_lr(n_samples: float, *, is_built_in: bool, is_classifier: bool) -> float:
    """Return 0.008 for classes, and 0.012 for values.

    For values the built-in network has 0.018 up to 1,000 rows, 0.012 from 3,000 on, and a power of
    the number of rows in between. At the higher rate 200 epochs of 570 to 1,100 rows in batches of
    64 are as good as 220 in batches of 32. At 3,000 rows it raises the loss of a smooth target by
    3 %.
    """
    if is_classifier:
        return 0.008
    if not is_built_in:
        return 0.012
    return 0.018 * min(max(n_samples / 1_000, 1.0), 3.0) ** -math.log(1.5, 3)


def auto_cycle_mult(*, is_built_in: bool, is_classifier: bool) -> float:
    """Return 2 for values and the built-in network, else 1.5.

    Where cycles are weighted, those of values are the better the longer they are. In a plain mean,
    as a module of the user's has it, the short ones count as much as the others.
    """
    return 2.0 if is_built_in and not is_classifier else 1.5


def auto_betas(*, is_built_in: bool) -> tuple[float, float]:
    """Return those of AdamW: a second moment with a shorter memory than Adam's own, 0.999.

    The rate falls to zero many times in a run, and the end of a cycle must not remember its
    beginning. The cycles of the built-in network have fewer steps.
    """
    return 0.9, 0.97 if is_built_in else 0.99


def auto_batch_size(n_samples: int, *, is_built_in: bool) -> int:
    """Round ``n_samples / 12`` to a power of two from 32 to 128; for own modules a 24th."""
    n_batches = 12 if is_built_in else 24
    return int(2 ** np.clip(np.rint(np.log2(n_samples / n_batches)), 5, 7))


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


def auto_max_epochs(n_samples: int, n_columns: int = 1, *, is_built_in: bool) -> int:
    """Return so many epochs that there are 3,200 steps, at least 10 and at most 200.

    A module of the user's, whose members have equal weights, has 4,000 steps, and at most 250
    epochs. Few rows have at most half as many epochs as rows, but at least 100 are allowed. Where
    there are more columns than rows (and than 128), there are so many times fewer epochs as there
    are more columns: a network then knows its rows by heart after a few.
    """
    n_steps, most = (3_200, 200) if is_built_in else (4_000, 250)
    steps_per_epoch = math.ceil(n_samples / auto_batch_size(n_samples, is_built_in=is_built_in))
    most = int(np.clip(n_samples // 2, 100, most))
    epochs = min(round(n_steps / steps_per_epoch), most)
    return max(10, round(epochs * min(1.0, max(n_samples, _NARROW) / n_columns)))
