"""One call's training: how a run goes, and how it ends."""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

from .._data.batches import Budget
from .._nets.chains import Chains, batchable_attention, split
from .._nets.generators import Generators
from .._nets.losses import WeightedLoss
from .._nets.snapshots import State, load_state
from ..schedules import Plan
from .interrupts import Interrupts
from .net import CyclicRate, Diverged, Enough, SnapshotNet, SnapshotRecorder
from .progress import Progress


class Lane:
    """A net in training: one chain, or several that train as one.

    Parameters
    ----------
    net : SnapshotNet
    rows : TensorRows or DatasetRows
    generators : list of Generators
        Of each chain.
    plan : Plan
        The rate at every step, and where the cycles end.
    interrupts : Interrupts
    example : Tensor
        A few rows, on the device.
    cold : bool
        See :class:`SnapshotRecorder`.
    progress : Progress or None
        Prints what happens.
    valid : object or None
        Rows for callbacks that look at unseen ones after each epoch.
    """

    def __init__(
        self,
        net: SnapshotNet,
        rows: Any,
        generators: list[Generators],
        plan: Plan,
        interrupts: Interrupts,
        example: Any,
        *,
        cold: bool,
        progress: Progress | None,
        valid: Any,
    ):
        self.net, self.rows, self.generators, self.valid = net, rows, generators, valid
        self.interrupts, self.progress = interrupts, progress
        self.budget = Budget(len(plan.fractions))
        self.rate = CyclicRate(plan.fractions.tolist(), interrupts)
        self.recorder = SnapshotRecorder(plan.ends.tolist(), example, cold=cold, progress=progress)
        self.is_stopped = self.has_diverged = False

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Our callbacks around the user's: the rate is set first, the snapshot taken last."""
        net, users = self.net, self.net.callbacks_
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

    def begin(self, redraw: bool) -> None:
        """Tell the callbacks, perhaps after a cold restart."""
        with self.generators[0].within():
            if redraw:
                self.net.redraw()
            self.net.notify("on_train_begin", X=self.rows, y=None)

    def train(self, n_epochs: int, until: int | None = None) -> None:
        """Train for so many epochs, or one by one until so many cycles have ended."""
        net, recorder = self.net, self.recorder
        attention = (
            batchable_attention if isinstance(net.module_, Chains) else contextlib.nullcontext
        )
        with self.generators[0].within(), attention():
            try:
                if until is None:
                    net.fit_loop(self.rows, epochs=n_epochs)
                while until is not None and len(recorder.states) < until and self.budget.left:
                    net.fit_loop(self.rows, epochs=1)
                if isinstance(net.criterion_, WeightedLoss):
                    net.criterion_.take_weight(None)
            except KeyboardInterrupt:
                if self.interrupts.marked:  # from the keyboard: a cycle within is lost
                    raise
                self.is_stopped = True  # a callback's: its weights count
            except Diverged:
                if until is None:
                    raise
                self.has_diverged = True  # the others finish the cycles that it has
            if until is None or (self.is_stopped and len(recorder.states) < until):
                recorder.finish(net)

    def end(self) -> None:
        """Tell the callbacks; what one of them loads into the net does not stay there."""
        history = self.net.history_
        try:
            with self.generators[0].within():
                self.net.notify("on_train_end", X=self.rows, y=None)
        finally:
            self.net.history_ = history

    def states(self, cycle: int) -> list[State] | None:
        """What the chains were at the end of a cycle; None where that was not finite."""
        state = self.recorder.states[cycle]
        if state is None or not isinstance(self.net.module_, Chains):
            return None if state is None else [state]
        return split(state, self.net.module_.n_chains)


class Run:
    """One call's training: so many steps in so many cycles.

    Parameters
    ----------
    plan : Plan
    steps_per_epoch : int
    lanes : list of Lane
        One, or several chains that train one after another, cycle by cycle.
    interrupts : Interrupts
    on_cycle : callable, default=None
        Is given the states of all chains after each cycle, and says whether to end the run.

    Attributes
    ----------
    states : list of list of dict
        For each finished cycle the state of each chain.
    diverged : int
        Cycles left out because they left the finite numbers.
    """

    def __init__(
        self,
        plan: Plan,
        steps_per_epoch: int,
        lanes: list[Lane],
        interrupts: Interrupts,
        on_cycle: Callable[[list[State]], bool] | None = None,
    ):
        self.n_epochs = math.ceil(len(plan.fractions) / steps_per_epoch)
        self.planned, self.lanes, self.interrupts = len(plan.ends), lanes, interrupts
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
        """What the user is to be warned of, once what was trained is safe."""
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
        """All epochs, up to the end or to where a callback, divergence or a score ends them."""
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
        """Chain after chain, cycle by cycle, up to the cycle in which one was stopped."""
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
        """Keep the chains' states, unless one of them is not finite, and say if that is enough."""
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
        """The last snapshot that counts, into each net."""
        for k, lane in enumerate(self.lanes):
            if len(self.lanes) > 1:  # one may be ahead of the others
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
