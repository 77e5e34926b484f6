"""The kinds of X, checked and turned into rows that a module takes.

Each kind of input has a small class: arrays and frames, sparse matrices, dicts of arrays for
modules with several inputs, and datasets. A new kind is one more :class:`Source`, and a branch in
:func:`read`.
"""

import copy
from collections.abc import Iterator, Mapping
from typing import Any, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
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
from skensemble._types import Batch

from .frames import Columns
from .rows import Convert, ConvertedRows, DatasetRows, DictRows, Features, to_tensor

#: Bytes of converted rows that are kept through a fit.
_AHEAD = 1 << 26


class Source(Protocol):
    """One kind of X, checked."""

    #: Number of rows.
    n_samples: int
    #: Shape of one row; a dict of shapes where X is a dict.
    row_shape: Any
    #: What tells rows apart in the hash of a fold; see :mod:`skensemble._data.hashes`.
    precision: str

    def rows(self, convert: Convert, dtype: torch.dtype, row_bytes: int = 0) -> Features:
        """Return all rows, to be indexed by a tensor of row numbers.

        `convert` turns arrays into tensors whose floats are of `dtype`, `row_bytes` a row.
        """

    def chunks(self, convert: Convert, dtype: torch.dtype, size: int) -> Iterator[Batch]:
        """Yield the rows in order, `size` at a time."""


class ArrayInput:
    """A numpy array, or whatever scikit-learn makes one of.

    Parameters
    ----------
    X : ndarray of shape (n_samples, ...)
    """

    def __init__(self, X: Any):
        self.X = X
        self.n_samples = X.shape[0]
        self.row_shape: Any = X.shape[1:]
        #: A number that both hold may still be another, and so hash to another fold.
        self.precision = "single" if X.dtype.kind == "f" and X.dtype.itemsize < 8 else "double"

    def rows(self, convert: Convert, dtype: torch.dtype, row_bytes: int = 0) -> Features:
        """Convert all rows ahead, unless they would become so long that they fill the memory."""
        if self.n_samples * row_bytes > _AHEAD:
            return ConvertedRows(self.X, convert)
        return convert(self.X)

    def chunks(self, convert: Convert, dtype: torch.dtype, size: int) -> Iterator[Batch]:
        """Yield the rows in order, `size` at a time."""
        for start in range(0, self.n_samples, size):
            yield convert(self.X[start : start + size])


class SparseInput(ArrayInput):
    """A scipy sparse matrix, of which never more than a few rows are made dense at a time."""

    def rows(self, convert: Convert, dtype: torch.dtype, row_bytes: int = 0) -> Features:
        return ConvertedRows(self.X, convert)

    def chunks(self, convert: Convert, dtype: torch.dtype, size: int) -> Iterator[Batch]:
        for start in range(0, self.n_samples, size):
            yield convert(self.X[start : start + size].toarray())


class DictInput:
    """Arrays by name, for a module whose ``forward`` takes them by name.

    Parameters
    ----------
    X : dict of ndarray
        All with as many rows.
    """

    def __init__(self, X: dict[str, NDArray[Any]]):
        self.X = X
        self.n_samples = len(next(iter(X.values())))
        self.precision = "rows"
        self.row_shape: Any = {name: array.shape[1:] for name, array in X.items()}

    def rows(self, convert: Convert, dtype: torch.dtype, row_bytes: int = 0) -> Features:
        return DictRows({name: convert(array) for name, array in self.X.items()})

    def chunks(self, convert: Convert, dtype: torch.dtype, size: int) -> Iterator[Batch]:
        for start in range(0, self.n_samples, size):
            yield {name: convert(array[start : start + size]) for name, array in self.X.items()}


class DatasetInput:
    """A torch Dataset, whose items are read when they are needed.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        With a length. Its items are ``X`` or ``(X, y)``.
    """

    def __init__(self, dataset: Any):
        if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
            raise ValueError(
                f"Got X={type(dataset).__name__}, but expected a dataset with a length: the number "
                "of steps is part of the schedule."
            )
        self.dataset, self.dtype, self.precision = dataset, torch.float32, "rows"
        self.n_samples = len(dataset)
        if self.n_samples == 0:
            raise ValueError("Got X with 0 samples, but expected a dataset with at least 1.")
        self.row_shape = _shape_of(self.features(0))

    def __len__(self) -> int:
        return self.n_samples

    def features(self, index: int) -> Any:
        """Return the features of one item, as the module takes them."""
        item = self.dataset[index]
        return _as_input(item[0] if isinstance(item, tuple | list) else item, self.dtype)

    def targets(self) -> NDArray[Any]:
        """All targets: from where a dataset keeps them, else from its items."""
        known = known_targets(self.dataset)
        if known is not None:
            return np.asarray(known)
        return np.asarray([np.asarray(self._target(i)) for i in range(self.n_samples)])

    def _target(self, index: int) -> Any:
        item = self.dataset[index]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise ValueError(
                f"Got y=None and X={type(self.dataset).__name__}, but expected its items to be "
                "(X, y), or y beside it."
            )
        return item[1]

    def rows(self, convert: Convert, dtype: torch.dtype, row_bytes: int = 0) -> Features:
        return self._of_type(dtype)

    def _of_type(self, dtype: torch.dtype) -> Self:
        """Return the same items with floats of a type."""
        other = copy.copy(self)
        other.dtype = dtype
        return other

    @property
    def device(self) -> torch.device:
        """Where the items are read."""
        return torch.device("cpu")

    def to(self, device: object) -> Self:
        """Stay where the items are read: a loader moves each batch."""
        return self

    def __getitem__(self, index: slice) -> Any:
        """Return the features of a few items as a batch."""
        rows = range(self.n_samples)[index]
        return default_collate([self.features(i) for i in rows])

    def chunks(self, convert: Convert, dtype: torch.dtype, size: int) -> Iterator[Batch]:
        # A loader draws a seed, which must not come from the global generator.
        items = DatasetRows(self._of_type(dtype))
        yield from DataLoader(items, batch_size=size, generator=torch.Generator())


def read(
    estimator: Any,
    X: Any,
    y: Any,
    *,
    reset: bool,
    X_checks: dict[str, Any],
    y_checks: dict[str, Any],
    columns: Columns | None = None,
) -> tuple[Source, Any]:
    """Check X, and y beside it, as scikit-learn does.

    Parameters
    ----------
    estimator : object
        A stand-in that gets ``n_features_in_`` and ``feature_names_in_``, or is asked for them.
    X, y : object
        `y` is the string "no_validation" in prediction, and may be None beside a dataset.
    reset : bool
        Whether the number and names of columns are learned or compared.
    X_checks, y_checks : dict
        Arguments of scikit-learn's ``check_array`` and ``check_X_y``.
    columns : Columns, default=None
        What reads X as a table with columns of many kinds; is fitted where `reset`.
    """
    if columns is not None:
        return _read_table(estimator, X, y, columns, reset, y_checks)
    predicting = isinstance(y, str)
    if isinstance(X, Dataset | SliceDataset):
        plain = None if predicting or y is not None else _in_memory(X)
        if plain is None:
            return _read_beside(DatasetInput(X), None if predicting else y, y_checks)
        X, y = plain
    if isinstance(X, Mapping) and not issparse(X):  # a DOK matrix is both
        if y is None and not predicting:
            raise ValueError("Got y=None, but expected the targets beside a dict of arrays.")
        return _read_beside(_read_dict(X, X_checks), None if predicting else y, y_checks)
    X, y = _as_array(X), _as_array(y)
    checks = X_checks if predicting else {**X_checks, **y_checks}
    try:
        checked = validate_data(estimator, X, y, reset=reset, **checks)
    except ValueError as error:
        raise _naming_columns(error, X) from error
    X, y = (checked, None) if predicting else checked
    return (SparseInput(X) if issparse(X) else ArrayInput(X)), y


def _read_table(
    estimator: Any, X: Any, y: Any, columns: Columns, reset: bool, y_checks: dict[str, Any]
) -> tuple[ArrayInput, Any]:
    """Read a table with columns of many kinds as numbers and codes of categories."""
    predicting = isinstance(y, str)
    if y is None:
        raise ValueError("Got y=None, but expected the targets beside a table.")
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    matrix = columns.fit_transform(X) if reset else columns.transform(X)
    source = ArrayInput(check_array(matrix, ensure_all_finite="allow-nan", estimator=estimator))
    return _read_beside(source, None if predicting else y, y_checks)


def _naming_columns(error: ValueError, X: Any) -> ValueError:
    """Return the error, or one that names the columns of a frame that are no numbers."""
    names = [] if not hasattr(X, "columns") else [n for n in X.columns if not _is_number(X[n])]
    if not names or "could not convert" not in str(error):
        return error
    return ValueError(
        f"Got X with columns that are no numbers: {names}, but expected numbers alone; encode them "
        f"before, by OneHotEncoder in a ColumnTransformer for one ({error})."
    )


def _is_number(column: Any) -> bool:
    try:
        np.asarray(column).astype(float)
    except (TypeError, ValueError):
        return False
    return True


def known_targets(dataset: Any) -> Any:
    """Targets of a dataset that keeps them apart from its items; None where it does not."""
    if isinstance(dataset, TensorDataset):
        return dataset.tensors[-1] if len(dataset.tensors) == 2 else None
    if isinstance(dataset, Subset):
        known = known_targets(dataset.dataset)
        return None if known is None else np.asarray(known)[np.asarray(dataset.indices)]
    for name in ("targets", "y"):
        known = getattr(dataset, name, None)
        if known is not None and np.shape(known)[:1] == (len(dataset),):
            return known
    return None


def _in_memory(dataset: Any) -> tuple[Any, Any] | None:
    """X and y of a dataset that is nothing but arrays: they need no DataLoader."""
    if type(dataset) is TensorDataset and len(dataset.tensors) == 2:
        return dataset.tensors[0], dataset.tensors[1]
    if type(dataset) is SkorchDataset and dataset.y is not None:
        return dataset.X, dataset.y
    return None


def _read_dict(X: Mapping[str, Any], checks: dict[str, Any]) -> DictInput:
    """Check a dict of arrays: as many rows each, all finite."""
    if not X:
        raise ValueError("Got X with no arrays, but expected a dict of at least one.")
    checks = {**checks, "accept_sparse": False, "ensure_2d": False}
    arrays = {name: check_array(_as_array(X[name]), input_name=name, **checks) for name in X}
    check_consistent_length(*arrays.values())
    return DictInput(arrays)


def _read_beside(X: Any, y: Any, y_checks: dict[str, Any]) -> tuple[Any, Any]:
    """Targets beside an input that scikit-learn's own checks do not know."""
    if y is not None:
        y = check_y(_as_array(y), **y_checks)
        if len(y) != X.n_samples:
            raise ValueError(
                f"Got y with {len(y)} rows and X with {X.n_samples}, but expected as many "
                "(inconsistent numbers of samples)."
            )
    return X, y


def _as_array(data: Any) -> Any:
    """Turn a tensor or a slice of a dataset into an array; leave the rest to scikit-learn."""
    if isinstance(data, torch.Tensor):
        return data.detach().cpu().numpy()
    if isinstance(data, SliceDataset):
        return np.asarray([np.asarray(item) for item in data])
    return data


def _as_input(value: Any, dtype: torch.dtype) -> Any:
    """One item's features with the types that a module gets: floats as given and int64."""
    if isinstance(value, Mapping):
        return {name: _as_input(part, dtype) for name, part in value.items()}
    if isinstance(value, torch.Tensor):
        if value.is_floating_point() or value.dtype == torch.bool:
            return value.to(dtype)
        return value.to(torch.int64)
    return to_tensor(np.asarray(value), dtype)


def _shape_of(features: Any) -> Any:
    """Shape of one row, by name where there are names."""
    if isinstance(features, Mapping):
        return {name: _shape_of(part) for name, part in features.items()}
    return tuple(features.shape)
