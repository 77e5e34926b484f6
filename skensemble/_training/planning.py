"""How many steps a run has, in which cycles, at which rates."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skensemble._data.folds import clip
from skensemble._types import Floats, Options, Schedule
from skensemble.schedules import Plan, shape_options

from .making import Ready
from .progress import Progress

#: Steps below which a cycle is too short to be worth its snapshot, where a limit shortens it.
FEWEST_STEPS = 20


class Timetable(NamedTuple):
    """What the estimator's parameters say of a run."""

    n_cycles: int
    cycle_mult: float
    schedule: Schedule
    max_epochs: int
    #: Highest rate.
    lr: float
    #: Arguments by the prefix ``schedule__``.
    options: Options
    #: Whether the run is one cycle alone, of ``max_epochs / n_cycles`` epochs.
    is_one_cycle: bool = False


class RunPlan(NamedTuple):
    """Steps and cycles of one run."""

    plan: Plan
    steps_per_epoch: int
    #: Steps before the first cycle begins.
    burn_in: int

    @property
    def n_steps(self) -> int:
        """Steps of the run, burn-in included."""
        return len(self.plan.fractions)

    @property
    def n_cycles(self) -> int:
        """Cycles of the run."""
        return len(self.plan.ends)

    @property
    def edges(self) -> NDArray[np.int64]:
        """Steps done at the beginning, after the burn-in and after each cycle."""
        return np.concatenate([[0, self.burn_in], self.plan.ends])

    def place(self, step: int) -> tuple[int, float]:
        """Return what comes after so many steps, and the part of it that lies behind them.

        0 is the burn-in, 1 the first cycle.
        """
        edges = self.edges
        leg = int(np.searchsorted(edges, step, side="right")) - 1
        if leg + 1 == len(edges):
            return leg, 0.0
        begin, behind = int(edges[leg]), 0.0
        turn = self.plan.fractions.turn
        if turn is not None and begin <= turn[0] + self.burn_in <= step:
            begin, behind = turn[0] + self.burn_in, turn[1]
        return leg, behind + (1 - behind) * (step - begin) / (int(edges[leg + 1]) - begin)

    def turned(self, burn_in: int, ends: list[int], turn: tuple[int, float]) -> "RunPlan":
        """Return this plan with other lengths; see :meth:`Fractions.turned`."""
        fractions = self.plan.fractions.turned(burn_in, ends, turn)
        plan = Plan(fractions, fractions.burn_in_steps + fractions.ends)
        return self._replace(plan=plan, burn_in=burn_in)

    def as_data(self) -> Options:
        """Return in plain numbers what :meth:`from_data` takes."""
        turn = self.plan.fractions.turn
        at = None if turn is None else [turn[0] + self.burn_in, turn[1]]
        return {"burn_in": self.burn_in, "ends": self.plan.ends.tolist(), "turn": at}

    def from_data(self, data: Options) -> "RunPlan":
        """Return the plan of :meth:`as_data`, of a run whose plan was this one at first."""
        if data["turn"] is None:
            return self
        return self.turned(data["burn_in"], data["ends"], tuple(data["turn"]))

    def progress(self, first_cycle: int) -> Progress:
        """Return what prints the run, after `first_cycle` cycles of earlier calls."""
        return Progress(self.n_cycles, self.steps_per_epoch, self.n_steps, first_cycle)


class Done(NamedTuple):
    """What earlier calls have trained."""

    n_cycles: int = 0
    n_steps: int = 0


def plan_run(timetable: Timetable, steps_per_epoch: int, done: Done | None) -> RunPlan:
    """Plan a run; the first one (`done` is None) may begin with a burn-in."""
    n_steps = timetable.max_epochs * steps_per_epoch
    n_cycles, burn_in, options = timetable.n_cycles, 0, timetable.options
    if timetable.is_one_cycle:
        n_steps, n_cycles = max(1, round(n_steps / n_cycles)), 1
    elif done is None:
        epochs = options.get("burn_in_epochs", 0)
        burn_in = round(epochs * steps_per_epoch)
        if burn_in >= n_steps:
            raise ValueError(
                f"Got schedule__burn_in_epochs={epochs!r}, which are {burn_in} steps, but expected "
                f"fewer than the {n_steps} of the budget."
            )
    done = done or Done()
    plan = Plan.of(
        n_steps,
        clip("n_cycles", n_cycles, n_steps - burn_in, "steps"),
        schedule=timetable.schedule,
        cycle_mult=timetable.cycle_mult,
        floor=options.get("min_lr", 0.0) / timetable.lr,
        burn_in_steps=burn_in,
        cycle_decay=options.get("cycle_decay", 1.0),
        first_step=done.n_steps,
        first_cycle=done.n_cycles,
        **{name: value for name, value in options.items() if name in shape_options()},
    )
    plan.fractions.check()
    return RunPlan(plan, steps_per_epoch, burn_in)


def count_steps(ready: Ready) -> int:
    """Return the steps of an epoch, the fewest where a user's iterators differ."""
    pairs = zip(ready.nets, ready.parts(), strict=True)
    steps = min(len(net.get_iterator(part, training=True)) for net, part in pairs)
    if steps == 0:
        raise ValueError(
            f"Got an iterator with no batch for {len(ready.rows)} rows, but expected one at least."
        )
    return steps


class Costs(NamedTuple):
    """What there is of time, and what a run spends it on, in seconds."""

    #: For steps and for ends of cycles.
    left: float
    #: Of one step of one net.
    step: float
    #: Of the end of a cycle, at which it is judged.
    end: float
    #: For the rest of a cycle that has to be finished where nothing is left.
    grace: float


class Shares(NamedTuple):
    """By what the steps to come are multiplied."""

    burn_in: float
    cycles: float
    #: The number of the last cycle, 1 for the run's first.
    last: int


def steps_to_come(full: RunPlan, plan: RunPlan, step: int) -> Floats:
    """Return how long burn-in and cycles of the `full` plan are, of which `plan` made some.

    What is behind is 0, and what has begun is as long as the part of it that is to come.
    """
    lengths = np.diff(full.edges).astype(np.float64)
    leg, behind = plan.place(step)
    lengths[:leg] = 0
    lengths[leg : leg + 1] *= 1 - behind
    return lengths


def share_in_time(
    to_come: Floats,
    full: RunPlan,
    planned: int,
    most: float,
    costs: Costs,
    *,
    may_stop: bool,
    fewest: float = FEWEST_STEPS,
) -> Shares:
    """Return by what to multiply the steps to come, and which cycle is the last, to end in time.

    All cycles are shortened by the same share. Where one would have fewer steps than `fewest`, or
    be shorter than its end takes, there are fewer cycles, each still `cycle_mult` times as long as
    the one before. More than were planned there are only where the time is enough for all, in full
    length. The cycle that comes first is finished unless the run `may_stop`. A burn-in is shortened
    as if all cycles stayed.

    Parameters
    ----------
    to_come : ndarray of float64
        Steps of all nets together, by burn-in and cycles.
    full : RunPlan
        The plan to be shortened.
    planned : int
        Cycles of the plan in force.
    most : float
        Steps that the nets have left of their budgets together.
    costs : Costs
    may_stop : bool
        Whether the run may end here.
    fewest : float, default=20
        Least steps of a cycle that is worth its snapshot; half as many as in `full` are enough.

    Returns
    -------
    shares : Shares
    """
    lengths = np.diff(full.edges)
    first = max(1, int(np.flatnonzero(to_come)[0]))  # the burn-in belongs to the first cycle
    fewest = max(fewest, costs.end / costs.step) if fewest > 1 else 1
    most = min(most, float(to_come.sum()))
    if costs.left >= most * costs.step + (full.n_cycles + 1 - first) * costs.end:
        planned = full.n_cycles
    steps = burn_in = 0.0
    for last in range(planned, first - 1, -1):
        steps = min((costs.left - (last + 1 - first) * costs.end) / costs.step, most)
        burn_in = burn_in or max(steps, 0.0) / float(to_come[: planned + 1].sum())
        share = (steps - burn_in * to_come[0]) / float(to_come[1 : last + 1].sum())
        cycles = lengths[first : last + 1]
        if (share * cycles >= np.minimum(fewest, cycles / 2)).all():
            return Shares(burn_in, share, last)
    if may_stop:
        return Shares(0.0, 0.0, first - 1)
    at_least = min(1.0, costs.grace / costs.step / float(to_come[: first + 1].sum()))
    return Shares(max(burn_in, at_least), max(share, at_least), first)


def shortened(full: RunPlan, plan: RunPlan, step: int, shares: Shares) -> RunPlan:
    """Return a plan whose steps to come are these shares of those of `full`.

    The cycles that `plan` has ended stay. What it has begun goes on from there at the new speed.
    """
    leg, behind = plan.place(step)
    to_come = steps_to_come(full, plan, step) * shares.cycles
    to_come[0] *= shares.burn_in / shares.cycles
    wanted = to_come[leg : min(shares.last + 1, leg + full.n_steps - step)]
    lengths = np.diff(np.rint(np.cumsum(wanted)), prepend=0).astype(np.int64).clip(min=1)
    while lengths.sum() > full.n_steps - step and lengths.max() > 1:
        lengths[np.argmax(lengths)] -= 1
    edges = [*plan.edges[: leg + 1].tolist(), *(step + np.cumsum(lengths)).tolist()]
    return plan.turned(edges[1], edges[2:], (step, behind))
