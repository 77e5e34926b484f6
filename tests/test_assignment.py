"""Which fold each row is in: rule 2, on each kind of table that it names."""

import numpy as np
import pandas as pd
import pytest

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._data.assignment import assign_folds, learn_folds
from skensemble._data.folds import Folds
from skensemble._data.hashes import group_hashes, row_hashes
from skensemble._data.sources import ArrayInput

EQUAL = np.full(8, 1 / 8)


def table(kind, seed=0, n=800):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    if kind == "bootstrap":
        return X[rng.integers(0, n, n)]
    if kind == "oversampled":
        return np.concatenate([X, np.repeat(X[:40], 19, axis=0)])
    if kind == "repeated thrice":
        return np.tile(X[: n // 3], (3, 1))
    if kind == "mostly equal":
        X[rng.random(n) < 0.9] = 1.0
    return X


def few_values(kind, seed=0, n=800):
    rng = np.random.default_rng(seed)
    if kind == "xor":
        return np.tile([[0.0, 0], [0, 1], [1, 0], [1, 1]], (n // 4, 1))
    if kind == "one column":
        return rng.integers(0, 10, (n, 1)).astype(float)
    if kind == "two columns":
        return rng.integers(0, 8, (n, 2)).astype(float)
    if kind == "replicates":
        grid = np.stack(np.meshgrid(*[np.arange(3.0)] * 4), axis=-1).reshape(-1, 4)
        return np.repeat(grid, 4, axis=0)
    return np.ones((n, 3))


def folds_of(X, seed=0, shares=EQUAL, later=None):
    hashes = row_hashes(ArrayInput(X), seed)
    assignment = learn_folds(hashes, shares, are_groups=False)
    if later is not None:
        hashes = row_hashes(ArrayInput(later), seed)
    return assign_folds(assignment, hashes, seed)


def is_kept_together(X, fold):
    values, index = np.unique(X, axis=0, return_inverse=True)
    pairs = np.unique(np.stack([index.reshape(-1), fold]), axis=1)
    return len(pairs[0]) == len(values)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["plain", "bootstrap", "oversampled", "repeated thrice"])
def test_copies_share_a_fold_where_rows_are_mostly_distinct(kind, seed):
    X = table(kind, seed)
    fold = folds_of(X, seed)
    assert is_kept_together(X, fold)
    largest = np.unique(X, axis=0, return_counts=True)[1].max()
    sizes = np.bincount(fold, minlength=8)
    assert np.ptp(sizes) <= largest
    half = folds_of(X, seed, later=X[len(X) // 2 :])
    np.testing.assert_array_equal(half, fold[len(X) // 2 :])


@pytest.mark.parametrize("kind", ["xor", "one column", "two columns", "replicates", "all equal"])
def test_rows_are_spread_one_by_one_where_few_are_distinct(kind):
    X = few_values(kind)
    fold = folds_of(X)
    assert np.ptp(np.bincount(fold, minlength=8)) <= 1
    for value in np.unique(X, axis=0):
        own = np.bincount(fold[(value == X).all(axis=1)], minlength=8)
        assert np.ptp(own) <= 1  # no chain is left without a value that others have


def test_a_value_of_most_rows_is_spread_and_the_others_stay_together():
    X = table("mostly equal")
    fold = folds_of(X)
    is_common = (X == 1).all(axis=1)
    assert np.ptp(np.bincount(fold[is_common], minlength=8)) <= 1
    assert is_kept_together(X[~is_common], fold[~is_common])
    assert np.ptp(np.bincount(fold, minlength=8)) <= 2


@pytest.mark.parametrize("kind", ["plain", "bootstrap", "mostly equal"])
def test_a_fraction_is_left_out(kind):
    fold = folds_of(table(kind), shares=np.array([0.2, 0.8]))
    assert np.mean(fold == 0) == pytest.approx(0.2, abs=0.01)
    fold = folds_of(few_values("one column"), shares=np.array([0.2, 0.8]))
    assert np.mean(fold == 0) == pytest.approx(0.2, abs=0.002)


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_together_and_fill_every_fold(seed):
    sizes = [500, 100, 60, *[3] * 80]
    groups = np.repeat(np.arange(len(sizes)), sizes)
    hashes = group_hashes(groups, seed)
    fold = assign_folds(learn_folds(hashes, EQUAL, are_groups=True), hashes, seed)
    assert is_kept_together(groups[:, None], fold)
    found = np.sort(np.bincount(fold, minlength=8))
    assert found[-1] == 500
    assert found[0] > 40  # of 56 that are left to each of the others but two


def test_probabilities_of_repeated_values_are_their_frequencies():
    """Left out as whole values, three categories were predicted with .13, .53 and .88."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"plan": rng.choice(["basic", "plus", "pro"], 600)})
    y = rng.random(600) < X["plan"].map({"basic": 0.03, "plus": 0.5, "pro": 0.97})
    model = SnapshotEnsembleClassifier(max_epochs=40, random_state=0).fit(X, y)
    plans = pd.DataFrame({"plan": ["basic", "plus", "pro"]})
    truth = y.groupby(X["plan"]).mean()
    np.testing.assert_allclose(model.predict_proba(plans)[:, 1], truth, atol=0.05)
    p = truth.loc[X["plan"]].to_numpy()
    entropy = -np.mean(p * np.log(p) + (1 - p) * np.log(1 - p))
    assert -model.validation_score_ == pytest.approx(entropy, rel=0.1)


def test_the_largest_group_does_not_set_the_budget(diabetes):
    """Rule 4: with 90 % of the rows in one group, an epoch had 3 steps for 29."""
    X, y = diabetes
    groups = np.where(np.arange(len(y)) % 10 > 0, 0, np.arange(len(y)))
    steps = []
    for own in (None, groups):
        model = SnapshotEnsembleRegressor(n_chains=8, early_stopping=False, max_epochs=2)
        history = model.fit(X, y, groups=own).history_
        steps.append(history[0, "train_batch_count"])
    assert steps[0] == steps[1]


def test_an_oversized_fold_weighs_as_one_of_average_size():
    left_out = [np.arange(90), np.arange(90, 96), np.arange(96, 100), np.arange(0)]
    weight = Folds([np.arange(0)] * 4, left_out).weigh(None, 100)
    np.testing.assert_allclose(weight[:90], 25 / 90)
    np.testing.assert_array_equal(weight[90:], 1)
    even = [np.arange(100)[k::4] for k in range(4)]
    assert Folds([np.arange(0)] * 4, even).weigh(None, 100) is None
