"""One method on one split of a table: its scores and its seconds."""

import contextlib
import io
import os
import sys
import time
import warnings
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from .cache import Cache
from .methods import Method
from .scores import LOSS, classification_scores, numbered, rmse
from .tables import Table

#: Figures of a fit that depend on the machine. Files of earlier runs hold no CPU time.
SECONDS = ("fit, s", "CPU s", "predict, s")

#: Number of seeds whose seconds are measured; for the other seeds the scores are enough.
TIMED = 1


class Fit(NamedTuple):
    """A method on one split of a table."""

    method: Method
    train: Table
    test: Table
    seed: int
    threads: int
    times: bool
    smallest: bool

    def result(self, known: Cache) -> dict[str, Any]:
        """Return scores and seconds, and measure them if they are not known."""
        options = self.options
        key = {
            "method": self.method.label,
            "settings": self.method.settings(self.train, options),
            "table": self.train.name,
            "seed": self.seed,
            "rows": len(self.train.y),
        }
        label = f"{self.method.label}, {self.train.name} {self.seed}, {len(self.train.y)} rows"
        return known.get(key, self.measure, label, self.is_enough)

    @property
    def options(self) -> dict[str, Any]:
        """Arguments of the method beyond its defaults."""
        return (self.method.smallest or {}) if self.smallest else {}

    def is_enough(self, result: dict[str, Any]) -> bool:
        """Tell whether a known result holds all figures that this run needs.

        Scores are always there. A run that measures times also needs the seconds of a few fits.
        """
        wanted = self.times and self.seed < TIMED and "failure" not in result
        return not wanted or seconds_of(result, self.threads, "fit, s") is not None

    def measure(self) -> dict[str, Any]:
        """Fit, predict and score; return the error message if one of them fails."""
        quiet = io.StringIO()
        try:
            with (
                warnings.catch_warnings(action="ignore"),
                contextlib.redirect_stdout(quiet),
                contextlib.redirect_stderr(quiet),
                threadpool_limits(self.threads),
            ):
                return self.scores()
        except Exception as error:
            message = f"{type(error).__name__}: {error}"[:300]
            print(f"{self.method.label} on {self.train.name}: {message}", file=sys.stderr)
            return {"failure": message}

    def scores(self) -> dict[str, Any]:
        """Return the losses on the test rows, and the seconds."""
        train, test = self.train, self.test
        is_classification = train.task == "classification"
        classes = np.unique(train.y) if is_classification else None
        # Some methods need classes that are numbered.
        y = train.y if classes is None else np.searchsorted(classes, train.y)
        estimator = self.method.make(train, self.seed, self.threads, **self.options)
        start, cpu = time.perf_counter(), cpu_seconds()
        estimator.fit(train.X, y)
        fitted, cpu = time.perf_counter(), cpu_seconds() - cpu
        predict = estimator.predict_proba if is_classification else estimator.predict
        values = np.asarray(predict(test.X), dtype=np.float64)
        predicted = time.perf_counter()
        return {
            **self.losses(values, classes),
            "fit, s": fitted - start if self.times else None,
            "CPU s": cpu if self.times else None,
            "predict, s": predicted - fitted if self.times else None,
            "threads": self.threads,
        }

    def losses(self, values: np.ndarray, classes: np.ndarray | None) -> dict[str, float]:
        """Return the losses of what was predicted for the test rows."""
        if not np.isfinite(values).all():
            raise ValueError("Predictions that are not finite.")
        if classes is None:
            return {LOSS: rmse(self.test.y.std())(values.reshape(-1), self.test.y)}
        return classification_scores(values, numbered(self.test.y, classes))


def seconds_of(result: dict[str, Any], threads: int, figure: str) -> float | None:
    """Return one of :data:`SECONDS` if it was measured, and with so many threads."""
    seconds: float | None = result.get(figure)
    return seconds if result.get("threads") == threads else None


def cpu_seconds() -> float:
    """Return the CPU time, user's and system's, of all threads and of all children that ended.

    Worker processes that outlive a fit, as joblib's do, are not among them.
    """
    ended = os.times()
    return time.process_time() + ended.children_user + ended.children_system
