"""Values as a tree of JSON and arrays, and back.

JSON's own values stand for themselves. Anything else is an object of JSON whose key ``"$"`` says
what it is: ``{"$": "tuple", "of": [1, 2]}``. A new kind of value is one function that writes it and
one that makes it, registered in :data:`_WRITERS` and :data:`_MAKERS`.
"""

import math
import re
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import torch

from skensemble._types import Array, Options
from skensemble._warnings import short

from .container import Fault, lies_as_written
from .moments import (
    make_datetime,
    make_pandas,
    make_time,
    make_zone,
    write_datetime,
    write_pandas,
    write_time,
    zone_name,
)

#: Kinds of what is found by its name.
_FOREIGN = ("name", "instance", "module", "partial", "again")

#: Values nest no deeper.
DEEPEST = 100

#: Whole numbers that stand as themselves.
_LARGE = 1 << 63

#: Numbers of a range.
_MOST = 1 << 24

#: Types of numpy that are bytes and nothing else, by their names.
_DTYPE = re.compile(
    r"[<>|](?:[biufc][0-9]{1,2}|[SU][0-9]{1,9}|[mM]8(?:\[[0-9]{0,9}[A-Za-z]{1,2}\])?)"
)

#: Of torch's types these are numpy's too.
_OF_NUMPY = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")


class Record(NamedTuple):
    """An object of this package as it stands in a file: its class and what it holds."""

    tag: str
    fields: Options


class Foreign(NamedTuple):
    """What is not ours and stands in a file by its name: a class, a function, an instance."""

    #: "name", "instance", "module" or "partial".
    kind: str
    #: "package.module.Class".
    name: str
    #: Of its source; None where there is none.
    source: str | None
    #: What an instance is made of, undecided what it means.
    parts: Any = None
    #: By which two places that hold one object refer to it.
    number: int | None = None


#: Writes what is not plain; a :class:`ValueError` where nothing can.
Hook = Callable[["Encoder", Any], Options]


class Encoder:
    """Turns values into JSON and :attr:`arrays`; `hook` writes what is no plain value."""

    def __init__(self, hook: Hook):
        self.hook = hook
        self.arrays: dict[str, Array] = {}
        #: Tensors and objects that were written, by identity: kept alive, with their numbers.
        self.written: dict[int, tuple[object, Any]] = {}

    def copy(self) -> "Encoder":
        """Return one that knows what this one has written so far."""
        made = Encoder(self.hook)
        made.arrays, made.written = dict(self.arrays), dict(self.written)
        return made

    def encode(self, value: Any) -> Any:
        """Return the JSON of a value."""
        kind = type(value)
        if value is None or kind in (bool, str):
            return value
        if kind is int:
            if -_LARGE < value < _LARGE:
                return value
            return {"$": "int", "hex": hex(value)}
        if kind is float:
            return value if math.isfinite(value) else {"$": "float", "of": repr(value)}
        if kind is list:
            return [self.encode(part) for part in value]
        if kind is dict and "$" not in value and all(type(key) is str for key in value):
            return {key: self.encode(part) for key, part in value.items()}
        return self._encode_other(value)

    def encode_named(self, name: str, value: Any) -> Any:
        """Return the JSON of a value; an error names what holds it."""
        try:
            return self.encode(value)
        except (Fault, ValueError, RecursionError) as error:
            raise ValueError(
                f"Got {name}={short(value)} with {error}, but expected what a file can keep: "
                "numbers, texts, dates, arrays, lists and dicts of them, and classes and functions "
                "that have a name at the top of a module. For this one use pickle or joblib."
            ) from error

    def _encode_other(self, value: Any) -> Options:
        for cls, name, write in _WRITERS:
            if type(value) is cls:
                return {"$": name, **write(self, value)}
        if isinstance(value, np.ndarray):
            return self._encode_array(np.asarray(value))
        if isinstance(value, np.generic):
            return {"$": "scalar", **self._encode_scalar(value)}
        if type(value) in (torch.Tensor, torch.nn.Parameter):
            return self._encode_tensor(value)
        if isinstance(value, PurePath):
            return {"$": "path", "of": str(value)}
        if isinstance(value, tzinfo):
            return {"$": "zone", "of": zone_name(value)}
        if type(value).__module__.partition(".")[0] == "pandas" and (
            made := write_pandas(self, value)
        ):
            return made
        return self.hook(self, value)

    def add(self, array: Array) -> str:
        """Keep an array, and return its name."""
        name = f"a{len(self.arrays)}"
        self.arrays[name] = array
        return name

    def _encode_array(self, array: Array) -> Options:
        if lies_as_written(array):
            return {"$": "array", "at": self.add(array)}
        if _DTYPE.fullmatch(array.dtype.str):
            # Longer than its own bytes it would be as text.
            raw = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
            made = {"at": self.add(raw), "dtype": array.dtype.str, "shape": list(array.shape)}
            return {"$": "array", **made}
        if array.dtype == object or array.dtype == np.dtypes.StringDType():
            kind = "O" if array.dtype == object else "T"
            values = [self.encode(part) for part in array.reshape(-1).tolist()]
            if any(_is_looked_up(value) for value in values):
                raise ValueError("an array of objects that are no plain values")
            return {"$": "objects", "dtype": kind, "shape": list(array.shape), "of": values}
        raise ValueError(f"an array of the type {short(array.dtype)}")

    def _encode_scalar(self, value: np.generic) -> Options:
        array = np.asarray(value)
        if not _DTYPE.fullmatch(array.dtype.str):
            raise ValueError(f"a value of the type {short(array.dtype)}")
        return {"dtype": array.dtype.str, "hex": array.tobytes().hex()}

    def _encode_tensor(self, tensor: torch.Tensor) -> Options:
        name = self.written.get(id(tensor), (None, None))[1]
        value = tensor.detach()
        if value.layout is not torch.strided or value.is_quantized or value.device.type == "meta":
            raise ValueError(f"a tensor of the layout {value.layout} on {value.device}")
        if name is None:
            name = self.add(tensor_bytes(value))
            self.written[id(tensor)] = tensor, name
        made: Options = {
            "$": "tensor",
            "at": name,
            "dtype": str(value.dtype).removeprefix("torch."),
        }
        if made["dtype"] not in _OF_NUMPY:
            made["shape"] = list(value.shape)
        if isinstance(tensor, torch.nn.Parameter):
            made["parameter"] = tensor.requires_grad
        return made


def _is_looked_up(tree: Any) -> bool:
    """Tell whether a tree stands for what is found by its name."""
    return isinstance(tree, dict) and tree.get("$") in _FOREIGN


def tensor_bytes(tensor: torch.Tensor) -> Array:
    """Return a tensor as an array of its type; as bytes where numpy has none such."""
    value = tensor.detach().cpu().contiguous()
    if str(value.dtype).removeprefix("torch.") in _OF_NUMPY:
        return value.numpy()
    return value.reshape(-1).view(torch.uint8).numpy()


def torch_type(name: object) -> torch.dtype:
    """Return the type of torch's that has a name."""
    found = getattr(torch, name, None) if isinstance(name, str) else None
    if not isinstance(found, torch.dtype):
        raise Fault(f"the unknown type {short(name)} of a tensor")
    return found


# ------------------------------------------------------------------------------- decoding


class Decoder:
    """Turns JSON back into values; `arrays` are those of the file by name.

    Objects of this package come as :class:`Record`, what is foreign as :class:`Foreign`: nothing is
    looked up by its name here.
    """

    def __init__(self, arrays: dict[str, Array]):
        self.arrays = arrays
        self._depth = 0
        self._tensors: dict[str, torch.Tensor] = {}

    def decode(self, tree: Any) -> Any:
        """Return the value that a tree stands for."""
        if isinstance(tree, list):
            return [self.part(part) for part in tree]
        if not isinstance(tree, dict):
            return tree
        if "$" not in tree:
            return {key: self.part(part) for key, part in tree.items()}
        kind = tree["$"]
        if not isinstance(kind, str):
            raise Fault(f"a value of the kind {short(kind)}")
        if kind[:1].isupper():
            return Record(kind, {k: self.part(v) for k, v in tree.items() if k != "$"})
        if kind not in _MAKERS:
            raise Fault(f"a value of the unknown kind {short(kind)}")
        return _MAKERS[kind](self, tree)

    def part(self, tree: Any) -> Any:
        """Return a part of a value."""
        if type(tree) not in (list, dict):
            return tree
        self._depth += 1
        if self._depth > DEEPEST:
            raise Fault(f"values that nest deeper than {DEEPEST}")
        made = self.decode(tree)
        self._depth -= 1
        return made

    def many(self, tree: Any) -> list[Any]:
        """Return the values of a list."""
        if not isinstance(tree, list):
            raise Fault("no list where one belongs")
        return [self.part(part) for part in tree]

    def array(self, name: object) -> Array:
        """Return an array by its name."""
        if not isinstance(name, str) or name not in self.arrays:
            raise Fault(f"no array {short(name)}")
        return self.arrays[name]

    def tensor(self, tree: Options) -> torch.Tensor:
        """Return a tensor; the same one for the same name."""
        key = f"{tree['at']} {tree.get('parameter')}"
        if key not in self._tensors:
            dtype, array = torch_type(tree["dtype"]), self.array(tree["at"])
            tensor = torch.from_numpy(array.copy() if array.ndim else np.array(array))
            if "shape" in tree:
                shape = sizes_of(tree["shape"])
                if math.prod(shape) * dtype.itemsize != array.nbytes or array.dtype != np.uint8:
                    raise Fault(f"the array {tree['at']!r}, which a tensor's shape does not fill")
                tensor = tensor.view(dtype).reshape(shape)
            elif tensor.dtype != dtype:
                raise Fault(f"the array {tree['at']!r} of another type than its tensor")
            if tree.get("parameter") is not None:
                is_learned = tree["parameter"] is True
                if is_learned and not (dtype.is_floating_point or dtype.is_complex):
                    raise Fault("a parameter of whole numbers that is to be learned")
                tensor = torch.nn.Parameter(tensor, requires_grad=is_learned)
            self._tensors[key] = tensor
        return self._tensors[key]


def sizes_of(tree: object) -> list[int]:
    """Return a shape."""
    if not isinstance(tree, list) or len(tree) > 32:
        raise Fault(f"the shape {short(tree)}")
    if not all(type(n) is int and 0 <= n < 1 << 62 for n in tree):
        raise Fault(f"the shape {short(tree)}")
    return tree


def _make_array(decoder: Decoder, tree: Options) -> Array:
    array = decoder.array(tree["at"])
    if "dtype" not in tree:
        return array
    dtype, shape = _dtype_of(tree["dtype"]), sizes_of(tree["shape"])
    if array.dtype != np.uint8 or math.prod(shape) * dtype.itemsize != array.nbytes:
        raise Fault(f"the array {tree['at']!r}, which its type and shape do not fill")
    if dtype.itemsize == 0:  # strings of no letters, of which there may be any number
        if math.prod(shape) > 1 << 16:
            raise Fault(f"the shape {short(shape)} of empty strings")
        return np.zeros(shape, dtype)
    return _checked_text(np.frombuffer(array.tobytes(), dtype).reshape(shape).copy())


def _checked_text(array: Array) -> Array:
    """Refuse letters that no text has: numpy would take them, and fail later."""
    if array.dtype.kind == "U" and array.size:
        letters = array.reshape(-1).view(array.dtype.byteorder.replace("=", "<") + "u4")
        if letters.max() > sys.maxunicode:
            raise Fault("a text with letters that there are not")
    if array.dtype.kind == "b" and array.size and array.view(np.uint8).max() > 1:
        raise Fault("truth values other than 0 and 1")
    return array


def _dtype_of(name: object) -> np.dtype[Any]:
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
        raise Fault(f"the unknown type {short(name)} of an array")
    try:
        return np.dtype(name)
    except (TypeError, ValueError) as error:
        raise Fault(f"the unknown type {short(name)} of an array") from error


def _make_objects(decoder: Decoder, tree: Options) -> Array:
    values, shape = decoder.many(tree["of"]), sizes_of(tree["shape"])
    if math.prod(shape) != len(values):
        raise Fault(f"{len(values)} values for an array of the shape {short(shape)}")
    if tree["dtype"] == "T":
        if not all(type(value) is str for value in values):
            raise Fault("values other than texts in an array of texts")
        return np.array(values, np.dtypes.StringDType()).reshape(shape)
    array = np.empty(len(values), object)
    for i, value in enumerate(values):
        if isinstance(value, Foreign | Record):
            raise Fault("what is looked up by its name in an array")
        array[i] = value
    return array.reshape(shape)


def _make_scalar(decoder: Decoder, tree: Options) -> Any:
    dtype, data = _dtype_of(tree["dtype"]), bytes.fromhex(tree["hex"])
    if len(data) != dtype.itemsize:
        raise Fault("a value of other length than its type")
    if not data:
        return np.zeros((), dtype)[()]
    return _checked_text(np.frombuffer(data, dtype).copy())[0]


def _make_dict(decoder: Decoder, tree: Options) -> dict[Any, Any]:
    pairs = decoder.many(tree["of"])
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise Fault("a dict whose items are no pairs")
    made = {_hashable(key): value for key, value in pairs}
    if len(made) < len(pairs):
        raise Fault("a key that stands twice")
    return made


def _hashable(value: Any) -> Any:
    try:
        hash(value)
    except TypeError as error:
        raise Fault(f"a key of the type {type(value).__name__}") from error
    return value


def _as_set(decoder: Decoder, tree: Options) -> set[Any]:
    return {_hashable(value) for value in decoder.many(tree["of"])}


def _write_set(encoder: Encoder, value: Iterable[Any]) -> Options:
    # The order of a set may differ from process to process; that of texts does not.
    parts = sorted((encoder.encode(part) for part in value), key=repr)
    return {"of": parts}


# -------------------------------------------------------------------------------- tables


def _of(encoder: Encoder, value: Iterable[Any]) -> Options:
    return {"of": [encoder.encode(part) for part in value]}


def _pairs(encoder: Encoder, value: dict[Any, Any]) -> Options:
    return {"of": [[encoder.encode(k), encoder.encode(v)] for k, v in value.items()]}


def _text(encoder: Encoder, value: object) -> Options:
    return {"of": str(value)}


#: Types that are told by identity, their names in a file, and what to write of them.
_WRITERS: list[tuple[type, str, Callable[[Encoder, Any], Options]]] = [
    (tuple, "tuple", _of),
    (torch.Size, "size", _of),
    (dict, "dict", _pairs),
    (OrderedDict, "ordered", _pairs),
    (set, "set", _write_set),
    (frozenset, "frozenset", _write_set),
    (bytes, "bytes", lambda e, v: {"hex": v.hex()}),
    (complex, "complex", lambda e, v: {"of": [e.encode(v.real), e.encode(v.imag)]}),
    (range, "range", lambda e, v: {"of": [_checked(v).start, v.stop, v.step]}),
    (slice, "slice", lambda e, v: {"of": [e.encode(p) for p in (v.start, v.stop, v.step)]}),
    (datetime, "datetime", write_datetime),
    (date, "date", lambda e, v: {"of": [v.year, v.month, v.day]}),
    (time, "time", write_time),
    (timedelta, "timedelta", lambda e, v: {"of": [v.days, v.seconds, v.microseconds]}),
    (Decimal, "decimal", _text),
    (Fraction, "fraction", _text),
    (UUID, "uuid", _text),
    (type(...), "ellipsis", lambda e, v: {}),
    (torch.dtype, "torch type", lambda e, v: {"of": str(v).removeprefix("torch.")}),
    (torch.device, "device", _text),
    (np.random.RandomState, "random state", lambda e, v: {"of": e.encode(v.get_state())}),
]


def _short_text(tree: Options) -> str:
    """Return a text that a parser may be given: those of long ones take their time."""
    if not isinstance(tree["of"], str) or len(tree["of"]) > 4000:
        raise Fault("a number in a text that is too long")
    return tree["of"]


def _make_fraction(decoder: Decoder, tree: Options) -> Fraction:
    text = _short_text(tree)
    if not re.fullmatch("-?[0-9]+(?:/[0-9]+)?", text):  # an exponent may take for ever
        raise Fault("a fraction that is none")
    return Fraction(text)


def _checked(numbers: range) -> range:
    if numbers[_MOST:]:  # to look for what is not in it takes for ever
        raise Fault(f"a range of more than {_MOST} numbers")
    return numbers


def _make_generator(decoder: Decoder, tree: Options) -> np.random.RandomState:
    made = np.random.RandomState(0)
    made.set_state(decoder.part(tree["of"]))
    return made


def _make_foreign(decoder: Decoder, tree: Options) -> Foreign:
    name, source, number = tree.get("name"), tree.get("source"), tree.get("number")
    if not isinstance(name, str) or not isinstance(source, str | None):
        raise Fault("a name that is none")
    if not isinstance(number, int | None):
        raise Fault("an object whose number is none")
    parts = decoder.part(tree.get("parts"))
    return Foreign(tree["$"], name, source, parts, number)


#: What makes a value of each kind.
_MAKERS: dict[str, Callable[[Decoder, Options], Any]] = {
    "int": lambda d, t: int(t["hex"], 16),
    "float": lambda d, t: {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}[t["of"]],
    "array": _make_array,
    "objects": _make_objects,
    "scalar": _make_scalar,
    "tensor": lambda d, t: d.tensor(t),
    "tuple": lambda d, t: tuple(d.many(t["of"])),
    "size": lambda d, t: torch.Size(sizes_of(t["of"])),
    "dict": _make_dict,
    "ordered": lambda d, t: OrderedDict(_make_dict(d, t)),
    "set": _as_set,
    "frozenset": lambda d, t: frozenset(_as_set(d, t)),
    "bytes": lambda d, t: bytes.fromhex(t["hex"]),
    "complex": lambda d, t: complex(*d.many(t["of"])),
    "range": lambda decoder, tree: _checked(range(*tree["of"])),
    "slice": lambda d, t: slice(*d.many(t["of"])),
    "datetime": make_datetime,
    "date": lambda d, t: date(*t["of"]),
    "time": make_time,
    "timedelta": lambda d, t: timedelta(*t["of"]),
    "zone": lambda d, t: make_zone(t["of"]),
    "decimal": lambda d, t: Decimal(_short_text(t)),
    "fraction": _make_fraction,
    "uuid": lambda d, t: UUID(_short_text(t)),
    "path": lambda d, t: Path(_short_text(t)),
    "ellipsis": lambda d, t: ...,
    "torch type": lambda d, t: torch_type(t["of"]),
    "device": lambda d, t: torch.device(_short_text(t)),
    "random state": _make_generator,
    "pandas": make_pandas,
    **dict.fromkeys(_FOREIGN, _make_foreign),
}
