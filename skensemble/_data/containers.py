"""Containers of X and y: each turned into an array or a frame, or refused with its remedy."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import narwhals.stable.v2 as nw
import numpy as np
import torch
from scipy.sparse import coo_array, issparse
from skorch.helper import SliceDataset
from torch.utils.data import DataLoader

from skensemble._types import Array, Input
from skensemble._warnings import short


class Refused(NamedTuple):
    """A kind of container that cannot be read, and what to hand over in its place."""

    applies: Callable[[Any], bool]
    remedy: str


#: What narwhals tells of frames that are not in memory; older versions know fewer of them.
_LAZY = [
    getattr(nw.dependencies, name)
    for name in (
        "is_polars_lazyframe",
        "is_dask_dataframe",
        "is_duckdb_relation",
        "is_pyspark_dataframe",
        "is_ibis_table",
        "is_narwhals_lazyframe",
    )
    if hasattr(nw.dependencies, name)
]


def _is_lazy(data: Input) -> bool:
    return any(is_kind(data) for is_kind in _LAZY)


def _is_structured(data: Input) -> bool:
    return isinstance(data, np.ndarray) and data.dtype.names is not None


def _is_records(data: Input) -> bool:
    return isinstance(data, list | tuple) and len(data) > 0 and isinstance(data[0], Mapping)


#: What libraries raise for values that they cannot read, beside ValueError and TypeError.
_STRANGE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    nw.exceptions.NarwhalsError,
)


#: What each argument is to hold, and what to do about it, where others only say what is wrong.
_RULES = {
    "X": "expected a table or an array, n_samples x n_features",
    "y": "expected one label or number for each row",
    "sample_weight": "expected one finite number of at least 0 for each row",
    "groups": "expected one label for each row",
    "classes": "expected a list of all labels",
}

#: Remedies by what is said of an argument: the first that is found is added to it.
_REMEDIES = {
    r"^y .*(NaN|infinity)": "leave out the rows in which y is missing or infinite",
    r"X contains NaN": (
        "put an imputer before the module, such as SimpleImputer(add_indicator=True) in a "
        "Pipeline; the built-in network takes missing values"
    ),
    r"contains infinity": "replace infinite values, by NaN for one",
    r"feature names should": "X[model.feature_names_in_] has the columns of fit",
    r"\d features?, but": "give it the columns that X had in fit",
    r"Expected unique column": "rename columns",
    r"X Found array with dim": "images and the like need a module of your own",
    r"Found array with 0|minimum of 1 is req": "at least one row and one column is needed",
    r"Complex data": "take its real part, or real and imaginary part as columns",
    r"(?s)^y .*could not convert string": (
        "a regressor takes numbers: read them, or for labels take SnapshotEnsembleClassifier"
    ),
    r"(?s)^X .*(could not convert string|of bytes/strings)": (
        "read or encode strings before, or give a pandas.DataFrame, whose strings are categories "
        "for the built-in network"
    ),
    r"label type: (continuous|unknown)": (
        "labels are of one kind, such as y.astype(str); for numbers take SnapshotEnsembleRegressor"
    ),
    r"1d array, got": "take one column, y[:, 0] or y.argmax(axis=1) of one-hot rows",
    r"shape ==|inconsistent": "give as many as X has rows",
    r"^X float": "read or convert the objects before",
    r"^sample_weight": "None weighs all rows alike",
}


def _add_rule(name: str, said: str) -> str:
    """Add what an argument is to hold to what others say is wrong with it."""
    text = f"{name} {said}"
    remedy = next((r for found, r in _REMEDIES.items() if re.search(found, text)), None)
    added = _RULES.get(name, "expected values that can be read") + (f": {remedy}" if remedy else "")
    said = _cut_arrays(said)
    stop = " " if said.rstrip().endswith((".", "!")) else ". "
    return f"{said}{stop}E{added[1:]}."


def _cut_arrays(said: str) -> str:
    """Cut the values of a whole array, which scikit-learn shows."""
    return re.sub(r"\[.{80,}\]", lambda m: m[0][:79] + "…]", said, flags=re.DOTALL)


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Name an argument in the errors of those who read it, which are ValueError or TypeError.

    What others say is wrong with it gets the rule, and what to do.
    """
    try:
        yield
    except (ValueError, TypeError, *_STRANGE) as error:
        said = str(error)
        if said.startswith("Got ") and "expected" in said:
            raise
        is_named = isinstance(error, ValueError | TypeError) and re.search(rf"\b{name}\b", said)
        # Narwhals has errors that are ValueErrors of its own.
        is_ours = is_named and not isinstance(error, nw.exceptions.NarwhalsError)
        kind = TypeError if isinstance(error, TypeError) else ValueError
        begin = "" if is_ours else f"Got {name} that cannot be read: "
        raise kind(begin + _add_rule(name, said)) from error


#: What is refused as X, y or weights alike. The first that applies is told.
_REFUSED = (
    Refused(lambda d: d is None, "expected rows: give a table, an array or a dataset"),
    Refused(
        lambda d: isinstance(d, str | bytes | Path),
        "expected the values themselves: read a file by pandas.read_csv, for one, and take a "
        "column of a frame by its name before",
    ),
    Refused(
        lambda d: isinstance(d, DataLoader),
        "expected the dataset that it loads: hand over loader.dataset, and set the loader by "
        "batch_size and iterator_train__*",
    ),
    Refused(
        _is_lazy,
        "expected a frame in memory: call its collect(), or compute() of dask, before",
    ),
    Refused(
        lambda d: isinstance(d, Iterator),
        "expected something with a length: make a list of it before",
    ),
    Refused(
        lambda d: isinstance(d, set | frozenset),
        "expected rows in an order: a set has none",
    ),
    Refused(
        _is_structured,
        "expected an array of one type or a frame: pandas.DataFrame takes a structured array",
    ),
    Refused(
        _is_records,
        "expected a frame: pandas.DataFrame takes a list of dicts",
    ),
)


def open_container(data: Input, name: str = "X") -> Input:
    """Turn tensors, masked arrays and slices of datasets into arrays; leave the rest as it is.

    Raises
    ------
    ValueError
        If the container cannot be read; the text names its type and what to do.
    """
    for kind in _REFUSED:
        if kind.applies(data):
            raise refusal(data, name, kind.remedy)
    if isinstance(data, torch.Tensor):
        return _from_tensor(data, name)
    if isinstance(data, np.ma.MaskedArray):
        return _from_masked(data, name)
    if isinstance(data, SliceDataset):
        return np.asarray([np.asarray(item) for item in data])
    if isinstance(data, list | tuple) and data and all(isinstance(d, torch.Tensor) for d in data):
        # numpy would ask each number of each row for itself.
        shapes = {tuple(tensor.shape) for tensor in data}
        if len(shapes) == 1:
            return _from_tensor(torch.stack(list(data)), name)
    return data


def open_features(X: Input) -> Input:
    """Open a container of X, which needs two dimensions at least."""
    X = open_container(X)
    if nw.dependencies.is_into_series(X):
        raise refusal(
            X,
            "X",
            "expected a table (Reshape your data): of one row make series.to_frame().T in pandas, "
            "or frame.iloc[[i]] to begin with; of one column series.to_frame()",
        )
    return X


def refusal(data: Input, name: str, remedy: str) -> ValueError:
    """Make the error for a container that is not taken."""
    shown = f"={short(data)}" if isinstance(data, str | bytes | Path) or data is None else ""
    kind = f" of type {type(data).__module__.split('.')[0]}.{type(data).__name__}"
    kind = "" if shown else kind.replace(" builtins.", " ").replace(" of type type", "")
    return ValueError(f"Got {name}{shown or kind}, but {remedy}.")


def as_plain_array(X: Input) -> Array:
    """Return a list, a sparse matrix or an array as an array; texts in it stay apart from numbers.

    A list of numbers and texts would become one of texts.
    """
    if issparse(X):
        return X.toarray()
    array = as_array(X)
    if array.ndim != 2:
        raise ValueError(
            f"Got X of shape {array.shape}, but expected 2D array, got {array.ndim}D array "
            "instead (Expected 2D array). Reshape your data: of one row make X.reshape(1, -1), of "
            "one column X.reshape(-1, 1)."
        )
    return array


def as_array(rows: Any) -> Array:
    """Return a list as an array, of objects where numbers stand beside texts."""
    if not isinstance(rows, list | tuple):
        return np.asarray(rows)
    try:
        array = np.asarray(rows)
    except ValueError as error:
        lengths = sorted({len(row) for row in rows if hasattr(row, "__len__")})
        raise ValueError(
            f"Got X with rows of the lengths {lengths[:10]}, but expected rows of equal length."
        ) from error
    return np.array(rows, dtype=object) if array.dtype.kind in "US" else array


def _from_tensor(tensor: torch.Tensor, name: str) -> Array | coo_array:
    """Turn a tensor of any kind that holds numbers into an array, or a sparse matrix."""
    if tensor.device.type == "meta":
        raise refusal(tensor, name, "expected a tensor that holds numbers: a meta tensor has none")
    tensor = tensor.detach()
    if tensor.is_nested:
        raise refusal(tensor, name, "expected rows of one shape: pad a nested tensor")
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.layout != torch.strided:
        return _from_sparse(tensor.to_sparse_coo().coalesce().cpu())
    tensor = tensor.resolve_conj().resolve_neg().cpu()
    return _narrowest(tensor).numpy()


def _from_sparse(tensor: torch.Tensor) -> Any:
    if tensor.ndim != 2:
        return _narrowest(tensor.to_dense()).numpy()
    indices, values = tensor.indices().numpy(), _narrowest(tensor.values()).numpy()
    return coo_array((values, (indices[0], indices[1])), shape=tuple(tensor.shape)).tocsr()


def _narrowest(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor of a type that numpy has: of bfloat16 and of 8 bits one of float32."""
    is_known = tensor.dtype in (torch.float16, torch.float32, torch.float64)
    return tensor if is_known or not tensor.is_floating_point() else tensor.float()


def _from_masked(data: np.ma.MaskedArray[Any, Any], name: str) -> Array:
    """Make masked values missing ones; numpy would forget the mask."""
    if not np.ma.getmaskarray(data).any():
        return np.asarray(data.data)
    if data.dtype.kind not in "fiub":
        raise refusal(data, name, "expected numbers where values are masked: use X.filled(...)")
    return np.ma.filled(data.astype(np.float64), np.nan)
