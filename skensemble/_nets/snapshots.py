"""The parameter sets of all members, stacked."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, overload

import numpy as np
import torch
from torch import nn

from skensemble._compat import recompute, tensor_holders, uncompiled
from skensemble._types import Array, Options, State

from .modules import copy_of
from .pickling import as_arrays


class Place(NamedTuple):
    """Where a module keeps one of its tensors."""

    holder: State
    key: str
    #: The full name, as in a state dict.
    name: str


class Snapshots(Sequence[State]):
    """Parameters and buffers of many networks of one kind, stacked by name.

    The tensors of `states` are copied. Those at the indices `first` lie next to each other, so that
    :meth:`stacks` hands them out uncopied. Indexing hands out copies, so that nothing outside can
    change a snapshot; :meth:`views` hands out the storage itself, for reading.
    """

    def __init__(self, states: Iterable[State], first: Sequence[int] = ()):
        states = list(states)
        kept = in_front(len(states), first)
        names = states[0] if states else {}
        self._stacks = {name: stack_tensors([states[i][name] for i in kept]) for name in names}
        self._places = np.argsort(kept)

    @classmethod
    def of_stacks(cls, stacks: State, places: Array) -> "Snapshots":
        """Take over stacks as :attr:`whole` has them; `places` has the place of each snapshot."""
        made = object.__new__(Snapshots)
        made._stacks, made._places = stacks, np.asarray(places)
        return made

    @property
    def whole(self) -> tuple[State, Array]:
        """All tensors, snapshots along the first axis, and where in it each snapshot is."""
        return self._stacks, self._places

    def in_memory(self) -> "Snapshots":
        """Return the snapshots with their tensors in memory, as they are here."""
        return self

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> State: ...

    @overload
    def __getitem__(self, index: slice) -> list[State]: ...

    def __getitem__(self, index: int | slice) -> State | list[State]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"Got index {index}, but there are {len(self)} snapshots.")
        place = self._places[index]
        # Files of plain tensors, such as safetensors', take none that lie transposed.
        return {
            name: stack[place].clone(memory_format=torch.contiguous_format)
            for name, stack in self._stacks.items()
        }

    def views(self, indices: Iterable[int]) -> list[State]:
        """Return the state dicts of some snapshots, without copying."""
        places = [int(self._places[i]) for i in indices]
        return [{name: s[place] for name, s in self._stacks.items()} for place in places]

    def stacks(self, indices: Sequence[int] | Array) -> State:
        """Return the tensors of some snapshots, each with the snapshots along its first axis."""
        places = self._places[np.asarray(indices)]
        n = len(places)
        if (places == np.arange(n)).all():
            if n == len(self):
                return self._stacks
            return {name: stack[:n] for name, stack in self._stacks.items()}
        index = torch.from_numpy(places)
        return {name: stack[index.to(stack.device)] for name, stack in self._stacks.items()}

    def to(self, device: torch.device) -> "Snapshots":
        """Return the snapshots on a device."""
        if all(stack.device == device for stack in self._stacks.values()):
            return self
        moved = object.__new__(Snapshots)  # copy.copy would box the tensors, as for a file
        moved._places = self._places
        moved._stacks = {name: stack.to(device) for name, stack in self._stacks.items()}
        return moved

    def __getstate__(self) -> Options:
        """Hold arrays in place of tensors; they come back on the CPU."""
        return {**vars(self), "_stacks": as_arrays(self._stacks)}

    def __setstate__(self, state: Options) -> None:
        self.__dict__.update(state)
        # Pickling loses the strides of arrays. Without them products differ in the last bits.
        self._stacks = {name: stack_tensors(list(stack)) for name, stack in self._stacks.items()}


class Room:
    """Room for the snapshots of a run, which lie from the first on as :class:`Snapshots` has them.

    So they are in memory once, when they are taken and at the end alike: the snapshots of a wide
    table may be larger than the table. On the CPU what is never filled takes no memory.

    There are at most `n_planned` snapshots, and before them those of earlier calls.
    """

    def __init__(self, n_planned: int):
        self.n_planned = n_planned
        #: Snapshots of earlier calls, which are copied.
        self.before: Sequence[State] = ()
        self._stacks: State = {}

    def put(self, index: int, states: Sequence[State]) -> list[State]:
        """Copy snapshots of the run to a place and those behind it; return them as they lie there.

        They count as soon as the caller says so, which Ctrl-C may prevent.
        """
        if not self._stacks:
            self._make(states[0])
        return self._write(len(self.before) + index, states)

    def copied(self, n_taken: int, first: Sequence[int] = ()) -> Snapshots:
        """Return copies of the earlier snapshots and of so many of the run; see `Snapshots`."""
        n = len(self.before) + n_taken
        return Snapshots([self._view(place) for place in range(n)], first)

    def handed_over(self, n_taken: int, first: Sequence[int] = ()) -> Snapshots:
        """Return the same snapshots uncopied: the room is given away, and empty afterwards."""
        n = len(self.before) + n_taken
        kept, stacks, self._stacks = in_front(n, first), self._stacks, {}
        for name, stack in stacks.items():
            stacks[name] = taken = stack[:n]
            _reorder(taken, kept)
            if n < len(stack) and stack.device.type != "cpu":  # there unused room takes memory
                stacks[name] = taken.clone()
        return Snapshots.of_stacks(stacks, np.argsort(kept))

    def _make(self, example: State) -> None:
        """Make room for tensors of these shapes, matrices transposed as by `stack_tensors`."""
        n = len(self.before) + self.n_planned
        for name, tensor in example.items():
            like = tensor.mT if tensor.ndim == 2 else tensor
            stack = tensor.new_empty(n, *like.shape)
            self._stacks[name] = stack.mT if tensor.ndim == 2 else stack
        self._write(0, self.before)

    def _write(self, start: int, states: Sequence[State]) -> list[State]:
        there = [self._view(place) for place in range(start, start + len(states))]
        for view, state in zip(there, states, strict=True):
            for name, tensor in view.items():
                tensor.copy_(state[name])
        return there

    def _view(self, place: int) -> State:
        return {name: stack[place] for name, stack in self._stacks.items()}


def in_front(n: int, first: Sequence[int]) -> list[int]:
    """Return all of `n` indices, beginning with these."""
    return [*first, *sorted(set(range(n)) - set(first))]


def _reorder(stack: torch.Tensor, kept: Sequence[int]) -> None:
    """Put a stack in the order of these indices, in place: a row at a time is copied aside."""
    done: set[int] = set()
    for start in range(len(kept)):
        if start in done or kept[start] == start:
            continue
        aside, place = stack[start].clone(), start
        while kept[place] != start:
            stack[place].copy_(stack[kept[place]])
            done.add(place)
            place = kept[place]
        stack[place].copy_(aside)
        done.add(place)


def stack_tensors(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Stack tensors along a new first axis; matrices lie transposed in memory.

    A product takes weights fastest that way, and a softmax the scores of many rows.
    """
    if tensors[0].ndim == 2:
        return torch.stack([tensor.mT for tensor in tensors]).mT
    return torch.stack(tensors)


def state_of(module: nn.Module) -> State:
    """Copy all parameters and buffers, also those that ``state_dict`` leaves out."""
    return {name: value.detach().clone() for name, value in named_tensors(module)}


def load_state(module: nn.Module, state: State) -> None:
    """Put a state back into the module that it was taken from, or one like it."""
    with torch.no_grad():
        for name, value in named_tensors(module):
            value.copy_(state[name])


def plain_state(module: nn.Module, state: State) -> State:
    """Select what ``state_dict`` of a module has."""
    names = uncompiled(module).state_dict()
    return {name: value for name, value in state.items() if name in names}


def module_of(module: nn.Module, state: State) -> nn.Module:
    """Return a copy of a module that holds a state of its kind, in eval mode and on the CPU.

    The copy shares nothing with `module`, and takes the tensors of `state` for its own.
    """
    made = copy_of(uncompiled(module)).cpu().eval()
    for name, value in named_tensors(made):
        value.data = state[name].cpu()
    recompute(made)
    return made


def named_tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield parameters and buffers under each of their names."""
    module = uncompiled(module)
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def places(module: nn.Module) -> Iterator[Place]:
    """Yield where a module keeps its tensors, once for each of their names."""
    for prefix, part in module.named_modules(remove_duplicate=False):
        for holder in tensor_holders(part):
            for key, tensor in holder.items():
                if tensor is not None:
                    yield Place(holder, key, f"{prefix}.{key}" if prefix else key)


def is_finite(tensors: Iterable[torch.Tensor]) -> bool:
    """Tell whether no value is NaN or infinite."""
    tensors = [t for t in tensors if t.is_floating_point()]
    # A finite sum has finite terms, and summing is far quicker than looking at each.
    if math.isfinite(float(sum(t.sum() for t in tensors))):
        return True
    return all(bool(torch.isfinite(t).all()) for t in tensors)
