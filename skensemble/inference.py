"""All members over a stream of batches."""

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from .modules import forward
from .snapshots import State, uncompiled

#: Rows that every member predicts before the next ones are fetched; they stay in the cache.
CHUNK = 2048


def member_outputs(
    module: nn.Module, states: list[State], batches: Iterable[Any]
) -> Iterator[torch.Tensor]:
    """Outputs of every member for one batch after the other.

    Parameters
    ----------
    module : nn.Module
        A network of the members' kind. Its own parameters are not used, and it is not touched.
    states : list of dict
        Parameters and buffers of each member.
    batches : iterable of Tensor

    Yields
    ------
    outputs : Tensor of shape (members, batch, ...)
    """
    skeleton = _skeleton(uncompiled(module))
    with torch.inference_mode():
        for X in batches:
            yield torch.stack([skeleton(state, X) for state in states])


class _Stateless(nn.Module):
    """A module whose forward is ours, so that ``functional_call`` serves any kind of input."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, X: Any) -> torch.Tensor:
        return forward(self.module, X)


def _skeleton(module: nn.Module) -> Any:
    """The module in eval mode as a function of a state and a batch.

    ``functional_call`` swaps tensors in and out of the module, so each call works on a copy of
    its own, which shares the tensors: two threads may predict at once.
    """
    tensors = [*module.parameters(), *module.buffers()]
    shell = _Stateless(copy.deepcopy(module, {id(t): t for t in tensors})).eval()

    def call(state: State, X: Any) -> torch.Tensor:
        named = {f"module.{name}": value for name, value in state.items()}
        # tie_weights=False: a snapshot holds shared parameters under each of their names
        return functional_call(shell, named, (X,), tie_weights=False)

    return call
