"""One call's training: how a run goes, and how it ends."""

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence

from skensemble._data.batches import Budget
from skensemble._data.rows import DatasetRows, RowsOfChains, TensorRows
from skensemble._nets.chains import Chains, batchable_attention, split_chains
from skensemble._nets.generators import Generators
from skensemble._nets.losses import WeightedLoss
from skensemble._nets.modules import Batch
from skensemble._nets.snapshots import State, load_state

from .hooks import CyclicRate, Diverged, Enough, SnapshotRecorder
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
    generators : list of Generators
        Of each chain.
    plan : RunPlan
    interrupts : Interrupts
    probe_rows : Tensor or dict of Tensor
        A few rows, on the device.
    cold : bool
        See :class:`SnapshotRecorder`.
    progress : Progress or None
        Prints what happens.
    valid : TensorRows, RowsOfChains or None
        Rows for callbacks that monitor unseen ones.
    """

    def __init__(
        self,
        net: SnapshotNet,
        rows: TensorRows | DatasetRows,
        generators: list[Generators],
        plan: RunPlan,
        interrupts: Interrupts,
        probe_rows: Batch,
        *,
        cold: bool,
        progress: Progress | None,
        valid: TensorRows | RowsOfChains | None,
    ):
        self.net, self.rows, self.generators = net, rows, generators
        self.interrupts, self.progress = interrupts, progress
        fractions, ends = plan.plan.fractions.tolist(), plan.plan.ends.tolist()
        self.recorder = SnapshotRecorder(ends, probe_rows, cold=cold, progress=progress)
        self.session = Session(
            CyclicRate(fractions, interrupts),
            self.recorder,
            Budget(len(fractions)),
            generators,
            probe_rows,
            valid,
        )
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
        with self.generators[0].within():
            if redraw:
                self.net.redraw()
            self.net.notify("on_train_begin", X=self.rows, y=None)

    def train(self, n_epochs: int, until: int | None = None) -> None:
        """Train for `n_epochs`, or epoch by epoch until so many cycles have ended."""
        net, recorder = self.net, self.recorder
        attention = (
            batchable_attention if isinstance(net.module_, Chains) else contextlib.nullcontext
        )
        with self.generators[0].within(), attention():
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
            with self.generators[0].within():
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
        lanes.append(
            Lane(
                net,
                part,
                generators if together else [generators[k]],
                plan,
                interrupts,
                ready.probe_rows,
                cold=cold,
                progress=progress if k == 0 else None,
                valid=monitored,
            )
        )
    return lanes


class Run:
    """One call's training: so many steps in so many cycles.

    Parameters
    ----------
    plan : RunPlan
    lanes : list of Lane
        One, or several chains that train one after another, cycle by cycle.
    interrupts : Interrupts
    on_cycle : callable, default=None
        Is given the states of all chains after each cycle; returns whether to end the run.

    Attributes
    ----------
    states : list of list of dict
        For each finished cycle the state of each chain.
    diverged : int
        Cycles left out because they left the finite numbers.
    """

    def __init__(
        self,
        plan: RunPlan,
        lanes: list[Lane],
        interrupts: Interrupts,
        on_cycle: Callable[[list[State]], bool] | None = None,
    ):
        self.n_epochs = math.ceil(plan.n_steps / plan.steps_per_epoch)
        self.planned, self.lanes, self.interrupts = plan.n_cycles, lanes, interrupts
        self.on_cycle = on_cycle
        self.states: list[list[State]] = []
        self.diverged = 0
        self._seen = 0
        if len(lanes) == 1:
            lanes[0].recorder.on_taken = self._cycle_done

    @property
    def n_steps(self) -> int:
        """Steps done."""
        return max(lane.recorder.step for lane in self.lanes)

    def train(self, *, redraw: bool = False) -> list[list[State]]:
        """Train, and return the snapshots of the cycles that count.

        However it ended, each net then holds its last snapshot.

        Parameters
        ----------
        redraw : bool, default=False
            Whether the first cycle begins with a cold restart.

        Raises
        ------
        KeyboardInterrupt
            If Ctrl-C came before the first cycle was finished.
        ValueError
            If training diverged before the first cycle was finished.
        """
        with contextlib.ExitStack() as stack:
            for lane in self.lanes:
                stack.enter_context(lane.attached())
            try:
                for lane in self.lanes:
                    lane.begin(redraw)
                self._loop()
                self._load()
                for lane in self.lanes:
                    lane.end()
            except KeyboardInterrupt:
                if not self.states:
                    raise
            self.interrupts.deferred = True
            self._load()
        return self.states

    def messages(self) -> list[str]:
        """Return what to warn the user of, once what was trained is safe."""
        said = []
        if self.interrupts.marked:
            said.append(
                f"Interrupted: the ensemble keeps the {len(self.states)} of {self.planned} cycles "
                "that were finished."
            )
        if self.diverged:
            said.append(
                f"Training diverged in {self.diverged} of {self.planned} cycles, which are "
                "left out; a lower lr would keep them."
            )
        return said

    def _loop(self) -> None:
        """Go through the epochs until a callback, divergence or a score ends them."""
        try:
            if len(self.lanes) == 1:
                self.lanes[0].train(self.n_epochs)
            else:
                self._in_turn()
        except Enough:
            pass
        except Diverged:
            self.diverged = max(1, self.planned - len(self.states))
        if not self.states:
            raise ValueError(_DIVERGED if self.diverged else _STOPPED_AT_ONCE)

    def _in_turn(self) -> None:
        """Train chain after chain, cycle by cycle, up to the cycle in which one was stopped."""
        for cycle in range(self.planned):
            for lane in self.lanes:
                if not lane.has_diverged:
                    lane.train(self.n_epochs, until=cycle + 1)
            if any(len(lane.recorder.states) <= cycle for lane in self.lanes):
                if any(lane.has_diverged for lane in self.lanes):
                    raise Diverged
                return
            if self._cycle_done() or any(lane.is_stopped for lane in self.lanes):
                return

    def _cycle_done(self) -> bool:
        """Keep the chains' states if all are finite, and return whether to end the run."""
        parts = [lane.states(self._seen) for lane in self.lanes]
        self._seen += 1
        states = [state for part in parts if part is not None for state in part]
        if any(part is None for part in parts):
            self.diverged += 1
            return False
        is_enough = self.on_cycle is not None and self.on_cycle(states)
        self.states.append(states)
        return is_enough

    def _load(self) -> None:
        """Load the last snapshot that counts into each net."""
        for k, lane in enumerate(self.lanes):
            if len(self.lanes) > 1:  # one chain may be ahead of the others
                state = self.states[-1][k]
            else:
                kept = [state for state in lane.recorder.states if state is not None]
                state = kept[len(self.states) - 1]
            load_state(lane.net.module_, state)


_DIVERGED = (
    "Training diverged in the first cycle: the weights or outputs are no longer finite. Expected "
    "a lower lr, or columns and targets of moderate size."
)


_STOPPED_AT_ONCE = "A callback stopped the run before its first step, so there is no snapshot."
