"""Values under the losses that scikit-learn's boosting has by name, and what compares cycles then.

A new one is an entry in :data:`CRITERIA`, and one in :data:`_MEASURES` or :data:`_DEVIANCES`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import nn

from skensemble._nets.criteria import (
    LEVELS,
    GammaLoss,
    PoissonLoss,
    QuantileLoss,
    check_levels,
)
from skensemble._types import Array, Floats, Options, Parameter
from skensemble._warnings import short
from skensemble.mean_losses import (
    AbsoluteError,
    GammaDeviance,
    Huber,
    Pinball,
    PoissonDeviance,
)
from skensemble.measures import Measure

from .quantile_targets import QuantileTargets
from .targets import Classes, RealTargets, Weight, _as_matrix, _center_and_spread

#: Criteria by scikit-learn's names. Names of torch's, such as "l1", are found where these end.
CRITERIA: dict[str, type[nn.Module]] = {
    "squared_error": nn.MSELoss,
    "absolute_error": nn.L1Loss,
    "huber": nn.HuberLoss,
    "quantile": QuantileLoss,
    "poisson": PoissonLoss,
    "gamma": GammaLoss,
}

#: An argument of the criterion, its default, and what compares cycles by it and the scale of y.
_MEASURES: dict[str, tuple[str, float, Callable[[float, Floats], Measure]]] = {
    "absolute_error": ("", 0.0, lambda _, scale: AbsoluteError()),
    "huber": ("delta", 1.0, lambda delta, scale: Huber(delta * scale)),
    "quantile": ("quantile", 0.5, lambda level, scale: Pinball(level)),
}


@dataclass(frozen=True)
class NamedTargets(RealTargets):
    """Values, as they are, with a measure of their own."""

    #: A key of the measures.
    loss: str = "absolute_error"
    #: What the criterion has been given: a level, or where a line begins.
    argument: float = 0.0

    @property
    def measure(self) -> Measure:
        return _MEASURES[self.loss][2](self.argument, self._units()[1])


#: What compares cycles, whether values may be 0, and the rule of y in words.
_DEVIANCES: dict[str, tuple[Measure, bool, str]] = {
    "poisson": (PoissonDeviance(), True, "values of at least 0, not all of them 0"),
    "gamma": (GammaDeviance(), False, "values above 0"),
}


@dataclass(frozen=True)
class RateTargets(RealTargets):
    """Counts or amounts: outputs are logarithms, and a value is the mean of y times their exp."""

    is_scaled: bool = False
    #: A key of the deviances.
    loss: str = "poisson"

    def learn(self, y: Array, weight: Weight, classes: Classes = None) -> tuple[Self, Array]:
        values = self._checked(y)
        mean, spread = _center_and_spread(values, weight)
        if not (mean > 0).all():
            raise self._refusal(0.0)
        learned = replace(self, center=np.zeros_like(mean), scale=mean, spread=spread)
        return learned, learned.encode(y)

    def _learn_late(self, values: Floats, weight: Weight) -> Self:
        assert self.spread is not None
        _, spread = _center_and_spread(values, weight)
        return replace(self, spread=np.where(self.spread > 0, self.spread, spread))

    def encode(self, y: Array) -> Floats:
        return super().encode(self._checked(y))

    def _checked(self, y: Array) -> Floats:
        values = _as_matrix(y)
        least = float(values.min())
        may_be_0 = _DEVIANCES[self.loss][1]
        if least < 0 or (least == 0 and not may_be_0):
            raise self._refusal(least)
        return values

    def _refusal(self, least: float) -> ValueError:
        return ValueError(
            f"Got y whose least value is {least:g} with criterion={self.loss!r}, but expected "
            f"{_DEVIANCES[self.loss][2]}: leave out other rows, or use another criterion."
        )

    @property
    def line(self) -> tuple[Floats, Floats]:
        """Factor and summand of the logarithms of values."""
        scale = self._units()[1]
        assert self.spread is not None
        # What is left of a constant target's outputs is noise.
        return np.where(self.spread > 0, 1.0, 0.0), np.log(scale)

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        return torch.exp(super().values(outputs))

    @property
    def measure(self) -> Measure:
        return _DEVIANCES[self.loss][0]


def name_of(criterion: Parameter) -> str | None:
    """Return the name of scikit-learn's that a criterion is given by; None: it is not."""
    name = criterion.lower() if isinstance(criterion, str) else None
    return name if name in CRITERIA else None


def targets_of(
    criterion: Parameter, found: Parameter, options: Options, distribution: str | None
) -> RealTargets:
    """Say what a regressor's parameters mean for y.

    `criterion` is as the user gave it, and `found` the class or instance that it stands for;
    `options` are the arguments of its constructor, and ``scale_target``.
    """
    asked = options.pop("scale_target", None)
    if distribution is not None:
        if criterion is not None:
            raise ValueError(
                f"Got criterion={short(criterion)} with distribution={distribution!r}, but "
                "expected None: quantiles have a loss of their own, the mean pinball loss. Leave "
                "out one of the two."
            )
        RealTargets.of(None, {}, asked)
        levels = check_levels(options.get("levels", LEVELS), "criterion__levels", 2)
        return QuantileTargets(is_scaled=asked is not False, levels=levels)
    name = name_of(criterion)
    plain = RealTargets.of(found, options, asked)
    if name in _DEVIANCES:
        if asked is not None:
            raise ValueError(
                f"Got criterion__scale_target={asked} with criterion={name!r}, but expected none: "
                "y is divided by its mean, and outputs are logarithms. Leave it out."
            )
        return RateTargets(criterion_name=name, loss=name)
    if name in _MEASURES:
        argument, default, _ = _MEASURES[name]
        given = options.get(argument, default)
        if argument == "quantile":
            given = check_levels([given], "criterion__quantile")[0]
        return NamedTargets(
            is_scaled=plain.is_scaled,
            criterion_name=plain.criterion_name,
            loss=name,
            argument=float(given),
        )
    return plain
