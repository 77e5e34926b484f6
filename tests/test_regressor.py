"""The regressor."""

import numpy as np
import pytest
from conftest import Flat, Mlp
from sklearn.base import clone
from sklearn.metrics import r2_score

from skensemble import SnapshotEnsembleRegressor


def test_wrong_targets_of_regression_are_refused(diabetes):
    X, y = diabetes
    model = SnapshotEnsembleRegressor(max_epochs=1)
    with pytest.raises(ValueError, match="contains infinity"):
        model.fit(X, np.where(y == y[0], np.inf, y))
    with pytest.raises(ValueError, match=r"expected \(8, 2\): one value for each of 2 outputs"):
        model.set_params(module=Flat).fit(X, np.stack([y, y], axis=1))


@pytest.mark.parametrize("module", [None, Mlp, Flat])
def test_one_output_is_a_vector(diabetes, module):
    X, y = diabetes
    model = SnapshotEnsembleRegressor(module, max_epochs=30, random_state=0, lr=0.05)
    assert model.fit(X, y).predict(X).shape == (442,)
    assert model.predict(X).dtype == np.float64
    assert model.predict_members(X).shape == (model.n_cycles_ * model.n_chains_, 442)
    assert model.score(X, y) > 0.3  # a broadcast loss predicts the mean: 0
    np.testing.assert_array_equal(
        clone(model).fit(X, y.reshape(-1, 1)).predict(X), model.predict(X)
    )


def test_several_outputs(diabetes):
    X, y = diabetes
    Y = np.stack([y, -10 * y + 3, np.full_like(y, 7.0)], axis=1)
    model = SnapshotEnsembleRegressor(max_epochs=20, random_state=0).fit(X, Y)
    assert model.predict(X).shape == Y.shape
    assert model.predict_members(X).shape == (model.n_cycles_ * model.n_chains_, *Y.shape)
    assert r2_score(Y[:, :2], model.predict(X)[:, :2]) > 0.5
    np.testing.assert_allclose(model.predict(X)[:, 2], 7, atol=0.5)
