"""How intervals are made of a fitted ensemble: around means, or between quantiles."""

from collections.abc import Callable

import numpy as np

from ._data.quantile_targets import QuantileTargets
from ._data.targets import Targets
from ._types import Floats
from ._uncertainty import conformal
from ._uncertainty.spread import late_cycles, scales_of
from ._warnings import short
from .fitted import Fitted, Source

#: How intervals are made.
METHODS = ("cv+", "normalized", "cqr")

#: Most that the mean of chains takes off the squared error of one.
_MOST_GAINED = 0.5


def choose_method(method: str | None, targets: Targets) -> str:
    """Return how intervals are made; refuse a way that there is not."""
    if method is None:
        return "cqr" if targets.levels else "cv+"
    if method not in METHODS:
        raise ValueError(f"Got method={short(method)}, but expected one of {METHODS}.")
    if method == "cqr" and not targets.levels:
        raise ValueError(
            "Got method='cqr' with an ensemble that predicts no quantiles, but expected 'cv+' or "
            "'normalized': fit with distribution='quantiles'."
        )
    return method


def make_intervals(
    fitted: Fitted,
    source: Source,
    conformity: conformal.Conformity,
    coverages: list[float],
    method: str,
) -> list[Floats]:
    """Return intervals for each coverage, of shape (n, 2, k)."""
    targets = fitted.targets
    if targets.levels and method != "cv+":
        return _between_quantiles(fitted, source, conformity, coverages, method)
    residuals, _ = targets.residuals(conformity.scores)
    if method == "cv+":
        centers = fitted.judged(source, targets.means)
        scaled = conformity._replace(scores=residuals)
        return [conformal.intervals(scaled, centers, share) for share in coverages]
    models, own, new = _judged_with_scales(fitted, source, conformity, targets.means)
    size = np.average(residuals**2, axis=0, weights=conformity.weight)
    unit = np.average(own**2, axis=0, weights=conformity.weight)
    scale = new.mean(axis=0)
    share_left = _left_of_chains(models, scale**2 * (size / unit))
    scaled = conformity._replace(scores=residuals / own, fold=None)
    center, scale = models.mean(axis=0, keepdims=True), (scale * np.sqrt(share_left))[None]
    return [conformal.intervals(scaled, center, share, scale) for share in coverages]


def quantile_shifts(targets: Targets, conformity: conformal.Conformity | None) -> Floats | None:
    """Return by how much unseen rows move the quantile of each output and level, (k, n_levels).

    None: there are no such rows, or no quantiles.
    """
    if conformity is None or not isinstance(targets, QuantileTargets):
        return None
    above = targets.grid(conformity.scores[:, : targets.n_outputs])
    return conformal.shifts(conformity, above, np.array(targets.levels))


def make_quantiles(
    targets: QuantileTargets, values: Floats, levels: Floats, shifts: Floats | None
) -> Floats:
    """Return quantiles of these levels, (n, k, n_levels), of grids that are moved by shifts."""
    if shifts is not None:
        values = np.sort(targets.grid(values) + shifts, axis=-1).reshape(values.shape)
    return targets.quantiles(values, levels)


def _left_of_chains(models: Floats, of_one: Floats) -> Floats:
    """Return which part of a chain's mean squared error is that of the mean of chains, (n, k).

    Their mean lacks all but one n-th of what they are apart. Few chains tell this roughly, so that
    no more than half is taken off.
    """
    if len(models) == 1:
        return np.ones(1)
    gained = models.var(axis=0)  # (1 - 1/n) times the variance of one chain
    part = np.divide(gained, of_one, out=np.zeros_like(gained), where=of_one > 0)
    return 1 - np.minimum(part, _MOST_GAINED)


def _judged_with_scales(
    fitted: Fitted,
    source: Source,
    conformity: conformal.Conformity,
    of: Callable[[Floats], Floats],
) -> tuple[Floats, Floats, Floats]:
    """Return what the models say of new rows, and the scales of errors by the spread of cycles.

    These are of unseen rows, (n, k), and of new ones, (n_models, n, k).
    """
    targets = fitted.targets
    residuals, known = targets.residuals(conformity.scores)
    found, spreads = fitted.judged_with_spread(source, late_cycles(fitted.n_cycles), of)
    spreads = targets.means(spreads)
    own, new = np.empty_like(residuals), np.empty_like(spreads)
    for j in range(residuals.shape[1]):
        given = known[:, j], residuals[:, j], conformity.weight
        own[:, j] = scales_of(*given, known[:, j])
        new[:, :, j] = scales_of(*given, spreads[:, :, j])
    return found, own, new


def _between_quantiles(
    fitted: Fitted,
    source: Source,
    conformity: conformal.Conformity,
    coverages: list[float],
    method: str,
) -> list[Floats]:
    """Return intervals between quantiles, moved as unseen rows ask for."""
    targets = fitted.targets
    assert isinstance(targets, QuantileTargets)
    ends = np.array([[(1 - c) / 2, (1 + c) / 2] for c in coverages]).ravel()
    # Interpolation is linear: that of differences to y is that of quantiles, less y.
    above = targets.quantiles(conformity.scores[:, : targets.n_outputs], ends)

    def at_ends(values: Floats) -> Floats:
        return targets.quantiles(values, ends).reshape(*values.shape[:2], -1)

    own, new = np.ones(1), None
    if method == "cqr":
        found = fitted.judged(source, at_ends)
    else:
        found, own, new = _judged_with_scales(fitted, source, conformity, at_ends)
    found = found.reshape(*found.shape[:2], -1, len(ends))
    made = []
    for i, coverage in enumerate(coverages):
        low, high = 2 * i, 2 * i + 1
        moves = np.maximum(above[..., low], -above[..., high]) / own
        ends_found = found[..., low], found[..., high]
        scored = conformity._replace(scores=moves)
        made.append(conformal.intervals_around(scored, *ends_found, coverage, new))
    return made
