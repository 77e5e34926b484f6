"""Locks that outlive a fork."""

import contextlib
import os
import threading
from collections.abc import Iterator


class Turn:
    """A re-entrant lock that is free in a forked child: nobody is left there to release it."""

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.lock = threading.RLock()

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Let one thread at a time into a block."""
        with self.lock:  # the one that was taken is released, also in a child
            yield
