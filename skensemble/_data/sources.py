"""The kinds of X, checked and turned into rows that a module takes.

Each kind of input has a small class: arrays and frames, sparse matrices, dicts of arrays for
modules with several inputs, and datasets. A new kind is one more :class:`Source`, and a branch in
:func:`_read_features`.
"""

import contextlib
import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data
from skorch.dataset import Dataset as SkorchDataset
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    default_collate,
)

from skensemble._compat import check_y
from skensemble._nets.generators import taking_turns
from skensemble._types import Array, Batch, Input, Options
from skensemble._warnings import short

from .containers import as_array, as_plain_array, naming, open_container, open_features, refusal
from .encoder import rows_at_once
from .frames import Columns, column_names, is_frame
from .kinds import Kinds, as_kind, kind_of_array, kind_of_tensor
from .rows import Convert, ConvertedRows, DatasetRows, DictRows, Features, to_tensor

#: Bytes of converted rows that are kept through a fit.
_AHEAD = 1 << 26

#: Shape of one row, by name where X is a dict.
Shape = tuple[int, ...] | dict[str, "Shape"]

#: Features of one item of a dataset.
Item = torch.Tensor | dict[str, "Item"]


class Source(Protocol):
    """One kind of X, checked."""

    #: Number of rows.
    n_samples: int
    row_shape: Shape
    #: What tells rows apart in the hash of a fold; see :mod:`skensemble._data.hashes`.
    precision: str
    #: Whether the numbers are floats, whole or truth values, by name where X is a dict.
    kinds: Kinds
    #: Whether code of the user's reads a row, and may draw random numbers for it.
    is_read_by_user: bool = False

    def as_kinds(self, kinds: Kinds) -> Self:
        """Return the rows as numbers of these kinds; refuse those that they cannot hold."""

    def rows(self, convert: Convert, dtype: torch.dtype, row_bytes: int = 0) -> Features:
        """Return all rows, to be indexed by a tensor of row numbers.

        `convert` turns arrays into tensors whose floats are of `dtype`, `row_bytes` a row.
        """

    def chunks(
        self, convert: Convert, dtype: torch.dtype, size: int, start: int, stop: int
    ) -> Iterator[Batch]:
        """Yield the rows from `start` to `stop` in order, `size` at a time."""


class ArrayInput(Source):
    """A numpy array, or whatever scikit-learn makes one of."""

    def __init__(self, X: Any):
        self.X = X
        self.n_samples = X.shape[0]
        self.row_shape = X.shape[1:]
        # Most numbers differ between the two precisions, and so would their folds.
        self.precision = "single" if X.dtype.kind == "f" and X.dtype.itemsize < 8 else "double"
        self.kinds: Kinds = kind_of_array(X)

    def as_kinds(self, kinds: Kinds) -> Self:
        """Return the rows as numbers of one kind."""
        if kinds == self.kinds or not isinstance(kinds, str):
            return self
        return type(self)(as_kind(self.X, kinds))

    def rows(self, convert: Convert, dtype: torch.dtype, row_bytes: int = 0) -> Features:
        """Convert all rows ahead, unless they would become so long that they fill the memory."""
        if self.n_samples * row_bytes > _AHEAD:
            return ConvertedRows(self.X, convert)
        return convert(self.X)

    def chunks(
        self, convert: Convert, dtype: torch.dtype, size: int, start: int, stop: int
    ) -> Iterator[Batch]:
        for first in range(start, stop, size):
            yield convert(self._dense(slice(first, min(first + size, stop))))

    def _dense(self, rows: slice) -> Array:
        return self.X[rows]


class SparseInput(ArrayInput):
    """A scipy sparse matrix, of which few rows are made dense at a time, unless it is small."""

    def _dense(self, rows: slice) -> Array:
        return self.X[rows].toarray()

    def rows(self, convert: Convert, dtype: torch.dtype, row_bytes: int = 0) -> Features:
        row_bytes = row_bytes or self.X.shape[1] * dtype.itemsize
        if self.n_samples * row_bytes > _AHEAD:
            return ConvertedRows(self.X, convert)
        # Made dense batch by batch, rows would take longer than the steps on them.
        rows, size = ConvertedRows(self.X, convert), rows_at_once(self.X.shape[1])
        return torch.cat([rows[i : i + size] for i in range(0, self.n_samples, size)])


class DictInput(Source):
    """Arrays by name, all with as many rows, for a module whose ``forward`` takes them by name."""

    precision = "rows"

    def __init__(self, X: dict[str, Array]):
        self.X = X
        self.n_samples = len(next(iter(X.values())))
        self.row_shape = {name: array.shape[1:] for name, array in X.items()}
        self.kinds: Kinds = {name: kind_of_array(array) for name, array in X.items()}

    def as_kinds(self, kinds: Kinds) -> Self:
        """Return the rows, the arrays of the kinds given by name."""
        if kinds == self.kinds or not isinstance(kinds, dict):
            return self
        return type(self)(
            {
                name: as_kind(X, kinds.get(name, kind_of_array(X)), name)
                for name, X in self.X.items()
            }
        )

    def rows(self, convert: Convert, dtype: torch.dtype, row_bytes: int = 0) -> Features:
        return DictRows({name: convert(array) for name, array in self.X.items()})

    def chunks(
        self, convert: Convert, dtype: torch.dtype, size: int, start: int, stop: int
    ) -> Iterator[Batch]:
        for first in range(start, stop, size):
            last = min(first + size, stop)
            yield {name: convert(array[first:last]) for name, array in self.X.items()}


class DatasetInput(Source):
    """A torch Dataset with a length, whose items, ``X`` or ``(X, y)``, are read when needed.

    It hands out its own rows: a loader moves each batch to the module's device.
    """

    precision = "rows"
    device = torch.device("cpu")
    is_read_by_user = True

    def __init__(self, dataset: Input):
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            raise ValueError(
                f"Got X={type(dataset).__name__}, but expected a dataset with a length: the number "
                "of steps is part of the schedule."
            )
        self.dataset, self.dtype = dataset, torch.float32
        self.n_samples = len(dataset)
        if self.n_samples == 0:
            raise ValueError("Got X with 0 samples, but expected a dataset with at least 1.")
        #: None: as the items have it.
        self.asked: Kinds | None = None
        first = self._first()
        self.row_shape = _shape_of(first)
        self.kinds: Kinds = _kinds_of(first)

    def _first(self) -> Item:
        """Return the features of the first item; what that draws at random moves nothing."""
        with taking_turns(torch.device("cpu")):
            return self.features(0)

    def as_kinds(self, kinds: Kinds) -> Self:
        """Return the rows, whose items are cast as they are read."""
        if kinds == self.kinds or type(kinds) is not type(self.kinds):
            return self
        other = copy.copy(self)
        other.asked = other.kinds = kinds
        return other

    def __len__(self) -> int:
        return self.n_samples

    def __getitem__(self, index: slice) -> Batch:
        """Return the features of a few items as a batch."""
        return default_collate([self.features(i) for i in range(self.n_samples)[index]])

    def to(self, device: object) -> Self:
        """Stay where the items are read."""
        return self

    def features(self, index: int) -> Item:
        """Return the features of one item, as the module takes them."""
        item = self.dataset[index]
        value = item[0] if isinstance(item, tuple | list) else item
        return _as_input(value, self.dtype, self.asked)

    def targets(self) -> Array:
        """Return the targets of all items.

        What a dataset keeps by the name of ``targets`` is not believed: a ``target_transform``, or
        the item itself, may make something else of it.
        """
        with taking_turns(torch.device("cpu")):
            return np.asarray([np.asarray(self._target(i)) for i in range(self.n_samples)])

    def _target(self, index: int) -> object:
        item = self.dataset[index]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise ValueError(
                f"Got y=None and X={type(self.dataset).__name__}, but expected its items to be "
                "(X, y), or y beside it."
            )
        return item[1]

    def rows(self, convert: Convert, dtype: torch.dtype, row_bytes: int = 0) -> Features:
        """Return the same items with floats of a type."""
        other = copy.copy(self)
        other.dtype = dtype
        return other

    def chunks(
        self, convert: Convert, dtype: torch.dtype, size: int, start: int, stop: int
    ) -> Iterator[Batch]:
        items: Dataset[Any] = DatasetRows(self.rows(convert, dtype))
        if stop - start < self.n_samples:
            items = Subset(items, range(start, stop))
        # A loader draws a seed, which must not come from the global generator.
        yield from DataLoader(items, batch_size=size, generator=torch.Generator())


def read(
    estimator: object,
    X: Input,
    y: Input,
    y_checks: Options,
    columns: Columns | None,
    *,
    is_table: bool,
    reset: bool,
) -> tuple[Source, Array | None]:
    """Check X, and y beside it, as scikit-learn does.

    The estimator is a stand-in: where `reset`, it gets ``n_features_in_`` and
    ``feature_names_in_`` and the columns are fitted; else X is compared with them. `columns` read
    X as a table with columns of many kinds. `y` is the string "no_validation" in prediction, and
    may be None beside a dataset. `y_checks` are arguments of scikit-learn's ``check_X_y``.
    """
    X, y = open_in_memory(X, y)
    is_items = isinstance(X, Dataset)
    if is_table and (is_items or (isinstance(X, Mapping) and not issparse(X))):
        # A DOK matrix is a mapping too.
        raise refusal(
            X,
            "X",
            "expected a table with module=None: the built-in network takes no dicts and no "
            "datasets. Make a frame of a dict of columns, stack the items of a dataset, or pass a "
            "module of your own",
        )
    if y is None and not is_items:
        raise ValueError(
            f"Got y=None, but expected the targets: this {type(estimator).__name__} estimator "
            "requires y to be passed, but the target y is None. Give one label or number for each "
            "row of X as y."
        )
    with contextlib.nullcontext() if is_items else naming("X"):  # items are made by a user's code
        source = _read_features(estimator, X, columns, is_table=is_table, reset=reset)
    try:
        return _read_beside(source, y, y_checks)
    except ValueError as error:
        raise _hint_at_dict(error, X) from error


def _read_features(
    estimator: object, X: Input, columns: Columns | None, *, is_table: bool, reset: bool
) -> Source:
    """Read X by its kind."""
    if isinstance(X, Dataset):
        return DatasetInput(X)
    if columns is not None:
        return _read_table(estimator, X, columns, reset)
    checks: Options = {"dtype": "numeric", "allow_nd": True}
    if is_table:
        checks = {"dtype": [np.float64, np.float32], "ensure_all_finite": "allow-nan"}
    checks = {"accept_sparse": "csr", **checks}
    if isinstance(X, Mapping) and not issparse(X):
        return _read_dict(X, checks)
    array = as_array(X) if isinstance(X, list | tuple) else X
    try:
        array = validate_data(estimator, array, reset=reset, **checks)
        if array.dtype == object:  # older versions of scikit-learn let pandas' strings pass
            array = array.astype(np.float64)
    except ValueError as error:
        raise _hint_at_dict(_name_columns(error, X), X) from error
    return SparseInput(array) if issparse(array) else ArrayInput(array)


def _read_table(estimator: object, X: Input, columns: Columns, reset: bool) -> ArrayInput:
    """Read a table with columns of many kinds as numbers and codes of categories."""
    X = X if is_frame(X) else as_plain_array(X)
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    matrix = columns.fit_transform(X) if reset else columns.transform(X)
    return ArrayInput(check_array(matrix, ensure_all_finite="allow-nan", estimator=estimator))


def _read_dict(X: Mapping[str, Input], checks: Options) -> DictInput:
    """Check a dict of arrays: as many rows each, all finite."""
    if not X:
        raise ValueError(
            "Got X with no arrays, but expected a dict of at least one, by the names of forward's "
            "parameters."
        )
    checks = {**checks, "ensure_2d": False}
    arrays = {
        name: check_array(open_container(X[name], f"X[{name!r}]"), input_name=name, **checks)
        for name in X
    }
    lengths = {name: array.shape[0] for name, array in arrays.items()}
    if len({*lengths.values()}) > 1:
        raise ValueError(
            f"Got X with other numbers of rows by name, {lengths}, but expected as many in each "
            "array (inconsistent numbers of samples)."
        )
    return DictInput(arrays)


def _read_beside(source: Source, y: Input, y_checks: Options) -> tuple[Source, Array | None]:
    """Check y, if there is one, beside an input that scikit-learn's own checks do not know."""
    if y is None or isinstance(y, str):
        return source, None
    with naming("y"):
        y = check_y(y, **y_checks)
        if y_checks.get("y_numeric"):
            y = y.astype(np.float64)
            if not np.isfinite(y).all():  # None became NaN after scikit-learn had looked
                raise ValueError(
                    "Got y with missing or infinite values, but expected numbers, the first in row "
                    f"{int(np.argmin(np.isfinite(y).reshape(len(y), -1).all(axis=1)))}: leave out "
                    "the rows in which y is missing."
                )
    if len(y) != source.n_samples:
        raise ValueError(
            f"Got y with {len(y)} rows and X with {source.n_samples}, but expected as many "
            "(inconsistent numbers of samples): take both from the same rows."
        )
    return source, y


def _hint_at_dict(error: ValueError, X: Input) -> ValueError:
    """Return the error, or where X is a list of arrays one that tells how several are given."""
    is_list = isinstance(X, list | tuple) and len(X) > 0 and np.ndim(X[0]) > 1
    if not is_list or not re.search("inconsistent numbers|features", str(error)):
        return error
    remedy = "expected a dict of arrays by the names of forward's parameters for several inputs"
    return refusal(X, "X", f"{remedy} ({error})")


def _name_columns(error: ValueError, X: Input) -> ValueError:
    """Return the error, or one that names the columns of a frame that are no numbers."""
    said = str(error)
    if re.search(r"contains (infinity|NaN)", said):
        return _name_not_finite(said, X)
    names = [n for n in column_names(X) if not _is_number(X[n])] if is_frame(X) else []
    if not names or "could not convert" not in said:
        return error
    return ValueError(
        f"Got X with columns that are no numbers: {short(names)}, but expected numbers alone; "
        f"encode them before, by OneHotEncoder in a ColumnTransformer for one ({error})."
    )


def _name_not_finite(said: str, X: Input) -> ValueError:
    """Return an error that names the first columns of a table with values that are not finite."""
    try:
        array = np.asarray(X, dtype=np.float64)
        bad = np.isinf(array) if "infinity" in said else ~np.isfinite(array)
    except (TypeError, ValueError):  # a sparse matrix, for one
        return ValueError(said)
    if array.ndim != 2 or not bad.any():
        return ValueError(said)
    names = [*map(str, column_names(X if is_frame(X) else array))]
    where = [names[i] for i in np.flatnonzero(bad.any(axis=0))]
    shown = ", ".join(where[:5]) + (" and others" if len(where) > 5 else "")
    return ValueError(f"{said.splitlines()[0]} It stands in column {shown}.")


def _is_number(column: ArrayLike) -> bool:
    try:
        np.asarray(column).astype(float)
    except (TypeError, ValueError):
        return False
    return True


def open_in_memory(X: Input, y: Input) -> tuple[Input, Input]:
    """Open the container of X; of a dataset in memory also that of its y, where there is none."""
    X = open_features(X)
    if isinstance(X, Dataset) and (y is None or isinstance(y, str)):
        plain = _in_memory(X)
        if plain is not None:
            X = open_features(plain[0])
            y = open_container(plain[1], "y") if y is None else y
    return X, y


def _in_memory(dataset: Input) -> tuple[Input, Input] | None:
    """Return X and y of a dataset that is nothing but arrays: they need no DataLoader."""
    if type(dataset) is TensorDataset and len(dataset.tensors) == 2:
        return dataset.tensors
    if type(dataset) is SkorchDataset and dataset.y is not None:
        return dataset.X, dataset.y
    return None


def _as_input(value: object, dtype: torch.dtype, kinds: Kinds | None, name: str = "X") -> Item:
    """Turn one item's features into what a module gets: floats of a type, int64, truth values."""
    if isinstance(value, Mapping):
        asked = kinds if isinstance(kinds, dict) else {}
        return {k: _as_input(part, dtype, asked.get(k, "any"), k) for k, part in value.items()}
    if isinstance(value, torch.Tensor) and value.is_sparse:
        value = value.to_dense()
    if not isinstance(value, torch.Tensor) or isinstance(kinds, str):
        array = open_container(value, name) if isinstance(value, torch.Tensor) else value
        array = np.asarray(array)
        if isinstance(kinds, str) and kinds != "any":
            array = as_kind(array, kinds, name)
        elif kinds is None and array.dtype.kind == "b":
            array = as_kind(array, "float")  # by itself it is a number, in a dict a mask
        return to_tensor(array, dtype)
    is_whole = not value.is_floating_point() and value.dtype != torch.bool
    return value.to(torch.int64 if is_whole else dtype)


def _kinds_of(features: Item) -> Kinds:
    if isinstance(features, dict):
        return {name: kind_of_tensor(_leaf(part)) for name, part in features.items()}
    return kind_of_tensor(features)


def _leaf(part: Item) -> torch.Tensor:
    """Return a tensor; of a dict within a dict its first one."""
    return part if isinstance(part, torch.Tensor) else _leaf(next(iter(part.values())))


def _shape_of(features: Item) -> Shape:
    if isinstance(features, dict):
        return {name: _shape_of(part) for name, part in features.items()}
    return tuple(features.shape)
