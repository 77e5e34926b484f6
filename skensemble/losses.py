"""The loss of weighted rows."""

from typing import Any

import torch
from torch import nn


class WeightedLoss(nn.Module):
    """Mean of ``w * loss`` over a batch, never divided by the batch's own weights.

    Parameters
    ----------
    criterion : nn.Module
        A criterion with an attribute ``reduction``, which becomes ``"none"``.

    Attributes
    ----------
    weight : Tensor of shape (batch,) or None
        Weights of the batch in training, set by the iterator that hands it out; None: all are 1.

    Raises
    ------
    ValueError
        If the criterion has no ``reduction``.
    """

    def __init__(self, criterion: nn.Module):
        super().__init__()
        if not hasattr(criterion, "reduction"):
            raise ValueError(
                f"Got weights with criterion={type(criterion).__name__}, but expected a criterion "
                "with reduction='none', so that the loss of each row can be weighted."
            )
        self.reduction = str(criterion.reduction)
        self.criterion = criterion
        criterion.__dict__["reduction"] = "none"
        self.weight: torch.Tensor | None = None

    def forward(self, y_pred: Any, y_true: torch.Tensor) -> torch.Tensor:
        loss = self.criterion(y_pred, y_true)
        if self.training and self.weight is not None:
            loss = loss * self.weight.reshape(-1, *[1] * (loss.ndim - 1))
        return loss.sum() if self.reduction == "sum" else loss.mean()
