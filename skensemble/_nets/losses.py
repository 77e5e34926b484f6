"""The loss of weighted rows."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


class WeightedLoss(nn.Module):
    """Mean of ``w * loss`` over a batch, never divided by the batch's own weights.

    Parameters
    ----------
    criterion : nn.Module
        A criterion that heeds its attribute ``reduction``.

    Attributes
    ----------
    weight : Tensor of shape (batch,) or None
        Weights of the batch in training, set by the iterator that hands it out; None: all are 1.

    Raises
    ------
    ValueError
        If the criterion has no ``reduction``, or does not heed it.
    """

    def __init__(self, criterion: nn.Module):
        super().__init__()
        if not hasattr(criterion, "reduction"):
            raise ValueError(_needs_rows(criterion))
        self.criterion = criterion
        self.reduction = str(criterion.reduction)
        self.weight: torch.Tensor | None = None
        self._is_due = False

    def take_weight(self, weight: torch.Tensor | None) -> None:
        """Weights of the next batch, or None after the last.

        Raises
        ------
        ValueError
            If the weights before were not used: a net's own ``get_loss`` passed them over.
        """
        if self._is_due:
            raise ValueError(
                "Got weights with a net whose get_loss makes no use of criterion_, but expected "
                "one that calls it: only there the loss of each row is weighted."
            )
        self.weight, self._is_due = weight, weight is not None

    def let_go(self) -> None:
        """Forget the weights of the last batch, used or not."""
        self.weight, self._is_due = None, False

    def forward(self, y_pred: Any, y_true: torch.Tensor) -> torch.Tensor:
        if not self.training or self.weight is None:
            self.criterion.__dict__["reduction"] = self.reduction
            return self.criterion(y_pred, y_true)
        self._is_due = False
        self.criterion.__dict__["reduction"] = "none"
        loss = self.criterion(y_pred, y_true)
        if loss.ndim == 0 or len(loss) != len(self.weight):
            raise ValueError(_needs_rows(self.criterion))
        loss = loss * self.weight.reshape(-1, *[1] * (loss.ndim - 1))
        return loss.sum() if self.reduction == "sum" else loss.mean()


#: Torch's default of ``ignore_index``, which is no class of ours.
_NONE_IGNORED = -100

#: Criteria whose mean is over single rows, so that the rows of all chains can stand in one batch.
_BY_ROW = (
    nn.CrossEntropyLoss,
    nn.MSELoss,
    nn.L1Loss,
    nn.SmoothL1Loss,
    nn.HuberLoss,
    nn.BCEWithLogitsLoss,
)


def summed(criterion: nn.Module, y_pred: torch.Tensor, y_true: torch.Tensor) -> torch.Tensor:
    """Sum of the chains' own losses, never the loss of their mean.

    Chains that lower the loss of their mean agree to err in opposite directions (Jeffares et al.
    2023, "Joint Training of Deep Ensembles Fails Due to Learner Collusion").

    Parameters
    ----------
    criterion : nn.Module
    y_pred, y_true : Tensor of shape (chains, batch, ...)
    """
    is_plain = (
        type(criterion) in _BY_ROW
        and getattr(criterion, "weight", None) is None
        and getattr(criterion, "ignore_index", _NONE_IGNORED) == _NONE_IGNORED
    )
    if is_plain or isinstance(criterion, WeightedLoss):
        loss = criterion(y_pred.flatten(0, 1), y_true.flatten(0, 1))
        return loss * len(y_pred) if criterion.reduction == "mean" else loss
    return torch.stack([criterion(p, t) for p, t in zip(y_pred, y_true, strict=True)]).sum()


def learns_nothing(criterion: nn.Module) -> bool:
    """Whether chains can share a criterion: it has no parameters, and no buffers that change."""
    if isinstance(criterion, WeightedLoss):
        criterion = criterion.criterion
    tensors = [*criterion.parameters(), *criterion.buffers()]
    return type(criterion) in _BY_ROW or not tensors


LossAndGradient = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def by_hand(criterion: nn.Module) -> LossAndGradient | None:
    """:func:`summed` and its gradient without autograd, for the two losses that most fits have."""
    if type(criterion) is nn.MSELoss and criterion.reduction == "mean":
        return _squared_error
    if (
        type(criterion) is nn.CrossEntropyLoss
        and criterion.reduction == "mean"
        and criterion.weight is None
        and criterion.label_smoothing == 0
        and criterion.ignore_index == _NONE_IGNORED
    ):
        return _cross_entropy
    return None


def _squared_error(y_pred: torch.Tensor, y_true: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    error = y_pred - y_true
    share = len(y_pred) / y_pred.numel()
    return error.square().sum() * share, error.mul_(2 * share)


def _cross_entropy(y_pred: torch.Tensor, y_true: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    # Across the classes and not along them: along so short an axis a softmax is slow.
    log_p = torch.log_softmax(y_pred.flatten(0, 1).T.contiguous(), dim=0)
    true = y_true.flatten()[None]
    share = 1 / y_true.shape[1]
    loss = log_p.gather(0, true).sum() * -share
    gradient = log_p.exp_().mul_(share)
    gradient.scatter_add_(0, true, gradient.new_full((), -share).expand_as(true))
    return loss, gradient.T.contiguous().view_as(y_pred)


def _needs_rows(criterion: nn.Module) -> str:
    return (
        f"Got weights with criterion={type(criterion).__name__}, but expected a criterion that "
        "heeds reduction='none', so that the loss of each row can be weighted."
    )
