"""What callbacks of scikit-learn's, and what is printed, add to a fit."""

import contextlib
import io
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import make_classification
from torch import nn

from skensemble import SnapshotEnsembleClassifier
from skensemble.callbacks import CycleLogger

from .timing import interleaved, ratios


class Case(NamedTuple):
    """Rows and columns, and what is trained on them."""

    n_samples: int
    n_features: int
    parameters: dict[str, Any]


class Asking(CycleLogger):
    """Asks for an estimator that predicts, and does nothing with it."""

    def on_fit_task_end(
        self, estimator: Any, context: Any, *, fitted_estimator: Any = None
    ) -> None:
        """Log the metrics of a cycle."""
        super().on_fit_task_end(estimator, context)


class Perceptron(nn.Sequential):
    """A network of a user's."""

    def __init__(self, n_inputs: int, n_outputs: int):
        super().__init__(nn.Linear(n_inputs, 128), nn.ReLU(), nn.Linear(128, n_outputs))


#: All cycles are trained, so that fits are alike.
_WHOLE = {"early_stopping": False, "random_state": 0}

CASES = {
    "default": Case(2_000, 20, {**_WHOLE, "max_epochs": 40}),
    "a module": Case(10_000, 54, {**_WHOLE, "module": Perceptron, "max_epochs": 16}),
}

SMALLEST = {"default": Case(200, 5, {**_WHOLE, "max_epochs": 4, "n_cycles": 2})}


def run(repeats: int, smallest: bool, peers: bool) -> list[dict[str, Any]]:
    """Return a row for each case: seconds without, and the ratios of fits with callbacks to it."""
    from sklearn.callback import ScoringMonitor  # here: it needs scikit-learn 1.9

    rows = []
    for name, case in (SMALLEST if smallest else CASES).items():
        X, y = make_classification(
            case.n_samples, case.n_features, n_informative=3, n_classes=3, random_state=0
        )
        X = X.astype(np.float32)
        ways: dict[str, Callable[[], Any]] = {
            "without": lambda c=case, X=X, y=y: fit(c, X, y),
            "again": lambda c=case, X=X, y=y: fit(c, X, y),
            "verbose": lambda c=case, X=X, y=y: fit(c, X, y, verbose=1),
            "CycleLogger": lambda c=case, X=X, y=y: fit(c, X, y, CycleLogger(_log)),
            "fitted_estimator": lambda c=case, X=X, y=y: fit(c, X, y, Asking(_log)),
            "ScoringMonitor": lambda c=case, X=X, y=y: fit(
                c, X, y, ScoringMonitor(scoring="neg_log_loss")
            ),
        }
        seconds = interleaved(ways, repeats)
        row: dict[str, Any] = {"fit": name, "without, s": sorted(seconds["without"])[repeats // 2]}
        for way, ratio in ratios(seconds, "without").items():
            if way != "without":
                row[f"{way} / without"] = ratio
        rows.append(row)
    return rows


def fit(case: Case, X: Any, y: Any, *callbacks: Any, verbose: int = 0) -> Any:
    """Fit with callbacks; what is printed goes nowhere."""
    model = SnapshotEnsembleClassifier(**case.parameters, verbose=verbose)
    with contextlib.redirect_stdout(io.StringIO()):
        return model.set_callbacks(*callbacks).fit(X, y)


def _log(metrics: dict[str, float], step: int) -> None:
    """Log to nowhere."""
