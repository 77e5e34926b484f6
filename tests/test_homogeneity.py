"""Losses for which the unit of the targets does not matter are found."""

import functools

import pytest
import torch
from torch import nn

from skensemble._nets.homogeneity import is_homogeneous, is_of_differences


class Pinball(nn.Module):
    def __init__(self, q=0.9):
        super().__init__()
        self.q = q

    def forward(self, y_pred, y_true):
        error = y_true - y_pred
        return (self.q * error).maximum((self.q - 1) * error).mean()


class Quartic(nn.Module):
    def forward(self, y_pred, y_true):
        return (y_pred - y_true).pow(4).mean()


class LogCosh(nn.Module):
    def forward(self, y_pred, y_true):
        return (y_pred - y_true).cosh().log().mean()


class OwnHuber(nn.Module):
    def forward(self, y_pred, y_true):
        return nn.functional.huber_loss(y_pred, y_true, delta=0.01)


class Relative(nn.Module):
    def forward(self, y_pred, y_true):
        return ((y_pred - y_true) / y_true).abs().mean()


class Broken(nn.Module):
    def forward(self, y_pred, y_true):
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [
        (None, True),
        (nn.MSELoss, True),
        (nn.L1Loss(), True),
        (nn.HuberLoss, True),
        (functools.partial(nn.SmoothL1Loss, beta=0.1), True),
        (Pinball, True),
        (Pinball(0.1), True),
        (Quartic, True),
        (lambda q: Pinball(q), True),
        (LogCosh, False),
        (OwnHuber, False),
        (Relative, False),
        (Broken, False),
        (nn.PoissonNLLLoss, False),
        (nn.GaussianNLLLoss, False),
        (nn.CrossEntropyLoss, False),
    ],
)
def test_a_loss_is_the_same_in_any_unit_or_is_not(criterion, expected):
    assert is_homogeneous(criterion, {"q": 0.3} if callable(criterion) else {}) == expected or (
        is_homogeneous(criterion, {}) == expected
    )


def test_what_is_tried_is_no_loss_that_is_known():
    assert not is_of_differences(Pinball)
    state = torch.get_rng_state()
    is_homogeneous(lambda: nn.Sequential(nn.Dropout()), {})
    assert torch.equal(torch.get_rng_state(), state)
