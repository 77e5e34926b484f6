"""Intervals, sets and where doubt comes from, of fitted ensembles."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    make_friedman1,
)
from sklearn.model_selection import GroupKFold, KFold, train_test_split
from torch import nn

import skensemble
from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor

QUICK = {"n_cycles": 3, "max_epochs": 6, "random_state": 0}


@pytest.fixture(scope="module")
def regressor():
    """Return a regressor of five chains, whose folds are known, with its rows."""
    X, y = load_diabetes(return_X_y=True)
    model = SnapshotEnsembleRegressor(**QUICK, validation=KFold(5))
    return model.fit(X[:400], y[:400]), X, y


@pytest.fixture(scope="module")
def classifier():
    X, y = load_iris(return_X_y=True)
    X_train, X_test, y_train, _ = train_test_split(X, y, test_size=30, random_state=0)
    model = SnapshotEnsembleClassifier(**QUICK, validation=KFold(5)).fit(X_train, y_train)
    return model, X_test, y_train


def of_chains(model, members):
    """Return what each chain says with the weights of its cycles."""
    by_chain = members.reshape(model.n_cycles_, model.n_chains_, *members.shape[1:])
    weights = model.member_weights_.reshape(model.n_cycles_, -1)[:, 0] * model.n_chains_
    return np.tensordot(weights, by_chain, 1)


def fold_of(n, k):
    """Return the fold of each row under KFold(k)."""
    fold = np.empty(n, int)
    for i, (_, test) in enumerate(KFold(k).split(np.empty(n))):
        fold[test] = i
    return fold


def test_intervals_are_cv_plus_of_the_chains(regressor):
    model, X, y = regressor
    residuals = np.abs(y[:400] - model.oof_prediction_)
    centers = of_chains(model, model.predict_members(X[400:]))[fold_of(400, 5)]
    low = np.sort(centers - residuals[:, None], axis=0)[int(np.floor(0.1 * 401)) - 1]
    high = np.sort(centers + residuals[:, None], axis=0)[int(np.ceil(0.9 * 401)) - 1]
    found = model.predict_interval(X[400:])
    np.testing.assert_allclose(found, np.column_stack([low, high]), rtol=1e-9)


def test_each_chain_is_the_fit_that_leaves_its_fold_out():
    """CV+ needs K separate fits: those of the same seeds are the chains."""
    X, y = load_diabetes(return_X_y=True)
    model = SnapshotEnsembleRegressor(
        nn.LazyLinear, module__out_features=1, n_cycles=2, max_epochs=4, members="all",
        validation=KFold(3), optimizer="SGD", lr=0.01, random_state=0,
    ).fit(X[:300], y[:300])  # fmt: skip
    centers = of_chains(model, model.predict_members(X[300:]))
    assert centers.std(axis=0).min() > 0
    oof = np.empty(300)
    for k, (_, test) in enumerate(KFold(3).split(X[:300])):
        oof[test] = of_chains(model, model.predict_members(X[test]))[k]
    np.testing.assert_allclose(oof, model.oof_prediction_, rtol=1e-6)


def test_rows_given_to_judge_by_make_split_conformal_intervals():
    X, y = load_diabetes(return_X_y=True)
    model = SnapshotEnsembleRegressor(**QUICK, n_chains=2)
    model.fit(X[:300], y[:300], X_val=X[300:400], y_val=y[300:400])
    residuals = np.sort(np.abs(y[300:400] - model.predict(X[300:400])))
    width = residuals[int(np.ceil(0.9 * 101)) - 1]
    expected = model.predict(X[400:])[:, None] + [-width, width]
    np.testing.assert_allclose(model.predict_interval(X[400:]), expected, rtol=1e-6)


def test_members_chosen_by_other_rows_are_judged_by_them():
    X, y = load_diabetes(return_X_y=True)
    model = SnapshotEnsembleRegressor(nn.LazyLinear, module__out_features=1, **QUICK)
    model.fit(X[:300], y[:300])
    with pytest.raises(ValueError, match=r"call refit_members"):
        model.predict_interval(X)
    model.refit_members(X[300:400], y[300:400])
    width = np.diff(model.predict_interval(X[400:]), axis=1)
    residuals = np.sort(np.abs(y[300:400] - model.predict(X[300:400])))
    np.testing.assert_allclose(width, 2 * residuals[90], rtol=1e-5)


@pytest.mark.parametrize("method", ["cv+", "normalized"])
def test_new_rows_are_covered(method):
    X, y = make_friedman1(4_000, noise=1.0, random_state=0)
    y *= 1 + 3 * (X[:, 0] > 0.5)  # errors differ in size
    model = SnapshotEnsembleRegressor(max_epochs=40, random_state=0).fit(X[:1000], y[:1000])
    shares = (0.8, 0.9, 0.95)
    found = model.predict_interval(X[1000:], shares, method=method)
    for share, interval in zip(shares, found, strict=True):
        covered = ((interval[:, 0] <= y[1000:]) & (y[1000:] <= interval[:, 1])).mean()
        assert share - 0.025 < covered < share + 0.075
    widths = np.diff(model.predict_interval(X[1000:], method=method), axis=1)[:, 0]
    if method == "normalized":
        assert widths[X[1000:, 0] > 0.5].mean() > 1.2 * widths[X[1000:, 0] < 0.5].mean()


def test_each_output_is_covered_for_itself(regressor):
    X, y = load_diabetes(return_X_y=True)
    both = np.column_stack([y, -10 * y])
    model = SnapshotEnsembleRegressor(**QUICK).fit(X, both)
    found = model.predict_interval(X[:50], [0.5, 0.9])
    assert found.shape == (2, 50, 2, 2)
    assert (np.diff(found, axis=2) > 0).all()
    one = model.predict_interval(X[:50], 0.9, method="normalized")
    assert one.shape == (50, 2, 2)


def test_whole_groups_are_left_out():
    X, y = load_diabetes(return_X_y=True)
    groups = np.arange(len(y)) // 20
    model = SnapshotEnsembleRegressor(**QUICK, validation=GroupKFold(4)).fit(X, y, groups=groups)
    assert model.predict_interval(X).shape == (442, 2)
    assert model._fitted_.verdict.conformity.n_samples == len(y)


def test_of_many_rows_some_say_how_far_off_predictions_are(monkeypatch):
    X, y = load_diabetes(return_X_y=True)
    y = np.where(np.arange(len(y)) % 2, y, X[:, 2] * 1000)  # every other row is noisy
    of_all = SnapshotEnsembleRegressor(**QUICK).fit(X, y)
    monkeypatch.setattr("skensemble.unseen._MOST_JUDGED", 220)
    model = SnapshotEnsembleRegressor(**QUICK).fit(X, y)
    found = model._fitted_.verdict.conformity
    residuals = np.abs(y - of_all.oof_prediction_)
    assert found.n_samples == 220
    assert np.isin(found.scores[:, 0].round(6), residuals.round(6)).all()
    assert len(np.unique(found.fold)) == model.n_chains_
    widths = [np.diff(m.predict_interval(X)).mean() for m in (of_all, model)]
    assert widths[1] == pytest.approx(widths[0], rel=0.1)


def test_of_many_rows_those_of_rare_classes_all_count(monkeypatch):
    X, y = load_digits(return_X_y=True)
    y = np.where(y == 8, 1, 0)
    monkeypatch.setattr("skensemble.unseen._MOST_JUDGED", 400)
    model = SnapshotEnsembleClassifier(**QUICK).fit(X, y)
    found = model._fitted_.verdict.conformity
    assert found.count_by_class(2) == [200, (y == 1).sum()]
    mass = np.bincount(found.labels, found.weight)
    np.testing.assert_allclose(mass / mass.sum(), np.bincount(y) / len(y))
    assert model.predict_set(X)[range(len(y)), y].mean() > 0.85


def test_rows_without_weight_do_not_count():
    X, y = load_diabetes(return_X_y=True)
    weight = np.ones(len(y))
    weight[:100] = 0
    model = SnapshotEnsembleRegressor(**QUICK).fit(X, y, sample_weight=weight)
    assert model._fitted_.verdict.conformity.n_samples == len(y) - 100


@pytest.mark.parametrize("coverage", [0, 1, -0.1, "most", None, [], [0.5, 1.0], np.nan, [[0.5]]])
def test_a_coverage_is_a_share(regressor, classifier, coverage):
    for call in (regressor[0].predict_interval, classifier[0].predict_set):
        X = regressor[1] if "interval" in call.__name__ else classifier[1]
        with pytest.raises(
            ValueError, match=r"Got coverage=.*, but expected shares between 0 and 1"
        ):
            call(X, coverage)


def test_too_few_rows_are_refused_with_their_number(regressor, classifier):
    with pytest.raises(ValueError, match=r"400 unseen rows, but expected at least 999"):
        regressor[0].predict_interval(regressor[1], 0.999)
    with pytest.raises(ValueError, match=r"120 unseen rows, but expected at least 999"):
        classifier[0].predict_set(classifier[1], 0.999)
    with pytest.raises(ValueError, match=r"unseen rows of the class .*, but expected at least 99"):
        classifier[0].predict_set(classifier[1], 0.99, class_conditional=True)
    with pytest.raises(ValueError, match=r"Got method='cv', but expected one of"):
        regressor[0].predict_interval(regressor[1], method="cv")


def test_sets_cover_new_rows_and_are_never_empty():
    random = np.random.default_rng(0)
    X = random.normal(size=(3_000, 4))
    p = np.exp(X[:, :3]) / np.exp(X[:, :3]).sum(axis=1, keepdims=True)
    y = np.array([random.choice(3, p=row) for row in p])
    model = SnapshotEnsembleClassifier(max_epochs=40, random_state=0).fit(X[:1000], y[:1000])
    rows = np.arange(2_000)
    for share in (0.8, 0.9):
        sets = model.predict_set(X[1000:], share)
        assert sets.any(axis=1).all()
        assert sets[rows, model.predict(X[1000:])].all()
        assert sets[rows, y[1000:]].mean() > share - 0.02
        drawn = model.predict_set(X[1000:], share, random_state=0)
        assert abs(drawn[rows, y[1000:]].mean() - share) < 0.03
        np.testing.assert_array_equal(drawn, model.predict_set(X[1000:], share, random_state=0))


def test_sets_of_a_sure_classifier_are_small():
    """Its probabilities are 1 to the last digit: which class comes second means nothing then."""
    X, y = load_digits(return_X_y=True)
    model = SnapshotEnsembleClassifier(max_epochs=60, n_chains=2, random_state=0)
    model.fit(X[:900], y[:900])
    right = (model.predict(X[900:]) == y[900:]).mean()
    sets = model.predict_set(X[900:], 0.9)
    assert sets[np.arange(897), y[900:]].mean() >= right > 0.9
    assert sets.sum(axis=1).mean() < 1.3


def test_a_rare_class_is_covered_where_asked():
    X, y = load_breast_cancer(return_X_y=True)
    X = X + np.random.default_rng(0).normal(size=X.shape) * 2 * X.std(axis=0)
    rare = np.flatnonzero(y == 0)[60:]
    X, y = np.delete(X, rare, axis=0), np.delete(y, rare)
    model = SnapshotEnsembleClassifier(max_epochs=40, random_state=0).fit(X[::2], y[::2])
    is_rare = y[1::2] == 0
    plain = model.predict_set(X[1::2], 0.8)[is_rare, 0].mean()
    own = model.predict_set(X[1::2], 0.8, class_conditional=True)[is_rare, 0].mean()
    assert own >= max(plain, 0.65)


def test_class_weights_are_no_frequencies():
    X, y = load_iris(return_X_y=True)
    model = SnapshotEnsembleClassifier(**QUICK, class_weight={0: 5, 1: 1, 2: 1}).fit(X, y)
    assert model._fitted_.verdict.conformity.weight is None


def test_doubt_of_classes_is_entropy(classifier):
    model, X, _ = classifier
    members, weights = model.predict_members(X), model.member_weights_
    doubt = model.predict_uncertainty(X)
    np.testing.assert_allclose(doubt.total, entropy(np.tensordot(weights, members, 1), axis=1))
    np.testing.assert_allclose(doubt.aleatoric, weights @ entropy(members, axis=2), rtol=1e-9)
    np.testing.assert_allclose(doubt.total, doubt.aleatoric + doubt.epistemic, rtol=1e-9)
    assert (doubt.epistemic > 0).all()


def test_doubt_of_values_is_variance(regressor):
    model, X, y = regressor
    members, weights = model.predict_members(X[400:]), model.member_weights_
    doubt = model.predict_uncertainty(X[400:])
    variance = weights @ (members - weights @ members) ** 2
    np.testing.assert_allclose(doubt.epistemic, variance, rtol=1e-9)
    noise = ((y[:400] - model.oof_prediction_) ** 2).mean()
    np.testing.assert_allclose(doubt.aleatoric, noise, rtol=1e-9)
    np.testing.assert_allclose(doubt.total, doubt.aleatoric + doubt.epistemic)


def test_doubt_of_values_without_unseen_rows_has_no_noise():
    X, y = load_diabetes(return_X_y=True)
    model = SnapshotEnsembleRegressor(**QUICK, validation=None).fit(X, y)
    doubt = model.predict_uncertainty(X)
    assert np.isnan(doubt.aleatoric).all()
    assert np.isnan(doubt.total).all()
    assert np.isfinite(doubt.epistemic).all()


def test_outputs_on_another_scale_than_y_make_no_intervals():
    X, y = load_diabetes(return_X_y=True)
    model = SnapshotEnsembleRegressor(**QUICK, criterion=nn.PoissonNLLLoss, lr=0.001)
    model.fit(X, y / 100)
    with pytest.raises(ValueError, match="whose outputs are on the scale of y"):
        model.predict_interval(X)


def test_a_file_keeps_what_intervals_and_sets_need(regressor, classifier, tmp_path):
    for model, X, call in (
        (regressor[0], regressor[1], "predict_interval"),
        (classifier[0], classifier[1], "predict_set"),
    ):
        model.save(tmp_path / "file.model")
        loaded = skensemble.load(tmp_path / "file.model")
        np.testing.assert_array_equal(getattr(loaded, call)(X), getattr(model, call)(X))


def overconfident(**parameters):
    """Return an ensemble that is too sure: a fifth of the labels are wrong, and it trains long."""
    random = np.random.default_rng(0)
    X = random.normal(size=(700, 5))
    y = (X[:, 0] > 0).astype(int)
    wrong = random.uniform(size=700) < 0.2
    y[wrong] = 1 - y[wrong]
    torch.manual_seed(0)
    model = SnapshotEnsembleClassifier(
        nn.Sequential(nn.Linear(5, 256), nn.ReLU(), nn.Linear(256, 2)), n_cycles=2, max_epochs=60,
        members="all", early_stopping=False, random_state=0, **parameters,
    )  # fmt: skip
    return model.fit(X[:200], y[:200], X_val=X[200:450], y_val=y[200:450]), X[450:], y[450:]


def test_a_temperature_cools_what_is_too_sure():
    model, X, y = overconfident(calibrate="auto")
    plain, X, y = overconfident()
    assert model.temperature_ > 1.5
    assert plain.temperature_ == 1
    p, q = model.predict_proba(X), plain.predict_proba(X)
    powers = q ** (1 / model.temperature_)
    np.testing.assert_allclose(p, powers / powers.sum(axis=1, keepdims=True), rtol=1e-9)
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    loss = [-np.log(values[np.arange(len(y)), y]).mean() for values in (p, q)]
    assert loss[0] < 0.9 * loss[1]
    *_, last = model.staged_predict_proba(X)
    np.testing.assert_array_equal(last, p)
    assert model.validation_score_ == plain.validation_score_


def test_a_temperature_that_pays_nothing_is_1(classifier):
    X, y = load_breast_cancer(return_X_y=True)
    model = SnapshotEnsembleClassifier(max_epochs=40, random_state=0, calibrate="auto").fit(X, y)
    always = SnapshotEnsembleClassifier(max_epochs=40, random_state=0, calibrate=True).fit(X, y)
    assert model.temperature_ == 1
    assert always.temperature_ != 1
