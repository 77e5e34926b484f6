"""What a net in training goes by."""

from collections.abc import Callable

from skorch.utils import to_device

from skensemble._data.batches import Budget
from skensemble._data.rows import RowsOfChains, TensorRows
from skensemble._nets.generators import Generators
from skensemble._nets.transforms import at_home, augment
from skensemble._types import Batch, View, Views
from skensemble.schedules import Plan

from .hooks import CyclicRate, SnapshotRecorder
from .interrupts import Interrupts
from .progress import Progress


class Session:
    """One run of a net: the net's ``session_`` while it trains, and only then.

    It has the generators of each chain that the net trains. `valid` are the rows for callbacks that
    monitor unseen ones after each epoch, or None. `progress` moves with its epochs. Where it
    `is_heard`, it sums up what is told of cycles. `transform` makes of the features of a batch what
    the module sees in training; None: nothing else.
    """

    def __init__(
        self,
        plan: Plan,
        interrupts: Interrupts,
        generators: list[Generators],
        probe_rows: Batch,
        valid: TensorRows | RowsOfChains | None,
        *,
        cold: bool,
        progress: Progress | None = None,
        is_heard: bool = False,
        n_per_cycle: int = 1,
        transform: View | None = None,
        views: Views | None = None,
    ):
        self.rate = CyclicRate(plan.fractions, interrupts)
        self.recorder = SnapshotRecorder(
            plan.ends.tolist(),
            probe_rows,
            cold=cold,
            is_heard=is_heard,
            n_per_cycle=n_per_cycle,
            burn_in=plan.fractions.burn_in_steps,
        )
        self.budget = Budget(len(plan.fractions))
        self.recorder.interrupts = self.interrupts = interrupts
        self.progress = progress
        self.generators, self.probe_rows, self.valid = generators, probe_rows, valid
        self.is_stopped = False
        #: In the first of which the rows are monitored that are unseen; None: as they are.
        self.views = views
        #: As it was given: it goes to workers.
        self.transform = transform
        self._at_home = None if transform is None else at_home(transform, generators[0].device)

    def preparing(self, *, of_chains: bool) -> Callable[[Batch], Batch] | None:
        """Return what is done to the features of each batch; None: nothing.

        With `of_chains` a batch has the chains as its first axis.
        """
        if self._at_home is None:
            return None
        device, transform = self.generators[0].device, self._at_home
        return lambda X: augment(transform, to_device(X, device), of_chains=of_chains)

    def stop(self) -> None:
        """End the run with the step that was just taken; its epoch ends as any other does."""
        self.budget.left = 0
        self.is_stopped = True
