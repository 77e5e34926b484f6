"""Values of which a grid of quantiles is predicted (``distribution="quantiles"``)."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from skensemble._nets.criteria import LEVELS, GridLoss, in_order
from skensemble._types import Array, Floats
from skensemble.mean_losses import GridPinball
from skensemble.measures import Measure

from .targets import RealTargets, squeeze_output


@dataclass(frozen=True)
class QuantileTargets(RealTargets):
    """Values: the network has an output for each level of each of them.

    What is averaged over members are the grids, (n, k * n_levels): those of the first output come
    first, each in order, so that means are in order too. A prediction is the mean of a grid.
    """

    criterion_name: str = GridLoss.__name__
    #: Of the quantiles, from the lowest on.
    levels: tuple[float, ...] = LEVELS

    default_criterion: ClassVar[type[nn.Module]] = GridLoss

    @property
    def n_outputs(self) -> int:
        return len(self._units()[0]) * len(self.levels)

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        scale, center = (torch.from_numpy(np.array(part)) for part in self.line)
        outputs = outputs.double().reshape(*outputs.shape[:2], len(scale), len(self.levels))
        return (in_order(outputs) * scale[:, None] + center[:, None]).flatten(start_dim=2)

    @property
    def measure(self) -> Measure:
        return GridPinball(self.levels)

    def means(self, values: Floats) -> Floats:
        """Return the integral of each quantile function, which is a line between two levels.

        Below the lowest level, and above the highest, it is as there.
        """
        grid = self.grid(values)
        return np.asarray(np.einsum("...l,l->...", grid, mass_of(self.levels)), dtype=np.float64)

    def noise(self, values: Floats) -> Floats:
        """Return the variance of each distribution."""
        grid = self.grid(values)
        grid = grid - grid[..., :1]  # or squares of large values leave nothing
        ends = np.array([0.0, *self.levels, 1.0])
        held = np.concatenate([grid[..., :1], grid, grid[..., -1:]], axis=-1)
        low, high = held[..., :-1], held[..., 1:]
        squares = np.einsum("...l,l->...", low**2 + low * high + high**2, np.diff(ends) / 3)
        means = np.einsum("...l,l->...", grid, mass_of(self.levels))
        return np.maximum(squares - means**2, 0.0)

    def grid(self, values: Floats) -> Floats:
        """Return the quantiles of each output along a last axis."""
        return values.reshape(*values.shape[:-1], -1, len(self.levels))

    def quantiles(self, values: Floats, levels: Floats) -> Floats:
        """Return quantiles of other levels along a last axis.

        Between two levels they lie on a line; outside of the grid they are those of its ends.
        """
        grid = self.grid(values)
        own = np.array(self.levels)
        place = np.clip(np.searchsorted(own, levels, side="right") - 1, 0, max(len(own) - 2, 0))
        after = np.minimum(place + 1, len(own) - 1)
        width = own[after] - own[place]
        part = np.clip((levels - own[place]) / np.where(width > 0, width, 1.0), 0.0, 1.0)
        low, high = grid[..., place], grid[..., after]
        # The first form is exact at one end, the second at the other: neither leaves the two.
        return np.where(part < 0.5, low + part * (high - low), high - (1 - part) * (high - low))

    def r2(self, y: Array, predictions: Array, weight: Floats) -> float | None:
        return super().r2(y, self.means(predictions), weight)

    def conformity(self, y: Array, predictions: Floats, spread: Floats) -> Floats:
        above = (self.grid(predictions) - y[:, :, None]).reshape(len(y), -1)
        return np.hstack([above, self.means(spread)])

    def residuals(self, scores: Floats) -> tuple[Floats, Floats]:
        k = len(self._units()[0])
        return np.abs(self.means(scores[:, :-k])), scores[:, -k:]

    def decode(self, combined: Floats) -> Array:
        return squeeze_output(self.means(combined))

    def shape_unseen(self, combined: Floats) -> Floats:
        return squeeze_output(self.means(combined))


def mass_of(levels: tuple[float, ...]) -> Floats:
    """Return what each quantile weighs in the mean (trapezoid rule, the ends being held)."""
    between = np.diff(levels) / 2
    mass = np.append(between, 1 - levels[-1])
    mass += np.append(levels[0], between)
    return mass
