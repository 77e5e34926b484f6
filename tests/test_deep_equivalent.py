"""The number of networks that score as well, against the inverse of a curve."""

import numpy as np
import pytest

from skensemble.metrics import deep_ensemble_equivalent

CURVE = np.array([-0.5, -0.4, -0.36, -0.35])


def test_scores_of_the_curve_are_worth_their_numbers():
    np.testing.assert_allclose(deep_ensemble_equivalent(CURVE, CURVE), [1, 2, 3, 4])


def test_between_them_it_is_the_inverse_of_the_curve():
    scores = np.random.default_rng(0).uniform(-0.5, -0.35, 50)
    expected = np.interp(scores, CURVE, [1, 2, 3, 4])
    np.testing.assert_allclose(deep_ensemble_equivalent(scores, CURVE), expected)
    other = deep_ensemble_equivalent(scores, CURVE, n_networks=[1, 2, 5, 10])
    np.testing.assert_allclose(other, np.interp(scores, CURVE, [1, 2, 5, 10]))


def test_beyond_the_curve_it_is_one_or_infinite():
    assert deep_ensemble_equivalent(-9, CURVE) == 1
    assert deep_ensemble_equivalent(-np.inf, CURVE) == 1
    assert deep_ensemble_equivalent(-0.3, CURVE) == np.inf
    assert deep_ensemble_equivalent(-0.45, CURVE[:1]) == np.inf
    assert isinstance(deep_ensemble_equivalent(-0.45, CURVE), float)


def test_a_curve_that_falls_counts_where_it_is_first_reached():
    assert deep_ensemble_equivalent(2.5, [1, 3, 2, 4]) == 1.75


def test_runs_are_averaged_and_give_bounds():
    spread = np.array([-0.02, 0.01, 0.01])
    runs = CURVE[:, None] + spread
    found = deep_ensemble_equivalent([-0.45, -0.36], runs, return_bounds=True)
    deviation = np.std(spread, ddof=1)
    for values, by in zip(found, (0, deviation, -deviation), strict=True):
        expected = deep_ensemble_equivalent([-0.45, -0.36], CURVE + by)
        np.testing.assert_allclose(values, expected)
    assert (found.lower < found.n_networks).all()
    assert (found.n_networks < found.upper).all()


def test_wrong_arguments_are_named():
    with pytest.raises(
        ValueError, match="Got return_bounds=True for deep_ensemble_scores of 1 run"
    ):
        deep_ensemble_equivalent(1.0, CURVE, return_bounds=True)
    with pytest.raises(
        ValueError, match=r"Got n_networks=\[1, 3, 2, 4\], but expected 4 increasing"
    ):
        deep_ensemble_equivalent(1.0, CURVE, n_networks=[1, 3, 2, 4])
    with pytest.raises(ValueError, match="Got scores with NaN"):
        deep_ensemble_equivalent(np.nan, CURVE)
