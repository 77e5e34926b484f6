"""Members chosen again, by other rows."""

import numpy as np

from skensemble import SnapshotEnsembleClassifier
from skensemble.choosing import choose_members


def test_members_are_chosen_by_other_rows(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(max_epochs=4, n_cycles=3, random_state=0).fit(X, y)
    model.set_params(members=1)
    chosen = choose_members(model, model._fitted_, X[:50], y[:50], None)
    np.testing.assert_allclose(chosen.stage_weights[-1], [0, 0, 1])
    assert chosen.nets is model._fitted_.nets
