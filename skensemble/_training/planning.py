"""How many steps a run has, in which cycles, at which rates."""

from typing import NamedTuple

from skensemble._data.folds import clip
from skensemble._types import Options, Schedule
from skensemble.schedules import Plan, shape_options

from .making import Ready
from .progress import Progress


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
