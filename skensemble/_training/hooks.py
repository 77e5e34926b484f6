"""The two callbacks of every run: one sets the rate, the other takes the snapshots."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from skorch.callbacks import Callback

from skensemble._compat import optimizer_names
from skensemble._nets.modules import Batch
from skensemble._nets.snapshots import State, is_finite, state_of

from .interrupts import Interrupts
from .progress import Progress


class Diverged(Exception):
    """Training left the finite numbers."""


class Enough(Exception):
    """The session was stopped: further cycles would not help."""


class CyclicRate(Callback):
    """Sets the learning rate before every step.

    Parameters
    ----------
    fractions : list of float
        For each step of the run, the part of each parameter group's own rate to train at.
    interrupts : Interrupts
        Where Ctrl-C was pressed in code that swallowed it, the next step raises it again.
    """

    def __init__(self, fractions: list[float], interrupts: Interrupts):
        self.fractions, self.interrupts = fractions, interrupts
        self.step = 0

    def on_batch_begin(self, net: Any, batch: Any = None, training: Any = None, **_: Any) -> None:
        """Set the rate where skorch's own loop trains."""
        if training:
            self.set_rate(self.groups_of(net))

    def groups_of(self, net: Any) -> list[dict[str, Any]]:
        """Collect all parameter groups of a net, each with its own rate noted."""
        optimizers = [getattr(net, name + "_") for name in optimizer_names(net)]
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        for group in groups:
            group.setdefault("initial_lr", group["lr"])
        return groups

    def set_rate(self, groups: list[dict[str, Any]]) -> None:
        """Set the rate of the next step."""
        if self.interrupts.marked:
            raise KeyboardInterrupt
        if self.step == len(self.fractions):
            raise ValueError(
                f"Got a batch after the {self.step} steps of the budget, but expected an iterator "
                "that hands out as many batches as its length tells."
            )
        fraction = self.fractions[self.step]
        self.step += 1
        for group in groups:
            group["lr"] = fraction * group["initial_lr"]


class SnapshotRecorder(Callback):
    """Takes a snapshot after the last step of every cycle.

    Parameters
    ----------
    ends : sequence of int
        Steps done at the end of each cycle.
    probe_rows : Tensor or dict of Tensor
        A few rows for which a snapshot must predict finite numbers.
    cold : bool, default=False
        Whether each new cycle draws new parameters.
    progress : Progress, default=None
        Prints a line for each cycle.
    on_taken : callable, default=None
        Is called after each cycle, and returns whether that was the last.

    Attributes
    ----------
    step : int
        Steps done.
    states : list of dict or None
        The snapshot of each cycle; None where it left the finite numbers.
    n_redraws : int
        How often new parameters were drawn.
    """

    def __init__(
        self,
        ends: Sequence[int],
        probe_rows: Batch,
        *,
        cold: bool = False,
        progress: Progress | None = None,
        on_taken: Callable[[], bool] | None = None,
    ):
        self.ends, self.probe_rows, self.cold = list(ends), probe_rows, cold
        self.progress, self.on_taken = progress, on_taken
        self.step = 0
        self.losses: list[torch.Tensor] = []
        self.last_taken = 0
        self.n_redraws = 0
        self.states: list[State | None] = []

    def on_batch_end(self, net: Any, batch: Any = None, training: Any = None, **kw: Any) -> None:
        """Count a step of skorch's own loop."""
        if training:
            self.after_step(net, kw["loss"].detach())

    def after_step(self, net: Any, loss: torch.Tensor) -> None:
        """Count a step, and take the snapshot if a cycle ends with it."""
        self.step += 1
        if self.progress is not None:
            self.losses.append(loss)
        if self.step != self.ends[len(self.states)]:
            return
        self.take(net)
        if self.progress is not None:
            mean = float(torch.stack(self.losses).double().mean())
            self.progress.cycle_finished(self.step, _current_rate(net), mean)
            self.losses.clear()
        if self.on_taken is not None and self.on_taken():
            net.session_.stop()
        elif self.cold and self.step < self.ends[-1]:
            net.redraw()
            self.n_redraws += 1

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        """End the run where it was stopped within the epoch."""
        # skorch would go on with an empty epoch for each that was planned.
        if net.session_.is_stopped:
            raise Enough

    def take(self, net: Any) -> None:
        """Add the weights of this moment, unless they are no longer finite."""
        state = state_of(net.module_)
        if is_finite(state.values()) and is_finite([net.probe(self.probe_rows)]):
            self.states.append(state)
        elif self.cold:
            self.states.append(None)
        else:  # a warm restart would go on from numbers that are lost
            raise Diverged
        self.last_taken = self.step

    def finish(self, net: Any) -> None:
        """Take the last snapshot where a quiet stop came within a cycle."""
        if self.step > self.last_taken:
            self.take(net)
            if self.on_taken is not None:
                self.on_taken()


def _current_rate(net: Any) -> float:
    """Return the learning rate of the first parameter group."""
    optimizer = getattr(net, optimizer_names(net)[0] + "_")
    return float(optimizer.param_groups[0]["lr"])
