"""Losses of differences that scale with their targets: the unit of y does not matter to them."""

from collections.abc import Callable

import torch
from torch import nn

from skensemble._types import CriterionLike, Options

from .generators import forked
from .modules import constructor_of, copy_of

#: Losses that are so, by their definition. With Huber's, y is scaled first: its bound counts in
#: standard deviations of y.
_KNOWN = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss)

#: Factors that are tried on a loss that is not known; powers of two change no digit.
_FACTORS = (2.0**-13, 2.0**13)


def kind_of(criterion: CriterionLike) -> object:
    """Return the class of a criterion, be it given as class, instance or partial of one."""
    return constructor_of(getattr(criterion, "func", criterion))  # of a functools.partial


def is_of_differences(criterion: CriterionLike | None) -> bool:
    """Tell whether a criterion is known to compare outputs with targets by their difference."""
    return criterion is None or kind_of(criterion) in _KNOWN


def is_homogeneous(criterion: CriterionLike | None, options: Options) -> bool:
    """Tell whether a criterion in other units is the same criterion, up to a factor.

    That holds for a loss of differences, ``L(p + c, y + c) == L(p, y)``, for which
    ``L(a p, a y) == a^d L(p, y)``. One that is not known, such as a pinball loss of the user's, is
    tried with a few numbers. `options` are the arguments of its constructor.

    Examples
    --------
    >>> from torch import nn
    >>> from skensemble._nets.homogeneity import is_homogeneous
    >>> class Pinball(nn.Module):
    ...     def forward(self, y_pred, y_true):
    ...         error = y_true - y_pred
    ...         return (0.9 * error).maximum(-0.1 * error).mean()
    >>> is_homogeneous(Pinball, {}), is_homogeneous(nn.PoissonNLLLoss, {})
    (True, False)
    """
    if criterion is None or is_of_differences(criterion):
        return True
    # What a user makes of a loss of torch's sees the targets that this would see.
    if any(
        c.__module__ == nn.MSELoss.__module__ for c in getattr(kind_of(criterion), "__mro__", ())
    ):
        return False
    try:
        made = copy_of(criterion) if isinstance(criterion, nn.Module) else criterion(**options)
        with torch.no_grad(), forked(None):
            return _is_so(made.eval() if isinstance(made, nn.Module) else made)
    except Exception:  # it wants other targets, and is tried again with those of the user
        return False


def _is_so(criterion: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> bool:
    y = torch.tensor([[0.5], [-1.25], [2.0], [0.125], [-3.0], [1.5]], dtype=torch.float64)
    # Differences of all sizes: Huber's loss and its kin change where they are 1.
    p = y + torch.tensor([[1e-3], [-0.75], [4.0], [-30.0], [0.5], [-2.0]], dtype=torch.float64)
    loss = float(criterion(p, y))
    if not loss > 0 or not torch.isclose(
        criterion(p + 8, y + 8).double(), torch.tensor(loss).double()
    ):
        return False
    low, high = (float(criterion(p * factor, y * factor)) / loss for factor in _FACTORS)
    return abs(low * high - 1) < 1e-6 and high > 1
