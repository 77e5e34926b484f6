"""Rules that look at the number of rows alone."""

import math

import numpy as np
import pytest

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble.defaults import (
    auto_batch_size,
    auto_column_dropout,
    auto_hidden,
    auto_max_epochs,
    auto_n_chains,
)


def test_rules_of_auto_by_the_number_of_rows():
    rows = [32, 33, 127, 128, 255, 256, 9_999, 10_000, 199_999, 200_000]
    assert [auto_n_chains(n, True) for n in rows] == [1, 2, 7, 8, 8, 8, 8, 8, 8, 4]
    assert [auto_n_chains(n, False) for n in rows] == [1, 2, 7, 8, 15, 16, 16, 8, 8, 4]
    assert [auto_hidden(n, 8, True)[1] for n in (9_999, 10_000)] == [64, 128]
    assert [auto_column_dropout(n, True) for n in (199_999, 200_000)] == [0.1, 0]
    assert auto_column_dropout(400, False) == 0


@pytest.mark.parametrize(
    ("estimator", "n", "n_chains", "units"),
    [
        (SnapshotEnsembleClassifier(), 400, 8, (128, 64)),
        (SnapshotEnsembleClassifier(n_chains=9), 400, 9, (128, 64)),
        (SnapshotEnsembleRegressor(), 400, 16, (64, 64)),
        (SnapshotEnsembleRegressor(), 150, 9, (64, 64)),
        (SnapshotEnsembleRegressor(), 130, 8, (128, 128)),
        (SnapshotEnsembleRegressor(n_chains=2), 400, 2, (128, 128)),
        (SnapshotEnsembleRegressor(module__hidden=(32, 48)), 400, 16, (32, 48)),
    ],
)
def test_sizes_of_the_built_in_network(estimator, n, n_chains, units):
    X = np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    model = estimator.set_params(max_epochs=1, n_cycles=1).fit(X, y)
    assert model.n_chains_ == n_chains
    state = model.snapshots_[0]
    assert (len(state["layers.0.bias"]), len(state["layers.3.bias"])) == units


def test_auto_is_the_same_for_every_small_n(iris):
    """Rule 1."""
    X, y = iris
    order = np.random.default_rng(0).permutation(150)
    n_iter = set()
    for n in (5, 12, 31, 32):
        model = SnapshotEnsembleClassifier(module__hidden=(4,), random_state=0)
        model.fit(X[order[:n]], y[order[:n]])
        n_iter.add((model.n_iter_, len(model.net_.get_iterator(range(n)))))
        assert sum(model.history_[:, "train_batch_count"]) == model.n_iter_
    assert len(n_iter) == 1


def test_batches_are_a_power_of_two_from_32_to_128():
    rows = [10, 24 * 32, 1086, 1087, 24 * 64, 2172, 2173, 10**6]
    assert [auto_batch_size(n) for n in rows] == [32, 32, 32, 64, 64, 64, 128, 128]


def test_epochs_make_four_thousand_steps_within_bounds():
    assert [auto_max_epochs(n) for n in (5, 200, 300, 500, 10**6)] == [100, 100, 150, 250, 10]
    for n in (600, 3_000, 40_000):
        steps = auto_max_epochs(n) * math.ceil(n / auto_batch_size(n))
        assert abs(steps - 4000) <= math.ceil(n / auto_batch_size(n)) / 2


def test_tables_with_more_columns_than_rows_are_gone_over_less_often():
    assert auto_max_epochs(500, 500) == auto_max_epochs(500) == 250
    assert [auto_max_epochs(500, p) for p in (1000, 2000, 10**6)] == [125, 62, 10]
    # Up to 32 rows nothing may hang on their number.
    assert {auto_max_epochs(n, 300) for n in (2, 15, 27, 32)} == {auto_max_epochs(32, 300)}
    assert {auto_max_epochs(n, 128) for n in (2, 32)} == {100}
