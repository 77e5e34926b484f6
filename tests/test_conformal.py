"""Intervals and sets from out-of-fold scores, against the formulas by hand."""

import numpy as np
import pytest

from skensemble._uncertainty.conformal import (
    Conformity,
    Sorted,
    class_sets,
    intervals,
    intervals_around,
    least_rows,
    masses,
    order_statistic,
    rank_of,
    sets,
)


def by_hand(centers, scales, scores, fold, rank):
    """Return order statistics of the whole matrix of new rows x scores."""
    values = centers[fold] + scales[fold] * scores[:, None]
    return np.sort(values, axis=0)[int(rank) - 1]


@pytest.mark.parametrize("kind", ["continuous", "tied", "far folds", "empty fold"])
@pytest.mark.parametrize("rank", [1, 17, 90, 100])
def test_an_order_statistic_is_that_of_all_values(kind, rank):
    random = np.random.default_rng(rank)
    fold = random.integers(4 if kind == "empty fold" else 5, size=100)
    scores = random.exponential(size=100)
    centers, scales = random.normal(size=(5, 300)), random.uniform(0.1, 3, size=(5, 300))
    if kind == "tied":
        scores, centers, scales = scores.round(), centers.round(), np.ones_like(scales)
    if kind == "far folds":
        centers += 1e6 * np.arange(5)[:, None]
    folds = [Sorted.of(scores[fold == k], np.ones((fold == k).sum())) for k in range(5)]
    found = order_statistic(folds, centers, scales, rank)
    np.testing.assert_allclose(
        found, by_hand(centers, scales, scores, fold, rank), rtol=1e-12, atol=1e-12
    )


def test_a_row_of_weight_two_is_two_rows():
    random = np.random.default_rng(0)
    scores, times = random.exponential(size=60), random.integers(1, 4, size=60)
    fold, centers = random.integers(3, size=60), random.normal(size=(3, 50))
    scales = np.ones_like(centers)
    weighted = [Sorted.of(scores[fold == k], times[fold == k].astype(float)) for k in range(3)]
    twice, fold_twice = np.repeat(scores, times), np.repeat(fold, times)
    repeated = [
        Sorted.of(twice[fold_twice == k], np.ones((fold_twice == k).sum())) for k in range(3)
    ]
    for rank in (1, 30, times.sum()):
        np.testing.assert_allclose(
            order_statistic(weighted, centers, scales, rank),
            order_statistic(repeated, centers, scales, rank),
        )


def test_intervals_are_those_of_barber_et_al():
    random = np.random.default_rng(1)
    n, k = 99, 4
    fold, residuals = random.integers(k, size=n), np.abs(random.normal(size=(n, 2)))
    centers = random.normal(size=(k, 200, 2))
    found = intervals(Conformity.of(fold, residuals), centers, 0.9)
    for j in range(2):
        low = np.sort(centers[fold, :, j] - residuals[:, j, None], axis=0)
        high = np.sort(centers[fold, :, j] + residuals[:, j, None], axis=0)
        # Eq. (11): the values of rank floor(.1 * 100) = 10 from below and ceil(.9 * 100) = 90.
        np.testing.assert_allclose(found[:, 0, j], low[10 - 1], rtol=1e-12)
        np.testing.assert_allclose(found[:, 1, j], high[90 - 1], rtol=1e-12)


def test_intervals_around_quantiles_are_those_of_romano_et_al():
    random = np.random.default_rng(4)
    n, k = 99, 4
    fold, scores = random.integers(k, size=n), random.normal(size=(n, 2))
    lows = random.normal(size=(k, 200, 2))
    highs = lows + random.exponential(size=lows.shape)
    found = intervals_around(Conformity.of(fold, scores), lows, highs, 0.9)
    for j in range(2):
        low = np.sort(lows[fold, :, j] - scores[:, j, None], axis=0)[10 - 1]
        high = np.sort(highs[fold, :, j] + scores[:, j, None], axis=0)[90 - 1]
        np.testing.assert_allclose(found[:, :, j], np.column_stack([low, high]), rtol=1e-12)


def test_quantiles_that_are_too_wide_are_narrowed_but_never_cross():
    lows, highs = np.full((1, 5, 1), -1.0), np.full((1, 5, 1), 1.0)
    found = intervals_around(Conformity.of(None, np.full((50, 1), -0.25)), lows, highs, 0.9)
    np.testing.assert_allclose(found[..., 0], np.tile([-0.75, 0.75], (5, 1)))
    found = intervals_around(Conformity.of(None, np.full((50, 1), -3.0)), lows, highs, 0.9)
    assert (found[:, 0] <= found[:, 1]).all()


@pytest.mark.parametrize("coverage", [0.05, 0.3, 0.5, 0.8])
def test_ends_never_cross(coverage):
    random = np.random.default_rng(2)
    fold = np.arange(60) % 3
    centers = 5 * random.normal(size=(3, 100, 1))
    found = intervals(Conformity.of(fold, random.exponential(size=(60, 1))), centers, coverage)
    assert (found[:, 0] <= found[:, 1]).all()


def test_the_least_number_of_rows_bounds_the_rank():
    for coverage in (0.5, 0.8, 0.9, 0.95, 0.99, 2 / 3):
        least = least_rows(coverage)
        assert rank_of(coverage, least) <= least
        assert least == 1 or rank_of(coverage, least - 1) > least - 1


def test_masses_are_those_of_likelier_classes():
    likelier, own = masses(np.array([[0.5, 0.2, 0.3], [0.4, 0.4, 0.2]]))
    np.testing.assert_allclose(likelier, [[0, 0.8, 0.5], [0, 0.4, 0.8]], atol=1e-12)
    np.testing.assert_array_equal(own, [[0.5, 0.2, 0.3], [0.4, 0.4, 0.2]])


def test_sets_are_those_of_romano_et_al():
    random = np.random.default_rng(3)
    n, n_new, k, n_folds = 80, 40, 4, 3
    fold, y = random.integers(n_folds, size=n), random.integers(k, size=n)
    p = random.dirichlet(np.ones(k), size=n)
    new = random.dirichlet(np.ones(k), size=(n_folds, n_new))
    u, u_new = random.uniform(size=n), random.uniform(size=n_new)

    def score(p, y, u):  # their eq. 5 solved for the level at which y enters
        return p[p > p[y]].sum() + u * p[y]

    # Sorted as they are kept, so that draws belong to the same rows.
    likelier, own = masses(p)
    found = Conformity.of(fold, np.column_stack([likelier[range(n), y], own[range(n), y]]), y)
    order = np.lexsort([own[range(n), y], likelier[range(n), y], fold])
    known = np.array([score(p[i], y[i], u[j]) for j, i in enumerate(order)])
    expected = np.zeros((n_new, k), bool)
    for i in range(n_new):
        for c in range(k):
            ours = np.array([score(new[fold[j], i], c, u_new[i]) for j in order])
            expected[i, c] = (known < ours).sum() < 0.9 * (n + 1)
    np.testing.assert_array_equal(sets(found, new, 0.9, (u, u_new)), expected)


def test_class_sets_ask_the_rows_of_the_class_alone():
    random = np.random.default_rng(4)
    p = random.dirichlet([8, 2], size=200)  # the second class is rare, and rarely found
    y = (random.uniform(size=200) < p[:, 1]).astype(int)
    likelier, own = masses(p)
    scores = np.column_stack([likelier[range(200), y], own[range(200), y]])
    found, new = Conformity.of(None, scores, y), random.dirichlet([1, 1], size=(1, 50))
    both = class_sets(found, new, 0.8, None)
    for label in (0, 1):
        alone = Conformity.of(None, scores[y == label], y[y == label])
        np.testing.assert_array_equal(both[:, label], sets(alone, new, 0.8, None)[:, label])
    assert not np.array_equal(both, sets(found, new, 0.8, None))


def test_rows_are_kept_in_an_order_that_tells_nothing():
    scores = np.array([[3.0], [1.0], [2.0], [0.5]])
    found = Conformity.of(np.array([1, 0, 0, 1]), scores, weight=np.array([1.0, 1.0, 0.0, 3.0]))
    np.testing.assert_array_equal(found.fold, [0, 1, 1])
    np.testing.assert_array_equal(found.scores[:, 0], [1.0, 0.5, 3.0])
    np.testing.assert_allclose(found.weight, [0.6, 1.8, 0.6])
