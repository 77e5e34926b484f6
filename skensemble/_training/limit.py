"""A run that is to end in time: :class:`TimeLimit` plans it anew as it goes."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from skensemble._types import Floats, Options

from .clock import Pace, Stopwatch
from .lane import Lane
from .planning import FEWEST_STEPS, Costs, RunPlan, Shares, share_in_time, shortened, steps_to_come

#: Parts of the limit: what is kept free for the end of a fit and for what is not foreseen, what
#: finishes a cycle where nothing is left, and how much a plan may be out before it is made anew.
_FREE, _GRACE, _OUT = 0.015, 0.02, 0.01

#: Parts of the limit after which a plan is looked at: for the first time, and again. At first
#: there are steps that are slow, and so few of them say little until much of the time is gone.
_FIRST, _AGAIN, _MUCH = 0.04, 0.02, 0.25
_TELLING_STEPS = 5

#: What comes after the run, as a part of the time in which a cycle is judged.
_LAST = 0.25

#: Part of the limit over which the pace is measured.
_WINDOW = 0.1


class TimeLimit:
    """Shortens the cycles of a run so that the last one ends within the seconds of a stopwatch.

    How fast the run is shows in its own steps, so that one which needs no limit has the bits of one
    without. A plan is looked at as time goes on, and at the end of each cycle: machines change
    their speed. A cycle that has begun goes on from the rate that it had come to.

    Parameters
    ----------
    stopwatch : Stopwatch
        It was started with the fit.
    full : RunPlan
        The plan without a limit.
    lanes : list of Lane
    are_beside : bool, default=False
        Whether lanes train beside each other, each in a thread of its own.
    judging : float
        How many steps the end of a cycle is thought to take, before one was seen.
    on_shorter : callable, default=None
        Is called with the plan in force, each time that there is a new one.
    """

    def __init__(
        self,
        stopwatch: Stopwatch,
        full: RunPlan,
        lanes: list[Lane],
        *,
        are_beside: bool = False,
        judging: float = 0.0,
        on_shorter: Callable[[RunPlan], object] | None = None,
    ):
        self.stopwatch, self.full, self.lanes = stopwatch, full, lanes
        self.on_shorter = on_shorter
        #: The plan of each lane.
        self.plans = [full] * len(lanes)
        #: Whether the run was shortened.
        self.is_binding = False
        self._pace = Pace(_WINDOW * stopwatch.seconds)
        self._judging = judging
        #: Seconds that the end of the latest cycle took, and when one began.
        self._end: float | None = None
        self._end_began = 0.0
        self._next_look = stopwatch.spent + _FIRST * stopwatch.seconds
        self._are_beside = are_beside
        self._counting = threading.Lock()
        #: For each lane the shares by which it is yet to shorten its plan.
        self._due: list[Shares | None] = [None] * len(lanes)

    @property
    def n_cycles(self) -> int:
        """Cycles that are planned."""
        pairs = zip(self.plans, self._due, strict=True)
        return min(plan.n_cycles if shares is None else shares.last for plan, shares in pairs)

    def begin(self) -> None:
        """Measure from now on."""
        self._pace = Pace(_WINDOW * self.stopwatch.seconds)
        self._next_look = self.stopwatch.spent + _FIRST * self.stopwatch.seconds
        for k, lane in enumerate(self.lanes):
            lane.recorder.on_step = functools.partial(self._after_step, k)
            lane.recorder.on_epoch = self._end_epoch

    @contextlib.contextmanager
    def ending_cycle(self) -> Iterator[None]:
        """Take the time of a block as that of the end of a cycle: no step is taken in it."""
        begun = self._end_began = self.stopwatch.spent
        try:
            yield
        finally:
            self._end = self.stopwatch.spent - begun
            self._pace.leave_out(self.stopwatch.spent - self._end_began)

    def is_over(self, n_ended: int, *, is_kept: bool) -> bool:
        """Plan the cycles to come at the end of one, and return whether there are none.

        At least one cycle is finished: where none is kept yet, the run goes on.
        """
        self._follow_shares()
        if self._n_taken() > n_ended:  # chains that train in turn have more, from the same epoch
            return False
        spent = self.stopwatch.spent
        self._end = max(self._end or 0.0, spent - self._end_began)
        self._pace.leave_out(spent - self._end_began)
        self._end_began = spent
        if self._is_out(-1.0):
            is_over = not self._plan(may_stop=is_kept)
            self._follow_shares()
            return is_over
        return False

    def state(self) -> Options:
        """Return in plain numbers what :meth:`restore` takes."""
        return {
            "spent": self.stopwatch.spent,
            "end": self._end,
            "is_binding": self.is_binding,
            "plans": [plan.as_data() for plan in self.plans],
        }

    def restore(self, state: Options) -> None:
        """Go on where :meth:`state` was taken; the lanes already stand there.

        What was spent before counts too.
        """
        self.stopwatch.set_spent(state["spent"] + self.stopwatch.spent)
        self._end, self.is_binding = state["end"], state["is_binding"]
        if self.is_binding:
            for k, data in enumerate(state["plans"]):
                self._follow(k, self.full.from_data(data))

    def _after_step(self, k: int, loss: torch.Tensor) -> None:
        """Count a step of a lane, and look at the plan now and then."""
        with self._counting:
            self._look(k, loss)
            # Where lanes train beside each other, the others are in the middle of a step.
            self._follow_shares(of=[k] if self._are_beside else None)

    def _end_epoch(self) -> None:
        with self._counting:
            self._pace.end_epoch()

    def _look(self, k: int, loss: torch.Tensor) -> None:
        self._pace.step()
        watch, recorder = self.stopwatch, self.lanes[k].recorder
        if watch.spent < self._next_look:
            return
        if self._pace.n_steps < _TELLING_STEPS and watch.spent < _MUCH * watch.seconds:
            return
        loss.item()  # a GPU may be far behind
        self._next_look = watch.spent + _AGAIN * watch.seconds
        if recorder.step == recorder.ends[len(recorder.states)]:
            return  # the end of the cycle is the time to plan
        if self._is_out(_OUT * watch.seconds):
            self._plan(may_stop=False)

    def _is_between(self) -> bool:
        """Tell whether some lanes have ended the cycle that others are in."""
        return len({len(lane.recorder.states) for lane in self.lanes}) > 1

    def _n_taken(self) -> int:
        """Return of how many cycles there are snapshots of all lanes."""
        return min(len(lane.recorder.states) for lane in self.lanes)

    def _is_out(self, seconds: float) -> bool:
        """Tell whether the plan in force is out by so many seconds.

        That a run which was not shortened needs it has to show in the whole of it: the machine may
        do something else for a moment.
        """
        if self.is_binding:
            return abs(self._seconds_over()) > seconds
        slow, mean = self._pace.seconds_a_step(), self._pace.mean_seconds_a_step()
        return self._seconds_over(min(slow, mean)) > 0

    def _costs(self, step: float | None = None) -> Costs:
        step = self._pace.seconds_a_step() if step is None else step
        seconds = self.stopwatch.seconds
        end = self._judging * step if self._end is None else self._end
        left = self.stopwatch.left - _FREE * seconds - _LAST * end
        return Costs(left, step, end, _GRACE * seconds)

    def _seconds_over(self, step: float | None = None) -> float:
        """Return by how much the run would end too late; below 0: too early.

        A step is thought to take as long as it did of late, where nothing else is given.
        """
        costs = self._costs(step)
        n_steps = sum(lane.session.budget.left for lane in self.lanes)
        n_ends = self.n_cycles - self._n_taken()
        return n_steps * costs.step + n_ends * costs.end - costs.left

    def _plan(self, *, may_stop: bool) -> bool:
        """Plan what is to come; return whether there is something."""
        steps = [lane.recorder.step for lane in self.lanes]
        pairs = list(zip(self.plans, steps, strict=True))
        to_come: Floats = np.sum(
            [steps_to_come(self.full, plan, step) for plan, step in pairs], axis=0
        )
        if not to_come.any():
            return False
        most = sum(self.full.n_steps - step for step in steps)
        shares = share_in_time(
            to_come,
            self.full,
            self.n_cycles,
            most,
            self._costs(),
            may_stop=may_stop,
            # The last of several chains is not to have the time of cycles that are given up alone.
            fewest=1 if self._is_between() else FEWEST_STEPS,
        )
        self.is_binding = True
        if shares.last <= self._n_taken():
            return False
        self._due = [shares] * len(self.lanes)
        return True

    def _follow_shares(self, of: Sequence[int] | None = None) -> None:
        """Make lanes, or all of them, go by the latest plan from where they stand."""
        for k in range(len(self.lanes)) if of is None else of:
            shares, self._due[k] = self._due[k], None
            if shares is not None:
                step = self.lanes[k].recorder.step
                self._follow(k, shortened(self.full, self.plans[k], step, shares))

    def _follow(self, k: int, plan: RunPlan) -> None:
        """Make a lane go by a plan."""
        lane, self.plans[k] = self.lanes[k], plan
        step = lane.recorder.step
        lane.session.rate.follow(plan.plan.fractions.after(step))
        lane.recorder.ends = plan.plan.ends.tolist()
        lane.session.budget.left = max(0, plan.n_steps - step)
        if k == 0 and self.on_shorter is not None:
            self.on_shorter(plan)
