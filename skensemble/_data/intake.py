"""What fit learned of X, and the way from a later X to tensors."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skensemble._nets.modules import float_type
from skensemble._types import Batch
from skensemble.defaults import SMALL

from .encoder import TableEncoder
from .frames import Columns, is_frame
from .rows import DatasetRows, Features, TensorRows, numpy_type, to_tensor
from .sources import ArrayInput, DatasetInput, Source, read

#: Types of a table that are taken as they are.
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


@dataclass(frozen=True)
class Intake:
    """What fit learned of X: it checks a later X and turns it into tensors.

    :meth:`learn` reads the X of fit; :meth:`encode` adds what the network is to see of it.
    """

    #: Whether X is a table for the built-in network. A user's module sees X as it is.
    is_table: bool
    n_features: int | None
    feature_names: NDArray[Any] | None
    #: Shape of one row; a dict of shapes where X is a dict.
    row_shape: Any
    #: Reads a frame; None where all columns are numbers by themselves.
    columns: Columns | None
    #: Turns a table into the network's inputs; None for a user's module.
    encoder: TableEncoder | None = None
    #: Type of the floats that the module takes.
    dtype: torch.dtype = torch.float32
    #: Whether there are so few rows that training is in float64 and without dropout.
    is_small: bool = False

    @classmethod
    def learn(
        cls, estimator: Any, X: Any, y: Any, y_checks: dict[str, Any]
    ) -> tuple["Intake", Source, Any]:
        """Check the X and y of a fit, and learn the columns of X.

        Returns
        -------
        intake : Intake
        source : Source
            X, checked.
        y : ndarray or None
            None beside a dataset that has its own targets.
        """
        is_table = estimator.module is None
        named = estimator.categorical_features
        are_named = named is not None and not isinstance(named, str)
        columns = Columns(named) if is_table and (are_named or is_frame(X)) else None
        stand_in = _stand_in(estimator, {})
        source, y = _read(stand_in, X, y, columns, is_table, y_checks, reset=True)
        found = vars(stand_in)
        names = found.get("feature_names_in_")
        return (
            cls(is_table, found.get("n_features_in_"), names, source.row_shape, columns),
            source,
            y,
        )

    def encode(
        self,
        source: Source,
        sample_weight: NDArray[np.float64] | None,
        encoder: TableEncoder,
        *,
        module: Any,
        batch_size: int,
        device: torch.device,
    ) -> "Intake":
        """Learn what the network sees of X, and the type of its floats."""
        if not self.is_table:
            return replace(self, dtype=float_type(module))
        assert isinstance(source, ArrayInput)
        is_small = source.n_samples <= min(SMALL, batch_size)
        has_float64 = device.type != "mps"
        kinds = None if self.columns is None else self.columns.is_categorical_
        return replace(
            self,
            encoder=encoder.fit(source.X, sample_weight, kinds),
            dtype=torch.float64 if is_small and has_float64 else torch.float32,
            is_small=is_small,
        )

    def read(
        self, estimator: Any, X: Any, y: Any = "no_validation", y_checks: Any = None
    ) -> tuple[Source, Any]:
        """Check a later X, and y beside it, by what fit learned.

        Raises
        ------
        ValueError
            If X does not have the columns, or the shape of a row, that it had in fit.
        """
        if isinstance(y, str) and self.columns is None and self._is_plain_table(X):
            return ArrayInput(X), None
        found = {"n_features_in_": self.n_features, "feature_names_in_": self.feature_names}
        known = {name: value for name, value in found.items() if value is not None}
        stand_in = _stand_in(estimator, known)
        source, y = _read(stand_in, X, y, self.columns, self.is_table, y_checks or {}, reset=False)
        if source.row_shape != self.row_shape:
            raise ValueError(
                f"Got X with rows of shape {source.row_shape}, but expected {self.row_shape} as "
                "in fit."
            )
        return source, y

    def _is_plain_table(self, X: Any) -> bool:
        """Tell whether scikit-learn's checks would pass; they take half of a small call."""
        if (
            type(X) is not np.ndarray
            or X.ndim != 2
            or X.dtype not in _FLOATS
            or len(X) == 0
            or X.shape[1:] != self.row_shape
            or self.feature_names is not None
        ):
            return False
        with np.errstate(over="ignore", invalid="ignore"):
            # A finite sum has finite terms. Where it overflows, scikit-learn looks at each.
            return math.isfinite(X.sum())

    def tensor(self, X: NDArray[Any]) -> torch.Tensor:
        """Turn rows into what the module takes."""
        if self.encoder is not None:
            X = self.encoder.transform(X, numpy_type(self.dtype))
        return to_tensor(X, self.dtype)

    def rows(self, source: Source) -> Any:
        """Return all rows as the module takes them, to be indexed by row numbers."""
        row_bytes = 0
        if self.encoder is not None:
            row_bytes = self.encoder.n_outputs_ * self.dtype.itemsize
        return source.rows(self.tensor, self.dtype, row_bytes)

    def chunks(self, source: Source, size: int) -> Iterator[Batch]:
        """Yield the rows as the module takes them, `size` at a time."""
        return source.chunks(self.tensor, self.dtype, size)

    def sizes(self) -> dict[str, Any]:
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


def place_rows(
    X: Features, y: torch.Tensor, weight: torch.Tensor | None, device: Any
) -> TensorRows | DatasetRows:
    """Put rows where the module is; a loader moves each batch of a dataset by itself."""
    if isinstance(X, DatasetInput):
        return DatasetRows(X, y, weight)
    weight = None if weight is None else weight.to(device)
    return TensorRows(X.to(device), y.to(device), weight)


def _stand_in(estimator: Any, fitted: dict[str, Any]) -> Any:
    """Return an estimator for scikit-learn's checks to read, and to write on."""
    stand_in = object.__new__(type(estimator))
    own = {name: value for name, value in vars(estimator).items() if not name.endswith("_in_")}
    stand_in.__dict__ = {**own, **fitted}
    return stand_in


def _read(
    stand_in: Any,
    X: Any,
    y: Any,
    columns: Columns | None,
    is_table: bool,
    y_checks: dict[str, Any],
    *,
    reset: bool,
) -> tuple[Source, Any]:
    checks: dict[str, Any] = {"accept_sparse": "csr"}
    if is_table:
        checks |= {"dtype": [np.float64, np.float32], "ensure_all_finite": "allow-nan"}
    else:
        checks |= {"dtype": "numeric", "allow_nd": True}
    source, y = read(
        stand_in, X, y, reset=reset, X_checks=checks, y_checks=y_checks, columns=columns
    )
    if is_table and not isinstance(source, ArrayInput):
        raise ValueError(
            f"Got X of type {type(X).__name__} with module=None, but expected a table: the "
            "built-in network takes no dicts and no datasets."
        )
    return source, y
