"""A raw frame to one matrix of float64, learned in fit: missing is NaN, categories are codes."""

import re
from collections.abc import Iterator
from datetime import UTC, date, time, timedelta, timezone, tzinfo
from decimal import Decimal
from functools import cached_property
from numbers import Integral, Real
from typing import Any
from zoneinfo import ZoneInfo

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

#: Up to so many rows pandas gives its values faster as objects, all columns at once.
_FEW_ROWS = 64

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

#: Parts of a date, from the local time: each a number of its own, for what comes back yearly,
#: weekly or daily is not seen in the seconds that go by.
_PARTS = {
    "month": lambda t: t.astype("M8[M]").astype(np.int64) % 12 + 1,
    "weekday": lambda t: (t.astype("M8[D]").astype(np.int64) + 3) % 7,  # 1970 began on a Thursday
    "hour": lambda t: t.astype("M8[h]").astype(np.int64) % 24,
}


def is_frame(X: Any) -> bool:
    """Whether X is a frame in memory that narwhals reads: pandas, polars, pyarrow and others.

    Examples
    --------
    >>> from skensemble.frames import is_frame
    >>> is_frame([[1.0]])
    False
    """
    if isinstance(X, np.ndarray | list | tuple | dict) or issparse(X):
        return False
    return nw.dependencies.is_into_dataframe(X)


class Columns:
    """What the columns of a table are, learned in fit.

    - Numbers, booleans as 0 and 1, and decimals are taken as they are.
    - Strings, categories and objects are codes from 0 in the order of their strings; the
      categories are those that fit saw, whatever a type declares. 1, 1.0 and "1" are the same.
    - Dates are seconds since 1970 and, where they vary in fit, their month, weekday (0 is
      Monday) and hour, in the time zone that the column had in fit.
    - Durations and times of day are seconds.
    - A column with nothing but missing values in fit is NaN, there and later.

    Parameters
    ----------
    categorical_features : "from_dtype", None or array-like of {bool, int, str}
        Which columns are categories, as in HistGradientBoostingClassifier; strings and objects
        count as categories by their type. None, or a list: columns that are no numbers and
        that it leaves out are refused.

    Attributes
    ----------
    is_categorical_ : ndarray of bool of shape (n_out,)
        Which columns of the matrix hold codes.
    names_ : list of str of length n_out
        Of the matrix's columns: "sold", "sold: month".
    categories_ : list of length n_out
        For each column of the matrix the list of its categories as strings, or None.

    Examples
    --------
    >>> import numpy as np
    >>> from skensemble.frames import Columns
    >>> X = np.array([[30.0, 2.0], [10.0, 7.0], [20.0, np.nan]])
    >>> columns = Columns([0]).fit(X)
    >>> columns.categories_
    [['10', '20', '30'], None]
    >>> columns.transform(np.array([[20.0, 5.0], [40.0, np.nan]]))
    array([[ 1.,  5.],
           [-1., nan]])
    """

    is_categorical_: NDArray[np.bool_]
    names_: list[str]
    categories_: list[list[str] | None]

    def __init__(self, categorical_features: Any = "from_dtype"):
        self.categorical_features = categorical_features

    def fit(self, X: Any) -> "Columns":
        """Learn what the columns are.

        Parameters
        ----------
        X : frame or ndarray of shape (n_samples, n_features)

        Raises
        ------
        ValueError
            Where `categorical_features` does not fit X, where it leaves out a column that is no
            number, and where a column holds infinite values or is of a kind unknown.
        """
        for _ in self._learn(X):
            pass
        return self

    def fit_transform(self, X: Any) -> NDArray[np.float64]:
        """The same as ``fit(X).transform(X)`` with the columns read once.

        Parameters
        ----------
        X : frame or ndarray of shape (n_samples, n_features)

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_out)
        """
        return np.concatenate(list(self._learn(X)), axis=1)

    def transform(self, X: Any) -> NDArray[np.float64]:
        """The matrix.

        Parameters
        ----------
        X : frame or ndarray of shape (n_samples, n_features)
            With the columns of fit in the same order.

        Returns
        -------
        ndarray of float64 of shape (n_samples, n_out)
            Missing values are NaN, categories that fit did not see -1.

        Raises
        ------
        ValueError
            Where a column is of another kind than in fit, or holds infinite values.
        """
        if self._is_plain and (plain := _plain_numbers(X)) is not None:
            if np.isinf(plain).any():
                raise _infinite(self._encoders[int(np.isinf(plain).any(axis=0).argmax())].name)
            return np.array(plain, dtype=np.float64, order="C")
        if nw.dependencies.is_pandas_dataframe(X) and len(X) <= _FEW_ROWS:
            X = X.to_numpy(dtype=object)
        out = np.empty((len(X), len(self.names_)))
        start = 0
        for encoder, data in zip(self._encoders, _columns(X), strict=True):
            stop = start + len(encoder.names())
            out[:, start:stop] = encoder.transform(_Column(encoder.name, data))
            start = stop
        return out

    def _learn(self, X: Any) -> Iterator[NDArray[np.float64]]:
        """The matrix's columns, encoder by encoder, as they are learned."""
        names = _column_names(X)
        listed = _listed(X, names, self.categorical_features)
        encoders: list[_Encoder] = []
        strays = []
        for i, (name, data) in enumerate(zip(names, _columns(X), strict=True)):
            column = _Column(name, data)
            kind = "categories" if listed is not None and listed[i] else column.kind
            if kind == "categories" and listed is not None and not listed[i]:
                # Categories that are numbers are numbers where nobody calls them categories.
                kind = _kind_of(column.factorized[1])
                if kind == "categories":
                    strays.append(name)
            encoders.append(_encoder(column, kind))
            yield encoders[-1].transform(column)
        if strays:
            raise ValueError(
                f"Got X with columns that are no numbers: {strays}, but "
                f"categorical_features={self.categorical_features!r} does not name them; expected "
                'numbers there, or categorical_features="from_dtype".'
            )
        self._encoders = encoders
        self._is_plain = all(e.kind == "numbers" for e in encoders) and (
            _plain_numbers(X.head(1) if hasattr(X, "head") else X) is not None
        )
        self.names_ = [name for encoder in encoders for name in encoder.names()]
        self.categories_ = [c for e in encoders for c in [e.categories] * len(e.names())]
        self.is_categorical_ = np.array([c is not None for c in self.categories_], dtype=bool)


class _Encoder:
    """One column of the table to the matrix's: numbers, durations and times of day."""

    categories: list[str] | None = None

    def __init__(self, column: "_Column", kind: str):
        self.name, self.kind = column.name, kind
        self.expected = kind

    def names(self) -> list[str]:
        """Of the columns of the matrix."""
        return [str(self.name)]

    def transform(self, column: "_Column") -> NDArray[np.float64]:
        """Of shape (n_samples, number of names)."""
        if self._takes(column):
            return self._encode(column)
        values = column.factorized[1]
        if values:
            raise ValueError(
                f"Got X with {_kind_of(values)} in column {self.name!r}, such as {values[0]!r}, "
                f"but expected {self.expected} as in fit."
            )
        return np.full((len(column), len(self.names())), np.nan)

    def _takes(self, column: "_Column") -> bool:
        kind = column.kind
        # Categories of numbers are as good as numbers.
        return (_kind_of(column.factorized[1]) if kind == "categories" else kind) == self.kind

    def _encode(self, column: "_Column") -> NDArray[np.float64]:
        return (column.numbers if self.kind == "numbers" else column.seconds)[:, None]


class _Nothing(_Encoder):
    """A column of which fit saw nothing."""

    def __init__(self, column: "_Column", kind: str):
        super().__init__(column, "nothing")

    def transform(self, column: "_Column") -> NDArray[np.float64]:
        return np.full((len(column), 1), np.nan)


class _Categories(_Encoder):
    """A column of categories to codes."""

    def __init__(self, column: "_Column", kind: str):
        super().__init__(column, kind)
        self.categories = sorted({_key(value) for value in column.factorized[1]})
        self.codes = {key: code for code, key in enumerate(self.categories)}
        for code, key in enumerate(self.categories):
            self.codes.setdefault(_as_integer(key), code)

    def _takes(self, column: "_Column") -> bool:
        return True

    def _code(self, value: Any) -> int:
        key = _key(value)
        code = self.codes.get(key)
        return self.codes.get(_as_integer(key), -1) if code is None else code

    def _encode(self, column: "_Column") -> NDArray[np.float64]:
        return column.by_value(self._code)[:, None]


class _Dates(_Encoder):
    """A column of dates to seconds and parts."""

    def __init__(self, column: "_Column", kind: str):
        super().__init__(column, kind)
        self.zone = column.zone
        self.expected = f"dates with{'out' if self.zone is None else ''} a time zone"
        local = column.dates(self.zone)[1]
        local = local[~np.isnat(local)]
        self.parts = [part for part, of in _PARTS.items() if np.ptp(of(local)) > 0]

    def names(self) -> list[str]:
        return [str(self.name), *(f"{self.name}: {part}" for part in self.parts)]

    def _takes(self, column: "_Column") -> bool:
        return super()._takes(column) and (column.zone is None) == (self.zone is None)

    def _encode(self, column: "_Column") -> NDArray[np.float64]:
        seconds, local = column.dates(self.zone)
        parts = np.stack([seconds, *(_PARTS[part](local) for part in self.parts)], axis=1)
        parts[np.isnan(seconds)] = np.nan
        return parts


def _encoder(column: "_Column", kind: str) -> _Encoder:
    """What is learned from one column."""
    if column.is_missing:
        return _Nothing(column, kind)
    return {"categories": _Categories, "dates": _Dates}.get(kind, _Encoder)(column, kind)


class _Column:
    """One column, read as what it is asked for.

    Parameters
    ----------
    name : object
    data : narwhals Series or ndarray of shape (n_samples,)
    """

    def __init__(self, name: Any, data: Any):
        self.name, self.data = name, data
        self.typed = _kind_of_dtype(data.dtype)

    def __len__(self) -> int:
        return len(self.data)

    @cached_property
    def kind(self) -> str:
        """By the type of the column, else by what its values are."""
        return self.typed or _kind_of(self.factorized[1])

    @property
    def is_missing(self) -> bool:
        """Whether no row has a value."""
        if self.typed == "numbers":
            return bool(np.isnan(self.numbers).all())
        if self.typed in ("dates", "durations"):
            return bool(self.data.is_null().all())
        return not self.factorized[1]

    @cached_property
    def factorized(self) -> tuple[NDArray[np.int64], list[Any]]:
        """For each row which of the distinct values it has, -1 where missing; those values."""
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

    def by_value(self, of: Any, dtype: Any = np.float64, missing: Any = np.nan) -> NDArray[Any]:
        """A function of the values, asked once for each."""
        codes, values = self.factorized
        return np.array([*map(of, values), missing], dtype=dtype)[codes]

    @cached_property
    def numbers(self) -> NDArray[np.float64]:
        """Numbers, none of them infinite."""
        if self.typed != "numbers":
            numbers = self.by_value(float)
        elif isinstance(self.data, np.ndarray):
            numbers = self.data.astype(np.float64)
        else:
            is_plain = self.data.dtype != nw.Boolean and self.data.dtype != nw.Decimal
            data = self.data if is_plain else self.data.cast(nw.Float64)
            numbers = np.asarray(data.to_numpy(), dtype=np.float64)
        if np.isinf(numbers).any():
            raise _infinite(self.name)
        return numbers

    @cached_property
    def seconds(self) -> NDArray[np.float64]:
        """Durations or times of day in seconds."""
        if self.typed == "durations":
            return _seconds(self.data.to_numpy())
        if _kind_of(self.factorized[1]) == "times of day":
            return self.by_value(_seconds_of_day)
        nanoseconds = self.by_value(lambda v: getattr(v, "nanoseconds", 0), np.int64, 0)
        return _seconds(self.by_value(lambda v: v, "m8[us]", None), nanoseconds)

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
        return "UTC" if zones or _zone_named(name) is None else name

    def dates(self, zone: str | None) -> tuple[NDArray[np.float64], NDArray[np.datetime64]]:
        """Seconds since 1970 and the local times in a time zone."""
        if self.typed != "dates":
            return self._dates_of_objects(zone)
        data = self.data.cast(nw.Datetime("us")) if self.data.dtype == nw.Date else self.data
        if zone is None:
            local = data.to_numpy()
            return _seconds(local), local
        utc = data.dt.convert_time_zone("UTC").dt.replace_time_zone(None).to_numpy()
        named = _zone_named(zone)
        if isinstance(named, timezone):  # polars knows no zones by their distance
            return _seconds(utc), utc + np.timedelta64(named.utcoffset(None))
        return _seconds(utc), data.dt.convert_time_zone(zone).dt.replace_time_zone(None).to_numpy()

    def _dates_of_objects(self, zone: str | None) -> tuple[Any, Any]:
        def at(value: Any, there: tzinfo | None) -> Any:
            return value if there is None else value.astimezone(there).replace(tzinfo=None)

        here = None if zone is None else _zone_named(zone)
        utc = None if zone is None else UTC
        nanoseconds = self.by_value(lambda v: getattr(v, "nanosecond", 0), np.int64, 0)
        seconds = _seconds(self.by_value(lambda v: at(v, utc), "M8[us]", None), nanoseconds)
        return seconds, self.by_value(lambda v: at(v, here), "M8[us]", None)


def _column_names(X: Any) -> list[Any]:
    """Names of the columns of a frame; those that scikit-learn gives to an array's."""
    if isinstance(X, np.ndarray):
        return [f"x{i}" for i in range(X.shape[1])]
    return list(X.columns if _is_pandas_like(X) else nw.from_native(X, eager_only=True).columns)


def _columns(X: Any) -> Iterator[Any]:
    """Columns as arrays or as narwhals' series."""
    if isinstance(X, np.ndarray):
        if X.dtype.kind in "mM":
            X = X.astype(f"{X.dtype.kind}8[us]").astype(object)
        yield from X.T
    elif _is_pandas_like(X) and not X.columns.is_unique:  # narwhals wants names that differ
        for i in range(X.shape[1]):
            yield nw.from_native(X.iloc[:, i], series_only=True)
    else:
        yield from nw.from_native(X, eager_only=True).iter_columns()


def _is_pandas_like(X: Any) -> bool:
    return nw.dependencies.is_pandas_like_dataframe(X)


def _plain_numbers(X: Any) -> NDArray[Any] | None:
    """All of a frame at once, where it is pandas' or polars' and holds plain numbers alone."""
    if nw.dependencies.is_polars_dataframe(X):
        # With a number beside it polars makes a number of a date.
        if not all(dtype.is_numeric() for dtype in X.dtypes):
            return None
    elif not nw.dependencies.is_pandas_dataframe(X):
        return X if isinstance(X, np.ndarray) and X.dtype.kind in "fiub" else None
    array = X.to_numpy()
    return array if array.dtype.kind in "fiub" else None


def _listed(X: Any, names: list[Any], categorical_features: Any) -> NDArray[np.bool_] | None:
    """Which columns a list of categorical features names; None where their types say it.

    Raises
    ------
    ValueError
        As HistGradientBoosting does.
    """
    if isinstance(categorical_features, str) and categorical_features == "from_dtype":
        return None if is_frame(X) else np.zeros(len(names), dtype=bool)
    is_categorical = np.zeros(len(names), dtype=bool)
    features = np.asarray([] if categorical_features is None else categorical_features)
    if features.size == 0:
        return is_categorical
    got = {type(f) for f in features} if features.dtype.kind == "O" else set()
    if features.dtype.kind not in "ibUO" or got - {str}:
        types = ", ".join(sorted(t.__name__ for t in got)) or features.dtype.name
        raise ValueError(
            f"categorical_features must be an array-like of bool, int or str, got: {types}."
        )
    if features.dtype.kind in "UO":
        is_categorical[_positions(X, names, features.tolist())] = True
    elif features.dtype.kind == "i":
        if features.max() >= len(names) or features.min() < 0:
            raise ValueError(
                "categorical_features set as integer indices must be in [0, n_features - 1]"
            )
        is_categorical[features] = True
    elif features.shape[0] != len(names):
        raise ValueError(
            "categorical_features set as a boolean mask must have shape (n_features,), got: "
            f"{features.shape}"
        )
    else:
        is_categorical[:] = features
    return is_categorical


def _positions(X: Any, names: list[Any], features: list[str]) -> list[int]:
    """Where the columns of these names are."""
    if not is_frame(X):
        raise ValueError(
            "categorical_features should be passed as an array of integers or as a boolean mask "
            "when the model is fitted on data without feature names."
        )
    unknown = [feature for feature in features if feature not in names]
    if unknown:
        raise ValueError(
            f"categorical_features has an item value '{unknown[0]}' which is not a valid feature "
            f"name of the training data. Observed feature names: {names}"
        )
    return [names.index(feature) for feature in features]


def _kind_of_dtype(dtype: Any) -> str | None:
    """What a column of this type is; None where its values must tell."""
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


def _kind_of(values: list[Any]) -> str:
    """What values that are not missing are: categories where nothing else fits all."""
    types = set(map(type, values))
    for kind, classes in _CLASSES.items():
        if all(issubclass(t, classes) for t in types):
            return kind
    return "categories"


def _factorize(data: Any) -> tuple[NDArray[np.int64], list[Any]]:
    """Codes of the distinct values, -1 where they are missing, and these values.

    Raises
    ------
    TypeError
        Where they are not hashable.
    """
    if not isinstance(data, np.ndarray) and data.dtype.is_nested():
        raise TypeError(data.dtype)
    codes, values = _factorize_any(data)
    is_missing = np.array([*map(_is_missing, values), True], dtype=bool)
    if is_missing[:-1].any():
        codes = np.where(is_missing, -1, np.cumsum(~is_missing) - 1)[codes]
        values = [value for value, none in zip(values, is_missing, strict=False) if not none]
    return codes, values


def _factorize_any(data: Any) -> tuple[NDArray[np.int64], list[Any]]:
    """The same, with missing ones perhaps among the values."""
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
        # Its objects are compared by ==, and so True and 1 are one.
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


def _factorize_objects(values: list[Any]) -> tuple[NDArray[np.int64], list[Any]]:
    """The same, one by one: True and 1 differ."""
    seen: dict[Any, int] = {}
    codes = [seen.setdefault((type(value), value), len(seen)) for value in values]
    return np.array(codes, dtype=np.int64), [value for _, value in seen]


def _is_missing(value: Any) -> bool:
    """Whether it is None, NaN, NaT or pandas' NA, which must not be asked for its truth."""
    if isinstance(value, str):
        return False
    return value is None or type(value).__name__ == "NAType" or bool(value != value)


def _key(value: Any) -> str:
    """What a category is compared by: integral numbers of any type are the same."""
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real | Decimal):
        # Where a day is a date to one library, it is midnight to another.
        return str(value).removesuffix(" 00:00:00") if isinstance(value, date) else str(value)
    if isinstance(value, Integral):
        return str(int(value))
    number = float(value)
    return str(int(number)) if number.is_integer() else str(number)


def _as_integer(key: str) -> str:
    """ "1.0", as a number that was read back from text, as "1"."""
    return re.sub(r"\A(-?\d+)\.0+\Z", r"\1", key)


def _seconds(values: NDArray[Any], nanoseconds: Any = 0) -> NDArray[np.float64]:
    """Dates or durations in seconds, the same for the same value in any unit."""
    floor = values.astype(f"{values.dtype.kind}8[s]")
    rest = (values - floor).astype("m8[ns]").astype(np.int64) + nanoseconds
    whole = floor.astype(np.int64)
    borrow = (whole < 0) & (rest > 0)  # -1 + 0.999995 has lost digits of -0.000005
    seconds = (whole + borrow) + (rest - borrow * 10**9) / 1e9
    seconds[np.isnat(values)] = np.nan
    return seconds


def _seconds_of_day(value: time) -> float:
    return value.hour * 3600 + value.minute * 60 + value.second + value.microsecond / 1e6


def _zone_named(name: str) -> tzinfo | None:
    """A time zone by its name, or by its distance from UTC: "UTC+02:00"."""
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


def _infinite(name: Any) -> ValueError:
    return ValueError(
        f"Got X with infinite values in column {name!r}, but expected finite numbers or missing "
        "ones (input contains infinity)."
    )
