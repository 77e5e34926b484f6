"""Why a run has ended, in words."""

from collections.abc import Sequence

from .progress import word_weights
from .run import Run


def word_end(run: Run, n_before: int, n_iter_no_change: int, weights: Sequence[float]) -> str:
    """Put in a line why a run has ended, and what its cycles weigh.

    Parameters
    ----------
    run : Run
        It is over.
    n_before : int
        Cycles of earlier calls.
    n_iter_no_change : int
        Cycles without gain that end a run.
    weights : sequence of float
        Weight of each cycle, those of earlier calls included.
    """
    n_done, n_all = n_before + len(run.states), n_before + _n_asked(run)
    cycles = f"{n_done} of {n_all} cycles" if n_done < n_all else _count(n_all, "cycle")
    named = "weights of cycles" if len(weights) > 1 else "weight"
    return f"{_reason(run, n_iter_no_change)}: {cycles}; {named} {word_weights(weights)}"


def _n_asked(run: Run) -> int:
    """Return the cycles that the budget was for."""
    return run.n_planned if run.limit is None else run.limit.full.n_cycles


def _reason(run: Run, n_iter_no_change: int) -> str:
    if run.interrupts.marked:
        return "interrupted"
    if run.failure is not None:
        return "stopped, the run could not be kept"
    if run.telling.is_asked or any(lane.is_stopped for lane in run.lanes):
        return "stopped by a callback"
    if run.is_judged_enough:
        return f"stopped, no gain in {_count(n_iter_no_change, 'cycle')}"
    if run.is_shorter and run.limit is not None:
        return f"shortened by time_limit={float(run.limit.stopwatch.seconds):g}"
    if run.n_diverged:
        return "ended, training diverged"
    return "finished"


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
