"""A table of numbers and category codes to what a network can take, learned in fit."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from ..defaults import SMALL

#: Values that are transformed at a time, so that no float64 copy of the whole table is made.
_AT_ONCE = 1 << 20

#: Beyond this a value is as good as infinite, and infinity over infinity is no number.
_HUGE = 1e12

#: Pieces at least of what is left of a column whose most frequent values stand alone.
_FEWEST = 4


class TableEncoder:
    """Numbers scaled and, beside it, cut into linear pieces; categories as columns of 0 and 1.

    A number is centred at its median, scaled by its quartiles and smoothly clipped: neither moves
    with outliers, and the clip keeps those within (-3, 3) ([1]_, section 3). Beside it stand its
    *pieces* ([2]_, section 3.1): piece *t* rises from 0 to 1 while the number goes from one
    threshold to the next. With them the first layer can bend anywhere, where a network of scaled
    numbers is too smooth for most tables. Thresholds are quantiles, or all values where those are
    few; a value of so many rows that it would fill a piece is one by itself, and the quantiles are
    of the others. They know nothing of the target, or rows left out would not be unseen.

    Missing numbers become the median, and a further column says where they missed; missing
    categories are a category. Categories of few rows are one, as are those beyond the most
    frequent; one that fit has not seen is none.

    Parameters
    ----------
    n_pieces : int, default=8
        Pieces of each number by quantiles; fewer where there are many columns, none beyond a
        third of `max_inputs`.
    min_rows : int, default=10
        Categories of fewer rows are one.
    max_categories : int, default=128
        Columns of one category column at most.
    max_inputs : int, default=1024
        Columns of numbers and their pieces together, as far as there are pieces; below twice as
        many rows, half the number of rows.

    Attributes
    ----------
    n_outputs_ : int
        Columns that :meth:`transform` returns.
    origin_ : ndarray of int of shape (n_outputs,)
        For each of them the column that it is made of, counted from 0: numbers first.
    center_, scale_ : ndarray of float64 of shape (n_numbers,)

    References
    ----------
    .. [1] D. Holzmüller, L. Grinsztajn and I. Steinwart, "Better by Default: Strong Pre-Tuned
       MLPs and Boosted Trees on Tabular Data", NeurIPS 2024.
    .. [2] Y. Gorishniy, I. Rubachev and A. Babenko, "On Embeddings for Numerical Features in
       Tabular Deep Learning", NeurIPS 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from skensemble._data.encoder import TableEncoder
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0], [1e9]])
    >>> TableEncoder(n_pieces=2).fit(X).transform(X, np.float64).round(2)
    array([[-0.95,  0.  ,  0.  ],
           [-0.49,  0.5 ,  0.  ],
           [ 0.  ,  1.  ,  0.  ],
           [ 0.49,  1.  ,  0.  ],
           [ 3.  ,  1.  ,  1.  ]])
    """

    center_: NDArray[np.float64]
    scale_: NDArray[np.float64]
    n_outputs_: int
    origin_: NDArray[np.int64]

    def __init__(
        self,
        n_pieces: int = 8,
        min_rows: int = 10,
        max_categories: int = 128,
        max_inputs: int = 1024,
    ):
        self.n_pieces, self.max_inputs = n_pieces, max_inputs
        self.min_rows, self.max_categories = min_rows, max_categories

    def fit(
        self,
        X: Any,
        weight: NDArray[Any] | None = None,
        is_categorical: NDArray[np.bool_] | None = None,
    ) -> "TableEncoder":
        """Learn the columns.

        Parameters
        ----------
        X : ndarray or CSR matrix of shape (n_samples, n_features)
            NaN is missing; columns of categories hold their codes, integers from 0.
        weight : ndarray of shape (n_samples,), default=None
            A row of weight two counts as two rows. None: each counts once.
        is_categorical : ndarray of bool of shape (n_features,), default=None
            None: all columns are numbers.
        """
        n_samples, n_columns = X.shape
        if is_categorical is None:
            is_categorical = np.zeros(n_columns, dtype=bool)
        numbers = np.flatnonzero(~is_categorical)
        if weight is not None and not weight.all():
            counts = weight > 0
            X, weight = X[counts], weight[counts]
        # Few rows tell little of many pieces; where they are the fewest, weights are rows.
        most = min(self.max_inputs, max(n_samples, 2 * SMALL) // 2)
        n_pieces = min(self.n_pieces, most // max(1, len(numbers)) - 1)
        self._numbers = slice(None) if len(numbers) == n_columns else numbers
        centers, scales, missing, piece_of, edges = [], [], [], [], []
        for place, column in enumerate(_columns(X, numbers)):
            is_known = ~np.isnan(column)
            known, w = column, weight
            if not is_known.all():
                missing.append(place)
                known, w = column[is_known], None if weight is None else weight[is_known]
            center, scale, thresholds = _numbers(known, w, n_pieces)
            centers.append(center)
            scales.append(scale)
            if n_pieces < 2 or not len(known):
                continue
            thresholds = np.unique(_scaled(thresholds, center, scale))
            if len(thresholds) > 2:
                piece_of += [place] * (len(thresholds) - 1)
                edges.append(np.stack([thresholds[:-1], thresholds[1:]]))
        self.center_, self.scale_ = np.array(centers, dtype=float), np.array(scales, dtype=float)
        self._missing = np.array(missing, dtype=int)
        self._piece_of = np.array(piece_of, dtype=int)
        low, high = np.concatenate(edges, axis=1) if edges else np.empty((2, 0))
        self._low, self._slope = low, 1 / (high - low)
        self._n_inputs = len(numbers) + len(piece_of) + len(missing)
        self.n_outputs_ = self._n_inputs
        self._lookups: list[tuple[int, NDArray[np.int64]]] = []
        origin = [np.arange(len(numbers)), self._piece_of, self._missing]
        min_rows = min(self.min_rows, math.ceil(n_samples / SMALL))
        for j in np.flatnonzero(is_categorical).tolist():
            lookup = _lookup(X[:, j], weight, min_rows, self.max_categories)
            n_places = lookup.max(initial=-1) + 1
            lookup[lookup >= 0] += self.n_outputs_
            self.n_outputs_ += n_places
            origin.append(np.full(n_places, len(numbers) + len(self._lookups)))
            self._lookups.append((j, lookup))
        self.origin_ = np.concatenate(origin)
        return self

    def transform(self, X: NDArray[Any], dtype: Any) -> NDArray[Any]:
        """Columns as the network takes them, of the dtype given."""
        size = max(1, _AT_ONCE // max(1, self.n_outputs_))
        out = np.empty((len(X), self.n_outputs_), dtype=dtype)
        for start in range(0, len(X), size):
            self._fill(out[start : start + size], X[start : start + size])
        return out

    def _fill(self, out: NDArray[Any], X: NDArray[Any]) -> None:
        n, m = len(self.center_), len(self._piece_of)
        numbers = X[:, self._numbers]
        z = self._scaled(numbers)
        pieces = z.take(self._piece_of, axis=1)
        pieces -= self._low
        pieces *= self._slope
        out[:, n : n + m] = _within(pieces, 0, 1)
        out[:, :n] = _clipped(z)
        if len(self._missing):
            out[:, n + m : self._n_inputs] = np.isnan(numbers[:, self._missing])
        if self._lookups:
            out[:, self._n_inputs :] = 0
            rows = np.arange(len(X))
            for j, lookup in self._lookups:
                code = X[:, j]
                place = lookup[np.where(np.isnan(code), len(lookup) - 2, code).astype(int)]
                is_known = place >= 0
                out[rows[is_known], place[is_known]] = 1

    def _scaled(self, X: NDArray[Any]) -> NDArray[np.float64]:
        z = _scaled(X, self.center_, self.scale_)
        if len(self._missing) or np.isnan(z.sum()):
            np.nan_to_num(z, copy=False, nan=0.0)
        return z


def _columns(X: Any, numbers: NDArray[np.intp]) -> Iterator[NDArray[Any]]:
    """One column after another; of a sparse matrix a few are made dense at a time."""
    if not issparse(X):
        yield from (X[:, j] for j in numbers)
        return
    X, width = X.tocsc(), max(1, _AT_ONCE // max(1, X.shape[0]))
    for start in range(0, X.shape[1], width):
        yield from X[:, start : start + width].toarray().T


def _scaled(X: NDArray[Any], center: Any, scale: Any) -> NDArray[np.float64]:
    """In float64 before any cast: a time stamp's seconds are lost in float32."""
    with np.errstate(over="ignore"):
        z = np.subtract(X, center, dtype=np.float64)
        z /= scale
    return _within(z, -_HUGE, _HUGE)


def _within(z: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    """Clipped in place; ``z.clip`` takes three times as long for one row."""
    return np.minimum(np.maximum(z, low, out=z), high, out=z)


def _clipped(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Within (-3, 3), and near zero as it was."""
    return np.divide(z, np.hypot(1, z / 3), out=z)


def _numbers(
    x: NDArray[Any], weight: NDArray[Any] | None, n_pieces: int
) -> tuple[float, float, NDArray[np.float64]]:
    """Center and scale of a column without missing values, and thresholds between its pieces."""
    if not len(x):
        return 0.0, 1.0, np.empty(0)
    if weight is None:
        values, mass = np.unique(x, return_counts=True)
    else:
        values, place = np.unique(x, return_inverse=True)
        mass = np.bincount(place, weight)
    low, q1, median, q3, high = _quantiles(values, mass, 4).tolist()
    spread = q3 - q1
    # A column of mostly one value has no quartiles; a constant one is only centred.
    spread = spread if spread > 0 else high / 2 - low / 2
    if len(values) > n_pieces + 1:
        # By quantiles alone, a value of most rows would leave one piece for all others, or none.
        is_heavy = mass * n_pieces >= mass.sum()
        n_heavy = int(is_heavy.sum())
        share = float(mass[~is_heavy].sum() / mass.sum())
        n_pieces = max(1, min(n_pieces - n_heavy, max(_FEWEST, round(n_pieces * share))))
        others = _quantiles(values[~is_heavy], mass[~is_heavy], n_pieces)
        values = np.union1d(values[is_heavy], others)
    return median, spread if spread > 0 else 1.0, values.astype(np.float64)


def _quantiles(values: NDArray[Any], mass: NDArray[Any], n: int) -> NDArray[Any]:
    """Between `n` parts of a sorted sample, and its ends.

    The inverse of the weighted distribution function: a row of weight two is as two rows.
    """
    mass = np.cumsum(mass, dtype=np.float64)
    return values[np.searchsorted(mass / mass[-1], np.linspace(0, 1, n + 1))]


def _lookup(
    codes: NDArray[Any], weight: NDArray[Any] | None, min_rows: float, max_categories: int
) -> NDArray[np.int64]:
    """Place of each code among a column's columns; last but one of missing, last of unseen.

    Those of few rows, and those beyond the most frequent, share the last place.
    """
    is_known = ~np.isnan(codes)
    n = int(codes[is_known].max(initial=-1)) + 1
    counts = np.bincount(np.where(is_known, codes, n).astype(int), weight, minlength=n + 1)
    frequent = counts >= min_rows
    if frequent.sum() > max_categories - 1:
        frequent[np.argsort(-counts, kind="stable")[max_categories - 1 :]] = False
    place = np.full(n + 2, -1, dtype=np.int64)
    place[:-1][frequent] = np.arange(frequent.sum())
    place[:-1][~frequent & (counts > 0)] = frequent.sum()
    return place
