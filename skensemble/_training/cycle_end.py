"""What is known of a cycle when it ends, and what those do who hear of it."""

from typing import NamedTuple, Protocol


class Judged(NamedTuple):
    """What unseen rows say of all cycles so far."""

    #: By which cycles are compared: lower is better.
    loss: float
    #: As the user reads it in ``cycle_scores_``: higher is better.
    score: float
    #: The one of the two that is printed.
    shown: float


class CycleEnd(NamedTuple):
    """What is known of a cycle that has just ended."""

    #: From 1 on, cycles of earlier calls included; so is the number of those planned.
    number: int
    n_planned: int
    #: Passes over the rows since the call began.
    epoch: float
    #: Highest rate of the cycle, and that of its last step; None: not known.
    lr: float | None
    last_lr: float | None
    #: Mean loss of its steps; None: not known.
    train_loss: float | None
    #: None: there are no unseen rows, or the cycle is left out.
    judged: Judged | None
    #: The best so far, this one included, and its number.
    best: tuple[Judged, int] | None
    #: Of the cycle, and since training began.
    seconds: float
    spent: float
    #: Seconds to the end of the budget; None: not known.
    left: float | None
    #: Whether the run may end before.
    may_stop: bool
    #: Whether the cycle counts: one that has diverged does not.
    is_kept: bool = True
    #: Whether an earlier process has trained it.
    is_recalled: bool = False

    def metrics(self) -> dict[str, float]:
        """Return what is known in plain numbers, by name."""
        best = None if self.best is None else self.best[0].score
        known = {
            "cycle": float(self.number),
            "epoch": self.epoch,
            "lr": self.lr,
            "train_loss": self.train_loss,
            "unseen_score": None if self.judged is None else self.judged.score,
            "best_unseen_score": best,
            "seconds": self.seconds,
        }
        return {name: float(value) for name, value in known.items() if value is not None}


class Hearer(Protocol):
    """Who hears of cycles."""

    def cycle_begins(self) -> object:
        """Hear that a cycle begins."""

    def cycle_ended(self, end: CycleEnd) -> bool:
        """Hear of a cycle that has ended, and return whether to end the run."""
