"""Errors as large as the spread of late cycles says."""

import numpy as np
import pytest

from skensemble._uncertainty.spread import late_cycles, scales_of, spread_of


@pytest.mark.parametrize(("n", "first"), [(1, 0), (2, 1), (5, 2), (8, 4)])
def test_the_later_half_counts(n, first):
    assert late_cycles(n) == first


def test_spread_is_the_standard_deviation():
    late = np.random.default_rng(0).normal(size=(3, 20, 2)) + 1e8
    np.testing.assert_allclose(spread_of(list(late)), late.std(axis=0), rtol=1e-6)


def test_scales_rise_with_the_spread_and_are_above_zero():
    random = np.random.default_rng(0)
    spread = random.uniform(size=2_000)
    residuals = np.abs(random.normal(size=2_000)) * (1 + 4 * spread)
    new = np.linspace(-1, 2, 50).reshape(5, 10)
    scales = scales_of(spread, residuals, None, new).ravel()
    assert (np.diff(scales) >= 0).all()
    assert scales[0] > 0
    # The mean of |N(0, s²)| is .8 s.
    middle = scales_of(spread, residuals, None, np.array([0.5]))
    assert middle == pytest.approx(0.8 * 3, rel=0.2)


def test_errors_of_zero_have_scales():
    np.testing.assert_array_equal(scales_of(np.arange(3.0), np.zeros(3), None, np.ones(2)), [1, 1])
