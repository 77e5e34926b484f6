"""The kinds of X, checked and turned into rows that a module takes.

Each kind of input has a small class: arrays and frames, sparse matrices, dicts of arrays for
modules with several inputs, and datasets. A new kind is one more :class:`Source`, and a branch in
:func:`_read_arrays`.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.utils import check_array
from sklearn.utils.validation import check_consistent_length, validate_data
from skorch.dataset import Dataset as SkorchDataset
from skorch.helper import SliceDataset
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    default_collate,
)

from skensemble._compat import check_y
from skensemble._types import Array, Batch, Input, Options

from .frames import Columns
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

    def rows(self, convert: Convert, dtype: torch.dtype, row_bytes: int = 0) -> Features:
        """Return all rows, to be indexed by a tensor of row numbers.

        `convert` turns arrays into tensors whose floats are of `dtype`, `row_bytes` a row.
        """

    def chunks(self, convert: Convert, dtype: torch.dtype, size: int) -> Iterator[Batch]:
        """Yield the rows in order, `size` at a time."""


class ArrayInput(Source):
    """A numpy array, or whatever scikit-learn makes one of."""

    def __init__(self, X: Any):
        self.X = X
        self.n_samples = X.shape[0]
        self.row_shape = X.shape[1:]
        # Most numbers differ between the two precisions, and so would their folds.
        self.precision = "single" if X.dtype.kind == "f" and X.dtype.itemsize < 8 else "double"

    def rows(self, convert: Convert, dtype: torch.dtype, row_bytes: int = 0) -> Features:
        """Convert all rows ahead, unless they would become so long that they fill the memory."""
        if self.n_samples * row_bytes > _AHEAD:
            return ConvertedRows(self.X, convert)
        return convert(self.X)

    def chunks(self, convert: Convert, dtype: torch.dtype, size: int) -> Iterator[Batch]:
        rows = ConvertedRows(self.X, convert)
        for start in range(0, self.n_samples, size):
            yield rows[start : start + size]


class SparseInput(ArrayInput):
    """A scipy sparse matrix, of which never more than a few rows are made dense at a time."""

    def rows(self, convert: Convert, dtype: torch.dtype, row_bytes: int = 0) -> Features:
        return ConvertedRows(self.X, convert)


class DictInput(Source):
    """Arrays by name, all with as many rows, for a module whose ``forward`` takes them by name."""

    precision = "rows"

    def __init__(self, X: dict[str, Array]):
        self.X = X
        self.n_samples = len(next(iter(X.values())))
        self.row_shape = {name: array.shape[1:] for name, array in X.items()}

    def rows(self, convert: Convert, dtype: torch.dtype, row_bytes: int = 0) -> Features:
        return DictRows({name: convert(array) for name, array in self.X.items()})

    def chunks(self, convert: Convert, dtype: torch.dtype, size: int) -> Iterator[Batch]:
        for start in range(0, self.n_samples, size):
            yield {name: convert(array[start : start + size]) for name, array in self.X.items()}


class DatasetInput(Source):
    """A torch Dataset with a length, whose items, ``X`` or ``(X, y)``, are read when needed.

    It hands out its own rows: a loader moves each batch to the module's device.
    """

    precision = "rows"
    device = torch.device("cpu")

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
        self.row_shape = _shape_of(self.features(0))

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
        return _as_input(item[0] if isinstance(item, tuple | list) else item, self.dtype)

    def targets(self) -> Array:
        """Return all targets: from where a dataset keeps them, else from its items."""
        known = _known_targets(self.dataset)
        if known is not None:
            return np.asarray(known)
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

    def chunks(self, convert: Convert, dtype: torch.dtype, size: int) -> Iterator[Batch]:
        # A loader draws a seed, which must not come from the global generator.
        items = DatasetRows(self.rows(convert, dtype))
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
    if columns is not None:
        if y is None:
            raise ValueError("Got y=None, but expected the targets beside a table.")
        return _read_beside(_read_table(estimator, X, columns, reset), y, y_checks)
    if is_table:
        checks: Options = {"dtype": [np.float64, np.float32], "ensure_all_finite": "allow-nan"}
    else:
        checks = {"dtype": "numeric", "allow_nd": True}
    source, y = _read_arrays(estimator, X, y, checks, y_checks, reset)
    if is_table and not isinstance(source, ArrayInput):
        raise ValueError(
            f"Got X of type {type(X).__name__} with module=None, but expected a table: the "
            "built-in network takes no dicts and no datasets."
        )
    return source, y


def _read_arrays(
    estimator: object, X: Input, y: Input, checks: Options, y_checks: Options, reset: bool
) -> tuple[Source, Array | None]:
    """Read anything but a table with columns of many kinds; `checks` are those of X."""
    if isinstance(X, Dataset | SliceDataset):
        plain = _in_memory(X) if y is None else None
        if plain is None:
            return _read_beside(DatasetInput(X), y, y_checks)
        X, y = plain
    if isinstance(X, Mapping) and not issparse(X):  # a DOK matrix is both
        if y is None:
            raise ValueError("Got y=None, but expected the targets beside a dict of arrays.")
        return _read_beside(_read_dict(X, checks), y, y_checks)
    X, y = _as_array(X), _as_array(y)
    predicting = isinstance(y, str)
    checks = {"accept_sparse": "csr", **checks, **({} if predicting else y_checks)}
    try:
        checked = validate_data(estimator, X, y, reset=reset, **checks)
    except ValueError as error:
        raise _name_columns(error, X) from error
    X, y = (checked, None) if predicting else checked
    return (SparseInput(X) if issparse(X) else ArrayInput(X)), y


def _read_table(estimator: object, X: Input, columns: Columns, reset: bool) -> ArrayInput:
    """Read a table with columns of many kinds as numbers and codes of categories."""
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    matrix = columns.fit_transform(X) if reset else columns.transform(X)
    return ArrayInput(check_array(matrix, ensure_all_finite="allow-nan", estimator=estimator))


def _read_dict(X: Mapping[str, Input], checks: Options) -> DictInput:
    """Check a dict of arrays: as many rows each, all finite."""
    if not X:
        raise ValueError("Got X with no arrays, but expected a dict of at least one.")
    checks = {**checks, "ensure_2d": False}
    arrays = {name: check_array(_as_array(X[name]), input_name=name, **checks) for name in X}
    check_consistent_length(*arrays.values())
    return DictInput(arrays)


def _read_beside(source: Source, y: Input, y_checks: Options) -> tuple[Source, Array | None]:
    """Check y, if there is one, beside an input that scikit-learn's own checks do not know."""
    if y is None or isinstance(y, str):
        return source, None
    y = check_y(_as_array(y), **y_checks)
    if len(y) != source.n_samples:
        raise ValueError(
            f"Got y with {len(y)} rows and X with {source.n_samples}, but expected as many "
            "(inconsistent numbers of samples)."
        )
    return source, y


def _name_columns(error: ValueError, X: Input) -> ValueError:
    """Return the error, or one that names the columns of a frame that are no numbers."""
    names = [] if not hasattr(X, "columns") else [n for n in X.columns if not _is_number(X[n])]
    if not names or "could not convert" not in str(error):
        return error
    return ValueError(
        f"Got X with columns that are no numbers: {names}, but expected numbers alone; encode them "
        f"before, by OneHotEncoder in a ColumnTransformer for one ({error})."
    )


def _is_number(column: ArrayLike) -> bool:
    try:
        np.asarray(column).astype(float)
    except (TypeError, ValueError):
        return False
    return True


def _known_targets(dataset: Input) -> ArrayLike | None:
    """Return the targets of a dataset that keeps them apart from its items; None where not."""
    if isinstance(dataset, TensorDataset):
        return dataset.tensors[-1] if len(dataset.tensors) == 2 else None
    if isinstance(dataset, Subset):
        known = _known_targets(dataset.dataset)
        return None if known is None else np.asarray(known)[np.asarray(dataset.indices)]
    for name in ("targets", "y"):
        known = getattr(dataset, name, None)
        if known is not None and np.shape(known)[:1] == (len(dataset),):
            return known
    return None


def _in_memory(dataset: Input) -> tuple[Input, Input] | None:
    """Return X and y of a dataset that is nothing but arrays: they need no DataLoader."""
    if type(dataset) is TensorDataset and len(dataset.tensors) == 2:
        return dataset.tensors
    if type(dataset) is SkorchDataset and dataset.y is not None:
        return dataset.X, dataset.y
    return None


def _as_array(data: Input) -> Input:
    """Turn a tensor or a slice of a dataset into an array; leave the rest to scikit-learn."""
    if isinstance(data, torch.Tensor):
        return data.detach().cpu().numpy()
    if isinstance(data, SliceDataset):
        return np.asarray([np.asarray(item) for item in data])
    return data


def _as_input(value: object, dtype: torch.dtype) -> Item:
    """Turn one item's features into what a module gets: floats of a type, and int64."""
    if isinstance(value, Mapping):
        return {name: _as_input(part, dtype) for name, part in value.items()}
    if isinstance(value, torch.Tensor):
        is_whole = not value.is_floating_point() and value.dtype != torch.bool
        return value.to(torch.int64 if is_whole else dtype)
    return to_tensor(np.asarray(value), dtype)


def _shape_of(features: Item) -> Shape:
    if isinstance(features, dict):
        return {name: _shape_of(part) for name, part in features.items()}
    return tuple(features.shape)
