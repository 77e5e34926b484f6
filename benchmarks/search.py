"""The search for defaults: one of them changed at a time, on the same rows of the same tables.

Nothing but the tables given decides, and a change is judged by the geometric mean over them: a
seed alone moves the loss on a table by 1 to 10 %.
"""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from .cache import Cache
from .estimators import ESTIMATORS
from .measured import Fit
from .methods import Method, source_digest
from .scores import LOSS, percent, wins
from .tables import Table, tables
from .tables import split as split_table
from .timing import use_threads

#: What differs from the defaults.
SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "betas (0.9, 0.999)": {"optimizer__betas": (0.9, 0.999)},
    "betas (0.9, 0.95)": {"optimizer__betas": (0.9, 0.95)},
    "weight decay 0.01": {"optimizer__weight_decay": 0.01},
    "lr 0.005": {"lr": 0.005},
    "lr 0.008": {"lr": 0.008},
    "lr 0.012": {"lr": 0.012},
    "lr 0.016": {"lr": 0.016},
    "no early stopping": {"early_stopping": False},
    "6 cycles, each 2 x as long": {"n_cycles": 6, "cycle_mult": 2.0},
    "dropout 0.1": {"module__dropout": 0.1},
    "no columns dropped": {"module__column_dropout": 0.0},
    "columns dropped, 0.2": {"module__column_dropout": 0.2},
    "3 cycles without gain": {"n_iter_no_change": 3},
    "8 chains": {"n_chains": 8},
    "16 chains": {"n_chains": 16},
    "hidden 64-64": {"module__hidden": (64, 64)},
    "hidden 128-128": {"module__hidden": (128, 128)},
    "hidden 256": {"module__hidden": (256,)},
    "4 pieces": {"table__n_pieces": 4},
    "6 pieces": {"table__n_pieces": 6},
    "12 pieces": {"table__n_pieces": 12},
}


def run(
    smallest: bool,
    data: Path | None = None,
    splits: int = 2,
    settings: Sequence[str] | None = None,
    only: Sequence[str] | None = None,
    cache: Path | None = None,
    threads: int | None = None,
) -> list[dict[str, Any]]:
    """Return a row for each setting: its loss relative to that of the defaults."""
    threads = use_threads(threads)
    todo = [table for table in tables(data) if only is None or table.name in only]
    names = list(SETTINGS) if settings is None else [*dict.fromkeys(["defaults", *settings])]
    if smallest:
        todo, splits, names = todo[:1], 1, ["defaults", "4 pieces"]
    if unknown := set(names) - set(SETTINGS):
        raise ValueError(f"Got {sorted(unknown)}, but expected some of {list(SETTINGS)}.")
    known = Cache(cache)
    fits: dict[str, dict[tuple[str, int], dict[str, Any]]] = {name: {} for name in names}
    for seed in range(splits):
        for table in todo:
            train, test = split_table(table, seed, 100 if smallest else 3_000)
            for name in names:
                fits[name][table.name, seed] = result(known, name, train, test, seed, threads)
    return [row(name, fits[name], fits["defaults"]) for name in names]


def result(
    known: Cache, name: str, train: Table, test: Table, seed: int, threads: int
) -> dict[str, Any]:
    """Return scores and seconds of a setting on one split, and measure them if not known."""
    method = Method(name, "ours", functools.partial(ours, **SETTINGS[name]), ("skensemble",))
    fit = Fit(method, train, test, seed, threads, times=True, smallest=False)
    key = {"source": source_digest(), "setting": json.dumps(SETTINGS[name])}
    key |= {"table": train.name, "seed": seed, "rows": len(train.y)}
    return known.get(key, fit.measure, f"{name}, {train.name} {seed}")


def ours(
    train: Table,
    seed: int | None,
    threads: int,
    **options: Any,
) -> Any:
    """Return our estimator with the arguments of a setting."""
    return ESTIMATORS[train.task](random_state=seed, **options)


def row(name: str, fits: dict[Any, Any], base: dict[Any, Any]) -> dict[str, Any]:
    """Return the figures of a setting over the tables and seeds that did not fail."""
    both = [key for key in fits if LOSS in fits[key] and LOSS in base[key]]
    ratios: dict[str, list[float]] = {}
    for table, seed in both:
        ratios.setdefault(table, []).append(fits[table, seed][LOSS] / base[table, seed][LOSS])
    by_table = {table: 1 + percent(values) / 100 for table, values in ratios.items()}
    return {
        "setting": name,
        "fits": len(both),
        "loss / defaults, %": percent(by_table.values()),
        "lower on": wins(by_table),
        "fit, s": median(fits[key]["fit, s"] for key in both),
        **{table: 100 * (ratio - 1) for table, ratio in by_table.items()},
    }
