"""Columns centred and scaled."""

import numpy as np
import pytest

from skensemble import SnapshotEnsembleClassifier
from skensemble.tables import TableScaler


def test_weights_are_repeats(iris):
    X, _ = iris
    X = X[:30]
    weight = np.arange(30) % 4
    one = TableScaler().fit(X, weight)
    two = TableScaler().fit(np.repeat(X, weight, axis=0), np.ones(weight.sum()))
    np.testing.assert_array_equal(one.center_, two.center_)
    np.testing.assert_array_equal(one.scale_, two.scale_)


def test_weighted_and_plain_quantiles_agree(digits):
    X, _ = digits
    one, two = TableScaler().fit(X), TableScaler().fit(X, np.ones(len(X)))
    np.testing.assert_array_equal(one.center_, two.center_)
    np.testing.assert_array_equal(one.scale_, two.scale_)


def test_center_is_the_median_of_numpy(diabetes):
    X, _ = diabetes
    scaler = TableScaler().fit(X)
    np.testing.assert_array_equal(
        scaler.center_, np.quantile(X, 0.5, axis=0, method="inverted_cdf")
    )


def test_outliers_constants_and_huge_values_stay_finite_and_clipped():
    X = np.ones((50, 3))
    X[:, 0] = np.linspace(0, 1, 50)
    X[0, 0] = 1e300
    X[0, 1] = 1e-300
    Z = TableScaler().fit(X).transform(X, np.float32)
    assert np.isfinite(Z).all()
    assert np.abs(Z).max() <= 3
    assert Z[0, 0] == pytest.approx(3)


def test_chunks_change_nothing(monkeypatch, digits):
    X, _ = digits
    whole = TableScaler().fit(X).transform(X, np.float32)
    monkeypatch.setattr("skensemble.tables._CHUNK", 7)
    np.testing.assert_array_equal(whole, TableScaler().fit(X).transform(X, np.float32))


def test_columns_are_centred_before_any_cast():
    """Rule 5: seconds within a time stamp of 1.7e9 are lost in float32."""
    rng = np.random.default_rng(0)
    seconds = rng.uniform(0, 60, 400)
    X = 1.7e9 + seconds[:, None]
    y = (seconds > 30).astype(int)
    model = SnapshotEnsembleClassifier(max_epochs=20, random_state=0).fit(X[:200], y[:200])
    assert model.score(X[200:], y[200:]) > 0.95


def test_a_column_of_mostly_one_value_is_scaled_by_its_range():
    X = np.zeros((50, 1))
    X[:3, 0] = [1000.0, -500.0, 200.0]
    scaler = TableScaler().fit(X)
    assert (scaler.center_[0], scaler.scale_[0]) == (0.0, 750.0)


def test_values_at_the_end_of_float64_stay_finite():
    X = np.array([[1.7e308], [-1.7e308], [0.0], [1.0], [2.0]])
    for rows in (X, X[2:]):
        assert np.isfinite(TableScaler().fit(rows).transform(X, np.float32)).all()
