"""The unseen score is what it says: the loss of single chains on fresh rows, table by table."""

import numpy as np
import pytest
from sklearn.metrics import log_loss
from sklearn.model_selection import TimeSeriesSplit

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor

SEEDS = range(3)


def loss_of_single_chains(model, X, y):
    """The mean loss of each chain alone, its cycles weighted as the ensemble's."""
    members = model.predict_members(X)
    weights = model.member_weights_.reshape(model.n_cycles_, model.n_chains_) * model.n_chains_
    by_chain = members.reshape(*weights.shape, *members.shape[1:])
    mixed = np.einsum("mc,mcn...->cn...", weights, by_chain)
    if isinstance(model, SnapshotEnsembleRegressor):
        return np.mean([(values - y) ** 2 for values in mixed])
    return np.mean([log_loss(y, p / p.sum(axis=1, keepdims=True)) for p in mixed])


def smooth(X):
    return np.sin(2 * X[:, 0]) * X[:, 1] + X[:, 2] ** 2 / 2


def continuous(rng, n):
    X = rng.normal(size=(n, 5))
    return X, (smooth(X) + rng.normal(size=n) > 0.5).astype(int), None


def few_distinct(rng, n):
    X = rng.integers(0, 10, (n, 1)).astype(float)
    return X, (rng.random(n) < 0.1 + 0.08 * ((X[:, 0] * 7) % 10)).astype(int), None


def two_categories(rng, n):
    X = rng.integers(0, 4, (n, 2)).astype(float)
    return X, (rng.random(n) < np.where(X[:, 0] == X[:, 1], 0.9, 0.2)).astype(int), None


def bootstrap(rng, n):
    X, y, _ = continuous(rng, n)
    drawn = rng.integers(0, n, n)
    return X[drawn], y[drawn], None


def mostly_equal(rng, n):
    X = rng.normal(size=(n, 4))
    X[rng.random(n) < 0.9] = 0
    return X, (rng.random(n) < np.where(X[:, 0] > 0.5, 0.9, 0.3)).astype(int), None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "kind", [continuous, few_distinct, two_categories, bootstrap, mostly_equal]
)
def test_the_score_out_of_fold_is_the_loss_on_fresh_rows(kind):
    ratios = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        X, y, groups = kind(rng, 800)
        fresh, truth, _ = {bootstrap: continuous}.get(kind, kind)(rng, 5000)
        model = SnapshotEnsembleClassifier(n_chains=4, max_epochs=15, random_state=seed)
        model.fit(X, y, groups=groups)
        ratios.append(-model.validation_score_ / loss_of_single_chains(model, fresh, truth))
    assert np.mean(ratios) == pytest.approx(1, abs=0.1)


@pytest.mark.filterwarnings("ignore")
def test_the_score_of_groups_is_that_of_new_groups():
    ratios = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        level, place = rng.normal(size=140), rng.normal(size=(140, 3))

        def rows(numbers, rng=rng, level=level, place=place):
            """Rows of a group lie close to each other, and share a level that X does not tell."""
            X = np.c_[place[numbers] + 0.05 * rng.normal(size=(len(numbers), 3))]
            return X, X[:, 0] + level[numbers] + 0.1 * rng.normal(size=len(numbers))

        known = rng.integers(0, 60, 800)
        X, y = rows(known)
        fresh, truth = rows(rng.integers(60, 140, 4000))
        model = SnapshotEnsembleRegressor(n_chains=4, max_epochs=30, random_state=seed)
        grouped = model.fit(X, y, groups=known)
        ratios.append(-grouped.validation_score_ / loss_of_single_chains(model, fresh, truth))
        plain = model.fit(X, y)
        assert -plain.validation_score_ < 0.2 * loss_of_single_chains(plain, fresh, truth)
    assert np.mean(ratios) == pytest.approx(1, abs=0.35)  # sixty groups are few


@pytest.mark.filterwarnings("ignore")
def test_the_score_of_a_tail_is_that_of_the_time_to_come():
    """A level that wanders: after as many days again, the error is that of the tail."""
    ratios = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        t = np.arange(900)
        X = np.c_[t / 9, rng.normal(size=(900, 2))]
        y = X[:, 1] + np.sin(t / 200) + 0.3 * rng.normal(size=900)
        splitter = TimeSeriesSplit(2, test_size=100)
        model = SnapshotEnsembleRegressor(
            n_chains=4, validation=splitter, max_epochs=15, random_state=seed
        ).fit(X[:800], y[:800])
        future = np.mean((model.predict(X[800:]) - y[800:]) ** 2)
        ratios.append(np.log(-model.validation_score_ / future))
    assert abs(np.mean(ratios)) < np.log(2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["classes", "values"])
def test_a_random_target_scores_no_better_than_the_prior(kind):
    gains = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(300, 6))
        if kind == "classes":
            y = rng.integers(0, 2, 300)
            share = y.mean()
            prior = -share * np.log(share) - (1 - share) * np.log(1 - share)
            model = SnapshotEnsembleClassifier(max_epochs=15, random_state=seed)
        else:
            y = rng.normal(size=300)
            prior = y.var()
            model = SnapshotEnsembleRegressor(max_epochs=15, random_state=seed)
        gains.append(1 + model.fit(X, y).validation_score_ / prior)
    assert np.mean(gains) < 0.01
