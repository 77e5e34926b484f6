"""What classifier and regressor share."""

import pickle

import joblib
import numpy as np
import pytest
from conftest import Mlp
from sklearn.base import clone
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor


def test_predict_writes_nothing(iris):
    """Rule 9."""
    X, y = iris
    model = SnapshotEnsembleClassifier(max_epochs=2).fit(X, y)
    before = {name: id(value) for name, value in vars(model).items()}
    payload = pickle.dumps(model)
    model.predict(X)
    list(model.staged_predict_proba(X))
    assert {name: id(value) for name, value in vars(model).items()} == before
    assert pickle.dumps(model) == payload


def test_read_only_input_is_left_alone(digits):
    """Rule 9."""
    X = digits[0].astype(np.float32)
    before = X.copy()
    X.flags.writeable = False
    SnapshotEnsembleClassifier(Mlp, max_epochs=1).fit(X, digits[1]).predict(X)
    np.testing.assert_array_equal(X, before)


@pytest.mark.filterwarnings("default")  # the checks provoke warnings of their own
@parametrize_with_checks([SnapshotEnsembleClassifier(), SnapshotEnsembleRegressor()])
def test_scikit_learns_own_checks(estimator, check):
    """Promise 6."""
    check(estimator)


def test_a_subclass_keeps_its_own_fitted_attributes(iris):
    class Scaled(SnapshotEnsembleClassifier):
        def fit(self, X, y):
            self.scale_ = X.max()
            return super().fit(X / self.scale_, y)

        def predict(self, X):
            return super().predict(X / self.scale_)

    model = Scaled(max_epochs=30, random_state=0)
    assert model.fit(*iris).fit(*iris).score(*iris) > 0.9


def test_an_unfitted_estimator_hashes_and_pickles_small(iris):
    """Rule 12."""
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, random_state=0)
    before = joblib.hash(clone(model))
    assert joblib.hash(clone(model.fit(*iris))) == before
    assert len(pickle.dumps(clone(model))) < 10_000


def test_an_unfitted_estimator_says_so(iris):
    for method in ("predict", "predict_proba", "predict_members", "predict_log_proba"):
        with pytest.raises(NotFittedError):
            getattr(SnapshotEnsembleClassifier(), method)(iris[0])
    assert not hasattr(SnapshotEnsembleClassifier(), "snapshots_")
    with pytest.raises(NotFittedError):
        next(iter(SnapshotEnsembleRegressor().staged_predict(iris[0])))


def test_a_pickle_tells_which_version_wrote_it(iris, monkeypatch):
    model = SnapshotEnsembleClassifier(max_epochs=2, n_cycles=2, random_state=0)
    before = joblib.hash(clone(model))
    payload = pickle.dumps(model.fit(*iris))
    assert joblib.hash(clone(model)) == before
    loaded = pickle.loads(payload)  # warnings are errors here
    assert vars(loaded).keys() == vars(model).keys()
    monkeypatch.setattr("skensemble.__version__", "99.0")
    with pytest.warns(InconsistentVersionWarning, match="expected one of skensemble 99"):
        other = pickle.loads(payload)
    np.testing.assert_array_equal(other.predict_proba(iris[0]), model.predict_proba(iris[0]))
    state = {name: value for name, value in vars(model).items() if "version" not in name}
    with pytest.warns(InconsistentVersionWarning, match="that an older skensemble wrote"):
        SnapshotEnsembleClassifier().__setstate__(state)
