"""Even batches of rows, no more of them than a budget allows."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Subset

from skensemble._nets.inference import first_view
from skensemble._types import Batch, Options, Views

from .rows import ChainRows, DatasetRows, Features, TensorRows, WeightedRows

#: Rows are gathered in blocks of about this many bytes and handed out as views: one gather for
#: many batches, but never a shuffled copy of all data.
_BLOCK_BYTES = 4 << 20


class Batches(Protocol):
    """The batches of a pass, each ``(X, y)`` or ``(X, y, weight)``, and how many there are."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


class EvenBatches:
    """Row numbers of ``ceil(n / batch_size)`` batches whose sizes differ by one at most.

    The number of steps is exact, and no batch is left with a single row, on which batch
    normalisation fails. The generator draws a new permutation for each pass; without one the
    rows keep their order.
    """

    def __init__(self, chain: ChainRows, batch_size: int, generator: torch.Generator | None = None):
        self.chain, self.generator = chain, generator
        self.n_batches = math.ceil(chain.n_samples / batch_size)

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[torch.Tensor]:
        # A generator function draws the permutation with the first batch: a DataLoader with
        # workers calls iter() twice a pass.
        yield from _split_evenly(self.order(), self.n_batches)

    def order(self) -> torch.Tensor:
        """Return the row numbers in the order of one pass."""
        order = torch.empty(self.chain.n_samples, dtype=torch.int64, device="cpu")
        self.write_order(order)
        return order

    def write_order(self, order: torch.Tensor) -> None:
        """Write the row numbers in the order of one pass: they may outweigh the rows."""
        n, rows = self.chain
        n_rows = n if rows is None else len(rows)
        for start in range(0, n, n_rows):
            part = order[start : start + n_rows]
            permuted = self._permute(n_rows, order.dtype)[: len(part)]
            part.copy_(permuted if rows is None else rows.index_select(0, permuted))

    def _permute(self, n_rows: int, dtype: torch.dtype) -> torch.Tensor:
        if self.generator is None:
            return torch.arange(n_rows, dtype=dtype, device="cpu")
        # The draws do not depend on the type.
        return torch.randperm(n_rows, generator=self.generator, dtype=dtype, device="cpu")


class BatchIterator:
    """Even batches of rows in memory: ``(X, y)``, or ``(X, y, weight)`` where `weighted`."""

    def __init__(
        self,
        rows: TensorRows,
        batch_size: int,
        generator: torch.Generator | None = None,
        weighted: bool = False,
    ):
        self.parts: list[Features] = [rows.X, rows.y]
        if weighted and rows.weight is not None:
            self.parts.append(rows.weight)
        self.batches = EvenBatches(rows.chains[0], batch_size, generator)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Batch, ...]]:
        for block in self._blocks():
            index = torch.cat(block, dim=-1).to(self.parts[0].device, torch.int64)
            sizes = [batch.shape[-1] for batch in block]
            parts = [_split(_gather(part, index), sizes, index.ndim - 1) for part in self.parts]
            yield from zip(*parts, strict=True)

    def _blocks(self) -> Iterator[list[torch.Tensor]]:
        """Yield the row numbers of the batches that are gathered together."""
        batches = list(self.batches)
        per_block = max(1, _BLOCK_BYTES // (_row_bytes(self.parts[0]) * len(batches[0])))
        for start in range(0, len(batches), per_block):
            yield batches[start : start + per_block]


class ChainsIterator(BatchIterator):
    """Even batches of rows in memory for chains that step together, each with rows of its own.

    They are the batches of a :class:`BatchIterator` for each chain, stacked along a new first
    axis. Each chain has as many rows as the others.
    """

    def __init__(
        self,
        rows: TensorRows,
        batch_size: int,
        generators: Sequence[torch.Generator | None],
        weighted: bool = False,
    ):
        super().__init__(rows, batch_size, None, weighted)
        self.chains = [
            EvenBatches(chain, batch_size, generator)
            for chain, generator in zip(rows.chains, generators, strict=True)
        ]

    def _blocks(self) -> Iterator[list[torch.Tensor]]:
        n_rows = self.chains[0].chain.n_samples
        # Row numbers of all chains together may outweigh the rows: 32 bits halve them.
        number = torch.int32 if len(self.parts[1]) < 2**31 else torch.int64
        orders = torch.empty(len(self.chains), n_rows, dtype=number, device="cpu")
        for order, chain in zip(orders, self.chains, strict=True):
            chain.write_order(order)
        batches = _split_evenly(orders, len(self))
        longest = -(-n_rows // len(self))
        batch_bytes = _row_bytes(self.parts[0]) * longest * len(orders)
        per_block = max(1, _BLOCK_BYTES // batch_bytes)
        while block := list(itertools.islice(batches, per_block)):
            yield block


def _split_evenly(orders: torch.Tensor, n_batches: int) -> Iterator[torch.Tensor]:
    """Yield the parts along the last axis that :func:`torch.tensor_split` makes.

    One at a time: the views of many batches take more memory than the numbers.
    """
    size, n_longer = divmod(orders.shape[-1], n_batches)
    start = 0
    for i in range(n_batches):
        stop = start + size + (i < n_longer)
        yield orders[..., start:stop]
        start = stop


def _gather(rows: Features, index: torch.Tensor) -> Batch:
    """Gather rows by an index of one axis, or of two with the chains first."""
    if isinstance(rows, torch.Tensor):
        # index_select copies whole rows, and so is seven times faster than indexing.
        return rows.index_select(0, index.reshape(-1)).unflatten(0, index.shape)
    flat = rows[index.reshape(-1)]
    if isinstance(flat, torch.Tensor):
        return flat.unflatten(0, index.shape)
    return {name: tensor.unflatten(0, index.shape) for name, tensor in flat.items()}


def _split(rows: Batch, sizes: list[int], dim: int) -> Sequence[Batch]:
    """Cut rows into views of consecutive ones."""
    if isinstance(rows, torch.Tensor):
        return rows.split(sizes, dim=dim)
    parts = {name: tensor.split(sizes, dim=dim) for name, tensor in rows.items()}
    return [{name: parts[name][i] for name in parts} for i in range(len(sizes))]


def _row_bytes(rows: Features) -> int:
    """Count the bytes of one row, 1 at least."""
    row = rows[:1]
    tensors = [row] if isinstance(row, torch.Tensor) else row.values()
    return max(1, sum(tensor.nbytes for tensor in tensors))


class Budget:
    """Steps that a run may still take, whichever iterators hand out its batches."""

    def __init__(self, n_steps: int):
        self.left = n_steps


class Budgeted:
    """The batches of an iterator until the budget of the run is spent; later passes are empty.

    `take_weight` is given the last item of each batch, its weights, just before the rest is
    handed out, with what `prepare` makes of its features.
    """

    def __init__(
        self,
        iterator: Batches,
        budget: Budget,
        take_weight: Callable[[torch.Tensor], None] | None = None,
        prepare: Callable[[Batch], Batch] | None = None,
    ):
        self.iterator, self.budget, self.take_weight = iterator, budget, take_weight
        self.prepare = prepare

    def __len__(self) -> int:
        return len(self.iterator)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for batch in self.iterator:
            if self.budget.left == 0:
                return
            self.budget.left -= 1
            if self.take_weight is not None:
                *batch, weight = batch
                self.take_weight(weight)
            if self.prepare is not None:
                X, *batch = batch
                batch = [self.prepare(X), *batch]
            yield tuple(batch)


class InFirstView:
    """The batches of an iterator, each in the first of several views."""

    def __init__(self, iterator: Batches, views: Views):
        self.iterator, self.views = iterator, views

    def __len__(self) -> int:
        return len(self.iterator)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for X, *others in self.iterator:
            yield first_view(self.views, X), *others


def training_batches(
    rows: TensorRows | DatasetRows,
    batch_size: int,
    generators: Sequence[torch.Generator | None],
    options: Options,
    *,
    of_chains: bool,
    of_loader: Callable[[], torch.Generator] | None = None,
) -> Batches:
    """Make the shuffled batches of one or all chains, with the weights where there are some.

    There is one generator for each chain. `options` are a user's arguments of a DataLoader, which
    then takes the place of ours; `of_loader` returns its generator. With `of_chains`, each batch
    has the rows of all chains, chains first.
    """
    weighted = rows.weight is not None
    if isinstance(rows, TensorRows):
        if of_chains:
            return ChainsIterator(rows, batch_size, generators, weighted)
        if not options:
            return BatchIterator(rows, batch_size, generators[0], weighted)
    dataset = WeightedRows(rows) if weighted and isinstance(rows, TensorRows) else rows
    if of_loader is not None:
        options = {"generator": of_loader(), **options}
    return data_loader(dataset, batch_size, generators[0], options)


def data_loader(
    dataset: TensorRows | WeightedRows | DatasetRows,
    batch_size: int,
    generator: torch.Generator | None,
    options: Options,
) -> DataLoader[Any]:
    """Make a DataLoader of even, shuffled batches, unless the options say otherwise."""
    chain = dataset.chains[0]
    if {"batch_sampler", "sampler", "shuffle", "drop_last", "batch_size"}.isdisjoint(options):
        options["batch_sampler"] = EvenBatches(chain, batch_size, generator)
        return DataLoader(dataset, **options)
    if chain.rows is not None and not {"sampler", "batch_sampler"}.isdisjoint(options):
        raise ValueError(
            "Got a sampler by iterator_train__* and rows that are left out, but expected one "
            "of them: a sampler may draw those rows. Set validation=None, or give X_val and "
            "y_val."
        )
    if "batch_sampler" not in options:
        options = {"batch_size": batch_size, **options}
        if "sampler" not in options:
            options.setdefault("shuffle", True)
    own = dataset if chain.rows is None else Subset(dataset, chain.rows.tolist())
    return DataLoader(own, **options)
