"""The parameter sets of all members, stacked, and tensors as arrays in pickles."""

import copy
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

State = dict[str, torch.Tensor]


class Snapshots(Sequence[State]):
    """Parameters and buffers of many networks of one kind, stacked by name.

    Parameters
    ----------
    states : iterable of dict
        State dicts with equal names and shapes; their tensors are copied.
    first : sequence of int, default=()
        Those to be kept next to each other, so that :meth:`stacks` hands them out uncopied.

    Notes
    -----
    Indexing hands out copies, so that nothing outside can change a snapshot;
    :meth:`views` hands out the storage itself, for reading.
    """

    def __init__(self, states: Iterable[State], first: Sequence[int] = ()):
        states = list(states)
        kept = [*first, *sorted(set(range(len(states))) - set(first))]
        names = states[0] if states else {}
        self._stacks = {name: stacked([states[i][name] for i in kept]) for name in names}
        self._places = np.argsort(kept)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"Got index {index}, but there are {len(self)} snapshots.")
        place = self._places[index]
        return {name: stack[place].clone() for name, stack in self._stacks.items()}

    def views(self, indices: Iterable[int]) -> list[State]:
        """State dicts of some snapshots, without copying."""
        places = [int(self._places[i]) for i in indices]
        return [{name: s[place] for name, s in self._stacks.items()} for place in places]

    def stacks(self, indices: Any) -> State:
        """Tensors of some snapshots by name, each with the snapshots along its first axis."""
        places = self._places[np.asarray(indices)]
        n = len(places)
        if (places == np.arange(n)).all():
            if n == len(self):
                return self._stacks
            return {name: stack[:n] for name, stack in self._stacks.items()}
        index = torch.from_numpy(places)
        return {name: stack[index.to(stack.device)] for name, stack in self._stacks.items()}

    def to(self, device: torch.device) -> "Snapshots":
        """The same snapshots on another device."""
        if all(stack.device == device for stack in self._stacks.values()):
            return self
        moved = copy.copy(self)
        moved._stacks = {name: stack.to(device) for name, stack in self._stacks.items()}
        return moved

    def __getstate__(self) -> dict[str, Any]:
        """Arrays in place of tensors; they come back on the CPU."""
        return {**vars(self), "_stacks": as_arrays(self._stacks)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # An array in a pickle forgets how it lay, and with it some products' last bits.
        self._stacks = {name: stacked(list(stack)) for name, stack in self._stacks.items()}


def stacked(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Tensors along a new first axis; matrices lie transposed in memory.

    That is how a product takes weights fastest, and a softmax the scores of many rows.
    """
    if tensors[0].ndim == 2:
        return torch.stack([tensor.mT for tensor in tensors]).mT
    return torch.stack(tensors)


def state_of(module: nn.Module) -> State:
    """A copy of all parameters and buffers, also of those that ``state_dict`` leaves out."""
    return {name: value.detach().clone() for name, value in named_tensors(module)}


def load_state(module: nn.Module, state: State) -> None:
    """Put a state back into the module that it was taken from, or one like it."""
    with torch.no_grad():
        for name, value in named_tensors(module):
            value.copy_(state[name])


def named_tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers under each of their names."""
    module = uncompiled(module)
    yield from module.named_parameters(remove_duplicate=False)
    yield from module.named_buffers(remove_duplicate=False)


def places(module: nn.Module) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Where a module keeps its tensors: the dict, the key there, and the full name."""
    for prefix, part in module.named_modules(remove_duplicate=False):
        for holder in (part._parameters, part._buffers):
            for key, tensor in holder.items():
                if tensor is not None:
                    yield holder, key, f"{prefix}.{key}" if prefix else key


def uncompiled(module: nn.Module) -> nn.Module:
    """The module that ``torch.compile`` wraps, or the module itself."""
    inner = module._modules.get("_orig_mod")  # nn.Module is slow to say what it has not
    return module if inner is None else inner


def is_finite(tensors: Iterable[torch.Tensor]) -> bool:
    """Whether no value is NaN or infinite."""
    tensors = [t for t in tensors if t.is_floating_point()]
    # A sum is finite only where all its terms are; it is far quicker than a look at each.
    if math.isfinite(float(sum(t.sum() for t in tensors))):
        return True
    return all(bool(torch.isfinite(t).all()) for t in tensors)


class _Boxed:
    """Stands for a tensor in a state to be pickled; comes back as the tensor.

    Torch pickles a tensor as its storage in torch's own format, and shared through file
    handles between processes; an array is plain data everywhere.
    """

    def __init__(self, tensor: torch.Tensor):
        self.tensor = tensor

    def __reduce__(self) -> tuple[Any, ...]:
        tensor = self.tensor
        is_parameter = isinstance(tensor, nn.Parameter)
        value = tensor.detach().cpu()
        if value.dtype == torch.bfloat16:  # numpy has none; exact in float32
            value = value.float()
        array = value.numpy().copy()
        return _unbox, (array, str(tensor.dtype), is_parameter, tensor.requires_grad)


def _unbox(
    array: np.ndarray[Any, Any], dtype: str, is_parameter: bool, requires_grad: bool
) -> torch.Tensor:
    tensor = torch.from_numpy(np.array(array)).to(getattr(torch, dtype.removeprefix("torch.")))
    if is_parameter:
        return nn.Parameter(tensor, requires_grad=requires_grad)
    return tensor.requires_grad_(requires_grad)


def as_arrays(state: Any) -> Any:
    """A copy of a state whose tensors pickle as arrays and unpickle as tensors.

    Tensors inside modules, dicts, lists and tuples are found; sharing between them is kept.
    """
    memo: dict[int, Any] = {}
    for tensor in _tensors(state):
        memo[id(tensor)] = _Boxed(tensor)
    return copy.deepcopy(state, memo)


def _tensors(state: Any) -> Iterator[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, nn.Module):
        for part in state.modules():
            yield from (p for p in part.parameters(recurse=False))
            yield from (b for b in part.buffers(recurse=False))
    elif isinstance(state, dict):
        for value in state.values():
            yield from _tensors(value)
    elif isinstance(state, list | tuple):
        for value in state:
            yield from _tensors(value)
