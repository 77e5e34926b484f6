"""Losses that torch has not: of quantiles, and of counts and amounts by the logarithm."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from skensemble._warnings import short

#: Levels of a grid of quantiles where nothing else is said: it has the ends of intervals that hold
#: 80, 90, 95 and 98 % of the values.
LEVELS = (0.01, 0.025, 0.05, *(round(0.05 * i, 2) for i in range(2, 19)), 0.95, 0.975, 0.99)


class OfRows(nn.Module):
    """A loss of each target that is averaged over all rows, as ``reduction`` says."""

    #: What torch's losses take.
    _REDUCTIONS: ClassVar[tuple[str, ...]] = ("none", "mean", "sum")

    def __init__(self, reduction: str = "mean"):
        super().__init__()
        if reduction not in self._REDUCTIONS:
            raise ValueError(
                f"Got reduction={reduction!r}, but expected one of {self._REDUCTIONS}."
            )
        self.reduction = reduction

    def losses(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        """Return the loss of each target."""
        raise NotImplementedError

    def forward(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        """Return the loss of all rows."""
        losses = self.losses(y_pred, y_true)
        if self.reduction == "none":
            return losses
        return losses.mean() if self.reduction == "mean" else losses.sum()


class QuantileLoss(OfRows):
    """The pinball loss, whose least is a quantile.

    Parameters
    ----------
    quantile : float, default=0.5
        Its level, above 0 and below 1.
    reduction : {"mean", "sum", "none"}, default="mean"
    """

    def __init__(self, quantile: float = 0.5, reduction: str = "mean"):
        super().__init__(reduction)
        self.quantile = check_levels([quantile], "quantile")[0]

    def losses(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        """Return the loss of each target."""
        error = y_true - y_pred
        return (self.quantile * error).maximum((self.quantile - 1) * error)


class GridLoss(OfRows):
    """The mean pinball loss over a grid of levels, of outputs that are sorted first.

    Outputs that cross are put in order, which never raises the loss (Chernozhukov, Fernández-Val
    and Galichon 2010, "Quantile and Probability Curves Without Crossing", proposition 4). Outputs
    are of shape (n, k * n_levels), those of the first target first; targets of shape (n, k).

    Parameters
    ----------
    levels : sequence of float, default=LEVELS
        They increase, above 0 and below 1.
    reduction : {"mean", "sum", "none"}, default="mean"
    """

    def __init__(self, levels: Sequence[float] = LEVELS, reduction: str = "mean"):
        super().__init__(reduction)
        self.levels = check_levels(levels)

    def losses(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        """Return the loss of each target, its mean over the levels."""
        grid = y_pred.unflatten(-1, (-1, len(self.levels)))
        losses: Tensor = _SortedPinball.apply(grid, y_true, grid.new_tensor(self.levels))
        return losses


class _SortedPinball(torch.autograd.Function):
    """The same as torch's own steps, with the slope by hand: those take ten times as long."""

    @staticmethod
    def forward(ctx: Any, grid: Tensor, y: Tensor, level: Tensor) -> Tensor:
        """Return the mean over levels; `grid` is of shape (..., n_levels), `y` of shape (...)."""
        grid, crossed, places = _sort_crossed(grid)
        error = y.unsqueeze(-1) - grid
        slope = (error < 0).to(error.dtype).sub_(level)
        losses = error.mul_(slope).mean(dim=-1).neg_()
        slope /= len(level)
        if places is not None:
            # Each output has the slope of the level at which it was put.
            slope[crossed] = torch.empty_like(slope[crossed]).scatter_(-1, places, slope[crossed])
        ctx.save_for_backward(slope)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient of the grid; nothing else is trained."""
        (slope,) = ctx.saved_tensors
        return slope * gradient.unsqueeze(-1), None, None


def in_order(grid: Tensor) -> Tensor:
    """Sort the last axis."""
    return _sort_crossed(grid)[0]


def _sort_crossed(grid: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Sort rows that are not in order; say which, and the place that each value had.

    Most are in order soon, and looking is a tenth of sorting.
    """
    crossed = (grid[..., 1:] < grid[..., :-1]).any(dim=-1)
    if not bool(crossed.any()):
        return grid, crossed, None
    rows = grid[crossed]
    if rows.device.type == "cpu":  # numpy sorts short rows in a fourth of torch's time
        places = torch.from_numpy(np.argsort(rows.detach().numpy(), axis=-1))
    else:
        places = rows.argsort(dim=-1)
    grid = grid.clone()
    grid[crossed] = rows.gather(-1, places)
    return grid, crossed, places


def check_levels(
    levels: Sequence[float], name: str = "levels", least: int = 1
) -> tuple[float, ...]:
    """Return levels as floats; refuse those that do not increase, above 0 and below 1."""
    try:
        given = tuple(float(level) for level in levels)
    except (TypeError, ValueError):
        given = ()
    bounded = (0.0, *given, 1.0)
    if len(given) < least or not all(a < b for a, b in pairwise(bounded)):
        is_one = name.endswith("quantile")
        rule = "a number" if is_one else f"at least {least} numbers that increase, each"
        shown = short(levels[0] if is_one else levels)
        raise ValueError(
            f"Got {name}={shown}, but expected {rule} above 0 and below 1, such as 0.5."
        )
    return given


class PoissonLoss(OfRows):
    """Half the Poisson deviance, up to what outputs do not change; these are logarithms."""

    def losses(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        """Return the loss of each target."""
        return torch.exp(y_pred) - y_true * y_pred


class GammaLoss(OfRows):
    """Half the gamma deviance, up to what outputs do not change; these are logarithms."""

    def losses(self, y_pred: Tensor, y_true: Tensor) -> Tensor:
        """Return the loss of each target."""
        return y_pred + y_true * torch.exp(-y_pred)
