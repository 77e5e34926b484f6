"""The loss of weighted rows, the loss of many chains, and whether a loss fits the outputs."""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from skensemble._compat import uncompiled
from skensemble._warnings import own_filters

from .criteria import OfRows
from .generators import forked
from .modules import copy_of, first_output

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


def is_by_row(criterion: nn.Module) -> bool:
    """Tell whether a criterion averages over single rows."""
    return type(criterion) in _BY_ROW or isinstance(criterion, OfRows)


def sum_over_chains(criterion: nn.Module, y_pred: Tensor, y_true: Tensor) -> Tensor:
    """Sum the chains' own losses; `y_pred` and `y_true` are of shape (chains, batch, ...).

    Never take the loss of their mean: chains that lower it agree to err in opposite directions
    (Jeffares et al. 2023, "Joint Training of Deep Ensembles Fails Due to Learner Collusion").
    """
    is_plain = (
        is_by_row(criterion)
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
    return is_by_row(criterion) or not [*criterion.parameters(), *criterion.buffers()]


def differentiate(criterion: nn.Module, y_pred: Tensor, y_true: Tensor) -> tuple[Tensor, Tensor]:
    """Return the summed loss of all chains and its gradient with respect to their outputs."""
    leaf = y_pred.detach().requires_grad_()
    loss = sum_over_chains(criterion, leaf, y_true)
    loss.backward()
    assert leaf.grad is not None
    return loss.detach(), leaf.grad


def check_criterion(criterion: nn.Module, outputs: Any, y: Tensor) -> bool:
    """Refuse a criterion that cannot be computed from a module's outputs, or differentiated.

    `outputs` is what the module returned for the first few rows, and `y` has the targets of all:
    integers are class numbers. Return whether the criterion takes the first of several outputs;
    where it can, it takes all of them, as in skorch.
    """
    criterion = uncompiled(criterion)  # compiling it for a few rows would take seconds
    scores, name = first_output(outputs), type(criterion).__name__
    few = y[: len(scores)].to(scores.device)
    if isinstance(outputs, tuple) and _fault_of(criterion, outputs, few) is None:
        return False
    if fault := _fault_of(criterion, scores, few):
        raise ValueError(
            f"Got criterion={name}, but expected {_word_rule(scores, y)}; given "
            f"{_describe(scores)} and {_describe(few)}, {fault}."
        )
    if isinstance(criterion, nn.NLLLoss | nn.KLDivLoss) and not _are_log_probabilities(scores):
        raise ValueError(
            f"Got criterion={name} with a module that returns raw scores, but expected logarithms "
            "of probabilities: use nn.CrossEntropyLoss, which takes raw scores, or end the module "
            "with nn.LogSoftmax(dim=1)."
        )
    for kind, (is_right, rule) in _RULES_OF_TARGETS.items():
        if isinstance(criterion, kind) and y.is_floating_point() and not bool(is_right(y).all()):
            raise ValueError(f"Got criterion={name}, but expected a y that it is for: {rule}.")
    return True


#: What a criterion asks of targets without looking at them.
_RULES_OF_TARGETS: dict[type[nn.Module], tuple[Callable[[Tensor], Tensor], str]] = {
    nn.BCEWithLogitsLoss: (lambda y: (y >= 0) & (y <= 1), "values from 0 to 1"),
    nn.MultiLabelSoftMarginLoss: (lambda y: (y >= 0) & (y <= 1), "values from 0 to 1"),
    nn.HingeEmbeddingLoss: (lambda y: y.abs() == 1, "values of -1 and 1"),
    nn.SoftMarginLoss: (lambda y: y.abs() == 1, "values of -1 and 1"),
    nn.PoissonNLLLoss: (lambda y: y >= 0, "values of at least 0"),
}


def _are_log_probabilities(scores: Tensor) -> bool:
    total = scores.double().exp().sum(dim=-1)
    return scores.ndim == 2 and torch.allclose(total, torch.ones_like(total), atol=1e-3)


def _fault_of(criterion: nn.Module, outputs: Any, y: Tensor) -> str | None:
    """Say what is wrong with a loss of a few rows; None: nothing."""
    scores = first_output(outputs)
    is_single = y.is_floating_point() and (scores.ndim == 1 or scores.shape[1] == 1)
    if is_single and isinstance(criterion, nn.CrossEntropyLoss):
        return "the loss is that of a single class, whatever the output"
    # Of other counts than classes, or a loss of broadcast targets might pass.
    n_rows = 11 if 11 not in scores.shape[1:] else 13
    rows = torch.arange(n_rows, device=y.device) % len(y)
    try:
        with own_filters(), forked(scores.device), torch.enable_grad():
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message="Using a target size")  # it is broadcast
            # In eval mode: what a criterion counts in training, it counts of training alone.
            loss = copy_of(criterion).eval()(_chosen(outputs, rows, len(y)), y[rows])
            if not isinstance(loss, Tensor) or loss.numel() != 1:
                kind = _describe(loss) if isinstance(loss, Tensor) else type(loss).__name__
                return f"it returned {kind} and not one number (reduction='mean')"
            loss.backward()
    except Exception as error:  # whatever a criterion raises for what it cannot take
        return f"it raised {type(error).__name__}: {str(error).rstrip('.')}"
    return None


def _chosen(outputs: Any, rows: Tensor, n_rows: int) -> Any:
    """Return rows of the outputs, to be differentiated."""
    if isinstance(outputs, tuple):
        parts = [_chosen(part, rows, n_rows) for part in outputs]
        return type(outputs)(*parts) if hasattr(outputs, "_fields") else tuple(parts)
    if not isinstance(outputs, Tensor) or outputs.shape[:1] != (n_rows,):
        return outputs
    return outputs.detach()[rows].requires_grad_(outputs.is_floating_point())


def _word_rule(scores: Tensor, y: Tensor) -> str:
    shape = ", ".join(["n", *map(str, scores.shape[1:])]) + ("," if scores.ndim == 1 else "")
    if y.is_floating_point():
        return f"one that takes outputs and targets of shape ({shape}), such as nn.MSELoss"
    return (
        f"one that takes raw scores of shape ({shape}) and class numbers of shape (n,), such as "
        "nn.CrossEntropyLoss"
    )


def _describe(tensor: Tensor) -> str:
    return f"shape {tuple(tensor.shape)} of {tensor.dtype}"
