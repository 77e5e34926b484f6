"""What a function of the user's makes of a batch before the module sees it."""

from typing import Any

import torch
from torch import nn

from skensemble._types import Batch, View
from skensemble._warnings import short

from .modules import copy_of


def at_home(transform: View | None, device: torch.device) -> View | None:
    """Return a function to be used in a run on this device; a module is copied there."""
    return copy_of(transform).to(device) if isinstance(transform, nn.Module) else transform


def augment(transform: View, X: Batch, *, of_chains: bool) -> Batch:
    """Return a training batch as the module is to see it.

    With `of_chains` the chains are the first axis, and each is given to the transform by itself.
    """
    with torch.no_grad():
        if not of_chains:
            return _made("transform", transform, X)
        if isinstance(X, dict):
            n_chains = len(next(iter(X.values())))
            chains: Any = [{name: part[k] for name, part in X.items()} for k in range(n_chains)]
        else:
            chains = X
        return _stacked(transform, [_made("transform", transform, own) for own in chains])


def _stacked(transform: View, chains: list[Any]) -> Batch:
    """Put the batches of all chains into one, chains first."""
    first = chains[0]
    try:
        if isinstance(first, dict):
            names = dict.fromkeys(name for own in chains for name in own)
            return {name: torch.stack([own[name] for own in chains]) for name in names}
        return torch.stack(chains)
    except (RuntimeError, TypeError, KeyError) as error:
        raise ValueError(
            f"Got transform={short(transform)}, which made batches of different shapes for chains "
            "that train together, but expected one shape for all of a step. Train with n_chains=1 "
            "if the shape is random."
        ) from error


def in_view(view: View | None, X: Batch) -> Any:
    """Return rows in a view, which gets a copy: one that works in place is to change no row."""
    return X if view is None else _made("views", view, _copy(X))


def _made(parameter: str, function: View, X: Batch) -> Any:
    """Return what a function of the user's makes of a batch; refuse what has other rows."""
    made: Any = function(X)
    if _n_rows(made) != _n_rows(X):
        what = f"{type(made).__name__}" if _n_rows(made) is None else f"{_n_rows(made)} rows"
        raise ValueError(
            f"Got {parameter}={short(function)}, which made {what} of a batch of {_n_rows(X)} "
            "rows, but expected a function of the features of a batch, (n, ...), that returns as "
            "many rows: a tensor, or a dict of tensors."
        )
    return made


def _copy(X: Batch) -> Batch:
    if isinstance(X, dict):
        return {name: part.clone() for name, part in X.items()}
    return X.clone() if isinstance(X, torch.Tensor) else X


def _n_rows(X: object) -> int | None:
    """Return the rows of a batch; None: it is none."""
    if isinstance(X, dict):
        sizes = {_n_rows(part) for part in X.values()}
        return sizes.pop() if len(sizes) == 1 else None
    return len(X) if isinstance(X, torch.Tensor) and X.ndim else None
