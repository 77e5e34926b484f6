"""What a net in training goes by."""

from dataclasses import dataclass, field

from skensemble._data.batches import Budget
from skensemble._data.rows import RowsOfChains, TensorRows
from skensemble._nets.generators import Generators
from skensemble._nets.modules import Batch
from skensemble.schedules import Plan

from .hooks import CyclicRate, SnapshotRecorder
from .interrupts import Interrupts
from .progress import Progress


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

    @classmethod
    def begin(
        cls,
        plan: Plan,
        interrupts: Interrupts,
        generators: list[Generators],
        probe_rows: Batch,
        valid: TensorRows | RowsOfChains | None,
        *,
        cold: bool,
        progress: Progress | None,
    ) -> "Session":
        """Make the session of a run by its plan."""
        fractions, ends = plan.fractions.tolist(), plan.ends.tolist()
        rate = CyclicRate(fractions, interrupts)
        recorder = SnapshotRecorder(ends, probe_rows, cold=cold, progress=progress)
        return cls(rate, recorder, Budget(len(fractions)), generators, probe_rows, valid)

    def stop(self) -> None:
        """End the run with the step that was just taken; its epoch ends as any other does."""
        self.budget.left = 0
        self.is_stopped = True
