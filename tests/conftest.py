"""Data and small networks that many tests share."""

import copy
import math
import os
import signal
import sys
from datetime import timedelta

# Pictures are drawn without a screen.
os.environ.setdefault("MPLBACKEND", "Agg")
# scikit-learn skips some of its own checks without it, and scipy reads it when it is imported.
os.environ["SCIPY_ARRAY_API"] = "1"

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from torch import nn
from torch.utils.data import Dataset

from skensemble import SnapshotEnsembleClassifier
from skensemble._data import column, frames

#: A fit that takes no time.
QUICK = {"max_epochs": 4, "n_cycles": 2, "random_state": 0}


@pytest.fixture(scope="session")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="session")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:600], y[:600]


@pytest.fixture
def two_threads():
    """Two intra-op threads, in this thread and in those to come."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def cancer():
    return load_breast_cancer(return_X_y=True)


@pytest.fixture(scope="session")
def diabetes():
    return load_diabetes(return_X_y=True)


@pytest.fixture(autouse=True, scope="session")
def _interruptible():
    """A job in the background of a shell ignores Ctrl-C; the tests of it must not."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _seeded():
    """What a test draws itself is the same in every run."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _closed():
    """Figures of a test are closed after it: matplotlib warns of many."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(params=["few rows", "many rows"])
def path(request, monkeypatch):
    """Small tables and large ones go other ways."""
    if request.param == "many rows":
        monkeypatch.setattr(frames, "_FEW_ROWS", 0)
        monkeypatch.setattr(column, "_FEW_VALUES", 0)


class Mlp(nn.Module):
    """What a user writes: dropout between two linear layers, raw scores."""

    def __init__(self, n_inputs, n_outputs, n_hidden=16, dropout=0.2):
        super().__init__()
        self.hidden = nn.Linear(n_inputs, n_hidden)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(n_hidden, n_outputs)

    def forward(self, X):
        return self.output(self.dropout(torch.relu(self.hidden(X))))


class Normalised(nn.Module):
    """Batch normalisation: a network with buffers."""

    def __init__(self, n_inputs, n_outputs):
        super().__init__()
        self.hidden = nn.Linear(n_inputs, 16)
        self.norm = nn.BatchNorm1d(16)
        self.output = nn.Linear(16, n_outputs)

    def forward(self, X):
        return self.output(torch.relu(self.norm(self.hidden(X))))


class Flat(nn.Module):
    """A regression module that returns shape (n,)."""

    def __init__(self, n_inputs):
        super().__init__()
        self.layer = nn.Linear(n_inputs, 1)

    def forward(self, X):
        return self.layer(X)[:, 0]


class Recurrent(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.layer = nn.GRU(8, 6, batch_first=True)
        self.output = nn.Linear(6, n_outputs)

    def forward(self, X):
        return self.output(self.layer(X.reshape(-1, 8, 8))[0][:, -1])


class Bare(nn.Module):
    """It has parameters, and cannot draw them anew."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3, 2))

    def forward(self, X):
        return X @ self.weight


class Items(Dataset):
    """Nothing but items: what one writes for files on a disk."""

    def __init__(self, X, y):
        self.data, self.labels = X, y

    def __len__(self):
        return len(self.data)

    def __getitem__(self, i):
        return self.data[i], self.labels[i]


def is_one(model):
    return model.net_.batched_ is not None


def noisy(X):
    """Augment a batch, by torch's global generator."""
    return X + 0.1 * torch.randn_like(X)


def same(one, other):
    """Whether two lists of snapshots are equal to the bit."""
    return len(one) == len(other) and all(
        torch.equal(a[name], b[name]) for a, b in zip(one, other, strict=True) for name in a
    )


def outputs_of_snapshots(model, rows):
    """What fresh modules say that are each loaded with one snapshot, in float64."""
    outputs = []
    for snapshot in model.snapshots_:
        fresh = copy.deepcopy(model.net_.module_)
        fresh.load_state_dict(snapshot)
        fresh.eval()
        with torch.no_grad():
            outputs.append(fresh(rows).double())
    return outputs


def probabilities(X, y, module=None, X_test=None, **parameters):
    parameters = {"max_epochs": 3, "n_cycles": 2, "random_state": 0, **parameters}
    model = SnapshotEnsembleClassifier(module, **parameters).fit(X, y)
    return model.predict_proba(X if X_test is None else X_test)


def frame_of(values, name="a"):
    """A column alone, in a frame of its own library."""
    make = pd.DataFrame if isinstance(values, pd.Series) else pl.DataFrame
    return make({name: values})


def run_graph(graph, feeds=None):
    """What onnxruntime makes of a graph of ours, output by output."""
    from onnxruntime import InferenceSession

    return InferenceSession(graph.model({}).SerializeToString()).run(None, feeds or {})


def serve(model, X, path):
    """What onnxruntime predicts from the file that a model writes, by the names of outputs."""
    from onnxruntime import InferenceSession

    model.to_onnx(path)
    session = InferenceSession(path)
    outputs = session.run(None, feeds_of(session, X))
    return dict(zip([out.name for out in session.get_outputs()], outputs, strict=True))


def feeds_of(session, X):
    """Rows as the documentation of `to_onnx` says to give them; a frame is of pandas."""
    if isinstance(X, dict):
        return X
    if not isinstance(X, pd.DataFrame):
        return {"X": X}
    feeds = {}
    for given in session.get_inputs():
        column = X[given.name]
        if given.type == "tensor(string)":
            values = column.to_numpy(dtype=object)
        elif column.dtype.kind == "M":
            values = (column - pd.Timestamp(0, tz=column.dt.tz)).dt.total_seconds().to_numpy()
        elif column.dtype.kind == "m":
            values = column.dt.total_seconds().to_numpy()
        else:
            values = column.to_numpy("float64", na_value=np.nan)
        feeds[given.name] = values[:, None]
    return feeds


def calendar(name, stamps, parts):
    """Parts of dates by the standard library: a column for each, None as NaN."""
    found = {}
    for part in parts:
        values = [np.nan if t is None else _PARTS[part](t) for t in stamps]
        found[f"{name}: {part}"] = values
    return found


def _of_day(t):
    return (t - t.replace(hour=0, minute=0, second=0, microsecond=0)) / timedelta(days=1)


def _waves(name, turn):
    return {
        f"{wave} of the {name}": lambda t, of=of: of(2 * math.pi * turn(t))
        for wave, of in (("sine", math.sin), ("cosine", math.cos))
    }


_PARTS = {
    "year": lambda t: t.year,
    "month": lambda t: t.month,
    "day of year": lambda t: t.timetuple().tm_yday,
    **_waves("year", lambda t: (t.timetuple().tm_yday - 1 + _of_day(t)) / 365.2425),
    "weekday": lambda t: t.weekday(),
    **_waves("week", lambda t: (t.weekday() + _of_day(t)) / 7),
    "hour": lambda t: t.hour,
    **_waves("day", _of_day),
}

OF_YEARS = [name for name in _PARTS if "year" in name or name == "month"]
OF_WEEKS = [name for name in _PARTS if "week" in name]
OF_DAYS = ["hour", "sine of the day", "cosine of the day"]


def _codes(fitted, values):
    """Codes of one column's values, in each way that they can be given."""
    return fitted.transform(values)[:, 0].tolist()
