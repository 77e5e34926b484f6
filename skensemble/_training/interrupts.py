"""Ctrl-C, told apart from a callback that stops a run, and heard where nothing is lost by it."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import NoReturn, Self

from skensemble._warnings import warn


class Interrupts:
    """Tells a real Ctrl-C from the KeyboardInterrupt by which skorch's callbacks stop a run.

    As a context manager, it takes the place of the handler of SIGINT. Raised wherever it comes, an
    exception could leave half of a cold restart behind, or a setting of torch's for good. So a
    SIGINT is marked, and :meth:`check` raises it where that is safe: before each step of the
    training and between other pieces of work. A second one is raised at once, for code that never
    ends.

    Python delivers signals to the main thread alone, so elsewhere there is nothing to mark.

    Attributes
    ----------
    marked : bool
        Whether Ctrl-C was pressed.
    deferred : bool
        Whether even a second SIGINT is only marked: in what has to be done whole, and once the run
        is over. What was trained is then weighed and put away; an exception would lose it.
    is_told : bool
        Whether what was marked was raised, or told in a warning.
    """

    def __init__(self) -> None:
        self.marked = self.deferred = self.is_told = False
        self._previous: Callable[[int, FrameType | None], object] | None = None
        self._process = os.getpid()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            previous = signal.getsignal(signal.SIGINT)
            if callable(previous):
                self._previous = previous
                signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._previous is None:
            return
        # In one line: a signal either comes before it and is marked, or after the work is done.
        if signal.signal(signal.SIGINT, self._previous) and self.marked and not self.is_told:
            self._tell_late(kind)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let no SIGINT in, not even a second one."""
        before, self.deferred = self.deferred, True
        try:
            yield
        finally:
            self.deferred = before

    def check(self) -> None:
        """Raise what was marked: here nothing is lost by it.

        In a thread beside the main one it ends the work alone; the main one tells of it.
        """
        if self.marked and not self.deferred:
            if threading.current_thread() is not threading.main_thread():
                raise KeyboardInterrupt
            self._raise(None)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self._previous is not None and os.getpid() != self._process:
            self._previous(signum, frame)  # a forked process has nothing of ours to lose
            return
        is_second, self.marked = self.marked, True
        if is_second and not self.deferred:
            self._raise(frame)

    def _raise(self, frame: FrameType | None) -> NoReturn:
        """Call the handler that was set, once; whatever it does, the work ends here."""
        if not self.is_told:
            self.is_told = True
            if self._previous is not None:
                self._previous(signal.SIGINT, frame)
        raise KeyboardInterrupt

    def _tell_late(self, kind: type[BaseException] | None) -> None:
        """Tell of a SIGINT that came after the last check."""
        if kind is None:
            warn("Interrupted: the fit was finished and is kept whole.", RuntimeWarning)
        elif not issubclass(kind, KeyboardInterrupt):
            self._raise(None)
