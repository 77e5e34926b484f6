"""Ctrl-C, told apart from a callback that stops a run."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Self


class Interrupts:
    """Tells a real Ctrl-C from the KeyboardInterrupt by which skorch's callbacks stop a run.

    As a context manager, it marks every SIGINT before the handler that was set gets it. Python
    delivers signals to the main thread alone, so elsewhere there is nothing to tell apart.

    Attributes
    ----------
    marked : bool
        Whether Ctrl-C was pressed.
    deferred : bool
        Whether a SIGINT is only marked, and reaches no handler: set once the run is over. What was
        trained is then weighed and put away whole; an exception in between would lose it.
    """

    def __init__(self) -> None:
        self.marked = self.deferred = False
        self._previous: Callable[[int, FrameType | None], object] | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            previous = signal.getsignal(signal.SIGINT)
            if callable(previous):
                self._previous = previous
                signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self.marked = True
        if not self.deferred and self._previous is not None:
            self._previous(signum, frame)
