"""Lanes that train in workers of joblib's, a cycle at a time.

Between two cycles everything is here, so that whatever looks at the lanes finds what they would
have come to in this process, and a worker that is lost takes no more with it than a cycle.
"""

import contextlib
import warnings
from collections.abc import Callable, Generator
from concurrent.futures import BrokenExecutor, CancelledError
from typing import Any, Self

import joblib
from joblib.parallel import get_active_backend

from skensemble._data.rows import TensorRows
from skensemble._types import Options
from skensemble._warnings import own_filters
from skensemble.schedules import Plan

from .lane import Lane
from .state import capture, restore
from .tasks import Done, Form, Work, own_parts, pack, shared_parts, train_until, unpack
from .threads import Threads

#: Times that a cycle is begun anew after workers were lost.
_N_RETRIES = 3


class WorkersLost(Exception):
    """A worker ended in the middle of a cycle, or took rows with it that tasks need."""


class Elsewhere:
    """Trains lanes in joblib's workers, which stay warm between the cycles of one run.

    Its backend is the active one, else loky's processes. The lanes are those of a run that has not
    begun; their rows are in memory.
    """

    def __init__(self, lanes: list[Lane], plan: Plan, threads: Threads, *, cold: bool):
        self.n_tasks, self._lanes = threads.n_tasks, lanes
        all_rows = [lane.rows for lane in lanes if isinstance(lane.rows, TensorRows)]
        # Made once: joblib knows by their identity what it has written or scattered already.
        shared, self._parts = shared_parts(all_rows[0]), []
        for lane, rows in zip(lanes, all_rows, strict=True):
            work = Work.of_lane(lane, plan, Form.of(rows), threads.n_intra_op, cold=cold)
            self._parts.append([_packed(work), *shared, *own_parts(rows)])
        self._parallel: joblib.Parallel | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._let_go()

    def train(
        self, lanes: list[Lane], n_epochs: int, until: int, check: Callable[[], None]
    ) -> None:
        """Train lanes until so many cycles have ended; `check` is called between their ends.

        Lanes whose worker was lost begin their cycle anew.
        """
        left = list(lanes)
        for n_left in reversed(range(_N_RETRIES + 1)):
            try:
                with contextlib.closing(self._results(left, n_epochs, until)) as results:
                    for done in results:
                        lane = self._lanes[done.place]
                        _take_over(lane, unpack(done.message))
                        left.remove(lane)
                        check()
                return
            except (BrokenExecutor, CancelledError, WorkersLost, KeyboardInterrupt):
                self._let_go()
                check()  # workers end of Ctrl-C too
                if n_left == 0:
                    raise

    def _results(self, lanes: list[Lane], n_epochs: int, until: int) -> Generator[Done, None, None]:
        """Yield what comes back of the lanes, in any order."""
        if self._parallel is None:
            self._parallel = self._stack.enter_context(self._make_parallel())
        tasks = []
        for lane in lanes:
            place, n_taken = self._lanes.index(lane), len(lane.recorder.states)
            given = (place, n_epochs, until, n_taken, pack(capture(lane)), *self._parts[place])
            tasks.append(joblib.delayed(train_until)(*given))
        results = self._parallel(tasks)
        try:
            for done in results:
                if not isinstance(done, Done):
                    raise WorkersLost(f"Got {type(done).__name__} in place of a result.")
                yield done
        finally:
            if isinstance(results, Generator):
                with own_filters():  # of tasks that nobody waits for after an error
                    warnings.filterwarnings("ignore", "[0-9]+ tasks which", UserWarning)
                    results.close()

    def _make_parallel(self) -> joblib.Parallel:
        backend, _ = get_active_backend()
        options: Options = {"n_jobs": self.n_tasks, "batch_size": 1, "pre_dispatch": "all"}
        if getattr(backend, "supports_return_generator", False):
            options["return_as"] = "generator_unordered"
        with self._scattered(backend):
            return joblib.Parallel(**options)

    def _scattered(self, backend: Any) -> contextlib.AbstractContextManager[object]:
        """Let Dask copy the rows to its workers, once and not once a cycle."""
        if type(backend).__name__ != "DaskDistributedBackend":
            return contextlib.nullcontext()
        parts = {id(part): part for parts in self._parts for part in parts}
        return joblib.parallel_config(
            "dask",
            client=backend.client,
            scatter=[*parts.values()],
            wait_for_workers_timeout=backend.wait_for_workers_timeout,
            **backend.submit_kwargs,
        )

    def _let_go(self) -> None:
        self._parallel = None
        self._stack.close()


def _take_over(lane: Lane, done: Options) -> None:
    """Put a lane where its task has come to."""
    restore(lane, done["state"], [*lane.recorder.states, *done["taken"]])
    lane.recorder.ended.update(done["ended"])
    if (progress := lane.session.progress) is not None:
        progress.reach(lane.n_epochs_done)


def _packed(work: Work) -> object:
    try:
        return work.packed()
    except Exception as error:  # whatever a part of the user's raises
        raise ValueError(
            "Got a net that workers cannot get, but expected one whose parts can be pickled: "
            f"{type(error).__name__}: {str(error).rstrip('.')}. Set n_jobs=1, or change the part."
        ) from error
