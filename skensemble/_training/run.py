"""One call's training: how a run goes, and how it ends."""

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence

from skensemble._nets.snapshots import Room, load_state
from skensemble._nets.workers import in_threads
from skensemble._types import Options, State

from .elsewhere import Elsewhere
from .hooks import Diverged, Enough
from .interrupts import Interrupts
from .lane import Lane
from .limit import TimeLimit
from .planning import FEWEST_STEPS, RunPlan
from .state import capture, restore
from .telling import Telling

#: A loss is far above that of the first step at this many times it, and nothing was gained where
#: it did not get lower than that by this part.
_FAR, _NO_GAIN = 10, 0.1

#: What is raised where a run cannot be kept.
NOT_KEPT = (OSError, ValueError, TypeError, RecursionError)


class Run:
    """One call's training: so many steps in so many cycles.

    There is one lane, or several that train cycle by cycle, one after another or beside each other
    in `n_threads` threads, or `elsewhere`. `on_cycle` is given the states of all chains after each
    cycle, and returns whether to end the run. A `limit` plans the cycles to come anew.
    """

    def __init__(
        self,
        plan: RunPlan,
        lanes: list[Lane],
        interrupts: Interrupts,
        on_cycle: Callable[[list[State]], bool] | None,
        limit: TimeLimit | None = None,
        *,
        n_threads: int = 1,
        elsewhere: Elsewhere | None = None,
    ):
        self.n_epochs = math.ceil(plan.n_steps / plan.steps_per_epoch)
        self.n_planned, self.lanes, self.interrupts = plan.n_cycles, lanes, interrupts
        self.on_cycle, self.n_threads, self.elsewhere = on_cycle, n_threads, elsewhere
        #: Is given after each cycle where the run stood before its last epoch.
        self.keep: Callable[[Options], object] | None = None
        #: Refuses what `keep` could not keep, before the first step.
        self.check: Callable[[Options], object] | None = None
        self._noted = Options()
        #: Where another run stood, and the cycles that it had finished.
        self._stood: tuple[Options, Sequence[list[State]]] | None = None
        self.steps_per_epoch, self.limit = plan.steps_per_epoch, limit
        self._burn_in = plan.burn_in
        #: Where the snapshots of finished cycles lie.
        self.room = Room(
            plan.n_cycles * sum(lane.n_chains * lane.recorder.n_per_cycle for lane in lanes)
        )
        #: For each finished cycle the states of all chains at each of its snapshots, as they lie
        #: there.
        self.states: list[list[State]] = []
        #: Cycles left out because they left the finite numbers.
        self.n_diverged = 0
        self._n_ended, self._is_over = 0, False
        #: Tells of each cycle.
        self.telling = Telling(plan)
        self.telling.is_slow_to_begin = elsewhere is not None
        #: Whether those who judge the cycles have ended the run.
        self.is_judged_enough = False
        #: Why the run could not be kept, which ended it.
        self.failure: Exception | None = None
        if len(lanes) == 1:
            lanes[0].recorder.on_taken = self._end_cycle

    @property
    def n_steps(self) -> int:
        """Steps done."""
        return max(lane.recorder.step for lane in self.lanes)

    def keep_by(
        self, keep: Callable[[Options], object], check: Callable[[Options], object] | None = None
    ) -> None:
        """Hand where the run stands to `keep` after each cycle, for another process to go on.

        `check` is given where it stands before the first step, and refuses what cannot be kept.
        """
        self.keep, self.check = keep, check
        if len(self.lanes) == 1:
            self.lanes[0].session.rate.before_epoch = self._note

    def go_on(self, stood: Options, cycles: Sequence[list[State]]) -> None:
        """Let the run begin where another one `stood`, which had finished these cycles."""
        self._stood = stood, cycles

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
                if self.keep is not None:
                    stood = self._capture()  # what cannot be kept is refused before the first step
                    if self.check is not None:
                        self.check(stood)
                if self._stood is not None:
                    self._restore(*self._stood)
                if self.limit is not None:
                    self.limit.begin()
                if not self._is_over:
                    self.telling.begin(self.n_steps)
                    self.telling.cycle_begins()
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
        is_cut = self.interrupts.marked or self.is_shorter
        return len(self.states) == self.n_planned and not is_cut

    @property
    def is_shorter(self) -> bool:
        """Whether a limit has shortened the run."""
        return self.limit is not None and self.limit.is_binding

    @property
    def burn_in(self) -> int:
        """Steps before the first cycle, of a limited run fewer than were planned."""
        return self._burn_in if self.limit is None else self.limit.plans[0].burn_in

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

    def haste(self) -> str | None:
        """Return what to warn of where a limit left too little time for one cycle."""
        if self.limit is None or not self.is_shorter:
            return None
        seconds, n_planned = float(self.limit.stopwatch.seconds), self.limit.full.n_steps
        fewest = min(FEWEST_STEPS, n_planned)
        if self.n_steps >= fewest:
            return None
        return (
            f"Got time_limit={seconds:g}, but expected time for at least {fewest} steps: there was "
            f"time for {self.n_steps} of {n_planned}; set more seconds."
        )

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

    def _note(self) -> None:
        """Note where the run stands, before an epoch in which a cycle ends, or may be made to."""
        recorder = self.lanes[0].recorder
        ends = recorder.ends[len(recorder.states) :]
        if len(ends) and (self.limit or recorder.step + self.steps_per_epoch >= ends[0]):
            with self._noticing_failure():
                self._noted = self._capture(has_begun=True)

    def _capture(self, *, has_begun: bool = False, is_over: bool = False) -> Options:
        """Copy where all lanes stand; a chain may be some cycles ahead of the others."""
        taken = [lane.recorder.states for lane in self.lanes]
        return {
            "lanes": [capture(lane, has_begun=has_begun) for lane in self.lanes],
            "is_finite": [[state is not None for state in states] for states in taken],
            "ahead": [states[self._n_ended :] for states in taken],
            "n_cycles": len(self.states),
            "n_ended": self._n_ended,
            "n_diverged": self.n_diverged,
            "is_over": is_over,
            "limit": None if self.limit is None else self.limit.state(),
        }

    def _restore(self, stood: Options, cycles: Sequence[list[State]]) -> None:
        """Go on where another run stood; what its cycles predict is found out anew."""
        for states in cycles:
            is_enough = self.on_cycle is not None and self.on_cycle(states)
            self.is_judged_enough = is_enough and stood["is_over"]
            self._add(states)
            self.telling.recall(self.lanes, len(self.states), self.n_planned)
        self._n_ended, self.n_diverged = stood["n_ended"], stood["n_diverged"]
        self._is_over = stood["is_over"]
        for k, lane in enumerate(self.lanes):
            # Those of the cycles that have ended were handed over.
            taken: list[list[State] | None] = [
                [] if is_finite else None for is_finite in stood["is_finite"][k]
            ]
            taken[self._n_ended :] = stood["ahead"][k]
            restore(lane, stood["lanes"][k], taken)
        if self.limit is not None and stood["limit"] is not None:
            self.limit.restore(stood["limit"])
            self.n_planned = self.limit.n_cycles
        if (progress := self.lanes[0].session.progress) is not None:
            progress.reach(self.lanes[0].n_epochs_done)

    def _train_cycles(self) -> None:
        """Go through the epochs until a callback, divergence or a score ends them."""
        try:
            if self._is_over:
                pass
            elif len(self.lanes) == 1:
                self.lanes[0].train(self.n_epochs)
            else:
                with self.elsewhere or contextlib.nullcontext():
                    self._train_in_turn()
        except Enough:
            pass
        except Diverged:
            self.n_diverged = max(1, self.n_planned - len(self.states))
        if not self.states:
            raise ValueError(_DIVERGED if self.n_diverged else _STOPPED_AT_ONCE)

    def _train_in_turn(self) -> None:
        """Train all lanes, cycle by cycle, up to the cycle in which one was stopped."""
        while (cycle := self._n_ended) < self.n_planned:
            self._train_lanes([lane for lane in self.lanes if not lane.has_diverged], cycle + 1)
            if any(len(lane.recorder.states) <= cycle for lane in self.lanes):
                if any(lane.has_diverged for lane in self.lanes):
                    raise Diverged
                return
            if self._end_cycle() or any(lane.is_stopped for lane in self.lanes):
                return

    def _train_lanes(self, lanes: list[Lane], until: int) -> None:
        """Train lanes until so many cycles have ended, with torch's threads as they are set."""
        tasks = [functools.partial(lane.train, self.n_epochs, until) for lane in lanes]
        if self.elsewhere is not None:
            self.elsewhere.train(lanes, self.n_epochs, until, self.interrupts.check)
        elif self.n_threads > 1:
            try:
                in_threads(tasks, self.n_threads)
            finally:
                self.interrupts.check()
        else:
            for train in tasks:
                train()

    def _end_cycle(self) -> bool:
        """End a cycle, and return whether to end the run."""
        with contextlib.nullcontext() if self.limit is None else self.limit.ending_cycle():
            is_over = self._keep_cycle()
        is_over = is_over or any(lane.is_stopped for lane in self.lanes)
        if not is_over and self._n_ended < self.n_planned:
            self.telling.cycle_begins()
        return is_over

    def _is_out_of_time(self) -> bool:
        """Plan the cycles to come by the time that is left; return whether there are none."""
        if self.limit is None or any(lane.is_stopped for lane in self.lanes):
            return False
        is_over = self.limit.is_over(self._n_ended, is_kept=bool(self.states))
        self.n_planned = self._n_ended if is_over else self.limit.n_cycles
        return is_over

    def _keep_cycle(self) -> bool:
        """Keep the chains' states if all are finite, and return whether to end the run."""
        parts = [lane.hand_over(self._n_ended) for lane in self.lanes]
        self._n_ended += 1
        kept = [part for part in parts if part is not None]
        if len(kept) < len(parts):
            self.n_diverged += 1
            is_asked = self.telling.cycle_ended(
                self.lanes, self._n_ended, self.n_planned, self.limit, is_kept=False
            )
            return is_asked or self._is_out_of_time()
        # All chains at the first snapshot of the cycle, at the second, …
        at_once = zip(*kept, strict=True)
        states = [state for of_lanes in at_once for part in of_lanes for state in part]
        # Ctrl-C may come in between: whoever judges then forgets the cycle that is not kept here.
        with self.lanes[0].session.generators[0].within():  # a dataset of the user's may draw
            self.is_judged_enough = self.on_cycle is not None and self.on_cycle(states)
        self._add(states)
        is_asked = self.telling.cycle_ended(self.lanes, self._n_ended, self.n_planned, self.limit)
        is_enough = is_asked or self.is_judged_enough or self._is_out_of_time()
        if self.keep is not None:
            with self._noticing_failure():
                self._hand_over(self.keep, is_enough)
        return is_enough or self.failure is not None

    def _add(self, states: list[State]) -> None:
        """Keep the states of a cycle, which counts from here on."""
        self.states.append(self.room.put(len(self.states) * len(states), states))

    def _hand_over(self, keep: Callable[[Options], object], is_enough: bool) -> None:
        """Let the run be kept where it stands."""
        if len(self.lanes) > 1:  # each stands before an epoch
            is_over = is_enough or any(lane.is_stopped for lane in self.lanes)
            self._noted = self._capture(is_over=is_over)
        # Nothing is noted where a callback stopped the run in its first epochs.
        if self._noted and self.failure is None:
            keep(self._noted)

    @contextlib.contextmanager
    def _noticing_failure(self) -> Iterator[None]:
        """End the run with the cycle where it cannot be kept, and lose no snapshot.

        A disk may be full, or a callback may hold by now what no file can keep.
        """
        try:
            yield
        except NOT_KEPT as error:
            self.failure = error

    def _load_last(self) -> None:
        """Load the last snapshot that counts into each net."""
        for lane, state in zip(self.lanes, self.of_lanes(self.states[-1]), strict=True):
            load_state(lane.net.module_, state)

    def of_lanes(self, states: Sequence[State]) -> list[State]:
        """Return the states of a cycle's last snapshot as those of the lanes that train them."""
        left = iter(states[-sum(lane.n_chains for lane in self.lanes) :])
        return [lane.joined(list(itertools.islice(left, lane.n_chains))) for lane in self.lanes]


_EXPLODED = (
    "Got lr={lr:g}, but expected a rate at which the training loss falls: from {first:.3g} at the "
    "first step it rose to {highest:.3g}, and is {last:.3g} in the last epoch; set a lower lr."
)
_DIVERGED = (
    "Training diverged in the first cycle: the weights or outputs are no longer finite. Expected "
    "a lower lr, or columns and targets of moderate size."
)
_STOPPED_AT_ONCE = "A callback stopped the run before its first step, so there is no snapshot."
