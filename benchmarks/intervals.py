"""How often intervals and sets hold the truth, how large they are, and what they cost.

Every way gets the same rows as raw frames. Beside the tables there are random targets, on which no
column says anything.
"""

import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import geometric_mean, mean, median
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from .cache import Cache
from .estimators import ESTIMATORS
from .methods import source_digest, version_of
from .regions import COVERAGES, WAYS, Figures, Way, available
from .scores import percent
from .tables import Table, split, tables
from .timing import interleaved, ratios, use_threads

Rows = list[dict[str, Any]]
#: The figures of each split, by the region's name and by the table.
Results = dict[str, dict[str, Rows]]

#: Coverage of the tables that show one alone.
SHOWN = 1
#: What the name of a table with a random target ends with.
RANDOM = ", random target"
#: Classes of a random target, and splits of each table that has one.
N_CLASSES, N_RANDOM_SPLITS = 5, 1
#: Width of the shortest intervals of a standard normal target, by coverage.
IDEAL_WIDTHS = (2.563, 3.290, 3.920)


def run(
    smallest: bool,
    data: Path | None = None,
    splits: int = 10,
    only: Sequence[str] | None = None,
    cache: Path | None = None,
    threads: int | None = None,
    repeats: int = 7,
) -> dict[str, Rows]:
    """Return the rows of the summaries by their titles."""
    threads = use_threads(threads)
    splits = 1 if smallest else splits
    for way in (way for ways in WAYS.values() for way in ways):
        if version_of([way.distribution]) is None:
            print(f"{way.distribution} is not installed: skipped", file=sys.stderr)
    found = Tables(Cache(cache), threads, smallest)
    todo = chosen(data, only, smallest)
    by_task = {task: [table for table in todo if table.task == task] for task in WAYS}
    results = {task: found.results(of_task, splits) for task, of_task in by_task.items()}
    temperatures = results["classification"].pop("temperature", {})
    random = found.on_random_targets(todo, min(splits, N_RANDOM_SPLITS))
    summaries = {
        **interval_summaries(results["regression"]),
        **set_summaries(results["classification"]),
        "Temperature": temperature_rows(temperatures),
        "Random targets": random,
        "Cost": costs(repeats, smallest),
    }
    return {title: rows for title, rows in summaries.items() if rows}


def chosen(data: Path | None, only: Sequence[str] | None, smallest: bool) -> list[Table]:
    """Return the tables of a folder and diabetes, or those that scikit-learn ships."""
    found = list(tables(data))
    if data is not None:
        found += [table for table in tables() if table.name == "diabetes"]
    if smallest:
        found = [table for table in found if table.name in ("breast_cancer", "diabetes")]
    return [table for table in found if only is None or table.name in only]


class Tables(NamedTuple):
    """Measures ways on tables, or finds what an earlier run has measured."""

    known: Cache
    threads: int
    smallest: bool

    def results(
        self, todo: Sequence[Table], splits: int, ways: Sequence[Way] | None = None
    ) -> Results:
        """Return the figures of these ways, or of all that are available."""
        results: Results = {}
        for table in todo:
            for seed in range(splits):
                train, test = split(table, seed, 100 if self.smallest else 3_000)
                for way in available(table.task) if ways is None else ways:
                    for region, figures in self.figures(way, train, test, seed).items():
                        results.setdefault(region, {}).setdefault(table.name, []).append(figures)
        return results

    def figures(self, way: Way, train: Table, test: Table, seed: int) -> Figures:
        """Return the figures of a way on a split; none if it fails."""
        is_ours = way.distribution == "skensemble"
        key = {
            "way": way.name,
            "version": source_digest() if is_ours else version_of([way.distribution]),
            "table": train.name,
            "seed": seed,
            "rows": len(train.y),
        }

        def measure() -> Figures:
            try:
                with warnings.catch_warnings(action="ignore"), threadpool_limits(self.threads):
                    return way.measure(train, test, seed, self.threads, self.smallest)
            except Exception as error:
                message = f"{type(error).__name__}: {error}"[:300]
                print(f"{way.name} on {train.name}: {message}", file=sys.stderr)
                return {}

        return self.known.get(key, measure, f"{way.name}, {train.name} {seed}")

    def on_random_targets(self, todo: Sequence[Table], splits: int) -> Rows:
        """Return the figures of ours where no column says anything of the target."""
        rows = []
        for task, ways in WAYS.items():
            drawn = [random_target(table, task) for table in todo if table.task == task]
            results = self.results(drawn, splits, ways[:1])
            results.pop("temperature", None)
            rows += [random_row(region, results) for region in results]
        return rows


def random_target(table: Table, task: str) -> Table:
    """Return a table with a target that has nothing to do with its columns."""
    rng, n = np.random.default_rng(0), len(table.y)
    y = rng.normal(size=n) if task == "regression" else rng.integers(N_CLASSES, size=n)
    return table._replace(name=table.name + RANDOM, y=y)


# Summaries


def value(results: Results, region: str, table: str, figure: str, at: int = SHOWN) -> float:
    """Return the mean of a figure over the splits of a table."""
    return mean(found[figure][at] for found in results[region][table])


def coverage_figures(results: Results, region: str) -> dict[str, Any]:
    """Return the coverage in per cent: the mean over tables for each share, and the lowest."""
    names = list(results[region])
    figures: dict[str, Any] = {"method": region, "tables": len(names)}
    for at, share in enumerate(COVERAGES):
        found = [value(results, region, name, "coverage", at) for name in names]
        figures[f"at {share:.0%}"] = 100 * mean(found)
    shown = {name: value(results, region, name, "coverage") for name in names}
    lowest = min(shown, key=lambda name: shown[name])
    return {
        **figures,
        f"lowest at {COVERAGES[SHOWN]:.0%}": 100 * shown[lowest],
        "on": lowest.removesuffix(RANDOM),
    }


def interval_summaries(results: Results) -> dict[str, Rows]:
    """Return the rows about intervals: over all tables, and each by table."""
    share = f"at {COVERAGES[SHOWN]:.0%}"
    return {
        "Intervals": [interval_row(results, region) for region in results],
        f"Interval score by table, {share}": by_table(results, "score"),
        f"Width by table, {share}": by_table(results, "width"),
        f"Coverage of intervals by table, {share}": by_table(results, "coverage"),
    }


def interval_row(results: Results, region: str) -> dict[str, Any]:
    """Return the figures of a method over all tables; scores and widths are geometric means."""
    names = list(results[region])
    row = coverage_figures(results, region)
    shown = f"{COVERAGES[SHOWN]:.0%}"
    row[f"width at {shown}"] = geometric_mean(
        value(results, region, name, "width") for name in names
    )
    for at, share in enumerate(COVERAGES):
        scores = [value(results, region, name, "score", at) for name in names]
        row[f"score at {share:.0%}"] = geometric_mean(scores)
    best = [min(results, key=lambda other: score_or_inf(results, other, name)) for name in names]
    return {**row, f"lowest score at {shown}": f"{best.count(region)} of {len(names)}"}


def score_or_inf(results: Results, region: str, table: str) -> float:
    """Return the interval score, or infinity where the method has none."""
    has_some = table in results[region]
    return value(results, region, table, "score") if has_some else np.inf


def set_summaries(results: Results) -> dict[str, Rows]:
    """Return the rows about sets: over all tables, and each by table."""
    share = f"at {COVERAGES[SHOWN]:.0%}"
    return {
        "Sets": [set_row(results, region) for region in results],
        f"Size of sets by table, {share}": by_table(results, "size"),
        f"Coverage of sets by table, {share}": by_table(results, "coverage"),
        f"Coverage of the worst class by table, {share}": by_table(results, "least of a class"),
    }


def set_row(results: Results, region: str) -> dict[str, Any]:
    """Return the figures of a method over all tables."""
    row = coverage_figures(results, region)
    for at, share in enumerate(COVERAGES):
        sizes = [value(results, region, name, "size", at) for name in results[region]]
        row[f"size at {share:.0%}"] = mean(sizes)
    return row


def by_table(results: Results, figure: str) -> Rows:
    """Return a row for each table, with a figure of each method."""
    names = dict.fromkeys(name for of_tables in results.values() for name in of_tables)
    return [
        {
            "table": name,
            **{
                region: value(results, region, name, figure) if name in of_tables else ""
                for region, of_tables in results.items()
            },
        }
        for name in names
    ]


def temperature_rows(found: dict[str, Rows]) -> Rows:
    """Return a row for each table, and one for all of them."""
    if not found:
        return []
    means = {
        name: {figure: mean(fit[figure] for fit in fits) for figure in fits[0]}
        for name, fits in found.items()
    }
    rows = [temperature_row(name, [figures]) for name, figures in means.items()]
    return [*rows, temperature_row("mean", list(means.values()))]


def temperature_row(name: str, figures: Rows) -> dict[str, Any]:
    """Return temperatures, what they change in the log-loss, and calibration errors."""

    def over(figure: str) -> float:
        return mean(each[figure] for each in figures)

    def change(to: str) -> float:
        return percent([each[f"log-loss {to}"] / each["log-loss before"] for each in figures])

    return {
        "table": name,
        "T": over("T"),
        "best T": over("best T"),
        "log-loss": over("log-loss before"),
        "with T, %": change("after"),
        "with the best T, %": change("best"),
        "ECE": over("ECE before"),
        "ECE with T": over("ECE after"),
        "ECE with the best T": over("ECE best"),
    }


def random_row(region: str, results: Results) -> dict[str, Any]:
    """Return the coverage on random targets, and the size relative to that of the truth."""
    row = coverage_figures(results, region)
    is_interval = "width" in next(iter(results[region].values()))[0]
    figure, truth = ("width", IDEAL_WIDTHS) if is_interval else ("size", (N_CLASSES,) * 3)
    for at, share in enumerate(COVERAGES):
        sizes = [value(results, region, name, figure, at) for name in results[region]]
        row[f"size at {share:.0%} / truth"] = mean(sizes) / truth[at]
    return row


# Cost


def costs(repeats: int, smallest: bool) -> Rows:
    """Return what calls take after a fit of 3,000 rows, for 10,000 new ones."""
    rng = np.random.default_rng(0)
    n, n_new = (100, 200) if smallest else (3_000, 10_000)
    X, X_new = rng.normal(size=(n, 20)), rng.normal(size=(n_new, 20))
    signal = X[:, 0] + np.sin(2 * X[:, 1]) + X[:, 2] * X[:, 3] + rng.normal(0, 0.5, n)
    targets = {"regression": signal, "classification": np.digitize(signal, [-1, 1])}
    rows = []
    for task, y in targets.items():
        rows += [{"task": task, **row} for row in cost_of(task, X, y, X_new, repeats, smallest)]
    return rows


def cost_of(
    task: str, X: np.ndarray, y: np.ndarray, X_new: np.ndarray, repeats: int, smallest: bool
) -> Iterator[dict[str, Any]]:
    """Yield a row for each call: seconds, and relative to predictions and to the fit."""
    brief = {"max_epochs": 2} if smallest else {}
    plain = ESTIMATORS[task](random_state=0, **brief)
    fits: dict[str, Callable[[], Any]] = {"fit": lambda: plain.fit(X, y)}
    if task == "classification":
        calibrated = ESTIMATORS[task](random_state=0, calibrate="auto", **brief)
        fits["fit, calibrate='auto'"] = lambda: calibrated.fit(X, y)
    with warnings.catch_warnings(action="ignore"):
        fit_seconds = interleaved(fits, min(repeats, 3))
    calls = calls_of(plain, X_new)
    if hasattr(plain, "unseen_importance"):
        calls["unseen_importance"] = lambda: plain.unseen_importance(X, y)
    seconds = interleaved(calls, repeats)
    whole = median(fit_seconds["fit"])
    for name, ratio in ratios(fit_seconds, "fit").items():
        taken = median(fit_seconds[name])
        yield {"call": name, "seconds": taken, "/ predict": "", "/ fit, %": 100 * ratio}
    for name, ratio in ratios(seconds, next(iter(seconds))).items():
        taken = median(seconds[name])
        yield {
            "call": name,
            "seconds": taken,
            "/ predict": ratio,
            "/ fit, %": 100 * taken / whole,
        }


def calls_of(model: Any, X: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Return calls of a fitted estimator by their names; the first is the plain prediction."""
    if hasattr(model, "predict_proba"):
        return {
            "predict_proba": lambda: model.predict_proba(X),
            "predict_set": lambda: model.predict_set(X),
            "predict_set, randomised": lambda: model.predict_set(X, random_state=0),
            "predict_set, by class": lambda: model.predict_set(X, class_conditional=True),
            "predict_uncertainty": lambda: model.predict_uncertainty(X),
        }
    return {
        "predict": lambda: model.predict(X),
        "predict_interval": lambda: model.predict_interval(X),
        "predict_interval, normalized": lambda: model.predict_interval(X, method="normalized"),
        "predict_interval, 3 coverages": lambda: model.predict_interval(X, COVERAGES),
        "predict_uncertainty": lambda: model.predict_uncertainty(X),
    }
