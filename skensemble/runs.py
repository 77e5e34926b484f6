"""One call's training: how a run goes, and how it ends."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch

from .batches import Budget
from .interrupts import Interrupts
from .losses import WeightedLoss
from .progress import Progress
from .schedules import Plan
from .snapshots import State, load_state
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
        self.budget = Budget(self.n_steps)
        self.generator, self.interrupts, self.progress = generator, interrupts, progress
        self.rate = CyclicRate(plan.fractions.tolist(), interrupts)
        self.recorder = SnapshotRecorder(plan.ends.tolist(), example, cold=cold, progress=progress)

    def train(self, net: SnapshotNet, dataset: Any, *, redraw: bool = False) -> list[State]:
        """Train the net, and return the snapshots of the cycles that count.

        However it ended, the net then holds its last snapshot.

        Parameters
        ----------
        net : SnapshotNet
        dataset : TensorRows or DatasetRows
        redraw : bool, default=False
            Whether the first cycle begins with a cold restart.

        Raises
        ------
        KeyboardInterrupt
            If Ctrl-C came before the first cycle was finished.
        ValueError
            If training diverged before the first cycle was finished.
        """
        with self._attached(net):
            try:
                if redraw:
                    net.redraw()
                net.notify("on_train_begin", X=dataset, y=None)
                self._loop(net, dataset)
                self._end(net, dataset)
            except KeyboardInterrupt:
                if not self.recorder.states:
                    raise
            self.interrupts.deferred = True
            load_state(net.module_, self.recorder.states[-1])
        return self.recorder.states

    def messages(self) -> list[str]:
        """What the user is to be warned of, once what was trained is safe."""
        done, planned = len(self.recorder.states), len(self.recorder.ends)
        said = []
        if self.interrupts.marked:
            said.append(
                f"Interrupted: the ensemble keeps the {done} of {planned} cycles that were "
                "finished."
            )
        if self.recorder.diverged:
            said.append(
                f"Training diverged in {self.recorder.diverged} of {planned} cycles, which are "
                "left out; a lower lr would keep them."
            )
        return said

    def _loop(self, net: SnapshotNet, dataset: Any) -> None:
        """All epochs, up to the end or to where a callback or divergence ends them."""
        recorder = self.recorder
        try:
            try:
                net.fit_loop(dataset, epochs=math.ceil(self.n_steps / self.steps_per_epoch))
                if isinstance(net.criterion_, WeightedLoss):
                    net.criterion_.take_weight(None)
            except KeyboardInterrupt:
                if self.interrupts.marked:  # from the keyboard: a cycle within is lost
                    raise
            recorder.finish(net)  # a callback's: its weights count
        except Diverged:
            recorder.diverged = max(1, len(recorder.ends) - len(recorder.states))
        if not recorder.states:
            raise ValueError(_DIVERGED if recorder.diverged else _STOPPED_AT_ONCE)

    def _end(self, net: SnapshotNet, dataset: Any) -> None:
        """Tell the callbacks; what one of them loads into the net does not stay there."""
        load_state(net.module_, self.recorder.states[-1])
        history = net.history_
        try:
            net.notify("on_train_end", X=dataset, y=None)
        finally:
            net.history_ = history

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
                net.criterion_.let_go()
            if self.progress is not None:
                self.progress.close()


_DIVERGED = (
    "Training diverged in the first cycle: the weights or outputs are no longer finite. Expected "
    "a lower lr, or columns and targets of moderate size."
)


_STOPPED_AT_ONCE = "A callback stopped the run before its first step, so there is no snapshot."
