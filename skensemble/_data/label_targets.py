"""Several labels a row: each is there or not, with a probability of its own (multilabel y)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np
import torch
from scipy.sparse import issparse
from torch import nn

from skensemble._nets.modules import check_outputs
from skensemble._types import Array, Floats, Input, Options
from skensemble._uncertainty.temperature import Temperature
from skensemble._warnings import short
from skensemble.measures import LabelLogLoss, Measure

from .column import is_missing
from .heads import Sigmoids
from .targets import Classes, ClassTargets, Targets, Weight

#: What y of several labels a row is to be.
_RULE = "expected 0 or 1 (or truth values) for each label"


def targets_for(y: Input, targets: Targets, known: Targets | None = None) -> tuple[Targets, Input]:
    """Return the targets that y asks for, and y as they read it; refuse a y that is neither.

    A classifier's `targets` are those of classes, unless y has several columns of 0 and 1. `known`
    are those that an earlier call learned: later rows are of their kind.
    """
    may_be_labels = isinstance(targets, ClassTargets | LabelTargets)
    table = _indicators(y) if may_be_labels else None
    are_labels = table is not None if known is None else isinstance(known, LabelTargets)
    if not are_labels and table is None:
        targets.check_kind(y)
        return targets, y
    if not are_labels:
        raise ValueError(
            f"Got y of shape {np.shape(y)}, several labels a row, but expected one label a row "
            "as in the first call: give such rows, or fit anew."
        )
    if table is None:
        raise ValueError(
            f"Got y of shape {np.shape(y)}, but {_RULE} as in the first call: an array of shape "
            "(n_samples, n_labels), or fit anew."
        )
    return LabelTargets.of(targets), table


def adopted(targets: Targets, before: Targets) -> Targets:
    """Return targets of the parameters of now that take over what `before` learned."""
    made = LabelTargets.of(targets) if isinstance(before, LabelTargets) else targets
    return made.adopt(before)


def _indicators(y: Input) -> Array | None:
    """Return y of several columns of 0 and 1 as whole numbers; None where it is something else."""
    table = y.toarray() if issparse(y) else _array_of(y)
    if table.ndim != 2 or table.shape[1] < 2 or table.dtype.kind not in "biufO":
        return None
    if table.dtype.kind == "O":
        if any(isinstance(value, str | bytes) for value in table.flat):
            return None
        gaps = np.array([is_missing(value) for value in table.flat], bool).reshape(table.shape)
    else:
        gaps = np.isnan(table) if table.dtype.kind == "f" else np.zeros_like(table, bool)
    if gaps.any():
        raise ValueError(
            f"Got y with missing labels, the first in row {int(gaps.any(axis=1).argmax())}, but "
            f"{_RULE}: leave out the rows without (input contains NaN)."
        )
    try:
        table = table.astype(np.float64) if table.dtype.kind == "O" else table
    except (TypeError, ValueError):
        return None
    if not ((table == 0) | (table == 1)).all():
        _check_two_values(table)
        return None
    return table.astype(np.int64)


def _array_of(y: Input) -> Array:
    """Return y as an array; refuse rows that list the labels that are there."""
    try:
        table = np.asarray(y)
        are_lists = table.ndim == 1 and table.dtype.kind == "O" and any(map(_is_list, table))
    except ValueError:  # of unequal lengths
        if not isinstance(y, list | tuple):
            raise
        are_lists = True
    if are_lists:
        raise ValueError(
            "Got y with rows that list labels, but expected one label a row, or 0 or 1 for each "
            "label: MultiLabelBinarizer().fit_transform(y) makes columns of them."
        )
    return table


def _is_list(row: object) -> bool:
    return isinstance(row, list | tuple | set | frozenset | np.ndarray)


def _check_two_values(table: Array) -> None:
    """Refuse two other values, which scikit-learn takes for those of labels too."""
    values = np.unique(table)
    if len(values) <= 2 and (values == np.round(values)).all():
        raise ValueError(
            f"Got y of several columns with the values {short(values.tolist())}, but {_RULE}: "
            f"y == {values[-1].item()!r} says which labels are there."
        )


@dataclass(frozen=True)
class LabelTargets(Sigmoids, Targets):
    """Labels: 0 or 1 for each, predicted as a probability for each."""

    #: The estimator's parameter.
    calibrate: bool | str = False
    #: Number of labels; None: not learned.
    n_labels: int | None = None
    is_loss_known: bool = True

    y_checks: ClassVar[Options] = {"multi_output": True}
    default_criterion: ClassVar[type[nn.Module]] = nn.BCEWithLogitsLoss
    unseen_name: ClassVar[str] = "oof_decision_function_"

    @classmethod
    def of(cls, asked: Targets) -> "LabelTargets":
        """Make them of the parameters of a classifier; refuse those that mean nothing here."""
        if isinstance(asked, LabelTargets):
            return asked
        assert isinstance(asked, ClassTargets)
        if asked.class_weight is not None:
            raise ValueError(
                f"Got class_weight={short(asked.class_weight)} with several labels a row, but "
                "expected None: a row has no class of its own. Use criterion=nn.BCEWithLogitsLoss "
                "with criterion__pos_weight= of one number a label, or sample_weight."
            )
        return cls(calibrate=asked.calibrate)

    def learn(self, y: Array, weight: Weight, classes: Classes = None) -> tuple[Self, Array]:
        learned = replace(self, n_labels=y.shape[1])
        learned._check_classes(classes)
        return learned, y

    def resume(
        self, before: Targets, y: Array, weight: Weight, classes: Classes = None
    ) -> tuple[Self, Array]:
        same = self.adopt(before)
        same._check_classes(classes)
        return same, same.encode(y)

    def adopt(self, before: Targets) -> Self:
        assert isinstance(before, LabelTargets)
        return replace(self, n_labels=before.n_labels)

    def encode(self, y: Array) -> Array:
        if y.shape[1] != self.n_labels:
            raise ValueError(
                f"Got y with {y.shape[1]} labels, but expected {self.n_labels} as in the first "
                "call. Give y the columns that it had in fit."
            )
        return y

    def _check_classes(self, classes: Classes) -> None:
        """Refuse labels that are not as many as y has columns."""
        if classes is not None and not np.array_equal(
            np.unique(classes), np.arange(self.n_outputs)
        ):
            raise ValueError(
                f"Got classes={short(np.unique(classes).tolist())} and y of {self.n_labels} labels "
                f"a row, but expected their numbers, 0 to {self.n_outputs - 1}. Leave classes out."
            )

    def weigh(self, y: Array, weight: Weight) -> Weight:
        return weight

    @property
    def n_outputs(self) -> int:
        assert self.n_labels is not None
        return self.n_labels

    def check_output(self, output: torch.Tensor, module_name: str, n_samples: int) -> None:
        check_outputs(output, module_name, n_samples, self.n_outputs)

    def tensor(self, y: Array, output: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(y).to(output.dtype)

    def truth(self, y: Array) -> Array:
        return y

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(outputs.double())  # in float32 it saturates to exactly 1

    @property
    def measure(self) -> Measure:
        return LabelLogLoss()

    def conformity(self, y: Array, predictions: Floats, spread: Floats) -> Floats:
        return np.hstack([predictions, y])

    def decode(self, combined: Floats) -> Array:
        return (combined > 0.5).astype(np.int64)

    def shape_unseen(self, combined: Floats) -> Floats:
        return combined

    def choose_temperature(self, find: Callable[[], Temperature]) -> float:
        return ClassTargets(calibrate=self.calibrate).choose_temperature(find)

    def show_temperature(self, temperature: float) -> float:
        return temperature

    def attributes(self) -> Options:
        return {"classes_": np.arange(self.n_outputs)}
