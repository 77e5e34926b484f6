"""What a fit prints with ``verbose=1``: a line for each cycle, and a bar where one can move."""

import sys
import warnings
from collections.abc import Sequence
from typing import Any

from skorch import NeuralNet
from skorch.callbacks import Callback

from skensemble._warnings import own_filters

from .cycle_end import CycleEnd

#: Weights of so many cycles are printed one by one.
_MOST = 20

#: Part of the highest rate below which a rate is printed as 0.
_NONE = 5e-3


class Progress(Callback):
    """A line a cycle on stdout, and a bar over epochs there if that is a terminal or a notebook.

    Both go through tqdm then, which takes the bar away while a line is written. A file gets lines
    alone: what moves a bar is no text. `first_cycle` counts the cycles that the ensemble had
    before.
    """

    def __init__(self, n_cycles: int, steps_per_epoch: int, n_steps: int, first_cycle: int):
        self.n_steps, self.steps_per_epoch = n_steps, steps_per_epoch
        self.first_cycle, self.total = first_cycle, first_cycle + n_cycles
        self.is_shorter = False
        self.bar_: Any = None

    def __getstate__(self) -> dict[str, object]:
        return {}  # a net that is pickled in the middle of a run leaves the screen behind

    @property
    def n_epochs(self) -> int:
        """Epochs of the run, the last of them maybe cut short."""
        return -(-self.n_steps // self.steps_per_epoch)

    def on_train_begin(self, net: NeuralNet, **_: object) -> None:
        """Draw the bar."""
        self.bar_ = _make_bar(self.n_epochs)

    def on_epoch_end(self, net: NeuralNet, **_: object) -> None:
        """Move the bar by an epoch."""
        if self.bar_ is not None:
            self.bar_.update()

    def reach(self, n_epochs: int) -> None:
        """Move the bar to where another process has come to."""
        if self.bar_ is not None:
            self.bar_.update(max(0, n_epochs - self.bar_.n))

    def plan_shorter(self, n_cycles: int, n_steps: int, time_limit: float) -> None:
        """Take over a plan that a limit has shortened; print a line where it is the first."""
        is_first, self.is_shorter = not self.is_shorter, True
        before, self.n_steps = self.n_epochs, n_steps
        self.total = self.first_cycle + n_cycles
        if is_first:
            cycles = "1 cycle" if n_cycles == 1 else f"{n_cycles} cycles"
            self.say(
                f"time_limit={float(time_limit):g}: {cycles} "
                f"in {n_steps / self.steps_per_epoch:.1f} epochs, of a budget of {before}"
            )
        if self.bar_ is not None:
            self.bar_.total = self.n_epochs
            self.bar_.refresh()

    def close(self) -> None:
        """Take the bar off the screen, if it is there: a run may fail before."""
        if self.bar_ is not None:
            self.bar_.close()
            self.bar_ = None

    def cycle_begins(self) -> None:
        """Say nothing: the bar moves."""

    def cycle_ended(self, end: CycleEnd) -> bool:
        """Print the line of a cycle, but of none that an earlier process has trained."""
        if not end.is_recalled:
            self.say(word_cycle(end))
        return False

    def say(self, line: str) -> None:
        """Print a line; where there is a bar, above it."""
        if self.bar_ is None:
            print(line, flush=True)
        else:
            type(self.bar_).write(line, file=sys.stdout)


def _make_bar(n_epochs: int) -> Any:
    """Return a bar on stdout; None where nothing can move there."""
    with own_filters():
        # Said where widgets are missing, and text serves as well.
        warnings.filterwarnings("ignore", message="IProgress not found")
        from tqdm.auto import tqdm  # comes with skorch; imported where it is wanted alone

    is_widget = any(kind.__module__ == "tqdm.notebook" for kind in tqdm.__mro__)
    if not (is_widget or sys.stdout.isatty()):
        return None
    return tqdm(total=n_epochs, unit="epoch", leave=False, file=sys.stdout, dynamic_ncols=True)


def word_cycle(end: CycleEnd) -> str:
    """Put a cycle that has ended in a line."""
    number = f"cycle {end.number:>{len(str(end.n_planned))}}/{end.n_planned}"
    parts = [number, _word_time(end)]
    if not end.is_kept:
        parts.append("diverged, left out")
    if end.train_loss is not None:
        parts.append(f"train {_short(end.train_loss)}")
    if end.judged is not None and end.best is not None:
        best, at = end.best
        where = "best" if at == end.number else f"best {_short(best.shown)} at {at}"
        parts.append(f"unseen {_short(end.judged.shown)} ({where})")
    if end.lr is not None and end.last_lr is not None:
        last = end.last_lr if end.last_lr > _NONE * end.lr else 0.0
        parts.append(f"lr {end.lr:.2g} → {last:.2g}")
    return " · ".join(parts)


def _word_time(end: CycleEnd) -> str:
    spent = word_seconds(end.spent)
    if end.number >= end.n_planned or end.left is None:
        return spent
    return f"{spent}, {'at most ' if end.may_stop else ''}{word_seconds(end.left)} left"


def word_seconds(seconds: float) -> str:
    """Put seconds in words of two units at most.

    Examples
    --------
    >>> from skensemble._training.progress import word_seconds
    >>> [word_seconds(s) for s in (0.123, 44.4, 200, 7500)]
    ['0.1 s', '44 s', '3 min 20 s', '2 h 5 min']
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _short(value: float) -> str:
    """Return a loss or a score with three digits that count."""
    return f"{value:.0f}" if 1000 <= abs(value) < 1e7 else f"{value:.3g}"


def word_weights(weights: Sequence[float]) -> str:
    """Put the weights of cycles in words; of many cycles those that count.

    Examples
    --------
    >>> from skensemble._training.progress import word_weights
    >>> word_weights([0, 0, 0.3, 0.7])
    '0 0 0.3 0.7'
    """
    if len(weights) <= _MOST:
        return " ".join(f"{weight:.2g}" for weight in weights)
    found = [f"{weight:.2g} at {k}" for k, weight in enumerate(weights, 1) if weight]
    more = f" and {len(found) - _MOST // 2} more" if len(found) > _MOST // 2 else ""
    return ", ".join(found[: _MOST // 2]) + more
