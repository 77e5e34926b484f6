"""Metrics of rare classes: cycles weighed by them, against cycles weighed by log-loss.

One fit a metric and split, at the defaults. A table of which one row in two hundred is of the rare
class is drawn from scikit-learn's; its classes overlap, as those of rare faults do.
"""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import make_classification
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
    """Yield tables of a folder, or one that scikit-learn ships, and the drawn one."""
    names = only or (*TABLES, "breast_cancer", RARE)
    for table in [*tables(data), rare()]:
        if table.name in names and table.task == "classification":
            yield table


#: Name of the drawn table.
RARE = "1 : 200"


def rare() -> Table:
    """Draw a table of which one row in two hundred is of the rare class."""
    X, y = make_classification(
        12_000,
        20,
        n_informative=6,
        n_clusters_per_class=3,
        weights=[0.995],
        flip_y=0,
        class_sep=0.7,
        random_state=0,
    )
    return Table(RARE, "classification", pd.DataFrame(X).add_prefix("x"), y)


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
