"""All members over a stream of batches."""

import copy
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import nn

from .snapshots import Snapshots, State, named_tensors, places, stacked, uncompiled

#: Rows that every member predicts before the next ones are fetched: few enough for the cache.
CHUNK = 2048

#: Activations without parameters, and what overwrites their input.
_IN_PLACE: dict[type[nn.Module], Callable[[torch.Tensor], torch.Tensor]] = {
    nn.ReLU: torch.relu_,
    nn.SiLU: functools.partial(nn.functional.silu, inplace=True),
    nn.Mish: functools.partial(nn.functional.mish, inplace=True),
    nn.Tanh: torch.tanh_,
    nn.Sigmoid: torch.sigmoid_,
}

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
            yield stacked([call(X) for call in calls])


def _is_stackable(net: Any) -> bool:
    """Whether the module multiplies all members at once, and nothing of the net's is in between."""
    return net.infers_plainly() and hasattr(uncompiled(net.module_), "forward_members")


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
            yield net.standing_in(_for_inference(copy.deepcopy(module, memo))).scores
        return
    memo = {id(tensor): tensor for _, tensor in named_tensors(module)}
    member = net.standing_in(_for_inference(copy.deepcopy(module, memo)))
    where = list(places(member.module_))
    for state in states:
        yield functools.partial(_scores_with, member, where, state)


def _for_inference(module: nn.Module) -> nn.Module:
    """A module of our own in eval mode, whose plain sequences cost no more than they must."""
    for part in module.modules():
        if type(part).forward is nn.Sequential.forward and "forward" not in vars(part):
            part.forward = functools.partial(_in_turn, list(_calls(part)))
    return module.eval()


def _calls(layers: Any) -> Iterator[Callable[[Any], Any]]:
    """What ``nn.Sequential`` calls one after the other, the plainest of them without detours.

    An activation overwrites what a linear layer hands it: nobody else reads that, and a second
    array costs a tenth of a prediction.
    """
    is_fresh = False
    for layer in layers:
        is_plain = not layer._forward_hooks and not layer._forward_pre_hooks
        if is_plain and is_fresh and type(layer) in _IN_PLACE:
            yield _IN_PLACE[type(layer)]
        elif is_plain and type(layer) is nn.Linear:
            yield functools.partial(_linear, layer._parameters)
        else:
            yield layer
        is_fresh = is_plain and type(layer) is nn.Linear


def _linear(parameters: Any, X: torch.Tensor) -> torch.Tensor:
    return nn.functional.linear(X, parameters["weight"], parameters["bias"])


def _in_turn(calls: list[Callable[[Any], Any]], X: Any) -> Any:
    for call in calls:
        X = call(X)
    return X


def _scores_with(member: Any, places: list[Any], state: State, X: Any) -> torch.Tensor:
    for holder, key, name in places:
        holder[key] = state[name]
    return member.scores(X)


def _has_loose_tensors(part: nn.Module) -> bool:
    """Whether a part refers to tensors beside its parameters and buffers."""
    return any(
        isinstance(value, torch.Tensor)
        or (isinstance(value, list | tuple) and any(isinstance(v, torch.Tensor) for v in value))
        for value in vars(part).values()
    )
