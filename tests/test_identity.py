"""What a call is, part by part."""

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
        ({"seed": 0}, {"seed": 1}, ["seed"]),
        ({"y": [0, 1]}, {"y": [1, 0]}, ["y"]),
        ({}, {"sample_weight": np.ones(3)}, ["sample_weight"]),
        ({}, {"groups": np.ones(3)}, ["groups"]),
        ({}, {"model": SnapshotEnsembleClassifier(lr=0.1)}, ["parameter lr"]),
        ({}, {"model": SnapshotEnsembleClassifier(Mlp)}, ["parameter module"]),
        ({}, {"model": SnapshotEnsembleClassifier(verbose=1, checkpoint_dir="x")}, []),
        (
            {},
            {"model": SnapshotEnsembleClassifier(optimizer__weight_decay=0.1)},
            ["parameter optimizer__weight_decay"],
        ),
    ],
)
def test_the_argument_that_differs_is_named(one, other, named):
    assert tell_apart(identity(TABLE, **one), identity(TABLE, **other)) == named


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
