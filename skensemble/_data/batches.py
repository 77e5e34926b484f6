"""Arrays and frames to tensors, and tensors to even batches."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from skorch.dataset import Dataset as SkorchDataset
from torch.utils.data import DataLoader, Dataset, Subset

#: Rows are gathered in blocks of about this many bytes and handed out as views: one gather for
#: many batches, but never a shuffled copy of all data.
_BLOCK_BYTES = 4 << 20


def to_tensor(array: NDArray[Any], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """An array as a tensor: floats and booleans of the dtype given, integers as int64.

    No copy is made where the array is already so; a read-only one (a memory map) is copied,
    since torch would let it be written through the tensor.
    """
    target = torch.int64 if array.dtype.kind in "iu" else dtype
    array = np.ascontiguousarray(array, dtype=numpy_type(target))
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(target)


def numpy_type(dtype: torch.dtype) -> Any:
    """The numpy type that a torch type is made from: its own, or float32 where it has none."""
    own = {torch.float64: np.float64, torch.float16: np.float16, torch.int64: np.int64}
    return own.get(dtype, np.float32)


class TensorRows(SkorchDataset):
    """Rows of features and targets in memory, with a weight each where they differ.

    A skorch dataset, so that skorch's callbacks can score it.

    Attributes
    ----------
    X : Tensor of shape (n_samples, ...), or what gives one (or a dict of them) by row numbers
    y : Tensor of shape (n_samples,) or (n_samples, n_outputs)
    weight : Tensor of shape (n_samples,) or None
    draws : list of Draw
        Which rows to train on: one for each chain.
    """

    def __init__(
        self,
        X: Any,
        y: torch.Tensor,
        weight: torch.Tensor | None = None,
        draws: "list[Draw] | None" = None,
    ):
        super().__init__(X, y)
        self.weight = weight
        self.draws = draws or [Draw(len(y))]

    def with_draws(self, draws: "list[Draw]") -> "TensorRows":
        """The same rows for other chains."""
        return TensorRows(self.X, self.y, self.weight, draws)

    def part(self, index: torch.Tensor) -> "TensorRows":
        """Some of the rows."""
        index = index.to(self.y.device)
        rows = self.X.part(index) if hasattr(self.X, "part") else self.X[index]
        return TensorRows(rows, self.y[index])

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return self.X[index], self.y[index]


class WeightedRows(Dataset[Any]):
    """The same rows as ``(X, y, weight)``, for a DataLoader."""

    def __init__(self, rows: TensorRows):
        self.rows, self.draws = rows, rows.draws

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> tuple[torch.Tensor, ...]:
        assert self.rows.weight is not None
        return (*self.rows[index], self.rows.weight[index])


class DatasetRows(Dataset[Any]):
    """Items of a dataset with their encoded targets and weights, for a DataLoader.

    Parameters
    ----------
    X : object with ``features(index)`` and a length
    y : Tensor of shape (n_samples, ...), default=None
        Encoded targets; None: features alone.
    weight : Tensor of shape (n_samples,), default=None
        Handed out as a third part of each item, where it is given.
    draws : list of Draw, default=None
        Which rows to train on; None: all.
    """

    def __init__(
        self,
        X: Any,
        y: torch.Tensor | None = None,
        weight: torch.Tensor | None = None,
        draws: "list[Draw] | None" = None,
    ):
        self.X, self.y, self.weight = X, y, weight
        self.draws = draws or [Draw(len(X))]

    def with_draws(self, draws: "list[Draw]") -> "DatasetRows":
        """The same rows for other chains."""
        return DatasetRows(self.X, self.y, self.weight, draws)

    def part(self, index: torch.Tensor) -> Any:
        """Some of the rows."""
        return Subset(DatasetRows(self.X, self.y), index.tolist())

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, index: Any) -> Any:
        features = self.X.features(int(index))
        if self.y is None:
            return features
        item = (features, self.y[index])
        return item if self.weight is None else (*item, self.weight[index])


class Draw(NamedTuple):
    """Which rows a chain trains on in one epoch."""

    #: So many of its rows, drawn afresh for each epoch: as many as the shortest chain has.
    n_samples: int
    #: The rows it may see; None: the first `n_samples`.
    rows: torch.Tensor | None = None


class EvenBatches:
    """Row numbers of ``ceil(n / batch_size)`` batches whose sizes differ by one at most.

    The number of steps is exact, and no batch is left with a single row, on which batch
    normalisation fails.

    Parameters
    ----------
    draw : Draw
    batch_size : int
    generator : torch.Generator or None
        Draws a new permutation for each pass; None: the rows in their order.
    """

    def __init__(self, draw: Draw, batch_size: int, generator: torch.Generator | None = None):
        self.draw, self.generator = draw, generator
        self.n_batches = math.ceil(draw.n_samples / batch_size)

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[torch.Tensor]:
        # A generator, so that the permutation is drawn with the first batch: a DataLoader with
        # workers calls iter() twice a pass.
        yield from _even(self.order(), self.n_batches)

    def order(self) -> torch.Tensor:
        """The rows in the order of one pass."""
        n, rows = self.draw
        n_rows = n if rows is None else len(rows)
        if self.generator is None:
            order = torch.arange(n_rows)
        else:
            order = torch.randperm(n_rows, generator=self.generator)
        return order if rows is None else rows[order[:n]].to(torch.int64)


class BatchIterator:
    """Even batches of rows in memory: ``(X, y)``, or ``(X, y, weight)`` where asked for.

    Parameters
    ----------
    rows : TensorRows
    batch_size : int
    generator : torch.Generator, default=None
        See :class:`EvenBatches`.
    weighted : bool, default=False
        Whether to hand out the weights.
    """

    def __init__(
        self,
        rows: TensorRows,
        batch_size: int,
        generator: torch.Generator | None = None,
        weighted: bool = False,
    ):
        self.parts: list[Any] = [rows.X, rows.y]
        if weighted and rows.weight is not None:
            self.parts.append(rows.weight)
        self.batches = EvenBatches(rows.draws[0], batch_size, generator)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        for block in self._blocks():
            chosen = torch.cat(block).to(self.parts[0].device)
            sizes = [len(batch) for batch in block]
            parts = [_taken(part, chosen) for part in self.parts]
            yield from zip(*(_split(part, sizes) for part in parts), strict=True)

    def _blocks(self) -> Iterator[list[torch.Tensor]]:
        batches = list(self.batches)
        row_bytes = max(1, _n_bytes(self.parts[0][:1]))
        n = max(1, _BLOCK_BYTES // (row_bytes * len(batches[0])))
        for start in range(0, len(batches), n):
            yield batches[start : start + n]


class ChainsIterator(BatchIterator):
    """Even batches of rows in memory for chains that step together, each with rows of its own.

    The same batches as a :class:`BatchIterator` of each chain, stacked along a new first axis.

    Parameters
    ----------
    rows : TensorRows
        With a draw for each chain, all of as many rows.
    batch_size : int
    generators : list of torch.Generator
    weighted : bool, default=False
    """

    def __init__(
        self,
        rows: TensorRows,
        batch_size: int,
        generators: list[torch.Generator],
        weighted: bool = False,
    ):
        super().__init__(rows, batch_size, None, weighted)
        self.chains = [
            EvenBatches(draw, batch_size, generator)
            for draw, generator in zip(rows.draws, generators, strict=True)
        ]

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        for block in self._blocks():
            chosen = torch.cat(block, dim=1).to(self.parts[0].device, torch.int64)
            sizes = [batch.shape[1] for batch in block]
            parts = [_gathered(part, chosen) for part in self.parts]
            yield from zip(*(_split(part, sizes, dim=1) for part in parts), strict=True)

    def _blocks(self) -> Iterator[list[torch.Tensor]]:
        n = self.chains[0].draw.n_samples
        # For each chain they are as many as the rows.
        number = torch.int32 if len(self.parts[1]) < 2**31 else torch.int64
        orders = torch.empty(len(self.chains), n, dtype=number)
        for order, chain in zip(orders, self.chains, strict=True):
            order.copy_(chain.order())
        batches = _even(orders, len(self))
        row_bytes = max(1, _n_bytes(self.parts[0][:1]))
        longest = -(-orders.shape[1] // len(self))
        n = max(1, _BLOCK_BYTES // (row_bytes * longest * len(orders)))
        while block := list(itertools.islice(batches, n)):
            yield block


def _even(orders: torch.Tensor, n_batches: int) -> Iterator[torch.Tensor]:
    """Parts along the last axis as :func:`torch.tensor_split` makes them, one at a time.

    Of many batches the views alone are larger than the numbers.
    """
    size, n_longer = divmod(orders.shape[-1], n_batches)
    start = 0
    for i in range(n_batches):
        stop = start + size + (i < n_longer)
        yield orders[..., start:stop]
        start = stop


def _gathered(rows: Any, index: torch.Tensor) -> Any:
    """Rows by an index of two axes, of a tensor or of what gives a dict of them."""
    flat = _taken(rows, index.reshape(-1))
    if isinstance(flat, torch.Tensor):
        return flat.unflatten(0, index.shape)
    return {name: tensor.unflatten(0, index.shape) for name, tensor in flat.items()}


def _taken(rows: Any, index: torch.Tensor) -> Any:
    """Rows by number: of a tensor by the function that copies them whole, seven times faster."""
    return rows.index_select(0, index) if isinstance(rows, torch.Tensor) else rows[index]


def _split(rows: Any, sizes: list[int], dim: int = 0) -> Sequence[Any]:
    """Views of consecutive rows, of a tensor or of a dict of them."""
    if isinstance(rows, torch.Tensor):
        return rows.split(sizes, dim=dim)
    parts = {name: tensor.split(sizes, dim=dim) for name, tensor in rows.items()}
    return [{name: parts[name][i] for name in parts} for i in range(len(sizes))]


def _n_bytes(rows: Any) -> int:
    if isinstance(rows, torch.Tensor):
        return rows.nbytes
    return sum(tensor.nbytes for tensor in rows.values())


class Budget:
    """Steps that a run may still take, whatever iterators hand out its batches."""

    def __init__(self, n_steps: int):
        self.left = n_steps


class Budgeted:
    """Hands on the batches of an iterator, no more in all passes than the budget allows.

    Parameters
    ----------
    iterator : iterable with a length
    budget : Budget
        Once it is spent, every further pass is empty.
    take_weight : callable, default=None
        Is given the last item of each batch, its weights, just before the rest is handed out.
    """

    def __init__(
        self,
        iterator: Any,
        budget: Budget,
        take_weight: Callable[[torch.Tensor], None] | None = None,
    ):
        self.iterator, self.budget, self.take_weight = iterator, budget, take_weight

    def __len__(self) -> int:
        return len(self.iterator)

    def __iter__(self) -> Iterator[Any]:
        for batch in self.iterator:
            if self.budget.left == 0:
                return
            self.budget.left -= 1
            if self.take_weight is not None:
                *batch, weight = batch
                self.take_weight(weight)
            yield tuple(batch)


def data_loader(
    dataset: Any, batch_size: int, generator: torch.Generator | None, options: dict[str, Any]
) -> DataLoader[Any]:
    """A DataLoader over even, shuffled batches, unless the options say otherwise."""
    own_order = {"batch_sampler", "sampler", "shuffle", "drop_last", "batch_size"}
    if generator is not None:
        # A loader draws a seed for its workers; from a copy, so that the permutations are those
        # of the same rows in memory.
        options = {"generator": generator.clone_state(), **options}
    draw = dataset.draws[0]
    if own_order.isdisjoint(options):
        options["batch_sampler"] = EvenBatches(draw, batch_size, generator)
        return DataLoader(dataset, **options)
    if draw.rows is not None:
        if not {"sampler", "batch_sampler"}.isdisjoint(options):
            raise ValueError(
                "Got a sampler by iterator_train__* and rows that are left out, but expected one "
                "of them: a sampler may draw those rows. Set validation=None, or give X_val and "
                "y_val."
            )
        dataset = Subset(dataset, draw.rows.tolist())
    if "batch_sampler" not in options:
        options = {"batch_size": batch_size, **options}
        if "sampler" not in options:
            options.setdefault("shuffle", True)
    return DataLoader(dataset, **options)
