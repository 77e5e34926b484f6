"""What became of each column, as a table."""

import pickle

import numpy as np
import pandas as pd
import pytest
from conftest import QUICK, Mlp
from scipy.sparse import random

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._data.fitted_columns import FittedColumn, FittedColumns


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    n = 400
    X = pd.DataFrame(
        {
            "age": np.where(rng.random(n) < 0.25, np.nan, rng.normal(size=n)),
            "colour": rng.choice(["red", "green", None], n, p=[0.5, 0.25, 0.25]),
            "name": [f"person {i}" for i in range(n)],
            "sold": pd.date_range("2020-01-01", periods=n, freq="3D").astype(str),
            "price": [f"{price:.2f} $" for price in rng.lognormal(size=n)],
            "took": pd.to_timedelta(rng.integers(0, 99, n), unit="s"),
            "void": np.nan,
        }
    )
    with pytest.warns(UserWarning, match="Got X with"):
        return SnapshotEnsembleRegressor(**QUICK).fit(X, rng.normal(size=n)), X


def test_a_row_for_each_column(model):
    model, X = model
    table = model.columns_
    assert [row.name for row in table] == list(X)
    assert [row.read_as for row in table] == [
        "numbers", "categories", "categories", "dates", "numbers", "durations", "nothing"
    ]  # fmt: skip
    np.testing.assert_allclose([row.missing for row in table], X.isna().mean())
    assert [(row.categories, row.kept) for row in table[:3]] == [(None, None), (2, 2), (400, 0)]
    assert table[0].pieces == 8
    assert sum(row.pieces for row in table) == len(model._fitted_.intake.encoder._piece_of)
    assert table[2].remark == "too few rows for 400 of 400 categories"
    assert [table[3].remark, table[4].remark] == [
        "strings read as dates", "strings read as numbers in '$'"
    ]  # fmt: skip


def test_it_is_a_frame_a_pickle_and_readable(model):
    table = model[0].columns_
    frame = pd.DataFrame(table)
    assert list(frame) == list(FittedColumn.__annotations__)
    assert frame["read_as"].tolist() == [row.read_as for row in table]
    again = pickle.loads(pickle.dumps(table))
    assert again == table
    assert repr(again) == repr(table)
    assert len(repr(table).splitlines()) == 8
    assert "too few rows for 400 of 400" in repr(table)
    html = FittedColumns([table[0]._replace(name="<b>")])._repr_html_()
    assert "<td>&lt;b&gt;</td><td>numbers</td>" in html


def test_arrays_and_wide_sparse_matrices_have_it_too(digits):
    X, y = digits
    table = SnapshotEnsembleClassifier(**QUICK).fit(X, y).columns_
    assert [row.name for row in table] == [f"x{i}" for i in range(64)]
    assert {row.read_as for row in table} == {"numbers"}
    wide = random(100, 3000, density=0.01, random_state=0, format="csr")
    shown = repr(SnapshotEnsembleClassifier(**QUICK).fit(wide, y[:100]).columns_)
    assert len(shown.splitlines()) == 32
    assert "… 2970 more" in shown


def test_it_is_of_the_fitted_built_in_network_alone(digits):
    X, y = digits
    assert not hasattr(SnapshotEnsembleClassifier(), "columns_")
    assert not hasattr(SnapshotEnsembleClassifier(Mlp, **QUICK).fit(X, y), "columns_")


def test_a_row_number_alone_is_what_one_trains_on():
    X = np.arange(200.0)[:, None]
    model = SnapshotEnsembleRegressor(**QUICK).fit(X, X[:, 0])
    assert model.columns_[0].remark == ""
    with pytest.warns(UserWarning, match="whole numbers that never repeat in column 'x1'"):
        model.fit(np.hstack([np.sin(X), X]), X[:, 0])
    assert model.columns_[1].remark == "like a row number"


@pytest.mark.parametrize(
    ("value", "said"),
    [("abc", r"200 distinct values, mostly numbers, but not 'abc'"), ("7 kg", "but not '7 kg'")],
)
def test_the_value_that_keeps_a_column_from_being_numbers_is_said(value, said):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"size": [value, *map(str, rng.normal(size=199))]})
    with pytest.warns(UserWarning, match=said):
        SnapshotEnsembleRegressor(**QUICK).fit(X, rng.normal(size=200))
