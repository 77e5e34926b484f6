"""The temperature of probabilities, against scipy and closed forms."""

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.metrics import log_loss

from skensemble._uncertainty.temperature import find_temperature, temper, temper_labels


def drawn(n, true, seed=0):
    """Return probabilities that are `true` times too cold, and labels."""
    random = np.random.default_rng(seed)
    p = random.dirichlet(np.ones(3), size=n)
    y = np.array([random.choice(3, p=row) for row in p])
    return temper(p, 1 / true), y


@pytest.mark.parametrize("true", [0.5, 1.0, 2.5])
def test_it_is_that_of_least_log_loss(true):
    p, y = drawn(2_000, true)
    found = find_temperature(p, y, np.ones(len(y)))
    best = minimize(lambda t: log_loss(y, temper(p, t[0])), [1.0], method="Nelder-Mead").x[0]
    assert found.value == pytest.approx(best, rel=1e-3)
    assert found.value == pytest.approx(true, rel=0.1)
    gain = log_loss(y, p) - log_loss(y, temper(p, found.value))
    assert found.gain == pytest.approx(gain, abs=1e-9)
    assert found.pays == (true != 1)


def test_a_row_of_weight_two_is_two_rows():
    p, y = drawn(100, 2.0)
    weight = np.where(np.arange(100) < 30, 2.0, 1.0)
    rows = np.repeat(np.arange(100), weight.astype(int))
    twice = find_temperature(p[rows], y[rows], np.ones(len(rows)))
    assert find_temperature(p, y, weight).value == pytest.approx(twice.value, rel=1e-6)


@pytest.mark.parametrize("true", [0.5, 2.5])
def test_labels_share_the_one_of_least_mean_log_loss(true):
    random = np.random.default_rng(0)
    p = random.random((2_000, 3))
    y = (random.random(p.shape) < p).astype(int)
    cold = temper_labels(p, 1 / true)
    np.testing.assert_allclose(cold, p**true / (p**true + (1 - p) ** true))
    found = find_temperature(cold, y, np.ones(len(y)))

    def loss(t):
        each = zip(y.T, temper_labels(cold, t).T, strict=True)
        return np.mean([log_loss(*label) for label in each])

    best = minimize(lambda t: loss(t[0]), [1.0], method="Nelder-Mead").x[0]
    assert found.value == pytest.approx(best, rel=1e-3)
    assert found.value == pytest.approx(true, rel=0.1)
    assert found.gain == pytest.approx(loss(1) - loss(found.value), abs=1e-9)
    assert temper_labels(p, 1.0) is p


def test_one_sure_mistake_does_not_decide():
    p, y = np.tile([0.9, 0.1], (100, 1)), np.array([0] * 90 + [1] * 10)
    p[0] = [0.0, 1.0]
    assert np.isfinite(find_temperature(p, y, np.ones(100))).all()


def test_powers_sum_to_one_and_keep_zeros():
    p = np.array([[0.7, 0.3, 0.0], [1.0, 0.0, 0.0]])
    tempered = temper(p, 2.0)
    np.testing.assert_allclose(tempered.sum(axis=1), 1)
    np.testing.assert_allclose(tempered[0, :2], np.sqrt([0.7, 0.3]) / np.sqrt([0.7, 0.3]).sum())
    np.testing.assert_array_equal(tempered[:, 2], 0)
    assert temper(p, 1.0) is p
