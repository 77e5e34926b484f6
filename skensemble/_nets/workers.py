"""Work beside other work: tasks in Python threads, each with one intra-op thread.

Intra-op threads meet after every product, and one that the machine does not schedule holds all
others. Python threads that share no product meet once, at the end; torch lets them run beside each
other, since it holds no lock of Python's while it computes.
"""

import contextlib
import contextvars
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import joblib
import torch
from joblib.parallel import get_active_backend

_T = TypeVar("_T")

#: Seconds after which Python looks whether it was interrupted: not every wait ends by a signal.
_WINK = 0.1

#: A number of intra-op threads that is set is the process's default too, until it is put back.
_setting = threading.Lock()


class _Here(threading.local):
    """What is known of this thread."""

    is_worker = False
    #: Whether its number of intra-op threads is its own, and not what it found for a moment.
    is_known = False


_here = _Here()


class _Moments:
    """Blocks of :func:`briefly_single` that are under way, and the default as it was before."""

    count = 0
    default = 1


_moments = _Moments()


def _begin_forked() -> None:
    """Set one thread in a forked process: its parent's are gone, and OpenMP would wait for them."""
    global _setting
    _setting = threading.Lock()  # nobody is left to release the old one
    _moments.count = 0
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_forked)


def usable_cpus() -> int:
    """Return how many threads may work beside each other.

    As many as torch's intra-op threads, and as the CPUs that this process may use by its affinity
    and its container. One where the work is itself one of several: in a worker of joblib or of
    Dask, in a task of :func:`in_threads`, and in a forked process.
    """
    asked = _own_threads()
    return 1 if asked == 1 or is_one_of_several() else min(asked, joblib.cpu_count())


def is_one_of_several() -> bool:
    """Tell whether this is itself a task of joblib, of Dask or of :func:`in_threads`."""
    return _here.is_worker or _is_in_joblib() or _is_in_dask()


def in_threads(tasks: Sequence[Callable[[], _T]], n_threads: int) -> list[_T]:
    """Run tasks in at most `n_threads` Python threads; return their results in order.

    Each thread has one intra-op thread; with `n_threads` of 1 it is the caller's own. So the bits
    of the results are the same for any number. Tasks see the caller's context variables, but what
    torch keeps for each thread, such as its inference mode, they set themselves.

    After an error no further task begins. The first of the errors is raised, an interrupt among
    them, when those that had begun have ended. Torch's number of threads is then as before.
    """
    n_threads = min(n_threads, len(tasks))
    if n_threads <= 1:
        with _single():
            return [task() for task in tasks]
    work = _Work(tasks)
    try:
        with _setting, _threads_put_back():
            for _ in range(n_threads):
                work.start_thread()
                work.are_set.acquire()
        work.let_begin()
        work.wait()
    except BaseException:
        work.begin_no_more()
        work.let_begin()
        work.wait()  # unless it is asked for twice
        raise
    return work.results()


class _Work(Generic[_T]):
    """Tasks that are waiting, and what became of the others."""

    def __init__(self, tasks: Sequence[Callable[[], _T]]):
        self._waiting = deque(enumerate(tasks))
        self._done: dict[int, _T] = {}
        self._errors: dict[int, BaseException] = {}
        #: Counts the threads that have set their own number of intra-op threads.
        self.are_set = threading.Semaphore(0)
        self._threads: list[tuple[threading.Thread, threading.Event]] = []
        #: Set when the default of threads to come, such as those of a task, is as before.
        self._may_begin = threading.Event()

    def start_thread(self) -> None:
        """Start a thread that takes one task after another."""
        context, ended = contextvars.copy_context(), threading.Event()
        thread = threading.Thread(target=context.run, args=(self._run, ended), daemon=True)
        thread.start()
        self._threads.append((thread, ended))

    def _run(self, ended: threading.Event) -> None:
        try:
            _here.is_worker = _here.is_known = True
            torch.get_num_threads()  # before its first call torch forgets what is set
            torch.set_num_threads(1)
            self.are_set.release()
            self._may_begin.wait()
            while self._waiting:
                self._take_one()
        finally:
            ended.set()

    def _take_one(self) -> None:
        with contextlib.suppress(IndexError):  # another thread was quicker
            place, task = self._waiting.popleft()
            try:
                self._done[place] = task()
            except BaseException as error:
                self._errors[place] = error
                self.begin_no_more()

    def let_begin(self) -> None:
        """Let all threads begin."""
        self._may_begin.set()

    def begin_no_more(self) -> None:
        """Drop the tasks that no thread has begun."""
        self._waiting.clear()

    def wait(self) -> None:
        """Wait for the end of all threads."""
        for thread, ended in self._threads:
            # An interrupted join takes a thread for ended: https://bugs.python.org/issue45274
            while not ended.wait(_WINK):
                pass
            thread.join()

    def results(self) -> list[_T]:
        """Return the results in the order of the tasks, or raise the first error."""
        if self._errors:
            raise self._errors[min(self._errors)]
        return [self._done[place] for place in range(len(self._done))]


@contextlib.contextmanager
def briefly_single() -> Iterator[None]:
    """Work with one intra-op thread in this thread for a moment, at next to no cost.

    Only a thread that first asks torch in this moment would keep one; of those, the ones that come
    here know better.
    """
    before = _own_threads()
    if before == 1:
        yield
        return
    try:
        with _setting:
            _moments.count += 1
            _moments.default = before
            torch.set_num_threads(1)
        yield
    finally:
        with _setting:
            _moments.count = max(0, _moments.count - 1)
            torch.set_num_threads(before)


def _own_threads() -> int:
    """Return the number of intra-op threads of this thread."""
    with _setting:
        own = torch.get_num_threads()
        if not _here.is_known and own == 1 and _moments.count:
            own = _moments.default
            torch.set_num_threads(own)
        _here.is_known = True
        return own


@contextlib.contextmanager
def _single() -> Iterator[None]:
    """Work with one intra-op thread in this thread; others keep theirs."""
    before = _own_threads()
    if before == 1:
        yield
        return
    try:
        _set_here(1, before)
        yield
    finally:
        _set_here(before, before)


def _set_here(n_threads: int, default: int) -> None:
    """Set the number of intra-op threads of this thread, and the default of those to come."""
    with _setting:
        torch.set_num_threads(n_threads)
        if n_threads != default:
            other = threading.Thread(target=torch.set_num_threads, args=(default,))
            other.start()
            other.join()


@contextlib.contextmanager
def _threads_put_back() -> Iterator[None]:
    """Put back this thread's number of intra-op threads, as the default of threads to come."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _is_in_joblib() -> bool:
    """Tell whether this is a task of a parallel call of joblib."""
    return bool(getattr(get_active_backend()[0], "nesting_level", 0))


def _is_in_dask() -> bool:
    """Tell whether this is a task on a worker of Dask."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return False
    try:
        distributed.get_worker()
    except ValueError:
        return False
    return True
