"""Rules that look at the number of rows alone."""

import math

import numpy as np
import pytest
from conftest import Mlp
from sklearn.base import clone

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble.defaults import (
    auto_batch_size,
    auto_column_dropout,
    auto_hidden,
    auto_lr,
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


OURS, OWN = {"is_built_in": True}, {"is_built_in": False}


def test_batches_are_a_power_of_two_from_32_to_128():
    rows = [10, 12 * 32, 543, 544, 12 * 64, 1086, 1087, 10**6]
    assert [auto_batch_size(n, **OURS) for n in rows] == [32, 32, 32, 64, 64, 64, 128, 128]
    assert [auto_batch_size(2 * n, **OWN) for n in rows] == [32, 32, 32, 64, 64, 64, 128, 128]


def test_few_rows_of_values_train_at_a_higher_rate():
    assert {auto_lr(n, **OURS, is_classifier=True) for n in (5, 3_000, 10**6)} == {0.008}
    assert {auto_lr(n, **OWN, is_classifier=True) for n in (5, 3_000, 10**6)} == {0.008}
    assert {auto_lr(n, **OWN, is_classifier=False) for n in (5, 3_000, 10**6)} == {0.012}
    rates = [auto_lr(n, **OURS, is_classifier=False) for n in (5, 1_000, 1_732, 3_000, 10**6)]
    assert rates == pytest.approx([0.018, 0.018, 0.018 / 1.5**0.5, 0.012, 0.012], rel=1e-3)


@pytest.mark.parametrize(
    ("module", "lr", "batch_size", "beta", "mult"),
    [(None, 0.018, 32, 0.97, 2.0), (Mlp, 0.012, 32, 0.99, 1.5)],
)
def test_a_module_of_the_users_has_rules_of_its_own(diabetes, module, lr, batch_size, beta, mult):
    """Its members have equal weights, the short cycles' too."""
    model = SnapshotEnsembleRegressor(module).fit(*diabetes)
    assert model.net_.lr == pytest.approx(lr)
    assert model.net_.batch_size == batch_size
    assert model.net_.optimizer_.param_groups[0]["betas"] == (0.9, beta)
    models = [model, SnapshotEnsembleClassifier(module), clone(model).set_params(cycle_mult=1.0)]
    tables = [model._timetable((442, 10), is_one_cycle=False) for model in models]
    assert [table.cycle_mult for table in tables] == [mult, 1.5, 1.0]


def test_epochs_make_so_many_steps_within_bounds():
    for kind, n_steps, most in ((OURS, 3_200, 200), (OWN, 4_000, 250)):
        few = [auto_max_epochs(n, **kind) for n in (5, 200, 260, 500, 10**6)]
        assert few == [100, 100, 130, most, 10]
        for n in (3_000, 30_000):
            steps_per_epoch = math.ceil(n / auto_batch_size(n, **kind))
            steps = auto_max_epochs(n, **kind) * steps_per_epoch
            assert abs(steps - n_steps) <= steps_per_epoch / 2


def test_tables_with_more_columns_than_rows_are_gone_over_less_often():
    assert auto_max_epochs(500, 500, **OURS) == auto_max_epochs(500, **OURS) == 200
    assert [auto_max_epochs(500, p, **OURS) for p in (1000, 2000, 10**6)] == [100, 50, 10]
    # Up to 32 rows nothing may hang on their number.
    few = {auto_max_epochs(n, 300, **OURS) for n in (2, 15, 27, 32)}
    assert few == {auto_max_epochs(32, 300, **OURS)}
    assert {auto_max_epochs(n, 128, **OURS) for n in (2, 32)} == {100}
