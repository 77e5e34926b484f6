"""The two callbacks of every run: one sets the rate, the other takes the snapshots."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback

from skensemble._compat import optimizers_of
from skensemble._nets.snapshots import is_finite, state_of
from skensemble._types import Batch, Options, State

from .interrupts import Interrupts
from .progress import Progress


class Diverged(Exception):
    """Training left the finite numbers."""


class Enough(Exception):
    """The session was stopped: further cycles would not help.

    An exception is the only way out of skorch's loop over epochs. This one is no KeyboardInterrupt,
    by which users' callbacks stop a run: after theirs, the unfinished cycle gives a snapshot too.
    """


class OfTheRun(Callback):
    """A callback that serves one run: a net that is pickled in the middle of it leaves it empty."""

    def __getstate__(self) -> Options:
        return {}


class CyclicRate(OfTheRun):
    """Sets the learning rate before every step, to a fraction of each parameter group's own.

    Cycles end on steps and not on epochs, so that any number of them fits the budget. A group's own
    rate is kept as ``initial_lr`` and multiplied as torch's ``LambdaLR`` does: the rates are the
    same to the bit, and groups to which the user gave different ones keep their ratio.
    """

    def __init__(self, fractions: Iterable[float], interrupts: Interrupts):
        self.fractions, self.interrupts = iter(fractions), interrupts
        self.step = 0
        #: Is called before each epoch, and before callbacks of the user's hear of it.
        self.before_epoch: Callable[[], object] | None = None

    def follow(self, fractions: Iterator[float]) -> None:
        """Go by other fractions from the next step on."""
        self.fractions = fractions

    def on_epoch_begin(self, net: NeuralNet, **_: object) -> None:
        """Tell whoever keeps the state of the run."""
        if self.before_epoch is not None:
            self.before_epoch()

    def skip(self, n_steps: int) -> None:
        """Go on after so many steps of the run, which another process has taken."""
        for _ in itertools.islice(self.fractions, n_steps - self.step):
            pass
        self.step = n_steps

    def on_batch_begin(self, net: NeuralNet, training: bool = False, **_: object) -> None:
        """Set the rate where skorch's own loop trains."""
        if training:
            self.set_rate(self.groups_of(net))

    def groups_of(self, net: NeuralNet) -> list[Options]:
        """Collect all parameter groups of a net, each with its own rate noted."""
        optimizers = optimizers_of(net).values()
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        for group in groups:
            group.setdefault("initial_lr", group["lr"])
        return groups

    def set_rate(self, groups: list[Options]) -> None:
        """Set the rate of the next step."""
        if self.interrupts.marked:
            self.interrupts.check()
        fraction = next(self.fractions, None)
        if fraction is None:
            raise ValueError(
                f"Got a batch after the {self.step} steps of the budget, but expected an iterator "
                "that hands out as many batches as its length tells."
            )
        self.step += 1
        for group in groups:
            group["lr"] = fraction * group["initial_lr"]


class SnapshotRecorder(OfTheRun):
    """Takes a snapshot after the last step of every cycle; `ends` has the steps done at each.

    A snapshot must predict finite numbers for `probe_rows`. If `cold`, each new cycle draws new
    parameters.
    """

    def __init__(
        self, ends: Sequence[int], probe_rows: Batch, *, cold: bool, progress: Progress | None
    ):
        self.ends, self.probe_rows, self.cold, self.progress = ends, probe_rows, cold, progress
        #: Those of the run; by itself a recorder hears none.
        self.interrupts = Interrupts()
        #: Is called after each cycle, and returns whether that was the last.
        self.on_taken: Callable[[], bool] | None = None
        #: Are called after each step, with its loss, and after each epoch; they may change `ends`.
        self.on_step: Callable[[torch.Tensor], None] | None = None
        self.on_epoch: Callable[[], None] | None = None
        #: Steps done, steps at the last snapshot, and how often new parameters were drawn.
        self.step = self.last_taken = self.n_redraws = 0
        #: Loss of the first step, before anything was learned.
        self.first_loss: torch.Tensor | None = None
        #: Sum of the losses of the cycle's steps; None before the first of them.
        self.total: torch.Tensor | None = None
        #: The snapshot of each cycle, empty once it is handed over; None where it left the finite
        #: numbers.
        self.states: list[State | None] = []

    def on_batch_end(self, net: NeuralNet, training: bool = False, **step: Any) -> None:
        """Count a step of skorch's own loop."""
        if training:
            self.after_step(net, step["loss"].detach())

    def after_step(self, net: NeuralNet, loss: torch.Tensor) -> None:
        """Count a step, and take the snapshot if a cycle ends with it."""
        self.interrupts.check()
        if self.step == 0:
            self.first_loss = loss
        self.step += 1
        if self.on_step is not None:
            self.on_step(loss)
        if self.progress is not None:  # read at the end of the cycle: a GPU would wait for each
            self.total = loss.double() + (0 if self.total is None else self.total)
        if self.step != self.ends[len(self.states)]:
            return
        length = self.step - self.last_taken
        self.take(net)
        if self.progress is not None and self.total is not None:
            mean, self.total = float(self.total) / length, None
            lr = next(iter(optimizers_of(net).values())).param_groups[0]["lr"]
            self.progress.cycle_finished(self.step, float(lr), mean)
        if self.on_taken is not None and self.on_taken():
            net.session_.stop()
        elif self.cold and self.step < self.ends[-1]:
            with self.interrupts.held():
                net.redraw()
            self.n_redraws += 1

    def on_epoch_end(self, net: NeuralNet, **_: object) -> None:
        """End the run where it was stopped within the epoch."""
        if self.on_epoch is not None:
            self.on_epoch()
        # skorch would go on with an empty epoch for each that was planned.
        if net.session_.is_stopped:
            raise Enough

    def take(self, net: NeuralNet) -> None:
        """Add the weights of this moment, unless they are no longer finite."""
        state = state_of(net.module_)
        # Finite weights may still overflow on their way to the output, and one such member would
        # spoil the mean of all. A few rows tell, for the price of a small batch a cycle.
        if is_finite(state.values()) and is_finite([net.probe(self.probe_rows)]):
            self.states.append(state)
        elif self.cold:
            self.states.append(None)
        else:  # a warm restart would go on from numbers that are lost
            raise Diverged
        self.last_taken = self.step

    def hand_over(self, cycle: int) -> State | None:
        """Return the snapshot of a cycle, and keep none: nobody looks at it twice."""
        state = self.states[cycle]
        if state is not None:
            self.states[cycle] = {}
        return state

    def finish(self, net: NeuralNet) -> None:
        """Take the last snapshot where a quiet stop came within a cycle."""
        if self.step > self.last_taken:
            self.take(net)
            if self.on_taken is not None:
                self.on_taken()
