"""One call's training: how a run goes, and how it ends."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch

from .interrupts import Interrupts
from .losses import WeightedLoss
from .progress import Progress
from .schedules import Plan
from .snapshots import State, uncompiled
from .training import CyclicRate, Diverged, SnapshotNet, SnapshotRecorder


class Run:
    """One call's training: so many steps in so many cycles.

    Parameters
    ----------
    plan : Plan
        The rate at every step, and where the cycles end.
    steps_per_epoch : int
    generator : torch.Generator
        Draws the permutations of the rows.
    interrupts : Interrupts
    example : Tensor
        A few rows, on the device.
    cold : bool, default=False
        See :class:`SnapshotRecorder`.
    progress : Progress, default=None
        Prints what happens.

    Attributes
    ----------
    messages : list of str
        What the user is to be warned of, once what was trained is safe.
    """

    def __init__(
        self,
        plan: Plan,
        steps_per_epoch: int,
        generator: torch.Generator,
        interrupts: Interrupts,
        example: Any,
        *,
        cold: bool = False,
        progress: Progress | None = None,
    ):
        self.n_steps, self.steps_per_epoch = len(plan.fractions), steps_per_epoch
        self.generator, self.interrupts, self.progress = generator, interrupts, progress
        self.rate = CyclicRate(plan.fractions.tolist(), interrupts)
        self.recorder = SnapshotRecorder(plan.ends.tolist(), example, cold=cold, progress=progress)
        self.messages: list[str] = []

    def train(self, net: SnapshotNet, dataset: Any) -> list[State]:
        """Train the net, and return the snapshots of the cycles that count.

        After a stop within a cycle, or a cycle that diverged, the net holds its last snapshot.

        Raises
        ------
        KeyboardInterrupt
            If Ctrl-C came before the first cycle was finished.
        ValueError
            If training diverged before the first cycle was finished.
        """
        with self._attached(net):
            net.notify("on_train_begin", X=dataset, y=None)
            try:
                net.fit_loop(dataset, epochs=math.ceil(self.n_steps / self.steps_per_epoch))
                self.recorder.finish(net)
                self.interrupts.deferred = True
            except KeyboardInterrupt:
                self.interrupts.deferred = True
                if not self.interrupts.marked:  # a callback's: its weights count
                    self._finish_quietly(net)
                elif not self.recorder.states:
                    raise
            except Diverged:
                self.interrupts.deferred = True
                self.recorder.diverged = len(self.recorder.ends) - len(self.recorder.states)
            states = self.recorder.states
            if not states:
                raise ValueError(_DIVERGED if self.recorder.diverged else _STOPPED_AT_ONCE)
            uncompiled(net.module_).load_state_dict(states[-1], strict=False)
            net.notify("on_train_end", X=dataset, y=None)
        self._note_losses()
        return states

    def _finish_quietly(self, net: SnapshotNet) -> None:
        try:
            self.recorder.finish(net)
        except Diverged:
            self.recorder.diverged += 1

    def _note_losses(self) -> None:
        done, planned = len(self.recorder.states), len(self.recorder.ends)
        if self.interrupts.marked:
            self.messages.append(
                f"Interrupted: the ensemble keeps the {done} of {planned} cycles that were "
                "finished."
            )
        if self.recorder.diverged:
            self.messages.append(
                f"Training diverged in {self.recorder.diverged} of {planned} cycles, which are "
                "left out; a lower lr would keep them."
            )

    @contextlib.contextmanager
    def _attached(self, net: SnapshotNet) -> Iterator[None]:
        """Our callbacks around the user's: the rate is set first, the snapshot taken last."""
        users = net.callbacks_
        progress = [] if self.progress is None else [("progress", self.progress)]
        ours = [*progress, ("snapshots", self.recorder)]
        net.callbacks_ = [("cyclic_rate", self.rate), *users, *ours]
        net.run_ = self
        try:
            yield
        finally:
            net.callbacks_ = users
            net.run_ = None
            if isinstance(net.criterion_, WeightedLoss):
                net.criterion_.weight = None
            if self.progress is not None:
                self.progress.close()


_DIVERGED = (
    "Training diverged in the first cycle: the weights or outputs are no longer finite. Expected "
    "a lower lr, or columns and targets of moderate size."
)


_STOPPED_AT_ONCE = "A callback stopped the run before its first step, so there is no snapshot."
