"""Whole fits against a loop by hand, skorch, TorchEnsemble and scikit-learn's MLP."""

from typing import Any

from .timing import interleaved, ratios
from .workloads import SMALLEST, WORKLOADS, Epochs, loop, mlp, ours, skorch, torchensemble


def run(repeats: int, smallest: bool, peers: bool) -> list[dict[str, Any]]:
    """Return a row for each workload: seconds of the loop, and the ratios of the ways."""
    rows = []
    for name, work in (SMALLEST if smallest else WORKLOADS).items():
        X, y = work.data()
        ways = {
            "loop": lambda work=work, X=X, y=y: loop(work, X, y),
            "ours": lambda work=work, X=X, y=y: ours(work, X, y),
            "ours, epoch callback": lambda work=work, X=X, y=y: ours(
                work, X, y, callbacks=[Epochs()]
            ),
            "skorch": lambda work=work, X=X, y=y: skorch(work, X, y),
            "MLPClassifier": lambda work=work, X=X, y=y: mlp(work, X, y),
        }
        if peers:
            ways["TorchEnsemble"] = lambda work=work, X=X, y=y: torchensemble(work, X, y)
        seconds = interleaved(ways, repeats)
        row: dict[str, Any] = {"workload": name, "loop, s": sorted(seconds["loop"])[repeats // 2]}
        for way, ratio in ratios(seconds, "loop").items():
            if way != "loop":
                row[f"{way} / loop"] = ratio
        for way in ("skorch", "TorchEnsemble", "MLPClassifier"):
            if way in seconds:
                row[f"ours / {way}"] = ratios(seconds, way)["ours"]
        rows.append(row)
    return rows
