"""What a value of a file may be: small checks, and what they are made into.

A check is a function of a value and of the words that name it. It returns nothing, or raises a
:class:`~skensemble._persistence.container.Fault`.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from skensemble._types import Options
from skensemble._warnings import short

from .container import Fault
from .tree import Foreign, Record

Check = Callable[[Any, str], None]


class Kind(NamedTuple):
    """A class of ours in a file."""

    cls: type
    #: What each attribute may be. A leading or trailing underscore is not written.
    fields: dict[str, Check]
    #: What must agree among the fields, by their names in the file.
    together: Callable[[Options], None] = lambda fields: None
    #: Computes the attributes that are not written.
    finish: Callable[[Any], object] = lambda made: None
    #: Attributes that older files do not have, and what they stand for there.
    late: Options = {}  # noqa: RUF012


#: Nothing of ours has more axes, columns, classes, steps than a file has bytes; and this many.
_MOST = 1 << 53


def anything(value: Any, name: str) -> None:
    """Take any value."""


def plain(value: Any, name: str) -> None:
    """Take any value but what is looked up by its name, or an object of ours."""
    parts = [value]
    while parts:
        part = parts.pop()
        if isinstance(part, Foreign | Record):
            raise Fault(f"{part[0]} in {name}")
        if isinstance(part, dict):
            parts += [*part, *part.values()]
        elif isinstance(part, list | tuple | set | frozenset):
            parts += part


def integer(low: int = -_MOST, high: int = _MOST) -> Check:
    """Take a whole number within bounds."""

    def check(value: Any, name: str) -> None:
        is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not is_whole or not low <= value <= high:
            raise Fault(f"{name}={short(value)}")

    return check


def real(low: float = -math.inf, high: float = math.inf, *, finite: bool = True) -> Check:
    """Take a number within bounds."""

    def check(value: Any, name: str) -> None:
        is_number = isinstance(value, int | float | np.integer | np.floating)
        if isinstance(value, bool) or not is_number or not low <= float(value) <= high:
            raise Fault(f"{name}={short(value)}")
        if finite and not math.isfinite(value):
            raise Fault(f"{name}={short(value)}")

    return check


def boolean(value: Any, name: str) -> None:
    """Take True or False."""
    if type(value) is not bool:
        raise Fault(f"{name}={short(value)}")


def text(*options: str) -> Check:
    """Take a text, one of `options` where they are given."""

    def check(value: Any, name: str) -> None:
        if type(value) is not str or (options and value not in options):
            raise Fault(f"{name}={short(value)}")

    return check


def torch_float(value: Any, name: str) -> None:
    """Take a type of floats of torch's."""
    if not isinstance(value, torch.dtype) or not value.is_floating_point:
        raise Fault(f"{name}={short(value)}")


def maybe(check: Check) -> Check:
    """Take None too."""
    return lambda value, name: None if value is None else check(value, name)


def either(*checks: Check) -> Check:
    """Take what one of the checks takes."""

    def check(value: Any, name: str) -> None:
        for one in checks:
            try:
                return one(value, name)
            except Fault as fault:
                last = fault
        raise last

    return check


def list_of(check: Check) -> Check:
    """Take a list."""
    return _container(list, check)


def tuple_of(check: Check) -> Check:
    """Take a tuple of any length."""
    return _container(tuple, check)


def _container(kind: type[Any], check: Check) -> Check:
    def check_all(value: Any, name: str) -> None:
        if type(value) is not kind:
            raise Fault(f"{name} of the type {type(value).__name__}")
        parts: list[Any] = list(value)
        for i, part in enumerate(parts):
            check(part, f"{name}[{i}]")

    return check_all


def pair(*checks: Check) -> Check:
    """Take a tuple with one value for each check."""

    def check(value: Any, name: str) -> None:
        if type(value) is not tuple or len(value) != len(checks):
            raise Fault(f"{name} of the type {type(value).__name__}")
        for i, (part, one) in enumerate(zip(value, checks, strict=True)):
            one(part, f"{name}[{i}]")

    return check


def by_name(check: Check) -> Check:
    """Take a dict whose keys are texts."""

    def check_all(value: Any, name: str) -> None:
        if type(value) is not dict or not all(type(key) is str for key in value):
            raise Fault(f"{name} of the type {type(value).__name__}")
        for key, part in value.items():
            check(part, f"{name}[{key!r}]")

    return check_all


def floats(n_axes: int, low: float = -math.inf, *, above: bool = False, nan: bool = False) -> Check:
    """Take an array of float64: finite, from `low` on, or above it."""

    def check(value: Any, name: str) -> None:
        _check_array(value, name, n_axes, np.float64)
        known = value[~np.isnan(value)] if nan else value
        if not np.isfinite(known).all():
            raise Fault(f"{name} with numbers that are not finite")
        if (known < low).any() or (above and (known == low).any()):
            raise Fault(f"{name} with numbers that are too small")

    return check


def integers(n_axes: int, low: int = -_MOST, dtype: type[Any] = np.int64) -> Check:
    """Take an array of whole numbers from `low` on."""

    def check(value: Any, name: str) -> None:
        _check_array(value, name, n_axes, dtype)
        if value.size and int(value.min()) < low:
            raise Fault(f"{name} with numbers that are too small")

    return check


def truths(value: Any, name: str) -> None:
    """Take an array of truth values."""
    _check_array(value, name, 1, np.bool_)


def labels(value: Any, name: str) -> None:
    """Take an array of anything plain, of one axis."""
    if not isinstance(value, np.ndarray) or value.ndim != 1:
        raise Fault(f"{name} of the type {type(value).__name__}")
    if value.dtype == object:
        plain(value.tolist(), name)


def texts(value: Any, name: str) -> None:
    """Take an array of texts."""
    labels(value, name)
    if not all(isinstance(part, str) for part in value.tolist()):
        raise Fault(f"{name} with values that are no texts")


def hashable(value: Any, name: str) -> None:
    """Take a plain value that can be a key."""
    plain(value, name)
    try:
        hash(value)
    except TypeError as error:
        raise Fault(f"{name} of the type {type(value).__name__}") from error


def record(*tags: str) -> Check:
    """Take an object of ours; its own fields are checked by its schema."""

    def check(value: Any, name: str) -> None:
        if not isinstance(value, Record) or value.tag not in tags:
            raise Fault(f"{name}={short(value)}")

    return check


def _check_array(value: Any, name: str, n_axes: int, dtype: Any) -> None:
    if not isinstance(value, np.ndarray):
        raise Fault(f"{name} of the type {type(value).__name__}")
    if value.dtype != dtype or value.ndim != n_axes:
        raise Fault(f"{name} of the type {value.dtype} with {value.ndim} axes")


def expect(is_so: Any, what: str) -> None:
    """Raise a fault where something is not so."""
    if not is_so:
        raise Fault(what)
