"""The picture of intervals."""

import numpy as np
import pytest
from conftest import QUICK
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble.display import IntervalDisplay
from skensemble.metrics import interval_coverage_score


def test_the_intervals_of_a_regressor_are_drawn(diabetes):
    X, y = diabetes
    model = make_pipeline(StandardScaler(), SnapshotEnsembleRegressor(**QUICK)).fit(
        X[:300], y[:300]
    )
    display = IntervalDisplay.from_estimator(model, X[300:], y[300:], coverage=0.8)
    low, high = model[-1].predict_interval(model[0].transform(X[300:]), coverage=0.8).T
    segments = np.array(display.intervals_.get_segments())
    np.testing.assert_allclose(segments[:, 0], np.column_stack([(low + high) / 2, low]))
    np.testing.assert_allclose(segments[:, 1], np.column_stack([(low + high) / 2, high]))
    is_in = (low <= y[300:]) & (y[300:] <= high)
    assert sorted(display.covered_.get_ydata()) == sorted(y[300:][is_in])
    assert sorted(display.missed_.get_ydata()) == sorted(y[300:][~is_in])
    assert display.share_ == pytest.approx(is_in.mean())
    assert display.ax_.get_title() == f"{100 * is_in.mean():.1f} % covered, 80 % asked for"


def test_intervals_of_any_origin_may_be_without_end():
    y = np.array([1.0, 2.0, 3.0])
    intervals = np.array([[-np.inf, 2.0], [0.0, np.inf], [4.0, 5.0]])
    display = IntervalDisplay.from_predictions(y, intervals)
    assert display.share_ == interval_coverage_score(y, intervals)
    assert np.isfinite(np.array(display.intervals_.get_segments())).all()
    assert display.ax_.get_title() == "66.7 % covered"


def test_one_of_several_outputs_is_drawn(diabetes):
    X, y = diabetes
    values = np.column_stack([y, -y])
    model = SnapshotEnsembleRegressor(**QUICK).fit(X, values)
    display = IntervalDisplay.from_estimator(model, X, values, output=1)
    np.testing.assert_array_equal(display.y_true, -y)
    np.testing.assert_array_equal(display.intervals, model.predict_interval(X)[:, :, 1])
    for output in (None, 2):
        with pytest.raises(ValueError, match=f"Got output={output} for 2 outputs, but expected"):
            IntervalDisplay.from_estimator(model, X, values, output=output)


def test_what_has_no_intervals_is_refused(iris, diabetes):
    model = SnapshotEnsembleClassifier(**QUICK).fit(*iris)
    with pytest.raises(ValueError, match="but expected a regressor: a classifier's predict_set"):
        IntervalDisplay.from_estimator(model, *iris)
    blind = SnapshotEnsembleRegressor(validation=None, **QUICK).fit(*diabetes)
    with pytest.raises(ValueError, match="Got an ensemble without rows that were left out"):
        IntervalDisplay.from_estimator(blind, *diabetes)
    several = SnapshotEnsembleRegressor(**QUICK).fit(*diabetes)
    with pytest.raises(ValueError, match=r"Got intervals of shape .* those of one coverage"):
        IntervalDisplay.from_estimator(several, *diabetes, coverage=[0.5, 0.9])
    with pytest.raises(ValueError, match="Got intervals of shape"):
        IntervalDisplay(y_true=[], intervals=[]).plot()
