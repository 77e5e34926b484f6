"""What a function of the user's makes of a batch before the module sees it."""

from typing import Any

import torch
from torch import nn

from skensemble._types import Batch, View
from skensemble._warnings import short

from .modules import copy_of


def at_home(transform: View, device: torch.device) -> View:
    """Return a transform to be used in a run on this device; a module is copied there."""
    return copy_of(transform).to(device) if isinstance(transform, nn.Module) else transform


def augment(transform: View, X: Batch, *, of_chains: bool) -> Batch:
    """Return a training batch as the module is to see it.

    With `of_chains` the chains are the first axis, and each is given to the transform by itself.
    """
    with torch.no_grad():
        if not of_chains:
            return see("transform", transform, X)
        if isinstance(X, torch.Tensor):
            return torch.stack([see("transform", transform, own) for own in X])
        n_chains = len(next(iter(X.values())))
        chains = [{name: part[k] for name, part in X.items()} for k in range(n_chains)]
        made = [see("transform", transform, own) for own in chains]
        return {name: torch.stack([own[name] for own in made]) for name in made[0]}


def see(parameter: str, view: View | None, X: Batch) -> Any:
    """Return what a function of the user's makes of a batch; refuse what has other rows."""
    if view is None:
        return X
    made: Any = view(X)
    if _n_rows(made) != _n_rows(X):
        what = f"{type(made).__name__}" if _n_rows(made) is None else f"{_n_rows(made)} rows"
        raise ValueError(
            f"Got {parameter}={short(view)}, which made {what} of a batch of {_n_rows(X)} rows, "
            "but expected a function of the features of a batch, (n, ...), that returns as many "
            "rows: a tensor, or a dict of tensors."
        )
    return made


def _n_rows(X: object) -> int | None:
    """Return the rows of a batch; None: it is none."""
    if isinstance(X, dict):
        sizes = {_n_rows(part) for part in X.values()}
        return sizes.pop() if len(sizes) == 1 else None
    return len(X) if isinstance(X, torch.Tensor) and X.ndim else None
