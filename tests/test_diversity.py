"""Diversity of members, against scikit-learn and numpy."""

from itertools import combinations

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.metrics import cohen_kappa_score, matthews_corrcoef
from sklearn.tree import DecisionTreeClassifier

from skensemble.metrics import (
    disagreement_score,
    error_correlation,
    kappa_statistic,
    q_statistic,
    residual_correlation,
)

RNG = np.random.default_rng(0)
PAIRS = list(combinations(range(3), 2))
OF_CLASSES = [q_statistic, error_correlation]
OF_LABELS = [disagreement_score, kappa_statistic]


@pytest.fixture(scope="module")
def trees():
    """Probabilities of three trees, as predict_members returns them, and true names of classes."""
    data = load_iris()
    y = data.target_names[data.target]
    members = []
    for seed in range(3):
        rows = np.random.default_rng(seed).integers(0, 150, 15)
        tree = DecisionTreeClassifier(max_depth=3, random_state=seed).fit(data.data[rows], y[rows])
        members.append(tree.predict_proba(data.data))
    return y, np.array(members)


def labels_of(y, members):
    return np.unique(y)[members.argmax(axis=2)]


def test_kappa_is_that_of_scikit_learn(trees):
    labels, weight = labels_of(*trees), RNG.random(150)
    matrix = kappa_statistic(trees[1], average=None, sample_weight=weight)
    for i, j in PAIRS:
        expected = cohen_kappa_score(labels[i], labels[j], sample_weight=weight)
        assert matrix[i, j] == matrix[j, i] == pytest.approx(expected, abs=1e-12)
    mean = np.mean([matrix[pair] for pair in PAIRS])
    assert kappa_statistic(trees[1], sample_weight=weight) == pytest.approx(mean)
    np.testing.assert_allclose(np.diag(matrix), 1)


def test_disagreement_counts_rows_that_differ(trees):
    labels = labels_of(*trees)
    matrix = disagreement_score(labels, average=None)
    for i, j in PAIRS:
        assert matrix[i, j] == pytest.approx((labels[i] != labels[j]).mean(), abs=1e-12)
    assert disagreement_score(trees[1]) == pytest.approx(np.mean([matrix[p] for p in PAIRS]))
    # Of right and wrong: K&W's measure, at most as much with three classes.
    assert 0 < disagreement_score(labels == trees[0]) <= disagreement_score(labels)


def test_q_and_correlation_are_those_of_the_table_of_two_by_two(trees):
    y, members = trees
    weight = RNG.random(150)
    right = labels_of(y, members) == y
    q = q_statistic(y, members, average=None, sample_weight=weight)
    rho = error_correlation(y, members, average=None, sample_weight=weight)
    for i, j in PAIRS:
        n = {
            (a, b): weight[(right[i] == a) & (right[j] == b)].sum() for a in (0, 1) for b in (0, 1)
        }
        alike, apart = n[1, 1] * n[0, 0], n[1, 0] * n[0, 1]
        assert q[i, j] == pytest.approx((alike - apart) / (alike + apart))
        phi = matthews_corrcoef(right[i], right[j], sample_weight=weight)
        assert rho[i, j] == rho[j, i] == pytest.approx(phi)


def test_published_values_of_two_independent_members():
    """All four outcomes equally often: Q = rho = 0, disagreement 1/2 (Kuncheva & Whitaker)."""
    y, members = np.zeros(4, int), np.array([[0, 0, 1, 1], [0, 1, 0, 1]])
    assert q_statistic(y, members) == error_correlation(y, members) == 0
    assert disagreement_score(members) == 0.5
    assert kappa_statistic(members) == 0


@pytest.mark.parametrize("metric", OF_CLASSES)
def test_opposite_members_have_minus_one(metric):
    assert metric([0, 0, 1, 1], [[0, 1, 1, 0], [1, 0, 0, 1]]) == -1


def test_members_that_are_alike():
    y, members = ["a", "b", "a"], [["a", "b", "b"]] * 3
    assert disagreement_score(members) == 0
    assert kappa_statistic(members) == pytest.approx(1)
    assert q_statistic(y, members) == pytest.approx(1)
    assert error_correlation(y, members) == pytest.approx(1)
    assert residual_correlation([1.0, 2, 3], [[1.0, 1, 1]] * 3) == pytest.approx(1)


def test_one_member_has_no_pair():
    for metric in OF_LABELS:
        assert np.isnan(metric([["a", "b"]]))
    for metric in OF_CLASSES:
        assert np.isnan(metric(["a", "b"], [["a", "a"]]))
    assert np.isnan(residual_correlation([1.0, 2], [[1.0, 1]]))
    assert disagreement_score([["a", "b"]], average=None).tolist() == [[0]]


def test_pairs_without_a_value_are_left_out_of_the_mean():
    y = np.array([0, 0, 1, 1, 1])
    members = np.array([y, [0, 1, 1, 1, 0], [0, 1, 1, 0, 0]])  # the first is always right
    for metric in OF_CLASSES:
        matrix = metric(y, members, average=None)
        assert np.isnan(matrix[0]).all()
        assert metric(y, members) == matrix[1, 2]
        assert np.isnan(metric(y, members[:1].repeat(2, axis=0)))
    assert np.isnan(kappa_statistic(np.zeros((2, 7), int), sample_weight=RNG.random(7)))
    constant = np.array([y + 0.1, y + RNG.random(5), y + RNG.random(5)])
    assert np.isnan(residual_correlation(y, constant, average=None)[0]).all()
    assert not np.isnan(residual_correlation(y, constant))


def test_residuals_correlate_as_in_numpy(diabetes):
    y = diabetes[1]
    members = y + RNG.normal(size=(3, 1)) + RNG.normal(size=(3, len(y))) + RNG.normal(size=len(y))
    expected = np.corrcoef(y - members)
    np.testing.assert_allclose(residual_correlation(y, members, average=None), expected)
    mean = np.mean([expected[pair] for pair in PAIRS])
    assert residual_correlation(y, members) == pytest.approx(mean)
    assert residual_correlation(1e6 * y + 1e9, 1e6 * members + 1e9) == pytest.approx(mean)


def test_outputs_of_a_regression_are_averaged_as_in_scikit_learn():
    y, members = RNG.normal(size=(20, 2)), RNG.normal(size=(3, 20, 2))
    each = [residual_correlation(y[:, q], members[:, :, q]) for q in (0, 1)]
    raw = residual_correlation(y, members, multioutput="raw_values")
    np.testing.assert_allclose(raw, each)
    assert residual_correlation(y, members) == pytest.approx(np.mean(each))
    assert residual_correlation(y, members, multioutput=[3, 1]) == pytest.approx(
        np.average(each, weights=[3, 1])
    )
    with pytest.raises(ValueError, match="Got average=None for 2 outputs"):
        residual_correlation(y, members, average=None)


def test_weights_are_as_repeated_rows(trees):
    y, members = trees
    times = RNG.integers(0, 3, 150)
    again = np.repeat(members, times, axis=1)
    for metric in OF_LABELS:
        expected = metric(again)
        assert metric(members, sample_weight=times) == pytest.approx(expected)
    for metric in OF_CLASSES:
        expected = metric(np.repeat(y, times), again)
        assert metric(y, members, sample_weight=times) == pytest.approx(expected)
    y, members = RNG.normal(size=150), RNG.normal(size=(3, 150))
    expected = residual_correlation(np.repeat(y, times), np.repeat(members, times, axis=1))
    weighted = residual_correlation(y, members, sample_weight=times)
    assert weighted == pytest.approx(expected)


def test_labels_of_several_outputs_count_as_rows():
    y, p = RNG.integers(0, 2, (30, 4)), RNG.random((3, 30, 4))
    weight = RNG.random(30)
    flat = (p > 0.5).reshape(3, -1).astype(int)
    for metric in OF_CLASSES:
        expected = metric(y.ravel(), flat, sample_weight=weight.repeat(4))
        assert metric(y, p, sample_weight=weight) == pytest.approx(expected)


def test_columns_go_by_labels():
    y = ["b", "a", "b", "c"]
    p = np.eye(3)[[[0, 1, 2, 1], [0, 0, 1, 1]]]
    named = [["b", "a", "c", "a"], ["b", "b", "a", "a"]]
    labels = ["b", "a", "c"]
    expected = error_correlation(y, named)
    assert error_correlation(y, p, labels=labels) == pytest.approx(expected)


@pytest.mark.parametrize("metric", [*OF_LABELS, *OF_CLASSES])
def test_wrong_arguments_are_named(metric):
    given = [["a", "b"]] if metric in OF_CLASSES else []
    with pytest.raises(ValueError, match="Got average='mean', but expected one of 'pairs', None"):
        metric(*given, [["a", "b"]], average="mean")
    with pytest.raises(ValueError, match=r"Got members with 0.3, but expected labels of classes"):
        metric(*given, [[0.3, 0.4]])
    with pytest.raises(ValueError, match=r"Got members of shape \(2,\), but expected labels"):
        metric(*given, ["a", "b"])
