"""A net in training, from its first epoch to its last."""

import contextlib
from collections.abc import Iterator, Sequence

from skensemble._data.rows import DatasetRows, RowsOfChains, TensorRows
from skensemble._nets.chains import Chains, batchable_attention, split_chains
from skensemble._nets.generators import Generators
from skensemble._nets.losses import WeightedLoss
from skensemble._nets.snapshots import State

from .hooks import Diverged
from .interrupts import Interrupts
from .making import Ready
from .net import SnapshotNet
from .planning import RunPlan
from .progress import Progress
from .session import Session


class Lane:
    """A net in training: one chain, or several that train as one.

    Parameters
    ----------
    net : SnapshotNet
    rows : TensorRows or DatasetRows
    session : Session
    interrupts : Interrupts
    progress : Progress or None
        Prints what happens.
    """

    def __init__(
        self,
        net: SnapshotNet,
        rows: TensorRows | DatasetRows,
        session: Session,
        interrupts: Interrupts,
        progress: Progress | None,
    ):
        self.net, self.rows, self.session, self.progress = net, rows, session, progress
        self.interrupts, self.recorder = interrupts, session.recorder
        self.is_stopped = self.has_diverged = False

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Put our callbacks around the user's: the rate is set first, the snapshot taken last."""
        net, users = self.net, self.net.callbacks_
        progress = [] if self.progress is None else [("progress", self.progress)]
        ours = [*progress, ("snapshots", self.recorder)]
        net.callbacks_ = [("cyclic_rate", self.session.rate), *users, *ours]
        net.session_ = self.session
        try:
            yield
        finally:
            net.callbacks_ = users
            net.session_ = None
            if isinstance(net.criterion_, WeightedLoss):
                net.criterion_.let_go()
            if self.progress is not None:
                self.progress.close()

    def begin(self, redraw: bool) -> None:
        """Tell the callbacks that training begins, after a cold restart where that is due."""
        with self.session.generators[0].within():
            if redraw:
                self.net.redraw()
            self.net.notify("on_train_begin", X=self.rows, y=None)

    def train(self, n_epochs: int, until: int | None = None) -> None:
        """Train for `n_epochs`, or epoch by epoch until so many cycles have ended."""
        net, recorder = self.net, self.recorder
        attention = (
            batchable_attention if isinstance(net.module_, Chains) else contextlib.nullcontext
        )
        with self.session.generators[0].within(), attention():
            try:
                if until is None:
                    net.fit_loop(self.rows, epochs=n_epochs)
                while (
                    until is not None and len(recorder.states) < until and self.session.budget.left
                ):
                    net.fit_loop(self.rows, epochs=1)
                if isinstance(net.criterion_, WeightedLoss):
                    net.criterion_.take_weight(None)
            except KeyboardInterrupt:
                if self.interrupts.marked:  # Ctrl-C: the unfinished cycle is lost
                    raise
                self.is_stopped = True  # raised by a callback: the weights of now count
            except Diverged:
                if until is None:
                    raise
                self.has_diverged = True  # the other chains finish the cycles that this one has
            if until is None or (self.is_stopped and len(recorder.states) < until):
                recorder.finish(net)

    def _has_steps_before(self, cycle: int) -> bool:
        return len(self.recorder.states) < cycle and self.session.budget.left > 0

    def end(self) -> None:
        """Tell the callbacks that training ended; what one of them loads does not stay."""
        history = self.net.history_
        try:
            with self.session.generators[0].within():
                self.net.notify("on_train_end", X=self.rows, y=None)
        finally:
            self.net.history_ = history

    def states(self, cycle: int) -> list[State] | None:
        """Return the chains at the end of a cycle; None where they were not finite."""
        state = self.recorder.states[cycle]
        if state is None or not isinstance(self.net.module_, Chains):
            return None if state is None else [state]
        return split_chains(state, self.net.module_.n_chains)


def make_lanes(
    ready: Ready,
    valid: Sequence[TensorRows | None],
    plan: RunPlan,
    generators: list[Generators],
    interrupts: Interrupts,
    *,
    cold: bool,
    progress: Progress | None,
) -> list[Lane]:
    """Make one lane for all chains that train as one, else one for each.

    `valid` has for each chain the rows for callbacks that monitor unseen ones.
    """
    together = len(ready.nets) == 1
    lanes = []
    for k, (net, part) in enumerate(zip(ready.nets, ready.parts(), strict=True)):
        monitored: TensorRows | RowsOfChains | None = valid[k]
        if monitored is not None and together and len(generators) > 1:
            monitored = RowsOfChains(part for part in valid if part is not None)
        shown = progress if k == 0 else None
        own = generators if together else [generators[k]]
        rows = ready.probe_rows
        session = Session.begin(
            plan.plan, interrupts, own, rows, monitored, cold=cold, progress=shown
        )
        lanes.append(Lane(net, part, session, interrupts, shown))
    return lanes
