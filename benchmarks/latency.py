"""Probabilities of one row: of the built-in network's members against one MLPClassifier."""

from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier

from skensemble import SnapshotEnsembleClassifier

from .timing import interleaved, ratios
from .workloads import SMALLEST, WORKLOADS


def run(repeats: int, smallest: bool, peers: bool) -> list[dict[str, Any]]:
    """Whole calls, validation included, MLPClassifier with hidden layers of 128 and 128.

    Ten snapshots of one chain of the same size, and what the defaults make: all with a weight.
    """
    work = (SMALLEST if smallest else WORKLOADS)["W1"]
    X, y = work.data()
    X, y = X[:2000], y[:2000]
    brief = {"max_epochs": 1} if smallest else {}
    ten = SnapshotEnsembleClassifier(
        module__hidden=(128, 128), n_cycles=10, n_chains=1, max_epochs=1, random_state=0
    )
    default = SnapshotEnsembleClassifier(**brief, random_state=0)
    theirs = MLPClassifier((128, 128), max_iter=2, tol=1e9, n_iter_no_change=1).fit(X, y)
    row, calls = X[:1], 20 if smallest else 500

    def many(predict: Any) -> Any:
        def call() -> None:
            for _ in range(calls):
                predict(row)

        return call

    rows = []
    for name, model in {"one chain, ten cycles": ten, "defaults": default}.items():
        model.fit(X, y)
        seconds = interleaved(
            {"MLPClassifier": many(theirs.predict_proba), "ours": many(model.predict_proba)},
            repeats,
        )
        rows.append(
            {
                "ours": name,
                "rows": 1,
                "members": int(np.count_nonzero(model.member_weights_)),
                "MLPClassifier, ms": 1e3 * sorted(seconds["MLPClassifier"])[repeats // 2] / calls,
                "ours / MLPClassifier": ratios(seconds, "MLPClassifier")["ours"],
            }
        )
    return rows
