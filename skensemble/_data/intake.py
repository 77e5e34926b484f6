"""What fit learned of X, and the way from a later X to tensors."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike

from skensemble._nets.inference import first_view
from skensemble._nets.modules import float_type
from skensemble._nets.pickling import as_arrays
from skensemble._types import Array, Batch, Floats, Input, ModuleLike, Options, Views
from skensemble._warnings import warn
from skensemble.defaults import SMALL

from .encoder import TableEncoder
from .fitted_columns import FittedColumns, describe, find_messages
from .frames import Columns, is_frame
from .kinds import Kinds
from .rows import DatasetRows, Features, TensorRows, numpy_type, to_tensor
from .sources import ArrayInput, DatasetInput, Shape, Source, read

#: Types of a table that are taken as they are.
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class TableParameters(Protocol):
    """An estimator, as far as its parameters say how X is read."""

    module: ModuleLike | None
    categorical_features: ArrayLike | None


@dataclass(frozen=True)
class Intake:
    """What fit learned of X: it checks a later X and turns it into tensors.

    :meth:`learn` reads the X of fit; :meth:`encode` adds what the network is to see of it.
    """

    #: Whether X is a table for the built-in network. A user's module sees X as it is.
    is_table: bool
    n_features: int | None
    feature_names: Array | None
    row_shape: Shape
    #: Whether a module of the user's saw floats, whole numbers or truth values.
    kinds: Kinds
    #: Reads a frame; None where all columns are numbers by themselves.
    columns: Columns | None
    #: Turns a table into the network's inputs; None for a user's module.
    encoder: TableEncoder | None = None
    #: Type of the floats that the module takes.
    dtype: torch.dtype = torch.float32
    #: Whether there are so few rows that training is in float64 and without dropout.
    is_small: bool = False

    def __getstate__(self) -> Options:
        """Hold the type of floats in a form for files."""
        return {**vars(self), "dtype": as_arrays(self.dtype)}

    @classmethod
    def learn(
        cls, estimator: TableParameters, X: Input, y: Input, y_checks: Options
    ) -> tuple["Intake", Source, Array | None]:
        """Check the X and y of a fit, and learn the columns of X.

        The y that is returned is None beside a dataset that has its own targets.
        """
        is_table = estimator.module is None
        named = estimator.categorical_features
        are_named = named is not None and not isinstance(named, str)
        is_dated = isinstance(X, np.ndarray) and X.dtype.kind in "mM"
        is_mixed = are_named or is_frame(X) or is_dated
        columns = Columns(named) if is_table and is_mixed else None
        stand_in = _stand_in(estimator, {})
        source, y = read(stand_in, X, y, y_checks, columns, is_table=is_table, reset=True)
        found = vars(stand_in)
        names, n_features = found.get("feature_names_in_"), found.get("n_features_in_")
        # By themselves truth values are numbers; in a dict they may be a mask.
        source = source.as_kinds("float") if source.kinds == "truth" else source
        intake = cls(is_table, n_features, names, source.row_shape, source.kinds, columns)
        return intake, source, y

    def encode(
        self,
        source: Source,
        weight: Floats | None,
        of_table: Options,
        *,
        module: ModuleLike | None,
        batch_size: int,
        device: torch.device,
    ) -> "Intake":
        """Learn what the network sees of X, and the type of its floats.

        `of_table` has the arguments of the encoder for tables.
        """
        if not self.is_table:
            return replace(self, dtype=float_type(module))
        assert isinstance(source, ArrayInput)
        is_small = source.n_samples <= min(SMALL, batch_size)
        has_float64 = device.type != "mps"
        kinds, parts = None, None
        if self.columns is not None:
            kinds, parts = self.columns.is_categorical_, self.columns.parts_
        encoder = TableEncoder(**of_table)
        encoder.fit(source.X, weight, kinds, parts)
        for message in find_messages(self.columns, encoder, self._names()):
            warn(message)
        return replace(
            self,
            encoder=encoder,
            dtype=torch.float64 if is_small and has_float64 else torch.float32,
            is_small=is_small,
        )

    def learn_late(self, source: Source, weight: Floats | None) -> "Intake":
        """Learn the scale of columns that were constant in all earlier calls."""
        if self.encoder is None:
            return self
        assert isinstance(source, ArrayInput)
        return replace(self, encoder=self.encoder.learn_late(source.X, weight))

    def describe(self) -> FittedColumns | None:
        """Return what became of each column; None for a user's module."""
        if self.encoder is None:
            return None
        return describe(self.columns, self.encoder, self._names())

    def _names(self) -> Sequence[object]:
        """Return the names of the columns of a table; those that scikit-learn gives to an array."""
        if self.columns is not None:
            return self.columns.columns_
        names = self.feature_names
        return [f"x{i}" for i in range(self.n_features or 0)] if names is None else names.tolist()

    def read(
        self,
        estimator: object,
        X: Input,
        y: Input = "no_validation",
        y_checks: Options | None = None,
    ) -> tuple[Source, Array | None]:
        """Check a later X, and y beside it: its columns and the shape of a row are those of fit."""
        found = {"n_features_in_": self.n_features, "feature_names_in_": self.feature_names}
        known = {name: value for name, value in found.items() if value is not None}
        stand_in = _stand_in(estimator, known)
        source, y = read(
            stand_in, X, y, y_checks or {}, self.columns, is_table=self.is_table, reset=False
        )
        if source.row_shape != self.row_shape:
            raise ValueError(
                f"Got X with rows of shape {source.row_shape}, but expected {self.row_shape} as "
                "in fit."
            )
        return source if self.is_table else source.as_kinds(self.kinds), y

    def read_plain(self, X: Input) -> Source | None:
        """Return a later X where scikit-learn's checks would pass, which take half of a small call.

        None: ask :meth:`read`.
        """
        return ArrayInput(X) if self._is_plain_table(X) else None

    def _is_plain_table(self, X: Input) -> bool:
        """Tell whether X is the plainest kind of table, as in fit."""
        if (
            self.columns is not None
            or type(X) is not np.ndarray
            or X.ndim != 2
            or X.dtype not in _FLOATS
            or len(X) == 0
            or X.shape[1:] != self.row_shape
            or self.kinds == "whole"  # in fit, and these are floats
            or self.feature_names is not None
        ):
            return False
        with np.errstate(over="ignore", invalid="ignore"):
            # A finite sum has finite terms. Where it overflows, scikit-learn looks at each.
            return math.isfinite(X.sum())

    def tensor(self, X: Array) -> torch.Tensor:
        """Turn rows into what the module takes."""
        if self.encoder is not None:
            X = self.encoder.transform(X, numpy_type(self.dtype))
        return to_tensor(X, self.dtype)

    def rows(self, source: Source) -> Features:
        """Return all rows as the module takes them, to be indexed by row numbers."""
        n_outputs = 0 if self.encoder is None else self.encoder.n_outputs_
        row_bytes = n_outputs * self.dtype.itemsize
        return source.rows(self.tensor, self.dtype, row_bytes)

    def chunks(
        self, source: Source, size: int, start: int = 0, stop: int | None = None
    ) -> Iterator[Batch]:
        """Yield the rows from `start` to `stop` as the module takes them, `size` at a time."""
        stop = source.n_samples if stop is None else stop
        return source.chunks(self.tensor, self.dtype, size, start, stop)

    def sizes(self) -> Options:
        """Return the arguments of a module's constructor that the columns decide, by name."""
        if self.encoder is not None:
            return {
                "n_inputs": self.encoder.n_outputs_,
                "columns": self.encoder.origin_,
                "dtype": self.dtype,
            }
        if isinstance(self.row_shape, tuple) and self.row_shape:
            return {"n_inputs": self.row_shape[0]}
        return {}


def few_rows(X: Features, n: int, views: Views | None) -> Batch:
    """Return the first rows as the module may be given them: in the first of several views."""
    return first_view(views, X[:n])


def place_rows(
    X: Features, y: torch.Tensor, weight: torch.Tensor | None, device: torch.device | str | None
) -> TensorRows | DatasetRows:
    """Put rows where the module is; a loader moves each batch of a dataset by itself."""
    if isinstance(X, DatasetInput):
        return DatasetRows(X, y, weight)
    weight = None if weight is None else weight.to(device)
    return TensorRows(X.to(device), y.to(device), weight)


def _stand_in(estimator: object, fitted: Options) -> object:
    """Make an estimator for scikit-learn's checks to read, and to write on."""
    stand_in = object.__new__(type(estimator))
    own = {name: value for name, value in vars(estimator).items() if not name.endswith("_in_")}
    stand_in.__dict__ = {**own, **fitted}
    return stand_in
