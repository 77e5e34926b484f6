"""All members over a stream of batches."""

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from .snapshots import State, uncompiled

#: Rows that every member predicts before the next ones are fetched; they stay in the cache.
CHUNK = 2048


def member_outputs(net: Any, states: list[State], batches: Iterable[Any]) -> Iterator[torch.Tensor]:
    """Outputs of every member for one batch after the other.

    Parameters
    ----------
    net : SnapshotNet
        A net whose module is of the members' kind. Its parameters are not used, and it is not
        touched.
    states : list of dict
        Parameters and buffers of each member.
    batches : iterable of Tensor

    Yields
    ------
    outputs : Tensor of shape (members, batch, ...)
    """
    call = _stateless(net)
    with torch.inference_mode():
        for X in batches:
            yield torch.stack([call(state, X) for state in states])


class _Shell(nn.Module):
    """A module whose forward is the net's inference, so that ``functional_call`` serves it."""

    def __init__(self, net: Any, module: nn.Module):
        super().__init__()
        self.module = module
        self.net = net.standing_in(module)

    def forward(self, X: Any) -> torch.Tensor:
        return self.net.scores(X)


def _stateless(net: Any) -> Any:
    """The net in eval mode as a function of a state and a batch.

    ``functional_call`` swaps tensors in and out of the module, so each call works on a copy of
    its own, which shares the tensors: two threads may predict at once.
    """
    module = uncompiled(net.module_)
    tensors = [*module.parameters(), *module.buffers()]
    shell = _Shell(net, copy.deepcopy(module, {id(t): t for t in tensors})).eval()

    def call(state: State, X: Any) -> torch.Tensor:
        named = {f"module.{name}": value for name, value in state.items()}
        # tie_weights=False: a snapshot holds shared parameters under each of their names
        return functional_call(shell, named, (X,), tie_weights=False)

    return call
