"""The two callbacks of every run: one sets the rate, the other takes the snapshots."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback

from skensemble._compat import optimizers_of, remake_optimizer
from skensemble._nets.snapshots import is_finite, load_state, state_of
from skensemble._types import Batch, Options, State

from .interrupts import Interrupts


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
        #: The fraction of the latest step: an optimizer that is made anew knows its rate no more.
        self.latest = 0.0
        #: The highest fraction since the end of the latest cycle.
        self.highest = 0.0
        #: Is called before each epoch, and before callbacks of the user's hear of it.
        self.before_epoch: Callable[[], object] | None = None

    def follow(self, fractions: Iterator[float]) -> None:
        """Go by other fractions from the next step on."""
        self.fractions = fractions

    def on_epoch_begin(self, net: NeuralNet, **_: object) -> None:
        """Tell whoever keeps the state of the run."""
        if self.before_epoch is not None:
            self.before_epoch()

    def on_epoch_end(self, net: NeuralNet, **_: object) -> None:
        """Note the rate, before callbacks of the user's look at the epoch."""
        net.history.record("lr", self.latest * float(self.groups_of(net)[0]["initial_lr"]))

    def skip(self, n_steps: int, last_end: int = 0) -> None:
        """Go on after so many steps of the run, which another process has taken.

        The latest cycle that it finished ended at the step `last_end`.
        """
        skipped = [*itertools.islice(self.fractions, n_steps - self.step)]
        self.highest = max(skipped[max(0, last_end - self.step) :], default=0.0)
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
        self.latest = fraction
        if fraction > self.highest:
            self.highest = fraction
        for group in groups:
            group["lr"] = fraction * group["initial_lr"]


class Ended(NamedTuple):
    """What a net tells of a cycle that has ended."""

    #: Steps done.
    step: int
    #: Highest rate of the cycle, and that of its last step.
    lr: float
    last_lr: float
    #: Mean over its steps.
    loss: float


#: Part of a cycle in which its snapshots are taken, where there are several.
_TAIL = 0.2


class SnapshotRecorder(OfTheRun):
    """Takes a snapshot after the last step of every cycle; `ends` has the steps done at each.

    With `n_per_cycle` there are others before it, evenly spaced in the last fifth of the cycle
    (Zhang et al. 2020, section 3: the sampling stage). A snapshot must predict finite numbers for
    `probe_rows`. If `cold`, each new cycle draws new parameters. What its steps tell is summed up
    where it `is_heard`.
    """

    def __init__(
        self,
        ends: Sequence[int],
        probe_rows: Batch,
        *,
        cold: bool,
        is_heard: bool = False,
        n_per_cycle: int = 1,
        burn_in: int = 0,
    ):
        self.ends, self.probe_rows, self.cold, self.is_heard = ends, probe_rows, cold, is_heard
        self.n_per_cycle, self.burn_in = n_per_cycle, burn_in
        #: Snapshots of the cycle that is not over yet.
        self.early: list[State] = []
        #: What is told of cycles, by their number from 0 on.
        self.ended: dict[int, Ended] = {}
        #: Those of the run; by itself a recorder hears none.
        self.interrupts = Interrupts()
        #: Is called after each cycle, and returns whether that was the last.
        self.on_taken: Callable[[], bool] | None = None
        #: Are called after each step, with its loss, and after each epoch; they may change `ends`.
        self.on_step: Callable[[torch.Tensor], None] | None = None
        self.on_epoch: Callable[[], None] | None = None
        #: Whether every cycle begins where the first one ended, and the weights there once it has.
        self.is_star = False
        self.center: State | None = None
        #: Steps done, steps at the last snapshot, and how often new parameters were drawn.
        self.step = self.last_taken = self.n_redraws = 0
        #: Loss of the first step, before anything was learned.
        self.first_loss: torch.Tensor | None = None
        #: Sum of the losses of the cycle's steps; None before the first of them.
        self.total: torch.Tensor | None = None
        #: The snapshots of each cycle, none once they are handed over; None where it left the
        #: finite numbers.
        self.states: list[list[State] | None] = []

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
        if self.is_heard:  # read at the end of the cycle: a GPU would wait for each
            if self.total is None:
                is_short = loss.device.type == "mps"  # which knows no float64
                dtype = torch.float32 if is_short else torch.float64
                self.total = torch.zeros_like(loss, dtype=dtype)
            self.total += loss
        if self.step != self.ends[len(self.states)]:
            if len(self.early) + 1 < self.n_per_cycle:
                self._take_early(net)
            return
        self.take(net)
        if self.on_taken is not None and self.on_taken():
            net.session_.stop()
        elif self.step < self.ends[-1]:
            self._restart(net)

    def _take_early(self, net: NeuralNet) -> None:
        """Take a snapshot before the end of a cycle, where one is due."""
        end, begin = self.ends[len(self.states)], self.last_taken if self.states else self.burn_in
        n_left = self.n_per_cycle - 1 - len(self.early)
        before_end = max(n_left, round(_TAIL * (end - begin) * n_left / self.n_per_cycle))
        if begin < self.step and end - self.step <= before_end:
            state = state_of(net.module_)
            if self._is_sound(net, state):
                self.early.append(state)

    def _restart(self, net: Any) -> None:
        """Begin a cycle from other weights, unless it is to keep those of the one before."""
        if not self.cold and self.center is None:
            return
        with self.interrupts.held():
            if self.center is None:
                net.redraw()
            else:
                self.go_back(net)
        self.n_redraws += 1

    def go_back(self, net: Any) -> None:
        """Put a net where the first cycle ended, and begin its optimizer anew."""
        assert self.center is not None
        load_state(net.module_, self.center)
        net._quietly(remake_optimizer)

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
        early, self.early = self.early, []
        if self._is_sound(net, state):
            # A cycle that was cut short may have taken fewer: its last one stands for them.
            n_missing = self.n_per_cycle - len(early)
            self.states.append([*early, *[state] * n_missing])
            if self.is_star and self.center is None:
                self.center = state
        elif self.cold or self.center is not None:
            self.states.append(None)
        else:  # a warm restart would go on from numbers that are lost
            raise Diverged
        if self.is_heard and self.total is not None:
            self._note_end(net)
        self.last_taken = self.step

    def _is_sound(self, net: Any, state: State) -> bool:
        """Tell whether the weights of this moment and what they predict are finite.

        Finite weights may still overflow on their way to the output, and one such member would
        spoil the mean of all. A few rows tell, for the price of a small batch.
        """
        return is_finite(state.values()) and is_finite([net.probe(self.probe_rows)])

    def _note_end(self, net: NeuralNet) -> None:
        """Note what is told of the cycle."""
        rate, length = net.session_.rate, self.step - self.last_taken
        group = rate.groups_of(net)[0]
        mean, self.total = float(self.total or 0.0) / length, None
        highest, rate.highest = rate.highest * group["initial_lr"], 0.0
        self.ended[len(self.states) - 1] = Ended(self.step, highest, float(group["lr"]), mean)

    def hand_over(self, cycle: int) -> list[State] | None:
        """Return the snapshots of a cycle, and keep none: nobody looks at them twice."""
        states = self.states[cycle]
        if states is not None:
            self.states[cycle] = []
        return states

    def finish(self, net: NeuralNet) -> None:
        """Take the last snapshot where a quiet stop came within a cycle."""
        if self.step > self.last_taken:
            self.take(net)
            if self.on_taken is not None:
                self.on_taken()
