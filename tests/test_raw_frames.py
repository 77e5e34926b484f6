"""The estimators on tables as they come: strings, dates, missing values, categories."""

import os
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from conftest import Mlp
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_score
from sklearn.utils import get_tags

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor

#: A folder of public tables with an index.json; tests that need it are skipped without.
TABLES = Path(os.environ.get("SKENSEMBLE_DATA", "../shared/data"))

QUICK = {"max_epochs": 3, "n_cycles": 2, "random_state": 0}


@pytest.fixture(scope="module")
def sales():
    """A column of each kind, with something missing in each; the class is a function of two."""
    rng = np.random.default_rng(0)
    n = 400
    colour = rng.choice(["red", "green", "blue", None], n, p=[0.4, 0.3, 0.2, 0.1])
    price = np.where(rng.random(n) < 0.1, np.nan, rng.lognormal(size=n))
    sold = pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 700, n), unit="D")
    X = pd.DataFrame(
        {
            "colour": colour,
            "price": price,
            "sold": pd.Series(sold).where(rng.random(n) > 0.05),
            "size": pd.Categorical(rng.choice(["S", "M", "L"], n), categories=["S", "M", "L"]),
            "is_new": pd.array(rng.choice([True, False, None], n), dtype="boolean"),
            "empty": np.nan,
        }
    )
    y = np.where((colour == "red") | (np.nan_to_num(price) > 2), "yes", "no")
    return X, y


def test_a_raw_frame_is_learned(sales):
    X, y = sales
    scores = cross_val_score(SnapshotEnsembleClassifier(max_epochs=30, random_state=0), X, y, cv=3)
    assert scores.mean() > 0.95
    target = (y == "yes") + np.nan_to_num(X["price"])
    scores = cross_val_score(SnapshotEnsembleRegressor(max_epochs=30), X, target, cv=3)
    assert scores.mean() > 0.9


def test_pandas_polars_and_strings_are_the_same(sales):
    X, y = sales
    model = SnapshotEnsembleClassifier(**QUICK)
    expected = clone(model).fit(X, y).predict_proba(X)
    strings = X.assign(size=X["size"].astype(str))
    polars = pl.DataFrame(
        {name: [None if pd.isna(v) else v for v in X[name]] for name in X}, strict=False
    )
    for other in (polars, strings, X.assign(colour=X["colour"].astype("category"))):
        np.testing.assert_array_equal(clone(model).fit(other, y).predict_proba(other), expected)


def test_all_of_it_is_kept_with_the_model(sales):
    X, y = sales
    model = SnapshotEnsembleClassifier(**QUICK).fit(X, y)
    assert list(model.feature_names_in_) == list(X.columns)
    assert model.n_features_in_ == 6
    expected = model.predict_proba(X)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(X), expected)
    # Products of few rows may round otherwise than those of many.
    np.testing.assert_allclose(model.predict_proba(X.iloc[:5]), expected[:5], rtol=1e-5)
    again.partial_fit(X[:100], y[:100])
    assert again.n_cycles_ == 3


def test_what_fit_has_not_seen_is_predicted(sales):
    X, y = sales
    model = SnapshotEnsembleClassifier(**QUICK).fit(X.dropna(subset=["price"]), y[X.price.notna()])
    new = X.head(3).assign(
        colour=["violet", None, "red"], price=[np.nan, 1e300, -5.0], empty=[1.0, 2.0, np.nan]
    )
    assert np.isfinite(model.predict_proba(new)).all()


def test_names_of_columns_are_compared(sales):
    X, y = sales
    model = SnapshotEnsembleClassifier(**QUICK).fit(X, y)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(X.rename(columns={"price": "cost"}))
    with pytest.raises(ValueError, match="infinite values in column 'price'"):
        model.predict(X.assign(price=np.inf))
    with pytest.raises(ValueError, match="'price'"):
        model.predict(X.assign(price="dear"))


def test_categorical_features_by_name_index_and_mask(digits):
    X, y = digits
    frame = pd.DataFrame(X).add_prefix("c")
    is_listed = np.arange(64) < 32
    models = [
        SnapshotEnsembleClassifier(categorical_features=listed, **QUICK).fit(table, y)
        for listed, table in [
            ([f"c{i}" for i in range(32)], frame),
            (np.flatnonzero(is_listed), frame),
            (is_listed, X),
            (list(range(32)), X),
        ]
    ]
    expected = models[0].predict_proba(frame)
    for model in models[1:]:
        table = frame if hasattr(model, "feature_names_in_") else X
        np.testing.assert_array_equal(model.predict_proba(table), expected)
    numbers = SnapshotEnsembleClassifier(**QUICK).fit(frame, y).predict_proba(frame)
    assert np.abs(numbers - expected).max() > 0.01
    with pytest.raises(ValueError, match="'c99' which is not a valid feature"):
        SnapshotEnsembleClassifier(categorical_features=["c99"]).fit(frame, y)


def test_missing_values_in_arrays(digits):
    X, y = digits
    holes = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
    model = SnapshotEnsembleClassifier(random_state=0, max_epochs=20).fit(holes[:400], y[:400])
    theirs = HistGradientBoostingClassifier().fit(holes[:400], y[:400])
    assert model.score(holes[400:], y[400:]) >= theirs.score(holes[400:], y[400:])
    assert get_tags(model).input_tags.allow_nan
    assert not get_tags(SnapshotEnsembleClassifier(Mlp)).input_tags.allow_nan
    with pytest.raises(ValueError, match="NaN"):
        SnapshotEnsembleClassifier(Mlp).fit(holes, y)


def test_rows_converted_one_batch_at_a_time_are_the_same(monkeypatch, sales):
    X, y = sales
    expected = SnapshotEnsembleClassifier(**QUICK).fit(X, y).predict_proba(X)
    monkeypatch.setattr("skensemble._data.sources._AHEAD", 0)
    model = SnapshotEnsembleClassifier(**QUICK).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), expected)


@pytest.mark.skipif(not TABLES.exists(), reason="needs the public tables")
@pytest.mark.parametrize("file", sorted(TABLES.glob("*.csv.gz")), ids=lambda file: file.name)
def test_public_tables_as_they_are(file):
    about = pd.read_json(TABLES / "index.json")[file.name.split(".")[0]]
    X = pd.read_csv(file).sample(2000, random_state=0, replace=True)
    y = X.pop(about["target"])
    is_classes = about["task"] == "classification"
    model = (SnapshotEnsembleClassifier if is_classes else SnapshotEnsembleRegressor)(**QUICK)
    model.fit(X[:500], y[:500])
    assert model.predict(X).shape == (2000,)
    if is_classes:
        assert np.isfinite(model.predict_proba(X)).all()
