"""One row from a file of ONNX: its latency and its largest difference."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from onnxruntime import InferenceSession, SessionOptions
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skensemble import SnapshotEnsembleClassifier

from .timing import interleaved, ratios, repeated
from .workloads import SMALLEST, WORKLOADS, Perceptron


def run(repeats: int, smallest: bool, peers: bool) -> list[dict[str, Any]]:
    """Time one row in onnxruntime, in the ensemble that the file came from, in MLPClassifier.

    The tables are an array of numbers, and a frame of some of its columns, a tenth of the values
    missing, with four columns of strings. MLPClassifier has layers of 128 and 128; for the frame
    an imputer and a OneHotEncoder stand before it. Fits are short: their length changes no latency.
    """
    work = (SMALLEST if smallest else WORKLOADS)["W1"]
    X, y = work.data()
    X, y = X[:3000].astype(np.float64), y[:3000]
    brief = {"max_epochs": 2, "random_state": 0}
    default = SnapshotEnsembleClassifier(**brief)
    own = SnapshotEnsembleClassifier(Perceptron, module__hidden=(128, 128), n_cycles=3, **brief)
    calls = 20 if smallest else 500
    tables = {
        "defaults, array": (default, X),
        "defaults, frame": (default, mixed_frame(X)),
        "own module, array": (own, X),
    }
    return [
        {"model": name, **figures(model.fit(table, y), table, y, calls, repeats)}
        for name, (model, table) in tables.items()
    ]


def mixed_frame(X: np.ndarray) -> pd.DataFrame:
    """Return ten columns of numbers and four of strings, with missing values."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(X[:, :10]).rename(columns="number {}".format)
    for i in range(4):
        frame[f"text {i}"] = np.char.add("level ", rng.integers(0, 5 + 5 * i, len(X)).astype(str))
    return frame.mask(rng.random(frame.shape) < 0.1)


def peer(table: Any) -> Any:
    """Return MLPClassifier, with what it needs before it for a frame."""
    model = MLPClassifier((128, 128), max_iter=2, tol=1e9, n_iter_no_change=1)
    if isinstance(table, np.ndarray):
        return model
    before = make_column_transformer(
        (SimpleImputer(add_indicator=True), make_column_selector(dtype_include="number")),
        (OneHotEncoder(handle_unknown="ignore"), make_column_selector(dtype_exclude="number")),
    )
    return make_pipeline(before, model)


def figures(model: Any, table: Any, y: np.ndarray, calls: int, repeats: int) -> dict[str, Any]:
    """Return the figures of one model."""
    theirs, row = peer(table).fit(table, y), table[:1]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        start = time.perf_counter()
        model.to_onnx(path)
        seconds, size = time.perf_counter() - start, path.stat().st_size
        options = SessionOptions()
        options.intra_op_num_threads = 1
        session = InferenceSession(path, options)
    feeds = feeds_of(session, row)
    ways = {
        "MLPClassifier": repeated(lambda: theirs.predict_proba(row), calls),
        "ours": repeated(lambda: model.predict_proba(row), calls),
        "ONNX": repeated(lambda: session.run(None, feeds), calls),
    }
    times = interleaved(ways, repeats)
    found = session.run(["probabilities"], feeds_of(session, table))[0]
    return {
        "members": int(np.count_nonzero(model.member_weights_)),
        "file, MB": size / 1e6,
        "export, s": seconds,
        **{f"{name}, ms": 1e3 * sorted(times[name])[repeats // 2] / calls for name in ways},
        "ONNX / ours": ratios(times, "ours")["ONNX"],
        "ONNX / MLPClassifier": ratios(times, "MLPClassifier")["ONNX"],
        "largest difference": float(np.abs(found - model.predict_proba(table)).max()),
    }


def feeds_of(session: InferenceSession, table: Any) -> dict[str, np.ndarray]:
    """Return rows as the session takes them."""
    inputs = session.get_inputs()
    if isinstance(table, np.ndarray):
        return {"X": table.astype(np.float32 if inputs[0].type == "tensor(float)" else np.float64)}
    kinds = {"tensor(string)": object, "tensor(double)": np.float64}
    return {i.name: table[[i.name]].to_numpy(dtype=kinds[i.type]) for i in inputs}
