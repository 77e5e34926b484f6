"""Rows that the chains have not seen, and what each cycle predicts for them."""

import functools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from skorch.utils import to_device
from torch.utils.data import DataLoader, Subset

from ._data.rows import DatasetRows, Features
from ._data.sources import DatasetInput
from ._data.targets import Targets
from ._nets.inference import (
    chunk_size,
    drawing_nothing,
    first_not_finite,
    is_known,
    member_values,
)
from ._nets.snapshots import Snapshots
from ._nets.workers import in_threads
from ._training.net import SnapshotNet
from ._types import Array, Batch, Floats, Members, Scoring, State, Views
from ._uncertainty.conformal import Conformity
from ._uncertainty.spread import late_cycles, spread_of
from .members import Unseen, cycle_weights
from .scoring import EVEN, Decision, ScorerMeasure, measure_by

#: A cycle is a gain where it lowers the loss by more than this part of it for each doubling of the
#: steps. On 13 tables of at most 3,000 rows (two splits), one cycle without gain by this rule took
#: 0.75 of the time of two cycles without a gain of 0.1 %, and cost 0.13 % (1 % on the worst table).
#: Twice as much takes 0.69, and four times as much 0.57, but then wine_quality loses 2.8 %.
_LEAST_GAIN = 5e-4

#: Above this many probabilities a cycle, they are kept in float32.
_LARGE = 500_000

#: Parts of rows that all chains leave out.
_N_PARTS = 8

#: Most rows by which intervals and sets are made: their shares are then right to 0.1 %.
_MOST_JUDGED = 1 << 17

#: Rows that are combined at a time.
_BLOCK = 1 << 16


class Patience:
    """The rule that ends a run whose cycles no longer lower the loss of unseen rows.

    It takes `n_iter_no_change` cycles without gain. What counts as a gain goes by the price: a
    cycle that doubles the steps has to lower the loss by 0.05 %, one that adds a tenth to them by a
    seventh of that. Of a score above 0 it is a part of what is missing to 1, or of the score where
    that is above 1. The cycles of earlier calls do not count, and a run is not ended after the last
    that is planned.

    Parameters
    ----------
    n_iter_no_change : int
    ends : sequence of int
        Steps done after each cycle, those of earlier calls included.
    n_before : int, default=0
        Cycles of earlier calls.
    """

    def __init__(self, n_iter_no_change: int, ends: Sequence[int], n_before: int = 0):
        self.n_iter_no_change, self.n_planned = n_iter_no_change, len(ends)
        self.n_first = max(1, n_before)
        #: Least gain of each cycle that counts.
        self.least = _LEAST_GAIN * np.diff(np.log2(ends))[self.n_first - 1 :]

    def is_over(self, losses: list[float]) -> bool:
        """Tell whether to end the run after cycles with these losses."""
        best, since = min(losses[: self.n_first]), 0
        for loss, least in zip(losses[self.n_first :], self.least, strict=False):
            if loss < (best * (1 - least) if best >= 0 else best - least * _room_above(best)):
                best, since = loss, 0
            else:
                since += 1
        return since >= self.n_iter_no_change and len(losses) < self.n_planned


def _room_above(loss: float) -> float:
    """Return of what a gain is a part where the loss is the negative of a score above 0.

    Shares, such as an accuracy, may still gain what they lack of 1.
    """
    return 1 + loss if loss >= -1 else -loss


class Cycle(NamedTuple):
    """What the unseen rows say of a cycle."""

    #: Of shape (n_samples, k), NaN where no chain left the row out.
    predictions: Array
    #: Weight of each cycle so far.
    weights: Floats
    #: Score of their weighted mean, as the user reads it.
    score: float
    #: Loss of their weighted mean, each output in its own unit.
    loss: float
    #: Beside a metric that is not convex, the least loss of any weighted mean.
    usual: float | None = None


class UnseenRows:
    """Predictions of every cycle for rows that were left out, each by chains that left it out.

    The net's module is of the snapshots' kind; `X` has all rows, on the net's device, and `y` their
    encoded targets, whose meaning `targets` knows. `left_out` has for each chain the numbers of the
    rows that it predicts. `members` is the rule that weighs cycles, as in
    :func:`~skensemble.members.cycle_weights`. Without `patience` no run is ended. `sample_weight`
    has the weights of rows and classes, by which cycles are judged, and `row_weight` those of rows
    alone: a class that counts twice in the loss is not twice as frequent. With `scoring` cycles are
    judged by that scorer, which gets the weights of rows; by `decision` two classes are divided.
    In several `views` of rows a cycle predicts the mean over these.

    Attributes
    ----------
    is_unseen_by_all : bool
        Whether no chain has seen any of the rows.
    cycles : list of Cycle
        Each is added in one piece, since Ctrl-C may come at any moment.
    """

    def __init__(
        self,
        net: SnapshotNet,
        X: Features,
        left_out: Sequence[Array],
        y: Array,
        sample_weight: Floats | None,
        targets: Targets,
        members: Members,
        *,
        row_weight: Floats | None = None,
        patience: Patience | None = None,
        scoring: Scoring | None = None,
        decision: Scoring | None = None,
        views: Views | None = None,
    ):
        self.net, self.X, self.left_out, self.targets = net, X, left_out, targets
        self.members, self.patience, self.views = members, patience, views
        times = np.zeros(len(y), np.float32)
        for rows in left_out:
            times[rows] += 1
        self.is_seen = times == 0
        self._has_seen = bool(self.is_seen.any())
        self.is_unseen_by_all = not self._has_seen and bool((times == len(left_out)).all())
        times[self.is_seen] = np.nan
        #: How many chains predict each row, or all rows alike.
        self._times = (times[:1] if (times == times[0]).all() else times)[:, None]
        self._y = self._judged(targets.truth(y))
        self.are_classes = self._y.ndim == 1
        weight = np.broadcast_to(1.0, len(y)) if sample_weight is None else sample_weight
        self._weight = self._judged(weight)
        self._row_weight = None if row_weight is None else self._judged(row_weight)
        self._measure, self._score_weight = targets.measure, self._weight
        #: Units of the outputs in which cycles are compared; None: as they are.
        self._units = targets.units
        if scoring is not None:
            self._measure, self._units = measure_by(scoring, targets), None
            self._score_weight = np.broadcast_to(1.0, len(self._y))
            if self._row_weight is not None:
                self._score_weight = self._row_weight
        self._decision = None if decision is None else Decision(decision, targets)
        self._try_metrics()
        self.cycles: list[Cycle] = []
        #: Threads that predict for chains beside each other, each with one intra-op thread.
        self.n_threads = 1
        #: Is called before each part of the rows is predicted; it may raise Ctrl-C.
        self.pause: Callable[[], object] = lambda: None
        #: What the next cycles predict, where an earlier process has found it out.
        self._found: deque[Array] = deque()

    def _try_metrics(self) -> None:
        """Ask the user's metrics about predictions that are nearly right: errors come early."""
        if isinstance(self._measure, ScorerMeasure):
            self._measure.judge.try_on(self._y, self._score_weight)
            fold = self._judged(self._folds())
            self._measure.parts = [np.flatnonzero(fold == k) for k in np.unique(fold)]
        if self._decision is not None:
            self._decision.try_on(self._y, self._row_weight)

    def recall(self, predictions: list[Array]) -> None:
        """Take over what the next cycles predict: a dataset that draws would say something else."""
        self._found = deque(predictions)

    def add(self, states: list[State]) -> bool:
        """Predict with the chains of a further cycle, weigh the cycles anew, say whether to stop.

        The run is to stop if the last cycles brought no gain and there are more to come.
        """
        found = self._found
        values = found.popleft() if found else self._predict(Snapshots(states), 1)[0]
        self._weigh(values, self._unseen([*(cycle.predictions for cycle in self.cycles), values]))
        return self._is_over()

    def _is_over(self) -> bool:
        """Tell whether nothing gains: a metric by itself, of few rows, is mostly chance."""
        rule = self.patience
        if rule is None or not rule.is_over([cycle.loss for cycle in self.cycles]):
            return False
        usual = [cycle.usual for cycle in self.cycles if cycle.usual is not None]
        return len(usual) < len(self.cycles) or rule.is_over(usual)

    def show(self, snapshots: Snapshots, n_cycles: int) -> None:
        """Predict with all chains of earlier cycles, and weigh those up to each.

        All of them together take hardly longer than one, and calls are to take no longer for what
        came before them.
        """
        values = self._predict(snapshots, n_cycles)
        unseen = self._unseen(values)
        for m in range(1, n_cycles + 1):
            self._weigh(values[m - 1], unseen.up_to(m), is_late=True)

    def _weigh(self, values: Array, unseen: Unseen, *, is_late: bool = False) -> None:
        """Add a cycle, weighed by what it and those before it predict."""
        judged = unseen if self._units is None else unseen.in_units(self._units)
        shown = unseen if callable(self.members) else judged
        before = self.cycles[-1].weights if self.cycles and is_late else None
        weights = cycle_weights(self.members, len(unseen.predictions), shown, before=before)
        loss = -judged.score(weights)
        with np.errstate(over="ignore"):
            score = -loss if judged is unseen else unseen.score(weights)
        score = max(score, -np.finfo(np.float64).max) + 0.0  # no -0.0
        self.cycles.append(Cycle(values, weights, score, loss, self._usual_loss(unseen)))

    def shown(self) -> Unseen:
        """Return what rules for members are shown of all cycles, each output in its own unit."""
        unseen = self._unseen([cycle.predictions for cycle in self.cycles])
        return unseen if self._units is None else unseen.in_units(self._units)

    def _usual_loss(self, unseen: Unseen) -> float | None:
        """Return the least loss beside a metric; None where there is none of them."""
        if unseen.measure is None or unseen.measure.is_convex or not self.targets.is_loss_known:
            return None
        plain = unseen._replace(measure=self.targets.measure)
        plain = plain if self.targets.units is None else plain.in_units(self.targets.units)
        return -plain.score(cycle_weights("stacked", len(plain.predictions), plain))

    def last_gain(self) -> float:
        """Return what the last cycle took off the loss, as a part of that after the first cycle.

        It is 0 where the last cycle is not the best. A loss that is near 0 falls for ever, if only
        by parts of itself. Of a score above 0, such as a share, no part of a loss is known.
        """
        losses = [cycle.loss for cycle in self.cycles]
        # Of two cycles the second would take much off the first whatever the budget.
        if len(losses) < 3 or losses[-1] >= min(losses[:-1]) or losses[0] <= 0:
            return 0.0
        return (losses[-2] - losses[-1]) / losses[0]

    def keep(self, n_cycles: int) -> None:
        """Forget cycles beyond the first `n_cycles`: Ctrl-C came before they counted."""
        del self.cycles[n_cycles:]

    def combine(self) -> Floats:
        """Return the weighted mean of all cycles for every row, of shape (n_samples, k)."""
        total = np.zeros(self.cycles[0].predictions.shape)
        for start in range(0, len(total), _BLOCK):
            rows = slice(start, start + _BLOCK)
            for weight, cycle in zip(self.cycles[-1].weights, self.cycles, strict=True):
                if weight:
                    total[rows] += weight * cycle.predictions[rows]
        return total

    def r2(self, combined: Floats) -> float | None:
        """Return R2 of what :meth:`combine` returned; None for classes."""
        if self._y.ndim == 1:
            return None
        return self.targets.r2(self._y, self._judged(combined), self._weight)

    def conformity(self, combined: Floats) -> Conformity | None:
        """Return how far off what :meth:`combine` returned is; None where that cannot be said.

        Of very many rows some say it as well.
        """
        some, counts_for = self._some()
        late = self.cycles[late_cycles(len(self.cycles)) :]
        spread = spread_of([self._judged(cycle.predictions)[some] for cycle in late])
        y = self._y[some]
        scores = self.targets.conformity(y, self._judged(combined)[some], spread)
        if scores is None:
            return None
        fold = None
        if len(self.left_out) > 1 and not self.is_unseen_by_all:
            fold = self._judged(self._folds())[some]
        labels = y.astype(np.int32) if y.ndim == 1 else None
        weight = None if self._row_weight is None else self._row_weight[some]
        if counts_for is not None:
            weight = counts_for if weight is None else weight * counts_for
        return Conformity.of(fold, scores, labels, weight)

    def _some(self) -> tuple[Any, Floats | None]:
        """Choose rows at random, where there are too many, and say how many others each stands for.

        Of classes the rare ones keep all rows. None: each stands for as many.
        """
        n = len(self._y)
        if n <= _MOST_JUDGED:
            return slice(None), None
        order = np.random.RandomState(0).permutation(n)  # rows may repeat with any period
        if self._y.ndim > 1:
            return np.sort(order[:_MOST_JUDGED]), None
        y = self._y[order]
        counts = np.bincount(y)
        quota = _MOST_JUDGED // np.count_nonzero(counts)
        by_class = np.argsort(y, kind="stable")
        place = np.empty(n, np.int64)
        place[by_class] = np.arange(n) - (np.cumsum(counts) - counts)[y[by_class]]
        chosen = np.sort(order[place < quota])
        return chosen, (counts / np.clip(counts, 1, quota))[self._y[chosen]]

    def _folds(self) -> Array:
        """Return the number of the chain that leaves a row out; without such folds, any parts."""
        fold = np.arange(len(self.is_seen), dtype=np.int32) % _N_PARTS
        if len(self.left_out) > 1 and not self.is_unseen_by_all:
            fold[:] = 0
            for k, rows in enumerate(self.left_out):
                fold[rows] = k
        return fold

    def beside(self, combined: Floats) -> tuple[Floats, Array, Floats]:
        """Return the judged rows of what :meth:`combine` returned, their truth and weight."""
        return self._judged(combined), self._y, self._weight

    def threshold(self, combined: Floats, temperature: float) -> float:
        """Return the probability above which the second of two classes is predicted."""
        if self._decision is None:
            return EVEN
        p = self.targets.temper(self._judged(combined), temperature)[:, 1]
        return self._decision.find_threshold(p, self._y, self._row_weight)

    def _judged(self, values: Array) -> Array:
        """Select the rows that a chain left out; uncopied where these are all."""
        # A callable of the user's may write on what it is given.
        return values[~self.is_seen] if self._has_seen or callable(self.members) else values

    def _unseen(self, predictions: list[Array]) -> Unseen:
        """Gather what the rule for members needs of the cycles' predictions.

        The result is not kept from cycle to cycle: with many rows it is as large as they are.
        """
        # The log-loss needs the probability of the true class alone; a callable may need more.
        measure = self._measure
        is_short = measure is None and self._y.ndim == 1 and not callable(self.members)
        shape = () if is_short else predictions[0].shape[1:]
        gathered = np.empty((len(predictions), len(self._y), *shape), np.result_type(*predictions))
        for out, values in zip(gathered, predictions, strict=True):
            judged = values[~self.is_seen] if self._has_seen else values
            out[:] = judged[np.arange(len(judged)), self._y] if is_short else judged
        if is_short:
            return Unseen.of_true_class(gathered, self._score_weight)
        return Unseen(gathered, self._y, self._score_weight, measure)

    def _predict(self, snapshots: Snapshots, n_cycles: int) -> list[Array]:
        """Return for each cycle the mean over the chains that left a row out; NaN where none did.

        The snapshots are those of all chains of one cycle, of the next, …; a cycle may have
        several of each chain.
        """
        with drawing_nothing(self.views, self.net.device):
            return self._predict_by_chain(snapshots, n_cycles)

    def _predict_by_chain(self, snapshots: Snapshots, n_cycles: int) -> list[Array]:
        total = _Total(self, n_cycles)
        tasks = [
            functools.partial(self._predict_rows, snapshots, chain, rows, total)
            for chain, rows in enumerate(self.left_out)
            if len(rows)  # a fold may be empty
        ]
        # Chains that leave out rows of their own write to places of their own.
        is_apart = is_known(self.net) and not (self.views or isinstance(self.X, DatasetInput))
        if self.n_threads > 1 and is_apart and not self.is_unseen_by_all:
            in_threads(tasks, self.n_threads)
        else:
            for task in tasks:
                task()
        for cycle in total.cycles:
            cycle /= self._times
        return total.cycles

    def _predict_rows(self, snapshots: Snapshots, chain: int, rows: Array, total: "_Total") -> None:
        """Add what a chain predicts for the rows that it left out."""
        done, n_chains = 0, len(self.left_out)
        members = range(chain, len(snapshots), n_chains)
        n_times = len(members) // total.n_cycles
        batches, values_of = self._batches(rows), self.targets.values
        for made in member_values(self.net, snapshots, members, batches, values_of, self.views):
            self.pause()
            values = made.numpy()
            if n_times > 1:
                values = values.reshape(-1, n_times, *values.shape[1:]).mean(axis=1)
            n = values.shape[1]
            _check_finite(values, rows[done : done + n])
            total.add(values, rows[done : done + n])
            done += n

    def _batches(self, rows: Array) -> Iterator[Batch]:
        if isinstance(self.X, DatasetInput):
            part = Subset(DatasetRows(self.X), rows.tolist())
            # A loader draws a seed, which must not come from the global generator.
            own = torch.Generator()
            for X in DataLoader(part, batch_size=self.net.batch_size, generator=own):
                yield to_device(X, self.net.device)
            return
        index = torch.from_numpy(rows).to(self.X.device)
        for chosen in index.split(chunk_size(self.net)):
            yield self.X[chosen.to(torch.int64)]


class _Total:
    """Sums of predictions, for each of some cycles of shape (n_samples, k)."""

    def __init__(self, unseen: UnseenRows, n_cycles: int):
        self.n_cycles, self.cycles = n_cycles, list[Array]()
        self._n_samples, self._are_classes = len(unseen.is_seen), unseen.are_classes
        self._lock = threading.Lock()

    def add(self, values: Array, rows: Array) -> None:
        """Add values of all cycles, (n_cycles, n, k), for these rows."""
        with self._lock:  # the first of all tells the shape
            if not self.cycles:
                shape = self._n_samples, values.shape[2]
                # Probabilities of all cycles may be the largest thing of a fit.
                is_large = self._are_classes and shape[0] * shape[1] > _LARGE
                dtype = np.float32 if is_large else np.float64
                self.cycles = [np.zeros(shape, dtype) for _ in range(self.n_cycles)]
        for cycle, part in zip(self.cycles, values, strict=True):
            cycle[rows] += part


def _check_finite(values: Array, rows: Array) -> None:
    """Refuse predictions by which nothing can be judged; `rows` has the number of each row."""
    row = first_not_finite(values)
    if row is not None:
        raise ValueError(
            f"Got X (or X_val) with the row {rows[row]}, for which the network predicts no finite "
            "values, but expected rows by which the cycles can be judged: scale the columns, or "
            "set a lower lr."
        )
