"""How many threads a fit works with."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

#: Multiplications of one step below which handing work to a second thread costs more than it
#: saves: 128 rows of a 54-128-128-7 network have 3e6, 1,024 rows of a 54-256-256-7 one 8e7.
_SMALL_STEP = 1e7


@contextlib.contextmanager
def few_threads(module: nn.Module, X: torch.Tensor, batch_size: int) -> Iterator[None]:
    """One intra-op thread for small steps, the number that was set for others.

    Also what makes a small fit the same to the bit in a worker process, which has one thread.
    """
    n_parameters = sum(p.numel() for p in module.parameters())
    positions = max(1, X[0].numel() // X.shape[1]) if X.ndim > 2 else 1
    before = torch.get_num_threads()
    if min(batch_size, len(X)) * n_parameters * positions >= _SMALL_STEP or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
