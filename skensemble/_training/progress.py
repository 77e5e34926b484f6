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
        self.bar_: Any = None

    def __getstate__(self) -> dict[str, object]:
        return {}  # a net that is pickled in the middle of a run leaves the screen behind

    def on_train_begin(self, net: NeuralNet, **_: object) -> None:
        """Draw the bar."""
        from tqdm import tqdm  # comes with skorch; imported where it is wanted alone

        n_epochs = -(-self.n_steps // self.steps_per_epoch)
        self.bar_ = tqdm(total=n_epochs, unit="epoch", leave=False)
        self.started_ = time.perf_counter()

    def on_epoch_end(self, net: NeuralNet, **_: object) -> None:
        """Move the bar by an epoch."""
        self.bar_.update()

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
