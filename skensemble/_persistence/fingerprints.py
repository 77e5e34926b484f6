"""Fingerprints of values: equal ones tell that two calls ask for the same thing.

The fingerprint of a function or a class of the user's covers its code, its defaults, what it closes
over and what of its module it names: the same name with other code is another thing. Code of
packages that are installed is known by their versions; see :mod:`~skensemble._nets.origins`.
"""

import copyreg
import functools
import hashlib
import marshal
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import joblib
import numpy as np
import torch
from torch import nn

from skensemble._data.frames import column_names, is_frame, iter_columns
from skensemble._nets.origins import (
    OF_DATA,
    READABLE,
    is_of_library,
    module_name,
    origin_of,
    package_of,
)
from skensemble._nets.snapshots import named_tensors
from skensemble._types import Array, Options

#: Attributes of a class that its code does not hang on, some of which others add as it is used.
_PASSED_OVER = {
    *("__dict__", "__weakref__", "__doc__", "__module__", "_abc_impl", "__slotnames__"),
    *("__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__"),
    *("__dataclass_fields__", "__dataclass_params__", "__parameters__", "__orig_bases__"),
    *("__firstlineno__", "__static_attributes__"),
}

#: Attributes of a module that are told by its tensors and its parts, or by nothing at all.
_OF_MODULE = set(vars(nn.Module())) - {"training"}

#: What is called around a pass through a module, by numbers that differ from process to process.
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")

#: Types that are plain, in lists of which ``marshal`` writes the values and nothing else.
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def fingerprint(value: object) -> str:
    """Return 32 digits that stand for a value, in any process.

    Examples
    --------
    >>> from skensemble._persistence.fingerprints import fingerprint
    >>> fingerprint({"a": [1, 2]}) == fingerprint(dict(a=[1, 2]))
    True
    >>> fingerprint([1, 2]) == fingerprint([1.0, 2.0])
    False
    """
    reader = _Reader()
    reader.read(value)
    return reader.hash.hexdigest()


class _Reader:
    """Feeds a hash with a value, part by part."""

    def __init__(self) -> None:
        self.hash = hashlib.blake2b(digest_size=16)
        #: Objects that were read, by identity, each with its number: there may be circles.
        self._seen: dict[int, tuple[int, object]] = {}
        #: Those that are being read. Equal dates or lists are one thing, be they one object or two.
        self._open: list[int] = []

    def read(self, value: Any) -> None:
        """Feed the hash with a value of any type."""
        kind, reader = next(item for item in _READERS.items() if isinstance(value, item[0]))
        if reader in _OF_CONTAINERS or (reader is _read_object and is_of_library(type(value))):
            self.within(value, reader)
        elif reader in _MAY_RECUR:
            self.once(value, reader)
        else:
            reader(self, value)
        if reader in _OF_BUILTINS and type(value) not in kind:  # a class of the user's may derive
            self.read([type(value), _held(value)])

    def once(self, value: Any, reader: Any) -> None:
        """Read an object that is one thing wherever it stands."""
        if self.is_new(value):
            reader(self, value)

    def is_new(self, value: object) -> bool:
        """Tell whether an object was not read before; if it was, read which one it is."""
        if id(value) in self._seen:
            self.tag("again", str(self._seen[id(value)][0]))
            return False
        self._seen[id(value)] = (len(self._seen), value)
        return True

    def within(self, value: Any, reader: Any) -> None:
        """Read what may hold itself."""
        if id(value) in self._open:
            self.tag("circle", str(self._open.index(id(value))))
            return
        self._open.append(id(value))
        reader(self, value)
        self._open.pop()

    def tag(self, *words: str) -> None:
        """Feed the hash with words, each with its length."""
        for word in words:
            self.bytes(word.encode("utf-8", "surrogatepass"))

    def bytes(self, data: bytes) -> None:
        """Feed the hash with bytes and their number."""
        self.hash.update(len(data).to_bytes(8, "little") + data)


def _read_plain(reader: _Reader, value: object) -> None:
    reader.tag(type(value).__name__, repr(value))


def _read_array(reader: _Reader, value: Array) -> None:
    reader.tag("array", str(value.dtype), str(value.shape))
    if isinstance(value, np.ma.MaskedArray):
        _read_array(reader, np.ma.getmaskarray(value))
        value = value.data
    if value.dtype.hasobject:
        _read_sequence(reader, value.reshape(-1).tolist())
    else:
        reader.hash.update(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)


def _read_scalar(reader: _Reader, value: np.generic) -> None:
    _read_array(reader, np.asarray(value))


def _read_tensor(reader: _Reader, value: torch.Tensor) -> None:
    dense = value.detach().cpu()
    if dense.layout is not torch.strided:
        dense = dense.to_dense()
    dense = dense.resolve_conj().resolve_neg()
    reader.tag("tensor", str(value.dtype), str(tuple(value.shape)), str(value.requires_grad))
    reader.hash.update(dense.contiguous().reshape(-1).view(torch.uint8).numpy().data)


def _read_sequence(reader: _Reader, value: Iterable[Any]) -> None:
    values = list(value)
    reader.tag(type(value).__name__, str(len(values)))
    if {*map(type, values)} <= {*_PLAIN}:
        # Of version 0, which knows no objects that are the same one.
        reader.bytes(marshal.dumps(values, 0))
        return
    for part in values:
        reader.read(part)


def _read_set(reader: _Reader, value: Iterable[Any]) -> None:
    reader.tag(type(value).__name__, *sorted(map(fingerprint, value)))


def _read_mapping(reader: _Reader, value: Mapping[Any, Any]) -> None:
    """Read a dict in its order: a network may be made in the order of its parts."""
    reader.tag("dict", str(len(value)))
    for key, part in value.items():
        reader.read(key)
        reader.read(part)


def _read_module(reader: _Reader, value: nn.Module) -> None:
    reader.tag("module")
    for name, part in value.named_modules(remove_duplicate=False):
        reader.tag(name)
        if part is value or reader.is_new(part):
            _read_part(reader, part)
    for name, tensor in named_tensors(value):
        reader.tag(name)
        reader.once(tensor, _read_tensor)


def _read_part(reader: _Reader, part: nn.Module) -> None:
    """Read what a part of a module is beside its tensors and its own parts."""
    reader.read(type(part))
    reader.read(_sorted({k: v for k, v in vars(part).items() if k not in _OF_MODULE}))
    for name in _HOOKS:
        reader.read(list(vars(part).get(name, {}).values()))


def _read_class(reader: _Reader, value: type) -> None:
    reader.tag("class", module_name(value), value.__qualname__)
    if is_of_library(value):
        reader.tag(origin_of(value))
        return
    if type(value) is not type:
        reader.read(type(value))
    for name, part in sorted(vars(value).items()):
        if name not in _PASSED_OVER:
            reader.tag(name)
            reader.read(part)
    for base in value.__bases__:
        reader.read(base)


def _read_alias(reader: _Reader, value: types.GenericAlias) -> None:
    reader.tag("alias")
    reader.read([value.__origin__, value.__args__])


def _read_function(reader: _Reader, value: types.FunctionType) -> None:
    reader.tag("function", module_name(value), value.__qualname__)
    if is_of_library(value):
        reader.tag(origin_of(value))
        return
    _read_code(reader, value.__code__)
    reader.read([value.__defaults__, value.__kwdefaults__, _sorted(vars(value))])
    for cell in value.__closure__ or ():
        reader.read(_contents(cell))
    _read_globals(reader, value.__globals__, sorted(set(_names_in(value.__code__))))


def _read_globals(reader: _Reader, there: Mapping[str, Any], names: list[str]) -> None:
    """Read what of a module is named, also by way of another module."""
    for name in names:
        if name not in there:
            continue
        value = there[name]
        reader.tag(name)
        if not isinstance(value, types.ModuleType):
            _read_global(reader, value)
        elif not is_of_library(value):
            reader.within(value, lambda reader, module: _read_globals(reader, vars(module), names))


def _read_global(reader: _Reader, value: object) -> None:
    """Read what a module holds; of objects of other packages, such as a console, only the type."""
    kind = type(value)
    is_known = _reader_of(value) is not _read_object or package_of(kind) in READABLE
    reader.read(value if is_known or not is_of_library(kind) else kind)


def _read_code(reader: _Reader, code: types.CodeType) -> None:
    reader.tag("code", *code.co_names, *code.co_varnames, str(code.co_flags))
    reader.bytes(code.co_code)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            _read_code(reader, constant)
        else:
            reader.read(constant)


def _read_builtin(reader: _Reader, value: Any) -> None:
    reader.tag("builtin", str(value.__module__), value.__qualname__)
    if not isinstance(value.__self__, types.ModuleType | type(None)):
        reader.read(value.__self__)


def _read_method(reader: _Reader, value: types.MethodType) -> None:
    reader.read(value.__self__)
    reader.read(value.__func__)


def _read_partial(reader: _Reader, value: "functools.partial[Any]") -> None:
    reader.tag("partial")
    reader.read([value.func, value.args, _sorted(value.keywords)])


def _read_wrapped(reader: _Reader, value: Any) -> None:
    reader.tag(type(value).__name__)
    reader.read(getattr(value, "__func__", None))


def _read_property(reader: _Reader, value: property) -> None:
    reader.tag("property")
    reader.read([value.fget, value.fset, value.fdel])


def _read_numpy_generator(reader: _Reader, value: Any) -> None:
    state = value.get_state() if isinstance(value, np.random.RandomState) else value
    if isinstance(state, np.random.Generator):
        state = state.bit_generator.state
    reader.tag("random")
    reader.read(state)


def _read_name(reader: _Reader, value: object) -> None:
    reader.tag(type(value).__name__, str(value))


def _read_python_module(reader: _Reader, value: types.ModuleType) -> None:
    reader.tag("package", value.__name__, origin_of(value))


def _read_object(reader: _Reader, value: Any) -> None:
    """Read an object by its class and what it holds."""
    reader.read(type(value))
    if package_of(type(value)) in OF_DATA:
        _read_of_data(reader, value)
    elif _is_plainly_held(type(value)):
        reader.read(_held(value))
    else:
        _read_reduced(reader, value)


def _read_of_data(reader: _Reader, value: Any) -> None:
    """Read a frame, a column or their like, by the values and not by how they lie."""
    if is_frame(value):
        reader.read(list(column_names(value)))
        for column in iter_columns(value):
            reader.read(column)
    elif hasattr(value, "to_numpy") and hasattr(value, "dtype"):
        reader.tag(str(value.dtype))
        reader.read(value.to_numpy())
    else:
        reader.tag(str(joblib.hash(value)))


def _read_reduced(reader: _Reader, value: Any) -> None:
    """Read an object that holds more than attributes as it pickles."""
    write = copyreg.dispatch_table.get(type(value))
    try:
        made = value.__reduce_ex__(4) if write is None else write(value)
    except Exception:  # no pickle can hold it, whatever it raises
        made = [None, _held(value)]
    if isinstance(made, str):
        reader.tag(made)
        return
    reader.read(list(made[1:3]))
    for items in made[3:5]:
        reader.read(None if items is None else list(items))


def _reader_of(value: object) -> Any:
    return next(reader for kind, reader in _READERS.items() if isinstance(value, kind))


def _sorted(held: Options) -> Options:
    """Sort attributes, whose order says nothing."""
    return dict(sorted(held.items()))


def _held(value: Any) -> Options:
    """Return the attributes of an object, those in slots too."""
    slots = [name for cls in type(value).__mro__ for name in _slots_of(cls)]
    held = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return _sorted({**held, **getattr(value, "__dict__", {})})


def _slots_of(cls: type) -> list[str]:
    members = (types.MemberDescriptorType,)
    return [name for name, part in vars(cls).items() if isinstance(part, members)]


def _is_plainly_held(cls: Any) -> bool:
    """Tell whether the attributes of an object are all that there is to it."""
    names = ("__reduce__", "__reduce_ex__")
    is_plain = all(getattr(cls, name) is getattr(object, name) for name in names)
    return is_plain and cls not in copyreg.dispatch_table


def _contents(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # nothing was put in yet
        return None


def _names_in(code: types.CodeType) -> Iterator[str]:
    """Yield the names that code and the functions within it look up."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names_in(constant)


#: The first kind that fits reads a value.
_READERS: dict[Any, Any] = {
    (np.generic,): _read_scalar,
    (*_PLAIN, slice, range): _read_plain,
    (np.ndarray,): _read_array,
    (torch.Tensor,): _read_tensor,
    (torch.dtype, torch.device, torch.layout, torch.memory_format, np.dtype, np.ufunc): (
        _read_name
    ),
    (nn.Module,): _read_module,
    (types.GenericAlias,): _read_alias,
    (type,): _read_class,
    (types.FunctionType,): _read_function,
    (types.BuiltinFunctionType,): _read_builtin,
    (types.MethodType,): _read_method,
    (types.ModuleType,): _read_python_module,
    (functools.partial,): _read_partial,
    (staticmethod, classmethod): _read_wrapped,
    (property,): _read_property,
    (np.random.RandomState, np.random.Generator): _read_numpy_generator,
    (dict, types.MappingProxyType): _read_mapping,
    (list, tuple): _read_sequence,
    (set, frozenset): _read_set,
    (object,): _read_object,
}

#: Readers of what may hold itself, and is one thing wherever it stands.
_MAY_RECUR = {_read_module, _read_class, _read_function, _read_object}

#: Readers of containers, and of all types from which a class may derive and hold more.
_OF_CONTAINERS = {_read_mapping, _read_sequence}
_OF_BUILTINS = {_read_plain, _read_set, *_OF_CONTAINERS}
