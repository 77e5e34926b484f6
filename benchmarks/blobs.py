"""The tutorial's case study (examples/blobs_case_study.py) over 30 runs, against its relatives.

Each run draws new weights for the same small network, and trains it on the tutorial's 100 points
for 500 epochs in each way. The last 1 to 10 of 50 snapshots predict 1,000 points together.
"""

from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from sklearn.datasets import make_blobs
from torch import nn

from skensemble import SnapshotEnsembleClassifier

from .image_sets import Images
from .images import scores_of
from .timing import use_threads

N_TRAIN, N_LAST, N_RUNS = 100, 10, 30

#: Parameters of each way, beside those of all.
WAYS: dict[str, dict[str, Any]] = {
    "warm restarts": {},
    "cold restarts": {"restart": "cold"},
    "triangular rates": {"schedule": "triangular"},
    "star restarts": {"restart": "star"},
    "plain network": {"n_cycles": 1},
}

Rows = list[dict[str, Any]]


def network() -> nn.Module:
    """Return the tutorial's network."""
    return nn.Sequential(nn.Linear(2, 25), nn.ReLU(), nn.Linear(25, 3))


def run(
    smallest: bool, splits: int = N_RUNS, threads: int | None = None, picture: Path | None = None
) -> dict[str, Rows]:
    """Return the rows of the summaries by their titles."""
    use_threads(threads or 1)
    found: dict[str, list[Any]] = {way: [] for way in WAYS}
    for seed in range(2 if smallest else splits):
        for way, curve in curves(points(20 if smallest else 500), seed).items():
            found[way].append(curve)
    if picture is not None:
        draw(found, picture)
    return {
        figure: [row(way, n, figure, found[way]) for way in WAYS for n in sizes(found[way])]
        for figure in ("error, %", "log-loss")
    }


def points(epochs: int) -> Images:
    """Return the tutorial's points."""
    X, y = make_blobs(N_TRAIN + 1_000, centers=3, n_features=2, cluster_std=2, random_state=2)
    X = X.astype(np.float32)
    parts = X[:N_TRAIN], y[:N_TRAIN], X[N_TRAIN:], y[N_TRAIN:]
    return Images("blobs", *parts, network, epochs, batch_size=32, lr=0.01)


def curves(blobs: Images, seed: int) -> dict[str, list[dict[str, float]]]:
    """Return for each way the scores of its last 1, 2, … snapshots together, and of each alone."""
    made = {}
    for way, parameters in WAYS.items():
        given: dict[str, Any] = {"n_cycles": blobs.epochs // 10, "cycle_mult": 1.0, **parameters}
        model = SnapshotEnsembleClassifier(
            blobs.network,
            max_epochs=blobs.epochs,
            batch_size=blobs.batch_size,
            lr=blobs.lr,
            optimizer="SGD",
            optimizer__momentum=0.9,
            random_state=seed,
            **given,
        ).fit(blobs.X, blobs.y)
        last = model.predict_members(blobs.X_test)[: -N_LAST - 1 : -1]
        made[way] = [
            {
                **scores_of(last[: k + 1].mean(axis=0), blobs.y_test),
                "alone": scores_of(last[k], blobs.y_test),
            }
            for k in range(len(last))
        ]
    return made


def sizes(of_runs: list[Any]) -> list[int]:
    """Return the sizes of ensembles that a table shows."""
    return [n for n in (1, 3, 5, N_LAST) if n <= len(of_runs[0])]


def row(way: str, n: int, figure: str, of_runs: list[Any]) -> dict[str, Any]:
    """Return a figure of ensembles of a size over all runs, beside that of single snapshots."""
    values = [curve[n - 1][figure] for curve in of_runs]
    alone = [curve[n - 1]["alone"][figure] for curve in of_runs]
    return {
        "way": way,
        "last snapshots": n,
        "together": mean(values),
        "deviation over runs": stdev(values),
        "the oldest of them alone": mean(alone),
    }


def draw(found: dict[str, list[Any]], picture: Path) -> None:
    """Draw a box for each size of ensemble, and one for each other way."""
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(2, 2, figsize=(10, 6.5), layout="constrained", sharey="row")
    for figures, figure in zip(axes, ("error, %", "log-loss"), strict=True):
        runs = found["warm restarts"]
        warm = [[curve[n][figure] for curve in runs] for n in range(len(runs[0]))]
        figures[0].boxplot(warm, tick_labels=[str(n + 1) for n in range(len(warm))])
        figures[0].set(xlabel="last snapshots of warm restarts", ylabel=f"test {figure}")
        others = [[curve[-1][figure] for curve in of_way] for of_way in found.values()]
        figures[1].boxplot(others, tick_labels=[way.replace(" ", "\n") for way in found])
        figures[1].set(xlabel="ten snapshots each, the plain network alone")
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
    fig.savefig(picture, dpi=100)
