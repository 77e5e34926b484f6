"""Tensors as arrays in pickles."""

from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

from skensemble._compat import parametrize, without_local_hooks
from skensemble._types import Array

from .modules import copy_of

_T = TypeVar("_T")


class _Boxed:
    """Stands for a tensor in a state to be pickled; comes back as the tensor.

    Torch pickles a tensor as its storage in torch's own format, and shares it between processes
    through file handles. An array is plain data everywhere.
    """

    def __init__(self, tensor: torch.Tensor):
        self.tensor = tensor

    def __reduce__(self) -> tuple[object, ...]:
        tensor = self.tensor
        value = tensor.detach().cpu()
        if value.dtype == torch.bfloat16:  # numpy has no such type; float32 holds it exactly
            value = value.float()
        is_parameter = isinstance(tensor, nn.Parameter)
        array = value.numpy().copy()
        # What was computed from parameters comes back as plain numbers.
        requires_grad = tensor.requires_grad and tensor.is_leaf
        return _unbox, (array, str(tensor.dtype), is_parameter, requires_grad)


def _unbox(array: Array, dtype: str, is_parameter: bool, requires_grad: bool) -> torch.Tensor:
    tensor = torch.from_numpy(np.array(array)).to(getattr(torch, dtype.removeprefix("torch.")))
    if is_parameter:
        return nn.Parameter(tensor, requires_grad=requires_grad)
    return tensor.requires_grad_(requires_grad)


class _BoxedModule:
    """Stands for a parametrized module, whose class torch makes anew and refuses to pickle."""

    def __init__(self, module: nn.Module):
        self.kind = type_before_parametrizations(module)
        self.names = list(module.parametrizations)  # type: ignore[arg-type]
        self.state: object = None

    def __reduce__(self) -> tuple[object, ...]:
        return _unbox_module, (self.kind, self.names), self.state


def _unbox_module(kind: type[nn.Module], names: list[str]) -> nn.Module:
    module = object.__new__(kind)
    parametrize(module, names)
    return module


def as_arrays(state: _T) -> _T:
    """Return a copy of a state whose tensors pickle as arrays and unpickle as tensors.

    Tensors inside modules, dicts, lists and tuples are found; sharing between them is kept.
    """
    parts = list(_parts(state))
    tensors = [part for part in parts if isinstance(part, torch.Tensor)]
    boxes: dict[int, object] = {id(tensor): _Boxed(tensor) for tensor in tensors}
    modules = [part for part in parts if isinstance(part, nn.Module) and is_parametrized(part)]
    boxed = [_BoxedModule(module) for module in modules]
    boxes |= {id(module): box for module, box in zip(modules, boxed, strict=True)}
    for module, box in zip(modules, boxed, strict=True):
        box.state = copy_of(without_local_hooks(vars(module)), boxes)
    return copy_of(state, boxes)


def _parts(state: object) -> Iterator[torch.Tensor | nn.Module]:
    """Yield the tensors and the modules in a state."""
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, nn.Module):
        for part in state.modules():
            yield part
            yield from part.parameters(recurse=False)
            yield from part.buffers(recurse=False)
            # What was computed from parameters; plain tensors are pickled as torch does.
            yield from (t for t in _parts_of_container(vars(part)) if not t.is_leaf)
    elif isinstance(state, dict | list | tuple):
        for value in state.values() if isinstance(state, dict) else state:
            yield from _parts(value)


def _parts_of_container(container: object) -> Iterator[torch.Tensor]:
    if isinstance(container, torch.Tensor):
        yield container
    elif isinstance(container, dict | list | tuple):
        for value in container.values() if isinstance(container, dict) else container:
            yield from _parts_of_container(value)
