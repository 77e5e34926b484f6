"""One call's training: how a run goes, and how it ends."""

import contextlib
import math
from collections.abc import Callable

from skensemble._nets.snapshots import load_state
from skensemble._types import State

from .hooks import Diverged, Enough
from .interrupts import Interrupts
from .lane import Lane
from .planning import RunPlan

#: A loss is far above that of the first step at this many times it, and nothing was gained where
#: it did not get lower than that by this part.
_FAR, _NO_GAIN = 10, 0.1


class Run:
    """One call's training: so many steps in so many cycles.

    There is one lane, or one for each of several chains that train one after another, cycle by
    cycle. `on_cycle` is given the states of all chains after each cycle, and returns whether to end
    the run.
    """

    def __init__(
        self,
        plan: RunPlan,
        lanes: list[Lane],
        interrupts: Interrupts,
        on_cycle: Callable[[list[State]], bool] | None,
    ):
        self.n_epochs = math.ceil(plan.n_steps / plan.steps_per_epoch)
        self.n_planned, self.lanes, self.interrupts = plan.n_cycles, lanes, interrupts
        self.on_cycle = on_cycle
        #: For each finished cycle the state of each chain.
        self.states: list[list[State]] = []
        #: Cycles left out because they left the finite numbers.
        self.n_diverged = 0
        self._n_ended = 0
        if len(lanes) == 1:
            lanes[0].recorder.on_taken = self._end_cycle

    @property
    def n_steps(self) -> int:
        """Steps done."""
        return max(lane.recorder.step for lane in self.lanes)

    def train(self, *, redraw: bool) -> list[list[State]]:
        """Train, and return the snapshots of the cycles that count.

        However it ended, each net then holds its last snapshot. If Ctrl-C or divergence came before
        the first cycle was finished, that is an error. With `redraw` the first cycle begins with a
        cold restart.
        """
        with contextlib.ExitStack() as stack:
            for lane in self.lanes:
                stack.enter_context(lane.attached())
            try:
                for lane in self.lanes:
                    lane.begin(redraw)
                self._train_cycles()
                self._load_last()
                for lane in self.lanes:
                    lane.end()
            except KeyboardInterrupt:
                if not self.states:
                    raise
            except Exception as error:
                # Ctrl-C reaches the processes of a DataLoader too, and waiting for them fails.
                if not self.interrupts.marked:
                    raise
                if not self.states:
                    raise KeyboardInterrupt from error
            # From here on Ctrl-C could only lose what is finished, or leave half of it loaded.
            self.interrupts.deferred = True
            # Once more: callbacks may load other weights at the end, and Ctrl-C skips all that.
            self._load_last()
        return self.states

    @property
    def is_whole(self) -> bool:
        """Whether the run came to the end of its budget."""
        return len(self.states) == self.n_planned and not self.interrupts.marked

    def explosion(self) -> str | None:
        """Return what to warn of where the loss rose in training and did not come down again."""
        for lane in self.lanes:
            first, losses = lane.losses()
            if first is None or not losses:
                continue
            far = first + (_FAR - 1) * abs(first)
            if max(losses) > far and losses[-1] > first - _NO_GAIN * abs(first):
                return _EXPLODED.format(
                    lr=lane.highest_lr(), first=first, highest=max(losses), last=losses[-1]
                )
        return None

    def messages(self) -> list[str]:
        """Return what to warn the user of, once what was trained is safe."""
        said = []
        if self.interrupts.marked:
            self.interrupts.is_told = True
            said.append(
                f"Interrupted: the ensemble keeps the {len(self.states)} of {self.n_planned} "
                "cycles that were finished."
            )
        if self.n_diverged:
            said.append(
                f"Training diverged in {self.n_diverged} of {self.n_planned} cycles, which are "
                "left out; a lower lr would keep them."
            )
        return said

    def _train_cycles(self) -> None:
        """Go through the epochs until a callback, divergence or a score ends them."""
        try:
            if len(self.lanes) == 1:
                self.lanes[0].train(self.n_epochs)
            else:
                self._train_in_turn()
        except Enough:
            pass
        except Diverged:
            self.n_diverged = max(1, self.n_planned - len(self.states))
        if not self.states:
            raise ValueError(_DIVERGED if self.n_diverged else _STOPPED_AT_ONCE)

    def _train_in_turn(self) -> None:
        """Train chain after chain, cycle by cycle, up to the cycle in which one was stopped."""
        for cycle in range(self.n_planned):
            for lane in self.lanes:
                if not lane.has_diverged:
                    lane.train(self.n_epochs, until=cycle + 1)
            if any(len(lane.recorder.states) <= cycle for lane in self.lanes):
                if any(lane.has_diverged for lane in self.lanes):
                    raise Diverged
                return
            if self._end_cycle() or any(lane.is_stopped for lane in self.lanes):
                return

    def _end_cycle(self) -> bool:
        """Keep the chains' states if all are finite, and return whether to end the run."""
        parts = [lane.states(self._n_ended) for lane in self.lanes]
        self._n_ended += 1
        states = [state for part in parts if part is not None for state in part]
        if any(part is None for part in parts):
            self.n_diverged += 1
            return False
        # Ctrl-C may come in between: whoever judges then forgets the cycle that is not kept here.
        is_enough = self.on_cycle is not None and self.on_cycle(states)
        self.states.append(states)
        return is_enough

    def _load_last(self) -> None:
        """Load the last snapshot that counts into each net."""
        for k, lane in enumerate(self.lanes):
            if len(self.lanes) > 1:  # one chain may be ahead of the others
                state = self.states[-1][k]
            else:
                kept = [state for state in lane.recorder.states if state is not None]
                state = kept[len(self.states) - 1]
            load_state(lane.net.module_, state)


_EXPLODED = (
    "Got lr={lr:g}, but expected a rate at which the training loss falls: from {first:.3g} at the "
    "first step it rose to {highest:.3g}, and is {last:.3g} in the last epoch; set a lower lr."
)
_DIVERGED = (
    "Training diverged in the first cycle: the weights or outputs are no longer finite. Expected "
    "a lower lr, or columns and targets of moderate size."
)
_STOPPED_AT_ONCE = "A callback stopped the run before its first step, so there is no snapshot."
