"""The classifier."""

import numpy as np
from conftest import Mlp
from sklearn.base import clone
from sklearn.metrics import log_loss

from skensemble import SnapshotEnsembleClassifier


def test_hard_voting_counts_votes(cancer):
    X, y = cancer
    soft = SnapshotEnsembleClassifier(
        n_cycles=4, max_epochs=2, random_state=0, schedule="triangular", n_chains=1
    ).fit(X, y)
    hard = clone(soft).set_params(voting="hard").fit(X, y)
    votes = soft.predict_members(X).argmax(axis=2)
    ones = votes.sum(axis=0)
    assert (ones == 2).any(), "no tie to be tested"
    np.testing.assert_array_equal(hard.predict(X), (ones > 2).astype(int))
    for method in ("predict_proba", "predict_log_proba", "staged_predict_proba"):
        assert not hasattr(hard, method)
    np.testing.assert_array_equal(list(hard.staged_predict(X))[-1], hard.predict(X))
    np.testing.assert_array_equal(next(iter(hard.staged_predict(X))), votes[0])


def test_a_binary_problem_has_two_outputs(cancer):
    model = SnapshotEnsembleClassifier(max_epochs=1).fit(*cancer)
    assert model.net_.module_.layers[-1].out_features == 2
    np.testing.assert_allclose(
        model.predict_log_proba(cancer[0]), np.log(model.predict_proba(cancer[0]))
    )


def test_probabilities_are_at_most_one(iris):
    """A mean by weights of sum 1 + 1e-16 was above 1, which scikit-learn's log_loss refuses."""
    X, y = iris
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, random_state=0).fit(X, y)
    model.member_weights_ = model.member_weights_ * (1 + 1e-15)
    sure = X * 1e6
    assert model.predict_members(sure).max() == 1
    assert model.predict_proba(sure).max() == 1
    assert np.isfinite(log_loss(y, model.predict_proba(sure)))
    assert max(stage.max() for stage in model.staged_predict_proba(sure)) <= 1
