"""Scores of intervals and quantiles, against the pinball loss and the closed form of a normal."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.metrics import mean_absolute_error, mean_pinball_loss

from skensemble.metrics import (
    crps_quantile_loss,
    interval_coverage_score,
    interval_score_loss,
    mean_interval_width,
    multi_quantile_loss,
)

RNG = np.random.default_rng(0)
Y = RNG.normal(size=60)
ENDS = np.sort(RNG.normal(size=(60, 2)), axis=1)
LEVELS = np.array([0.1, 0.25, 0.5, 0.9])
QUANTILES = RNG.normal(size=(60, 4))  # they cross, and are scored all the same
#: Calls by metric: the parts that have a row for each row.
METRICS = {
    interval_coverage_score: lambda y, e, q: (y, e),
    interval_score_loss: lambda y, e, q: (y, e),
    mean_interval_width: lambda y, e, q: (e,),
    multi_quantile_loss: lambda y, e, q: (y, q, LEVELS),
    crps_quantile_loss: lambda y, e, q: (y, q, LEVELS),
}


@pytest.mark.parametrize("coverage", [0.0, 0.5, 0.9, 0.99])
def test_interval_score_is_two_pinball_losses(coverage):
    """The loss of both ends, each at its level, over half of what may be left out."""
    out = 1 - coverage
    weight = RNG.random(60)
    pinball = sum(
        mean_pinball_loss(Y, ENDS[:, side], alpha=level, sample_weight=weight)
        for side, level in enumerate((out / 2, 1 - out / 2))
    )
    found = interval_score_loss(Y, ENDS, coverage=coverage, sample_weight=weight)
    assert found == pytest.approx(2 / out * pinball)


def test_interval_score_is_lowest_for_the_quantiles():
    y = RNG.normal(size=20_000)
    best = norm.ppf(0.95)
    losses = {
        half: interval_score_loss(y, np.tile([-half, half], (len(y), 1)), coverage=0.9)
        for half in (best - 0.3, best, best + 0.3)
    }
    assert min(losses, key=losses.get) == best
    assert losses[best] == pytest.approx(2 * norm.pdf(best) / 0.05, rel=0.02)


def test_coverage_counts_the_ends_and_width_is_in_units():
    ends = [[0, 1], [0, 1], [0, 1], [0, 1]]
    assert interval_coverage_score([0, 1, 0.5, 1.1], ends) == 0.75
    assert interval_coverage_score([0.5, 2], [[0, 1], [0, 1]], sample_weight=[3, 1]) == 0.75
    assert mean_interval_width([[0, 1], [-2, 3]], sample_weight=[3, 1]) == 2


def test_intervals_without_end_and_of_one_point():
    whole = np.tile([-np.inf, np.inf], (60, 1))
    assert interval_coverage_score(Y, whole) == 1
    assert mean_interval_width(whole) == interval_score_loss(Y, whole) == np.inf
    assert interval_coverage_score(Y, np.stack([Y, Y], axis=1)) == 1
    assert interval_score_loss(Y, np.stack([Y, Y], axis=1)) == 0
    ends = np.array([[0, 1], [-np.inf, np.inf]])
    assert mean_interval_width(ends, sample_weight=[1, 0]) == 1


def test_pinball_of_a_grid_is_the_mean_of_scikit_learns():
    weight = RNG.random(60)
    expected = np.mean(
        [
            mean_pinball_loss(Y, QUANTILES[:, i], alpha=level, sample_weight=weight)
            for i, level in enumerate(LEVELS)
        ]
    )
    found = multi_quantile_loss(Y, QUANTILES, LEVELS, sample_weight=weight)
    assert found == pytest.approx(expected)


def test_crps_of_a_normal_distribution():
    levels = np.arange(1, 1000) / 1000
    exact = Y * (2 * norm.cdf(Y) - 1) + 2 * norm.pdf(Y) - 1 / np.sqrt(np.pi)
    for row in range(3):
        found = crps_quantile_loss(Y[[row]], norm.ppf(levels)[None], levels)
        assert found == pytest.approx(exact[row], abs=1e-3)
    found = crps_quantile_loss(Y, np.tile(norm.ppf(levels), (60, 1)), levels)
    assert found == pytest.approx(exact.mean(), abs=1e-3)


def test_crps_of_a_uniform_distribution_is_an_integral_over_thresholds():
    y, levels = 0.3, np.linspace(0, 1, 501)
    exact = quad(lambda z: (z - (z >= y)) ** 2, 0, 1, points=[y])[0]
    assert crps_quantile_loss([y], levels[None], levels) == pytest.approx(exact, abs=1e-5)


@pytest.mark.parametrize("levels", [[0.5], [0.1, 0.2], [0.05, 0.5, 0.95]])
def test_crps_of_one_point_is_the_absolute_error(levels):
    point = RNG.normal(size=60)
    found = crps_quantile_loss(Y, np.tile(point[:, None], len(levels)), levels)
    assert found == pytest.approx(mean_absolute_error(Y, point))


@pytest.mark.parametrize("metric", METRICS)
def test_weights_are_as_repeated_rows(metric):
    times, parts = RNG.integers(0, 3, 60), (Y, ENDS, QUANTILES)
    again = (np.repeat(part, times, axis=0) for part in parts)
    expected = metric(*METRICS[metric](*again))
    assert metric(*METRICS[metric](*parts), sample_weight=times) == pytest.approx(expected)


@pytest.mark.parametrize("metric", METRICS)
def test_outputs_are_averaged_as_in_scikit_learn(metric):
    one, other = (Y, ENDS, QUANTILES), (Y**2, 2 * ENDS, QUANTILES - 1)
    each = [metric(*METRICS[metric](*parts)) for parts in (one, other)]
    both = METRICS[metric](*(np.stack(parts, axis=-1) for parts in zip(one, other, strict=True)))
    np.testing.assert_allclose(metric(*both, multioutput="raw_values"), each)
    assert metric(*both) == pytest.approx(np.mean(each))
    expected = np.average(each, weights=[1, 3])
    assert metric(*both, multioutput=[1, 3]) == pytest.approx(expected)
    single = METRICS[metric](*one)
    assert metric(*single, multioutput="raw_values").shape == (1,)
    with pytest.raises(
        ValueError, match="Got multioutput='mean', but expected one of 'raw_values'"
    ):
        metric(*single, multioutput="mean")


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="lower end above the upper one in row 1"):
        mean_interval_width([[0, 1], [1, 0]])
    with pytest.raises(ValueError, match="Got intervals with 3 columns, but expected 2"):
        interval_coverage_score(Y, np.zeros((60, 3)))
    with pytest.raises(ValueError, match="Got intervals with NaN"):
        interval_coverage_score([1.0], [[np.nan, 1]])
    with pytest.raises(ValueError, match="Got intervals of 2 outputs, but expected 1"):
        interval_score_loss(Y, np.zeros((60, 2, 2)))
    for coverage in (1, -0.1, "high", True):
        with pytest.raises(ValueError, match=f"Got coverage={coverage!r}, but expected a number"):
            interval_score_loss(Y, ENDS, coverage=coverage)
    for levels in ([0.1, 0.2], [0.2, 0.1, 0.5, 0.9], [0.1, 0.2, 0.5, 1.1]):
        with pytest.raises(
            ValueError, match=r"Got levels=\[0\..*but expected 4 increasing numbers"
        ):
            crps_quantile_loss(Y, QUANTILES, levels)
