"""How long a fit has taken, and what a step of it takes."""

import time
from collections import deque

#: Steps that are slower than the others: memory and threads are set up in them.
_WARM_UP = 2


def now() -> float:
    """Return the seconds of a clock that is never set back; only differences count."""
    return time.perf_counter()


class Stopwatch:
    """The seconds that a call may take, from the moment at which this is made."""

    def __init__(self, seconds: float):
        self.seconds, self._start = seconds, now()

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return now() - self._start

    @property
    def left(self) -> float:
        """Seconds to the end of the limit, below 0 after it."""
        return self.seconds - self.spent

    def set_spent(self, seconds: float) -> None:
        """Count from here as if so many seconds had been spent."""
        self._start = now() - seconds


class Pace:
    """What a step takes, as it was over the last `window` seconds at least.

    It is measured from one end of an epoch to another where there are some, since an epoch takes
    more than its steps.
    """

    def __init__(self, window: float):
        self.window = window
        self.n_steps = 0
        #: Steps and moment at the beginning, after the slow steps, and at the ends of the latest
        #: epochs.
        self._begin = self._warm = (0, now())
        self._ends: deque[tuple[int, float]] = deque()

    def step(self) -> None:
        """Count a step."""
        self.n_steps += 1
        if self.n_steps == _WARM_UP:
            self._warm = (self.n_steps, now())
            self.end_epoch()

    def end_epoch(self) -> None:
        """Note the end of an epoch."""
        moment = now()
        self._ends.append((self.n_steps, moment))
        while len(self._ends) > 1 and moment - self._ends[1][1] >= self.window:
            self._ends.popleft()

    def leave_out(self, seconds: float) -> None:
        """Leave out time in which no step was taken."""
        self._begin = _later(self._begin, seconds)
        self._warm = _later(self._warm, seconds)
        self._ends = deque(_later(end, seconds) for end in self._ends)

    def seconds_a_step(self) -> float:
        """Return what a step takes of late; there has been one."""
        return self._since(self._ends[0] if self._ends else self._begin)

    def mean_seconds_a_step(self) -> float:
        """Return what a step took since the slow ones; there has been one."""
        return self._since(self._warm)

    def _since(self, mark: tuple[int, float]) -> float:
        """Return what a step took since a moment, but since the beginning where that was now."""
        steps, since = mark if self.n_steps - mark[0] > _WARM_UP else self._begin
        return (now() - since) / (self.n_steps - steps)


def _later(mark: tuple[int, float], seconds: float) -> tuple[int, float]:
    """Move a moment, so that what went by before it is left out."""
    return mark[0], mark[1] + seconds
