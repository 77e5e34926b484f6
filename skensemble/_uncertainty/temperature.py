"""One number that makes probabilities more or less sure, after the mean over members."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, log_expit, log_softmax, logit, softmax

from skensemble._types import Array, Floats

#: Lowest probability in a loss: one sure mistake must not outweigh all other rows.
_LEAST = 1e-15

#: Bounds of the logarithm of a temperature.
_BOUNDS = (-3.0, 3.0)


class Temperature(NamedTuple):
    """The temperature of least log-loss, and what it gains."""

    value: float
    #: Mean of what it takes off the log-loss of a row, and the standard error of that mean.
    gain: float
    error: float

    @property
    def pays(self) -> bool:
        """Whether the gain is more than its standard error."""
        return self.gain > self.error


def find_temperature(probabilities: Floats, y: Array, weight: Floats) -> Temperature:
    """Find the temperature of least log-loss on rows that the models have not seen.

    Parameters
    ----------
    probabilities : ndarray of shape (n, k)
    y : ndarray of shape (n,) or (n, k)
        Class indices, or 0 and 1 for each label; then the loss is the mean of the labels'.
    weight : ndarray of shape (n,)

    Returns
    -------
    temperature : Temperature
        Guo, Pleiss, Sun and Weinberger 2017, section 4.2; of a mean, as in Rahaman and Thiery 2021.
    """
    losses = _losses_of_classes(probabilities, y) if y.ndim == 1 else _of_labels(probabilities, y)
    share = weight / weight.sum()

    # In 1 / T the loss is convex, so that it has one minimum.
    found = minimize_scalar(
        lambda t: float(share @ losses(t)),
        bounds=_BOUNDS,
        method="bounded",
        options={"xatol": 1e-4},
    )
    gains = losses(0.0) - losses(found.x)
    gain = float(share @ gains)
    error = float(np.sqrt(share**2 @ (gains - gain) ** 2))
    return Temperature(float(np.exp(found.x)), gain, error)


def _losses_of_classes(probabilities: Floats, y: Array) -> Callable[[float], Floats]:
    """Return the function from the logarithm of a temperature to the loss of each row."""
    logs = np.log(np.clip(probabilities, _LEAST, None))
    rows = np.arange(len(y))
    return lambda log_t: -log_softmax(logs * np.exp(-log_t), axis=1)[rows, y]


def _of_labels(probabilities: Floats, y: Array) -> Callable[[float], Floats]:
    """Return the same of labels, for which the loss of a row is the mean of theirs."""
    scores = logit(np.clip(probabilities, _LEAST, 1 - _LEAST)) * np.where(y != 0, 1, -1)
    return lambda log_t: -log_expit(scores * np.exp(-log_t)).mean(axis=1)


def temper(probabilities: Floats, temperature: float) -> Floats:
    """Raise probabilities to the power of 1 / temperature; along the last axis they sum to 1."""
    if temperature == 1:
        return probabilities
    with np.errstate(divide="ignore"):  # a probability of 0 stays 0
        return softmax(np.log(probabilities) / temperature, axis=-1)


def temper_labels(probabilities: Floats, temperature: float) -> Floats:
    """Divide the log-odds of each probability by the temperature."""
    return probabilities if temperature == 1 else expit(logit(probabilities) / temperature)
