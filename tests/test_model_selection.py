"""Inside scikit-learn's searches and pipelines, on real data."""

import pickle

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.feature_selection import SelectKBest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, roc_auc_score
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    StratifiedKFold,
    cross_val_score,
    train_test_split,
)
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble.model_selection import cycle_curve


@pytest.fixture
def model():
    return SnapshotEnsembleClassifier(module__hidden=(32,), max_epochs=10, random_state=0)


def test_grid_search_over_cycles_equals_fits_by_hand(cancer, model):
    X, y = cancer
    grid = {"n_cycles": [1, 5], "members": ["all", 3]}
    search = GridSearchCV(model, grid, cv=2, scoring="neg_log_loss").fit(X, y)
    train, test = next(StratifiedKFold(2).split(X, y))
    assert search.best_estimator_.n_cycles_ == search.best_params_["n_cycles"]
    for params, score in zip(
        search.cv_results_["params"], search.cv_results_["split0_test_score"], strict=True
    ):
        by_hand = clone(model).set_params(**params).fit(X[train], y[train])
        expected = -log_loss(y[test], by_hand.predict_proba(X[test]))
        assert score == pytest.approx(expected, rel=1e-12)
    assert search.score(X, y) > -0.1


def test_grid_search_over_every_kind_of_parameter(cancer, model):
    changed = {
        "lr": 0.001,
        "module__hidden": (8, 8),
        "optimizer__weight_decay": 0.9,
        "schedule": "triangular",
    }
    grid = [{}, *({name: [value]} for name, value in changed.items())]
    model.set_params(max_epochs=2)
    search = GridSearchCV(
        model, grid, cv=2, scoring="neg_log_loss", error_score="raise", refit=False
    )
    scores = search.fit(*cancer).cv_results_["mean_test_score"]
    assert len({*scores}) == len(grid)  # each has its effect


def test_a_grid_in_a_pipeline_may_change_the_number_of_columns(digits, model):
    pipeline = Pipeline([("scale", StandardScaler()), ("pca", PCA(20)), ("net", model)])
    pipeline.set_params(net__max_epochs=60)
    grid = {"pca__n_components": [5, 20]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(*digits)
    assert search.best_params_["pca__n_components"] == 20
    assert search.best_estimator_[-1].n_features_in_ == 20
    assert search.best_estimator_[-1].net_.module_.layers[0].in_features > 20  # with pieces
    theirs = clone(pipeline).set_params(net=MLPClassifier((32,), max_iter=1000, random_state=0))
    assert search.best_score_ >= cross_val_score(theirs, *digits, cv=2).mean() - 0.01


def test_scores_are_those_of_a_network_that_works(digits, diabetes):
    """As good as scikit-learn's own networks on the same data."""
    X, y = digits
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    ours = SnapshotEnsembleClassifier(max_epochs=40, random_state=0).fit(X_train, y_train)
    theirs = make_pipeline(StandardScaler(), MLPClassifier(max_iter=1000, random_state=0))
    assert ours.score(X_test, y_test) >= theirs.fit(X_train, y_train).score(X_test, y_test) - 0.01

    scores = cross_val_score(
        SnapshotEnsembleRegressor(max_epochs=15, random_state=0), *diabetes, cv=3
    )
    assert scores.mean() > 0.4


@pytest.mark.parametrize(
    "copied",
    [
        lambda est, path: pickle.loads(pickle.dumps(est)),
        lambda est, path: joblib.load(joblib.dump(est, path / "model.joblib")[0]),
        lambda est, path: joblib.load(joblib.dump(est, path / "m.joblib")[0], mmap_mode="r"),
    ],
    ids=["pickle", "joblib", "joblib-mmap"],
)
def test_copies_predict_the_same(cancer, model, copied, tmp_path):
    X, y = cancer
    model.fit(X, y)
    again = copied(model, tmp_path)
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
    assert again.partial_fit(X, y).n_cycles_ == model.n_cycles_ + 1


def test_the_html_repr_shows_parameters(model, cancer):
    html = make_pipeline(StandardScaler(), model)._repr_html_()
    assert "SnapshotEnsembleClassifier" in html
    assert "module__hidden" in html
    assert "generated/skensemble.SnapshotEnsembleClassifier.html" in html
    assert "fitted" in model.fit(*cancer)._repr_html_()


# ------------------------------------------------------------------------------ cycle_curve


@pytest.fixture
def run(model):
    """All of whose cycles are gone through."""
    return model.set_params(n_cycles=5, cycle_mult=1.0, early_stopping=False)


def test_the_curve_of_one_fit_is_what_that_fit_says(cancer, run):
    curve = cycle_curve(run, *cancer)
    by_hand = clone(run).fit(*cancer)
    np.testing.assert_array_equal(curve.n_cycles, [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(curve.scores, by_hand.cycle_scores_)
    assert curve.estimator.validation_score_ == curve.scores[-1]
    assert not hasattr(run, "n_cycles_")


def test_the_curve_of_one_fit_is_a_score_out_of_fold(cancer, run):
    """Recomputed from the members of every chain and the rows that it left out."""
    X, y = cancer
    run.set_params(validation=KFold(4), members="all", n_cycles=3)
    curve = cycle_curve(run, X, y)
    members = curve.estimator.predict_members(X).reshape(3, 4, len(X), 2)
    unseen = np.empty((3, len(X), 2))
    for chain, (_, test) in enumerate(KFold(4).split(X)):
        unseen[:, test] = members[:, chain, test]
    for m, score in enumerate(curve.scores, start=1):
        assert score == pytest.approx(-log_loss(y, unseen[:m].mean(axis=0)), abs=1e-6)


def test_the_curve_of_folds_is_a_loop_over_them(cancer, run):
    X, y = cancer
    expected = np.empty((5, 3))
    for fold, (train, test) in enumerate(StratifiedKFold(3).split(X, y)):
        fitted = clone(run).fit(X[train], y[train])
        for m, p in enumerate(fitted.staged_predict_proba(X[test])):
            expected[m, fold] = -log_loss(y[test], p)
    curve = cycle_curve(run, X, y, cv=3)
    np.testing.assert_allclose(curve.scores, expected, rtol=1e-12)
    np.testing.assert_array_equal(curve.n_cycles, [1, 2, 3, 4, 5])
    assert curve.estimator is None
    in_processes = cycle_curve(run, X, y, cv=StratifiedKFold(3), n_jobs=2)
    np.testing.assert_array_equal(in_processes.scores, curve.scores)


def test_the_last_scores_are_those_of_cross_val_score(diabetes, digits, cancer, run):
    regressor = SnapshotEnsembleRegressor(module__hidden=(8,), max_epochs=4, random_state=0)
    votes = clone(run).set_params(voting="hard", max_epochs=4)
    named = np.array(["benign", "malignant"])[cancer[1]]
    for estimator, data, scoring in (
        (regressor, diabetes, None),
        (regressor, diabetes, "r2"),
        (run.set_params(max_epochs=4), digits, "neg_log_loss"),
        (run, (cancer[0], named), "roc_auc"),
        (votes, digits, "accuracy"),
        (run, digits, lambda est, X, y: accuracy_score(y, est.predict(X))),
    ):
        curve = cycle_curve(estimator, *data, cv=2, scoring=scoring)
        expected = cross_val_score(
            estimator, *data, cv=2, scoring=scoring or "neg_mean_squared_error"
        )
        np.testing.assert_allclose(curve.scores[-1], expected, rtol=1e-9)


def test_scores_of_several_outputs_and_every_stage(diabetes):
    X, y = diabetes
    Y = np.column_stack([y, -y, y**2])
    model = SnapshotEnsembleRegressor(module__hidden=(8,), max_epochs=4, random_state=0)
    curve = cycle_curve(model, X, Y, cv=KFold(2))
    train, test = next(KFold(2).split(X))
    stages = clone(model).fit(X[train], Y[train]).staged_predict(X[test])
    expected = [-mean_squared_error(Y[test], stage) for stage in stages]
    np.testing.assert_allclose(curve.scores[: len(expected), 0], expected, rtol=1e-12)


def test_groups_are_left_out_together_by_folds_and_chains(cancer, run):
    X, y = cancer
    groups = np.arange(len(X)) // 10
    curve = cycle_curve(run, X, y, groups=groups, cv=GroupKFold(3))
    train, test = next(GroupKFold(3).split(X, y, groups))
    fitted = clone(run).fit(X[train], y[train], groups=groups[train])
    expected = [-log_loss(y[test], p) for p in fitted.staged_predict_proba(X[test])]
    np.testing.assert_allclose(curve.scores[:, 0], expected, rtol=1e-12)

    of_one_fit = cycle_curve(run, X, y, groups=groups)
    by_hand = clone(run).fit(X, y, groups=groups)
    np.testing.assert_array_equal(of_one_fit.scores, by_hand.cycle_scores_)


def test_a_pipeline_may_end_in_an_ensemble(cancer, run):
    X, y = cancer
    groups = np.arange(len(X)) // 10
    pipeline = make_pipeline(StandardScaler(), SelectKBest(k=9), run)
    train, test = next(GroupKFold(2).split(X, y, groups))
    steps = make_pipeline(StandardScaler(), SelectKBest(k=9)).fit(X[train], y[train])
    fitted = clone(run).fit(steps.transform(X[train]), y[train], groups=groups[train])
    stages = fitted.staged_predict_proba(steps.transform(X[test]))
    curve = cycle_curve(pipeline, X, y, groups=groups, cv=GroupKFold(2), scoring="roc_auc")
    expected = [roc_auc_score(y[test], p[:, 1]) for p in stages]
    np.testing.assert_allclose(curve.scores[:, 0], expected, rtol=1e-12)

    of_one_fit = cycle_curve(pipeline, X, y)
    np.testing.assert_array_equal(of_one_fit.scores, of_one_fit.estimator[-1].cycle_scores_)
    alone = cycle_curve(Pipeline([("net", run)]), X, y, cv=2)
    np.testing.assert_array_equal(alone.scores, cycle_curve(run, X, y, cv=2).scores)


def test_a_fold_that_ends_early_keeps_its_last_score(cancer, run):
    """As the same estimator has it in cross_val_score with any larger number of cycles."""
    X, y = cancer
    run.set_params(max_epochs=40, n_cycles=20, early_stopping=True, n_iter_no_change=1)
    folds = StratifiedKFold(3)
    lengths = [clone(run).fit(X[train], y[train]).n_cycles_ for train, _ in folds.split(X, y)]
    assert min(lengths) < max(lengths) < 20
    curve = cycle_curve(run, X, y, cv=folds, scoring="neg_log_loss")
    assert curve.scores.shape == (max(lengths), 3)
    scores = cross_val_score(run, X, y, cv=folds, scoring="neg_log_loss")
    np.testing.assert_allclose(curve.scores[-1], scores, rtol=1e-12)
    for scores, length in zip(curve.scores.T, lengths, strict=True):
        assert (scores[length - 1 :] == scores[-1]).all()


@pytest.mark.parametrize(
    ("parameters", "arguments", "message"),
    [
        ({"validation": None}, {}, "Got cv=None .* expected validation="),
        ({"n_chains": 1}, {}, "Got cv=None .* expected validation="),
        ({"voting": "hard"}, {"cv": 2}, "Got scoring=None with voting='hard'"),
        ({}, {"scoring": "accuracy"}, "Got scoring='accuracy' without cv"),
        ({}, {"scoring": ["accuracy"], "cv": 2}, "expected the name of one scorer"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_the_fit(
    cancer, run, parameters, arguments, message, monkeypatch
):
    run.set_params(**parameters)
    monkeypatch.setattr(SnapshotEnsembleClassifier, "fit", None)
    with pytest.raises(ValueError, match=message):
        cycle_curve(run, *cancer, **arguments)


def test_other_estimators_and_too_few_rows_are_refused(iris, run):
    X, y = iris
    with pytest.raises(ValueError, match="Got estimator=LogisticRegression"):
        cycle_curve(LogisticRegression(), X, y, cv=2)
    with pytest.raises(ValueError, match=r"Got cv=None .* expected validation="):
        cycle_curve(run, X[40:70], y[40:70])


def test_a_scorer_gets_the_rows_of_the_fold_alone(cancer, run):
    with pytest.raises(ValueError, match="other rows"):
        cycle_curve(run, *cancer, cv=2, scoring=lambda est, X, y: est.predict(X[:3]).sum())
