"""A net in training, from its first epoch to its last."""

import contextlib
from collections.abc import Iterator, Sequence

from skensemble._data.rows import RowsOfChains, TensorRows
from skensemble._nets.chains import Chains, join_chains, split_chains
from skensemble._nets.generators import Generators
from skensemble._nets.losses import WeightedLoss
from skensemble._types import State, View, Views

from .hooks import Diverged
from .interrupts import Interrupts
from .making import Ready
from .net import Rows, SnapshotNet
from .planning import RunPlan
from .progress import Progress
from .session import Session

#: Rows of a batch from which on its loss is near that of all rows.
_TELLING = 16


class Lane:
    """A net in training: one chain, or several that train as one.

    It works within the generators of its first chain alone: torch draws from one global generator,
    and a chain must draw the same numbers whichever chains train before and after it. Chains that
    train as one draw their dropout masks together.
    """

    def __init__(self, net: SnapshotNet, rows: Rows, session: Session):
        self.net, self.rows, self.session, self.recorder = net, rows, session, session.recorder
        self.is_stopped = self.has_diverged = False
        self.n_epochs_before, self.n_epochs_done = len(net.history_), 0

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Put our callbacks around the user's: the rate is set first, the snapshot taken last."""
        net, users, progress = self.net, self.net.callbacks_, self.session.progress
        shown = [] if progress is None else [("progress", progress)]
        ours = [*shown, ("snapshots", self.recorder)]
        net.callbacks_ = [("cyclic_rate", self.session.rate), *users, *ours]
        net.session_ = self.session
        try:
            yield
        finally:
            net.callbacks_ = users
            net.session_ = None
            if isinstance(net.criterion_, WeightedLoss):
                net.criterion_.let_go()
            if progress is not None:
                progress.close()

    @property
    def n_chains(self) -> int:
        """Number of chains that train here."""
        return len(self.session.generators)

    def begin(self, redraw: bool) -> None:
        """Tell the callbacks that training begins, after a restart where that is due."""
        with self.session.generators[0].within():
            if redraw:
                self.net.redraw()
            elif self.recorder.center is not None:
                self.recorder.go_back(self.net)
            self.net.notify("on_train_begin", X=self.rows, y=None)

    def train(self, n_epochs: int, until: int | None = None) -> None:
        """Train for `n_epochs`, or epoch by epoch until so many cycles have ended."""
        net, recorder, budget = self.net, self.recorder, self.session.budget
        module = net.module_
        attention = module.attention() if isinstance(module, Chains) else contextlib.nullcontext()
        with self.session.generators[0].within(), attention:
            try:
                if until is None:
                    net.fit_loop(self.rows, epochs=n_epochs - self.n_epochs_done)
                else:
                    while len(recorder.states) < until and budget.left:
                        net.fit_loop(self.rows, epochs=1)
                if isinstance(net.criterion_, WeightedLoss):
                    net.criterion_.take_weight(None)
            except KeyboardInterrupt:
                if self.session.interrupts.marked:  # Ctrl-C: the unfinished cycle is lost
                    raise
                self.is_stopped = True  # raised by a callback: the weights of now count
            except Diverged:
                if until is None:
                    raise
                self.has_diverged = True  # the other chains finish the cycles that this one has
            if until is None or (self.is_stopped and len(recorder.states) < until):
                recorder.finish(net)

    def end(self) -> None:
        """Tell the callbacks that training ended; what one of them loads does not stay."""
        history = self.net.history_
        try:
            with self.session.generators[0].within():
                self.net.notify("on_train_end", X=self.rows, y=None)
        finally:
            self.net.history_ = history

    def losses(self) -> tuple[float | None, list[float]]:
        """Return the loss of the run's first step, and the mean of each epoch that has one.

        The first is None where it says nothing: of few rows, or of rows that hardly count.
        """
        first = self.recorder.first_loss
        if min(self.net.batch_size, len(self.rows)) < _TELLING or isinstance(
            self.net.criterion_, WeightedLoss
        ):
            first = None
        rows = self.net.history_[self.n_epochs_before :]
        losses = [row["train_loss"] for row in rows if "train_loss" in row]
        return None if first is None else float(first), losses

    def highest_lr(self) -> float:
        """Return the highest rate of all parameter groups."""
        groups = self.session.rate.groups_of(self.net)
        return max(float(group["initial_lr"]) for group in groups)

    def hand_over(self, cycle: int) -> list[list[State]] | None:
        """Return the chains at each snapshot of a cycle, once; None: they were not finite."""
        states, module = self.recorder.hand_over(cycle), self.net.module_
        if states is not None and isinstance(module, Chains):
            return [split_chains(state, module.n_chains) for state in states]
        return None if states is None else [[state] for state in states]

    def joined(self, states: list[State]) -> State:
        """Return the states of this lane's chains as one, as the net's module has it."""
        return join_chains(states) if isinstance(self.net.module_, Chains) else states[0]


def make_lanes(
    ready: Ready,
    valid: Sequence[TensorRows | None],
    plan: RunPlan,
    generators: list[Generators],
    interrupts: Interrupts,
    *,
    cold: bool,
    progress: Progress | None,
    is_heard: bool = False,
    n_per_cycle: int = 1,
    transform: View | None = None,
    views: Views | None = None,
) -> list[Lane]:
    """Make a lane for each net, of one chain or of several that train as one.

    `valid` has for each chain the rows for callbacks that monitor unseen ones, and each takes
    `n_per_cycle` snapshots in a cycle. `transform` changes the features of training batches,
    and rows that are monitored are seen in the first of `views`.
    """
    lanes: list[Lane] = []
    for net, rows, group in zip(ready.nets, ready.parts(), ready.groups(), strict=True):
        own = generators[group]
        monitored: TensorRows | RowsOfChains | None = valid[group.start]
        if monitored is not None and len(own) > 1:
            monitored = RowsOfChains(part for part in valid[group] if part is not None)
        session = Session(
            plan.plan,
            interrupts,
            own,
            ready.probe_rows,
            monitored,
            cold=cold,
            progress=None if lanes else progress,  # one bar for all chains
            is_heard=is_heard,
            n_per_cycle=n_per_cycle,
            transform=transform,
            views=views,
        )
        lanes.append(Lane(net, rows, session))
    return lanes
