"""Tensors as arrays in pickles."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn


class _Boxed:
    """Stands for a tensor in a state to be pickled; comes back as the tensor.

    Torch pickles a tensor as its storage in torch's own format, and shares it between processes
    through file handles. An array is plain data everywhere.
    """

    def __init__(self, tensor: torch.Tensor):
        self.tensor = tensor

    def __reduce__(self) -> tuple[Any, ...]:
        tensor = self.tensor
        is_parameter = isinstance(tensor, nn.Parameter)
        value = tensor.detach().cpu()
        if value.dtype == torch.bfloat16:  # numpy has no such type; float32 holds it exactly
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
    """Return a copy of a state whose tensors pickle as arrays and unpickle as tensors.

    Tensors inside modules, dicts, lists and tuples are found; sharing between them is kept.
    """
    memo: dict[int, Any] = {}
    for tensor in _tensors(state):
        memo[id(tensor)] = _Boxed(tensor)
    return copy.deepcopy(state, memo)


def _tensors(state: object) -> Iterator[torch.Tensor]:
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
