"""Files: what checkpoints cost a fit, and how large and how quick to load a saved model is."""

import io
import itertools
import pickle
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from sklearn.datasets import make_classification, make_regression

import skensemble
from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor

from .timing import interleaved, ratios
from .workloads import SGD, SMALLEST, WORKLOADS, Perceptron


def run(repeats: int, smallest: bool, peers: bool) -> list[dict[str, Any]]:
    """Return a row for each estimator: fits with and without checkpoints, files and pickles."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [row(name, *made, repeats) for name, made in cases(smallest).items()]


def cases(smallest: bool) -> dict[str, tuple[Any, Any, Any]]:
    """Return estimator, X and y by name: W1, and the defaults at 3,000 rows."""
    work = (SMALLEST if smallest else WORKLOADS)["W1"]
    own = SnapshotEnsembleClassifier(
        Perceptron,
        module__hidden=work.hidden,
        n_cycles=5,
        max_epochs=work.epochs,
        batch_size=work.batch_size,
        lr=0.1,
        optimizer="SGD",
        random_state=0,
        **{f"optimizer__{name}": value for name, value in SGD.items()},
    )
    n = 300 if smallest else 3_000
    X, y = make_classification(n, 20, n_informative=10, n_classes=3, random_state=0)
    X_real, y_real = make_regression(n, 20, noise=1.0, random_state=0)
    budget: dict[str, Any] = {"max_epochs": 2} if smallest else {}
    return {
        "W1, own module": (own, *work.data()),
        "default classifier": (SnapshotEnsembleClassifier(random_state=0, **budget), X, y),
        "default regressor": (SnapshotEnsembleRegressor(random_state=0, **budget), X_real, y_real),
    }


def row(name: str, model: Any, X: Any, y: Any, repeats: int) -> dict[str, Any]:
    """Measure one estimator."""
    with tempfile.TemporaryDirectory() as folder:
        numbers = itertools.count()
        ways = {
            "without": lambda: model.set_params(checkpoint_dir=None).fit(X, y),
            # A new folder each time: a fit would find the one before.
            "with": lambda: model.set_params(checkpoint_dir=Path(folder) / str(next(numbers))).fit(
                X, y
            ),
        }
        ratio = ratios(interleaved(ways, repeats), "without")["with"]
        model.set_params(checkpoint_dir=None)
        path = Path(folder) / "model.safetensors"
        model.save(path)
        pickled = pickle.dumps(model)
        few = X[:1]
        loads = {
            "file": lambda: skensemble.load(path, module=model.module).predict(few),
            "pickle": lambda: pickle.load(io.BytesIO(pickled)).predict(few),
        }
        seconds = interleaved(loads, 3 * repeats)
        arrays = sum(value.nbytes for state in model.snapshots_ for value in state.values())
        return {
            "estimator": name,
            "fit with checkpoint_dir / without": ratio,
            "file, MB": path.stat().st_size / 1e6,
            "file / snapshots": path.stat().st_size / arrays,
            "file / pickle": path.stat().st_size / len(pickled),
            "load and predict, ms": 1e3 * median(seconds["file"]),
            "unpickle and predict, ms": 1e3 * median(seconds["pickle"]),
            "a finished fit is found in, ms": 1e3 * found(model, X, y, Path(folder) / "found"),
        }


def found(model: Any, X: Any, y: Any, folder: Path) -> float:
    """Return the seconds of a fit that finds itself finished."""
    model.set_params(checkpoint_dir=folder).fit(X, y)
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        model.fit(X, y)
        taken.append(time.perf_counter() - start)
    return float(np.median(taken))
