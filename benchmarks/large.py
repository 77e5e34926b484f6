"""Wide and long tables at the defaults, each fit in a process of its own."""

import json
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

SCRIPT = """
import json, resource, sys, time, numpy as np, torch
from benchmarks.large import CASES, log_loss

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

case, n, who = sys.argv[1], int(sys.argv[2]), sys.argv[3]
X, y, X_test, y_test = CASES[case](n)
if who == "ours":
    from skensemble import SnapshotEnsembleClassifier
    model = SnapshotEnsembleClassifier(random_state=0)
    # What the libraries take only once is no part of the fit.
    SnapshotEnsembleClassifier(max_epochs=2, random_state=0).fit(X[:200], y[:200])
else:
    from catboost import CatBoostClassifier
    threads = torch.get_num_threads()
    options = dict(verbose=False, allow_writing_files=False, thread_count=threads)
    model = CatBoostClassifier(random_seed=0, **options)
before, start = peak(), time.perf_counter()
model.fit(X, y)
seconds, extra = time.perf_counter() - start, peak() - before
start = time.perf_counter()
loss = log_loss(model.predict_proba(X_test), y_test)
print(json.dumps({
    "fit, s": seconds,
    "predict 10,000 rows, s": (time.perf_counter() - start) * 10_000 / len(y_test),
    "log-loss": loss,
    "peak / data": (X.nbytes + extra) / X.nbytes,
}))
"""


def run(repeats: int, smallest: bool, peers: bool) -> list[dict[str, Any]]:
    """Return a row for each table and method; CatBoost if it is installed and `peers` is set."""
    rows = []
    cases = {"pixels": 300} if smallest else {"pixels": 10_000, "long": 1_000_000}
    for case, n in cases.items():
        for who in ("ours", "CatBoost"):
            if who != "ours" and not (peers and find_spec("catboost")):
                continue
            command = [sys.executable, "-c", SCRIPT, case, str(n), who]
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            rows.append({"table": case, "rows": n, "method": who, **json.loads(out)})
    return rows


def pixels(n: int) -> tuple[Any, ...]:
    """Return handwritten digits in 28 x 28 pixels, each moved about, and others to test on."""
    import numpy as np
    from scipy.ndimage import zoom
    from sklearn.datasets import load_digits

    images, y = load_digits(return_X_y=True)
    images = zoom(images.reshape(-1, 8, 8) / 16, (1, 2.5, 2.5), order=1)
    rng = np.random.default_rng(0)

    def moved(which: Any) -> tuple[Any, Any]:
        X = np.zeros((len(which), 28, 28), dtype=np.float32)
        for row, image, (i, j) in zip(
            X, images[which], rng.integers(2, 7, (len(which), 2)), strict=True
        ):
            row[i : i + 20, j : j + 20] = image
        X += rng.normal(0, 0.1, X.shape)
        return X.reshape(len(X), -1), y[which]

    shuffled = rng.permutation(len(y))
    train, test = shuffled[:1_200], shuffled[1_200:]
    return *moved(rng.choice(train, n)), *moved(rng.choice(test, n // 5))


def long(n: int) -> tuple[Any, ...]:
    """Return thirty columns of several distributions, and rows to test on.

    The target has steps, products and a smooth part.
    """
    import numpy as np

    rng = np.random.default_rng(0)

    def drawn(n: int) -> tuple[Any, Any]:
        X = rng.standard_normal((n, 30), dtype=np.float32)
        X[:, 10:15] = np.exp(X[:, 10:15])  # heavy tails
        X[:, 15:20] = np.round(2 * X[:, 15:20])  # few values
        score = np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] + (X[:, 3] > 0.5) * (X[:, 4] > 0)
        score += np.log(X[:, 10]) * (X[:, 15] > 0) + 0.3 * X[:, 16] - 0.5 * np.abs(X[:, 5])
        return X, (rng.random(n) < 1 / (1 + np.exp(-score))).astype(int)

    return *drawn(n), *drawn(10_000)


CASES = {"pixels": pixels, "long": long}


def log_loss(p: Any, y: Any) -> float:
    """Return the mean log-loss over the rows; classes are numbered."""
    import numpy as np

    return float(-np.mean(np.log(p[np.arange(len(y)), y].clip(1e-15))))
