"""How many threads a fit works with."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

#: Multiplications of one step below which handing work to a second thread costs more than it
#: saves: 128 rows of a 54-128-128-7 network have 3e6, 1,024 rows of a 54-256-256-7 one 8e7.
_SMALL_STEP = 1e7


@contextlib.contextmanager
def few_threads(module: nn.Module, example: Any, batch_size: int) -> Iterator[None]:
    """One intra-op thread for small steps, the number that was set for others.

    Also what makes a small fit the same to the bit in a worker process, which has one thread.
    """
    n_parameters = sum(p.numel() for p in module.parameters())
    before = torch.get_num_threads()
    if batch_size * n_parameters * _positions(example) >= _SMALL_STEP or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _positions(example: Any) -> int:
    """How often a convolution uses its parameters for one row: once for each pixel."""
    if isinstance(example, Mapping):
        return max(map(_positions, example.values()))
    return max(1, example[0].numel() // example.shape[1]) if example.ndim > 2 else 1
