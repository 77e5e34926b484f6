"""How many threads a fit works with, and in how many groups its chains train."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import joblib
import torch
from joblib.parallel import get_active_backend
from torch import nn

from skensemble._nets.modules import computes_members
from skensemble._nets.workers import is_one_of_several, usable_cpus
from skensemble._types import Batch

from .net import SnapshotNet

#: Multiplications of one forward pass from which on a step is worth a thread of its own: 128 rows
#: of a 54-128-128-7 network have 3e6, and 1,024 rows of a 54-256-256-7 one 8e7. Smaller ones are
#: mostly calls, for which two threads of Python wait for each other.
_WORTH_A_THREAD = 1.2e7


class Threads(NamedTuple):
    """The threads of a fit, and its worker processes."""

    #: Threads of Python, in which chains train beside each other.
    n_lanes: int
    #: Threads of torch's, that divide each operation of a chain.
    n_intra_op: int
    #: Tasks of joblib's that train chains beside each other; 0: this process trains them.
    n_tasks: int = 0

    @property
    def n_at_home(self) -> int:
        """Threads of this process while no chain trains."""
        return max(self.n_lanes, min(self.n_tasks, usable_cpus()))

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Set torch's threads, and put back what was set."""
        before = torch.get_num_threads()
        if self.n_intra_op == before:
            yield
            return
        try:
            torch.set_num_threads(self.n_intra_op)
            yield
        finally:
            torch.set_num_threads(before)


class _Asked(NamedTuple):
    """The workers that the chains of a fit may have."""

    n: int
    #: Whether they are threads of this process.
    share_memory: bool


def _asked(n_jobs: int | None, *, may_leave: bool) -> _Asked:
    """Return what `n_jobs` and joblib's active configuration ask for.

    Where neither does, there is a thread for each CPU, and also in place of processes for chains
    that cannot leave this one.
    """
    if is_one_of_several():
        return _Asked(1, share_memory=True)
    backend, configured = get_active_backend()
    n_jobs = configured if n_jobs is None else n_jobs
    is_asked = n_jobs is not None or getattr(backend, "default_n_jobs", 1) != 1
    n = joblib.effective_n_jobs(n_jobs)
    share_memory = n == 1 or _shares_memory(backend)
    if not is_asked or not (share_memory or may_leave):
        return _Asked(usable_cpus(), share_memory=True)
    return _Asked(n, share_memory)


def _shares_memory(backend: Any) -> bool:
    """Tell whether a backend's workers are threads of this process; a client of Dask's knows."""
    if getattr(backend, "supports_sharedmem", False):
        return True
    scheduler = getattr(getattr(backend, "client", None), "scheduler", None)
    return str(getattr(scheduler, "address", "")).startswith("inproc://")


def choose_threads(
    step: float,
    n_lanes: int,
    *,
    is_private: bool,
    n_jobs: int | None = None,
    may_leave: bool = False,
) -> Threads:
    """Return the threads for lanes whose steps have so many multiplications.

    Lanes that draw from generators of their own (`is_private`) train beside each other. There is no
    barrier between them but at the ends of cycles: where a machine is busy, threads that divide
    each operation wait for the one that is not scheduled, a hundred times a step. So small steps
    have one intra-op thread, and the same bits in a worker process, which has one thread.

    `n_jobs` is the estimator's. Lanes that `may_leave` this process train in joblib's workers where
    that, or a configuration of joblib's, asks for it.
    """
    is_divided = is_private and n_lanes > 1
    is_single = is_divided or step < 2 * _WORTH_A_THREAD
    n_intra_op = 1 if is_single else torch.get_num_threads()
    if n_lanes == 1:
        return Threads(1, n_intra_op)
    asked = _asked(n_jobs, may_leave=may_leave)
    n = min(n_lanes, asked.n)
    if asked.share_memory:
        return Threads(n if is_divided else 1, n_intra_op)
    return Threads(1, n_intra_op, n)


def count_groups(net: SnapshotNet, step: float, n_chains: int) -> int:
    """Return in how many groups the chains of a net train, each of them as one.

    All together have so many multiplications a `step`. Products of four chains may differ from
    those of eight in the last bits, so the machine has no say in it. The number is a power of two,
    that any number of threads may share them evenly. Chains of a user's module are one group, since
    their steps are mostly calls.
    """
    if not computes_members(net.module_) or torch.device(net.device or "cpu").type != "cpu":
        return 1
    most = min(step / _WORTH_A_THREAD, n_chains / 2)
    return 2 ** int(math.log2(max(most, 1)))


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
