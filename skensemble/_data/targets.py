"""What y means: classes, or values.

A new kind of target, such as counts, is one more class that follows :class:`Targets`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn.metrics import r2_score
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from torch import nn

from skensemble._nets.homogeneity import is_homogeneous, is_of_differences, kind_of
from skensemble._nets.modules import check_outputs, check_scores
from skensemble._types import Array, ClassWeight, Floats, Input, Options, Parameter
from skensemble._uncertainty.conformal import masses
from skensemble._uncertainty.temperature import Temperature
from skensemble._warnings import short, warn
from skensemble.measures import Measure

from .column import is_missing
from .containers import naming, open_container, refusal
from .heads import Head

#: A user's weights, or None: all are equal.
Weight = Floats | None

#: All classes, where they are known before y, or None.
Classes = ArrayLike | None


class Targets(Head, Protocol):
    """What the targets of a fit mean, and the way from outputs back to predictions.

    Made from the estimator's parameters, it knows nothing of y before :meth:`learn`. A subclass
    must define all methods but :meth:`attributes`; what each has to do is said here.
    """

    #: Arguments of scikit-learn's checks of y.
    y_checks: ClassVar[Options] = {}
    #: The loss where the user names none.
    default_criterion: ClassVar[type[nn.Module]]
    #: Name of the fitted attribute that holds the predictions of unseen rows.
    unseen_name: ClassVar[str]
    #: Whether outputs can be compared with the targets, so that unseen rows can be judged.
    is_loss_known: bool

    def check_kind(self, y: Input) -> None:
        """Refuse a y that means something else, before scikit-learn looks at it."""

    def learn(self, y: Array, weight: Weight, classes: Classes = None) -> tuple[Self, Array]:
        """Learn from a first y what predict must undo; return that, and y encoded."""

    def resume(
        self, before: Self, y: Array, weight: Weight, classes: Classes = None
    ) -> tuple[Self, Array]:
        """Take over what `before` learned; return that, and a later y encoded."""

    def adopt(self, before: Self) -> Self:
        """Take over what `before` learned, without training rows."""

    def encode(self, y: Array) -> Array:
        """Return a later y as the loss takes it."""

    def weigh(self, y: Array, weight: Weight) -> Weight:
        """Return the weights of encoded targets in the loss from the user's weights."""

    @property
    def n_outputs(self) -> int:
        """Outputs that the network must have."""

    def check_output(self, output: torch.Tensor, module_name: str, n_samples: int) -> None:
        """Refuse a module whose output does not fit the targets."""

    def tensor(self, y: Array, output: torch.Tensor) -> torch.Tensor:
        """Return encoded targets as the criterion takes them beside such an output."""

    def truth(self, y: Array) -> Array:
        """Return encoded targets as members' values are compared with them."""

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        """Return what is averaged over members, (M, n, k) in float64, from their raw outputs."""

    @property
    def measure(self) -> Measure | None:
        """The loss that compares cycles; None: the log-loss of classes, the squared error."""
        return None

    @property
    def units(self) -> Floats | None:
        """Units of the outputs, (k,), in which cycles are compared; None: as they are."""
        return None

    def r2(self, y: Array, predictions: Array, weight: Floats) -> float | None:
        """Return R2 of predictions for truths; None where there is none."""
        return None

    def conformity(self, y: Array, predictions: Floats, spread: Floats) -> Floats | None:
        """Return what says how far off predictions are, a row for each; None: they do not say.

        `spread` is that of the late cycles, of the predictions' shape.
        """
        return None

    def decode(self, combined: Floats) -> Array:
        """Return predictions from combined values, (n, k)."""

    def shape_unseen(self, combined: Floats) -> Floats:
        """Return the weighted means of unseen predictions as the user gets them."""

    def choose_temperature(self, find: Callable[[], Temperature]) -> float:
        """Return the temperature of probabilities, of which `find` says what unseen rows ask."""
        return 1.0

    def show_temperature(self, temperature: float) -> float | None:
        """Return a fitted attribute; None where there are no probabilities."""
        return None

    def attributes(self) -> Options:
        """Return the fitted attributes of the estimator that come from y."""
        return {}


@dataclass(frozen=True)
class ClassTargets(Targets):
    """Classes: encoded as their number in the sorted labels, predicted as probabilities."""

    #: The estimator's parameter.
    class_weight: ClassWeight | None = None
    #: The estimator's parameter.
    calibrate: bool | str = False
    #: Sorted labels; None: not learned.
    classes: Array | None = None
    #: Weight of each class; None: not learned.
    by_class: Floats | None = None
    is_loss_known: bool = True

    default_criterion: ClassVar[type[nn.Module]] = nn.CrossEntropyLoss
    unseen_name: ClassVar[str] = "oof_decision_function_"

    @property
    def labels(self) -> Array:
        """Sorted labels, once they are learned."""
        assert self.classes is not None
        return self.classes

    def check_kind(self, y: Input) -> None:
        if issparse(y):
            raise refusal(y, "y", "expected one label a row, or 0 and 1 in several columns")
        _check_no_label_misses(np.asarray(y))
        kind = type_of_target(np.asarray(y))
        if kind.endswith("multioutput"):
            raise ValueError(
                f"Got y of type {kind!r}, but expected one label a row, or 0 or 1 for each of "
                "several labels: MultiOutputClassifier fits a classifier for each column."
            )

    def learn(self, y: Array, weight: Weight, classes: Classes = None) -> tuple[Self, Array]:
        _check_labels(y)
        with naming("y" if classes is None else "classes"):
            known = np.unique(y if classes is None else _open_classes(classes))
        learned = replace(self, classes=known)
        codes = learned._number(y)
        n_present = len(np.unique(codes if weight is None else codes[weight > 0]))
        if len(learned.labels) < 2 or (n_present < 2 and classes is None):
            raise ValueError(
                f"Got y with {n_present} class among the rows whose sample_weight is above 0, but "
                f"expected at least 2 classes. The labels are {short(learned.labels.tolist())}; in "
                "partial_fit give all of them as classes= in the first call."
            )
        return replace(learned, by_class=learned._class_weights(codes, weight)), codes

    def resume(
        self, before: Self, y: Array, weight: Weight, classes: Classes = None
    ) -> tuple[Self, Array]:
        _check_labels(y)
        known = before.labels
        if classes is not None and not np.array_equal(known, np.unique(classes)):
            raise ValueError(
                f"Got classes={short(np.unique(classes).tolist())}, but expected those of the "
                f"first call: {short(known.tolist())}. Give them in the first call alone, or fit "
                "anew."
            )
        same = replace(self, classes=known)
        codes = same._number(y)
        return replace(same, by_class=same._class_weights(codes, weight)), codes

    def adopt(self, before: Self) -> Self:
        return replace(self, classes=before.classes, by_class=before.by_class)

    def encode(self, y: Array) -> Array:
        _check_labels(y)
        return self._number(y)

    def _number(self, y: Array) -> Array:
        """Return the number of each label, which must be a known one."""
        strange = np.setdiff1d(np.unique(y), self.labels)
        if len(strange):
            raise ValueError(
                f"Got y with the classes {short(strange.tolist())}, but expected those of the "
                f"first call: {short(self.labels.tolist())}. Leave out such rows, or fit anew; in "
                "partial_fit give all labels as classes= in the first call."
            )
        return np.searchsorted(self.labels, y).astype(np.int64)

    def weigh(self, y: Array, weight: Weight) -> Weight:
        if self.class_weight is None:
            return weight
        by_class = self._class_weights(y, weight) if self.by_class is None else self.by_class
        assert by_class is not None
        if (by_class < 0).any() or not by_class[y].any():
            raise ValueError(
                f"Got class_weight={short(self.class_weight)}, but expected weights of at least 0, "
                "not all of them 0. A class of weight 0 is not learned."
            )
        return by_class[y] if weight is None else weight * by_class[y]

    def _class_weights(self, y: Array, weight: Weight) -> Weight:
        if self.class_weight is None:
            return None
        if self.class_weight != "balanced":
            return self._listed_class_weights()
        # This is scikit-learn's formula, but a row of weight two counts as two.
        mass = np.bincount(y, weights=weight, minlength=len(self.labels))
        return mass.sum() / (np.count_nonzero(mass) * np.where(mass > 0, mass, 1))

    def _listed_class_weights(self) -> Floats:
        """Return the weights that a dict has for the labels."""
        try:
            return compute_class_weight(self.class_weight, classes=self.labels, y=self.labels)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"Got class_weight={short(self.class_weight)}, but expected a number of at least 0 "
                f"for each label or for some of them; the labels are {short(self.labels.tolist())} "
                f"({error})."
            ) from error

    @property
    def n_outputs(self) -> int:
        return len(self.labels)

    def check_output(self, output: torch.Tensor, module_name: str, n_samples: int) -> None:
        check_scores(output, module_name, n_samples, self.n_outputs)

    def tensor(self, y: Array, output: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(y)

    def truth(self, y: Array) -> Array:
        return y

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        # A softmax in float32 saturates to exactly 1. Along so short an axis it is eight times
        # slower than across it.
        return torch.softmax(outputs.mT.contiguous(), dim=-2, dtype=torch.float64).mT

    def conformity(self, y: Array, predictions: Floats, spread: Floats) -> Floats:
        likelier, own = masses(predictions)
        rows = np.arange(len(y))
        return np.column_stack([likelier[rows, y], own[rows, y]])

    def word_answer(self, question: int, answer: int) -> str:
        return f" of the class {self.labels.tolist()[answer]!r}"

    def decode(self, combined: Floats) -> Array:
        return self.labels[combined.argmax(axis=1)]

    def shape_unseen(self, combined: Floats) -> Floats:
        return combined / combined.sum(axis=1, keepdims=True)

    def choose_temperature(self, find: Callable[[], Temperature]) -> float:
        if self.calibrate is False:
            return 1.0
        found = find()
        return found.value if self.calibrate is True or found.pays else 1.0

    def show_temperature(self, temperature: float) -> float:
        return temperature

    def attributes(self) -> Options:
        return {"classes_": self.classes}


def _open_classes(classes: ArrayLike) -> ArrayLike:
    if issparse(classes):
        raise refusal(classes, "classes", "expected a list of all labels")
    return open_container(classes, "classes")


def _check_no_label_misses(y: Array) -> None:
    """Refuse labels that are None or NaN, and say where the first one stands."""
    if y.ndim != 1 or y.dtype.kind not in "fO":
        return
    is_float = y.dtype.kind == "f"
    missing = np.flatnonzero(np.isnan(y) if is_float else [is_missing(label) for label in y])
    if len(missing):
        raise ValueError(
            f"Got y with missing labels, the first in row {missing[0]}, but expected one in each "
            "row: leave out the rows without (input contains NaN)."
        )


def _check_labels(y: Array) -> None:
    """Refuse values that are no labels."""
    with naming("y"):
        check_classification_targets(y)


#: Spreads beyond these have squares that no float64 holds.
_LEAST, _LARGEST = 1e-150, 1e150

#: Where nothing is scaled, values of this size, or of one divided by it, are warned of.
_FAR = 1e3


@dataclass(frozen=True)
class RealTargets(Targets):
    """Values: encoded with mean 0 and variance 1 where the loss scales with them."""

    #: False: outputs of the criterion may be anything, such as logarithms of rates.
    is_loss_known: bool = True
    #: Whether targets are scaled for the loss.
    is_scaled: bool = True
    #: What an error calls the criterion.
    criterion_name: str = "None"
    center: Floats | None = None
    scale: Floats | None = None
    #: Standard deviation of each output, by which several are compared; 0 where it is constant.
    spread: Floats | None = None

    y_checks: ClassVar[Options] = {"multi_output": True, "y_numeric": True}
    default_criterion: ClassVar[type[nn.Module]] = nn.MSELoss
    unseen_name: ClassVar[str] = "oof_prediction_"

    @classmethod
    def of(
        cls, criterion: Parameter, options: Options | None = None, asked: bool | None = None
    ) -> "RealTargets":
        """Say what is known of the outputs of a criterion, or of None.

        `options` are the arguments of its constructor; `asked` tells whether the user wants the
        targets scaled, or None.
        """
        if asked not in (None, False, True):
            raise ValueError(
                f"Got criterion__scale_target={short(asked)}, but expected True or False. Without "
                "it y is scaled where the criterion means the same in any unit."
            )
        is_scaled = is_homogeneous(criterion, options or {}) if asked is None else bool(asked)
        name = getattr(kind_of(criterion), "__name__", repr(criterion))
        return cls(is_of_differences(criterion), is_scaled, name)

    def _units(self) -> tuple[Floats, Floats]:
        assert self.center is not None
        assert self.scale is not None
        return self.center, self.scale

    def check_kind(self, y: Input) -> None:
        if issparse(y):
            raise refusal(y, "y", "expected an array: call its toarray() before")

    def learn(self, y: Array, weight: Weight, classes: Classes = None) -> tuple[Self, Array]:
        values = _as_matrix(y)
        center, spread = _center_and_spread(values, weight)
        scale = np.where(spread > 0, spread, 1.0)  # a constant target is only centred
        if not self.is_scaled:
            center, scale = np.zeros_like(center), np.ones_like(scale)
            self._warn_of_size(values)
        learned = replace(self, center=center, scale=scale, spread=spread)
        return learned, learned.encode(y)

    def _warn_of_size(self, values: Floats) -> None:
        size = float(np.abs(values).mean(axis=0).max(initial=0))
        if size and not 1 / _FAR < size < _FAR:
            warn(
                f"Got y of a size of about {size:.2g} with criterion={self.criterion_name}, which "
                "sees y as it is, but a network learns best where y is near 1: divide y, or set "
                "criterion__scale_target=True where the criterion means the same in any unit."
            )

    def resume(
        self, before: Self, y: Array, weight: Weight, classes: Classes = None
    ) -> tuple[Self, Array]:
        same = self.adopt(before)
        values, spread = _as_matrix(y), before.spread
        assert spread is not None
        if values.shape[1] == len(spread) and not spread.all():
            same = same._learn_late(values, weight)
        return same, same.encode(y)

    def _learn_late(self, values: Floats, weight: Weight) -> Self:
        """Learn the scale of outputs that were constant up to now: nothing hangs on it yet."""
        center, scale = self._units()
        assert self.spread is not None
        _, spread = _center_and_spread(values, weight)
        spread = np.where(self.spread > 0, self.spread, spread)
        if self.is_scaled:
            scale = np.where(spread > 0, spread, scale)
        return replace(self, center=center, scale=scale, spread=spread)

    def adopt(self, before: Self) -> Self:
        return replace(self, center=before.center, scale=before.scale, spread=before.spread)

    def encode(self, y: Array) -> Floats:
        center, scale = self._units()
        values = _as_matrix(y)
        if values.shape[1] != len(center):
            raise ValueError(
                f"Got y with {values.shape[1]} outputs, but expected {len(center)} as in the first "
                "call. Give y the columns that it had in fit."
            )
        return (values - center) / scale

    def weigh(self, y: Array, weight: Weight) -> Weight:
        return weight

    @property
    def n_outputs(self) -> int:
        return len(self._units()[0])

    def check_output(self, output: torch.Tensor, module_name: str, n_samples: int) -> None:
        check_outputs(output, module_name, n_samples, self.n_outputs)

    def tensor(self, y: Array, output: torch.Tensor) -> torch.Tensor:
        # They have the output's shape, so that a loss broadcasts nothing.
        return torch.from_numpy(y[:, 0] if output.ndim == 1 else y).to(output.dtype)

    def truth(self, y: Array) -> Array:
        center, scale = self._units()
        return y * scale + center

    @property
    def line(self) -> tuple[Floats, Floats]:
        """Factor and summand that turn each output into its value."""
        center, scale = self._units()
        if self.is_scaled and self.spread is not None:
            # What is left of a constant target's outputs is noise.
            scale = np.where(self.spread > 0, scale, 0.0)
        return scale, center

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        # Copies: arrays of a file that is mapped into memory cannot be written to.
        scale, center = (torch.from_numpy(np.array(part)) for part in self.line)
        return outputs.double().reshape(*outputs.shape[:2], -1) * scale + center

    @property
    def units(self) -> Floats | None:
        assert self.spread is not None
        units = np.where(self.spread > 0, self.spread, 1.0)
        is_plain = len(units) == 1 and _LEAST < units[0] < _LARGEST
        return None if is_plain else units

    def r2(self, y: Array, predictions: Array, weight: Floats) -> float | None:
        if len(y) < 2:
            return None
        units = self.units
        if units is not None:  # or squares overflow
            y, predictions = y / units, predictions / units
        return float(r2_score(y, predictions, sample_weight=weight))

    def conformity(self, y: Array, predictions: Floats, spread: Floats) -> Floats | None:
        if not self.is_loss_known:
            return None
        return np.hstack([np.abs(y - predictions), spread])

    def decode(self, combined: Floats) -> Array:
        return squeeze_output(combined)

    def shape_unseen(self, combined: Floats) -> Floats:
        return squeeze_output(combined)


def squeeze_output(values: Array) -> Array:
    """Drop the last axis where there is one output."""
    return values[..., 0] if values.shape[-1] == 1 else values


def _as_matrix(y: Array) -> Floats:
    return np.asarray(y, dtype=np.float64).reshape(len(y), -1)


def _center_and_spread(y: Floats, weight: Weight) -> tuple[Floats, Floats]:
    """Return the mean and the standard deviation of each output; 0 where it is constant."""
    largest = np.abs(y).max(axis=0)
    unit = np.where(largest > 0, largest, 1.0)  # or squares overflow
    center = np.average(y / unit, axis=0, weights=weight)
    variance = np.average((y / unit - center) ** 2, axis=0, weights=weight)
    # The variance of a constant target may be rounding.
    varies = np.sqrt(variance) > 10 * np.finfo(np.float64).eps
    return center * unit, np.where(varies, np.sqrt(variance) * unit, 0.0)
