"""What the cycles are worth."""

import numpy as np
import pytest
from sklearn.metrics import log_loss

from skensemble import SnapshotEnsembleClassifier
from skensemble.weighing import of_each_chain, of_members, weigh_cycles


def test_chains_share_the_weight_of_their_cycle():
    found = of_members(np.array([[1.0, 0.0], [0.25, 0.75]]), 2)
    np.testing.assert_array_equal(found, [[0.5, 0.5, 0, 0], [0.125, 0.125, 0.375, 0.375]])


def test_without_unseen_rows_the_rule_alone_decides():
    asked = []
    weighed = weigh_cycles(asked.append, 3, 2, 2, 2, None, None)
    np.testing.assert_array_equal(weighed.stage_weights, [[1, 0, 0], [0.5, 0.5, 0], [0, 0.5, 0.5]])
    assert asked == [[2, 3, 4, 5]]  # those with a weight lie next to each other
    assert weighed.verdict is None


def test_the_verdict_is_that_of_the_unseen_predictions(iris):
    X, y = iris
    model = SnapshotEnsembleClassifier(max_epochs=8, n_cycles=3, random_state=0).fit(X, y)
    verdict = model._fitted_.verdict
    assert -verdict.cycle_scores[-1] == pytest.approx(log_loss(y, model.oof_decision_function_))
    true = model.oof_decision_function_[np.arange(len(y)), y]
    np.testing.assert_allclose(np.sort(verdict.conformity.scores[:, 1]), np.sort(true), rtol=1e-9)
    assert (np.bincount(verdict.conformity.fold) > 0).all()
    assert verdict.temperature == 1


def test_snapshots_of_a_cycle_share_its_weight_within_each_chain():
    """Two cycles of two snapshots of three chains: those of a chain are every third."""
    found = of_each_chain(np.array([0.25, 0.75]), 3, 6)
    expected = np.zeros((3, 12))
    for chain in range(3):
        expected[chain, chain::3] = [0.125, 0.125, 0.375, 0.375]
    np.testing.assert_allclose(found, expected)
