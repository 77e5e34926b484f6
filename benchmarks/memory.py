"""Peak memory of fit and predict, each in a process of its own."""

import subprocess
import sys
from typing import Any

SCRIPT = """
import resource, sys, numpy as np, torch
from torch import nn
from skensemble import SnapshotEnsembleClassifier

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

n, what = int(sys.argv[1]), sys.argv[2]
rng = np.random.default_rng(0)
model = SnapshotEnsembleClassifier(
    nn.Linear(100, 3), n_cycles=2, max_epochs=2, batch_size=1024, random_state=0
)
small = rng.standard_normal((2000, 100), dtype=np.float32)
model.fit(small, np.arange(2000) % 3).predict_proba(small)
X = rng.standard_normal((n, 100), dtype=np.float32)
y = np.arange(n) % 3
before = peak()
model.fit(X, y) if what == "fit" else model.predict_proba(X)
print(peak() - before, X.nbytes)
"""


def run(repeats: int, smallest: bool, peers: bool) -> list[dict[str, Any]]:
    """Return the peaks relative to the data that the user holds.

    That of a fit includes the data, and that of a prediction does not.
    """
    rows = []
    for n in (20_000,) if smallest else (200_000, 1_000_000):
        row: dict[str, Any] = {"rows": n}
        for what in ("fit", "predict"):
            command = [sys.executable, "-c", SCRIPT, str(n), what]
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            extra, data = map(int, out.split())
            row["data, MB"] = data / 2**20
            row[f"{what}: peak / data"] = (data + extra) / data if what == "fit" else extra / data
        rows.append(row)
    return rows
