"""What rows that a model has not seen lose by a column that is switched off."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

from ._compat import uncompiled
from ._data.absent import Absent
from ._data.folds import Folds, Rows, folds
from ._data.reading import Examples
from ._data.sources import ArrayInput
from ._nets.generators import on_named_device
from ._nets.inference import chunk_size, collect, is_known, outputs_without
from ._types import Array, Floats
from .fitted import Fitted, chain_weights
from .measures import measure_of
from .members import average
from .networks import TableNetwork

#: Losses that are in memory at a time.
_AT_ONCE = 1 << 22


class Part(NamedTuple):
    """Rows, and the model that judges them: none of its networks has seen them."""

    rows: Rows
    #: Weight of each snapshot.
    weights: Floats


def drops_columns(fitted: Fitted) -> bool:
    """Tell whether the built-in network was trained with columns dropped."""
    module = uncompiled(fitted.nets[0].module_)
    return fitted.intake.is_table and isinstance(module, TableNetwork) and module.drops_columns


def parts_of_new(fitted: Fitted, n_samples: int) -> list[Part]:
    """Let the ensemble judge rows that no chain has seen."""
    return [Part(np.arange(n_samples), fitted.member_weights)]


def folds_again(fitted: Fitted, data: Examples, groups: ArrayLike | None) -> Folds:
    """Find again which training rows each chain left out.

    Raises
    ------
    ValueError
        If no rows were left out, or if those that were cannot be told by the rows given.
    """
    chosen, resume, n = fitted.resume.chosen, fitted.resume, data.source.n_samples
    by, how = chosen.left_out_by
    if how is None:
        raise ValueError(
            "Got rows='training' and an ensemble all of whose chains saw all rows, but expected "
            "rows that were left out: fit with validation='cross' or several chains, or give rows "
            "that no chain was trained on, with rows='new'."
        )
    now = "groups" if groups is not None else data.source.precision
    if now != by:
        raise ValueError(
            f"Got X whose rows are told apart by {_WORDS[now]}, but expected {_WORDS[by]} as in "
            "fit, or their folds are not found again: give X and groups as they were, or rows "
            "that no chain was trained on, with rows='new'."
        )
    found = folds(how, chosen.n_chains, data.source, data.y, groups, resume.seed, chosen.assignment)
    if found is None:
        raise ValueError(
            f"Got X with {n} rows of which fit left out none, but expected some that it did: give "
            "all training rows."
        )
    return found


#: What rows are told apart by, in words.
_WORDS = {
    "groups": "groups=",
    "single": "values of float32",
    "double": "values of float64",
    "rows": "their numbers",
}


def parts_left_out(
    fitted: Fitted, data: Examples, groups: ArrayLike | None
) -> tuple[list[Part], Floats]:
    """Find the folds of training rows again, and let each chain judge the one that it left out.

    The second result has the weights in the loss as fit had them.
    """
    n = data.source.n_samples
    found = folds_again(fitted, data, groups)
    out = found.left_out
    weight = found.weigh(data.loss_weight, n)
    weight = np.ones(n) if weight is None else weight
    if all(rows is out[0] or np.array_equal(rows, out[0]) for rows in out):
        return [Part(out[0], fitted.member_weights)], weight
    parts = [Part(rows, own) for rows, own in zip(out, chain_weights(fitted), strict=True)]
    return [part for part in parts if len(part.rows)], weight


def is_by_place(fitted: Fitted) -> bool:
    """Tell whether the place of a row, and not its values alone, tells the fold it was in."""
    assignment = fitted.resume.chosen.assignment
    return assignment is None or assignment.is_by_row or len(assignment.spread) > 0


def losses_then(fitted: Fitted, data: Examples) -> Floats | None:
    """Return the losses that rows had in fit, where only their place tells their fold.

    None: their values tell it, or what was predicted then is not kept, as with quantiles. If they
    are not as many as then, the losses are NaN.
    """
    known = None if fitted.verdict is None else fitted.verdict.predictions
    if not is_by_place(fitted) or known is None or fitted.targets.levels:
        return None
    if len(known) != data.source.n_samples:
        return np.full(data.source.n_samples, np.nan)
    return _losses(fitted, known.reshape(len(known), -1), fitted.targets.truth(data.y))


@dataclass(frozen=True)
class Removal:
    """The losses of unseen rows, whole and without a column.

    Parameters
    ----------
    fitted : Fitted
    data : Examples
    parts : list of Part
    absent : Absent
        How to switch off each column.
    """

    fitted: Fitted
    data: Examples
    parts: list[Part]
    absent: Absent

    def blocks(self) -> Iterator[Floats]:
        """Yield the losses for a few columns after the other, (1 + columns, n_samples).

        The first row has the losses with all columns; rows that no part has are NaN.
        """
        n_columns, n = len(self.absent.inputs), self.data.source.n_samples
        size = max(1, _AT_ONCE // n)
        for start in range(0, max(n_columns, 1), size):
            inputs = self.absent.inputs[start : start + size]
            out = np.full((1 + len(inputs), n), np.nan)
            for part in self.parts:
                out[:, part.rows] = self._losses(part, inputs)
            yield out

    def _losses(self, part: Part, inputs: list[torch.Tensor]) -> Floats:
        """Return the losses of a part's rows, whole and without each of the inputs."""
        fitted, source = self.fitted, self.data.source
        assert isinstance(source, ArrayInput)
        net, targets = fitted.nets[0], fitted.targets
        device = torch.device(net.device or "cpu")
        rows = type(source)(source.X[part.rows])
        y = targets.truth(self.data.y[part.rows])
        members = np.flatnonzero(part.weights)
        weights = torch.from_numpy(part.weights[members])[None]
        snapshots, values = fitted.snapshots.to(device), self.absent.values.to(device)
        moved, size = [i.to(device) for i in inputs], chunk_size(net)

        def of_rows(start: int, stop: int) -> Iterator[torch.Tensor]:
            read = fitted.intake.chunks(rows, size, start, stop)
            chunks = (X.to(device) for X in read if isinstance(X, torch.Tensor))
            for outputs in outputs_without(net, snapshots, members, chunks, moved, values):
                losses = []
                for output in outputs:
                    combined = average(targets.values(output.cpu()), weights)[0].numpy()
                    losses.append(_losses(fitted, combined, y[start : start + len(combined)]))
                start += len(losses[0])
                yield torch.from_numpy(np.array(losses))[:, :, None]

        with on_named_device(net.device):
            return collect(rows.n_samples, size, of_rows, is_safe=is_known(net))[:, :, 0]


def _losses(fitted: Fitted, predictions: Floats, y: Array) -> Floats:
    """Return the loss of each row, (n,)."""
    measure = fitted.targets.measure or measure_of(y)
    losses = measure.losses(predictions, y)
    if losses is None:  # a metric such as AUC is no mean over rows
        losses = (measure.usual or measure_of(y)).losses(predictions, y)
    assert losses is not None
    return losses


def mean_and_error(
    values: Floats, weight: Floats, clusters: Array | None = None
) -> tuple[Floats, Floats]:
    """Return the weighted means of values, (p, n), over n rows, and their standard errors.

    Rows of one of the `clusters`, numbered from 0, hang together; None: each is one. The error is
    that of a ratio ([1]_, section 2.11): a row of weight two counts twice in the mean, but it is
    one observation. With one cluster it is not known, and NaN.

    References
    ----------
    .. [1] W. G. Cochran, "Sampling Techniques", 3rd edition, Wiley, 1977.

    Examples
    --------
    >>> import numpy as np
    >>> from skensemble.removal import mean_and_error
    >>> mean, error = mean_and_error(np.array([[1.0, 2.0, 3.0]]), np.ones(3))
    >>> mean, error.round(3)
    (array([2.]), array([0.577]))
    """
    share = weight / weight.sum()
    mean = (values * share).sum(axis=1)
    parts = (values - mean[:, None]) * share
    n = int(np.count_nonzero(weight))
    if clusters is not None:
        n = len(np.unique(clusters[weight > 0]))
        parts = np.array([np.bincount(clusters, row) for row in parts])
    if n < 2:
        return mean, np.full(len(mean), np.nan)
    return mean, np.sqrt(n / (n - 1) * (parts**2).sum(axis=1))
