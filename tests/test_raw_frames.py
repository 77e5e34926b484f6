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


def _sales(n_years, seed):
    """Days of some years and of 200 beyond: a season, a week, a slight trend, noise."""
    rng = np.random.default_rng(seed)
    n = int(364 * n_years)
    day = pd.date_range("2021-01-01", periods=n + 200, freq="D")
    week = 3 * rng.normal(size=7)
    y = 8 * np.sin(2 * np.pi * day.day_of_year / 365.25) + week[day.day_of_week]
    y = y.to_numpy() + 0.001 * np.arange(len(day)) + rng.normal(size=len(day))
    return pd.DataFrame({"day": day}), y, n


@pytest.mark.parametrize("n_years", [1, 2, 3])
def test_dates_hold_in_the_future(n_years):
    """A year of daily sales had an R² of −.8 on the next 200 days."""
    X, y, n = _sales(n_years, 0)
    model = SnapshotEnsembleRegressor(max_epochs=40, random_state=0).fit(X[:n], y[:n])
    assert model.score(X[n:], y[n:]) > 0.85
    far = model.predict(pd.DataFrame({"day": pd.to_datetime(["1700-01-01", "2250-06-01"])}))
    assert y[:n].min() - 5 < far.min() <= far.max() < y[:n].max() + 5


def test_strings_of_numbers_and_dates_are_read_and_told_once():
    rng = np.random.default_rng(0)
    power = rng.normal(100, 25, 600).round(1)
    X, y, _ = _sales(2, 0)
    X, y = X[:600], y[:600] + power / 5
    numbers = X.assign(power=np.where(np.arange(600) % 9, power, np.nan), price=power)
    strings = X.assign(
        day=X["day"].astype(str),
        power=[f"{p}" if i % 9 else "?" for i, p in enumerate(power)],
        price=[f"{p:.1f} $" for p in power],
    )
    model = SnapshotEnsembleRegressor(**QUICK)
    with pytest.warns(
        UserWarning, match="numbers or dates in columns 'day', 'power', 'price'"
    ) as w:
        read = clone(model).fit(strings, y)
    assert sum(warning.category is UserWarning for warning in w) == 1
    expected = clone(model).fit(numbers, y).predict(numbers)
    for X in (strings, numbers):
        np.testing.assert_array_equal(read.predict(X), expected)
    other = clone(model).fit(numbers, y)
    np.testing.assert_array_equal(other.predict(strings.assign(price=power.astype(str))), expected)
    for name, value in [("power", "high"), ("price", "12 €"), ("day", "soon"), ("price", "1 kg")]:
        with pytest.raises(ValueError, match=f"column '{name}', such as '{value}', but expected"):
            read.predict(strings.assign(**{name: value}))


def test_columns_that_say_nothing_are_named_in_few_warnings():
    rng = np.random.default_rng(0)
    n = 300
    X = pd.DataFrame({f"text{i}": [f"word {i} {j}" for j in range(n)] for i in range(7)})
    X = X.assign(id=1000 + rng.permutation(n), size=rng.normal(size=n))
    with pytest.warns(UserWarning, match="Got X with") as w:
        SnapshotEnsembleRegressor(**QUICK).fit(X, X["size"])
    rare, ids = sorted(str(warning.message) for warning in w if warning.category is UserWarning)
    assert "'text0' (300 distinct values, such as 'word 0 0'), 'text1'" in rare
    assert "and 2 more, but expected categories that come back" in rare
    assert "TableVectorizer" in rare
    assert "column 'id', like a row number" in ids
    assert "groups=" in ids


def test_more_categories_than_are_kept_are_told_and_settable():
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 60, 3000)
    y = 3 * rng.normal(size=60)[codes]
    X = pd.DataFrame({"area": np.char.add("p", codes.astype(str)), "rooms": rng.normal(size=3000)})
    few = SnapshotEnsembleRegressor(table__max_categories=20, **QUICK)
    with pytest.warns(UserWarning, match=r"table__max_categories=20 in column 'area' \(60 with"):
        few.fit(X, y)
    assert few.columns_[0].kept == 19
    all_of_them = SnapshotEnsembleRegressor(max_epochs=15, random_state=0).fit(X, y)
    assert all_of_them.columns_[0].kept == 60
    assert all_of_them.score(X, y) > 0.85 > few.score(X, y)


def test_a_category_without_weight_is_no_error():
    X = pd.DataFrame({"c": ["a", "b"] * 100 + ["z"] * 3})
    weight = np.repeat([1.0, 0.0], [200, 3])
    model = SnapshotEnsembleRegressor(**QUICK).fit(X, np.arange(203.0), weight)
    unseen = model.predict(pd.DataFrame({"c": ["z", "new"]}))
    assert unseen[0] == unseen[1]


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
