"""What a fit prints with ``verbose=1``: a bar, and a line for each finished cycle."""

import time
from typing import Any

from skorch import NeuralNet
from skorch.callbacks import Callback


class Progress(Callback):
    """A progress bar over epochs on stderr, and a line a cycle on stdout.

    `first_cycle` counts the cycles that the ensemble had before.
    """

    def __init__(self, n_cycles: int, steps_per_epoch: int, n_steps: int, first_cycle: int):
        self.n_steps, self.steps_per_epoch = n_steps, steps_per_epoch
        self.cycle_, self.total = first_cycle, first_cycle + n_cycles
        self.first_cycle, self.is_shorter = first_cycle, False
        self.bar_: Any = None

    def __getstate__(self) -> dict[str, object]:
        return {}  # a net that is pickled in the middle of a run leaves the screen behind

    @property
    def n_epochs(self) -> int:
        """Epochs of the run, the last of them maybe cut short."""
        return -(-self.n_steps // self.steps_per_epoch)

    def on_train_begin(self, net: NeuralNet, **_: object) -> None:
        """Draw the bar."""
        from tqdm import tqdm  # comes with skorch; imported where it is wanted alone

        self.bar_ = tqdm(total=self.n_epochs, unit="epoch", leave=False)
        self.started_ = time.perf_counter()

    def on_epoch_end(self, net: NeuralNet, **_: object) -> None:
        """Move the bar by an epoch."""
        self.bar_.update()

    def skip(self, n_cycles: int) -> None:
        """Count cycles of the run that an earlier process has trained."""
        self.cycle_ = self.first_cycle + n_cycles

    def plan_shorter(self, n_cycles: int, n_steps: int, time_limit: float) -> None:
        """Take over a plan that a limit has shortened; print a line where it is the first."""
        is_first, self.is_shorter = not self.is_shorter, True
        before, self.n_steps = self.n_epochs, n_steps
        self.total = self.first_cycle + n_cycles
        if self.bar_ is None:
            return
        self.bar_.total = self.n_epochs
        if is_first:
            self.bar_.clear()
            cycles = "1 cycle" if n_cycles == 1 else f"{n_cycles} cycles"
            print(
                f"time_limit={float(time_limit):g}: {cycles} "
                f"in {n_steps / self.steps_per_epoch:.1f} epochs, of a budget of {before}",
                flush=True,
            )
        self.bar_.refresh()

    def close(self) -> None:
        """Take the bar off the screen, if it is there: a run may fail before."""
        if self.bar_ is not None:
            self.bar_.close()

    def cycle_finished(self, step: int, lr: float, loss: float) -> None:
        """Print the line of a cycle that has just ended, `step` steps into the run."""
        self.cycle_ += 1
        now = time.perf_counter()
        seconds, self.started_ = now - self.started_, now
        self.bar_.clear()
        print(
            f"cycle {self.cycle_:>{len(str(self.total))}}/{self.total}"
            f"  epochs {step / self.steps_per_epoch:6.1f}"
            f"  lr {lr:.2e}  loss {loss:.4f}  {seconds:.2f} s",
            flush=True,
        )
        self.bar_.refresh()
