"""The expected calibration error, against bins by hand and scikit-learn's calibration curve."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from skensemble.metrics import expected_calibration_error

RNG = np.random.default_rng(0)


def by_hand(p, is_true, edges):
    """Equation 3 of Guo et al., bin by bin."""
    total = 0.0
    for low, high in pairwise(edges):
        rows = (p > low) & (p <= high)
        if rows.any():
            total += rows.mean() * abs(is_true[rows].mean() - p[rows].mean())
    return total


@pytest.fixture
def three():
    p = RNG.dirichlet(np.ones(3), 400)
    return np.array(["a", "b", "c"])[RNG.integers(0, 3, 400)], p


def test_confidence_is_that_of_guo(three):
    y, p = three
    right = np.array(["a", "b", "c"])[p.argmax(axis=1)] == y
    for n_bins in (1, 10, 15):
        expected = by_hand(p.max(axis=1), right, np.linspace(0, 1, n_bins + 1))
        assert expected_calibration_error(y, p, n_bins=n_bins) == pytest.approx(expected)


def test_classwise_is_the_mean_over_classes(three):
    y, p = three
    edges = np.linspace(0, 1, 16)
    expected = np.mean([by_hand(p[:, c], y == name, edges) for c, name in enumerate("abc")])
    assert expected_calibration_error(y, p, kind="classwise") == pytest.approx(expected)


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_norms_are_of_the_bins_of_scikit_learn(strategy):
    p = RNG.random(400)
    y = RNG.random(400) < p**2
    conf, right = np.maximum(p, 1 - p), y == (p > 0.5)
    edges = np.linspace(0, 1, 11)
    if strategy == "quantile":
        edges = np.r_[0, np.quantile(conf, edges[1:], method="inverted_cdf")]
        expected = by_hand(conf, right, edges)
    else:
        share, mean = calibration_curve(right, conf, n_bins=10)
        gap, mass = np.abs(share - mean), np.histogram(conf, np.linspace(0, 1, 11))[0][5:] / 400
        expected = (gap * mass).sum()
        options = {"n_bins": 10, "strategy": strategy}
        found = expected_calibration_error(y, p, norm="l2", **options)
        assert found == pytest.approx(np.sqrt((gap**2 * mass).sum()))
        assert expected_calibration_error(y, p, norm="max", **options) == pytest.approx(gap.max())
    found = expected_calibration_error(y, p, n_bins=10, strategy=strategy)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
@pytest.mark.parametrize("kind", ["confidence", "classwise"])
def test_weights_are_as_repeated_rows(three, strategy, kind):
    y, p = three
    times = RNG.integers(0, 4, 400)
    options = {"strategy": strategy, "kind": kind}
    expected = expected_calibration_error(np.repeat(y, times), np.repeat(p, times, 0), **options)
    found = expected_calibration_error(y, p, sample_weight=times, **options)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("n", [5, 10, 15, 30, 35, 60])
def test_quantile_bins_split_rows_evenly_whatever_their_shares_sum_up_to(n):
    p = np.linspace(0.51, 0.99, n)
    y = RNG.integers(0, 2, n)
    parts = np.split(y - p, 5)
    expected = np.mean([abs(part.mean()) for part in parts])
    found = expected_calibration_error(y, p, n_bins=5, strategy="quantile")
    assert found == pytest.approx(expected)


def test_perfect_and_worst_probabilities():
    y = np.arange(20) % 2
    assert expected_calibration_error(y, np.eye(2)[y]) == 0
    assert expected_calibration_error(y, np.eye(2)[1 - y]) == 1
    assert expected_calibration_error(y, np.full(20, 0.5)) == 0
    assert expected_calibration_error(y, np.full(20, 0.5), strategy="quantile") == 0


def test_two_classes_by_the_second_column(three):
    p = three[1][:, 0]
    y = np.where(three[0] == "a", "yes", "no")
    pair = np.stack([1 - p, p], axis=1)
    for kind in ("confidence", "classwise"):
        one = expected_calibration_error(y, p, kind=kind)
        assert one == expected_calibration_error(y, pair, kind=kind)
        turned = expected_calibration_error(y, pair[:, ::-1], kind=kind, labels=["yes", "no"])
        assert turned == pytest.approx(one)


def test_each_of_several_labels_is_a_binary_problem():
    y, p = RNG.integers(0, 2, (100, 3)), RNG.random((100, 3))
    edges = np.linspace(0, 1, 16)
    expected = np.mean([by_hand(p[:, c], y[:, c], edges) for c in range(3)])
    assert expected_calibration_error(y, p, kind="classwise") == pytest.approx(expected)
    with pytest.raises(ValueError, match="Got y_true of 3 labels with kind='confidence'"):
        expected_calibration_error(y, p)


def test_wrong_arguments_are_named(three):
    y, p = three
    for n_bins in (0, 1.5, True):
        with pytest.raises(ValueError, match=f"Got n_bins={n_bins}, but expected an integer"):
            expected_calibration_error(y, p, n_bins=n_bins)
    with pytest.raises(ValueError, match="Got strategy='kmeans', but expected one of 'uniform'"):
        expected_calibration_error(y, p, strategy="kmeans")
    with pytest.raises(
        ValueError, match=r"Got y_proba of shape \(400, 3\), but expected prob.*1\.$"
    ):
        expected_calibration_error(y, 2 * p)
    with pytest.raises(ValueError, match="Got y_true with 3 classes, but expected 2, one for each"):
        expected_calibration_error(y, p[:, 0])
