"""A table of numbers and category codes to what a network can take, learned in fit."""

import copy
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray
from scipy.sparse import csr_matrix

from skensemble._types import Array, Floats
from skensemble.defaults import SMALL

#: Values that are transformed at a time, so that no float64 copy of the whole table is made.
_AT_ONCE = 1 << 18

#: Beyond this a value is as good as infinite, and infinity over infinity is no number.
_HUGE = 1e12

#: From here on the difference of two values may not be finite.
_LARGE = 2.0**1000

#: Fewer rows may well have distinct whole numbers.
_FEWEST_ROW_NUMBERS = 100

#: What is left of a column whose most frequent values stand alone has at least so many pieces.
_FEWEST = 4


class Categories(NamedTuple):
    """What fit saw of a column of categories."""

    #: Distinct ones, those with an input of their own, and those with enough rows for one.
    distinct: int
    kept: int
    enough: int
    #: Share of the rows, missing ones apart, whose category has too few rows.
    rare: float
    missing: float


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
        max_categories: int = 512,
        max_inputs: int = 1024,
    ):
        self.n_pieces, self.max_inputs = n_pieces, max_inputs
        self.min_rows, self.max_categories = min_rows, max_categories

    def fit(
        self,
        X: Array | csr_matrix,
        weight: Floats | None = None,
        is_categorical: NDArray[np.bool_] | None = None,
        parts: NDArray[np.int64] | None = None,
    ) -> "TableEncoder":
        """Learn the columns: NaN is missing, and categories are codes, integers from 0.

        A row of weight two counts as two rows. Where `is_categorical` is None, all columns are
        numbers. `parts` says of each column into how many pieces it is cut at most, as a negative
        number where it is a further part of the column before, and misses where that does.
        """
        n_columns = X.shape[1]
        if is_categorical is None:
            is_categorical = np.zeros(n_columns, dtype=bool)
        codes = np.flatnonzero(is_categorical).tolist()
        # Rows without weight are as if absent, but for their codes, which later rows may have.
        n_codes = [_count_codes(X[:, j]) for j in codes]
        if weight is not None and not weight.all():
            counts = weight > 0
            X, weight = X[counts], weight[counts]
        n_samples = X.shape[0]
        numbers = np.flatnonzero(~is_categorical)
        self._numbers = slice(None) if len(numbers) == n_columns else numbers
        parts = np.full(n_columns, self.n_pieces) if parts is None else parts
        parts = parts[numbers]
        # A few rows support few pieces. Below twice SMALL rows their number does not count, or a
        # row of weight two would not equal two rows.
        most = min(self.max_inputs, max(n_samples, 2 * SMALL) // 2)
        n_pieces = _share_pieces(np.abs(parts), self.n_pieces, most)
        self._fit_numbers(_dense_columns(X, numbers), weight, n_pieces, parts >= 0)
        self._n_inputs = len(numbers) + len(self._piece_of) + len(self._missing)
        self.n_outputs_ = self._n_inputs
        self._lookups: list[tuple[int, NDArray[np.int64]]] = []
        origin = [np.arange(len(numbers)), self._piece_of, self._missing]
        min_rows = min(self.min_rows, math.ceil(n_samples / SMALL))
        if weight is not None:
            # Counted in rows of mean weight; but where one row is enough, any is.
            min_rows = min_rows * float(weight.mean()) if n_samples > SMALL else 0
        self.categories_: list[Categories] = []
        for j, n in zip(codes, n_codes, strict=True):
            lookup, seen = _place_codes(X[:, j], n, weight, min_rows, self.max_categories)
            n_places = lookup.max(initial=-1) + 1
            lookup[lookup >= 0] += self.n_outputs_
            self.n_outputs_ += n_places
            origin.append(np.full(n_places, len(numbers) + len(self._lookups)))
            self._lookups.append((j, lookup))
            self.categories_.append(seen)
        self.origin_ = np.concatenate(origin)
        return self

    def _fit_numbers(
        self,
        columns: Iterator[Array],
        weight: Floats | None,
        n_pieces: NDArray[np.int64],
        is_first: NDArray[np.bool_],
    ) -> None:
        centers, scales, shrinks, missing, piece_of, edges = [], [], [], [], [], []
        self._is_constant = np.zeros(len(n_pieces), dtype=bool)
        self.row_numbers_: list[int] = []
        self.missing_ = np.zeros(len(n_pieces))
        for place, column in enumerate(columns):
            is_known = ~np.isnan(column)
            known, w = column, weight
            if not is_known.all():
                if is_first[place]:
                    missing.append(place)
                self.missing_[place] = 1 - np.average(is_known, weights=weight)
                known, w = column[is_known], None if weight is None else weight[is_known]
            shrink = _shrink(known)
            known = known if shrink == 1 else known * shrink
            center, scale, thresholds, is_row_number = _measure(known, w, int(n_pieces[place]))
            centers.append(center)
            scales.append(scale)
            shrinks.append(shrink)
            self._is_constant[place] = len(thresholds) < 2
            if is_row_number:
                self.row_numbers_.append(place)
            if n_pieces[place] < 2 or not len(known):
                continue
            thresholds = _apart(np.unique(_scale(thresholds, center, scale)))
            if len(thresholds) > 2:
                piece_of += [place] * (len(thresholds) - 1)
                edges.append(np.stack([thresholds[:-1], thresholds[1:]]))
        self.center_, self.scale_ = np.array(centers, dtype=float), np.array(scales, dtype=float)
        self._shrink = np.array(shrinks) if min(shrinks, default=1) < 1 else None
        self._missing = np.array(missing, dtype=int)
        self._piece_of = np.array(piece_of, dtype=int)
        low, high = np.concatenate(edges, axis=1) if edges else np.empty((2, 0))
        self._low, self._slope = low, 1 / (high - low)

    def learn_late(self, X: Array | csr_matrix, weight: Floats | None = None) -> "TableEncoder":
        """Return an encoder that scales the numbers which were constant up to now, as they vary.

        Nothing was learned from them yet. Where they are as they were, they stay 0.
        """
        numbers = np.arange(X.shape[1])[self._numbers]
        late = np.flatnonzero(self._is_constant)
        if not len(late):
            return self
        other = copy.copy(self)
        other.center_, other.scale_ = self.center_.copy(), self.scale_.copy()
        other._is_constant = self._is_constant.copy()
        for place, column in zip(late, _dense_columns(X, numbers[late]), strict=True):
            known = column[~np.isnan(column)]
            if not len(known) or (known == known[0]).all():
                continue
            w = None if weight is None else weight[~np.isnan(column)]
            center, scale, *_ = _measure(known, w, 2)
            if self.missing_[place] == 1:
                other.center_[place] = center
            other.scale_[place] = scale
            other._is_constant[place] = False
        return other

    @property
    def pieces_(self) -> NDArray[np.intp]:
        """Number of pieces of each number."""
        return np.bincount(self._piece_of, minlength=len(self.center_))

    def transform(self, X: Array | csr_matrix, dtype: DTypeLike) -> Array:
        """Return the columns as the network takes them, of the dtype given."""
        size = rows_at_once(self.n_outputs_)
        out = np.empty((len(X), self.n_outputs_), dtype=dtype)
        for start in range(0, len(X), size):
            self._fill(out[start : start + size], X[start : start + size])
        return out

    def _fill(self, out: Array, X: Array) -> None:
        """Write the columns in their order: numbers, pieces, where numbers miss, categories."""
        n, m = len(self.center_), len(self._piece_of)
        numbers = X[:, self._numbers]
        shrunk = numbers if self._shrink is None else numbers * self._shrink
        z = _scale(shrunk, self.center_, self.scale_)
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


def rows_at_once(n_columns: int) -> int:
    """Return how many rows of so many columns, or the reverse, are made dense at a time."""
    return max(1, _AT_ONCE // max(1, n_columns))


def _dense_columns(X: Array | csr_matrix, numbers: NDArray[np.intp]) -> Iterator[Array]:
    """Yield one column after another; of a sparse matrix a few are made dense at a time."""
    if isinstance(X, np.ndarray):
        yield from (X[:, j] for j in numbers)
        return
    X, width = X.tocsc(), rows_at_once(X.shape[0])
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


def _share_pieces(most: NDArray[np.int64], n_pieces: int, n_inputs: int) -> NDArray[np.int64]:
    """Return the pieces of each number: as many as `n_inputs` allow, and at most its own."""
    while n_pieces > 1 and len(most) + np.minimum(most, n_pieces).sum() > n_inputs:
        n_pieces -= 1
    return np.minimum(most, n_pieces)


def _shrink(x: Array) -> float:
    """Return a factor under which differences of the largest floats are finite; 1 for others."""
    if not len(x) or max(float(x.max()), -float(x.min())) < _LARGE:
        return 1.0
    return 2.0**-100


def _apart(thresholds: Floats) -> Floats:
    """Drop thresholds so near to the one before that the slope between them is infinite."""
    gaps = np.diff(thresholds, prepend=-np.inf)
    return thresholds[gaps >= np.finfo(np.float64).tiny]


def _is_row_number(values: Array, n_samples: int) -> bool:
    """Tell whether sorted distinct values are whole numbers drawn without a repeat.

    By chance they would repeat: they come from so small a range that this is as good as certain.
    """
    if len(values) < n_samples or n_samples < _FEWEST_ROW_NUMBERS:
        return False
    width = float(values[-1]) - float(values[0])
    return width < min(20 * n_samples, n_samples**2 / 40) and bool((values % 1 == 0).all())


def _measure(x: Array, weight: Floats | None, n_pieces: int) -> tuple[float, float, Floats, bool]:
    """Return center and scale of a column without missing values, and thresholds of its pieces.

    The last result says whether the column is like a row number.
    """
    if not len(x):
        return 0.0, 1.0, np.empty(0), False
    mass: Array
    if weight is None:
        values, mass = np.unique(x, return_counts=True)
    else:
        values, place = np.unique(x, return_inverse=True)
        mass = np.bincount(place, weight)
    is_row_number = _is_row_number(values, len(x))
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
    return median, spread if spread > 0 else 1.0, values.astype(np.float64), is_row_number


def _cut(values: Array, mass: Array, n: int) -> Array:
    """Return the quantiles between `n` parts of a sorted sample, and its ends.

    They invert the weighted distribution function, so that a row of weight two is as two rows.
    """
    mass = np.cumsum(mass, dtype=np.float64)
    return values[np.searchsorted(mass / mass[-1], np.linspace(0, 1, n + 1))]


def _count_codes(codes: Array) -> int:
    return int(codes[~np.isnan(codes)].max(initial=-1)) + 1


def _place_codes(
    codes: Array, n: int, weight: Floats | None, min_rows: float, max_categories: int
) -> tuple[NDArray[np.int64], Categories]:
    """Return the place of each of `n` codes among the columns of a category column; -1 is none.

    Codes of few rows, and those beyond the most frequent, share the last place. Behind the codes
    stand the place of missing values and that of codes that fit has not seen.
    """
    counts = np.bincount(np.where(np.isnan(codes), n, codes).astype(int), weight, minlength=n + 1)
    has_enough = (counts >= min_rows) & (counts > 0)
    frequent = has_enough.copy()
    if frequent.sum() > max_categories - 1:
        frequent[np.argsort(-counts, kind="stable")[max(0, max_categories - 1) :]] = False
    place = np.full(n + 2, -1, dtype=np.int64)
    place[:-1][frequent] = np.arange(frequent.sum())
    place[:-1][~frequent & (counts > 0)] = frequent.sum()
    known, total = counts[:-1], counts.sum()
    return place, Categories(
        distinct=int((known > 0).sum()),
        kept=int(frequent[:-1].sum()),
        enough=int(has_enough[:-1].sum()),
        rare=float(known[~has_enough[:-1]].sum() / max(known.sum(), 1e-300)),
        missing=float(counts[-1] / total),
    )
