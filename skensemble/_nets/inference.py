"""All members over a stream of batches."""

import contextlib
import functools
import itertools
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import nn

from skensemble._compat import is_hooked, uncompiled
from skensemble._types import Array, Batch, Floats, State, Views

from .by_hand import shorten_sequences
from .generators import left_as_found
from .modules import computes_members, computes_without, copy_of
from .snapshots import Place, Snapshots, named_tensors, places, stack_tensors
from .transforms import at_home, in_view
from .workers import briefly_single, in_threads, usable_cpus

#: Rows that every member predicts before the next ones are fetched: few enough for the cache.
CHUNK = 2048

#: Rows at a time where all members are multiplied at once: they share the cache.
STACKED_CHUNK = 256

#: Groups of chunks that each thread gets: one that the machine holds up leaves some to others.
_GROUPS = 4

#: Yields what is made of the outputs for the rows from one number to another, rows along the second
#: axis. Only chunks of its own it is asked for, so that it may run in a thread beside others.
OfRows = Callable[[int, int], Iterator[torch.Tensor]]


class Net(Protocol):
    """What inference needs of a net."""

    module_: nn.Module
    device: Any

    def infers_plainly(self) -> bool:
        """Tell whether inference is a call of the module and nothing else."""

    def with_module(self, module: nn.Module) -> Self:
        """Return this net with another module, for inference alone."""

    def scores(self, X: Batch) -> torch.Tensor:
        """Return the raw outputs for a batch, by the net's own inference."""


def chunk_size(net: Net) -> int:
    """Return how many rows to hand to :func:`member_outputs` at a time."""
    return STACKED_CHUNK if _is_stackable(net) else CHUNK


def member_outputs(
    net: Net, snapshots: Snapshots, members: Sequence[int] | Array, batches: Iterable[Batch]
) -> Iterator[torch.Tensor]:
    """Yield the outputs of some members, (members, batch, ...), for one batch after the other.

    The snapshots are on the device of the batches. The net's module is of their kind; its own
    parameters are not used, and nothing of it is touched.
    """
    with torch.inference_mode():
        if _is_stackable(net):
            stacks = snapshots.stacks(members)
            module = uncompiled(net.module_)
            assert computes_members(module)
            for X in batches:
                yield module.forward_members(stacks, X)
            return
        calls = list(_member_calls(net, snapshots.views(members)))
        for X in batches:
            yield stack_tensors([call(X) for call in calls])


def first_view(views: Views | None, X: Batch) -> Batch:
    """Return rows in the first view, as the module may be given them at prediction."""
    if views is None:
        return X
    tensor = next(iter(X.values())) if isinstance(X, dict) else X
    with left_as_found(tensor.device):
        return in_view(at_home(views[0], tensor.device), X)


def drawing_nothing(
    views: Views | None, device: str | torch.device | None
) -> contextlib.AbstractContextManager[None]:
    """Leave all generators as found, where a view may draw from them."""
    if views is None:
        return contextlib.nullcontext()
    return left_as_found(torch.device(device or "cpu"))


def member_values(
    net: Net,
    snapshots: Snapshots,
    members: Sequence[int] | Array,
    batches: Iterable[Batch],
    values_of: Callable[[torch.Tensor], torch.Tensor],
    views: Views | None,
) -> Iterator[torch.Tensor]:
    """Yield the values of some members, (members, batch, k), for one batch after the other.

    `values_of` makes them of outputs; with several views they are the means over these. See
    :func:`member_outputs` for all else.
    """
    if views is None:
        for outputs in member_outputs(net, snapshots, members, batches):
            yield values_of(outputs.cpu())
        return
    device = torch.device(net.device or "cpu")
    if device.type != "cpu":
        views = [at_home(view, device) for view in views]
    seen = (in_view(view, X) for X in batches for view in views)
    in_views = member_outputs(net, snapshots, members, seen)
    for outputs in in_views:
        values = values_of(outputs.cpu())
        for _ in views[1:]:
            values = values + values_of(next(in_views).cpu())
        yield values / len(views)


def outputs_without(
    net: Net,
    snapshots: Snapshots,
    members: Sequence[int] | Array,
    batches: Iterable[torch.Tensor],
    parts: Sequence[torch.Tensor],
    values: torch.Tensor,
) -> Iterator[Iterator[torch.Tensor]]:
    """Yield for one batch after the other the outputs, and those without each part of the inputs.

    A part has numbers of inputs, which are set to their `values`, (n_inputs,). Outputs are those of
    :func:`member_outputs`, rows and parts are on its device.
    """
    with torch.inference_mode():
        if not _is_stackable(net):
            calls = list(_member_calls(net, snapshots.views(members)))
            for X in batches:
                yield (
                    stack_tensors([call(x) for call in calls]) for x in _without(X, parts, values)
                )
            return
        stacks, module = snapshots.stacks(members), uncompiled(net.module_)
        assert computes_members(module)
        for X in batches:
            if computes_without(module):
                yield module.forward_without(stacks, X, parts, values)
            else:
                yield (module.forward_members(stacks, x) for x in _without(X, parts, values))


def _without(
    X: torch.Tensor, parts: Sequence[torch.Tensor], values: torch.Tensor
) -> Iterator[torch.Tensor]:
    """Yield rows as they are, and with each part of the inputs at its values."""
    yield X
    for inputs in parts:
        changed = X.clone()
        changed[:, inputs] = values[inputs]
        yield changed


def collect(n_rows: int, size: int, of_rows: OfRows, *, is_safe: bool) -> Floats:
    """Return what is made of the outputs for all rows, which `of_rows` yields `size` at a time.

    What is computed `is_safe` where it may run beside itself: groups of chunks then go to as many
    threads as there are CPUs. Each chunk is computed by one, so that their number changes no bit.
    """
    if n_rows <= size:  # a few rows, which a copy would only delay
        with briefly_single() if is_safe else contextlib.nullcontext():
            return next(of_rows(0, n_rows)).contiguous().numpy()
    whole = _Whole(n_rows)
    if not is_safe:
        whole.take(0, of_rows(0, n_rows))
        return whole.out.numpy()
    n_threads = usable_cpus()
    starts = range(0, n_rows, size)
    n_groups = min(len(starts), _GROUPS * n_threads) if n_threads > 1 else 1
    bounds = [starts[len(starts) * i // n_groups] for i in range(n_groups)] + [n_rows]
    # Nothing of an iterator is computed before a thread asks for it.
    groups = [(start, of_rows(start, stop)) for start, stop in itertools.pairwise(bounds)]
    in_threads([functools.partial(whole.take, *group) for group in groups], n_threads)
    return whole.out.numpy()


class _Whole:
    """What is made of all rows; it alone grows with their number."""

    def __init__(self, n_rows: int):
        self.n_rows = n_rows
        self.out = torch.empty(0, 0, 0, dtype=torch.float64, device="cpu")
        self._lock = threading.Lock()

    def take(self, start: int, parts: Iterable[torch.Tensor]) -> None:
        """Put parts that follow on each other in their place."""
        for part in parts:
            with self._lock:  # the first of all tells the shape
                if not len(self.out):
                    self.out = self.out.new_empty(len(part), self.n_rows, part.shape[2])
            stop = start + part.shape[1]
            self.out[:, start:stop] = part
            start = stop


def first_not_finite(values: Array) -> int | None:
    """Return the first row, along the second axis, of which a value is not finite; None: no row."""
    if math.isfinite(values.sum()):  # a finite sum has finite terms
        return None
    is_bad = ~np.isfinite(values).all(axis=(0, 2))
    return int(is_bad.argmax()) if is_bad.any() else None


def _is_stackable(net: Net) -> bool:
    """Tell whether the module multiplies all members at once, and the net adds nothing to it."""
    return net.infers_plainly() and computes_members(uncompiled(net.module_))


def is_known(net: Net) -> bool:
    """Tell whether all that is computed is torch's or ours, and so is safe beside itself."""
    if torch.device(net.device or "cpu").type != "cpu":
        return False
    if _is_stackable(net):
        return True
    parts = uncompiled(net.module_).modules()
    return net.infers_plainly() and all(
        getattr(type(part).forward, "__module__", "").startswith("torch.nn.modules.")
        and "forward" not in vars(part)
        and not is_hooked(part)
        for part in parts
    )


def _member_calls(net: Net, states: list[State]) -> Iterator[Callable[[Batch], torch.Tensor]]:
    """Yield for each state a function of a batch: the net's inference with it, in eval mode.

    The module is copied for each call, sharing the tensors: two threads may predict at once, and
    a module that keeps something of its last batch keeps it to itself. One copy serves all
    members in turn, unless a part holds its tensors in a second place, as recurrent layers do.
    """
    module = uncompiled(net.module_)
    if any(_has_loose_tensors(part) for part in module.modules()):
        for state in states:
            memo = {id(tensor): state[name] for name, tensor in named_tensors(module)}
            yield net.with_module(_prepare(copy_of(module, memo))).scores
        return
    memo = {id(tensor): tensor for _, tensor in named_tensors(module)}
    member = net.with_module(_prepare(copy_of(module, memo)))
    where = list(places(member.module_))
    for state in states:
        yield functools.partial(_infer_with, member, where, state)


def _prepare(module: nn.Module) -> nn.Module:
    """Set a copy of our own to eval mode, and its sequences to go without detours."""
    shorten_sequences(module)
    return module.eval()


def _infer_with(member: Net, where: list[Place], state: State, X: Batch) -> torch.Tensor:
    for holder, key, name in where:
        holder[key] = state[name]
    return member.scores(X)


def _has_loose_tensors(part: nn.Module) -> bool:
    """Tell whether a part refers to tensors beside its parameters and buffers."""
    return any(
        isinstance(value, torch.Tensor)
        or (isinstance(value, list | tuple) and any(isinstance(v, torch.Tensor) for v in value))
        for value in vars(part).values()
    )
