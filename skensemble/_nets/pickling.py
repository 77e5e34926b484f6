"""Tensors as arrays in pickles."""

import copy
from collections.abc import Iterator
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from skensemble._types import Array

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
        return _unbox, (array, str(tensor.dtype), is_parameter, tensor.requires_grad)


def _unbox(array: Array, dtype: str, is_parameter: bool, requires_grad: bool) -> torch.Tensor:
    tensor = torch.from_numpy(np.array(array)).to(getattr(torch, dtype.removeprefix("torch.")))
    if is_parameter:
        return nn.Parameter(tensor, requires_grad=requires_grad)
    return tensor.requires_grad_(requires_grad)


def as_arrays(state: _T) -> _T:
    """Return a copy of a state whose tensors pickle as arrays and unpickle as tensors.

    Tensors inside modules, dicts, lists and tuples are found; sharing between them is kept.
    """
    # Deepcopy takes from its memo the box of each tensor in place of a copy.
    memo: dict[int, object] = {id(tensor): _Boxed(tensor) for tensor in _tensors(state)}
    return copy.deepcopy(state, memo)


def _tensors(state: object) -> Iterator[torch.Tensor]:
    if isinstance(state, torch.Tensor):
        yield state
    elif isinstance(state, nn.Module):
        for part in state.modules():
            yield from part.parameters(recurse=False)
            yield from part.buffers(recurse=False)
    elif isinstance(state, dict | list | tuple):
        for value in state.values() if isinstance(state, dict) else state:
            yield from _tensors(value)
