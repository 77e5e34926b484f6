"""What the head of a network makes of its raw scores, and what is made of members' answers."""

from typing import ClassVar, Protocol

import numpy as np
import torch
from torch import nn

from skensemble._nets.homogeneity import kind_of
from skensemble._types import Floats, Parameter
from skensemble._uncertainty.conformal import Conformity, gaps, masses
from skensemble._uncertainty.temperature import temper, temper_labels
from skensemble.members import majority, majority_of_labels

#: Losses of torch that take a raw score and a 0 or 1 for each label. A class of the user's own may
#: take them too.
_LOSSES = (nn.BCEWithLogitsLoss, nn.MultiLabelSoftMarginLoss)

#: The module that defines torch's losses.
_TORCH = nn.BCEWithLogitsLoss.__module__


class Head(Protocol):
    """A softmax, of classes that exclude each other, unless a subclass says something else."""

    #: Whether each output has a sigmoid of its own.
    has_sigmoids: ClassVar[bool] = False

    #: Levels of the quantiles that are predicted of each output; none: it is its mean.
    levels: tuple[float, ...] = ()

    def check_loss(self, criterion: Parameter) -> None:
        """Refuse a loss of torch's that is known to train another head."""
        return

    def vote(self, values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Return the weight of the members that vote for each output, (S, n, k).

        `values` are their probabilities, (M, n, k), and `weights` of shape (S, M).
        """
        return majority(values, weights)

    def entropy(self, values: torch.Tensor) -> torch.Tensor:
        """Return the entropies of probabilities, one for each distribution along the last axis."""
        return torch.special.entr(values).sum(dim=-1, keepdim=True)

    def temper(self, combined: Floats, temperature: float) -> Floats:
        """Return probabilities as they are at a temperature."""
        return temper(combined, temperature)

    def questions(self, values: Floats) -> list[Floats]:
        """Return the probabilities of each question that is answered for itself.

        Its answers stand along the last axis. Of classes there is one question: which of them?
        """
        return [values]

    def score_answers(self, probabilities: Floats) -> tuple[Floats, Floats]:
        """Return the two parts of the scores by which sets are made."""
        return masses(probabilities)

    def by_question(self, conformity: Conformity) -> list[Conformity]:
        """Return for each question how far off predictions were."""
        return [conformity]

    def word_answer(self, question: int, answer: int) -> str:
        """Return words for an answer, to stand behind "rows"."""
        return ""

    def means(self, values: Floats) -> Floats:
        """Return what is predicted of each output, (..., k), from what is averaged."""
        return values

    def noise(self, values: Floats) -> Floats:
        """Return the variance of each output, (..., k), where its quantiles are predicted."""
        return np.zeros_like(self.means(values))

    def residuals(self, scores: Floats) -> tuple[Floats, Floats]:
        """Return the absolute errors of values, (n, k), and their spread, from conformity."""
        k = scores.shape[1] // 2
        return scores[:, :k], scores[:, k:]


class Sigmoids(Head):
    """A sigmoid for each output, of labels that are there or not whatever the others are."""

    has_sigmoids: ClassVar[bool] = True

    def check_loss(self, criterion: Parameter) -> None:
        made = kind_of(criterion)
        kinds: tuple[type, ...] = getattr(made, "__mro__", ())
        of_torch = [k for k in kinds if k.__module__ == _TORCH and not k.__name__.startswith("_")]
        if of_torch and not issubclass(of_torch[0], _LOSSES):
            raise ValueError(
                f"Got criterion={kinds[0].__name__} with several labels a row, but expected one "
                "that takes a raw score and 0 or 1 for each label, such as nn.BCEWithLogitsLoss, "
                "which None stands for."
            )

    def vote(self, values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return majority_of_labels(values, weights)

    def entropy(self, values: torch.Tensor) -> torch.Tensor:
        return torch.special.entr(values) + torch.special.entr(1 - values)

    def temper(self, combined: Floats, temperature: float) -> Floats:
        return temper_labels(combined, temperature)

    def questions(self, values: Floats) -> list[Floats]:
        return [np.stack([1 - p, p], axis=-1) for p in np.moveaxis(values, -1, 0)]

    def score_answers(self, probabilities: Floats) -> tuple[Floats, Floats]:
        return gaps(probabilities)

    def by_question(self, conformity: Conformity) -> list[Conformity]:
        predictions, y = np.hsplit(conformity.scores, 2)
        return [
            conformity._replace(
                scores=np.column_stack([part[np.arange(len(own)), own] for part in gaps(p)]),
                labels=own,
            )
            for p, own in zip(self.questions(predictions), y.T.astype(np.int32), strict=True)
        ]

    def word_answer(self, question: int, answer: int) -> str:
        return f" whose label {question} is {answer}"
