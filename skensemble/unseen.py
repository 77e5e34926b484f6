"""Rows that the chains have not seen, and what each cycle predicts for them."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skorch.utils import to_device
from torch.utils.data import DataLoader, Subset

from .batches import DatasetRows
from .inference import chunk_size, member_outputs
from .inputs import DatasetInput
from .members import Unseen, cycle_weights
from .runs import Enough
from .snapshots import Snapshots, State
from .training import SnapshotNet

#: A cycle is a gain where it lowers the loss by more than this part of it.
_GAIN = 1e-3


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
    predictions : list of ndarray of shape (n_samples, k)
        NaN where no chain left the row out.
    weights : list of ndarray
        For each number of cycles the weight of each.
    scores : list of float
        For each number of cycles the score of the weighted mean.
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
        self.predictions: list[NDArray[Any]] = []
        self._told: list[NDArray[Any]] = []
        self.weights: list[NDArray[np.float64]] = []
        self.scores: list[float] = []

    def add(self, states: list[State]) -> None:
        """Predict with the chains of a further cycle, and weigh the cycles anew.

        Raises
        ------
        Enough
            If the last cycles brought no gain, and there are more to come.
        """
        values = self._predicted(Snapshots(states))
        self.predictions.append(values)
        self._told.append(self._compact(values[~self.is_seen] if self.is_seen.any() else values))
        unseen = self.unseen()
        weights = cycle_weights(self.members, len(self.predictions), unseen)
        self.weights.append(weights)
        self.scores.append(unseen.score(weights))
        if self._is_enough() and len(self.scores) < self.n_planned:
            raise Enough

    def unseen(self) -> Unseen:
        """What the rule for members is given."""
        y = np.zeros_like(self._y) if self._is_compact() else self._y
        return Unseen(np.stack(self._told), y, self._weight)

    def _is_compact(self) -> bool:
        """Whether a rule needs the probability of the true class alone, as the log-loss does."""
        return self._y.ndim == 1 and not callable(self.members)

    def _compact(self, values: NDArray[Any]) -> NDArray[Any]:
        if not self._is_compact():
            return values
        return np.take_along_axis(values, self._y[:, None], axis=1).astype(np.float64)

    def combined(self) -> NDArray[np.float64]:
        """The weighted mean of all cycles for every row, of shape (n_samples, k)."""
        total = np.zeros(self.predictions[0].shape)
        for weight, part in zip(self.weights[-1], self.predictions, strict=True):
            if weight:
                total += weight * part
        return total

    def _is_enough(self) -> bool:
        if self.patience is None:
            return False
        best, since = -self.scores[0], 0
        for score in self.scores[1:]:
            if -score < best * (1 - _GAIN):
                best, since = -score, 0
            else:
                since += 1
        return since >= self.patience

    def _predicted(self, snapshots: Snapshots) -> NDArray[Any]:
        total = np.zeros((0, 0))
        for chain, rows in enumerate(self.left_out):
            done = 0
            for outputs in member_outputs(self.net, snapshots, [chain], self._batches(rows)):
                values = self.values_of(outputs.cpu())[0].numpy()
                if not len(total):
                    # Probabilities of all cycles are the largest thing of a fit.
                    small = np.float32 if self._y.ndim == 1 else np.float64
                    total = np.zeros((len(self._times), values.shape[1]), small)
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
