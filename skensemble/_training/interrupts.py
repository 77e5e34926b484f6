"""Ctrl-C, told apart from a callback that stops a run."""

import signal
import threading
from typing import Any


class Interrupts:
    """Tells a real Ctrl-C from the KeyboardInterrupt by which skorch's callbacks stop a run.

    As a context manager, it marks every SIGINT before the handler that was set gets it. Once
    :attr:`deferred` is set, a SIGINT is only marked. Python delivers signals to the main thread
    alone, so elsewhere there is nothing to tell apart.
    """

    def __init__(self) -> None:
        self.marked = False
        self.deferred = False
        self._previous: Any = None

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            previous = signal.getsignal(signal.SIGINT)
            if callable(previous):
                self._previous = previous
                signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, signum: int, frame: Any) -> None:
        self.marked = True
        if not self.deferred:
            self._previous(signum, frame)
