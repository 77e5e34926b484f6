"""Rows by number: tensors, dicts of tensors, rows converted when asked for, datasets."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from scipy.sparse import issparse
from skorch.dataset import Dataset as SkorchDataset
from torch.utils.data import Dataset, Subset

from skensemble._types import Array, Batch

#: Turns an array into what the module takes.
Convert = Callable[[Array], torch.Tensor]

#: What numbers that are no floats become, by the kind of numpy's type.
_WHOLE = {"i": torch.int64, "u": torch.int64, "b": torch.bool}

_NUMPY_TYPES: dict[torch.dtype, type[np.generic]] = {
    torch.float64: np.float64,
    torch.float16: np.float16,
    torch.int64: np.int64,
    torch.bool: np.bool_,
}


class Features(Protocol):
    """Rows of X on their device, handed out by number: a tensor is the plainest."""

    @property
    def device(self) -> torch.device:
        """Where the rows are handed out."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> Batch: ...

    def to(self, device: Any) -> "Features":
        """Return the rows, to be handed out on a device."""


def to_tensor(array: Array, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Turn an array into a tensor: floats of the dtype given, integers as int64, truth values.

    No copy is made where the array is already so; a read-only one (a memory map) is copied,
    since torch would let it be written through the tensor.
    """
    target = _WHOLE.get(array.dtype.kind, dtype)
    with np.errstate(over="ignore"):
        made = np.ascontiguousarray(array, dtype=numpy_type(target))
    if made.itemsize < array.itemsize:
        with np.errstate(invalid="ignore"):  # of infinity less infinity
            is_finite = math.isfinite(made.sum(dtype=np.float64))
        if not is_finite:
            _refuse_infinite(array, made)
    return torch.from_numpy(made if made.flags.writeable else made.copy()).to(target)


def _refuse_infinite(array: Array, made: Array) -> None:
    """Refuse numbers that became infinite."""
    is_lost = np.isinf(made) & np.isfinite(array)
    if is_lost.any():
        raise ValueError(
            f"Got X (or X_val) with values such as {array[is_lost][0]:.6g}, but expected numbers "
            f"that {made.dtype} can hold, the type of the module's floats: scale the columns, "
            "by a StandardScaler in a Pipeline for one."
        )


def numpy_type(dtype: torch.dtype) -> type[np.generic]:
    """Return the numpy type that a torch type is made from: float32 where it has none itself."""
    return _NUMPY_TYPES.get(dtype, np.float32)


class ChainRows(NamedTuple):
    """The rows that a chain trains on in one epoch."""

    #: How many rows it takes, drawn afresh for each epoch: as many as a chain has on average. A
    #: chain with fewer rows begins its next permutation.
    n_samples: int
    #: The rows it may see; None: the first `n_samples`.
    rows: torch.Tensor | None = None


class TensorRows(SkorchDataset):
    """Rows of features and targets in memory, with a weight each where they differ.

    It is a skorch dataset, so that skorch's callbacks can score it. `chains` says for each chain
    which rows to train on.
    """

    def __init__(
        self,
        X: Features,
        y: torch.Tensor,
        weight: torch.Tensor | None = None,
        chains: list[ChainRows] | None = None,
    ):
        super().__init__(X, y)
        self.weight = weight
        self.chains = chains or [ChainRows(len(y))]

    def with_chains(self, chains: list[ChainRows]) -> "TensorRows":
        """Return the same rows for other chains."""
        return TensorRows(self.X, self.y, self.weight, chains)

    def part(self, index: torch.Tensor) -> "TensorRows":
        """Return some of the rows."""
        index = index.to(self.y.device, torch.int64)
        rows = self.X.part(index) if hasattr(self.X, "part") else self.X[index]
        return TensorRows(rows, self.y[index])

    def __getitem__(self, index: int | torch.Tensor) -> tuple[Batch, torch.Tensor]:
        return self.X[index], self.y[index]


class WeightedRows(Dataset[Any]):
    """Rows in memory as ``(X, y, weight)``, for a DataLoader."""

    def __init__(self, rows: TensorRows):
        self.rows, self.chains = rows, rows.chains

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Batch, torch.Tensor, torch.Tensor]:
        assert self.rows.weight is not None
        return (*self.rows[index], self.rows.weight[index])


class DatasetRows(Dataset[Any]):
    """Items of a dataset, ``X``, ``(X, y)`` or ``(X, y, weight)``, for a DataLoader.

    Encoded targets and weights come beside the features, where they are given. `X` has a length
    and a method ``features(index)``. `chains` says for each chain which rows to train on.
    """

    def __init__(
        self,
        X: Any,
        y: torch.Tensor | None = None,
        weight: torch.Tensor | None = None,
        chains: list[ChainRows] | None = None,
    ):
        self.X, self.y, self.weight = X, y, weight
        self.chains = chains or [ChainRows(len(X))]

    def with_chains(self, chains: list[ChainRows]) -> "DatasetRows":
        """Return the same rows for other chains."""
        return DatasetRows(self.X, self.y, self.weight, chains)

    def part(self, index: torch.Tensor) -> Subset[Any]:
        """Return some of the rows."""
        return Subset(DatasetRows(self.X, self.y), index.tolist())

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, index: int) -> Any:
        features = self.X.features(int(index))
        if self.y is None:
            return features
        item = (features, self.y[index])
        return item if self.weight is None else (*item, self.weight[index])


class RowsOfChains(list[TensorRows]):
    """Unseen rows of chains that train as one: for each chain those that it leaves out."""


class ConvertedRows:
    """Rows of an array or of a CSR matrix that are converted when they are asked for."""

    def __init__(self, X: Any, convert: Convert, device: torch.device | str = "cpu"):
        self.X, self.convert, self.device = X, convert, torch.device(device)

    def __len__(self) -> int:
        return self.X.shape[0]

    def __getitem__(self, index: slice | torch.Tensor) -> torch.Tensor:
        rows = self.X[index.cpu().numpy() if isinstance(index, torch.Tensor) else index]
        return self.convert(rows.toarray() if issparse(rows) else rows).to(self.device)

    def part(self, index: torch.Tensor) -> "ConvertedRows":
        """Return some of the rows."""
        return ConvertedRows(self.X[index.cpu().numpy()], self.convert, self.device)

    def to(self, device: torch.device | str) -> "ConvertedRows":
        """Return the same rows, to be handed out on a device."""
        return ConvertedRows(self.X, self.convert, device)


class DictRows:
    """Tensors by name, indexed and moved together."""

    def __init__(self, tensors: dict[str, torch.Tensor]):
        self.tensors = tensors

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return next(iter(self.tensors.values())).device

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, index: slice | torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: tensor[index] for name, tensor in self.tensors.items()}

    def part(self, index: torch.Tensor) -> "DictRows":
        """Return some of the rows."""
        return DictRows(self[index])

    def to(self, device: torch.device | str) -> "DictRows":
        """Return the same rows on a device."""
        return DictRows({name: tensor.to(device) for name, tensor in self.tensors.items()})
