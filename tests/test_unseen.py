"""Predictions for rows that the chains left out, and what comes of them."""

import warnings

import numpy as np
import pytest
import torch
from conftest import QUICK, Mlp
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss, mean_squared_error

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor, unseen
from skensemble._data.folds import folds
from skensemble._data.sources import ArrayInput
from skensemble.unseen import Cycle, Patience, UnseenRows


@pytest.mark.parametrize("module", [None, Mlp])
def test_poisoned_targets_of_a_fold_move_none_of_its_predictions(digits, module):
    X, y = digits
    seen = []

    def watching(predictions, y, sample_weight):
        seen.append(predictions)
        return np.ones(len(predictions))

    model = SnapshotEnsembleClassifier(module, n_chains=3, members=watching, **QUICK)
    clone(model).fit(X, y)
    fold = folds("cross", 3, ArrayInput(X), None, None, 0).left_out[1]
    poisoned = y.copy()
    poisoned[fold] = np.random.default_rng(0).permutation(y[fold])
    before = seen[-1]
    clone(model).fit(X, poisoned)
    after = seen[-1]
    np.testing.assert_array_equal(after[:, fold], before[:, fold])
    others = np.setdiff1d(np.arange(len(y)), fold)
    assert np.abs(after[:, others] - before[:, others]).max() > 0.01


@pytest.mark.parametrize("repeats", [1, 3])
def test_random_labels_are_predicted_at_chance(repeats):
    """Also where every row stands three times, with a label of its own copy."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((400, 5)), rng.integers(0, 2, 400)
    X, y = np.repeat(X, repeats, axis=0), np.repeat(y, repeats)
    model = SnapshotEnsembleClassifier(
        max_epochs=80, n_cycles=2, members=1, module__dropout=0.0, random_state=0
    )
    assert model.fit(X, y).score(X, y) > 0.75  # it learned them by heart
    right = (model.oof_decision_function_.argmax(axis=1) == y).mean()
    assert 0.4 < right < 0.6
    assert model.validation_score_ < -0.65


def assert_from_the_chain_that_left_it_out(model, X):
    members = model.predict_members(X).reshape(2, 3, len(X), 10).mean(axis=0)
    left = folds("cross", 3, ArrayInput(X), None, None, 0).left_out
    for k, rows in enumerate(left):
        np.testing.assert_allclose(model.oof_decision_function_[rows], members[k][rows], atol=1e-6)


def test_unseen_predictions_come_from_the_chain_that_left_the_row_out(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(n_chains=3, members="all", **QUICK).fit(X, y)
    assert_from_the_chain_that_left_it_out(model, X)
    np.testing.assert_allclose(model.oof_decision_function_.sum(axis=1), 1, atol=1e-12)
    score = -log_loss(y, model.oof_decision_function_)
    assert model.validation_score_ == pytest.approx(score, rel=1e-5)
    assert model.validation_score_ == model.cycle_scores_[-1]


def test_scores_of_regression_are_those_of_scikit_learn(diabetes):
    X, y = diabetes
    weight = np.random.default_rng(0).random(len(y))
    model = SnapshotEnsembleRegressor(n_chains=4, **QUICK).fit(X, y, sample_weight=weight)
    expected = -mean_squared_error(y, model.oof_prediction_, sample_weight=weight)
    assert model.oof_prediction_.shape == y.shape
    assert model.validation_score_ == pytest.approx(expected, rel=1e-9)
    Y = np.stack([y, 1e6 + 1e3 * y], axis=1)
    several = clone(model).fit(X, Y)
    assert several.oof_prediction_.shape == Y.shape
    expected = -mean_squared_error(Y, several.oof_prediction_)
    assert several.validation_score_ == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("n_chains", [1, 3])
@pytest.mark.parametrize("how", ["fraction", "X_val"])
def test_rows_that_all_chains_leave_out(digits, how, n_chains):
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, n_chains=n_chains, members="stacked", **QUICK)
    if how == "fraction":
        model.set_params(validation=0.3).fit(X, y)
        rows = folds(0.3, 1, ArrayInput(X), None, None, 0).left_out[0]
        X_val, y_val, weight = X[rows], y[rows], None
    else:
        X_val, y_val, weight = X[:200], y[:200], np.arange(200.0)
        model.fit(X[200:], y[200:], X_val=X_val, y_val=y_val, sample_weight_val=weight)
    expected = -log_loss(y_val, model.predict_proba(X_val), sample_weight=weight, labels=range(10))
    assert model.validation_score_ == pytest.approx(expected, rel=1e-4)
    stages = [
        -log_loss(y_val, p, sample_weight=weight, labels=range(10))
        for p in model.staged_predict_proba(X_val)
    ]
    np.testing.assert_allclose(model.cycle_scores_, stages, rtol=1e-4)
    if how == "X_val":
        assert not hasattr(model, "oof_decision_function_")


def test_a_class_of_one_row_is_predicted(cancer):
    X, y = cancer
    y = y.copy()
    y[0] = 2
    model = SnapshotEnsembleClassifier(module__hidden=(16,), **QUICK).fit(X, y)
    assert model.predict_proba(X).shape == (569, 3)
    assert np.isfinite(model.validation_score_)


def test_an_empty_fold_has_no_say():
    X = np.repeat(np.arange(3.0)[:, None], 20, axis=0)
    y = np.repeat([0, 1, 1], 20)
    model = SnapshotEnsembleClassifier(n_chains=8, **QUICK).fit(X, y)
    assert model.n_chains_ == 8
    assert np.isfinite(model.validation_score_)
    assert np.isfinite(model.oof_decision_function_).all()


def test_weights_of_rows_move_the_choice():
    """Rows of weight zero have no say; a weight counts as repeats."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, 4)), rng.integers(0, 2, 300)
    weight = np.where(np.arange(300) < 150, 1.0, 0.0)
    scores = []

    def watching(predictions, y, sample_weight):
        scores.append(sample_weight)
        return np.ones(len(predictions))

    model = SnapshotEnsembleClassifier(n_chains=2, members=watching, **QUICK)
    model.fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(scores[-1], 2 * weight)
    expected = -log_loss(y, model.oof_decision_function_, sample_weight=weight)
    assert model.validation_score_ == pytest.approx(expected, rel=1e-5)


def test_early_stopping_is_a_prefix():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 5))
    y = (X[:, 0] + rng.standard_normal(300) > 0).astype(int)  # soon overfitted
    model = SnapshotEnsembleClassifier(
        n_chains=2, n_cycles=6, max_epochs=60, random_state=0, early_stopping=False
    )
    whole = clone(model).fit(X, y)
    short = clone(model).set_params(early_stopping=True, n_iter_no_change=1).fit(X, y)
    assert short.n_cycles_ < 6
    np.testing.assert_array_equal(short.cycle_scores_, whole.cycle_scores_[: short.n_cycles_])
    for got, expected in zip(short.snapshots_, whole.snapshots_, strict=False):
        assert all(torch.equal(got[name], expected[name]) for name in got)
    textbook = SnapshotEnsembleClassifier(Mlp, early_stopping=True, **QUICK).fit(X, y)
    assert textbook.n_cycles_ == 2  # without unseen rows it does nothing


def n_run(losses, ends, n_iter_no_change=1, n_before=0):
    """Return how many cycles a run has that this rule may end."""
    rule = Patience(n_iter_no_change, ends, n_before)
    for m in range(n_before + 1, len(ends) + 1):
        if rule.is_over(losses[:m]):
            return m
    return len(ends)


def test_a_cycle_has_to_be_worth_its_price():
    """A doubling of the steps has to lower the loss by 0.05 %, a tenth more by a seventh."""
    doubling, tenths = [10, 20, 40, 80, 160], [100, 110, 121, 133, 146]
    losses = (1 - 2e-4) ** np.arange(5)
    assert n_run(losses, doubling) == 2
    assert n_run(losses, tenths) == 5
    assert n_run((1 - 5e-5) ** np.arange(5), tenths) == 2
    assert n_run((1 - 6e-4) ** np.arange(5), doubling) == 5
    assert n_run(losses, doubling, n_iter_no_change=3) == 5  # three together gain enough
    assert n_run(np.ones(5), doubling, n_iter_no_change=3) == 4
    assert n_run(np.ones(5), doubling, n_iter_no_change=4) == 5
    assert n_run(np.append(np.ones(3), [0.9, 0.9]), doubling, n_iter_no_change=3) == 5


def test_cycles_of_earlier_calls_do_not_end_a_run():
    ends = [100, 100, 100, 110, 120, 130]
    assert n_run(np.ones(6), ends, n_before=3) == 4
    assert n_run(np.array([1, 1, 1, 0.99, 0.99, 0.99]), ends, n_before=3) == 5


def test_unseen_rows_that_weigh_nothing_say_nothing(digits):
    X, y = digits
    rows = folds("cross", 1, ArrayInput(X), None, None, 0).left_out[0]
    weight = np.ones(len(y))
    weight[rows] = 0
    model = SnapshotEnsembleClassifier(Mlp, validation="cross", **QUICK)
    model.fit(X, y, sample_weight=weight)
    assert not hasattr(model, "validation_score_")


@pytest.mark.parametrize("n_chains", [1, 2])
def test_predictions_that_are_not_finite_are_refused_and_not_weighed(iris, n_chains):
    """The score would be NaN, and the first cycle would get all weight."""

    class Steep(Mlp):
        def forward(self, X):
            return super().forward(100 * X)

    X, y = iris
    X_val = X[::5].astype(np.float32)
    X_val[7, 0] = 3e38
    model = SnapshotEnsembleClassifier(Steep, n_chains=n_chains, members="stacked", **QUICK)
    with pytest.raises(ValueError, match=r"Got X \(or X_val\) with the row 7, for which"):
        model.fit(X, y, X_val=X_val, y_val=y[::5])
    model.fit(X, y, X_val=X[::5], y_val=y[::5])
    before = model.member_weights_
    with pytest.raises(ValueError, match="with the row 7, for which"):
        model.refit_members(X_val, y[::5])
    np.testing.assert_array_equal(model.member_weights_, before)


def test_a_budget_that_was_too_short_is_told(digits):
    X, y = (part[:200] for part in digits)
    model = SnapshotEnsembleClassifier(n_chains=2, n_cycles=3, cycle_mult=1, random_state=0)
    expected = r"Got max_epochs=1 and n_cycles=3, but expected a budget .* or more n_cycles\."
    with pytest.warns(ConvergenceWarning, match=expected):
        model.set_params(max_epochs=1).fit(X, y)
    first, before, last = -model.cycle_scores_
    assert before - last > 0.1 * first
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model.set_params(max_epochs=30).fit(X, y)
        model.set_params(max_epochs=1).partial_fit(X, y)  # of which nobody expects an end


def test_a_default_fit_has_converged(iris, diabetes):
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        SnapshotEnsembleClassifier(random_state=0).fit(*iris)
        SnapshotEnsembleRegressor(random_state=0).fit(*diabetes)


def test_the_gain_of_the_last_cycle_is_a_part_of_the_loss_after_the_first():
    def gain(*losses):
        unseen = object.__new__(UnseenRows)
        unseen.cycles = [Cycle(None, None, None, loss) for loss in losses]
        return unseen.last_gain()

    assert gain(2.0, 1.0, 0.5) == 0.25
    assert gain(2.0, 1.0) == 0  # of two cycles the second takes off much
    assert gain(1.0) == gain(1.0, 0.5, 0.6) == gain(0.3, 0.5, 0.4) == gain(0.0, 0.0) == 0


@pytest.mark.parametrize("block", [7, 1000])
def test_cycles_are_combined_block_by_block(digits, monkeypatch, block):
    monkeypatch.setattr(unseen, "_BLOCK", block)
    X, y = digits
    model = SnapshotEnsembleClassifier(n_chains=3, members="all", **QUICK).fit(X, y)
    assert_from_the_chain_that_left_it_out(model, X)


def test_a_rule_may_write_on_what_it_is_given(digits):
    """What it is given are copies where the fit itself reads the arrays."""
    X, y = digits

    def clean(predictions, y, sample_weight):
        return np.ones(len(predictions))

    def writing(predictions, y, sample_weight):
        predictions[:], y[:], sample_weight[:] = 0.5, 0, 1
        return np.ones(len(predictions))

    model = SnapshotEnsembleClassifier(n_chains=3, **QUICK)
    first, second = (clone(model).set_params(members=rule).fit(X, y) for rule in (clean, writing))
    np.testing.assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    np.testing.assert_array_equal(first.oof_decision_function_, second.oof_decision_function_)


def test_chains_that_predict_beside_each_other_change_no_bit(digits, monkeypatch):
    asked, whole = [], unseen.in_threads

    def in_threads(tasks, n_threads):
        asked.append((len(tasks), n_threads))
        return whole(tasks, n_threads)

    monkeypatch.setattr(unseen, "in_threads", in_threads)
    made = {}
    for n in (1, 2):
        monkeypatch.setattr("skensemble._training.threads.Threads.n_at_home", n)
        model = SnapshotEnsembleClassifier(n_chains=3, **QUICK).fit(*digits)
        made[n] = model.oof_decision_function_
    assert asked == [(3, 2)] * model.n_cycles_
    np.testing.assert_array_equal(made[1], made[2])
