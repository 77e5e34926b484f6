"""What a run leaves: the ensemble, what to warn of, and its file."""

import functools
from dataclasses import replace

from sklearn.exceptions import ConvergenceWarning

from ._nets.generators import Generators
from ._persistence.checkpoints import Checkpoint, Messages, check_is_kept, open_checkpoint
from ._training.making import Ready
from ._training.run import NOT_KEPT, Run
from ._types import Array, Options
from ._warnings import short
from .call import Call, Given
from .fitted import Fitted, Resume
from .hearers import Hearers, tell_found
from .unseen import UnseenRows
from .weighing import weigh_cycles

#: Part of the loss of unseen rows after the first cycle by which the last one may still lower it:
#: where it is more, the budget was too short.
NOT_CONVERGED = 0.1


class Outcome:
    """What a call's run leaves, at its end and after each cycle.

    Parameters
    ----------
    call : Call
    ready : Ready
    run : Run
    unseen : UnseenRows or None
    file : Checkpoint
        If an earlier process was killed, the run goes on from there.
    given : Given
        What callbacks of scikit-learn's get.
    """

    def __init__(
        self,
        call: Call,
        ready: Ready,
        run: Run,
        unseen: UnseenRows | None,
        file: Checkpoint,
        given: Given,
    ):
        self.call, self.ready, self.run = call, ready, run
        self.unseen, self.file = unseen, file
        if call.before is not None:
            run.room.before = call.before.all_states()
        self.hearers = Hearers(call, given, run, unseen, self._so_far)
        if file.path is not None:
            run.keep_by(self._keep, check_is_kept)
        if file.found is not None and (stood := file.found.stood) is not None:
            if unseen is not None:
                unseen.recall(stood["judged"])
            run.go_on(stood, file.found.cycles(call.n_before))

    def finish(self, generators: list[Generators]) -> Fitted:
        """Return the ensemble of a run that is over, and write its file.

        The run's snapshots become those of the ensemble, so this is asked for once.
        """
        fitted = self._gather(generators, is_over=True)
        self.hearers.end(fitted)
        try:
            self.file.wait()
            if not self.run.interrupts.marked and self.run.failure is None:
                self.file.finish(self.call.estimator, fitted, self._said())
        except NOT_KEPT as error:
            self.run.failure = error
        return fitted

    def _so_far(self) -> Fitted | None:
        """Return what predicts as if the run had ended now."""
        if not self.run.states:
            return self.call.before
        nets = [net.of_one_chain() for net in self.ready.nets]
        return replace(self._gather([], is_over=False), nets=nets)

    def _keep(self, stood: Options) -> None:
        """Write the cycles so far, unless an earlier process has."""
        found = self.file.found
        n_written = 0 if found is None else found.fitted.n_cycles
        if self.call.n_before + len(self.run.states) > n_written:
            stood = {**stood, "judged": self._judged(stood["n_cycles"])}
            self.file.write(self._gather([], is_over=False), stood)

    def _judged(self, n_cycles: int) -> list[Array]:
        """Return what cycles predict for unseen rows, where asking them again would not tell.

        A dataset of the user's may draw. All others say the same again, and a file need not be
        larger for it.
        """
        is_private = self.run.lanes[0].session.generators[0].is_private
        if self.unseen is None or is_private:
            return []
        first = self.call.n_before
        return [cycle.predictions for cycle in self.unseen.cycles[first : first + n_cycles]]

    def _gather(self, generators: list[Generators], *, is_over: bool) -> Fitted:
        """Return the ensemble of the cycles so far; the generators are for later calls.

        A run that is over gives its snapshots away, any other one copies.
        """
        call, n_cycles = self.call, len(self.run.states)
        n_chains, n_per_cycle = call.chosen.n_chains, len(self.run.states[0])
        targets, room = call.known.targets, self.run.room
        rule, take = call.estimator._rule(targets), room.handed_over if is_over else room.copied
        gather = functools.partial(take, n_cycles * n_per_cycle)
        n_cycles += call.n_before
        weighed = weigh_cycles(gather, n_cycles, n_chains, n_per_cycle, rule, self.unseen, targets)
        return Fitted(self.ready.nets, *weighed, *call.known, self._resume(generators))

    def _resume(self, generators: list[Generators]) -> Resume:
        """Note what a later call needs to go on."""
        call, run = self.call, self.run
        done = 0 if call.before is None else call.before.resume.n_steps
        return Resume(
            generators=[chain.state() for chain in generators],
            seed=call.seed,
            chosen=call.chosen._replace(folds=None),
            n_steps=max(0, done - run.burn_in + run.n_steps),
            made_of=call.estimator._made_of(),
            highest_lr=call.estimator._highest_lr(call.shape[0]),
            is_time_limited=run.is_shorter or call.was_limited,
        )

    def messages(self) -> Messages:
        """Return what to warn the user of, once what was trained is safe.

        Raises
        ------
        OSError
            If the file of the run could not be written.
        ValueError
            If the run held by then what no file can keep.
        """
        if self.run.failure is not None:
            raise self._error(self.run.failure) from self.run.failure
        return self._said()

    def _error(self, failure: Exception) -> Exception:
        """Return the error of a run that could not be kept."""
        folder, n = short(str(self.call.estimator.checkpoint_dir)), len(self.run.states)
        kept = f"The run ended there, and the estimator keeps the {n} cycles that were finished"
        if isinstance(failure, OSError):
            return OSError(
                failure.errno,
                f"Got checkpoint_dir={folder}, but expected a folder that can be written to: "
                f"{failure}. {kept}; make room, and call fit again.",
            )
        return ValueError(
            f"Got checkpoint_dir={folder}, but expected a run that a file can keep: {failure} "
            f"{kept}; leave out what it names, or set checkpoint_dir=None."
        )

    def _said(self) -> Messages:
        said: Messages = [(text, RuntimeWarning) for text in self.run.messages()]
        if text := self.run.haste():
            said.append((text, ConvergenceWarning))
        if self.call.before is None and (text := self.run.explosion()):
            said.append((text, RuntimeWarning))
        elif text := self._word_not_converged():
            said.append((text, ConvergenceWarning))
        return said

    def _word_not_converged(self) -> str:
        """Return what to warn of where the score still rose at the end of the budget."""
        call, run = self.call, self.run
        if self.unseen is None or not run.is_whole or call.is_one_cycle:
            return ""
        gain = self.unseen.last_gain()
        if gain <= NOT_CONVERGED:
            return ""
        return (
            f"Got max_epochs={call.estimator.max_epochs!r} and n_cycles={run.n_planned}, but "
            "expected a budget whose last cycle lowers the loss of unseen rows by at most "
            f"{NOT_CONVERGED:.0%} of what it was after the first: it lowered it by {gain:.1%}; set "
            "more max_epochs, or more n_cycles."
        )


def open_file(call: Call, given: Given) -> Checkpoint:
    """Return the file of a call, with what an earlier process has left there."""
    estimator = call.estimator
    file = open_checkpoint(estimator, given._asdict(), call.seed, call.before)
    if file.found is not None and estimator.verbose:
        print(file.found.word(), flush=True)
    if file.found is not None and file.found.stood is None:
        tell_found(estimator, given)
    return file
