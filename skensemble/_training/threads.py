"""How many threads a fit works with.

A prediction takes as many as are set, and sets nothing: with two threads, ten members of 128-128
were as fast as with one for up to a hundred rows, and up to twice as fast for more. A forked
process is set to one: there the threads of its parent are gone, and OpenMP would wait for them.
"""

import contextlib
import os
from collections.abc import Iterator

import torch
from torch import nn

from skensemble._types import Batch

from .net import SnapshotNet

#: Multiplications of one forward pass below which handing work to a second thread costs more than
#: it saves: 128 rows of a 54-128-128-7 network have 3e6, 1,024 rows of a 54-256-256-7 one 8e7.
_SMALL_STEP = 1e7


def _use_one_thread() -> None:
    """Set one intra-op thread, in a forked process."""
    torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_use_one_thread)


@contextlib.contextmanager
def few_threads(net: SnapshotNet, example: Batch, n_rows: int, batch_size: int) -> Iterator[None]:
    """Set one intra-op thread for small steps; for others leave the number that was set.

    A small fit thereby has the same bits in a worker process, which has one thread. The example is
    a batch of `n_rows` to count on, for steps of `batch_size` rows.
    """
    before = torch.get_num_threads()
    if before == 1 or multiplications(net, example) * batch_size / n_rows >= _SMALL_STEP:
        yield
        return
    try:
        torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(before)


def multiplications(net: SnapshotNet, example: Batch) -> float:
    """Count the multiplications by parameters in one forward pass.

    A layer's parameters are used once for each of its outputs of their first axis: once a row in
    a linear layer, once a pixel of the output in a convolution, once a step in a recurrent one.
    """
    total = 0.0

    def count(part: nn.Module, _: object, out: object) -> None:
        nonlocal total
        own = [p for p in part.parameters(recurse=False) if p.ndim > 1]
        out = out[0] if isinstance(out, tuple) else out
        if own and isinstance(out, torch.Tensor):
            total += sum(p.numel() for p in own) * out.numel() / own[0].shape[0]

    hooks = [part.register_forward_hook(count) for part in net.module_.modules()]
    try:
        net.probe(example)
    finally:
        for hook in hooks:
            hook.remove()
    return total
