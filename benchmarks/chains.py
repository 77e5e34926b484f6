"""Time of eight chains against one, and of the curve over cycles against the fit it comes from."""

from typing import Any

from skensemble import SnapshotEnsembleClassifier
from skensemble.model_selection import cycle_curve

from .search import encoding
from .timing import interleaved, ratios
from .workloads import SMALLEST, WORKLOADS, Perceptron, Workload

#: Workloads of the built-in network.
KINDS = ("W3", "W1")


def run(repeats: int, smallest: bool, peers: bool) -> list[dict[str, Any]]:
    """One row a network and workload."""
    works = SMALLEST if smallest else WORKLOADS
    with encoding({"n_pieces": 0}):
        bare = [row("built-in, scaled columns alone", None, n, works[n], repeats) for n in KINDS]
    built_in = [row("built-in", None, name, works[name], repeats) for name in KINDS]
    return [*bare, *built_in, row("through vmap", Perceptron, "W3", works["W3"], repeats)]


def row(network: str, module: Any, name: str, work: Workload, repeats: int) -> dict[str, Any]:
    """The estimator's own optimizer and cycles, the workload's rows, layers and batches."""
    X, y = work.data()

    def model(n_chains: int) -> SnapshotEnsembleClassifier:
        return SnapshotEnsembleClassifier(
            module,
            module__hidden=work.hidden,
            n_chains=n_chains,
            batch_size=work.batch_size,
            max_epochs=work.epochs,
            early_stopping=False,
            random_state=0,
        )

    seconds = interleaved(
        {
            "1": lambda: model(1).fit(X, y),
            "8": lambda: model(8).fit(X, y),
            "curve": lambda: cycle_curve(model(8), X, y),
        },
        repeats,
    )
    return {
        "network": network,
        "workload": name,
        "1 chain, s": sorted(seconds["1"])[repeats // 2],
        "8 chains / 1": ratios(seconds, "1")["8"],
        "cycle_curve / fit": ratios(seconds, "8")["curve"],
    }
