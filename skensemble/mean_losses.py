"""Measures that are the mean of a loss of each row: of absolute errors, counts, quantiles.

A new one is a class with the loss and its slope, :meth:`MeanLoss.at`.
"""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from scipy.special import xlogy

from ._types import Array, Floats
from .measures import Loss, Measure, _weighted_mean

#: Least value of which a deviance is taken: exp of an output may be 0.
_TINY = float(np.finfo(np.float64).tiny)


class MeanLoss(Measure):
    """The mean over rows of a loss, which is the mean over the outputs; `y` of shape (n, k)."""

    @abstractmethod
    def at(self, predictions: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return losses, (n, k), and their slopes by the predictions, of the latter's shape."""

    def score(self, predictions: Array, y: Array, sample_weight: Floats, weights: Floats) -> float:
        """Return the negative mean."""
        losses = self.losses(_weighted_mean(weights, predictions), y)
        return -float(np.average(losses, weights=sample_weight))

    def losses(self, predictions: Array, y: Array) -> Floats:
        """Return the loss of each row."""
        return np.asarray(self.at(predictions, y)[0].mean(axis=1), dtype=np.float64)

    def loss_of_weights(self, predictions: Array, y: Array, share: Floats) -> Loss:
        """Return the mean and, by the chain rule, its gradient; 1 is the best cycle's."""
        singles = [float((self.losses(of_one, y) * share).sum()) for of_one in predictions]
        unit = max(min(singles), _TINY) if np.isfinite(min(singles)) else 1.0

        def loss(weights: Floats) -> tuple[float, Floats]:
            losses, slopes = self.at(_weighted_mean(weights, predictions), y)
            slopes = slopes * (share[:, None] / (unit * losses.shape[1]))
            gradient = np.einsum("mnk,nk->m", predictions, slopes)
            return float((losses.mean(axis=1) * share).sum()) / unit, gradient

        return loss


class AbsoluteError(MeanLoss):
    """The mean absolute error."""

    name = "mean absolute error"

    def at(self, predictions: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return losses and their slopes."""
        error = predictions - y
        return np.abs(error), np.sign(error)


@dataclass(frozen=True)
class Huber(MeanLoss):
    """Huber's loss: half the square of errors up to `delta`, beyond it a line."""

    name = "Huber loss"

    #: Of each output.
    delta: Floats

    def at(self, predictions: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return losses and their slopes."""
        error = predictions - y
        slope = error.clip(-self.delta, self.delta)
        return slope * (error - slope / 2), slope

    def in_units(self, units: Floats) -> Self:
        """Return the same loss of values that are divided by units."""
        return replace(self, delta=self.delta / units)


@dataclass(frozen=True)
class Pinball(MeanLoss):
    """The pinball loss of one quantile."""

    name = "pinball loss"

    level: float

    def at(self, predictions: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return losses and their slopes."""
        return _pinball(predictions, y, self.level)


@dataclass(frozen=True)
class GridPinball(MeanLoss):
    """The mean pinball loss of a grid of quantiles, (n, k * n_levels) in order."""

    name = "mean pinball loss"

    levels: tuple[float, ...]

    def at(self, predictions: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return losses, (n, k), and their slopes, (n, k * n_levels)."""
        grid = predictions.reshape(*y.shape, len(self.levels))
        losses, slopes = _pinball(grid, y[:, :, None], np.array(self.levels))
        return losses.mean(axis=2), (slopes / len(self.levels)).reshape(len(y), -1)


def _pinball(predictions: Floats, y: Floats, level: Floats | float) -> tuple[Floats, Floats]:
    error = predictions - y
    slope = np.where(error > 0, 1 - level, np.where(error < 0, -level, 0.0))
    return slope * error, slope


class PoissonDeviance(MeanLoss):
    """The mean Poisson deviance, of predictions above 0."""

    name = "mean Poisson deviance"

    def at(self, predictions: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return losses and their slopes."""
        p = np.maximum(predictions, _TINY)
        return 2 * (xlogy(y, y / p) - y + p), 2 * (1 - y / p)


class GammaDeviance(MeanLoss):
    """The mean gamma deviance, of predictions above 0."""

    name = "mean gamma deviance"

    # It is not where a value is predicted more than twice too high.
    is_convex = False
    usual: Measure | None = PoissonDeviance()

    def at(self, predictions: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return losses and their slopes."""
        p = np.maximum(predictions, _TINY)
        return 2 * (np.log(p / y) + y / p - 1), 2 * (1 - y / p) / p
