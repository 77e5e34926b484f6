"""What a fit prints with ``verbose=1``: a bar, and a line for each finished cycle."""

import time
from typing import Any

from skorch.callbacks import Callback


class Progress(Callback):
    """A progress bar over epochs on stderr, and a line a cycle on stdout.

    Parameters
    ----------
    n_cycles : int
        Cycles of the run.
    steps_per_epoch, n_steps : int
        Steps of an epoch and of the run.
    first_cycle : int, default=0
        Cycles that the ensemble had before.
    """

    def __init__(self, n_cycles: int, steps_per_epoch: int, n_steps: int, first_cycle: int = 0):
        self.n_cycles, self.n_steps, self.first_cycle = n_cycles, n_steps, first_cycle
        self.steps_per_epoch = steps_per_epoch
        self.bar_: Any = None
        self.cycle_ = first_cycle

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        from tqdm import tqdm  # comes with skorch; imported where it is wanted alone

        n_epochs = -(-self.n_steps // self.steps_per_epoch)
        self.bar_ = tqdm(total=n_epochs, unit="epoch", leave=False)
        self.started_ = time.perf_counter()

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        self.bar_.update()

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **_: Any) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar off the screen."""
        if self.bar_ is not None:
            self.bar_.close()

    def cycle_finished(self, step: int, lr: float, loss: float) -> None:
        """Print the line of a cycle that has just ended, `step` steps into the run."""
        self.cycle_ += 1
        now = time.perf_counter()
        seconds, self.started_ = now - self.started_, now
        total = self.first_cycle + self.n_cycles
        self.bar_.clear()
        print(
            f"cycle {self.cycle_:>{len(str(total))}}/{total}"
            f"  epochs {step / self.steps_per_epoch:6.1f}"
            f"  lr {lr:.2e}  loss {loss:.4f}  {seconds:.2f} s",
            flush=True,
        )
        self.bar_.refresh()
