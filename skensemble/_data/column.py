"""One column of a frame, read as what it is asked for: numbers, categories, dates, durations."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import cached_property
from numbers import Integral, Real
from typing import Any, cast
from zoneinfo import ZoneInfo

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import DTypeLike, NDArray

from skensemble._types import Array, Floats

from .text import Reading, find_unreadable

#: For each row which of the distinct values it has, -1 where missing; and those values.
Factorized = tuple[NDArray[np.int64], list[object]]

#: Up to so many values a loop over them is faster than a library's own way.
_FEW_VALUES = 500

#: What the values of a column without a type may all be. The first that fits is taken: numpy's
#: durations are integers too.
_CLASSES: dict[str, tuple[type, ...]] = {
    "durations": (timedelta, np.timedelta64),
    "dates": (date, np.datetime64),
    "times of day": (time,),
    "numbers": (Real, Decimal, np.bool_),
}


class Column:
    """One column, a Series of narwhals or an array, read as what it is asked for."""

    def __init__(self, name: object, data: Any):
        self.name, self.data = name, _without_extension(data)
        self.typed = _kind_of_dtype(self.data.dtype)

    def __len__(self) -> int:
        return len(self.data)

    @cached_property
    def kind(self) -> str:
        """Kind by the type of the column, else by what its values are."""
        return self.typed or kind_of(self.factorized[1])

    @property
    def is_declared(self) -> bool:
        """Whether its type says that it holds categories."""
        return not isinstance(self.data.dtype, np.dtype) and (
            self.data.dtype in (nw.Categorical, nw.Enum)
        )

    @property
    def has_strings(self) -> bool:
        """Whether some value is a string."""
        if self.typed not in (None, "categories"):
            return False
        return any(isinstance(value, str) for value in self.factorized[1])

    def read_as(self, reading: Reading, expected: str) -> "Column":
        """Return the column with its strings read, or name one that cannot be."""
        codes, values = self.factorized
        bad = find_unreadable(values, reading)
        if bad is not None:
            raise ValueError(
                f"Got X with {kind_of(values)} in column {self.name!r}, such as {bad!r}, but "
                f"expected {expected} as in fit."
            )
        read = [reading(value) for value in values]
        is_known = np.array([value is not None for value in read] + [False])
        other = Column(self.name, self.data)
        other.typed = None
        codes = np.where(is_known, np.cumsum(is_known) - 1, -1)[codes]
        other.factorized = codes, [value for value in read if value is not None]
        return other

    @property
    def is_missing(self) -> bool:
        """Whether no row has a value."""
        if self.typed == "numbers":
            return bool(np.isnan(self.numbers).all())
        if self.typed in ("dates", "durations"):
            return bool(self.data.is_null().all())
        return not self.factorized[1]

    @cached_property
    def factorized(self) -> Factorized:
        """Codes of the rows, and the distinct values."""
        try:
            codes, values = _factorize(self.data)
        except TypeError:  # not hashable
            codes, values = np.empty(0, dtype=np.int64), [0j]
        if any(issubclass(t, complex | np.complexfloating) for t in set(map(type, values))):
            raise ValueError(
                f"Got X with values of type {self.data.dtype} in column {self.name!r}, but "
                "expected real numbers, categories, dates or durations."
            )
        return codes, values

    def by_value(
        self, of: Callable[[Any], object], dtype: DTypeLike = np.float64, missing: object = np.nan
    ) -> Array:
        """Ask a function once for each distinct value, and return its answers row by row."""
        codes, values = self.factorized
        return np.array([*map(of, values), missing], dtype=dtype)[codes]

    @cached_property
    def numbers(self) -> Floats:
        """Numbers, none of them infinite."""
        if self.typed != "numbers":
            try:
                numbers = self.by_value(float)
            except OverflowError as error:  # 10**400
                raise infinity_error(self.name) from error
        elif isinstance(self.data, np.ndarray):
            numbers = self.data.astype(np.float64)
        else:
            is_plain = self.data.dtype != nw.Boolean and self.data.dtype != nw.Decimal
            data = self.data if is_plain else self.data.cast(nw.Float64)
            numbers = np.asarray(data.to_numpy(), dtype=np.float64)
        if np.isinf(numbers).any():
            raise infinity_error(self.name)
        return numbers

    @cached_property
    def seconds(self) -> Floats:
        """Durations or times of day in seconds."""
        if self.typed == "durations":
            return _to_seconds(self.data.to_numpy())
        if kind_of(self.factorized[1]) == "times of day":
            return self.by_value(_seconds_of_day)
        nanoseconds = self.by_value(lambda v: getattr(v, "nanoseconds", 0), np.int64, 0)
        return _to_seconds(self.by_value(lambda v: v, "m8[us]", None), nanoseconds)

    @cached_property
    def zone(self) -> str | None:
        """The time zone of dates; UTC where they have several, or one that Python cannot name."""
        if self.typed == "dates":
            zones = {getattr(self.data.dtype, "time_zone", None)}
        else:
            zones = {getattr(value, "tzinfo", None) for value in self.factorized[1]}
        if zones <= {None}:
            return None
        if None in zones:
            raise ValueError(
                f"Got X with dates of a time zone and of none in column {self.name!r}, but "
                "expected either."
            )
        name = str(zones.pop())
        return "UTC" if zones or find_zone(name) is None else name

    def dates(self, zone: str | None) -> tuple[Floats, NDArray[np.datetime64]]:
        """Return seconds since 1970, and the local times in a time zone."""
        if self.typed != "dates":
            utc, here = (None, None) if zone is None else (UTC, find_zone(zone))
            nanoseconds = self.by_value(lambda v: getattr(v, "nanosecond", 0), np.int64, 0)
            moments = self.by_value(lambda v: _to_local(v, utc), "M8[us]", None)
            local = self.by_value(lambda v: _to_local(v, here), "M8[us]", None)
            return _to_seconds(moments, nanoseconds), local
        data = self.data.cast(nw.Datetime("us")) if self.data.dtype == nw.Date else self.data
        if zone is None:
            local = data.to_numpy()
            return _to_seconds(local), local
        utc_times = data.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()
        named = find_zone(zone)
        if isinstance(named, timezone):  # polars knows no zones by their distance
            local = utc_times + np.timedelta64(named.utcoffset(None))
        else:
            local = data.dt.convert_time_zone(zone).dt.replace_time_zone(None).to_numpy()
        return _to_seconds(utc_times), local


def _kind_of_dtype(dtype: Any) -> str | None:
    """Tell what a column of this type is; None where its values must tell."""
    if isinstance(dtype, np.dtype):
        return "numbers" if dtype.kind in "fiub" else None
    if dtype.is_numeric() or dtype == nw.Boolean:
        return "numbers"
    kinds = {
        "categories": (nw.String, nw.Categorical, nw.Enum),
        "dates": (nw.Date, nw.Datetime),
        "durations": (nw.Duration,),
        "times of day": (nw.Time,),
    }
    return next((kind for kind, types in kinds.items() if dtype in types), None)


def kind_of(values: Iterable[object]) -> str:
    """Tell what values that are not missing are: categories where nothing else fits all."""
    types = set(map(type, values))
    for kind, classes in _CLASSES.items():
        if all(issubclass(t, classes) for t in types):
            return kind
    return "categories"


def _factorize(data: Any) -> Factorized:
    """Enumerate the distinct values of a column; a TypeError where they are not hashable."""
    if not isinstance(data, np.ndarray) and data.dtype.is_nested():
        raise TypeError(data.dtype)
    codes, values = _factorize_all(data)
    short = _short_float(data)
    if short is not None:
        # 0.1 in single precision is the category 0.1.
        values = [short(cast(float, value)) for value in values]
    values = [_without_period(value) for value in values]
    are_missing = np.array([*map(is_missing, values), True], dtype=bool)
    if are_missing[:-1].any():
        codes = np.where(are_missing, -1, np.cumsum(~are_missing) - 1)[codes]
        values = [value for value, none in zip(values, are_missing, strict=False) if not none]
    return codes, values


def _factorize_all(data: Any) -> Factorized:
    """Enumerate the distinct values by the quickest way; missing ones may be among them."""
    if isinstance(data, np.ndarray):
        if data.dtype.kind == "O":
            return _factorize_objects(data.tolist())
        distinct, codes = np.unique(data, return_inverse=True)
        return codes.reshape(-1), distinct.tolist()
    if len(data) <= _FEW_VALUES:
        return _factorize_objects(data.to_list())
    native = nw.to_native(data)
    if hasattr(native, "factorize"):  # as pandas has it
        found, index = native.factorize()
        codes, values = np.asarray(found, dtype=np.int64), list(index)
        # It compares objects by ==, and so True and 1 are one.
        is_unclear = data.dtype == nw.Object and any(
            not isinstance(v, str) and v in (0, 1) for v in values
        )
        return _factorize_objects(data.to_list()) if is_unclear else (codes, values)
    if data.dtype == nw.Object:
        return _factorize_objects(data.to_list())
    if data.dtype == nw.Decimal:  # polars 1.1 has no distinct ones
        data = data.cast(nw.Float64)
    values = data.drop_nulls().unique().to_list()
    if not values:
        return np.full(len(data), -1), values
    ranks = data.replace_strict(values, list(range(len(values))), return_dtype=nw.Float64)
    return np.nan_to_num(ranks.to_numpy(), nan=-1).astype(np.int64), values


def _factorize_objects(values: Sequence[object]) -> Factorized:
    """Enumerate the distinct values one by one: True and 1 differ."""
    seen: dict[tuple[type, object], int] = {}
    codes = [seen.setdefault((type(value), value), len(seen)) for value in values]
    return np.array(codes, dtype=np.int64), [value for _, value in seen]


def is_missing(value: object) -> bool:
    """Tell None, NaN, NaT and pandas' NA, which must not be asked for its truth."""
    if isinstance(value, str):
        return False
    return value is None or type(value).__name__ == "NAType" or bool(value != value)


def _short_float(data: Any) -> type[np.floating[Any]] | None:
    """Return the type of a column of floats that have fewer digits than Python's."""
    native = data if isinstance(data, np.ndarray) else nw.to_native(data)
    names: dict[str, type[np.floating[Any]]] = {
        "float32": np.float32,
        "float16": np.float16,
        "halffloat": np.float16,
    }
    short = names.get(str(getattr(native, "dtype", "")).lower().removesuffix("[pyarrow]"))
    if short is None and not isinstance(data, np.ndarray) and data.dtype == nw.Float32:
        return np.float32
    return short


def _without_extension(data: Any) -> Any:
    """Return a column of pandas' own types as pandas has it, where it comes through Arrow."""
    if isinstance(data, np.ndarray) or data.dtype != nw.Unknown:
        return data
    native = nw.to_native(data)
    if not hasattr(getattr(native, "type", None), "extension_name"):
        return data
    return nw.from_native(native.to_pandas(), series_only=True)


def _without_period(value: Any) -> object:
    """Return a period of pandas as the date on which it begins."""
    return value.to_timestamp() if type(value).__name__ == "Period" else value


def key_of(value: object) -> str:
    """Return what a category is compared by, the same in every process.

    Numbers and booleans of any type are the same where they are equal, floats as the shortest
    decimals that mean them. A TypeError says that an object has no text of its own.
    """
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool | np.bool_ | Integral):
        return str(int(value))
    if isinstance(value, Real | Decimal):
        short = isinstance(value, np.floating) and value.dtype.itemsize < 8
        number = float(str(value)) if short else float(value)
        return str(int(number)) if number.is_integer() else str(number)
    if isinstance(value, date):
        # Where a day is a date to one library, it is midnight to another.
        return str(value).removesuffix(" 00:00:00")
    return _text_of(value)


def _text_of(value: object) -> str:
    """Return the text of an object; a TypeError where it differs from process to process."""
    if isinstance(value, frozenset):
        return "{" + ", ".join(sorted(map(_text_of, value))) + "}"
    if type(value) is tuple:
        return "(" + ", ".join(map(_text_of, value)) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, str):
        return repr(str(value))
    if isinstance(value, Real | Decimal | date):
        return key_of(value)
    if type(value).__name__ == "Interval":  # of pandas: (0, 1] is (0.0, 1.0]
        left, right = (key_of(getattr(value, side)) for side in ("left", "right"))
        closed = getattr(value, "closed", "right")
        opening = "[" if closed in ("left", "both") else "("
        return f"{opening}{left}, {right}{']' if closed in ('right', 'both') else ')'}"
    text = str(value)
    # An address, or a set within another object, whose order goes by hashes.
    if re.search(r" at 0x[0-9a-fA-F]+|frozenset\(\{", text):
        raise TypeError(type(value).__name__)
    return text


#: Numbers as text, but for codes with leading zeros.
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")

_FLAGS = {"0": ("False", "false", "FALSE"), "1": ("True", "true", "TRUE")}


def other_keys(value: object, key: str) -> Iterator[str]:
    """Yield the keys under which fit may have seen a category, had it come in another type."""
    if isinstance(value, float | np.floating):
        for short in (np.float32, np.float16):
            with np.errstate(over="ignore"):
                narrow = short(value)
            if float(narrow) == float(value):
                yield key_of(narrow)
    number = number_key(key) if isinstance(value, str) else key
    flag = next((flag for flag, words in _FLAGS.items() if key in words), number)
    yield from (number, flag, *_FLAGS.get(flag, ()))


def number_key(key: str) -> str:
    """Return "1.0" and "1e0", as numbers that were read back from text, as "1"."""
    match = _NUMBER.fullmatch(key)
    if match is None:
        return key
    whole = re.fullmatch(r"(-?[0-9]+)(?:\.0+)?", key)  # no float holds all integers
    return str(int(whole[1])) if whole else key_of(float(key))


def _to_seconds(values: Array, nanoseconds: NDArray[np.int64] | int = 0) -> Floats:
    """Turn dates or durations into seconds, the same for the same value in any unit."""
    floor = values.astype(f"{values.dtype.kind}8[s]")
    rest = (values - floor).astype("m8[ns]").astype(np.int64) + nanoseconds
    whole = floor.astype(np.int64)
    borrow = (whole < 0) & (rest > 0)  # -1 + 0.999995 has lost digits of -0.000005
    seconds = (whole + borrow) + (rest - borrow * 10**9) / 1e9
    seconds[np.isnat(values)] = np.nan
    return seconds


def _seconds_of_day(value: time) -> float:
    return value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6


def _to_local(value: datetime, zone: tzinfo | None) -> datetime:
    """Return the local time in a zone, as numpy takes it: without the zone."""
    return value if zone is None else value.astimezone(zone).replace(tzinfo=None)


def find_zone(name: str) -> tzinfo | None:
    """Find a time zone by its name, or by its distance from UTC: "UTC+02:00"."""
    if name == "UTC":
        return UTC
    offset = re.fullmatch(r"(?:UTC)?([+-])(\d\d):?(\d\d)", name)
    if offset:
        minutes = 60 * int(offset[2]) + int(offset[3])
        return timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes))
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def infinity_error(name: object) -> ValueError:
    """Make the error for a column with infinite values."""
    return ValueError(
        f"Got X with infinite values in column {name!r}, but expected finite numbers or missing "
        "ones (input contains infinity)."
    )
