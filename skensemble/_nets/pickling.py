"""Tensors as arrays in files: those of pickle, and of all that asks objects as pickle does.

``skops.io`` rebuilds an object by a call only where that is a call of its own class. So a class
here stands for an object while it is written, and makes the object itself when it is called.
"""

from collections.abc import Iterator
from typing import Self, SupportsIndex, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

from skensemble._compat import parametrize, without_local_hooks
from skensemble._types import Array, Options

from .modules import copy_of

_T = TypeVar("_T")


class BoxedTensor:
    """Stands for a tensor in a state to be written; comes back as the tensor.

    Torch pickles a tensor as its storage in torch's own format, and shares it between processes
    through file handles. An array is plain data everywhere.
    """

    tensor: torch.Tensor

    def __new__(  # type: ignore[misc]
        cls, array: Array, dtype: str, is_parameter: bool, requires_grad: bool
    ) -> torch.Tensor:
        """Make the tensor that was written."""
        tensor = torch.from_numpy(np.array(array))
        tensor = tensor.to(getattr(torch, dtype.removeprefix("torch.")))
        if is_parameter:
            return nn.Parameter(tensor, requires_grad=requires_grad)
        return tensor.requires_grad_(requires_grad)

    @classmethod
    def around(cls, tensor: torch.Tensor) -> Self:
        """Put a tensor in its box."""
        box = object.__new__(cls)
        box.tensor = tensor
        return box

    def __reduce__(self) -> tuple[object, ...]:
        tensor = self.tensor
        value = tensor.detach().cpu()
        if value.dtype == torch.bfloat16:  # numpy has no such type; float32 holds it exactly
            value = value.float()
        is_parameter = isinstance(tensor, nn.Parameter)
        array = value.numpy().copy()
        # What was computed from parameters comes back as plain numbers.
        requires_grad = tensor.requires_grad and tensor.is_leaf
        return BoxedTensor, (array, str(tensor.dtype), is_parameter, requires_grad)


class BoxedModule:
    """Stands for a parametrized module, whose class torch makes anew and refuses to pickle."""

    kind: type[nn.Module]
    names: list[str]
    state: Options

    def __new__(  # type: ignore[misc]
        cls, kind: type[nn.Module], names: list[str], state: Options | None = None
    ) -> nn.Module:
        """Make the module that was written."""
        module: nn.Module = object.__new__(kind)
        parametrize(module, names)
        if state is not None:
            module.__setstate__(state)
        return module

    @classmethod
    def around(cls, module: nn.Module) -> Self:
        """Put a module in its box, without what it holds."""
        box = object.__new__(cls)
        box.kind = type_before_parametrizations(module)
        box.names = list(module.parametrizations)  # type: ignore[arg-type]
        return box

    def __reduce__(self) -> tuple[object, ...]:
        return BoxedModule, (self.kind, self.names, self.state)

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[object, ...]:
        # Pickle sets the state last: a part may refer to the module.
        return BoxedModule, (self.kind, self.names), self.state


class BoxedDtype:
    """Stands for a type of torch's, which pickle writes as a name and skops not at all."""

    name: str

    def __new__(cls, name: str) -> torch.dtype:  # type: ignore[misc]
        """Find the type that was written."""
        return getattr(torch, name.removeprefix("torch."))

    @classmethod
    def around(cls, dtype: torch.dtype) -> Self:
        """Put a type in its box."""
        box = object.__new__(cls)
        box.name = str(dtype)
        return box

    def __reduce__(self) -> tuple[object, ...]:
        return BoxedDtype, (self.name,)


#: Types are single objects, so that a copy finds them by identity.
_DTYPES: list[torch.dtype] = sorted(
    {value for value in vars(torch).values() if isinstance(value, torch.dtype)}, key=str
)

#: Types of tensors that numpy has, or a wider one of them.
_OF_NUMPY = {
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.complex64, torch.complex128),
}


def holds_tensors(state: object) -> bool:
    """Tell whether there are tensors or modules in a state."""
    return next(_parts(state), None) is not None


def as_arrays(state: _T) -> _T:
    """Return a copy of a state whose tensors are written as arrays and come back as tensors.

    Tensors inside modules, dicts, lists and tuples are found; sharing between them is kept.
    """
    parts = list(_parts(state))
    tensors = [part for part in parts if isinstance(part, torch.Tensor)]
    boxes: dict[int, object] = {id(dtype): BoxedDtype.around(dtype) for dtype in _DTYPES}
    boxes |= {id(tensor): BoxedTensor.around(tensor) for tensor in tensors}
    modules = [part for part in parts if isinstance(part, nn.Module) and is_parametrized(part)]
    boxed = [BoxedModule.around(module) for module in modules]
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
            # What was computed from parameters, and tensors of the module's own.
            yield from (t for t in _parts_of_container(vars(part)) if _is_plain(t))
    elif isinstance(state, dict | list | tuple):
        for value in state.values() if isinstance(state, dict) else state:
            yield from _parts(value)


def _is_plain(tensor: torch.Tensor) -> bool:
    """Tell whether an array holds all of a tensor; others are pickled as torch does."""
    is_strided = tensor.layout is torch.strided and tensor.dtype in _OF_NUMPY
    return type(tensor) is torch.Tensor and is_strided and tensor.device.type != "meta"


def _parts_of_container(container: object) -> Iterator[torch.Tensor]:
    if isinstance(container, torch.Tensor):
        yield container
    elif isinstance(container, dict | list | tuple):
        for value in container.values() if isinstance(container, dict) else container:
            yield from _parts_of_container(value)
