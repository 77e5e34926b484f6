"""Accuracy on tables, of ours, of its variants and of the field's methods at their defaults.

All methods get the same rows, so that differences are paired. A method that fails on a split
counts there as just behind the worst of the others.
"""

import contextlib
import io
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import geometric_mean, mean, median
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from threadpoolctl import threadpool_limits

from .cache import Cache
from .methods import METHODS, Method
from .outoffold import log_loss, relative, rmse
from .tables import Table, split, tables

#: Numbers of training rows for which some tables are enough.
TABLES_OF = {
    300: ("adult", "phoneme", "abalone", "diamonds", "kin40k"),
    10_000: ("adult", "diamonds", "bike", "kin40k"),
}

#: Seeds whose seconds are of interest; the scores of the others do without.
TIMED = 1

#: Figures of a fit by which methods are compared; lower is better.
LOSS, TEMPERED, ERROR = "loss", "loss at the best temperature", "error rate"

Rows = list[dict[str, Any]]
#: Result of each seed, by table.
Fits = dict[str, dict[int, dict[str, Any]]]
#: Those by method.
Results = dict[str, Fits]


def run(
    smallest: bool,
    data: Path | None = None,
    splits: int = 5,
    sizes: Sequence[int] = (3_000,),
    methods: Sequence[str] = tuple(METHODS),
    only: Sequence[str] | None = None,
    cache: Path | None = None,
    threads: int | None = None,
    times: bool = True,
    picture: Path | None = None,
) -> dict[str, Rows]:
    """Rows of the summaries by their titles; `picture` draws that of the first size."""
    threads = use_threads(threads)
    todo = [table for table in tables(data) if only is None or table.name in only]
    if smallest:
        todo = [table for table in todo if table.name in ("breast_cancer", "diabetes")] or todo[:1]
        splits, sizes = 2, (100,)
    ways = [METHODS[name] for name in available(methods, smallest)]
    known, summaries = Cache(cache), {}
    for size in sizes:
        chosen = [t for t in todo if data is None or t.name in TABLES_OF.get(size, (t.name,))]
        if not chosen:
            print(f"{size:,} rows: no table", file=sys.stderr)
            continue
        results: Results = {method.label: {} for method in ways}
        for table in chosen:
            for seed in range(splits):
                train, test = split(table, seed, size)
                for method in ways:
                    if method.splits is None or seed < method.splits:
                        fit = Fit(method, train, test, seed, threads, times, smallest)
                        results[method.label].setdefault(table.name, {})[seed] = fit.result(known)
        comparison = Comparison(results, threads)
        if picture is not None and not summaries:
            from .picture import draw  # here, since it needs matplotlib

            draw(comparison, picture)
        for title, rows in comparison.summaries().items():
            summaries[f"{title}, {size:,} training rows"] = rows
    return summaries


def available(names: Sequence[str], smallest: bool) -> list[str]:
    """Those of the methods that are installed, and quick where they have to be."""
    if unknown := set(names) - set(METHODS):
        raise ValueError(f"Got methods {sorted(unknown)}, but expected some of {list(METHODS)}.")
    chosen = [name for name in names if METHODS[name].smallest or not smallest]
    for name in chosen:
        if METHODS[name].version() is None:
            print(f"{METHODS[name].label} is not installed: skipped", file=sys.stderr)
    return [name for name in chosen if METHODS[name].version() is not None]


def use_threads(threads: int | None) -> int:
    """Have all libraries use so many, as far as they can be told for all calls at once."""
    threads = threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    os.environ["NPROC"] = str(threads)  # read by jax when it is imported
    return threads


# A fit


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
        """Scores and seconds, measured where they are not known."""
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
        return (self.method.smallest or {}) if self.smallest else {}

    def is_enough(self, result: dict[str, Any]) -> bool:
        """Scores always are; a run that times wants a few fits' seconds as well."""
        wanted = self.times and self.seed < TIMED and "failure" not in result
        return not wanted or seconds_of(result, self.threads) is not None

    def measure(self) -> dict[str, Any]:
        """Fit, predict and score; what went wrong, if so."""
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
        """Losses on the test rows and seconds; classes are numbered, as some methods need."""
        train, test = self.train, self.test
        is_classification = train.task == "classification"
        classes = np.unique(train.y) if is_classification else None
        y = train.y if classes is None else np.searchsorted(classes, train.y)
        estimator = self.method.make(train, self.seed, self.threads, **self.options)
        start = time.perf_counter()
        estimator.fit(train.X, y)
        fitted = time.perf_counter()
        predict = estimator.predict_proba if is_classification else estimator.predict
        values = np.asarray(predict(test.X), dtype=np.float64)
        predicted = time.perf_counter()
        if not np.isfinite(values).all():
            raise ValueError("Predictions that are not finite.")
        return {
            **(
                {LOSS: rmse(test.y.std())(values.reshape(-1), test.y)}
                if classes is None
                else classification_scores(values, numbered(test.y, classes))
            ),
            "fit, s": fitted - start if self.times else None,
            "predict, s": predicted - fitted if self.times else None,
            "threads": self.threads,
        }


def numbered(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Number of each class; one that the training rows lack comes after all others."""
    numbers = np.searchsorted(classes, y).clip(max=len(classes) - 1)
    return np.where(classes[numbers] == y, numbers, len(classes))


def classification_scores(p: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Of class probabilities (n, k) and class numbers; number k is what nobody could predict."""
    p = np.column_stack([p, np.zeros(len(p))]) if y.max() == p.shape[1] else p
    p = p / p.sum(axis=1, keepdims=True)
    return {
        LOSS: log_loss(p, y),
        TEMPERED: tempered_log_loss(p, y),
        ERROR: float(np.mean(p.argmax(axis=1) != y)),
    }


def tempered_log_loss(p: np.ndarray, y: np.ndarray) -> float:
    """Log-loss of ``p ** (1 / T)``, scaled to sum 1, at the T that is best for these rows.

    So much would be left of the loss if all that is wrong were the confidence.
    """
    logs = np.log(p.clip(1e-15))

    def loss(log_temperature: float) -> float:
        tempered = logs / np.exp(log_temperature)
        return float(np.mean(logsumexp(tempered, axis=1) - tempered[np.arange(len(y)), y]))

    return float(minimize_scalar(loss, bounds=(-3, 5), method="bounded").fun)


def seconds_of(result: dict[str, Any], threads: int) -> tuple[float, float] | None:
    """To fit and to predict, where they were measured with so many threads."""
    if result.get("threads") != threads or result["fit, s"] is None:
        return None
    return result["fit, s"], result["predict, s"]


# Summaries


class Comparison:
    """Results of all methods, compared in pairs over the tables and the seeds that both have."""

    def __init__(self, results: Results, threads: int):
        self.results = {label: fits for label, fits in results.items() if fits}
        self.threads = threads
        self.tables = list(next(iter(self.results.values())))
        self.methods = {method.label: method for method in METHODS.values()}
        self.ours = METHODS["ours"].label if METHODS["ours"].label in self.results else None
        favourites = [METHODS[name].label for name in ("catboost", "hist")]
        #: What the others are relative to: CatBoost where there is one.
        self.base = next(
            (name for name in favourites if name in self.results), next(iter(self.results))
        )

    def summaries(self) -> dict[str, Rows]:
        """The tables by title."""
        summaries = {
            "Methods": [self.row(label) for label in self.results],
            "Loss by table": [self.losses_row(name) for name in self.tables],
        }
        if self.ours is not None and len(self.results) > 1:
            others = [label for label in self.results if label != self.ours]
            summaries["Ours against others"] = [self.against(label) for label in others]
        return summaries

    def row(self, label: str) -> dict[str, Any]:
        """All figures of a method."""
        base, low, high = self.base, *self.interval(label, self.base)
        loss = self.ratios(label, base)
        row: dict[str, Any] = {
            "method": label,
            "version": self.methods[label].version(),
            "splits": min(len(fits) for fits in self.results[label].values()),
            "failed": sum("failure" in fit for fit in self.fits(label)),
            "mean rank": mean(self.rank(label, table) for table in self.tables),
            f"loss / {base}, %": percent(loss.values()),
            "low": low,
            "high": high,
            f"lower than {base}": wins(loss),
            "ours lower": "",
            f"tempered log-loss / {base}, %": "",
            f"error / {base}, %": "",
            "fit, s": self.seconds(label)[0],
            "predict, s": self.seconds(label)[1],
        }
        if self.ours not in (None, label):
            row["ours lower"] = wins(self.ratios(self.ours, label))
        if tempered := self.ratios(label, base, TEMPERED):
            row[f"tempered log-loss / {base}, %"] = percent(tempered.values())
            row[f"error / {base}, %"] = percent(self.ratios(label, base, ERROR, mean).values())
        return row

    def losses_row(self, table: str) -> dict[str, Any]:
        """Loss of each method on one table, over all seeds that it has."""
        row: dict[str, Any] = {"table": table}
        most = max(len(fits[table]) for fits in self.results.values())
        for label, fits in self.results.items():
            seeds = list(fits[table])
            note = "" if len(seeds) == most else f" ({len(seeds)} of {most} splits)"
            row[label + note] = self.value(label, table, seeds, LOSS)
        return row

    def against(self, label: str) -> dict[str, Any]:
        """Ours relative to another method."""
        assert self.ours is not None
        ratios = self.ratios(self.ours, label)
        low, high = self.interval(self.ours, label)
        figures = relative(ratios)
        return {
            "ours against": label,
            "splits": min(len(self.seeds(self.ours, label, table)) for table in self.tables),
            "loss, %": figures.pop("loss, %"),
            "low": low,
            "high": high,
            "lower on": wins(ratios),
            **figures,
        }

    def ratios(
        self,
        label: str,
        other: str,
        figure: str = LOSS,
        average: Callable[..., float] = geometric_mean,
    ) -> dict[str, float]:
        """A method's figure relative to another's, by table, where there is such a figure."""
        ratios = {}
        for table in self.tables:
            seeds = self.seeds(label, other, table)
            values = [self.value(name, table, seeds, figure, average) for name in (label, other)]
            if None not in values:
                # Few test rows may hold no error at all.
                numerator, denominator = (max(value, 1e-4) for value in values)
                ratios[table] = numerator / denominator
        return ratios

    def interval(self, label: str, other: str) -> tuple[float, float]:
        """95 % of what the relative loss is over as many tables drawn with repeats, in per cent."""
        logs = np.log(list(self.ratios(label, other).values()))
        drawn = np.random.default_rng(0).integers(len(logs), size=(10_000, len(logs)))
        low, high = np.quantile(logs[drawn].mean(axis=1), [0.025, 0.975])
        return 100 * float(np.expm1(low)), 100 * float(np.expm1(high))

    def rank(self, label: str, table: str) -> float:
        """1 for the best; each pair is compared over the seeds that both have."""
        rank = 1.0
        for other in self.results:
            seeds = self.seeds(label, other, table)
            mine, others = (self.value(name, table, seeds, LOSS) for name in (label, other))
            if other != label:
                rank += 0.5 if mine == others else float(mine > others)
        return rank

    def value(
        self,
        label: str,
        table: str,
        seeds: list[int],
        figure: str,
        average: Callable[..., float] = geometric_mean,
    ) -> Any:
        """A figure in the average over seeds; None where the table has no such figure."""
        values = [self.of_fit(label, table, seed, figure) for seed in seeds]
        return None if None in values else average(values)

    def of_fit(self, label: str, table: str, seed: int, figure: str) -> float | None:
        """A figure of one fit; that of one that failed is just behind the worst."""
        fit = self.results[label][table][seed]
        if "failure" not in fit:
            return fit.get(figure)
        others = [fits[table][seed] for fits in self.results.values() if seed in fits[table]]
        known = [other[figure] for other in others if figure in other]
        return max(known) * (1 + 1e-9) if known else None

    def seeds(self, label: str, other: str, table: str) -> list[int]:
        """Those that both methods have."""
        return sorted(self.results[label][table].keys() & self.results[other][table].keys())

    def fits(self, label: str) -> Rows:
        """All fits of a method."""
        return [fit for fits in self.results[label].values() for fit in fits.values()]

    def seconds(self, label: str) -> tuple[Any, Any]:
        """Median over the tables of the seconds to fit and to predict; empty without any."""
        timed: list[tuple[float, float]] = []
        for fits in self.results[label].values():
            known = [seconds_of(fit, self.threads) for fit in fits.values()]
            pairs = [pair for pair in known if pair is not None]
            if pairs:
                timed.append((median(fit for fit, _ in pairs), median(p for _, p in pairs)))
        if not timed:
            return "", ""
        return median(fit for fit, _ in timed), median(predict for _, predict in timed)


def percent(ratios: Any) -> float:
    """What the geometric mean of ratios is above 1."""
    return 100 * (geometric_mean(ratios) - 1)


def wins(ratios: dict[str, float]) -> str:
    """On how many tables it is lower, of how many."""
    return f"{sum(ratio < 1 for ratio in ratios.values())} of {len(ratios)}"
