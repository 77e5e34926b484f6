"""A table of numbers and category codes to what a network can take, learned in fit."""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.sparse import csr_matrix

from skensemble._types import Array, Floats
from skensemble.defaults import SMALL

#: Values that are transformed at a time, so that no float64 copy of the whole table is made.
_AT_ONCE = 1 << 20

#: Beyond this a value is as good as infinite, and infinity over infinity is no number.
_HUGE = 1e12

#: What is left of a column whose most frequent values stand alone has at least so many pieces.
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
    categories are a category. Categories of fewer than `min_rows` rows are one, as are those
    beyond the most frequent; one that fit has not seen is none.

    Each number has `n_pieces` pieces, fewer where there are many columns: numbers and their pieces
    together are `max_inputs` columns at most, or half as many as there are rows where that is
    less, and none are cut beyond a third of that. Categories have `max_categories` columns each at
    most.

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

    center_: Floats
    scale_: Floats
    #: Columns that :meth:`transform` returns.
    n_outputs_: int
    #: For each of them the column that it is made of, counted from 0: numbers first.
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
        X: Array | csr_matrix,
        weight: Floats | None = None,
        is_categorical: NDArray[np.bool_] | None = None,
    ) -> "TableEncoder":
        """Learn the columns: NaN is missing, and categories are codes, integers from 0.

        A row of weight two counts as two rows. Where `is_categorical` is None, all columns are
        numbers.
        """
        n_samples, n_columns = X.shape
        if is_categorical is None:
            is_categorical = np.zeros(n_columns, dtype=bool)
        if weight is not None and not weight.all():
            counts = weight > 0
            X, weight = X[counts], weight[counts]
        numbers = np.flatnonzero(~is_categorical)
        self._numbers = slice(None) if len(numbers) == n_columns else numbers
        # A few rows support few pieces. Below twice SMALL rows their number does not count, or a
        # row of weight two would not equal two rows.
        most = min(self.max_inputs, max(n_samples, 2 * SMALL) // 2)
        n_pieces = min(self.n_pieces, most // max(1, len(numbers)) - 1)
        self._fit_numbers(_dense_columns(X, numbers), weight, n_pieces)
        self._n_inputs = len(numbers) + len(self._piece_of) + len(self._missing)
        self.n_outputs_ = self._n_inputs
        self._lookups: list[tuple[int, NDArray[np.int64]]] = []
        origin = [np.arange(len(numbers)), self._piece_of, self._missing]
        min_rows = min(self.min_rows, math.ceil(n_samples / SMALL))
        for j in np.flatnonzero(is_categorical).tolist():
            lookup = _place_codes(X[:, j], weight, min_rows, self.max_categories)
            n_places = lookup.max(initial=-1) + 1
            lookup[lookup >= 0] += self.n_outputs_
            self.n_outputs_ += n_places
            origin.append(np.full(n_places, len(numbers) + len(self._lookups)))
            self._lookups.append((j, lookup))
        self.origin_ = np.concatenate(origin)
        return self

    def _fit_numbers(self, columns: Iterator[Array], weight: Floats | None, n_pieces: int) -> None:
        centers, scales, missing, piece_of, edges = [], [], [], [], []
        for place, column in enumerate(columns):
            is_known = ~np.isnan(column)
            known, w = column, weight
            if not is_known.all():
                missing.append(place)
                known, w = column[is_known], None if weight is None else weight[is_known]
            center, scale, thresholds = _measure(known, w, n_pieces)
            centers.append(center)
            scales.append(scale)
            if n_pieces < 2 or not len(known):
                continue
            thresholds = np.unique(_scale(thresholds, center, scale))
            if len(thresholds) > 2:
                piece_of += [place] * (len(thresholds) - 1)
                edges.append(np.stack([thresholds[:-1], thresholds[1:]]))
        self.center_, self.scale_ = np.array(centers, dtype=float), np.array(scales, dtype=float)
        self._missing = np.array(missing, dtype=int)
        self._piece_of = np.array(piece_of, dtype=int)
        low, high = np.concatenate(edges, axis=1) if edges else np.empty((2, 0))
        self._low, self._slope = low, 1 / (high - low)

    def transform(self, X: Array | csr_matrix, dtype: DTypeLike) -> Array:
        """Return the columns as the network takes them, of the dtype given."""
        size = max(1, _AT_ONCE // max(1, self.n_outputs_))
        out = np.empty((len(X), self.n_outputs_), dtype=dtype)
        for start in range(0, len(X), size):
            self._fill(out[start : start + size], X[start : start + size])
        return out

    def _fill(self, out: Array, X: Array) -> None:
        """Write the columns in their order: numbers, pieces, where numbers miss, categories."""
        n, m = len(self.center_), len(self._piece_of)
        numbers = X[:, self._numbers]
        z = _scale(numbers, self.center_, self.scale_)
        if len(self._missing) or np.isnan(z.sum()):
            np.nan_to_num(z, copy=False, nan=0.0)
        pieces = z.take(self._piece_of, axis=1)
        pieces -= self._low
        pieces *= self._slope
        out[:, n : n + m] = _clip(pieces, 0, 1)
        out[:, :n] = _clip_smoothly(z)
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


def _dense_columns(X: Array | csr_matrix, numbers: NDArray[np.intp]) -> Iterator[Array]:
    """Yield one column after another; of a sparse matrix a few are made dense at a time."""
    if isinstance(X, np.ndarray):
        yield from (X[:, j] for j in numbers)
        return
    X, width = X.tocsc(), max(1, _AT_ONCE // max(1, X.shape[0]))
    for start in range(0, X.shape[1], width):
        yield from X[:, start : start + width].toarray().T


def _scale(X: Array, center: Floats | float, scale: Floats | float) -> Floats:
    """Scale in float64, before any cast: a time stamp's seconds are lost in float32."""
    with np.errstate(over="ignore"):
        z = np.subtract(X, center, dtype=np.float64)
        z /= scale
    return _clip(z, -_HUGE, _HUGE)


def _clip(z: Floats, low: float, high: float) -> Floats:
    """Clip in place; ``z.clip`` takes three times as long for one row."""
    return np.minimum(np.maximum(z, low, out=z), high, out=z)


def _clip_smoothly(z: Floats) -> Floats:
    """Bring values within (-3, 3), in place; near zero they stay as they are."""
    return np.divide(z, np.hypot(1, z / 3), out=z)


def _measure(x: Array, weight: Floats | None, n_pieces: int) -> tuple[float, float, Floats]:
    """Return center and scale of a column without missing values, and thresholds of its pieces."""
    if not len(x):
        return 0.0, 1.0, np.empty(0)
    mass: Array
    if weight is None:
        values, mass = np.unique(x, return_counts=True)
    else:
        values, place = np.unique(x, return_inverse=True)
        mass = np.bincount(place, weight)
    low, q1, median, q3, high = _cut(values, mass, 4).tolist()
    spread = q3 - q1
    # A column of mostly one value has no quartiles; a constant one is only centred.
    spread = spread if spread > 0 else high / 2 - low / 2
    if len(values) > n_pieces + 1:
        # By quantiles alone, a value of most rows would leave one piece for all others, or none.
        is_heavy = mass * n_pieces >= mass.sum()
        share = float(mass[~is_heavy].sum() / mass.sum())
        n_left = n_pieces - int(is_heavy.sum())
        n_others = max(1, min(n_left, max(_FEWEST, round(n_pieces * share))))
        values = np.union1d(values[is_heavy], _cut(values[~is_heavy], mass[~is_heavy], n_others))
    return median, spread if spread > 0 else 1.0, values.astype(np.float64)


def _cut(values: Array, mass: Array, n: int) -> Array:
    """Return the quantiles between `n` parts of a sorted sample, and its ends.

    They invert the weighted distribution function, so that a row of weight two is as two rows.
    """
    mass = np.cumsum(mass, dtype=np.float64)
    return values[np.searchsorted(mass / mass[-1], np.linspace(0, 1, n + 1))]


def _place_codes(
    codes: Array, weight: Floats | None, min_rows: float, max_categories: int
) -> NDArray[np.int64]:
    """Return the place of each code among the columns of a category column; -1 is none.

    Codes of few rows, and those beyond the most frequent, share the last place. Behind the codes
    stand the place of missing values and that of codes that fit has not seen.
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
