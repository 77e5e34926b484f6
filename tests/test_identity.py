"""What a call is, part by part."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from conftest import Items, Mlp
from scipy.sparse import csr_array

from skensemble import SnapshotEnsembleClassifier
from skensemble._persistence.identity import identify, tell_apart

RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(20, 3))
FRAME = pd.DataFrame(
    {
        "number": RNG.normal(size=20),
        "text": ["a", None] * 10,
        "kind": pd.Categorical(["x", "y"] * 10),
        "day": pd.date_range("2020", periods=20),
    }
)
STAMPS = torch.arange(60.0).reshape(20, 3)


def identity(X, y=None, model=None, seed=0, **more):
    model = model or SnapshotEnsembleClassifier()
    return identify(model, {"X": X, "y": y, **more}, seed, None)


def changed_frame(column):
    other = FRAME.copy()
    other[column] = other[column].to_numpy()[::-1]
    return other


@pytest.mark.parametrize("column", FRAME.columns)
@pytest.mark.parametrize("kind", [lambda frame: frame, pl.from_pandas], ids=["pandas", "polars"])
def test_the_column_that_differs_is_named(column, kind):
    one, other = identity(kind(FRAME)), identity(kind(changed_frame(column)))
    assert one == identity(kind(FRAME.copy()))
    assert tell_apart(one, other) == [f"column {column!r} of X"]


def test_names_and_order_of_columns_count():
    assert tell_apart(identity(FRAME), identity(FRAME.rename(columns={"text": "word"})))
    assert tell_apart(identity(FRAME), identity(FRAME[FRAME.columns[::-1]])) == ["columns of X"]


@pytest.mark.parametrize(
    "container",
    [
        np.asarray,
        np.asfortranarray,
        lambda X: X.tolist(),
        csr_array,
        torch.from_numpy,
        lambda X: X.reshape(20, 3, 1),
        lambda X: {"a": X, "b": X[:, 0]},
        lambda X: Items(torch.from_numpy(X), torch.zeros(20)),
        lambda X: X.astype(object),
    ],
)
def test_rows_of_any_container_are_told_apart(container):
    other = TABLE.copy()
    other[3, 1] += 1e-9
    one = identity(container(TABLE))
    assert one == identity(container(TABLE.copy()))
    assert tell_apart(one, identity(container(other)))


def test_the_column_of_an_array_is_named():
    other = TABLE.copy()
    other[3, 1] += 1e-9
    assert tell_apart(identity(TABLE), identity(other)) == ["column 1 of X"]
    assert identity(TABLE) == identity(np.asfortranarray(TABLE))


@pytest.mark.parametrize(
    ("one", "other", "named"),
    [
        ({"seed": 0}, {"seed": 1}, ["seed from random_state"]),
        ({"y": [0, 1]}, {"y": [1, 0]}, ["y"]),
        ({}, {"sample_weight": np.ones(3)}, ["sample_weight"]),
        ({}, {"groups": np.ones(3)}, ["groups"]),
        ({}, {"model": SnapshotEnsembleClassifier(lr=0.1)}, ["parameter lr"]),
        ({}, {"model": SnapshotEnsembleClassifier(Mlp)}, ["parameter module"]),
        ({}, {"model": SnapshotEnsembleClassifier(verbose=1, checkpoint_dir="x")}, []),
        ({}, {"model": SnapshotEnsembleClassifier(n_jobs=2)}, []),
        (
            {},
            {"model": SnapshotEnsembleClassifier(optimizer__weight_decay=0.1)},
            ["parameter optimizer__weight_decay"],
        ),
    ],
)
def test_the_argument_that_differs_is_named(one, other, named):
    assert tell_apart(identity(TABLE, **one), identity(TABLE, **other)) == named


def test_how_columns_lie_in_memory_does_not_count():
    """Joblib's hash of an array hangs on its strides, and of objects on which are one."""
    frame = pd.DataFrame(TABLE)
    assert identity(frame, frame[0]) == identity(*pickle.loads(pickle.dumps((frame, frame[0]))))
    rows = [[1.0, 2.0]] * 3
    assert identity(rows) == identity([list(row) for row in rows])


def test_names_of_columns_count_with_their_type():
    one, other = pd.DataFrame(TABLE), pd.DataFrame(TABLE, columns=["0", "1", "2"])
    assert "columns of X" in tell_apart(identity(one), identity(other))


def test_the_order_of_class_weights_does_not_count():
    one, other = {"a": 1, "b": 2}, {"b": 2, "a": 1}
    models = [SnapshotEnsembleClassifier(class_weight=weight) for weight in (one, other)]
    assert identity(TABLE, model=models[0]) == identity(TABLE, model=models[1])


def test_torchs_default_type_counts():
    one = identity(TABLE)
    torch.set_default_dtype(torch.float64)
    try:
        assert tell_apart(one, identity(TABLE)) == ["torch's default type"]
    finally:
        torch.set_default_dtype(torch.float32)


def test_what_an_earlier_call_learned_counts(iris):
    """Of two ensembles with the same snapshots, one knows a class that the other does not."""
    X, y = iris[0][:100], np.array(["a", "b"])[iris[1][:100]]
    found = []
    for last in ("c", "d"):
        model = SnapshotEnsembleClassifier(max_epochs=2, n_cycles=2, random_state=0)
        model.partial_fit(X, y, classes=["a", "b", last])
        found.append(identify(model, {}, 0, model._fitted_))
    assert tell_apart(*found) == ["ensemble before"]


def test_another_version_is_another_fit(monkeypatch):
    one = identity(TABLE)
    monkeypatch.setattr(np, "__version__", "9.9")
    assert tell_apart(one, identity(TABLE)) == ["version of numpy"]


def test_it_hangs_on_the_ensemble_that_goes_on(iris):
    model = SnapshotEnsembleClassifier(max_epochs=2, n_cycles=2, random_state=0).fit(*iris)
    before = model._fitted_
    one = identify(model, {}, 0, before)
    assert one == identify(model, {}, 0, before)
    model.partial_fit(*iris)
    assert tell_apart(one, identify(model, {}, 0, model._fitted_)) == ["ensemble before"]
