"""How far the late cycles of a chain are apart: where they disagree, they err more."""

from collections.abc import Sequence

import numpy as np
from sklearn.isotonic import IsotonicRegression

from skensemble._types import Array, Floats

#: Least scale of errors, as a part of their mean: no interval is to be a point.
_LEAST = 0.2


def late_cycles(n_cycles: int) -> int:
    """Return the first of the later half of the cycles."""
    return n_cycles // 2


def spread_of(late: Sequence[Array]) -> Floats:
    """Return the standard deviation over late cycles, of shape (n, k)."""
    mean = np.mean(late, axis=0, dtype=np.float64)
    apart = [part - mean for part in late]
    unit = max(float(np.abs(part).max(initial=0)) for part in apart) or 1.0  # or squares overflow
    return unit * np.sqrt(np.mean([(part / unit) ** 2 for part in apart], axis=0))


def scales_of(spread: Floats, residuals: Floats, weight: Floats | None, new: Floats) -> Floats:
    """Return the mean size of errors at new spreads, by those of unseen rows.

    Parameters
    ----------
    spread, residuals : ndarray of shape (n,)
        Of unseen rows: a rising step function of the first fits the second best.
    weight : ndarray of shape (n,) or None
    new : ndarray of any shape

    Returns
    -------
    scales : ndarray of the shape of `new`
        Above 0.
    """
    size = float(np.average(residuals, weights=weight))
    if size == 0:
        return np.ones_like(new)
    rule = IsotonicRegression(y_min=_LEAST * size, out_of_bounds="clip")
    rule.fit(spread, residuals, sample_weight=weight)
    return rule.predict(new.ravel()).reshape(new.shape)
