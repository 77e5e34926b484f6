"""Time of eight chains against one, and of the curve over cycles against the fit it comes from."""

import functools
from typing import Any

from skensemble import SnapshotEnsembleClassifier
from skensemble.model_selection import cycle_curve

from .timing import interleaved, ratios
from .workloads import SMALLEST, WORKLOADS, Perceptron, Workload

#: Workloads of the built-in network.
KINDS = ("W3", "W1")


def run(repeats: int, smallest: bool, peers: bool) -> list[dict[str, Any]]:
    """Return a row for each network and workload."""
    works = SMALLEST if smallest else WORKLOADS
    bare = functools.partial(SnapshotEnsembleClassifier, table__n_pieces=0)
    cases = [
        *(("built-in, scaled columns alone", bare, None, name) for name in KINDS),
        *(("built-in", SnapshotEnsembleClassifier, None, name) for name in KINDS),
        ("through vmap", SnapshotEnsembleClassifier, Perceptron, "W3"),
    ]
    return [
        {"network": network, "workload": name, **figures(kind, module, works[name], repeats)}
        for network, kind, module, name in cases
    ]


def figures(kind: Any, module: Any, work: Workload, repeats: int) -> dict[str, float]:
    """Return the figures of the estimator's own optimizer and cycles on a workload."""
    X, y = work.data()

    def model(n_chains: int) -> Any:
        return kind(
            module,
            module__hidden=work.hidden,
            n_chains=n_chains,
            batch_size=work.batch_size,
            max_epochs=work.epochs,
            early_stopping=False,
            random_state=0,
        )

    calls = {
        "1": lambda: model(1).fit(X, y),
        "8": lambda: model(8).fit(X, y),
        "curve": lambda: cycle_curve(model(8), X, y),
    }
    seconds = interleaved(calls, repeats)
    return {
        "1 chain, s": sorted(seconds["1"])[repeats // 2],
        "8 chains / 1": ratios(seconds, "1")["8"],
        "cycle_curve / fit": ratios(seconds, "8")["curve"],
    }
