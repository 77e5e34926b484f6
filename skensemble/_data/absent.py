"""Columns of X switched off: what the network gets in their place."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from skensemble._types import Array, Floats

from .intake import Intake
from .sources import ArrayInput

#: Rows that are looked at together.
_AT_ONCE = 2048


class Absent(NamedTuple):
    """What is needed to switch off each of some columns."""

    #: For each of them the numbers of the network's inputs that are made of it.
    inputs: list[torch.Tensor]
    #: What each input is where its column is off, (n_inputs,).
    values: torch.Tensor


def switch_off(
    intake: Intake,
    source: ArrayInput,
    weight: Floats | None,
    columns: list[int],
    *,
    is_dropped: bool,
) -> Absent:
    """Say how to switch off each of these columns of X.

    Where columns were dropped in training (`is_dropped`), their inputs are 0, as they were then.
    Those that stay are not scaled up: in training they were, to make up for others that were
    dropped beside them. Otherwise inputs are at their means over these rows, by their weights.
    Whole numbers that a module of the user's takes have none, since they may be codes: they are at
    the most frequent one.

    Means rank columns more as permutations do than medians and the most frequent categories: of
    six tables of values on four, on one less. But what a classifier learned of noise does harm:
    with a random target 16 % of the columns of four tables were two standard errors below 0 at
    their mean, and 6 % off 0 by as much with inputs of 0.
    """
    origin = _origins(intake, source)
    chosen = [torch.from_numpy(np.flatnonzero(origin == j)) for j in columns]
    weight = np.ones(source.n_samples) if weight is None else weight
    if intake.encoder is None and intake.kinds != "float":
        row = [_most_frequent(intake, source, weight, j) for j in range(len(origin))]
        return Absent(chosen, torch.stack(row))
    if is_dropped:
        return Absent(chosen, torch.zeros(len(origin), dtype=intake.dtype, device="cpu"))
    return Absent(chosen, _means(intake, source, weight / weight.sum()))


def _origins(intake: Intake, source: ArrayInput) -> NDArray[np.int64]:
    """Return the column of X behind each of the inputs."""
    columns = intake.columns
    matrix = np.arange(source.X.shape[1])
    if intake.encoder is None:
        return matrix
    numbers_first = matrix
    if columns is not None:
        widths = [width for _, width, _ in columns.readings_]
        matrix = np.repeat(np.arange(len(widths)), widths)  # a date has many columns
        numbers_first = np.argsort(columns.is_categorical_, kind="stable")
    return matrix[numbers_first[intake.encoder.origin_]]


def _means(intake: Intake, source: ArrayInput, share: Floats) -> torch.Tensor:
    """Return the weighted mean of each input; `share` sums to 1."""
    parts = torch.from_numpy(share).split(_AT_ONCE)
    chunks = intake.chunks(source, _AT_ONCE)
    total = torch.zeros(1, dtype=torch.float64, device="cpu")
    for part, X in zip(parts, chunks, strict=True):
        assert isinstance(X, torch.Tensor)
        total = total + part @ X.double()
    return total.to(intake.dtype)


def _most_frequent(intake: Intake, source: ArrayInput, weight: Floats, column: int) -> torch.Tensor:
    """Return the value of the largest weight, as the module takes it."""
    values: Array = source.X[:, [column]]
    values = values if isinstance(values, np.ndarray) else values.toarray()
    known, place = np.unique(values.ravel(), return_inverse=True)
    return intake.tensor(known[[np.bincount(place, weight).argmax()]])[0]
