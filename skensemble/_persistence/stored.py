"""Snapshots in a file, of which a model reads what it uses."""

import threading
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, SupportsIndex

import numpy as np
import torch

from skensemble._nets.snapshots import Snapshots, is_finite
from skensemble._types import Array, State
from skensemble._warnings import short

from .container import Container, Entry, Fault, digest_of, iter_bytes
from .tree import tensor_bytes

#: Before the name of a tensor in the name of its array.
PREFIX = "snapshots/"


class Stack(NamedTuple):
    """One tensor of all snapshots in a file."""

    dtype: torch.dtype
    #: Of one snapshot, as the module has it.
    shape: tuple[int, ...]
    entry: Entry

    @property
    def nbytes(self) -> int:
        """Bytes of one snapshot."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize

    def empty(self, n: int) -> torch.Tensor:
        """Return room for the first snapshots, as they lie in the file: matrices transposed."""
        shape = self.shape[::-1] if len(self.shape) == 2 else self.shape
        return torch.empty((n, *shape), dtype=self.dtype, device="cpu")

    def as_used(self, stack: torch.Tensor) -> torch.Tensor:
        """Return what lies as in the file as the module has it."""
        return stack.mT if len(self.shape) == 2 else stack


def lay_out(stacks: State) -> dict[str, Array]:
    """Return the arrays of stacks as a file has them: matrices transposed, as in memory."""
    laid = {name: s.mT if s.ndim == 3 else s for name, s in stacks.items()}
    return {PREFIX + name: tensor_bytes(stack) for name, stack in laid.items()}


def digests_of(arrays: dict[str, Array], places: Array, known: dict[int, bytes]) -> Array:
    """Return the digest of the snapshot at each place, (n, bytes).

    The arrays are those of :func:`lay_out`. Digests that are known by the number of the snapshot
    are believed, and the others are added to them.
    """
    n = len(places)
    rows = [arrays[name].reshape(n, -1) for name in sorted(arrays)]
    digests = [b""] * n
    for number, place in enumerate(places.tolist()):
        if number not in known:
            known[number] = digest_of(part for row in rows for part in iter_bytes(row[place]))
        digests[place] = known[number]
    return np.frombuffer(b"".join(digests), np.uint8).reshape(n, -1)


class StoredSnapshots(Snapshots):
    """Snapshots whose tensors are read from a file when they are first used.

    Those that predict lie at the beginning. Each snapshot is checked as it is read: its digest, and
    that its numbers are finite.

    Copies and pickles are plain :class:`~skensemble._nets.snapshots.Snapshots`.
    """

    def __init__(self, file: Container, stacks: dict[str, Stack], digests: Array, places: Array):
        self._file, self._entries, self._digests = file, stacks, digests
        self._places, self._lock = places, threading.Lock()
        #: The first ones; one assignment, since two threads may predict.
        self._read: tuple[int, Snapshots] = (0, Snapshots.of_stacks({}, places))

    def _first(self, n: int) -> Snapshots:
        """Return snapshots of which the first `n` places are there."""
        if n > self._read[0]:
            with self._lock:
                if n > self._read[0]:
                    # Who asks a second time will ask for others too.
                    n = len(self) if self._read[0] else n
                    stacks = self._load(0, n)
                    self._read = n, Snapshots.of_stacks(stacks, self._places)
        return self._read[1]

    def _load(self, start: int, stop: int) -> State:
        """Read the snapshots at some places."""
        try:
            raw = {name: self._load_one(s, start, stop) for name, s in self._entries.items()}
            names = sorted(raw, key=PREFIX.__add__)
            for i in range(stop - start):
                parts = (raw[name][i].contiguous().view(-1) for name in names)
                found = digest_of(p.view(torch.uint8).numpy() for p in parts if p.numel())
                if found != self._digests[start + i].tobytes():
                    raise Fault(
                        f"other numbers in the snapshot at place {start + i} than its digest says"
                    )
            stacks = {name: self._entries[name].as_used(stack) for name, stack in raw.items()}
            if not is_finite(stacks.values()):
                raise Fault("numbers that are not finite in a snapshot")
        except Fault as fault:
            raise refusal(self._file.path, fault) from fault
        return stacks

    def _load_one(self, stack: Stack, start: int, stop: int) -> torch.Tensor:
        made, size = stack.empty(stop - start), stack.nbytes
        if made.numel():
            buffer = made.reshape(-1).view(torch.uint8).numpy()
            self._file.read_into(stack.entry.start + start * size, buffer.data)
            if stack.dtype == torch.bool and buffer.max() > 1:
                raise Fault("truth values other than 0 and 1 in a snapshot")
        return made

    def _one(self, index: int) -> State:
        """Return one snapshot, read for this once where it is not there."""
        place = int(self._places[index])
        if place < self._read[0]:
            return self._read[1][index]
        stacks = self._load(place, place + 1)
        return {name: stack[0].contiguous() for name, stack in stacks.items()}

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"Got index {index}, but there are {len(self)} snapshots.")
        return self._one(int(index))

    def views(self, indices: Iterable[int]) -> list[State]:
        """Return the state dicts of some snapshots, without copying."""
        indices = [int(i) for i in indices]
        return self._first(1 + max(map(int, self._places[indices]), default=-1)).views(indices)

    def stacks(self, indices: Sequence[int] | Array) -> State:
        """Return the tensors of some snapshots, each with the snapshots along its first axis."""
        n = 1 + int(self._places[np.asarray(indices)].max(initial=-1))
        return self._first(n).stacks(indices)

    def to(self, device: torch.device) -> Snapshots:
        """Return the snapshots on a device."""
        return self if device.type == "cpu" else self.in_memory().to(device)

    @property
    def whole(self) -> tuple[State, Array]:
        """All tensors, snapshots along the first axis, and where in it each snapshot is."""
        return self.in_memory().whole

    def in_memory(self) -> Snapshots:
        """Return all snapshots as plain ones."""
        return self._first(len(self))

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        return Snapshots.in_memory, (self.in_memory(),)


def refusal(path: str, fault: object) -> ValueError:
    """Return the error for a file that is not as it should be."""
    return ValueError(
        f"Got path={short(path)}, a file with {fault}, but expected one as save() writes it, whole "
        "and unchanged: take another copy of it."
    )
