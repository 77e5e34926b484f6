"""Measures beside scikit-learn's metrics, and their gradients beside finite differences."""

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    mean_absolute_error,
    mean_gamma_deviance,
    mean_pinball_loss,
    mean_poisson_deviance,
)
from torch import nn

from skensemble.mean_losses import (
    AbsoluteError,
    GammaDeviance,
    GridPinball,
    Huber,
    Pinball,
    PoissonDeviance,
)
from skensemble.members import Unseen, cycle_weights, stacked

N, CYCLES, LEVELS = 60, 3, (0.1, 0.5, 0.8)
RNG = np.random.default_rng(0)
Y = RNG.exponential(size=(N, 2)) + 0.1
VALUES = Y + 0.5 * RNG.exponential(size=(CYCLES, N, 2))
GRIDS = np.sort(VALUES[..., None] + RNG.normal(size=(CYCLES, N, 2, 3)), axis=3)
WEIGHT = RNG.uniform(size=N)


def huber(y, p, sample_weight):
    each = nn.functional.huber_loss(
        torch.tensor(p), torch.tensor(y), delta=0.4, reduction="none"
    ).numpy()
    return np.average(each.mean(axis=1), weights=sample_weight)


def deviance(metric):
    return lambda y, p, sample_weight: np.mean(
        [metric(y[:, j], p[:, j], sample_weight=sample_weight) for j in range(2)]
    )


def grid(y, p, sample_weight):
    p = p.reshape(N, 2, 3)
    return np.mean(
        [
            mean_pinball_loss(y[:, j], p[:, j, i], alpha=level, sample_weight=sample_weight)
            for j in range(2)
            for i, level in enumerate(LEVELS)
        ]
    )


CASES = {
    "absolute_error": (AbsoluteError(), VALUES, mean_absolute_error),
    "huber": (Huber(np.array([0.4, 0.4])), VALUES, huber),
    "pinball": (
        Pinball(0.8),
        VALUES,
        lambda y, p, sample_weight: mean_pinball_loss(y, p, alpha=0.8, sample_weight=sample_weight),
    ),
    "grid": (GridPinball(LEVELS), GRIDS.reshape(CYCLES, N, -1), grid),
    "poisson": (PoissonDeviance(), VALUES, deviance(mean_poisson_deviance)),
    "gamma": (GammaDeviance(), VALUES, deviance(mean_gamma_deviance)),
}
every = pytest.mark.parametrize(("measure", "predictions", "metric"), CASES.values(), ids=CASES)


@every
def test_scores_are_those_of_scikit_learn(measure, predictions, metric):
    weights = np.array([0.2, 0.5, 0.3])
    combined = np.tensordot(weights, predictions, 1)
    found = measure.score(predictions, Y, WEIGHT, weights)
    assert found == pytest.approx(-metric(Y, combined, sample_weight=WEIGHT))


@every
def test_the_score_is_the_mean_of_the_losses_of_rows(measure, predictions, metric):
    losses = measure.losses(predictions[0], Y)
    expected = -measure.score(predictions, Y, WEIGHT, np.eye(CYCLES)[0])
    assert np.average(losses, weights=WEIGHT) == pytest.approx(expected)


@every
def test_gradients_are_finite_differences(measure, predictions, metric):
    loss = measure.loss_of_weights(predictions, Y, WEIGHT / WEIGHT.sum())
    weights, step = np.array([0.2, 0.5, 0.3]), 1e-7
    ahead = np.array([loss(weights + step * e)[0] for e in np.eye(CYCLES)])
    back = np.array([loss(weights - step * e)[0] for e in np.eye(CYCLES)])
    np.testing.assert_allclose(loss(weights)[1], (ahead - back) / (2 * step), rtol=1e-5, atol=1e-7)


@every
def test_losses_of_weights_are_parts_of_the_best_cycles(measure, predictions, metric):
    loss = measure.loss_of_weights(predictions, Y, WEIGHT / WEIGHT.sum())
    singles = np.array([loss(e)[0] for e in np.eye(CYCLES)])
    scores = np.array([-measure.score(predictions, Y, WEIGHT, e) for e in np.eye(CYCLES)])
    np.testing.assert_allclose(singles, scores / scores.min())


@every
def test_stacked_weights_are_the_best_of_many(measure, predictions, metric):
    found = stacked(predictions, Y, WEIGHT, measure)
    best = measure.score(predictions, Y, WEIGHT, found)
    tried = np.random.default_rng(1).dirichlet(np.ones(CYCLES) / 2, 2000)
    scores = [measure.score(predictions, Y, WEIGHT, a) for a in tried]
    assert best >= max(scores) - 2e-3 * abs(best)


@every
def test_each_output_counts_alike_in_its_own_unit(measure, predictions, metric):
    """A second output in thousandths must not be all that counts."""
    unit = np.array([1.0, 1e3])
    each = np.repeat(unit, predictions.shape[2] // 2)
    far = Unseen(predictions * each, Y * unit, WEIGHT, measure.in_units(1 / unit))
    near = Unseen(predictions, Y, WEIGHT, measure)
    weights = np.array([0.2, 0.5, 0.3])
    assert far.in_units(unit).score(weights) == pytest.approx(near.score(weights))
    found = cycle_weights("stacked", CYCLES, far.in_units(unit))
    np.testing.assert_allclose(found, cycle_weights("stacked", CYCLES, near), atol=1e-5)


def test_a_value_of_zero_is_no_endless_deviance():
    assert np.isfinite(
        PoissonDeviance().score(np.zeros((1, 2, 1)), np.ones((2, 1)), np.ones(2), np.ones(1))
    )
    assert PoissonDeviance().losses(np.ones((2, 1)), np.zeros((2, 1))).tolist() == [2, 2]
