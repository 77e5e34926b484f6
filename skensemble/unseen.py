"""Rows that the chains have not seen, and what each cycle predicts for them."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from skorch.utils import to_device
from torch.utils.data import DataLoader, Subset

from ._data.batches import DatasetRows
from ._data.sources import DatasetInput
from ._nets.inference import chunk_size, member_outputs
from ._nets.snapshots import Snapshots, State
from ._training.net import SnapshotNet
from .members import Unseen, cycle_weights

#: A cycle is a gain where it lowers the loss by more than this part of it.
_GAIN = 1e-3


#: Probabilities of a cycle beyond which they are kept in single precision.
_MANY = 500_000


class Cycle(NamedTuple):
    """What the unseen rows say of a cycle."""

    #: Of shape (n_samples, k), NaN where no chain left the row out.
    predictions: NDArray[Any]
    #: Weight of each cycle so far.
    weights: NDArray[np.float64]
    #: Score of their weighted mean.
    score: float


class UnseenRows:
    """Predictions of every cycle for rows that were left out, each by chains that left it out.

    Parameters
    ----------
    net : SnapshotNet
        Whose module is of the snapshots' kind.
    X : Tensor, or what gives one (or a dict of them) by row numbers
    left_out : list of ndarray of int
        The rows to be predicted by each chain.
    y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        Class indices, or values.
    sample_weight : ndarray of shape (n_samples,) or None
    values_of : callable
        What is averaged over members, from their raw outputs.
    members : str, int or callable
        How cycles are weighted: see :func:`~skensemble.members.cycle_weights`.
    n_planned : int, default=0
        Cycles that there are to be at the end.
    patience : int or None, default=None
        So many cycles without gain are enough; None: none are.

    Attributes
    ----------
    is_held : bool
        Whether no chain has seen any of the rows.
    cycles : list of Cycle
        What is known of each, in one piece: Ctrl-C may come at any moment.
    n_before : int
        Cycles of earlier calls, which do not try anybody's patience.
    """

    def __init__(
        self,
        net: SnapshotNet,
        X: Any,
        left_out: list[NDArray[Any]],
        y: NDArray[Any],
        sample_weight: NDArray[np.float64] | None,
        values_of: Callable[[torch.Tensor], torch.Tensor],
        members: Any,
        *,
        n_planned: int = 0,
        patience: int | None = None,
    ):
        self.net, self.X, self.left_out, self.values_of = net, X, left_out, values_of
        self.members, self.n_planned, self.patience = members, n_planned, patience
        times = np.zeros(len(y))
        for rows in left_out:
            times[rows] += 1
        self.is_seen = times == 0
        self.is_held = not self.is_seen.any() and bool((times == len(left_out)).all())
        self._times = np.where(self.is_seen, np.nan, times)[:, None]
        self._y = y[~self.is_seen]
        weight = np.ones(len(y)) if sample_weight is None else sample_weight
        self._weight = weight[~self.is_seen]
        self.cycles: list[Cycle] = []
        self.n_before = 0

    def add(self, states: list[State]) -> bool:
        """Predict with the chains of a further cycle, weigh the cycles anew, and say if to stop.

        That is where the last cycles brought no gain, and there are more to come.
        """
        values = self._predicted(Snapshots(states))
        # Not kept from cycle to cycle: of many rows it would be as large as the predictions.
        told = np.stack([self._told(v) for v in (*(c.predictions for c in self.cycles), values)])
        y = np.broadcast_to(np.intp(0), self._y.shape) if self._is_compact() else self._y
        unseen = Unseen(told, y, self._weight)
        weights = cycle_weights(self.members, len(told), unseen)
        self.cycles.append(Cycle(values, weights, unseen.score(weights)))
        return self._is_enough() and len(self.cycles) < self.n_planned

    def _is_compact(self) -> bool:
        """Whether a rule needs the probability of the true class alone, as the log-loss does."""
        return self._y.ndim == 1 and not callable(self.members)

    def _told(self, values: NDArray[Any]) -> NDArray[Any]:
        """What the rule for members needs of a cycle's predictions."""
        if self.is_seen.any():
            values = values[~self.is_seen]
        return (
            np.take_along_axis(values, self._y[:, None], axis=1) if self._is_compact() else values
        )

    def combined(self) -> NDArray[np.float64]:
        """The weighted mean of all cycles for every row, of shape (n_samples, k)."""
        total = np.zeros(self.cycles[0].predictions.shape)
        for weight, cycle in zip(self.cycles[-1].weights, self.cycles, strict=True):
            if weight:
                total += weight * cycle.predictions
        return total

    def _is_enough(self) -> bool:
        if self.patience is None:
            return False
        losses = [-cycle.score for cycle in self.cycles]
        n_first = max(1, self.n_before)
        best, since = min(losses[:n_first]), 0
        for loss in losses[n_first:]:
            if loss < best * (1 - _GAIN):
                best, since = loss, 0
            else:
                since += 1
        return since >= self.patience

    def _predicted(self, snapshots: Snapshots) -> NDArray[Any]:
        total = np.zeros((0, 0))
        for chain, rows in enumerate(self.left_out):
            if not len(rows):  # an empty fold
                continue
            done = 0
            for outputs in member_outputs(self.net, snapshots, [chain], self._batches(rows)):
                values = self.values_of(outputs.cpu())[0].numpy()
                if not len(total):
                    shape = (len(self._times), values.shape[1])
                    # Probabilities of all cycles may be the largest thing of a fit.
                    is_large = self._y.ndim == 1 and shape[0] * shape[1] > _MANY
                    total = np.zeros(shape, np.float32 if is_large else np.float64)
                total[rows[done : done + len(values)]] += values
                done += len(values)
        total /= self._times
        return total

    def _batches(self, rows: NDArray[Any]) -> Iterator[Any]:
        if isinstance(self.X, DatasetInput):
            part = Subset(DatasetRows(self.X), rows.tolist())
            size = self.net.batch_size
            for X in DataLoader(part, batch_size=size, generator=torch.Generator()):
                yield to_device(X, self.net.device)
            return
        index = torch.from_numpy(rows).to(self.X.device)
        for chosen in index.split(chunk_size(self.net)):
            yield self.X[chosen]
