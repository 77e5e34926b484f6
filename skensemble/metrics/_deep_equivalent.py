"""How many independently trained networks an ensemble is worth."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from skensemble._types import Floats
from skensemble._warnings import short

from ._arguments import check_values


class DeepEnsembleEquivalent(NamedTuple):
    """Numbers of networks, as :func:`deep_ensemble_equivalent` returns them with bounds.

    Attributes
    ----------
    n_networks : float or ndarray of float64
        By the mean curve.
    lower, upper : float or ndarray of float64
        By the curve one standard deviation above, and below.
    """

    n_networks: float | Floats
    lower: float | Floats
    upper: float | Floats


def deep_ensemble_equivalent(
    scores: ArrayLike,
    deep_ensemble_scores: ArrayLike,
    *,
    n_networks: ArrayLike | None = None,
    return_bounds: bool = False,
) -> float | Floats | DeepEnsembleEquivalent:
    """Count the independently trained networks that score as well as an ensemble.

    Parameters
    ----------
    scores : float or array-like
        Scores of the ensemble, the higher the better: one, or one for each number of its members.
    deep_ensemble_scores : array-like of shape (n_sizes,) or (n_sizes, n_runs)
        The same score of deep ensembles of 1, 2, … networks; several runs are averaged.
    n_networks : array-like of shape (n_sizes,), default=None
        Their numbers of networks, where these are not 1, 2, ….
    return_bounds : bool, default=False
        Whether to return bounds, by the standard deviation of the runs (divided by
        ``n_runs - 1``).

    Returns
    -------
    equivalent : float, ndarray of float64 or DeepEnsembleEquivalent
        Of the shape of `scores`, on the curve between whole numbers by linear interpolation. It is
        the smallest size for scores below the curve, and infinite for scores that no size reaches.

    Raises
    ------
    ValueError
        If sizes do not increase, or if bounds are asked of fewer than two runs.

    Notes
    -----
    Ashukha et al. take the log-likelihood of test rows after temperature scaling for the score.

    References
    ----------
    .. [1] A. Ashukha, A. Lyzhov, D. Molchanov and D. Vetrov, "Pitfalls of In-Domain Uncertainty
       Estimation and Ensembling in Deep Learning", ICLR 2020, section 5.

    Examples
    --------
    >>> from skensemble.metrics import deep_ensemble_equivalent
    >>> curve = [-0.50, -0.40, -0.36, -0.35]
    >>> deep_ensemble_equivalent([-0.60, -0.45, -0.38, -0.30], curve)
    array([1. , 1.5, 2.5, inf])
    """
    wanted = np.asarray(scores, np.float64)
    if np.isnan(wanted).any():
        raise ValueError("Got scores with NaN, but expected numbers.")
    runs = check_values("deep_ensemble_scores", deep_ensemble_scores, (1, 2))
    runs = runs.reshape(len(runs), -1)
    sizes = _check_sizes(n_networks, len(runs))
    mean = runs.mean(axis=1)
    middle = _first_size(wanted, mean, sizes)
    if not return_bounds:
        return middle
    if runs.shape[1] < 2:
        raise ValueError(
            f"Got return_bounds=True for deep_ensemble_scores of {runs.shape[1]} run, but expected "
            "at least 2."
        )
    spread = runs.std(axis=1, ddof=1)
    lower, upper = (_first_size(wanted, mean + by * spread, sizes) for by in (1, -1))
    return DeepEnsembleEquivalent(middle, lower, upper)


def _check_sizes(n_networks: ArrayLike | None, n_sizes: int) -> Floats:
    if n_networks is None:
        return np.arange(1.0, n_sizes + 1)
    sizes = check_values("n_networks", n_networks, (1,))
    if len(sizes) != n_sizes or sizes[0] < 1 or (np.diff(sizes) <= 0).any():
        raise ValueError(
            f"Got n_networks={short(n_networks)}, but expected {n_sizes} increasing numbers of at "
            "least 1, one for each row of deep_ensemble_scores."
        )
    return sizes


def _first_size(scores: Floats, curve: Floats, sizes: Floats) -> float | Floats:
    """Return where the curve first reaches each score."""
    reaches = curve >= scores[..., None]
    at = reaches.argmax(axis=-1)
    before = np.maximum(at - 1, 0)
    rise = np.where(at > 0, curve[at] - curve[before], 1)
    # Below the curve, or above it, the formula does not hold and is not used.
    with np.errstate(invalid="ignore", divide="ignore"):
        part = (scores - curve[before]) / rise
        found = np.where(at > 0, sizes[before] + part * (sizes[at] - sizes[before]), sizes[0])
    found = np.where(reaches.any(axis=-1), found, np.inf)
    return found if found.ndim else float(found)
