"""Probabilities of one row: of the built-in network's members against one MLPClassifier."""

from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier

from skensemble import SnapshotEnsembleClassifier

from .timing import interleaved, ratios, repeated
from .workloads import SMALLEST, WORKLOADS


def run(repeats: int, smallest: bool, peers: bool) -> list[dict[str, Any]]:
    """Time whole calls, validation included, of ours and of MLPClassifier.

    MLPClassifier has hidden layers of 128 and 128. Ours has ten snapshots of one chain of the
    same size, or what the defaults make: all members with a weight.
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
    calls = 20 if smallest else 500
    models = {"one chain, ten cycles": ten, "defaults": default}
    return [
        {"ours": name, **figures(model.fit(X, y), theirs, X[:1], calls, repeats)}
        for name, model in models.items()
    ]


def figures(model: Any, theirs: Any, row: np.ndarray, calls: int, repeats: int) -> dict[str, Any]:
    """Return the figures of one of our models."""
    ways = {
        "MLPClassifier": repeated(lambda: theirs.predict_proba(row), calls),
        "ours": repeated(lambda: model.predict_proba(row), calls),
    }
    seconds = interleaved(ways, repeats)
    return {
        "rows": 1,
        "members": int(np.count_nonzero(model.member_weights_)),
        "MLPClassifier, ms": 1e3 * sorted(seconds["MLPClassifier"])[repeats // 2] / calls,
        "ours / MLPClassifier": ratios(seconds, "MLPClassifier")["ours"],
    }
