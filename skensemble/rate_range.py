"""Which learning rates a network learns at: a short run in which the rate rises."""

from numbers import Real
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone

from ._training.sweep import RateSweep
from ._types import Floats, Input, Options
from ._warnings import short, warn
from .pipelines import Estimator, fit_last, last_step

#: Weight of the losses before in their moving average.
_KEPT = 0.9

#: The suggestion is so much lower than the rate of the least loss.
_BELOW = 10.0

#: Losses that a suggestion needs.
_FEWEST = 5


class LRRange(NamedTuple):
    """Losses of a run whose rate rises, as :func:`lr_range_test` returns them.

    Attributes
    ----------
    lrs : ndarray of float64 of shape (n,)
        Rates of the steps, rising. Those from the first loss on that is not finite are left out.
    losses : ndarray of float64 of shape (n,)
        Loss of the batch of each step, before the step: the mean over the chains.
    smoothed : ndarray of float64 of shape (n,)
        Their moving average.
    suggestion : float
        A rate for `lr`, or NaN where the loss did not fall.
    """

    lrs: Floats
    losses: Floats
    smoothed: Floats
    suggestion: float


def lr_range_test(
    estimator: Estimator,
    X: Input,
    y: ArrayLike | None = None,
    *,
    min_lr: float = 1e-5,
    max_lr: float = 1.0,
    n_steps: int = 200,
    sample_weight: ArrayLike | None = None,
    groups: ArrayLike | None = None,
) -> LRRange:
    """Train for a few steps while the learning rate rises, and note the losses.

    The loss falls where the rate is large enough to learn by, becomes ragged where it is too large,
    and then rises ([1]_, section 3.3). Steps and chains are those of a fit with these parameters,
    but for the rate and the number of steps.

    Parameters
    ----------
    estimator : SnapshotEnsembleClassifier, SnapshotEnsembleRegressor or Pipeline
        A Pipeline ends in one of the two. A clone is trained; the estimator stays as it is.
    X : array-like of shape (n_samples, n_features) or (n_samples, ...)
        Training rows.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        Class labels or target values. None: a dataset as `X` has its own.
    min_lr : float, default=1e-5
        Rate of the first step.
    max_lr : float, default=1.0
        Rate of the last step.
    n_steps : int, default=200
        Number of steps of each chain, at least 5. Rates rise by the same factor in each.
    sample_weight : array-like of shape (n_samples,), default=None
        Weight of each row in the loss. None: all equal.
    groups : array-like of shape (n_samples,), default=None
        Rows of one group are left out together, as in ``fit``.

    Returns
    -------
    found : LRRange
        With ``lrs``, ``losses``, ``smoothed`` and ``suggestion``. The run ends at the first loss
        that is not finite, in any chain; this step and all later ones are left out.

    Warns
    -----
    UserWarning
        If the smoothed loss is least at the last rate, which is then too low, or at the first, so
        that there is no suggestion.

    Raises
    ------
    ValueError
        If a parameter does not fit, or there are fewer than 5 finite losses.

    See Also
    --------
    skensemble.display.LRRangeDisplay : A picture of the losses.
    skensemble.learning_rates : The rates of a fit.

    Notes
    -----
    The rule of ``suggestion``: a tenth of the rate at which the smoothed loss is least, but at
    least `min_lr`. At the least loss itself steps are already too large for a part of the weights.
    ``smoothed`` is the moving average :math:`s_t = 0.9 s_{t-1} + 0.1 l_t`, divided by
    :math:`1 - 0.9^t`, so that the first losses count in full. It is a rate to begin a search with;
    the score of unseen rows decides.

    Rates rise from step to step by a factor, not by a summand as in [1]_, so that each order of
    magnitude has as many steps. With ``random_state=None`` the seed is 0: two calls give the same
    answer. Generators of numpy and torch are as before. `callbacks` of the estimator run too, as
    copies, and those of ``set_callbacks`` do not; nothing is written to `checkpoint_dir`.

    References
    ----------
    .. [1] Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017,
       section 3.3.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from skensemble import SnapshotEnsembleClassifier
    >>> from skensemble.model_selection import lr_range_test
    >>> X, y = load_digits(return_X_y=True)
    >>> model = SnapshotEnsembleClassifier(n_chains=2, random_state=0)
    >>> found = lr_range_test(model, X, y, n_steps=60)
    >>> found.lrs[[0, -1]]
    array([1.e-05, 1.e+00])
    >>> 1e-4 < found.suggestion < 1e-1
    True
    """
    last_step(estimator)
    _check_range(min_lr, max_lr, n_steps)
    rates = np.geomspace(min_lr, max_lr, int(n_steps))
    sweep = _sweep(clone(estimator), X, y, rates, sample_weight, groups)
    losses = sweep.losses()
    if len(losses) < _FEWEST and not sweep.is_over:
        raise ValueError(
            f"Got callbacks={short(last_step(estimator).callbacks)}, which ended the run after "
            f"{len(losses)} steps, but expected at least {_FEWEST}: leave out what ends a run."
        )
    if len(losses) < _FEWEST:
        raise ValueError(
            f"Got min_lr={short(min_lr)}, but expected a rate at which the loss stays finite for "
            f"{_FEWEST} steps: there were {len(losses)}; set a lower min_lr, or scale X and y."
        )
    rates, smoothed = rates[: len(losses)], smooth(losses)
    return LRRange(rates, losses, smoothed, _suggest(rates, smoothed, min_lr, max_lr))


def smooth(losses: Floats) -> Floats:
    """Return the moving average of losses, the first of which count in full."""
    made, average = np.empty_like(losses), 0.0
    for t, loss in enumerate(losses.tolist(), start=1):
        average = _KEPT * average + (1 - _KEPT) * loss
        made[t - 1] = average / (1 - _KEPT**t)
    return made


def _suggest(rates: Floats, smoothed: Floats, min_lr: float, max_lr: float) -> float:
    """Return a rate by the rule that the docstring states; warn where the range shows none."""
    least = int(smoothed.argmin())
    if least == 0:
        warn(
            f"Got min_lr={short(min_lr)}, but expected a range of rates in which the loss falls: "
            "it was least at the first step, so there is no suggestion; set a lower min_lr or more "
            "n_steps."
        )
        return float("nan")
    if rates[least] == max_lr:
        warn(
            f"Got max_lr={short(max_lr)}, but expected a rate at which the loss rises: it still "
            "fell at the last step; set a higher max_lr."
        )
    return max(float(rates[least]) / _BELOW, float(min_lr))


def _check_range(min_lr: float, max_lr: float, n_steps: int) -> None:
    """Refuse a range that is none."""
    for name, value in (("min_lr", min_lr), ("max_lr", max_lr)):
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if not is_number or not 0 < value < np.inf:
            raise ValueError(f"Got {name}={short(value)}, but expected a number above 0.")
    if not min_lr < max_lr:
        raise ValueError(
            f"Got max_lr={short(max_lr)}, but expected a rate above min_lr={short(min_lr)}."
        )
    is_whole = isinstance(n_steps, int | np.integer) and not isinstance(n_steps, bool)
    if not is_whole or n_steps < _FEWEST:
        raise ValueError(
            f"Got n_steps={short(n_steps)}, but expected an integer of at least {_FEWEST}."
        )


def _sweep(
    estimator: Estimator,
    X: Input,
    y: ArrayLike | None,
    rates: Floats,
    sample_weight: ArrayLike | None,
    groups: ArrayLike | None,
) -> RateSweep:
    """Train a clone through the rates, and return what its callback has noted."""
    last = last_step(estimator)
    for follower in (estimator, last):
        if hasattr(follower, "set_callbacks"):  # a clone has those of scikit-learn too
            follower.set_callbacks()
    sweep = RateSweep(rates.tolist())
    changed: Options = {
        "n_cycles": 1,
        # One step an epoch at least, so that there are enough.
        "max_epochs": len(rates),
        "schedule": "cosine",
        "callbacks": [*(last.callbacks or []), ("lr_range_test", sweep)],
        "checkpoint_dir": None,
        "time_limit": None,
        "warm_start": False,
        "verbose": 0,
    }
    if last.random_state is None:
        changed["random_state"] = 0
    given = {name for name in last.get_params(deep=False) if name.startswith("schedule__")}
    changed |= dict.fromkeys(given & {"schedule__min_lr", "schedule__burn_in_epochs"}, 0)
    last.set_params(**changed)
    try:
        fit_last(estimator, X, y, sample_weight=sample_weight, groups=groups)
    except ValueError:
        if not sweep.is_over:  # an error of its own
            raise
    return sweep
