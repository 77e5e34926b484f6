"""All members over a stream of batches."""

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, Self

import numpy as np
import torch
from torch import nn

from skensemble._compat import uncompiled
from skensemble._types import Array, Batch, State

from .by_hand import shorten_sequences
from .modules import computes_members, copy_of
from .snapshots import Place, Snapshots, named_tensors, places, stack_tensors

#: Rows that every member predicts before the next ones are fetched: few enough for the cache.
CHUNK = 2048

#: Rows at a time where all members are multiplied at once: they share the cache.
STACKED_CHUNK = 512


class Net(Protocol):
    """What inference needs of a net."""

    module_: nn.Module

    def infers_plainly(self) -> bool:
        """Tell whether inference is a call of the module and nothing else."""

    def with_module(self, module: nn.Module) -> Self:
        """Return this net with another module, for inference alone."""

    def scores(self, X: Batch) -> torch.Tensor:
        """Return the raw outputs for a batch, by the net's own inference."""


def chunk_size(net: Net) -> int:
    """Return how many rows to hand to :func:`member_outputs` at a time."""
    return STACKED_CHUNK if _is_stackable(net) else CHUNK


def member_outputs(
    net: Net, snapshots: Snapshots, members: Sequence[int] | Array, batches: Iterable[Batch]
) -> Iterator[torch.Tensor]:
    """Yield the outputs of some members, (members, batch, ...), for one batch after the other.

    The snapshots are on the device of the batches. The net's module is of their kind; its own
    parameters are not used, and nothing of it is touched.
    """
    with torch.inference_mode():
        if _is_stackable(net):
            stacks = snapshots.stacks(members)
            module = uncompiled(net.module_)
            assert computes_members(module)
            for X in batches:
                yield module.forward_members(stacks, X)
            return
        calls = list(_member_calls(net, snapshots.views(members)))
        for X in batches:
            yield stack_tensors([call(X) for call in calls])


def first_not_finite(values: Array) -> int | None:
    """Return the first row, along the second axis, of which a value is not finite; None: no row."""
    if math.isfinite(values.sum()):  # a finite sum has finite terms
        return None
    is_bad = ~np.isfinite(values).all(axis=(0, 2))
    return int(is_bad.argmax()) if is_bad.any() else None


def _is_stackable(net: Net) -> bool:
    """Tell whether the module multiplies all members at once, and the net adds nothing to it."""
    return net.infers_plainly() and computes_members(uncompiled(net.module_))


def _member_calls(net: Net, states: list[State]) -> Iterator[Callable[[Batch], torch.Tensor]]:
    """Yield for each state a function of a batch: the net's inference with it, in eval mode.

    The module is copied for each call, sharing the tensors: two threads may predict at once, and
    a module that keeps something of its last batch keeps it to itself. One copy serves all
    members in turn, unless a part holds its tensors in a second place, as recurrent layers do.
    """
    module = uncompiled(net.module_)
    if any(_has_loose_tensors(part) for part in module.modules()):
        for state in states:
            memo = {id(tensor): state[name] for name, tensor in named_tensors(module)}
            yield net.with_module(_prepare(copy_of(module, memo))).scores
        return
    memo = {id(tensor): tensor for _, tensor in named_tensors(module)}
    member = net.with_module(_prepare(copy_of(module, memo)))
    where = list(places(member.module_))
    for state in states:
        yield functools.partial(_infer_with, member, where, state)


def _prepare(module: nn.Module) -> nn.Module:
    """Set a copy of our own to eval mode, and its sequences to go without detours."""
    shorten_sequences(module)
    return module.eval()


def _infer_with(member: Net, where: list[Place], state: State, X: Batch) -> torch.Tensor:
    for holder, key, name in where:
        holder[key] = state[name]
    return member.scores(X)


def _has_loose_tensors(part: nn.Module) -> bool:
    """Tell whether a part refers to tensors beside its parameters and buffers."""
    return any(
        isinstance(value, torch.Tensor)
        or (isinstance(value, list | tuple) and any(isinstance(v, torch.Tensor) for v in value))
        for value in vars(part).values()
    )
