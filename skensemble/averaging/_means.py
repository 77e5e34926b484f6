"""One network of the snapshots of a chain, and draws around it."""

import math
from collections.abc import Sequence
from numbers import Integral, Real

import numpy as np
import torch
from numpy.typing import ArrayLike

from skensemble._nets.averages import draw_state, has_statistics, mean_state
from skensemble._nets.generators import chain_seed, seed_of
from skensemble._types import Floats, Input, RandomState, State
from skensemble._warnings import short
from skensemble.base import BaseSnapshotEnsemble
from skensemble.choosing import Again
from skensemble.fitted import Fitted
from skensemble.reshaping import StatisticsRows, equal_stages, made_of_chains

from ._asked import Ensemble, making_tensors, opened, read_if_judged, whole, with_members


def average_weights(
    estimator: Ensemble,
    X: Input = None,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    *,
    members: int | Sequence[int] | None = None,
    weights: ArrayLike | str | None = None,
    groups: ArrayLike | None = None,
    rows: str = "training",
) -> Ensemble:
    """Average the parameters of snapshots, and not their predictions: SWA ([1]_).

    The result costs at prediction what one network does. Snapshots of one chain lie in one valley
    of the loss, whose middle they surround; those of several chains do not, so that there is one
    network for each chain.

    Parameters
    ----------
    estimator : SnapshotEnsembleClassifier, SnapshotEnsembleRegressor or Pipeline
        A fitted one; it stays as it is. A Pipeline ends in one of the two, whose members are meant.
    X : array-like of shape (n_samples, n_features) or (n_samples, ...), default=None
        Rows by which the statistics of batch normalisation are computed anew, as by
        ``torch.optim.swa_utils.update_bn``: those of the training. A module without any needs
        none.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        Their class labels or target values, by which the result is judged: it has a
        ``validation_score_`` then, and all else that rests on unseen rows. Each chain is judged by
        the rows that it left out, and its statistics are those of the rows that it was trained on.
        None: there is no judgement, a `decision` and a ``temperature_`` have no effect, and
        statistics are those of all rows.
    sample_weight : array-like of shape (n_samples,), default=None
        Their weights, as in `fit`.
    members : int or sequence of int, default=None
        How many of the last cycles are averaged, or their numbers, from 0 on. None: all.
    weights : array-like of shape (n_members,) or "fitted", default=None
        Weight of each of these cycles, at least 0. "fitted": the weights that they have in the
        ensemble. None: all equal.
    groups : array-like of shape (n_samples,), default=None
        Those of `fit`, beside `y`.
    rows : {"training", "new"}, default="training"
        What X and y are: the rows of `fit`, whose folds are found again, or rows that no chain was
        trained on.

    Returns
    -------
    averaged : estimator of the same class
        It has one snapshot for each chain, ``n_cycles_`` is 1. It predicts, can be saved and
        exported, and `partial_fit` goes on from there. Buffers other than those statistics are
        those of the last cycle.

    Raises
    ------
    ValueError
        If the module has batch normalisation and X is not given, or if a parameter does not fit.

    Notes
    -----
    Cycles of ``restart="cold"`` are networks of their own, whose mean is none: only one of them can
    be named. A mean is worth most where the learning rate stays high and cycles are short, as with
    :func:`fge`, and where the run had come near its end before.

    References
    ----------
    .. [1] P. Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization",
       UAI 2018, section 3.2.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skensemble import SnapshotEnsembleClassifier
    >>> from skensemble.averaging import average_weights
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SnapshotEnsembleClassifier(max_epochs=20, random_state=0).fit(X, y)
    >>> averaged = average_weights(model, X, y, members=3)
    >>> len(model.snapshots_) > len(averaged.snapshots_) == averaged.n_chains_
    True
    >>> bool(averaged.score(X, y) > 0.9)
    True
    """
    last, X = opened(estimator, X)
    fitted = last._fitted_
    cycles = _cycles_of(members, fitted.n_cycles)
    _check_one_run(last, "average_weights", cycles)
    shares = _shares_of(weights, fitted, cycles)
    module = fitted.nets[0].module_

    def mean(states: list[State], chain: int) -> State:
        n_times = len(states) // len(shares)
        return mean_state(states, np.repeat(shares / n_times, n_times), module)

    with making_tensors(fitted):
        again = read_if_judged(last, fitted, X, y, sample_weight, groups, rows)
        statistics = _statistics(last, fitted, X, again, rows)
        made = made_of_chains(fitted, cycles, [mean], statistics)
        return with_members(estimator, made if again is None else again.weigh(made))


def swag(
    estimator: Ensemble,
    X: Input = None,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    *,
    members: int | Sequence[int] | None = None,
    n_samples: int = 20,
    scale: float = 0.5,
    random_state: RandomState | None = None,
    groups: ArrayLike | None = None,
    rows: str = "training",
) -> Ensemble:
    """Draw networks from the normal distribution that snapshots of a chain suggest: SWAG ([1]_).

    Its mean is that of the snapshots, as :func:`average_weights` returns it. Its covariance is the
    mean of a diagonal one and of one of low rank, whose directions are those from the mean to each
    snapshot.

    Parameters
    ----------
    estimator : SnapshotEnsembleClassifier, SnapshotEnsembleRegressor or Pipeline
        A fitted one of two cycles at least; it stays as it is. A Pipeline ends in one of the two.
    X, y, sample_weight, groups, rows
        As for :func:`average_weights`. Statistics of batch normalisation are computed anew for each
        network that is drawn, which takes a pass over X.
    members : int or sequence of int, default=None
        How many of the last cycles count, or their numbers, from 0 on; two at least. None: all.
    n_samples : int, default=20
        Networks to draw for each chain.
    scale : float, default=0.5
        What the sum of both covariances is multiplied by; 0.5 makes it their mean ([1]_, eq. 1). 0
        draws the mean itself.
    random_state : int, RandomState instance or None, default=None
        An integer makes draws equal to the bit.

    Returns
    -------
    drawn : estimator of the same class
        Its members are the networks, with equal weights: ``n_cycles_`` is `n_samples`, and the
        index in ``snapshots_`` is ``sample * n_chains_ + chain``.

    Raises
    ------
    ValueError
        If fewer than two cycles are named, if the module has batch normalisation and X is not
        given, or if a parameter does not fit.

    Notes
    -----
    The directions are those to the mean of all snapshots, which are at hand here; [1]_ knows only
    the mean so far while it trains, and takes that.

    References
    ----------
    .. [1] W. Maddox et al., "A Simple Baseline for Bayesian Uncertainty in Deep Learning", NeurIPS
       2019.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skensemble import SnapshotEnsembleClassifier
    >>> from skensemble.averaging import swag
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SnapshotEnsembleClassifier(max_epochs=20, random_state=0).fit(X, y)
    >>> drawn = swag(model, n_samples=5, random_state=0)
    >>> len(drawn.predict_members(X)) == 5 * model.n_chains_
    True
    """
    last, X = opened(estimator, X)
    fitted = last._fitted_
    cycles = _cycles_of(members, fitted.n_cycles)
    _check_one_run(last, "swag", cycles)
    if len(cycles) < 2:
        raise ValueError(
            f"Got members={short(members)}, which are {len(cycles)} of the {fitted.n_cycles} "
            "cycles, but expected two at least: one says nothing of a spread."
        )
    n = whole("n_samples", n_samples)
    if isinstance(scale, bool) or not isinstance(scale, Real) or not 0 <= float(scale) < math.inf:
        raise ValueError(f"Got scale={short(scale)}, but expected a number of at least 0.")
    seed, module = seed_of(random_state), fitted.nets[0].module_
    own = [torch.Generator("cpu").manual_seed(chain_seed(seed, k)) for k in range(fitted.n_chains)]

    def draw(states: list[State], chain: int) -> State:
        return draw_state(states, module, float(scale), own[chain])

    with making_tensors(fitted):
        again = read_if_judged(last, fitted, X, y, sample_weight, groups, rows)
        statistics = _statistics(last, fitted, X, again, rows)
        made = made_of_chains(fitted, cycles, [draw] * n, statistics)
        return with_members(estimator, made if again is None else again.weigh(made, "all"))


def _cycles_of(members: int | Sequence[int] | None, n_cycles: int) -> list[int]:
    """Return the numbers of the cycles that are meant, in order of time."""
    if members is None:
        return list(range(n_cycles))
    if isinstance(members, Integral) and not isinstance(members, bool):
        return list(range(n_cycles))[-whole("members", members) :]
    named = [] if isinstance(members, bool | str) or not np.iterable(members) else list(members)
    are_whole = all(isinstance(m, Integral) and not isinstance(m, bool) for m in named)
    if not named or not are_whole or not all(-n_cycles <= m < n_cycles for m in named):
        raise ValueError(
            f"Got members={short(members)}, but expected how many of the last cycles count, or "
            f"their numbers from 0 to {n_cycles - 1}."
        )
    cycles = sorted(int(m) % n_cycles for m in named)
    if len(set(cycles)) < len(cycles):
        raise ValueError(
            f"Got members={short(members)}, but expected each cycle once; weights= says how much "
            "each counts."
        )
    return cycles


def _shares_of(weights: ArrayLike | str | None, fitted: Fitted, cycles: list[int]) -> Floats:
    """Return the weights of cycles, of sum 1."""
    n = len(cycles)
    if weights is None:
        return equal_stages(n)[-1]
    if isinstance(weights, str) and weights == "fitted":
        given = fitted.stage_weights[-1][cycles]
    else:
        try:
            given = np.asarray(weights, dtype=np.float64)
        except (TypeError, ValueError):
            given = np.empty(0)
    are_right = given.shape == (n,) and np.isfinite(given).all()
    if not are_right or (given < 0).any() or not given.any():
        raise ValueError(
            f"Got weights={short(weights)}, but expected {n} numbers of at least 0, not all of "
            "them 0: one for each of the cycles, or 'fitted' for those that they have in the "
            "ensemble."
        )
    shares: Floats = given / given.sum()
    return shares


def _check_one_run(estimator: BaseSnapshotEnsemble, name: str, cycles: list[int]) -> None:
    """Refuse networks that have nothing to do with each other."""
    if estimator.restart == "cold" and len(cycles) > 1:
        raise ValueError(
            f"Got restart='cold' with {name} of {len(cycles)} cycles, but expected cycles that "
            "keep their weights: the mean of networks that were drawn anew is none. Fit with "
            "restart='warm'."
        )


def _statistics(
    estimator: BaseSnapshotEnsemble, fitted: Fitted, X: Input, again: Again | None, rows: str
) -> StatisticsRows | None:
    """Return the rows by which statistics are computed anew; None: there are none to compute."""
    if not has_statistics(fitted.nets[0].module_):
        return None
    if X is None:
        raise ValueError(
            "Got X=None with a module that has batch normalisation, but expected rows of the "
            "training: its statistics belong to the parameters, and are computed anew."
        )
    if again is not None and rows == "new":
        raise ValueError(
            "Got rows='new' with a module that has batch normalisation, but expected rows of the "
            "training, from which its statistics come: call it with these alone, and then "
            "refit_members with the new ones."
        )
    transform = estimator._named("transform")
    if again is not None:
        return StatisticsRows(fitted.intake.rows(again.data.source), again.trained, transform)
    _, source = estimator._read(X)
    everyone = [np.arange(source.n_samples)] * fitted.n_chains
    return StatisticsRows(fitted.intake.rows(source), everyone, transform)
