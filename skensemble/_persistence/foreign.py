"""What is not ours and no plain value: classes, functions and instances, by their names.

A name is looked up where its owner cannot do harm, or where the user trusts it, and nowhere else.
"""

import functools
import hashlib
import importlib
import inspect
import sys
import types
from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from sklearn.model_selection import BaseCrossValidator, BaseShuffleSplit
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import nn
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

from skensemble._compat import parametrize, without_local_hooks
from skensemble._types import Options
from skensemble._warnings import short, warn

from .container import Fault
from .tree import Encoder, Foreign, Record

#: Where classes of a base need no trust. They are looked up among what is imported already.
_FREE: tuple[tuple[str, type | tuple[type, ...]], ...] = (
    ("torch.nn.modules.", nn.Module),
    ("torch.nn.utils.parametri", nn.Module),
    ("torch.optim.", torch.optim.Optimizer),
    ("skorch.callbacks.", Callback),
    ("skorch.", NeuralNet),
    ("sklearn.model_selection.", (BaseCrossValidator, BaseShuffleSplit)),
    ("skensemble.networks", nn.Module),
)

#: Hooks that torch puts into modules whose tensors are computed from others, and what callbacks of
#: skorch's are given by themselves.
_FREE_NAMES = {
    "skorch.utils.freeze_parameter",
    "skorch.utils.unfreeze_parameter",
    "skorch.utils.to_numpy",
    "torch.nn.utils.weight_norm.WeightNorm",
    "torch.nn.utils.spectral_norm.SpectralNorm",
    "torch.nn.utils.spectral_norm.SpectralNormStateDictHook",
    "torch.nn.utils.spectral_norm.SpectralNormLoadStateDictPreHook",
}

#: Callbacks that read or write files, or speak to other machines.
_NEED_TRUST = ("Checkpoint", "LoadInitState", "Logger", "TensorBoard")

#: What modules hold by name.
_HELD = {"_parameters": nn.Parameter, "_buffers": torch.Tensor, "_modules": nn.Module}

#: Where functions need no trust.
_FREE_FUNCTIONS = ("torch.nn.functional",)


def name_of(value: Any) -> str:
    """Return the name of a class or a function with that of its module."""
    return f"{value.__module__}.{value.__qualname__}"


def source_of(value: Any) -> str | None:
    """Return a digest of the source of a class or a function; None where there is none."""
    try:
        source = inspect.getsource(value)
    except (OSError, TypeError):
        return None
    return hashlib.blake2b(source.encode(), digest_size=8).hexdigest()


# -------------------------------------------------------------------------------- writing


def write_foreign(encoder: Encoder, value: Any) -> Options:
    """Write what is no plain value; a :class:`ValueError` where no file can keep it."""
    if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType):
        return _write_name(value)
    if isinstance(value, functools.partial):
        parts = {"of": value.func, "args": list(value.args), "kwargs": value.keywords}
        return {"$": "partial", "name": "functools.partial", "parts": encoder.encode(parts)}
    known = encoder.written.get(id(value))
    if known is not None:
        return {"$": "again", "name": name_of(type(value)), "number": known[1]}
    number = len(encoder.written)
    encoder.written[id(value)] = value, number
    kind = type_before_parametrizations(value) if isinstance(value, nn.Module) else type(value)
    made = {**_write_name(kind), "number": number}
    if isinstance(value, nn.Module):
        return {**made, "$": "module", "parts": encoder.encode(_parts_of_module(value))}
    return {**made, "$": "instance", "parts": encoder.encode(_parts_of_instance(value))}


def _write_name(value: Any) -> Options:
    if not getattr(value, "__module__", None) or not getattr(value, "__qualname__", None):
        raise ValueError(f"{short(value)}, which has no name")
    name = name_of(value)
    source = None if _find_free(name) is value else source_of(value)
    return {"$": "name", "name": name, "source": source}


def _parts_of_module(module: nn.Module) -> Options:
    if is_parametrized(module):  # whose class of now refuses to be asked for its state
        names = list(module.parametrizations)  # type: ignore[arg-type]
        return {"vars": dict(without_local_hooks(vars(module))), "parametrized": names}
    kept = module.__getstate__()  # recurrent layers leave out what points at their own tensors
    return {"vars": kept, "parametrized": []}


def _parts_of_instance(value: Any) -> Options:
    if isinstance(value, Callback) or hasattr(value, "get_params"):
        return {"parameters": _given(value)}
    own: Any = type(value)
    names = ("__reduce__", "__reduce_ex__")
    is_plain = all(getattr(own, name) is getattr(object, name) for name in names)
    if not is_plain or not hasattr(value, "__dict__"):
        raise ValueError(f"an instance of {name_of(type(value))}")
    return {"vars": dict(vars(value))}


def _given(value: Any) -> Options:
    """Return the parameters of an instance that are not those of the constructor by itself."""
    defaults = {k: p.default for k, p in inspect.signature(type(value)).parameters.items()}
    given = value.get_params(deep=False).items()
    return {name: part for name, part in given if part is not defaults.get(name, ...)}


# -------------------------------------------------------------------------------- reading


def foreigners(value: Any) -> Iterator[Foreign]:
    """Yield everything foreign within a value."""
    if isinstance(value, Foreign):
        yield value
        value = value.parts
    if isinstance(value, Record):
        value = value.fields
    if isinstance(value, dict):
        for key, part in value.items():
            yield from foreigners(key)
            yield from foreigners(part)
    elif isinstance(value, list | tuple | set | frozenset):
        for part in value:
            yield from foreigners(part)


def untrusted(value: Any, trusted: Collection[str], *, is_module: bool = False) -> list[str]:
    """Return the names within a value that need trust and have none, sorted.

    With `is_module` it is what a file says that a module is made by. Of torch's own layers only the
    linear ones need no trust there: of others a file could ask for so many that it takes for ever.
    """
    strange = set()
    for foreign in foreigners(value):
        if foreign.kind in ("partial", "again") or foreign.name in trusted:
            continue
        is_layer = is_module and foreign.kind == "name" and foreign.name.startswith("torch.nn.")
        is_many = is_layer and not foreign.name.startswith("torch.nn.modules.linear.")
        if is_many or _find_free(foreign.name) is None:
            strange.add(foreign.name)
    return sorted(strange)


def _find_free(name: str) -> Any:
    """Return what a name stands for where that needs no trust; nothing is imported."""
    owner, _, last = name.rpartition(".")
    found = vars(sys.modules[owner]).get(last) if owner in sys.modules else None
    if getattr(found, "__module__", None) != owner:
        return None
    if name in _FREE_NAMES:
        return found
    if owner in _FREE_FUNCTIONS and isinstance(found, types.FunctionType) and last[0] != "_":
        return found
    if not isinstance(found, type) or any(word in last for word in _NEED_TRUST):
        return None
    for start, base in _FREE:
        if f"{owner}.".startswith(start) and issubclass(found, base):
            return found
    return None


def is_free(value: Any) -> bool:
    """Tell whether a class or a function needs no trust."""
    return getattr(value, "__qualname__", None) is not None and _find_free(name_of(value)) is value


class Maker:
    """Makes what is foreign, once it was checked that every name has the user's trust.

    Parameters
    ----------
    trusted : collection of str
    make_record : callable
        Makes an object of this package from its record, whose parts are made.
    """

    def __init__(self, trusted: Collection[str], make_record: Callable[[Record], Any]):
        self.trusted, self._make_record = trusted, make_record
        self._made: dict[int, Any] = {}

    def make(self, value: Any) -> Any:
        """Return a value with everything foreign in it made."""
        if isinstance(value, Foreign):
            return self._make_foreign(value)
        if isinstance(value, Record):
            made = {name: self.make(part) for name, part in value.fields.items()}
            return self._make_record(Record(value.tag, made))
        if isinstance(value, dict):
            pairs = ((self.make(k), self.make(v)) for k, v in value.items())
            return type(value)(pairs)
        if type(value) in (list, tuple, set, frozenset):
            return type(value)(self.make(part) for part in value)
        return value

    def find(self, foreign: Foreign) -> Any:
        """Return what a name stands for."""
        found = _find_free(foreign.name)
        if found is not None:
            return found
        if foreign.name not in self.trusted:
            raise Fault(f"the name {foreign.name!r}, which nobody trusts")
        found = _import(foreign.name)
        self.compare_source(foreign, found)
        return found

    def compare_source(self, foreign: Foreign, found: Any) -> None:
        """Warn where a class or a function, or that of an instance, is not as it was."""
        kind = type(found) if isinstance(found, nn.Module) else found
        now = source_of(kind)
        if None not in (foreign.source, now) and foreign.source != now:
            warn(
                f"Got a file in which {foreign.name} has another source than now, but expected the "
                "same: predictions may differ or fail. Load it with the source that it was saved "
                "with, or fit anew."
            )

    def _make_foreign(self, foreign: Foreign) -> Any:
        number, parts = foreign.number, foreign.parts
        if foreign.kind == "name":
            return self.find(foreign)
        if foreign.kind == "again":
            if number is None or number not in self._made:
                raise Fault("an object that is said to stand there, and does not")
            return self._made[number]
        if not isinstance(parts, dict):
            raise Fault(f"no parts of {foreign.name!r}")
        if foreign.kind == "partial":
            made = self.make(parts)
            return functools.partial(made["of"], *made["args"], **made["kwargs"])
        cls = self.find(foreign)
        if not isinstance(cls, type) or issubclass(cls, nn.Module) != (foreign.kind == "module"):
            raise Fault(f"an instance of {foreign.name!r}, which is another kind of thing")
        if "parameters" in parts:
            made = cls(**_named(self.make(parts["parameters"])))
        else:
            made = object.__new__(cls)
        if number is not None:
            self._made[number] = made
        if "vars" in parts:
            names = parts["parametrized"] if foreign.kind == "module" else []
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise Fault("parametrized tensors without names")
            if names:
                parametrize(made, names)
            attributes = _named(self.make(parts["vars"]))
            if foreign.kind == "module":
                _check_internals(attributes)
                made.__setstate__(attributes)
            else:
                made.__dict__.update(attributes)
        return made


def _named(options: object) -> Options:
    if not isinstance(options, dict) or not all(isinstance(name, str) for name in options):
        raise Fault("attributes without names")
    return options


def _check_internals(attributes: Options) -> None:
    """Refuse attributes of a module without which torch cannot even look for others."""
    for name, empty in vars(nn.Module()).items():
        kind: Any = (bool, type(None)) if empty is None else type(empty)
        if not isinstance(part := attributes.get(name, empty), kind):
            raise Fault(f"a module whose {name} is {short(part)}")
    for name, held in _HELD.items():
        if not all(part is None or isinstance(part, held) for part in attributes[name].values()):
            raise Fault(f"a module whose {name} are of another kind")


def _import(name: str) -> Any:
    """Import what the user trusts."""
    parts = name.split(".")
    for n in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:n]))
        except ModuleNotFoundError as error:
            if error.name is None or not ".".join(parts[:n]).startswith(error.name):
                raise
            continue
        for part in parts[n:]:
            found = getattr(found, part, None)
        if found is not None:
            return found
    raise ValueError(
        f"Got trusted={[name]}, but there is nothing of that name to import; expected a name that "
        "leads to what it was when the file was saved: put its module where Python finds it."
    )
