"""What is told of each cycle when it ends, and who hears of it."""

from collections.abc import Callable, Sequence

from .clock import now
from .cycle_end import CycleEnd, Hearer, Judged
from .lane import Lane
from .limit import TimeLimit
from .planning import RunPlan

#: What is noted of a cycle in the history, in the row of the epoch in which it ended.
OF_CYCLES = ("cycle", "unseen_score")


class Telling:
    """Tells of cycles, and notes them in the history of the first net.

    Parameters
    ----------
    plan : RunPlan
    n_before : int, default=0
        Cycles of earlier calls.

    Attributes
    ----------
    hearers : list of Hearer
    is_asked : bool
        Whether one of them has asked to end the run.
    """

    def __init__(self, plan: RunPlan, n_before: int = 0):
        self.plan, self.n_before = plan, n_before
        self.hearers: list[Hearer] = []
        self.is_asked = False
        self.best: tuple[Judged, int] | None = None
        #: Returns what unseen rows say after a cycle that was kept; None: there are none.
        self.judge: Callable[[], Judged] | None = None
        #: Whether the run may end before its budget does.
        self.may_stop = False
        #: When training began and the latest cycle ended.
        self._began = self._ended = now()
        #: Whether it takes a while until the first step, as where workers begin.
        self.is_slow_to_begin = False
        #: From when on the pace is measured, and the steps done before.
        self._paced = self._began, 0

    def judge_by(
        self, judge: Callable[[], Judged], before: Sequence[Judged], *, may_stop: bool
    ) -> None:
        """Ask what unseen rows say after each cycle; they have judged those of earlier calls."""
        self.judge, self.may_stop = judge, may_stop
        for k, judged in enumerate(before):
            self._compare(judged, k + 1)

    def begin(self, first_step: int) -> None:
        """Count the time from now on, and the steps from those that others have taken."""
        self._began = self._ended = now()
        self._paced = self._began, first_step

    def cycle_begins(self) -> None:
        """Tell that a cycle begins."""
        for hearer in self.hearers:
            hearer.cycle_begins()

    def recall(self, lanes: list[Lane], n_ended: int, n_planned: int) -> None:
        """Tell of a cycle that an earlier process has trained."""
        judged = self._ask(n_ended)
        if self.hearers:
            end = self._end(lanes, n_ended, n_planned, None, judged)
            epoch = int(self.plan.plan.ends[n_ended - 1]) / self.plan.steps_per_epoch
            self._tell(end._replace(is_recalled=True, epoch=epoch, seconds=0.0))

    def cycle_ended(
        self,
        lanes: list[Lane],
        n_ended: int,
        n_planned: int,
        limit: TimeLimit | None,
        *,
        is_kept: bool = True,
    ) -> bool:
        """Tell of a cycle that has ended, and return whether to end the run.

        `n_ended` cycles of the run have ended, this one included.
        """
        history = lanes[0].net.history_
        judged = self._ask(n_ended) if is_kept else None
        known = self.n_before + n_ended, None if judged is None else judged.score
        for name, value in zip(OF_CYCLES, known, strict=True):
            if value is not None:
                history.record(name, value)
        if not self.hearers:
            return False
        end = self._end(lanes, n_ended, n_planned, limit, judged)._replace(is_kept=is_kept)
        is_first, self._ended = self._ended == self._began, self._ended + end.seconds
        if is_first:  # workers begin in it
            self._paced = self._ended, lanes[0].recorder.step
        return self._tell(end)

    def _tell(self, end: CycleEnd) -> bool:
        asked = [hearer.cycle_ended(end) for hearer in self.hearers]
        self.is_asked = self.is_asked or any(asked)
        return self.is_asked

    def _ask(self, n_ended: int) -> Judged | None:
        judged = None if self.judge is None else self.judge()
        if judged is not None:
            self._compare(judged, self.n_before + n_ended)
        return judged

    def _compare(self, judged: Judged, number: int) -> None:
        if self.best is None or judged.loss < self.best[0].loss:
            self.best = judged, number

    def _end(
        self,
        lanes: list[Lane],
        n_ended: int,
        n_planned: int,
        limit: TimeLimit | None,
        judged: Judged | None,
    ) -> CycleEnd:
        n_planned = n_planned if limit is None else limit.n_cycles
        ended = [(lane, lane.recorder.ended.get(n_ended - 1)) for lane in lanes]
        losses = [(end.loss, lane.n_chains) for lane, end in ended if end is not None]
        first = ended[0][1]
        step = lanes[0].recorder.step if first is None else first.step
        moment = now()
        return CycleEnd(
            number=self.n_before + n_ended,
            n_planned=self.n_before + n_planned,
            epoch=step / self.plan.steps_per_epoch,
            lr=None if first is None else first.lr,
            last_lr=None if first is None else first.last_lr,
            train_loss=_mean(losses) if len(losses) == len(lanes) else None,
            judged=judged,
            best=self.best,
            seconds=moment - self._ended,
            spent=moment - self._began,
            left=self._seconds_left(lanes[0].recorder.step, moment, limit),
            may_stop=self.may_stop,
        )

    def _seconds_left(self, step: int, moment: float, limit: TimeLimit | None) -> float | None:
        """Return what the budget's other steps take, at the pace since the first cycle."""
        plan = self.plan if limit is None else limit.plans[0]
        begin, before = self._paced
        if begin == self._began and self.is_slow_to_begin:
            return None
        left = (moment - begin) / max(1, step - before) * max(0, plan.n_steps - step)
        return left if limit is None else min(left, max(0.0, limit.stopwatch.left))


def _mean(values: list[tuple[float, int]]) -> float:
    """Return the mean of values, each counted as often as is said."""
    return sum(value * n for value, n in values) / sum(n for _, n in values)
