"""The score of unseen rows over cycles, and the weights of cycles."""

import numpy as np
import pytest
from conftest import QUICK, Mlp
from sklearn.exceptions import NotFittedError
from sklearn.metrics import accuracy_score, log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble.display import CycleCurveDisplay
from skensemble.model_selection import cycle_curve

RUN = {"n_cycles": 4, "max_epochs": 8, "n_chains": 3, "early_stopping": False, "random_state": 0}


@pytest.fixture(scope="module")
def model(cancer):
    return SnapshotEnsembleClassifier(**RUN).fit(*cancer)


def drawn(display):
    return display.line_.get_xdata(), display.line_.get_ydata()


def test_the_curve_is_that_of_the_fit_and_bars_are_the_weights(model):
    display = CycleCurveDisplay.from_estimator(model)
    cycles, scores = drawn(display)
    np.testing.assert_array_equal(cycles, [1, 2, 3, 4])
    np.testing.assert_array_equal(scores, model.cycle_scores_)
    expected = [model.member_weights_[3 * c : 3 * c + 3].sum() for c in range(4)]
    np.testing.assert_allclose([bar.get_height() for bar in display.bars_], expected)
    assert sum(expected) == pytest.approx(1)
    assert display.ax_.get_ylabel() == "Negative log loss"
    assert display.fill_between_ is None
    # They are behind the curve, and leave it its own scale.
    assert display.ax_weights_.get_zorder() < display.ax_.get_zorder()
    assert display.ax_weights_.get_ylim() == (0, 1)
    low, high = display.ax_.get_ylim()
    assert low < scores.min() < scores.max() < high
    display.ax_.plot([1, 4], [-9, 9])
    low, high = display.ax_.get_ylim()
    assert low < -9 < 9 < high


def test_a_score_is_drawn_negated_under_its_own_name(model, diabetes):
    display = CycleCurveDisplay.from_estimator(model, negate_score=True)
    np.testing.assert_array_equal(drawn(display)[1], -model.cycle_scores_)
    assert display.ax_.get_ylabel() == "Log loss"
    named = CycleCurveDisplay.from_estimator(model, negate_score=True, score_name="nats")
    assert named.ax_.get_ylabel() == "nats"
    regressor = SnapshotEnsembleRegressor(**RUN).fit(*diabetes)
    assert CycleCurveDisplay.from_estimator(regressor).ax_.get_ylabel() == (
        "Negative mean squared error"
    )
    absolute = SnapshotEnsembleRegressor(criterion="absolute_error", **RUN).fit(*diabetes)
    label = CycleCurveDisplay.from_estimator(absolute).ax_.get_ylabel()
    assert label == "Negative mean absolute error"
    regressor.set_params(scoring="r2").fit(*diabetes)
    display = CycleCurveDisplay.from_estimator(regressor)
    assert display.ax_.get_ylabel() == "R2"
    np.testing.assert_array_equal(drawn(display)[1], regressor.cycle_scores_)
    assert display.plot(negate_score=True).ax_.get_ylabel() == "Negative r2"


def test_a_pipeline_is_drawn_as_its_last_step(cancer, model):
    within = make_pipeline(StandardScaler(), SnapshotEnsembleClassifier(**RUN)).fit(*cancer)
    display = CycleCurveDisplay.from_estimator(within)
    np.testing.assert_array_equal(drawn(display)[1], within[-1].cycle_scores_)


def test_a_curve_of_one_fit_or_of_folds_is_drawn(cancer):
    run = SnapshotEnsembleClassifier(**RUN)
    one = cycle_curve(run, *cancer)
    display = CycleCurveDisplay.from_curve(one)
    np.testing.assert_array_equal(drawn(display)[1], one.scores)
    assert display.bars_ is not None

    folds = cycle_curve(run, *cancer, cv=3, scoring="accuracy")
    display = CycleCurveDisplay.from_curve(folds, score_name="Accuracy")
    np.testing.assert_allclose(drawn(display)[1], folds.scores.mean(axis=1))
    band = display.fill_between_.get_paths()[0].vertices
    low, high = folds.scores.mean(axis=1) - folds.scores.std(axis=1), None
    assert band[:, 1].min() == pytest.approx(low.min())
    assert display.bars_ is display.ax_weights_ is high
    assert display.ax_.get_ylabel() == "Accuracy"


def test_stages_are_drawn_by_any_metric(cancer, model):
    X, y = cancer
    display = CycleCurveDisplay.from_predictions(y, model.staged_predict_proba(X), metric=log_loss)
    expected = [log_loss(y, p) for p in model.staged_predict_proba(X)]
    np.testing.assert_array_equal(drawn(display)[1], expected)
    assert display.ax_.get_ylabel() == "Log loss"
    labels = CycleCurveDisplay.from_predictions(y, model.staged_predict(X), metric=accuracy_score)
    assert labels.ax_.get_ylabel() == "Accuracy score"


def test_what_has_no_score_is_refused(iris):
    with pytest.raises(NotFittedError):
        CycleCurveDisplay.from_estimator(SnapshotEnsembleClassifier())
    own = SnapshotEnsembleClassifier(Mlp, **QUICK).fit(*iris)
    with pytest.raises(ValueError, match="Got an ensemble without cycle_scores_, but expected one"):
        CycleCurveDisplay.from_estimator(own)
    with pytest.raises(ValueError, match=r"Got stages=\[\], but expected predictions after 1"):
        CycleCurveDisplay.from_predictions(iris[1], iter([]), metric=log_loss)
    for given in (
        {"n_cycles": [], "scores": []},
        {"n_cycles": [1, 2], "scores": [1.0]},
        {"n_cycles": [1, 2], "scores": [1.0, 2.0], "weights": [1.0]},
    ):
        with pytest.raises(ValueError, match=r"Got n_cycles=.*, but expected numbers of cycles"):
            CycleCurveDisplay(**given).plot()
