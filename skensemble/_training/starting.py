"""What a run starts with: its lanes, and what limits its time."""

from collections.abc import Callable, Sequence
from typing import Any

from skensemble._nets.generators import Generators
from skensemble._types import State, View, Views

from .clock import Stopwatch
from .elsewhere import Elsewhere
from .interrupts import Interrupts
from .lane import make_lanes
from .limit import TimeLimit
from .making import Ready
from .planning import RunPlan
from .progress import Progress
from .run import Run
from .threads import Threads


def start_stopwatch(time_limit: float | None) -> Stopwatch | None:
    """Start counting the seconds of a call; None: they are not limited."""
    return None if time_limit is None else Stopwatch(time_limit)


def begin_from_first(run: Run, states: list[State] | None) -> None:
    """Let every cycle of a run begin where the first one ended.

    `states` are those of all chains there, where an earlier call has trained it.
    """
    of_lanes = [None] * len(run.lanes) if states is None else run.of_lanes(states)
    for lane, state in zip(run.lanes, of_lanes, strict=True):
        lane.recorder.is_star, lane.recorder.center = True, state


def make_run(
    ready: Ready,
    valid: Sequence[Any],
    plan: RunPlan,
    generators: list[Generators],
    interrupts: Interrupts,
    on_cycle: Callable[[list[State]], bool] | None,
    *,
    cold: bool,
    progress: Progress | None,
    threads: Threads,
    stopwatch: Stopwatch | None = None,
    n_judged: int = 0,
    is_heard: bool = False,
    n_per_cycle: int = 1,
    transform: View | None = None,
    views: Views | None = None,
) -> Run:
    """Make a run with its lanes; see :func:`make_lanes` and :class:`Run`.

    A `stopwatch` limits its time; the end of a cycle is thought to take half as long as
    `n_judged` rows in training, before one was seen.
    """
    lanes = make_lanes(
        ready,
        valid,
        plan,
        generators,
        interrupts,
        cold=cold,
        progress=progress,
        is_heard=is_heard,
        n_per_cycle=n_per_cycle,
        transform=transform,
        views=views,
    )
    if stopwatch is None:
        elsewhere = Elsewhere(lanes, plan.plan, threads, cold=cold) if threads.n_tasks else None
        return Run(
            plan, lanes, interrupts, on_cycle, n_threads=threads.n_lanes, elsewhere=elsewhere
        )
    rows_a_step = min(ready.nets[0].batch_size, len(ready.rows)) * len(generators) / len(lanes)

    def show(shorter: RunPlan) -> None:
        if progress is not None:
            progress.plan_shorter(shorter.n_cycles, shorter.n_steps, stopwatch.seconds)

    limit = TimeLimit(
        stopwatch,
        plan,
        lanes,
        are_beside=threads.n_lanes > 1,
        judging=n_judged / rows_a_step / 2,
        on_shorter=show,
    )
    return Run(plan, lanes, interrupts, on_cycle, limit, n_threads=threads.n_lanes)
