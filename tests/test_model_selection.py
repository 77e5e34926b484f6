"""Inside scikit-learn's searches and pipelines, on real data."""

import pickle

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor


@pytest.fixture
def model():
    return SnapshotEnsembleClassifier(module__hidden=(32,), max_epochs=10, random_state=0)


def test_grid_search_over_cycles_equals_fits_by_hand(cancer, model):
    X, y = cancer
    grid = {"n_cycles": [1, 2, 5], "members": ["all", 5]}
    search = GridSearchCV(model, grid, cv=2, scoring="neg_log_loss").fit(X, y)
    assert search.best_estimator_.n_cycles_ == search.best_params_["n_cycles"]
    for params, score in zip(
        search.cv_results_["params"], search.cv_results_["split0_test_score"], strict=True
    ):
        by_hand = cross_val_score(
            clone(model).set_params(**params), X, y, cv=2, scoring="neg_log_loss"
        )
        assert score == by_hand[0]
    assert search.score(X, y) > -0.1


def test_grid_search_over_every_kind_of_parameter(cancer, model):
    grid = {
        "lr": [0.001, 0.01],
        "module__hidden": [(8,), (8, 8)],
        "optimizer__weight_decay": [0.0, 0.1],
        "schedule": ["cosine", "triangular"],
    }
    model.set_params(max_epochs=2)
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(*cancer)
    assert len(set(np.round(search.cv_results_["mean_test_score"], 6))) > 4


def test_a_grid_in_a_pipeline_may_change_the_number_of_columns(digits, model):
    pipeline = Pipeline([("scale", StandardScaler()), ("pca", PCA(20)), ("net", model)])
    pipeline.set_params(net__max_epochs=60)
    grid = {"pca__n_components": [5, 20], "net__n_cycles": [2, 4]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(*digits)
    assert search.best_params_["pca__n_components"] == 20
    assert search.best_estimator_[-1].net_.module_.layers[0].in_features == 20
    theirs = clone(pipeline).set_params(net=MLPClassifier((32,), max_iter=1000, random_state=0))
    assert search.best_score_ >= cross_val_score(theirs, *digits, cv=2).mean() - 0.01


def test_scores_are_those_of_a_network_that_works(digits, diabetes):
    """As good as scikit-learn's own networks on the same data."""
    X, y = digits
    X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
    ours = SnapshotEnsembleClassifier(random_state=0).fit(X_train, y_train)
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
