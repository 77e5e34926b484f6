"""The learning rate over the steps of a run."""

import warnings
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skensemble._training.planning import Done, RunPlan, plan_run
from skensemble._types import Array, Floats, Options
from skensemble._warnings import own_filters, short
from skensemble.base import BaseSnapshotEnsemble
from skensemble.pipelines import Estimator, last_step

from ._axes import Artist, Axes, Figure, merged, neutral, open_axes


class LearningRateDisplay:
    """Learning rate of every step, with the steps at which snapshots are taken.

    Make one by :meth:`from_estimator`, or of the array that
    :func:`~skensemble.learning_rates` returns. All parameters are stored as attributes.

    Parameters
    ----------
    rates : array-like of shape (n_steps,)
        Rate of each step.
    cycle_ends : array-like of int of shape (n_cycles,), default=None
        Steps done at the end of each cycle. None: snapshots are not drawn.
    steps_per_epoch : int, default=None
        Number of steps in an epoch, for an axis in epochs.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the rates.
    figure_ : matplotlib Figure
        Figure with the axes.
    line_ : matplotlib Line2D
        The rates.
    snapshots_ : matplotlib Line2D or None
        A mark for each snapshot.

    See Also
    --------
    skensemble.learning_rates : The rates of a run as an array, without training.

    Examples
    --------
    >>> from skensemble import learning_rates
    >>> from skensemble.display import LearningRateDisplay
    >>> rates = learning_rates(300, lr=0.1, n_cycles=3)
    >>> display = LearningRateDisplay(rates=rates, cycle_ends=[100, 200, 300])
    >>> display = display.plot()
    """

    ax_: Axes
    figure_: Figure
    line_: Artist
    snapshots_: Artist | None

    def __init__(
        self,
        *,
        rates: ArrayLike,
        cycle_ends: ArrayLike | None = None,
        steps_per_epoch: int | None = None,
    ):
        self.rates, self.cycle_ends, self.steps_per_epoch = rates, cycle_ends, steps_per_epoch

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        *,
        by: str = "step",
        ax: Axes | None = None,
        line_kw: Options | None = None,
    ) -> Self:
        """Draw the rates that a fitted ensemble was trained at.

        Parameters
        ----------
        estimator : SnapshotEnsembleClassifier, SnapshotEnsembleRegressor or Pipeline
            A fitted ensemble, or a Pipeline that ends in one. Its rates follow from its parameters
            and from the steps that it took.
        by : {"step", "epoch"}, default="step"
            Unit of the horizontal axis.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        line_kw : dict, default=None
            Arguments of the line, for matplotlib.

        Returns
        -------
        display : LearningRateDisplay

        Raises
        ------
        ValueError
            If the rates do not follow from the parameters: a `time_limit` shortened the cycles, or
            calls with other parameters followed on each other.
        """
        model = last_step(estimator)
        check_is_fitted(model)
        rates, ends, steps_per_epoch = _rates_of(model)
        display = cls(rates=rates, cycle_ends=ends, steps_per_epoch=steps_per_epoch)
        return display.plot(ax, by=by, line_kw=line_kw)

    def plot(
        self, ax: Axes | None = None, *, by: str = "step", line_kw: Options | None = None
    ) -> Self:
        """Draw the rates.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        by : {"step", "epoch"}, default="step"
            Unit of the horizontal axis; "epoch" needs `steps_per_epoch`.
        line_kw : dict, default=None
            Arguments of the line, for matplotlib.

        Returns
        -------
        self : LearningRateDisplay

        Raises
        ------
        ValueError
            If there are no rates, or `by` is not known.
        """
        rates = np.asarray(self.rates, dtype=np.float64)
        if rates.ndim != 1 or not len(rates):
            raise ValueError(
                f"Got rates={short(self.rates)}, but expected a rate for each step, as "
                "learning_rates returns them."
            )
        unit = self._steps_in(by)
        ax = open_axes(self, ax)
        (self.line_,) = ax.plot(np.arange(len(rates)) / unit, rates, **merged({}, line_kw))
        self.snapshots_ = None
        if self.cycle_ends is not None:
            ends = np.asarray(self.cycle_ends)
            mark = {"linestyle": "", "marker": "v", "color": neutral(ax), "clip_on": False}
            (self.snapshots_,) = ax.plot(
                (ends - 1) / unit, rates[ends - 1], label="snapshot", zorder=3, **mark
            )
            ax.legend(frameon=False, loc="upper right")
        ax.set(xlabel="Epoch" if by == "epoch" else "Step", ylabel="Learning rate")
        ax.set_ylim(bottom=0)
        ax.margins(x=0.02)
        return self

    def _steps_in(self, by: str) -> int:
        """Return how many steps are one unit of the axis."""
        if by not in ("step", "epoch"):
            raise ValueError(f"Got by={short(by)}, but expected one of ('step', 'epoch').")
        if by == "step":
            return 1
        if self.steps_per_epoch is None:
            raise ValueError(
                "Got by='epoch' and steps_per_epoch=None, but expected the number of steps in an "
                "epoch; give steps_per_epoch=, or take by='step'."
            )
        return self.steps_per_epoch


def _rates_of(model: BaseSnapshotEnsemble) -> tuple[Floats, Array, int]:
    """Return the rates of all steps taken, the steps at the ends of cycles, and those an epoch."""
    counts = [row.get("train_batch_count", 0) for row in model.history_]
    steps_per_epoch = max(counts, default=0)
    if steps_per_epoch and not model.is_time_limited_:
        with own_filters():
            warnings.simplefilter("ignore")  # fit has said that there are fewer cycles
            for find in (_one_fit, _partial_fits, _full_budgets):
                found = find(model, steps_per_epoch, sum(counts))
                if found is not None and _are_noted(found[0], counts, model):
                    return *found, steps_per_epoch
    raise ValueError(
        "Got an ensemble whose rates do not follow from its parameters, but expected one that one "
        "fit has trained, or partial_fit alone, without a time limit; draw those of your own by "
        "LearningRateDisplay(rates=learning_rates(...))."
    )


def _are_noted(rates: Floats, counts: list[int], model: BaseSnapshotEnsemble) -> bool:
    """Tell whether rates are those that the history has of the last step of each epoch."""
    noted = np.array([row.get("lr", np.nan) for row in model.history_])
    made = rates[np.cumsum(counts) - 1]
    made, noted = made[np.isfinite(noted)], noted[np.isfinite(noted)]
    if not made.any():  # rates were not noted, or are 0 at the end of each epoch
        return True
    # The first of several groups of parameters may have a rate of its own, in a fixed ratio.
    ratio = noted[made.argmax()] / made.max()
    return bool(np.allclose(noted, ratio * made, rtol=1e-6, atol=1e-9 * float(noted.max())))


def _plan(
    model: BaseSnapshotEnsemble, steps_per_epoch: int, done: Done | None, *, is_one_cycle: bool
) -> RunPlan:
    """Plan a run as the fit did, by what its net knows of it."""
    net = model.net_
    # What is automatic comes from the number of rows, which only the net has seen.
    timetable = model._timetable((1, 1), is_one_cycle=is_one_cycle)
    timetable = timetable._replace(max_epochs=net.max_epochs, lr=net.lr)
    return plan_run(timetable, steps_per_epoch, done)


def _one_fit(
    model: BaseSnapshotEnsemble, steps_per_epoch: int, done: int
) -> tuple[Floats, Array] | None:
    """Return rates and ends of one run, which may have been stopped; None: it was another."""
    plan = _plan(model, steps_per_epoch, None, is_one_cycle=False)
    ends = plan.plan.ends
    if done > plan.n_steps or np.searchsorted(ends, done) + 1 != model.n_cycles_:
        return None
    kept = np.minimum(ends[: model.n_cycles_], done)
    return plan.plan.fractions[:done] * model.net_.lr, kept


def _partial_fits(
    model: BaseSnapshotEnsemble, steps_per_epoch: int, done: int
) -> tuple[Floats, Array] | None:
    """Return rates and ends of calls of partial_fit; None: it was another run."""
    return _repeated(model, steps_per_epoch, done, is_one_cycle=True)


def _full_budgets(
    model: BaseSnapshotEnsemble, steps_per_epoch: int, done: int
) -> tuple[Floats, Array] | None:
    """Return rates and ends of full budgets after each other; None: it was another run."""
    return _repeated(model, steps_per_epoch, done, is_one_cycle=False)


def _repeated(
    model: BaseSnapshotEnsemble, steps_per_epoch: int, done: int, *, is_one_cycle: bool
) -> tuple[Floats, Array] | None:
    rates, ends, n_cycles, n_steps = [], [], 0, 0
    while n_steps < done:
        before = Done(n_cycles, n_steps) if n_steps else None
        plan = _plan(model, steps_per_epoch, before, is_one_cycle=is_one_cycle)
        rates.append(plan.plan.fractions[:] * model.net_.lr)
        ends.append(n_steps + plan.plan.ends)
        n_cycles, n_steps = n_cycles + plan.n_cycles, n_steps + plan.n_steps
    if (n_cycles, n_steps) != (model.n_cycles_, done):
        return None
    return np.concatenate(rates), np.concatenate(ends)
