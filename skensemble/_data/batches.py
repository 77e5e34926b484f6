"""Even batches of rows, no more of them than a budget allows."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Subset

from skensemble._nets.modules import Batch

from .rows import ChainRows, DatasetRows, Features, TensorRows, WeightedRows

#: Rows are gathered in blocks of about this many bytes and handed out as views: one gather for
#: many batches, but never a shuffled copy of all data.
_BLOCK_BYTES = 4 << 20


class EvenBatches:
    """Row numbers of ``ceil(n / batch_size)`` batches whose sizes differ by one at most.

    The number of steps is exact, and no batch is left with a single row, on which batch
    normalisation fails.

    Parameters
    ----------
    chain : ChainRows
    batch_size : int
    generator : torch.Generator or None
        Draws a new permutation for each pass; None: the rows in their order.
    """

    def __init__(self, chain: ChainRows, batch_size: int, generator: torch.Generator | None = None):
        self.chain, self.generator = chain, generator
        self.n_batches = math.ceil(chain.n_samples / batch_size)

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[torch.Tensor]:
        # A generator function draws the permutation with the first batch: a DataLoader with
        # workers calls iter() twice a pass.
        yield from _even(self.order(), self.n_batches)

    def order(self) -> torch.Tensor:
        """Return the row numbers in the order of one pass."""
        n, rows = self.chain
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
        self.batches = EvenBatches(rows.chains[0], batch_size, generator)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        for block in self._blocks():
            chosen = torch.cat(block).to(self.parts[0].device)
            sizes = [len(batch) for batch in block]
            parts = [_take(part, chosen) for part in self.parts]
            yield from zip(*(_split(part, sizes) for part in parts), strict=True)

    def _blocks(self) -> Iterator[list[torch.Tensor]]:
        batches = list(self.batches)
        row_bytes = max(1, _n_bytes(self.parts[0][:1]))
        per_block = max(1, _BLOCK_BYTES // (row_bytes * len(batches[0])))
        for start in range(0, len(batches), per_block):
            yield batches[start : start + per_block]


class ChainsIterator(BatchIterator):
    """Even batches of rows in memory for chains that step together, each with rows of its own.

    The same batches as a :class:`BatchIterator` of each chain, stacked along a new first axis.

    Parameters
    ----------
    rows : TensorRows
        With the rows of each chain, equally many.
    batch_size : int
    generators : list of torch.Generator
    weighted : bool, default=False
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

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        for block in self._blocks():
            chosen = torch.cat(block, dim=1).to(self.parts[0].device, torch.int64)
            sizes = [batch.shape[1] for batch in block]
            parts = [_rows_of_chains(part, chosen) for part in self.parts]
            yield from zip(*(_split(part, sizes, dim=1) for part in parts), strict=True)

    def _blocks(self) -> Iterator[list[torch.Tensor]]:
        n_rows = self.chains[0].chain.n_samples
        # Row numbers of all chains together may outweigh the rows: 32 bits halve them.
        number = torch.int32 if len(self.parts[1]) < 2**31 else torch.int64
        orders = torch.empty(len(self.chains), n_rows, dtype=number)
        for order, chain in zip(orders, self.chains, strict=True):
            order.copy_(chain.order())
        batches = _even(orders, len(self))
        row_bytes = max(1, _n_bytes(self.parts[0][:1]))
        longest = -(-orders.shape[1] // len(self))
        per_block = max(1, _BLOCK_BYTES // (row_bytes * longest * len(orders)))
        while block := list(itertools.islice(batches, per_block)):
            yield block


def _even(orders: torch.Tensor, n_batches: int) -> Iterator[torch.Tensor]:
    """Yield the parts along the last axis that :func:`torch.tensor_split` makes.

    One at a time: the views of many batches take more memory than the numbers.
    """
    size, n_longer = divmod(orders.shape[-1], n_batches)
    start = 0
    for i in range(n_batches):
        stop = start + size + (i < n_longer)
        yield orders[..., start:stop]
        start = stop


def _rows_of_chains(rows: Features, index: torch.Tensor) -> Batch:
    """Gather rows by an index of two axes, the chains first."""
    flat = _take(rows, index.reshape(-1))
    if isinstance(flat, torch.Tensor):
        return flat.unflatten(0, index.shape)
    return {name: tensor.unflatten(0, index.shape) for name, tensor in flat.items()}


def _take(rows: Features, index: torch.Tensor) -> Batch:
    """Gather rows by number; ``index_select`` copies whole rows, seven times faster."""
    return rows.index_select(0, index) if isinstance(rows, torch.Tensor) else rows[index]


def _split(rows: Batch, sizes: list[int], dim: int = 0) -> Sequence[Batch]:
    """Cut rows into views of consecutive ones."""
    if isinstance(rows, torch.Tensor):
        return rows.split(sizes, dim=dim)
    parts = {name: tensor.split(sizes, dim=dim) for name, tensor in rows.items()}
    return [{name: parts[name][i] for name in parts} for i in range(len(sizes))]


def _n_bytes(rows: Batch) -> int:
    if isinstance(rows, torch.Tensor):
        return rows.nbytes
    return sum(tensor.nbytes for tensor in rows.values())


class Budget:
    """Steps that a run may still take, whichever iterators hand out its batches."""

    def __init__(self, n_steps: int):
        self.left = n_steps


class Budgeted:
    """Hands on the batches of an iterator until the budget of the run is spent.

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


def training_batches(
    rows: Any,
    batch_size: int,
    generators: Sequence[torch.Generator | None],
    options: dict[str, Any],
    *,
    of_chains: bool,
) -> Any:
    """Make the shuffled batches of one or all chains, with the weights where there are some.

    Parameters
    ----------
    rows : TensorRows or DatasetRows
    batch_size : int
    generators : sequence of torch.Generator or None
        One for each chain.
    options : dict
        A user's arguments of a DataLoader, which then takes the place of ours.
    of_chains : bool
        Whether each batch has the rows of all chains, chains first.
    """
    weighted = rows.weight is not None
    if of_chains:
        return ChainsIterator(rows, batch_size, generators, weighted)
    if isinstance(rows, TensorRows) and not options:
        return BatchIterator(rows, batch_size, generators[0], weighted)
    if weighted and isinstance(rows, TensorRows):
        rows = WeightedRows(rows)
    return data_loader(rows, batch_size, generators[0], options)


def later_batches(rows: Any) -> Any:
    """Return what a DataLoader of skorch's is to read outside of training: no weights."""
    return DatasetRows(rows.X, rows.y) if isinstance(rows, DatasetRows) else rows


def data_loader(
    dataset: Any, batch_size: int, generator: torch.Generator | None, options: dict[str, Any]
) -> DataLoader[Any]:
    """Make a DataLoader of even, shuffled batches, unless the options say otherwise."""
    own_order = {"batch_sampler", "sampler", "shuffle", "drop_last", "batch_size"}
    if generator is not None:
        # A loader draws a seed for its workers. It draws from a copy, so that the permutations
        # stay those of the same rows in memory.
        options = {"generator": generator.clone_state(), **options}
    chain = dataset.chains[0]
    if own_order.isdisjoint(options):
        options["batch_sampler"] = EvenBatches(chain, batch_size, generator)
        return DataLoader(dataset, **options)
    if chain.rows is not None:
        if not {"sampler", "batch_sampler"}.isdisjoint(options):
            raise ValueError(
                "Got a sampler by iterator_train__* and rows that are left out, but expected one "
                "of them: a sampler may draw those rows. Set validation=None, or give X_val and "
                "y_val."
            )
        dataset = Subset(dataset, chain.rows.tolist())
    if "batch_sampler" not in options:
        options = {"batch_size": batch_size, **options}
        if "sampler" not in options:
            options.setdefault("shuffle", True)
    return DataLoader(dataset, **options)
