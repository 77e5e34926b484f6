"""Fit time over rows, cycles and jobs, and the time of the import."""

import subprocess
import sys
from statistics import median
from typing import Any

import numpy as np
from sklearn.model_selection import GridSearchCV

from skensemble import SnapshotEnsembleClassifier

from .timing import interleaved, ratios
from .workloads import SMALLEST, WORKLOADS, Perceptron, Workload, ours


def run(repeats: int, smallest: bool, peers: bool) -> list[dict[str, Any]]:
    """Return a row for each question."""
    return [
        over_rows(repeats, smallest),
        over_cycles(repeats, smallest),
        over_jobs(repeats, smallest),
        over_imports(repeats),
    ]


def over_rows(repeats: int, smallest: bool) -> dict[str, Any]:
    """Return the slope of log time over log rows, from 1e5 rows on."""
    sizes = (1_000, 2_000) if smallest else (100_000, 300_000, 1_000_000)
    rng = np.random.default_rng(0)
    calls = {}
    for n in sizes:
        X, y = rng.standard_normal((n, 20), dtype=np.float32), rng.integers(0, 3, n)
        work = Workload(n, 20, (32,), 512, 1, 1)
        calls[str(n)] = lambda work=work, X=X, y=y: ours(work, X, y)
    seconds = interleaved(calls, min(repeats, 5))
    slope = np.polyfit(np.log(sizes), [np.log(median(seconds[str(n)])) for n in sizes], 1)[0]
    return {"question": f"slope over {sizes[0]:,} to {sizes[-1]:,} rows", "answer": float(slope)}


def over_cycles(repeats: int, smallest: bool) -> dict[str, Any]:
    """Compare fifty cycles with one."""
    work = (SMALLEST if smallest else WORKLOADS)["W1"]
    X, y = work.data()
    few = 4 if smallest else 50
    seconds = interleaved(
        {"1": lambda: ours(work, X, y, n_cycles=1), "50": lambda: ours(work, X, y, n_cycles=few)},
        repeats,
    )
    return {"question": f"{few} cycles / 1 cycle", "answer": ratios(seconds, "1")["50"]}


def over_jobs(repeats: int, smallest: bool) -> dict[str, Any]:
    """Compare two jobs with one in a search of eight fits."""
    work = (SMALLEST if smallest else WORKLOADS)["W3"]
    X, y = work.data()
    model = SnapshotEnsembleClassifier(
        Perceptron,
        module__hidden=work.hidden,
        max_epochs=work.epochs * (1 if smallest else 3),
        batch_size=work.batch_size,
        random_state=0,
    )

    def search(n_jobs: int) -> Any:
        grid = {"n_cycles": [1, 2, 3, 4]}
        return GridSearchCV(model, grid, cv=2, n_jobs=n_jobs, refit=False).fit(X, y)

    seconds = interleaved({"1": lambda: search(1), "2": lambda: search(2)}, repeats)
    return {"question": "GridSearchCV: 2 jobs / 1 job", "answer": ratios(seconds, "1")["2"]}


def over_imports(repeats: int) -> dict[str, Any]:
    """Compare ``import skensemble`` with ``import skorch``."""

    def importing(name: str) -> Any:
        return lambda: subprocess.run([sys.executable, "-c", f"import {name}"], check=True)

    seconds = interleaved({"skorch": importing("skorch"), "ours": importing("skensemble")}, repeats)
    return {"question": "import skensemble / skorch", "answer": ratios(seconds, "skorch")["ours"]}
