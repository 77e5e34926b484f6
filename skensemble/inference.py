"""All members over a stream of batches."""

import copy
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from skorch import NeuralNet
from torch import nn

from .snapshots import Snapshots, State, named_tensors, uncompiled

#: Rows that every member predicts before the next ones are fetched: few enough for the cache.
CHUNK = 2048

#: The same where all members are multiplied at once.
STACKED_CHUNK = 512


def chunk_size(net: Any) -> int:
    """Rows to be handed to :func:`member_outputs` at a time."""
    return STACKED_CHUNK if _is_stackable(net) else CHUNK


def member_outputs(
    net: Any, snapshots: Snapshots, members: Any, batches: Iterable[Any]
) -> Iterator[torch.Tensor]:
    """Outputs of every member for one batch after the other.

    Parameters
    ----------
    net : SnapshotNet
        A net whose module is of the members' kind. Its parameters are not used, and it is not
        touched.
    snapshots : Snapshots
        On the device of the batches.
    members : sequence of int
        Which of them predict.
    batches : iterable of Tensor

    Yields
    ------
    outputs : Tensor of shape (members, batch, ...)
    """
    with torch.inference_mode():
        if _is_stackable(net):
            stacks = snapshots.stacks(members)
            forward: Any = uncompiled(net.module_).forward_members
            for X in batches:
                yield forward(stacks, X)
            return
        calls = list(_members(net, snapshots.views(members)))
        for X in batches:
            yield torch.stack([call(X) for call in calls])


def _is_stackable(net: Any) -> bool:
    """Whether the module multiplies all members at once, and nothing of the net's is in between."""
    cls = type(net)
    is_plain = cls.infer is NeuralNet.infer and cls.evaluation_step is NeuralNet.evaluation_step
    return is_plain and hasattr(uncompiled(net.module_), "forward_members")


def _members(net: Any, states: list[State]) -> Iterator[Callable[[Any], torch.Tensor]]:
    """For each state a function of a batch: the net's inference with that state, in eval mode.

    The module is copied for each call, sharing the tensors: two threads may predict at once, and
    a module that keeps something of its last batch keeps it to itself. One copy serves all
    members in turn, unless a part holds its tensors in a second place, as recurrent layers do.
    """
    module = uncompiled(net.module_)
    if any(_has_loose_tensors(part) for part in module.modules()):
        for state in states:
            memo = {id(tensor): state[name] for name, tensor in named_tensors(module)}
            yield net.standing_in(copy.deepcopy(module, memo).eval()).scores
        return
    memo = {id(tensor): tensor for _, tensor in named_tensors(module)}
    member = net.standing_in(copy.deepcopy(module, memo).eval())
    places = list(_places(member.module_))
    for state in states:
        yield functools.partial(_scores_with, member, places, state)


def _scores_with(member: Any, places: list[Any], state: State, X: Any) -> torch.Tensor:
    for holder, key, name in places:
        holder[key] = state[name]
    return member.scores(X)


def _places(module: nn.Module) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Where a module keeps its tensors: the dict, the key there, and the full name."""
    for prefix, part in module.named_modules(remove_duplicate=False):
        for holder in (part._parameters, part._buffers):
            for key, tensor in holder.items():
                if tensor is not None:
                    yield holder, key, f"{prefix}.{key}" if prefix else key


def _has_loose_tensors(part: nn.Module) -> bool:
    """Whether a part refers to tensors beside its parameters and buffers."""
    return any(
        isinstance(value, torch.Tensor)
        or (isinstance(value, list | tuple) and any(isinstance(v, torch.Tensor) for v in value))
        for value in vars(part).values()
    )
