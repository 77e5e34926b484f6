"""One cycle of a lane as a task: what goes to a worker, what it does there, and what comes back.

Nothing of this process is shared with it. What all cycles need, and where the lane stands, go as
bytes; rows go as arrays, which joblib maps into the memory of its processes, and Dask copies once.
"""

import pickle
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import joblib
import numpy as np
import torch
from skorch.history import History

from skensemble._data.rows import ChainRows, ConvertedRows, DictRows, TensorRows
from skensemble._nets.generators import Generators, as_in_a_fit
from skensemble._nets.pickling import as_arrays
from skensemble._nets.workers import in_threads
from skensemble._types import Array, Batch, Options, View
from skensemble._warnings import own_filters

from .interrupts import Interrupts
from .lane import Lane
from .session import Session
from .state import capture, restore
from .threads import Threads

#: Bytes from which on a message is an array, which joblib writes to a file for its processes, and
#: Dask sends beside the task. Smaller ones are part of the task: Dask can begin it anew by itself.
_LARGE = 5 << 20

_CPU = torch.device("cpu")

Message = bytes | Array


def pack(content: object) -> Message:
    """Turn plain data into bytes; tensors go as arrays."""
    packed = _dumps(as_arrays(content))
    return packed if len(packed) < _LARGE else np.frombuffer(packed, np.uint8)


def unpack(message: Message) -> Any:
    """Return what was packed."""
    return pickle.loads(message if isinstance(message, bytes) else message.data)


def _dumps(content: object) -> bytes:
    """Pickle, a class of a notebook or a script by value: a worker cannot import it."""
    return pickle.dumps(joblib.wrap_non_picklable_objects(content, keep_wrapper=False))


class Work(NamedTuple):
    """What a worker makes a lane of; it is the same for all cycles."""

    net: Any
    n_epochs_before: int
    #: Rates and ends of cycles, as a session takes them.
    plan: Any
    form: "Form"
    probe_rows: Batch
    #: Whether the built-in network draws from generators of its own.
    is_private: bool
    cold: bool
    #: Whether anybody hears what is told of cycles.
    is_heard: bool
    #: Snapshots of each cycle.
    n_per_cycle: int
    #: Changes the features of batches, if anything does.
    transform: View | None
    n_intra_op: int
    default_dtype: torch.dtype

    @classmethod
    def of_lane(cls, lane: Lane, plan: Any, form: "Form", n_intra_op: int, *, cold: bool) -> "Work":
        """Note what a lane is made of that has not begun to train."""
        session = lane.session
        return cls(
            net=lane.net.with_module(lane.net.module_, history_=History()),  # the state has it
            n_epochs_before=lane.n_epochs_before,
            plan=plan,
            form=form,
            probe_rows=session.probe_rows,
            is_private=session.generators[0].is_private,
            cold=cold,
            is_heard=lane.recorder.is_heard,
            n_per_cycle=lane.recorder.n_per_cycle,
            transform=session.transform,
            n_intra_op=n_intra_op,
            default_dtype=torch.get_default_dtype(),
        )

    def packed(self) -> Array:
        """Return it in bytes, as an array: it goes with the rows."""
        probe_rows = as_arrays(self.probe_rows)
        return np.frombuffer(_dumps(self._replace(probe_rows=probe_rows)), np.uint8)


class Form(NamedTuple):
    """How the rows of a lane are made of their parts."""

    #: Of features that are tensors by name.
    names: list[str] | None
    #: Of features that are converted when they are asked for.
    convert: Callable[[Array], torch.Tensor] | None
    is_weighted: bool
    #: For each chain the rows of an epoch, and whether it has rows of its own.
    chains: list[tuple[int, bool]]

    @classmethod
    def of(cls, rows: TensorRows) -> "Form":
        """Note the form of rows."""
        names = [*rows.X.tensors] if isinstance(rows.X, DictRows) else None
        convert = rows.X.convert if isinstance(rows.X, ConvertedRows) else None
        chains = [(chain.n_samples, chain.rows is not None) for chain in rows.chains]
        return cls(names, convert, rows.weight is not None, chains)

    def rows(self, parts: list[Any]) -> TensorRows:
        """Make the rows: `parts` are those that lanes share, then those of the chains."""
        left = iter(parts)
        if self.names is not None:
            X: Any = DictRows({name: _as_tensor(next(left)) for name in self.names})
        elif self.convert is not None:
            X = ConvertedRows(next(left), self.convert)
        else:
            X = _as_tensor(next(left))
        y = _as_tensor(next(left))
        weight = _as_tensor(next(left)) if self.is_weighted else None
        chains = [ChainRows(n, _as_tensor(next(left)) if own else None) for n, own in self.chains]
        return TensorRows(X, y, weight, chains)


def shared_parts(rows: TensorRows) -> list[Any]:
    """Return features, targets and weights of rows as arrays over the same memory."""
    if isinstance(rows.X, DictRows):
        features = [tensor.numpy() for tensor in rows.X.tensors.values()]
    elif isinstance(rows.X, ConvertedRows):
        features = [rows.X.X]
    else:
        assert isinstance(rows.X, torch.Tensor)
        features = [rows.X.numpy()]
    weight = [] if rows.weight is None else [rows.weight.numpy()]
    return [*features, rows.y.numpy(), *weight]


def own_parts(rows: TensorRows) -> list[Array]:
    """Return the row numbers of each chain that has some."""
    return [chain.rows.numpy() for chain in rows.chains if chain.rows is not None]


def _as_tensor(array: Array) -> torch.Tensor:
    """Return a tensor over the same memory; nothing is ever written to rows."""
    with own_filters():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.asarray(array))


class Done(NamedTuple):
    """What a task returns: the lane's number, and of :func:`pack` its state and what it tells."""

    place: int
    message: Message


def train_until(
    place: int, n_epochs: int, until: int, n_taken: int, state: Message, work: Array, *parts: Any
) -> Done:
    """Train a lane from where it stands until so many cycles have ended; a worker calls this.

    `n_taken` snapshots are there already.
    """
    with Interrupts() as interrupts:
        try:
            task = _Task(unpack(work), unpack(state), n_taken, interrupts, [*parts])
            message = task.alone(lambda: task.train(n_epochs, until))
        except Exception as error:
            if (other := _portable(error)) is not error:
                raise other from error
            raise
        interrupts.check()
    return Done(place, message)


class _Task:
    """A lane in a worker."""

    def __init__(
        self, work: Work, state: Options, n_taken: int, interrupts: Interrupts, parts: list[Any]
    ):
        self.work, self.state, self.n_taken, self.interrupts = work, state, n_taken, interrupts
        self.rows = work.form.rows(parts)

    def alone(self, train: Callable[[], Message]) -> Message:
        """Train with as many intra-op threads as at home, and with torch's type of there."""
        before, n_intra_op = torch.get_default_dtype(), self.work.n_intra_op
        torch.set_default_dtype(self.work.default_dtype)
        try:
            if n_intra_op == 1:
                return in_threads([train], 1)[0]
            with Threads(1, n_intra_op).in_use():
                return train()
        finally:
            torch.set_default_dtype(before)

    def train(self, n_epochs: int, until: int) -> Message:
        """Train, and return where the lane stands."""
        with as_in_a_fit(_CPU, is_private=self.work.is_private):
            lane = self._lane()
            with lane.attached():
                restore(lane, self.state, [None] * self.n_taken)
                lane.train(n_epochs, until)
                state = capture(lane)
        recorder = lane.recorder
        taken = recorder.states[self.n_taken :]
        return pack({"state": state, "taken": taken, "ended": recorder.ended})

    def _lane(self) -> Lane:
        work = self.work
        generators = [
            Generators(_CPU, of_chain, is_private=work.is_private)
            for of_chain in self.state["generators"]
        ]
        session = Session(
            work.plan,
            self.interrupts,
            generators,
            work.probe_rows,
            None,
            cold=work.cold,
            is_heard=work.is_heard,
            n_per_cycle=work.n_per_cycle,
            transform=work.transform,
        )
        lane = Lane(work.net, self.rows, session)
        lane.n_epochs_before = work.n_epochs_before
        return lane


def _portable(error: Exception) -> Exception:
    """Return an error that can be told in another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its class raises
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
