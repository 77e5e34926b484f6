"""Metrics of rare classes: cycles weighed by them, against cycles weighed by log-loss.

One fit a metric and split, at the defaults. Of one table the rare class is made rarer still: one
row in two hundred.
"""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score

from .cache import Cache, Result
from .estimators import ESTIMATORS
from .methods import source_digest
from .tables import Table, split, tables
from .timing import use_threads

#: Tables with a rare class that are taken where none are named.
TABLES = ("mammography", "adult", "german_credit")

#: Metrics by the names of their scorers.
METRICS = {"roc_auc": roc_auc_score, "average_precision": average_precision_score}

Rows = list[dict[str, Any]]


def run(
    smallest: bool,
    data: Path | None = None,
    splits: int = 10,
    only: Sequence[str] | None = None,
    cache: Path | None = None,
    threads: int | None = None,
) -> dict[str, Rows]:
    """Return the rows of the summaries by their titles."""
    use_threads(threads)
    known = Cache(cache)
    n_train = 200 if smallest else 3_000
    rows, decided = [], []
    for table in chosen(data, only):
        found = []
        for seed in range(1 if smallest else splits):
            key = {"scoring": table.name, "seed": seed, "rows": n_train, "of": source_digest()}
            found.append(
                known.get(
                    key,
                    lambda table=table, seed=seed: figures(*split(table, seed, n_train), seed),
                    f"scoring, {table.name} {seed}",
                )
            )
        rows += [metric_row(table.name, metric, found) for metric in METRICS]
        decided.append(decision_row(table.name, found))
    return {"Scores on test rows": rows, "Balanced accuracy": decided}


def chosen(data: Path | None, only: Sequence[str] | None) -> Iterator[Table]:
    """Yield tables of a folder, and one of them with a rarer class; or one of scikit-learn's."""
    names = only or (*TABLES, "mammography" + RARER, "breast_cancer")
    for table in tables(data):
        if table.name in names:
            yield table
        if table.name + RARER in names:
            yield rarer(table)


#: What the name of a table ends with whose rare class was made rarer.
RARER = ", 1 : 200"


def rarer(table: Table) -> Table:
    """Keep as many rows of the rare class, the first ones, as make one row in two hundred."""
    _, number, counts = np.unique(table.y, return_inverse=True, return_counts=True)
    is_rare = number == counts.argmin()
    keep = ~is_rare | (np.cumsum(is_rare) <= (~is_rare).sum() // 199)
    return table._replace(name=table.name + RARER, X=table.X[keep], y=table.y[keep])


def figures(train: Table, test: Table, seed: int) -> Result:
    """Return scores on test and on unseen rows: of the default, and of a fit by each metric."""
    found: Result = {}
    for scoring in (None, *METRICS):
        with warnings.catch_warnings(action="ignore"):
            model = ESTIMATORS["classification"](
                scoring=scoring,
                decision=None if scoring else "balanced_accuracy",
                random_state=seed,
            ).fit(train.X, train.y)
        rare_class = model.classes_[1]
        is_rare, was_rare = test.y == rare_class, train.y == rare_class
        p, unseen = model.predict_proba(test.X)[:, 1], model.oof_decision_function_[:, 1]
        scores = {name: metric(is_rare, p) for name, metric in METRICS.items()}
        unseen_scores = {name: metric(was_rare, unseen) for name, metric in METRICS.items()}
        found[scoring or "log-loss"] = {"test": scores, "unseen": unseen_scores}
        if scoring is None:
            at = model.threshold_
            found["decision"] = {
                "threshold": at,
                "test": balanced_accuracy_score(is_rare, p > at),
                "test at 0.5": balanced_accuracy_score(is_rare, p > 0.5),
                "unseen": balanced_accuracy_score(was_rare, unseen > at),
            }
    return found


def metric_row(name: str, metric: str, found: list[Result]) -> dict[str, Any]:
    """Return what a metric gains where it weighs the cycles, the mean over splits."""
    test = [(f[metric]["test"][metric], f["log-loss"]["test"][metric]) for f in found]
    gains = [own - plain for own, plain in test]
    unseen = [f[metric]["unseen"][metric] for f in found]
    of_test = mean(own for own, _ in test)
    return {
        "table": name,
        "scoring": metric,
        "by log-loss": mean(plain for _, plain in test),
        "by the metric": of_test,
        "gain": mean(gains),
        "its standard error": stdev(gains) / np.sqrt(len(gains)) if len(gains) > 1 else 0.0,
        "unseen": mean(unseen),
        "unseen / test - 1, %": 100 * (mean(unseen) / of_test - 1),
    }


def decision_row(name: str, found: list[Result]) -> dict[str, Any]:
    """Return what a threshold by unseen rows does, the mean over splits."""
    decisions = [f["decision"] for f in found]
    return {"table": name} | {
        figure: mean(d[figure] for d in decisions)
        for figure in ("threshold", "test at 0.5", "test", "unseen")
    }
