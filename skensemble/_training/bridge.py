"""The bridge from a run to scikit-learn's callbacks: a task for the fit, and in it one a cycle.

See SLEP023 of scikit-learn, "Callback API". The callbacks are those of ``set_callbacks``; those of
the parameter `callbacks` are skorch's, and the net calls them.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakKeyDictionary

from skensemble._compat import begin_fit_task
from skensemble._nets.generators import Generators
from skensemble._types import Options

from .cycle_end import CycleEnd

#: What is known of the cycles whose tasks end just now, by their contexts. A hook is given no more
#: than the rows and an estimator.
_metrics: WeakKeyDictionary[Any, tuple[int, dict[str, float]]] = WeakKeyDictionary()


def metrics_of(context: object) -> tuple[int, dict[str, float]] | None:
    """Return the number and the metrics of a cycle that ends; None: the task is no cycle of ours.

    Parameters
    ----------
    context : sklearn.callback.CallbackContext
        As a hook of a callback gets it.
    """
    return _metrics.get(context)


class Bridge:
    """Makes scikit-learn's tasks of a run, and asks its callbacks whether to end it.

    Parameters
    ----------
    estimator : object
        It has callbacks.
    data : dict
        ``X``, ``y`` and ``metadata``, as the hooks get them.
    n_cycles : int
        Cycles that are planned.
    generators : Generators or None
        Are left where they are, whatever callbacks draw.
    fitted : callable
        Returns the attributes of the estimator as if the fit had ended now; None: it has none yet.
    """

    def __init__(
        self,
        estimator: Any,
        data: Options,
        n_cycles: int,
        generators: Generators | None,
        fitted: Callable[[], Options | None],
    ):
        self.estimator, self.data, self.fitted = estimator, data, fitted
        self.generators = generators
        with self._undisturbed():
            self._fit = begin_fit_task(estimator, n_cycles)
            self._fit.call_on_fit_task_begin(estimator=estimator, **data)
        self._cycle: Any = None

    def cycle_begins(self) -> None:
        """Begin the task of a cycle."""
        with self._undisturbed():
            self._begin_cycle()

    def cycle_ended(self, end: CycleEnd) -> bool:
        """End the task of a cycle; return whether a callback asks to end the run.

        One that does not count ends without a fitted estimator.
        """
        with self._undisturbed():
            if self._cycle is None:  # an earlier process has trained it
                self._begin_cycle()
            cycle, self._cycle = self._cycle, None
            if not end.is_kept:
                return self._end(cycle, None)
            _metrics[cycle] = end.number, end.metrics()
            try:
                return self._end(cycle, self.fitted)
            finally:
                del _metrics[cycle]

    def end(self) -> None:
        """End the task of the fit, and one of a cycle that was not finished."""
        with self._undisturbed():
            if self._cycle is not None:
                self._end(self._cycle, None)
            self._end(self._fit, None)

    def _begin_cycle(self) -> None:
        self._cycle = self._fit.subcontext(task_name="cycle")
        self._cycle.call_on_fit_task_begin(
            estimator=self.estimator, reconstruction_attributes=self.fitted, **self.data
        )

    def _end(self, task: Any, fitted: Callable[[], Options | None] | None) -> bool:
        return bool(
            task.call_on_fit_task_end(
                estimator=self.estimator, reconstruction_attributes=fitted, **self.data
            )
        )

    @contextlib.contextmanager
    def _undisturbed(self) -> Iterator[None]:
        """Put the chain's generators back: a callback may draw from them."""
        state = None if self.generators is None else self.generators.state()
        try:
            yield
        finally:
            if self.generators is not None and state is not None:
                self.generators.restore(state)
