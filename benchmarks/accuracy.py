"""Accuracy on tables, of ours, of its variants and of the field's methods at their defaults.

All methods get the same rows, so that differences are paired. A method that fails on a split
counts there as just behind the worst of the others.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from .cache import Cache
from .comparison import Comparison, Results, Rows
from .measured import Fit
from .methods import METHODS, Method
from .tables import Table, split, tables
from .timing import use_threads

#: Numbers of training rows for which some tables are enough.
TABLES_OF = {
    300: ("adult", "phoneme", "abalone", "diamonds", "kin40k"),
    10_000: ("adult", "diamonds", "bike", "kin40k"),
}


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
    """Return the rows of the summaries by their titles; `picture` shows the first size."""
    threads = use_threads(threads)
    if smallest:
        splits, sizes = 2, (100,)
    known, ways = Cache(cache), available(methods, smallest)
    fit = functools.partial(Fit, threads=threads, times=times, smallest=smallest)
    summaries: dict[str, Rows] = {}
    for size, chosen in tables_of_sizes(data, sizes, only, smallest):
        comparison = Comparison(results_of(known, fit, ways, chosen, splits, size), threads)
        if picture is not None and not summaries:
            from .picture import draw  # here, since it needs matplotlib

            draw(comparison, picture)
        for title, rows in comparison.summaries().items():
            summaries[f"{title}, {size:,} training rows"] = rows
    return summaries


def tables_of_sizes(
    data: Path | None, sizes: Sequence[int], only: Sequence[str] | None, smallest: bool
) -> list[tuple[int, list[Table]]]:
    """Return the tables for each number of training rows, leaving out numbers without any."""
    todo = [table for table in tables(data) if only is None or table.name in only]
    if smallest:
        todo = [table for table in todo if table.name in ("breast_cancer", "diabetes")] or todo[:1]
    pairs = []
    for size in sizes:
        chosen = [t for t in todo if data is None or t.name in TABLES_OF.get(size, (t.name,))]
        if chosen:
            pairs.append((size, chosen))
        else:
            print(f"{size:,} rows: no table", file=sys.stderr)
    return pairs


def results_of(
    known: Cache,
    fit: Callable[..., Fit],
    ways: Sequence[Method],
    chosen: Sequence[Table],
    splits: int,
    size: int,
) -> Results:
    """Return the results of all methods on all splits of the tables."""
    results: Results = {method.label: {} for method in ways}
    for table in chosen:
        for seed in range(splits):
            train, test = split(table, seed, size)
            for method in ways:
                if method.splits is None or seed < method.splits:
                    found = fit(method, train, test, seed).result(known)
                    results[method.label].setdefault(table.name, {})[seed] = found
    return results


def available(names: Sequence[str], smallest: bool) -> list[Method]:
    """Return the methods that are installed, and only quick ones if `smallest`."""
    if unknown := set(names) - set(METHODS):
        raise ValueError(f"Got methods {sorted(unknown)}, but expected some of {list(METHODS)}.")
    chosen = [METHODS[name] for name in names if METHODS[name].smallest or not smallest]
    for method in chosen:
        if method.version() is None:
            print(f"{method.label} is not installed: skipped", file=sys.stderr)
    return [method for method in chosen if method.version() is not None]
