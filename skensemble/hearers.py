"""Who hears of the cycles of a run: the screen, and callbacks of scikit-learn's."""

from collections.abc import Callable

from ._compat import has_callbacks
from ._training.bridge import Bridge
from ._training.cycle_end import Judged
from ._training.ending import word_end
from ._training.run import Run
from ._types import Options
from .call import Call, Given
from .fitted import Fitted
from .parameters import NetParameters
from .unseen import Cycle, UnseenRows


class Hearers:
    """Lets those hear of the cycles of a run who want to.

    `so_far` returns the ensemble of the cycles that have ended; None: there is none.
    """

    def __init__(
        self,
        call: Call,
        given: Given,
        run: Run,
        unseen: UnseenRows | None,
        so_far: Callable[[], Fitted | None],
    ):
        self.call, self.run, self.so_far = call, run, so_far
        run.telling.n_before = call.n_before
        if unseen is not None:
            run.telling.judge_by(
                lambda: _judged(unseen.cycles[-1], call),
                [_judged(cycle, call) for cycle in unseen.cycles],
                may_stop=unseen.patience is not None,
            )
        session = run.lanes[0].session
        self.progress, self.bridge = session.progress, None
        if self.progress is not None:
            run.telling.hearers.append(self.progress)
        if has_callbacks(call.estimator):
            data, generators = _of_hooks(given), session.generators[0]
            self.bridge = Bridge(call.estimator, data, run.n_planned, generators, self._attributes)
            run.telling.hearers.append(self.bridge)

    def end(self, fitted: Fitted) -> None:
        """Tell that the run has ended, and why."""
        if self.bridge is not None:
            self.bridge.end()
        if self.progress is not None:
            weights = fitted.stage_weights[-1].tolist()
            n_iter_no_change = int(self.call.estimator.n_iter_no_change)
            self.progress.say(word_end(self.run, self.call.n_before, n_iter_no_change, weights))

    def _attributes(self) -> Options | None:
        """Return the attributes of a copy of the estimator that predicts as if the fit had ended.

        There is one, which sets all others.
        """
        fitted = self.so_far()
        return None if fitted is None else {"_fitted_so_far": fitted}


def tell_found(estimator: NetParameters, given: Given) -> None:
    """Let callbacks hear of a fit that an earlier process has finished."""
    if has_callbacks(estimator):
        Bridge(estimator, _of_hooks(given), 0, None, lambda: None).end()


def _judged(cycle: Cycle, call: Call) -> Judged:
    """Return what unseen rows say, and what is printed of it: a score where one was asked for."""
    shown = cycle.loss if call.estimator.scoring is None else cycle.score
    return Judged(cycle.loss, cycle.score, shown)


def _of_hooks(given: Given) -> Options:
    """Return what callbacks of scikit-learn's get of the user's arguments."""
    weight = given.sample_weight
    metadata = None if weight is None else {"sample_weight": weight}
    return {"X": given.X, "y": given.y, "metadata": metadata}
