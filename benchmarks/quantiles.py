"""Networks of quantiles beside boosting: pinball loss, CRPS, and quantiles that cross."""

import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import geometric_mean, mean
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from skensemble.metrics import crps_quantile_loss, multi_quantile_loss

from .cache import Cache, Result
from .intervals import chosen
from .methods import source_digest, version_of
from .regions import boosted_at, catboost_at, ours
from .tables import Table, split
from .timing import use_threads

#: Levels of the quantiles; our network has those between them too.
LEVELS = (0.01, 0.025, 0.05, *np.round(np.arange(0.1, 0.95, 0.1), 2).tolist(), 0.95, 0.975, 0.99)

Rows = list[dict[str, Any]]


def our_quantiles(train: Table, test: Table, seed: int, threads: int, smallest: bool) -> np.ndarray:
    """Return the quantiles of one network."""
    model = ours(train, seed, smallest, distribution="quantiles")
    return model.predict_quantiles(test.X, LEVELS)


def catboost(train: Table, test: Table, seed: int, threads: int, smallest: bool) -> np.ndarray:
    """Return the quantiles of one CatBoost model."""
    return catboost_at(LEVELS, train, test, seed, threads)


def boosted(train: Table, test: Table, seed: int, threads: int, smallest: bool) -> np.ndarray:
    """Return the quantiles of scikit-learn's gradient boosting."""
    return boosted_at(LEVELS, train, test, seed, smallest)


#: Ways by name, and the distribution that each is of.
WAYS: dict[str, tuple[Callable[..., np.ndarray], str]] = {
    "skensemble": (our_quantiles, "skensemble"),
    "CatBoost MultiQuantile": (catboost, "catboost"),
    "HistGradientBoosting": (boosted, "scikit-learn"),
}


def run(
    smallest: bool,
    data: Path | None = None,
    splits: int = 3,
    only: Sequence[str] | None = None,
    cache: Path | None = None,
    threads: int | None = None,
) -> dict[str, Rows]:
    """Return the rows of the summaries by their titles."""
    threads = use_threads(threads)
    known, n_train = Cache(cache), 100 if smallest else 3_000
    todo = [table for table in chosen(data, only, smallest) if table.task == "regression"]
    ways = {name: way for name, (way, package) in WAYS.items() if version_of([package])}
    results: dict[str, dict[str, list[Result]]] = {name: {} for name in ways}
    for table in todo:
        for seed in range(1 if smallest else splits):
            parts = split(table, seed, n_train)
            for name, way in ways.items():
                package = WAYS[name][1]
                is_ours = package == "skensemble"
                key = {
                    "quantiles": name,
                    "version": source_digest() if is_ours else version_of([package]),
                    "table": table.name,
                    "seed": seed,
                    "rows": n_train,
                    "levels": LEVELS,
                }

                def measure(way: Any = way, parts: Any = parts, seed: int = seed) -> Result:
                    with warnings.catch_warnings(action="ignore"), threadpool_limits(threads):
                        return figures(way, *parts, seed, threads, smallest)

                found = known.get(key, measure, f"{name}, {table.name} {seed}")
                results[name].setdefault(table.name, []).append(found)
    return {
        "Quantiles": [way_row(name, of_tables) for name, of_tables in results.items()],
        "Pinball loss by table": [
            {"table": table.name}
            | {name: mean_of(results[name][table.name], "pinball loss") for name in results}
            for table in todo
        ],
    }


def figures(way: Any, train: Table, test: Table, *how: Any) -> Result:
    """Return the figures of a way on a split, losses in units of the target's deviation."""
    start = time.perf_counter()
    quantiles = way(train, test, *how)
    seconds, unit = time.perf_counter() - start, float(np.std(train.y))
    sorted_ones = np.sort(quantiles, axis=1)
    return {
        "pinball loss": multi_quantile_loss(test.y, sorted_ones, LEVELS) / unit,
        "CRPS": crps_quantile_loss(test.y, sorted_ones, LEVELS) / unit,
        "rows that cross": float((np.diff(quantiles, axis=1) < 0).any(axis=1).mean()),
        "misses": float(np.abs((test.y[:, None] <= sorted_ones).mean(axis=0) - LEVELS).mean()),
        "seconds": seconds,
    }


def mean_of(found: list[Result], figure: str) -> float:
    """Return the mean of a figure over splits."""
    return mean(of_split[figure] for of_split in found)


def way_row(name: str, of_tables: dict[str, list[Result]]) -> dict[str, Any]:
    """Return the figures of a way over all tables; losses are geometric means."""
    every = list(of_tables.values())
    return {
        "method": name,
        "pinball loss": geometric_mean(mean_of(found, "pinball loss") for found in every),
        "CRPS": geometric_mean(mean_of(found, "CRPS") for found in every),
        "rows that cross, %": 100 * mean(mean_of(found, "rows that cross") for found in every),
        "shares below a quantile off by, %": 100 * mean(mean_of(f, "misses") for f in every),
        "seconds": geometric_mean(mean_of(found, "seconds") for found in every),
    }
