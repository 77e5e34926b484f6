"""Callbacks for scikit-learn's ``set_callbacks`` that know of cycles; scikit-learn 1.9 or newer."""

from collections.abc import Callable
from typing import Any

from ._compat import sklearn_callback
from ._training.bridge import metrics_of
from ._warnings import short
from .followed import NEEDS_NEWER

__all__ = ["CycleLogger"]


class CycleLogger:
    """Hands the metrics of each cycle to a function, as trackers of experiments take them.

    It is set by ``estimator.set_callbacks(CycleLogger(log))`` and asks for nothing that costs time.

    Parameters
    ----------
    log : callable
        Called as ``log(metrics, step)`` at the end of each cycle, such as ``mlflow.log_metrics``
        or the ``log`` of a run of W&B. `step` is the number of the cycle, from 1 on; cycles of
        earlier calls count. `metrics` is a dict of floats, without those that are not known:

        - ``cycle``, its number, and ``epoch``, passes over the rows since the call began;
        - ``lr``, the highest rate of the cycle;
        - ``train_loss``, the mean over its steps;
        - ``unseen_score``, as in ``cycle_scores_``: that of all cycles so far, higher is better,
          and ``best_unseen_score``, both only where rows are left out;
        - ``seconds`` that the cycle took.

        Where a search trains in other processes, `log` is called there.

    Raises
    ------
    TypeError
        If `log` is no callable.
    ImportError
        If scikit-learn is older than 1.9.

    See Also
    --------
    sklearn.callback.ScoringMonitor : Any score of the rows of training after each cycle.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skensemble import SnapshotEnsembleClassifier
    >>> from skensemble.callbacks import CycleLogger
    >>> seen = []
    >>> model = SnapshotEnsembleClassifier(n_cycles=3, max_epochs=6, random_state=0)
    >>> logger = CycleLogger(lambda metrics, step: seen.append((step, metrics["epoch"])))
    >>> _ = model.set_callbacks(logger).fit(*load_iris(return_X_y=True))
    >>> [step for step, _ in seen]
    [1, 2, 3]
    """

    def __init__(self, log: Callable[[dict[str, float], int], object]):
        if sklearn_callback is None:
            raise ImportError(NEEDS_NEWER)
        if not callable(log):
            raise TypeError(
                f"Got log={short(log)}, but expected a function of metrics and a step, such as "
                "mlflow.log_metrics."
            )
        self.log = log

    def setup(self, estimator: Any, context: Any) -> None:
        """Do nothing before a fit."""

    def teardown(self, estimator: Any, context: Any) -> None:
        """Do nothing after a fit."""

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Do nothing before a task."""

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        """Log the metrics of a cycle."""
        known = metrics_of(context)
        if known is not None:
            number, metrics = known
            self.log(metrics, number)
