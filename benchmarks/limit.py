"""Fits with a time limit: seconds taken, and the loss beside that of the whole budget."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .estimators import ESTIMATORS
from .scores import log_loss, numbered, rmse
from .tables import Table, split, tables
from .timing import use_threads

#: Rows to train on: as many as a fit of the whole budget needs more than a few seconds for.
N_TRAIN = 40_000

#: Tables that are taken where none are named: those of many rows.
TABLES = ("adult", "diamonds", "kin40k")


def run(
    smallest: bool,
    data: Path | None = None,
    splits: int = 1,
    limits: Sequence[float] = (5.0, 10.0, 20.0),
    only: Sequence[str] | None = None,
    threads: int | None = None,
) -> list[dict[str, Any]]:
    """Return a row for each table, split and limit; limits are in seconds."""
    use_threads(threads)
    names = only or (TABLES if data is not None else ("digits",))
    todo = [table for table in tables(data) if table.name in names]
    if smallest:
        todo, splits, limits = todo[:1], 1, (0.5,)
    warm_up(todo[0])
    return [
        row
        for table in todo
        for seed in range(splits)
        for row in rows_of(*split(table, seed, 200 if smallest else N_TRAIN), seed, limits)
    ]


def rows_of(train: Table, test: Table, seed: int, limits: Sequence[float]) -> Iterator[Any]:
    """Yield the figures of a split for each limit."""
    whole, loss = fit(train, test, seed, None)[1:]
    for limit in limits:
        model, seconds, own = fit(train, test, seed, limit)
        yield {
            "table": train.name,
            "rows": len(train.y),
            "seed": seed,
            "limit, s": limit,
            "taken / limit": seconds / limit,
            "shortened": model.is_time_limited_,
            "cycles": model.n_cycles_,
            "epochs": model.n_iter_,
            "loss": own,
            "loss / whole, %": 100 * (own / loss - 1),
            "whole, s": whole,
        }


def fit(train: Table, test: Table, seed: int, limit: float | None) -> tuple[Any, float, float]:
    """Return a fitted estimator, the seconds that it took, and its loss on other rows."""
    model = ESTIMATORS[train.task](random_state=seed, time_limit=limit)
    start = time.perf_counter()
    model.fit(train.X, train.y)
    seconds = time.perf_counter() - start
    if train.task == "regression":
        return model, seconds, rmse(float(np.std(train.y)))(model.predict(test.X), test.y)
    y = numbered(test.y, model.classes_)
    return model, seconds, log_loss(model.predict_proba(test.X), y)


def warm_up(table: Table) -> None:
    """Fit once: what the libraries take only once is no part of a fit."""
    train, _ = split(table, 0, 200)
    ESTIMATORS[train.task](max_epochs=2, n_cycles=1).fit(train.X, train.y)
