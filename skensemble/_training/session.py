"""What a net in training goes by."""

from dataclasses import dataclass, field

from skensemble._data.batches import Budget
from skensemble._data.rows import RowsOfChains, TensorRows
from skensemble._nets.generators import Generators
from skensemble._nets.modules import Batch

from .hooks import CyclicRate, SnapshotRecorder


@dataclass(eq=False)
class Session:
    """One run of a net: the net's ``session_`` while it trains, and only then."""

    rate: CyclicRate
    recorder: SnapshotRecorder
    budget: Budget
    #: Of each chain that the net trains.
    generators: list[Generators]
    #: A few rows, on the device.
    probe_rows: Batch
    #: Rows for callbacks that monitor unseen ones after each epoch; None: there are none.
    valid: TensorRows | RowsOfChains | None = None
    is_stopped: bool = field(default=False, init=False)

    def stop(self) -> None:
        """End the run with the step that was just taken; its epoch ends as any other does."""
        self.budget.left = 0
        self.is_stopped = True
