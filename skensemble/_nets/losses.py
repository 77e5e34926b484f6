"""The loss of weighted rows, and the loss of many chains."""

import torch
from torch import Tensor, nn

#: Torch's default of ``ignore_index``: it ignores no class, since ours are counted from 0.
NO_IGNORED_CLASS = -100

#: Criteria that average over single rows, so that the rows of all chains can stand in one batch.
_BY_ROW = (
    nn.CrossEntropyLoss,
    nn.MSELoss,
    nn.L1Loss,
    nn.SmoothL1Loss,
    nn.HuberLoss,
    nn.BCEWithLogitsLoss,
)


class WeightedLoss(nn.Module):
    """Mean of ``w * loss`` over a batch, never divided by the batch's own weights.

    The criterion must heed its attribute ``reduction``; one that does not is refused.
    """

    def __init__(self, criterion: nn.Module):
        super().__init__()
        if not hasattr(criterion, "reduction"):
            raise ValueError(_word_refusal(criterion))
        self.criterion = criterion
        self.reduction = str(criterion.reduction)
        #: Of the batch in training, set by the iterator that hands it out; None: all are 1.
        self.weight: Tensor | None = None
        self._is_due = False

    def take_weight(self, weight: Tensor | None) -> None:
        """Take the weights of the next batch, or None after the last.

        Refuse them if those before were not used: a net's own ``get_loss`` passed them over.
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

    def forward(self, y_pred: object, y_true: Tensor) -> Tensor:
        """Return the loss, of the rows' weights in training."""
        if not self.training or self.weight is None:
            return self.criterion(y_pred, y_true)
        self._is_due = False
        losses = self._losses_of_rows(y_pred, y_true)
        if losses.ndim == 0 or len(losses) != len(self.weight):
            raise ValueError(_word_refusal(self.criterion))
        losses = losses * self.weight.reshape(-1, *[1] * (losses.ndim - 1))
        return losses.sum() if self.reduction == "sum" else losses.mean()

    def _losses_of_rows(self, y_pred: object, y_true: Tensor) -> Tensor:
        # By its __dict__: nn.Module's own setter takes longer than the loss of a small batch.
        own = self.criterion.__dict__
        own["reduction"] = "none"
        try:
            return self.criterion(y_pred, y_true)
        finally:
            own["reduction"] = self.reduction


def _word_refusal(criterion: nn.Module) -> str:
    return (
        f"Got weights with criterion={type(criterion).__name__}, but expected a criterion that "
        "heeds reduction='none', so that the loss of each row can be weighted."
    )


def sum_over_chains(criterion: nn.Module, y_pred: Tensor, y_true: Tensor) -> Tensor:
    """Sum the chains' own losses; `y_pred` and `y_true` are of shape (chains, batch, ...).

    Never take the loss of their mean: chains that lower it agree to err in opposite directions
    (Jeffares et al. 2023, "Joint Training of Deep Ensembles Fails Due to Learner Collusion").
    """
    is_plain = (
        type(criterion) in _BY_ROW
        and getattr(criterion, "weight", None) is None
        and getattr(criterion, "ignore_index", NO_IGNORED_CLASS) == NO_IGNORED_CLASS
    )
    if is_plain or isinstance(criterion, WeightedLoss):
        loss = criterion(y_pred.flatten(0, 1), y_true.flatten(0, 1))
        return loss * len(y_pred) if criterion.reduction == "mean" else loss
    return torch.stack([criterion(p, t) for p, t in zip(y_pred, y_true, strict=True)]).sum()


def learns_nothing(criterion: nn.Module) -> bool:
    """Tell whether chains can share a criterion: it has no parameters, no buffers that change."""
    if isinstance(criterion, WeightedLoss):
        criterion = criterion.criterion
    return type(criterion) in _BY_ROW or not [*criterion.parameters(), *criterion.buffers()]


def differentiate(criterion: nn.Module, y_pred: Tensor, y_true: Tensor) -> tuple[Tensor, Tensor]:
    """Return the summed loss of all chains and its gradient with respect to their outputs."""
    leaf = y_pred.detach().requires_grad_()
    loss = sum_over_chains(criterion, leaf, y_true)
    loss.backward()
    assert leaf.grad is not None
    return loss.detach(), leaf.grad
