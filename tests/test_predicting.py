"""What is answered for new rows: both kinds of estimator answer alike."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, load_iris

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor

KINDS = {
    "classes": (SnapshotEnsembleClassifier, load_iris, "predict_proba", "staged_predict_proba"),
    "values": (SnapshotEnsembleRegressor, load_diabetes, "predict", "staged_predict"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_the_weighted_mean_of_the_members(kind):
    cls, load, ask, stages = KINDS[kind]
    X, y = load(return_X_y=True)
    model = cls(n_cycles=3, n_chains=2, max_epochs=6, random_state=0).fit(X, y)
    answer = getattr(model, ask)(X)
    members = model.predict_members(X)
    np.testing.assert_allclose(answer, np.tensordot(model.member_weights_, members, 1), rtol=1e-12)
    *_, last = getattr(model, stages)(X)
    np.testing.assert_array_equal(last, answer)
