"""Scores of predictions, and what they come to over several tables."""

from collections.abc import Callable, Iterable
from statistics import geometric_mean
from typing import Any

import numpy as np
from scipy.optimize import OptimizeResult, minimize_scalar
from scipy.special import logsumexp

#: Figures of a fit by which methods are compared; lower is better.
LOSS, TEMPERED, ERROR = "loss", "loss at the best temperature", "error rate"


# Of predictions


def log_loss(p: np.ndarray, y: np.ndarray) -> float:
    """Return the mean log-loss of class probabilities, in nats."""
    return -float(np.log(p[np.arange(len(y)), y].clip(1e-15)).mean())


def rmse(scale: float) -> Callable[[np.ndarray, np.ndarray], float]:
    """Return a function for the root mean squared error in units of `scale`."""

    def loss(values: np.ndarray, y: np.ndarray) -> float:
        return float(np.sqrt(np.mean((values - y.reshape(values.shape)) ** 2)) / scale)

    return loss


def numbered(y: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return the number of each class; one that the training rows lack comes after all others."""
    numbers = np.searchsorted(classes, y).clip(max=len(classes) - 1)
    return np.where(classes[numbers] == y, numbers, len(classes))


def classification_scores(p: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return the figures of class probabilities.

    They are of shape (n, k), and `y` holds numbers of classes. Class number k is one that no
    method could predict.
    """
    p = np.column_stack([p, np.zeros(len(p))]) if y.max() == p.shape[1] else p
    p = p / p.sum(axis=1, keepdims=True)
    return {
        LOSS: log_loss(p, y),
        TEMPERED: tempered_log_loss(p, y),
        ERROR: float(np.mean(p.argmax(axis=1) != y)),
    }


def tempered_log_loss(p: np.ndarray, y: np.ndarray) -> float:
    """Return the log-loss of ``p ** (1 / T)``, scaled to sum 1, at the best T for these rows.

    This much of the loss would be left if only the confidence were wrong.
    """
    return float(_cooled(p, y).fun)


def best_temperature(p: np.ndarray, y: np.ndarray) -> float:
    """Return that T."""
    return float(np.exp(_cooled(p, y).x))


def _cooled(p: np.ndarray, y: np.ndarray) -> OptimizeResult:
    logs = np.log(p.clip(1e-15))

    def loss(log_temperature: float) -> float:
        tempered = logs / np.exp(log_temperature)
        return float(np.mean(logsumexp(tempered, axis=1) - tempered[np.arange(len(y)), y]))

    return minimize_scalar(loss, bounds=(-3, 5), method="bounded")


# Over tables


def percent(ratios: Iterable[float]) -> float:
    """Return by how many per cent the geometric mean of ratios is above 1."""
    return 100 * (geometric_mean(ratios) - 1)


def wins(ratios: dict[str, float]) -> str:
    """Say on how many tables the ratio is below 1, and of how many."""
    return f"{sum(ratio < 1 for ratio in ratios.values())} of {len(ratios)}"


def relative(ratios: dict[str, float]) -> dict[str, Any]:
    """Return how much higher the loss is over all tables, and on the worst of them."""
    worst = max(ratios, key=lambda name: ratios[name])
    return {
        "loss, %": percent(ratios.values()),
        "worst table, %": 100 * (ratios[worst] - 1),
        "worst table": worst,
    }
