"""One call, checked."""

import numpy as np
import pytest

from skensemble import SnapshotEnsembleClassifier
from skensemble.call import Given, read_call


def test_a_call_knows_its_rows_and_folds(iris):
    X, y = iris
    model = SnapshotEnsembleClassifier(n_chains=4, random_state=3)
    call = read_call(model, Given(X, y, sample_weight=np.arange(1.0, 151.0)), None)
    assert (call.shape, call.n_before, call.was_limited) == ((150, 4), 0, False)
    assert call.seed == 3
    assert call.held is None
    assert call.data.loss_weight.mean() == pytest.approx(1)
    left_out = np.concatenate(call.chosen.folds.left_out)
    np.testing.assert_array_equal(np.sort(left_out), np.arange(150))


def test_a_later_call_goes_on_with_the_seed_and_the_chains_of_the_first(iris):
    model = SnapshotEnsembleClassifier(n_chains=3, n_cycles=2, max_epochs=2, random_state=3).fit(
        *iris
    )
    model.set_params(random_state=8)
    call = read_call(model, Given(*iris, is_one_cycle=True), model._fitted_)
    assert (call.seed, call.n_before, call.chosen.n_chains) == (3, 2, 3)


def test_rows_given_to_judge_by_are_read_as_those_of_training_are(iris):
    X, y = iris
    model = SnapshotEnsembleClassifier(random_state=0)
    call = read_call(model, Given(X, y, X_val=X[:9], y_val=y[:9]), None)
    assert call.held.source.n_samples == 9
    assert call.chosen.folds is None
    with pytest.raises(ValueError, match="X_val"):
        read_call(model, Given(X, y, X_val=X[:9, :2], y_val=y[:9]), None)
