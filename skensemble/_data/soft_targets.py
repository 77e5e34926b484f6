"""Probabilities in place of labels: what a network learns of an ensemble (distillation)."""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from torch import nn

from skensemble._types import Array, Floats, Input, Options

from .heads import Sigmoids
from .targets import Classes, Targets, Weight


@dataclass(frozen=True)
class SoftClasses(Targets):
    """A probability for each class, which the cross-entropy takes as it is (Hinton et al. 2015)."""

    #: What the labels mean, learned in the fit of the ensemble.
    known: Targets
    is_loss_known: bool = True

    y_checks: ClassVar[Options] = {"multi_output": True, "y_numeric": True}
    default_criterion: ClassVar[type[nn.Module]] = nn.CrossEntropyLoss
    unseen_name: ClassVar[str] = "oof_decision_function_"

    def check_kind(self, y: Input) -> None:
        """Take what an ensemble says."""
        return

    def learn(self, y: Array, weight: Weight, classes: Classes = None) -> tuple[Self, Array]:
        return self, self.encode(y)

    def resume(
        self, before: Self, y: Array, weight: Weight, classes: Classes = None
    ) -> tuple[Self, Array]:
        return before, self.encode(y)

    def adopt(self, before: Self) -> Self:
        return before

    def encode(self, y: Array) -> Floats:
        return np.asarray(y, dtype=np.float64)

    def weigh(self, y: Array, weight: Weight) -> Weight:
        return weight

    @property
    def n_outputs(self) -> int:
        return self.known.n_outputs

    def check_output(self, output: torch.Tensor, module_name: str, n_samples: int) -> None:
        self.known.check_output(output, module_name, n_samples)

    def tensor(self, y: Array, output: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(y).to(output.dtype)

    def truth(self, y: Array) -> Array:
        return y

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        return self.known.values(outputs)

    def decode(self, combined: Floats) -> Array:
        return self.known.decode(combined)

    def shape_unseen(self, combined: Floats) -> Floats:
        return self.known.shape_unseen(combined)


@dataclass(frozen=True)
class SoftLabels(Sigmoids, SoftClasses):
    """A probability for each of several labels a row."""

    default_criterion: ClassVar[type[nn.Module]] = nn.BCEWithLogitsLoss


def soft(known: Targets) -> SoftClasses:
    """Return the targets of a network that learns the probabilities of an ensemble."""
    return SoftLabels(known) if known.has_sigmoids else SoftClasses(known)
