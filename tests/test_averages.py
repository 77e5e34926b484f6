"""Means of snapshots, draws around them, and statistics of batches, against plain torch."""

import copy

import numpy as np
import pytest
import torch
from conftest import Mlp, Normalised
from torch import nn
from torch.optim.swa_utils import AveragedModel, update_bn

from skensemble._nets.averages import (
    draw_state,
    has_statistics,
    mean_state,
    parameters_of,
    renew_statistics,
)
from skensemble._nets.snapshots import state_of


class Tied(nn.Module):
    """Two layers with one weight, and a whole number that nobody trains."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)
        self.two.weight = self.one.weight
        self.count = nn.Parameter(torch.zeros(1, dtype=torch.int64), requires_grad=False)


def modules_of(make, n):
    made = []
    for k in range(n):
        torch.manual_seed(k)
        module = make()
        for buffer in module.buffers():
            buffer.copy_(torch.full_like(buffer, k + 1))
        made.append(module)
    return made


@pytest.mark.parametrize("make", [lambda: Mlp(5, 3), lambda: Normalised(5, 3), Tied])
def test_the_mean_is_that_of_torch(make):
    modules = modules_of(make, 4)
    averaged = AveragedModel(modules[0])
    for module in modules:
        if isinstance(module, Tied):
            continue
        averaged.update_parameters(module)
    state = mean_state(list(map(state_of, modules)), np.full(4, 1 / 4), modules[0])
    if isinstance(modules[0], Tied):
        weights = torch.stack([module.one.weight for module in modules])
        torch.testing.assert_close(state["one.weight"], weights.mean(dim=0))
        assert torch.equal(state["one.weight"], state["two.weight"])
        assert state["count"].dtype == torch.int64
        return
    for name, tensor in averaged.module.named_parameters():
        torch.testing.assert_close(state[name], tensor.detach(), atol=1e-6, rtol=0)
    for name, tensor in averaged.module.named_buffers():
        assert torch.equal(state[name], tensor)  # those of the last model


def test_a_weighted_mean_weighs():
    states = [{"weight": torch.full((2,), float(k))} for k in range(3)]
    module = nn.Module()
    module.weight = nn.Parameter(torch.zeros(2))
    state = mean_state(states, np.array([0.5, 0.0, 0.5]), module)
    assert state["weight"].tolist() == [1.0, 1.0]


def drawn_by_hand(states, names, scale, seed):
    """Equation 1 of Maddox et al. (2019), on one long vector."""
    generator = torch.Generator().manual_seed(seed)
    theta = torch.stack([torch.cat([s[n].double().ravel() for n in names]) for s in states])
    shared = torch.randn(len(states), dtype=torch.float64, generator=generator)
    own = torch.cat(
        [
            torch.randn(states[0][n].shape, dtype=torch.float64, generator=generator).ravel()
            for n in names
        ]
    )
    mean, second = theta.mean(dim=0), (theta**2).mean(dim=0)
    diagonal = (second - mean**2).clamp(min=0)
    D = (theta - mean).T
    return mean + scale**0.5 * (diagonal.sqrt() * own + D @ shared / (len(states) - 1) ** 0.5)


@pytest.mark.parametrize("scale", [0.0, 0.5, 2.0])
def test_a_draw_is_that_of_swag(scale):
    modules = modules_of(lambda: Normalised(5, 3), 4)
    states = list(map(state_of, modules))
    names = [name for name, _ in modules[0].named_parameters()]
    state = draw_state(states, modules[0], scale, torch.Generator().manual_seed(3))
    flat = torch.cat([state[name].double().ravel() for name in names])
    torch.testing.assert_close(flat, drawn_by_hand(states, names, scale, 3), atol=1e-6, rtol=0)
    assert torch.equal(state["norm.running_mean"], states[-1]["norm.running_mean"])


def test_draws_have_the_covariance_of_the_paper():
    modules = modules_of(lambda: nn.Linear(2, 1), 3)
    states, generator = list(map(state_of, modules)), torch.Generator().manual_seed(0)
    draws = [draw_state(states, modules[0], 0.5, generator) for _ in range(5000)]
    flat = np.array([np.r_[d["weight"].numpy().ravel(), d["bias"].numpy()] for d in draws])
    theta = np.array([np.r_[s["weight"].numpy().ravel(), s["bias"].numpy()] for s in states])
    expected = (np.diag(theta.var(axis=0)) + np.cov(theta.T)) / 2
    np.testing.assert_allclose(flat.mean(axis=0), theta.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(np.cov(flat.T), expected, atol=0.05 * expected.max())


def test_tied_parameters_stay_tied_in_a_draw():
    modules = modules_of(Tied, 3)
    assert parameters_of(modules[0])["two.weight"] == "one.weight"
    states = list(map(state_of, modules))
    state = draw_state(states, modules[0], 1.0, torch.Generator().manual_seed(0))
    assert torch.equal(state["one.weight"], state["two.weight"])
    assert not torch.equal(state["one.bias"], state["two.bias"])
    assert torch.equal(state["count"], states[-1]["count"])


def test_statistics_are_those_of_update_bn():
    module = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.BatchNorm1d(6))
    batches = list(torch.randn(30, 4).split(10))
    expected = copy.deepcopy(module)
    torch.manual_seed(1)
    update_bn(batches, expected)
    torch.manual_seed(1)
    renew_statistics(module, batches, module)
    for name, buffer in expected.named_buffers():
        torch.testing.assert_close(module.get_buffer(name), buffer)
    assert (module[1].running_mean != 0).all()


@pytest.mark.parametrize(
    ("module", "keeps"),
    [
        (nn.BatchNorm2d(3), True),
        (nn.Sequential(nn.Linear(2, 2), nn.SyncBatchNorm(2)), True),
        (nn.BatchNorm1d(3, track_running_stats=False), False),
        (nn.LayerNorm(3), False),
        (nn.InstanceNorm1d(3, track_running_stats=True), False),  # update_bn leaves them alone
    ],
)
def test_a_module_with_statistics_is_told(module, keeps):
    assert has_statistics(module) == keeps
