"""What columns are worth: by the rows of the training, and by permutations of test rows."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr
from sklearn.inspection import permutation_importance

from .estimators import ESTIMATORS
from .limit import warm_up
from .tables import Table, split, tables
from .timing import use_threads

#: Tables that are taken where none are named.
TABLES = ("adult", "german_credit", "diamonds", "concrete")

#: The loss of both, as scikit-learn names it.
SCORING = {"classification": "neg_log_loss", "regression": "neg_mean_squared_error"}

#: Test rows, as many as training rows: the seconds are compared.
N_TEST = 3_000

#: Permutations of each column, as scikit-learn has them by default.
N_REPEATS = 5


def run(
    smallest: bool,
    data: Path | None = None,
    splits: int = 1,
    only: Sequence[str] | None = None,
    threads: int | None = None,
) -> list[dict[str, Any]]:
    """Return a row for each table and split."""
    use_threads(threads)
    names = only or (TABLES if data is not None else ("diabetes", "breast_cancer"))
    todo = [table for table in tables(data) if table.name in names]
    if smallest:
        todo, splits = todo[:1], 1
    warm_up(todo[0])
    n_rows = 200 if smallest else N_TEST
    return [
        row_of(*split(table, seed, n_rows, n_rows), seed, smallest)
        for table in todo
        for seed in range(splits)
    ]


def row_of(train: Table, test: Table, seed: int, smallest: bool) -> dict[str, Any]:
    """Return the figures of a split, with its target and with one that is drawn at random."""
    model, fit = seconds_of(lambda: fitted(train, seed, smallest))
    found, own = seconds_of(lambda: model.unseen_importance(train.X, train.y))
    permuted, others = seconds_of(
        lambda: permutation_importance(
            model,
            test.X,
            test.y,
            scoring=SCORING[train.task],
            n_repeats=1 if smallest else N_REPEATS,
            random_state=seed,
        )
    )
    noise = train._replace(y=np.random.default_rng(seed).permutation(train.y))
    drawn = fitted(noise, seed, smallest).unseen_importance(noise.X, noise.y)
    is_near = np.abs(drawn.importances_mean) <= 2 * drawn.importances_std
    both = found.importances_mean, permuted.importances_mean
    return {
        "table": train.name,
        "rows": len(train.y),
        "columns": train.X.shape[1],
        "seed": seed,
        "rank correlation": float(spearmanr(*both).statistic),
        "correlation": float(np.corrcoef(*both)[0, 1]),
        "seconds": own,
        "of permutations": others,
        "of the fit": fit,
        "share of the fit, %": 100 * own / fit,
        "columns of a random target within 2 errors": f"{is_near.sum()} of {len(is_near)}",
    }


def fitted(train: Table, seed: int, smallest: bool) -> Any:
    """Fit our estimator at its defaults."""
    brief: dict[str, Any] = {"max_epochs": 4, "n_cycles": 2} if smallest else {}
    return ESTIMATORS[train.task](random_state=seed, **brief).fit(train.X, train.y)


def seconds_of(call: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a call returns, and its seconds."""
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start
