"""Losses that torch has not, beside scikit-learn's metrics of the same predictions."""

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_gamma_deviance, mean_pinball_loss, mean_poisson_deviance

from skensemble._nets.criteria import (
    LEVELS,
    GammaLoss,
    GridLoss,
    PoissonLoss,
    QuantileLoss,
    in_order,
)
from skensemble._nets.losses import WeightedLoss, sum_over_chains

RNG = np.random.default_rng(0)
Y = RNG.normal(size=(40, 1))
GRID = RNG.normal(size=(40, 3))
OURS = [QuantileLoss(0.3), GridLoss([0.2, 0.5, 0.7]), PoissonLoss(), GammaLoss()]


def tensors(criterion):
    """Return outputs and targets that a criterion takes."""
    outputs = torch.tensor(GRID if isinstance(criterion, GridLoss) else GRID[:, :1])
    return outputs, torch.tensor(np.exp(Y) if "Loss(" not in repr(criterion) else np.abs(Y))


@pytest.mark.parametrize("level", [0.1, 0.5, 0.95])
def test_the_loss_of_a_quantile_is_the_pinball_loss(level):
    found = float(QuantileLoss(level)(torch.tensor(GRID[:, :1]), torch.tensor(Y)))
    assert found == pytest.approx(mean_pinball_loss(Y, GRID[:, :1], alpha=level))


def test_the_loss_of_a_grid_is_the_mean_pinball_loss_of_sorted_outputs():
    levels = [0.2, 0.5, 0.7]
    found = float(GridLoss(levels)(torch.tensor(GRID), torch.tensor(Y)))
    columns = np.sort(GRID, axis=1).T
    each = [mean_pinball_loss(Y[:, 0], q, alpha=a) for q, a in zip(columns, levels, strict=True)]
    assert found == pytest.approx(np.mean(each))
    unsorted = [mean_pinball_loss(Y[:, 0], q, alpha=a) for q, a in zip(GRID.T, levels, strict=True)]
    assert found < np.mean(unsorted)


def test_several_targets_have_a_grid_each():
    two = torch.tensor(np.hstack([GRID, 2 * GRID])), torch.tensor(np.hstack([Y, 2 * Y]))
    one = GridLoss([0.2, 0.5, 0.7])(torch.tensor(GRID), torch.tensor(Y))
    assert float(GridLoss([0.2, 0.5, 0.7])(*two)) == pytest.approx(1.5 * float(one))


@pytest.mark.parametrize(
    ("criterion", "deviance"),
    [(PoissonLoss(), mean_poisson_deviance), (GammaLoss(), mean_gamma_deviance)],
)
def test_the_losses_of_logarithms_are_half_the_deviance(criterion, deviance):
    y, one, other = np.exp(Y), GRID[:, :1], GRID[:, 1:2]
    losses = [float(criterion(torch.tensor(p), torch.tensor(y))) for p in (one, other)]
    expected = [deviance(y[:, 0], np.exp(p[:, 0])) / 2 for p in (one, other)]
    assert losses[0] - losses[1] == pytest.approx(expected[0] - expected[1])


@pytest.mark.parametrize("criterion", OURS, ids=lambda c: type(c).__name__)
def test_gradients_are_finite_differences(criterion):
    outputs, y = tensors(criterion)
    assert torch.autograd.gradcheck(lambda p: criterion(p, y), outputs.requires_grad_())


@pytest.mark.parametrize("criterion", OURS, ids=lambda c: type(c).__name__)
def test_weights_of_rows_weigh_their_losses(criterion):
    outputs, y = tensors(criterion)
    weight = torch.rand(len(y), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weighted = WeightedLoss(criterion)
    weighted.take_weight(weight)
    each = torch.stack([criterion(outputs[i : i + 1], y[i : i + 1]) for i in range(len(y))])
    assert float(weighted(outputs, y)) == pytest.approx(float((weight * each).mean()))


@pytest.mark.parametrize("criterion", OURS, ids=lambda c: type(c).__name__)
def test_chains_train_on_the_sum_of_their_losses(criterion):
    outputs, y = (part.unflatten(0, (4, 10)) for part in tensors(criterion))
    expected = sum(float(criterion(p, t)) for p, t in zip(outputs, y, strict=True))
    assert float(sum_over_chains(criterion, outputs, y)) == pytest.approx(expected)


def test_only_what_is_not_in_order_is_sorted():
    grid = torch.tensor([[1.0, 2.0], [3.0, 3.0]])
    assert in_order(grid) is grid
    assert in_order(grid.flip(1)).tolist() == grid.tolist()


def test_the_levels_have_the_ends_of_usual_intervals():
    assert np.all(np.diff(LEVELS) > 0)
    for coverage in (0.8, 0.9, 0.95, 0.98):
        for end in (1 - coverage) / 2, (1 + coverage) / 2:
            assert np.isclose(LEVELS, end).any()
    assert np.allclose(np.array(LEVELS) + LEVELS[::-1], 1)


@pytest.mark.parametrize(
    "levels", [[], [0.0, 0.5], [0.5, 1.0], [0.5, 0.5], [0.6, 0.4], [np.nan], "ab", 0.5, [None]]
)
def test_other_levels_are_refused(levels):
    with pytest.raises(ValueError, match=r"Got levels=.*, but expected .* above 0 and below 1"):
        GridLoss(levels)


def test_other_quantiles_and_reductions_are_refused():
    with pytest.raises(ValueError, match=r"Got quantile=1\.5, but expected a number above 0"):
        QuantileLoss(1.5)
    with pytest.raises(ValueError, match="Got reduction='total', but expected one of"):
        PoissonLoss(reduction="total")
