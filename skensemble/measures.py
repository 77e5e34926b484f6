"""Losses by which cycles are weighed, stopped and scored on rows that they have not seen.

A new one is a class that follows :class:`Measure`.
"""

from collections.abc import Callable
from typing import Protocol

import numpy as np

from ._types import Array, Floats

#: Lowest probability in a loss: one sure mistake must not outweigh all other rows.
_EPS = 1e-15

#: From weights to their loss and its gradient.
Loss = Callable[[Floats], tuple[float, Floats]]


class Measure(Protocol):
    """A loss of the weighted mean of predictions."""

    #: What it is called in pictures.
    name: str = "loss"
    #: Whether the loss is convex in the weights, so that an optimizer finds the least.
    is_convex: bool = True
    #: The convex loss whose weights one that is not convex must better; None: that of `y`.
    usual: "Measure | None" = None

    def score(self, predictions: Array, y: Array, sample_weight: Floats, weights: Floats) -> float:
        """Return the score of the mean of predictions, (M, n, k), by `weights`: higher is better.

        `y` and `sample_weight` have a row for each of n.
        """

    def loss_of_weights(self, predictions: Array, y: Array, share: Floats) -> Loss:
        """Return the loss as a function of the weights, up to a factor; `share` sums to 1."""

    def prefers(
        self, weights: Floats, other: Floats, predictions: Array, y: Array, sample_weight: Floats
    ) -> bool:
        """Tell whether weights are to be taken in place of others."""
        one, two = (self.score(predictions, y, sample_weight, w) for w in (weights, other))
        return one > two

    def losses(self, predictions: Array, y: Array) -> Floats | None:
        """Return the loss of each row of predictions, (n, k); None: it is no mean over rows."""
        return None

    def in_units(self, units: Floats) -> "Measure":
        """Return the same loss for values that are divided by the units of their outputs."""
        return self


class LogLoss(Measure):
    """Negative logarithm of the probability of the true class; `y` has class indices."""

    name = "log loss"

    def score(self, predictions: Array, y: Array, sample_weight: Floats, weights: Floats) -> float:
        """Return the negative log-loss."""
        losses = _weighted_mean(weights, _true_class_probabilities(predictions, y))
        losses.clip(_EPS, out=losses)
        losses = np.negative(np.log(losses, out=losses), out=losses)
        return -float(np.average(losses, weights=sample_weight))

    def losses(self, predictions: Array, y: Array) -> Floats:
        """Return the log-loss of each row."""
        return -np.log(_true_class_probabilities(predictions[None], y)[0].clip(_EPS))

    def loss_of_weights(self, predictions: Array, y: Array, share: Floats) -> Loss:
        """Return the log-loss, which needs the probabilities of the true classes alone."""
        true = _true_class_probabilities(predictions, y)

        def loss(weights: Floats) -> tuple[float, Floats]:
            p = _weighted_mean(weights, true)
            p.clip(_EPS, out=p)
            # In place: of many rows each array is as large as a column of the table.
            logs = np.log(p)
            logs *= share
            return -float(logs.sum()), -np.einsum("mn,n->m", true, np.divide(share, p, out=p))

        return loss


class SquaredError(Measure):
    """Mean of the squared errors over the outputs; `y` is of shape (n, k)."""

    name = "mean squared error"

    def score(self, predictions: Array, y: Array, sample_weight: Floats, weights: Floats) -> float:
        """Return the negative mean squared error."""
        combined = _weighted_mean(weights, predictions)
        losses = ((combined - y) ** 2).mean(axis=1)
        return -float(np.average(losses, weights=sample_weight))

    def losses(self, predictions: Array, y: Array) -> Floats:
        """Return the squared error of each row, the mean over its outputs."""
        return np.asarray(((predictions - y) ** 2).mean(axis=1), dtype=np.float64)

    def loss_of_weights(self, predictions: Array, y: Array, share: Floats) -> Loss:
        """Return a quadratic form, which the squared error is where weights sum to 1."""
        errors = np.asarray(predictions - y, dtype=np.float64)
        errors *= np.sqrt(share)[:, None]
        errors = errors.reshape(len(errors), -1)
        products = np.einsum("ip,jp->ij", errors, errors)
        # Divided by the error of the best cycle: one that is far off must not set the scale.
        least = max(products.diagonal().min(), np.finfo(np.float64).eps * np.trace(products))
        products /= max(least, np.finfo(np.float64).tiny)

        def loss(weights: Floats) -> tuple[float, Floats]:
            gradient = np.einsum("ij,j->i", products, weights)
            return float((weights * gradient).sum()), 2 * gradient

        return loss


class LabelLogLoss(Measure):
    """Mean of the labels' log-losses; `y` has 0 or 1 for each label, (n, L)."""

    name = "log loss"

    def score(self, predictions: Array, y: Array, sample_weight: Floats, weights: Floats) -> float:
        """Return the negative mean log-loss."""
        of_true = _true_label_probabilities(predictions, y)
        each = np.repeat(sample_weight, y.shape[1])
        return LogLoss().score(of_true, y, each, weights)

    def losses(self, predictions: Array, y: Array) -> Floats:
        """Return the mean log-loss of each row's labels."""
        of_true = _true_label_probabilities(predictions[None], y)
        return -np.log(of_true.reshape(y.shape).clip(_EPS)).mean(axis=1)

    def loss_of_weights(self, predictions: Array, y: Array, share: Floats) -> Loss:
        """Return the loss, which needs the probability of what is true of each label alone."""
        of_true = _true_label_probabilities(predictions, y)
        return LogLoss().loss_of_weights(of_true, y, np.repeat(share / y.shape[1], y.shape[1]))


def measure_of(y: Array) -> Measure:
    """Return the measure of class indices, (n,), or of values, (n, k)."""
    return LogLoss() if y.ndim == 1 else SquaredError()


def _weighted_mean(weights: Floats, values: Array) -> Floats:
    """Return the mean over the first axis, without BLAS, whose bits depend on its threads."""
    return np.einsum("m,m...->...", weights, values)


def _true_class_probabilities(predictions: Array, y: Array) -> Floats:
    """Select the probabilities of the true classes, (M, n)."""
    if predictions.shape[2] == 1:  # they are all there is: see `Unseen.of_true_class`
        return predictions[:, :, 0]
    true = predictions[:, np.arange(len(y)), y]
    return np.ascontiguousarray(true, dtype=np.float64)


def _true_label_probabilities(predictions: Array, y: Array) -> Floats:
    """Return the probability of what is true of each label of each row, (M, n * L, 1)."""
    true = np.where(y != 0, predictions, 1 - predictions)
    return np.asarray(true, dtype=np.float64).reshape(len(predictions), -1, 1)
