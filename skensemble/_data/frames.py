"""A raw frame to one matrix of float64, learned in fit: missing is NaN, categories are codes."""

from collections.abc import Iterator, Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse

from skensemble._types import Array, Floats, Input
from skensemble._warnings import short
from skensemble.keywords import nearest

from .column import Column, infinity_error, key_of, kind_of, number_key, other_keys
from .dates import Calendar
from .text import PLAIN, Reading, find_reading

#: Up to so many rows pandas gives its values faster as objects, all columns at once.
_FEW_ROWS = 64

#: More pieces than any encoder makes.
_ALL = 1 << 20


def is_frame(X: Input) -> bool:
    """Tell whether X is a frame in memory that narwhals reads: pandas, polars, pyarrow, others."""
    if isinstance(X, np.ndarray | list | tuple | dict) or issparse(X):
        return False
    return nw.dependencies.is_into_dataframe(X)


class Columns:
    """What the columns of a frame or an array are, learned in fit.

    - Numbers, booleans as 0 and 1, and decimals are taken as they are.
    - Strings, categories and objects are codes from 0 in the order of their strings; the
      categories are those that fit saw, whatever a type declares. 1, 1.0, True and "1" are the
      same.
    - Strings that are numbers, all but missing marks such as "?", are read as numbers where more
      than ten differ, and ISO dates as dates; see :func:`~skensemble._data.text.find_reading`. A
      categorical type keeps them as they are.
    - Dates, and periods by their first day, are seconds since 1970 within the range of fit, and
      parts of the calendar; see :class:`~skensemble._data.dates.Calendar`. They are read in the
      time zone that the column had in fit.
    - Durations and times of day are seconds.
    - A column with nothing but missing values in fit is NaN, there and later.

    `categorical_features` says which columns are categories, as in HistGradientBoostingClassifier;
    with "from_dtype" strings and objects count as categories by their type. None, or a list:
    columns that are no numbers and that it leaves out are refused.

    Examples
    --------
    >>> import numpy as np
    >>> from skensemble._data.frames import Columns
    >>> X = np.array([[30.0, 2.0], [10.0, 7.0], [20.0, np.nan]])
    >>> columns = Columns([0]).fit(X)
    >>> columns.categories_
    [['10', '20', '30'], None]
    >>> columns.transform(np.array([[20.0, 5.0], [40.0, np.nan]]))
    array([[ 1.,  5.],
           [-1., nan]])
    """

    #: Names of the columns of X.
    columns_: list[object]
    #: Which columns of the matrix hold codes.
    is_categorical_: NDArray[np.bool_]
    #: Names of the matrix's columns: "sold", "sold: weekday".
    names_: list[str]
    #: For each column of the matrix its categories as strings, or None.
    categories_: list[list[str] | None]

    #: For each of them into how many pieces it is cut at most, negative for a further part of the
    #: column before.
    parts_: NDArray[np.int64]

    def __init__(self, categorical_features: ArrayLike | None = "from_dtype"):
        self.categorical_features = categorical_features

    @property
    def readings_(self) -> list[tuple[str, int, str | None]]:
        """For each column of X its kind, its columns of the matrix, and what its strings were."""
        return [
            (e.kind, len(e.names), None if e.reading is None else str(e.reading))
            for e in self._encoders
        ]

    @property
    def encoders(self) -> Sequence["_Encoder"]:
        """What turns each column of X into its columns of the matrix."""
        return self._encoders

    def categories_of(self, column: int) -> list[str]:
        """Return the categories of a column of X."""
        return self._encoders[column].categories or []

    def fit(self, X: Input) -> "Columns":
        """Learn what the columns are, and refuse infinite values and values of unknown kinds."""
        self.fit_transform(X)
        return self

    def fit_transform(self, X: Input) -> Floats:
        """Return ``fit(X).transform(X)``, with the columns read once."""
        names = column_names(X)
        try:
            listed = _find_listed(X, names, self.categorical_features)
        except ValueError as error:
            raise ValueError(
                f"Got categorical_features={short(self.categorical_features)}, but expected names "
                f"or numbers of columns of X, or a truth value for each of {short(names)}: {error}"
                f"{_nearest_column(self.categorical_features, names)}"
            ) from error
        encoders: list[_Encoder] = []
        parts, strays = [], []
        for i, (name, data) in enumerate(zip(names, iter_columns(X), strict=True)):
            column = Column(name, data)
            encoder = _make_encoder(column, None if listed is None else bool(listed[i]))
            if encoder is None:
                strays.append(name)
                continue
            encoders.append(encoder)
            parts.append(encoder.transform(column))
        if strays:
            raise ValueError(
                f"Got X with columns that are no numbers: {short(strays)}, but "
                f"categorical_features={short(self.categorical_features)} does not name them; "
                'expected numbers there, or categorical_features="from_dtype".'
            )
        # Nothing is written before all columns are read: a fit that fails changes nothing.
        self._encoders, self.columns_ = encoders, names
        self._is_plain = all(e.kind == "numbers" for e in encoders) and (
            _plain_numbers(X.head(1) if hasattr(X, "head") else X) is not None
        )
        self.parts_ = np.array([most for e in encoders for most in e.most_pieces], dtype=np.int64)
        self.names_ = [name for encoder in encoders for name in encoder.names]
        self.categories_ = [c for e in encoders for c in [e.categories] * len(e.names)]
        self.is_categorical_ = np.array([c is not None for c in self.categories_], dtype=bool)
        return np.concatenate(parts, axis=1)

    def transform(self, X: Input) -> Floats:
        """Return the matrix, of shape (n_samples, n_out), for columns in the order of fit.

        Missing values are NaN, and categories that fit did not see -1. Columns of another kind
        than in fit are refused.
        """
        if self._is_plain and (plain := _plain_numbers(X)) is not None:
            if np.isinf(plain).any():
                name = self._encoders[int(np.isinf(plain).any(axis=0).argmax())].name
                raise infinity_error(name)
            return np.array(plain, dtype=np.float64, order="C")
        if nw.dependencies.is_pandas_dataframe(X) and len(X) <= _FEW_ROWS:
            X = X.to_numpy(dtype=object)
        out = np.empty((len(X), len(self.names_)))
        start = 0
        for encoder, data in zip(self._encoders, iter_columns(X), strict=True):
            stop = start + len(encoder.names)
            out[:, start:stop] = encoder.transform(Column(encoder.name, data))
            start = stop
        return out


class _Encoder:
    """One column of the table to the matrix's: numbers, durations and times of day."""

    categories: list[str] | None = None

    def __init__(self, column: Column, kind: str):
        self.name, self.kind = column.name, kind
        self.names = [str(self.name)]
        self.expected = kind
        #: How many pieces each column of the matrix is cut into at most: as many as there are.
        self.most_pieces = [_ALL]
        #: How the strings of fit were read; None where it saw none.
        self.reading: Reading | None = None

    def transform(self, column: Column) -> Floats:
        """Return the columns of the matrix, one for each of the names."""
        if self.kind in PLAIN and column.has_strings:
            column = column.read_as(self.reading or PLAIN[self.kind], self.expected)
        if self._takes(column):
            return self._encode(column)
        values = column.factorized[1]
        if values:
            raise ValueError(
                f"Got X with {kind_of(values)} in column {self.name!r}, such as {values[0]!r}, "
                f"but expected {self.expected} as in fit."
            )
        return np.full((len(column), len(self.names)), np.nan)

    def _takes(self, column: Column) -> bool:
        kind = column.kind
        # Categories of numbers are as good as numbers.
        return (kind_of(column.factorized[1]) if kind == "categories" else kind) == self.kind

    def _encode(self, column: Column) -> Floats:
        return (column.numbers if self.kind == "numbers" else column.seconds)[:, None]


class _Nothing(_Encoder):
    """A column of which fit saw nothing."""

    def transform(self, column: Column) -> Floats:
        return np.full((len(column), 1), np.nan)


class _Categories(_Encoder):
    """A column of categories to codes."""

    def __init__(self, column: Column, kind: str):
        super().__init__(column, kind)
        self.categories = sorted({self._key(value) for value in column.factorized[1]})
        self.codes = {key: code for code, key in enumerate(self.categories)}
        for code, key in enumerate(self.categories):
            self.codes.setdefault(number_key(key), code)

    def _takes(self, column: Column) -> bool:
        return True

    def code_of(self, value: object) -> int:
        """Return the code of a category; -1 where fit has not seen it."""
        key = self._key(value)
        code = self.codes.get(key)
        if code is None:
            others = (self.codes.get(other) for other in other_keys(value, key))
            code = next((other for other in others if other is not None), -1)
        return code

    def _key(self, value: object) -> str:
        try:
            return key_of(value)
        except TypeError as error:
            raise ValueError(
                f"Got X with values of type {error} in column {self.name!r}, but expected "
                "categories with a text that is the same in every process, such as strings."
            ) from error

    def _encode(self, column: Column) -> Floats:
        return column.by_value(self.code_of)[:, None]


class _Dates(_Encoder):
    """A column of dates to seconds and parts."""

    def __init__(self, column: Column, kind: str):
        super().__init__(column, kind)
        self.zone = column.zone
        self.expected = f"dates with{'out' if self.zone is None else ''} a time zone"
        self.calendar = Calendar(*column.dates(self.zone))
        self.names = [
            f"{self.name}: {part}" if part else str(self.name) for part in self.calendar.names
        ]
        self.most_pieces = self.calendar.most_pieces

    def _takes(self, column: Column) -> bool:
        return super()._takes(column) and (column.zone is None) == (self.zone is None)

    def _encode(self, column: Column) -> Floats:
        return self.calendar.encode(*column.dates(self.zone))


def _make_encoder(column: Column, is_listed: bool | None) -> _Encoder | None:
    """Learn from one column; None where it is no number and a list of categories lacks it.

    `is_listed` is None where types say what is a category.
    """
    if column.is_missing:
        return _Nothing(column, "nothing")
    kind = "categories" if is_listed else column.kind
    reading = None
    if kind == "categories" and not is_listed:
        # Categories that are numbers are numbers where nobody calls them categories.
        kind = kind if is_listed is None else kind_of(column.factorized[1])
        if kind == "categories" and column.has_strings and not column.is_declared:
            few = {} if is_listed is None else {"few": 0}
            reading = find_reading(column.factorized[1], **few)
        if reading is not None:
            kind = reading.kind
            column = column.read_as(reading, kind)
        elif kind == "categories" and is_listed is not None:
            return None
    encoder = {"categories": _Categories, "dates": _Dates}.get(kind, _Encoder)(column, kind)
    encoder.reading = reading
    return encoder


def column_names(X: Input) -> list[object]:
    """Return the names of a frame's columns; those that scikit-learn gives to an array's."""
    if isinstance(X, np.ndarray):
        return [f"x{i}" for i in range(X.shape[1])]
    is_pandas_like = nw.dependencies.is_pandas_like_dataframe(X)
    return list(X.columns if is_pandas_like else nw.from_native(X, eager_only=True).columns)


def iter_columns(X: Input) -> Iterator[Array | nw.Series[Any]]:
    if isinstance(X, np.ndarray):
        if X.dtype.kind in "mM":
            X = X.astype(f"{X.dtype.kind}8[us]").astype(object)
        yield from X.T
    elif nw.dependencies.is_pandas_like_dataframe(X) and not X.columns.is_unique:
        # narwhals wants names that differ
        for i in range(X.shape[1]):
            yield nw.from_native(X.iloc[:, i], series_only=True)
    else:
        yield from nw.from_native(X, eager_only=True).iter_columns()


def _plain_numbers(X: Input) -> Array | None:
    """Read all of a frame at once, where it is pandas' or polars' and holds plain numbers alone."""
    if nw.dependencies.is_polars_dataframe(X):
        # With a number beside it polars makes a number of a date.
        if not all(dtype.is_numeric() for dtype in X.dtypes):
            return None
    elif not nw.dependencies.is_pandas_dataframe(X):
        return X if isinstance(X, np.ndarray) and X.dtype.kind in "fiub" else None
    array = X.to_numpy()
    return array if array.dtype.kind in "fiub" else None


def _nearest_column(listed: ArrayLike | None, names: list[object]) -> str:
    """Return a hint at the column that is most like the first name that is none, or nothing."""
    known = [str(name) for name in names]
    strange = [f for f in np.asarray(listed).ravel().tolist() if isinstance(f, str)]
    return next((nearest(f, known) for f in strange if f not in known), "")


def _find_listed(
    X: Input, names: list[object], categorical_features: ArrayLike | None
) -> NDArray[np.bool_] | None:
    """Tell which columns are listed as categories; None where their types say it.

    It refuses what HistGradientBoosting refuses, with the same words.
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
        is_categorical[_find_names(X, names, features.tolist())] = True
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


def _find_names(X: Input, names: list[object], features: list[str]) -> list[int]:
    """Return where the columns of these names are."""
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
