"""A raw table to numbers that a network can take, learned in fit."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

#: Rows that are transformed at a time, so that no float64 copy of the whole table is made.
_CHUNK = 8192

#: Beyond this a value is as good as infinite, and infinity over infinity is no number.
_HUGE = 1e12

#: Values of a sparse matrix that are made dense at a time.
_DENSE = 1 << 22


class TableScaler:
    """Columns centred at their median, scaled by their quartiles and smoothly clipped.

    The median and the distance of the quartiles do not move with outliers, and a smooth clip
    keeps those within (-3, 3): Holzmüller et al. 2024, section 3 (RealMLP). All of it is done
    in float64 before any cast: a time stamp's seconds are lost in float32.

    Attributes
    ----------
    center_, scale_ : ndarray of float64 of shape (n_features,)

    References
    ----------
    .. [1] D. Holzmüller, L. Grinsztajn and I. Steinwart, "Better by Default: Strong Pre-Tuned
       MLPs and Boosted Trees on Tabular Data", NeurIPS 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from skensemble.tables import TableScaler
    >>> X = np.array([[0.0], [1.0], [2.0], [3.0], [1e9]])
    >>> TableScaler().fit(X).transform(X, np.float64).round(2).ravel()
    array([-0.95, -0.49,  0.  ,  0.49,  3.  ])
    """

    center_: NDArray[np.float64]
    scale_: NDArray[np.float64]

    def fit(self, X: Any, weight: NDArray[Any] | None = None) -> "TableScaler":
        """Learn the columns' quantiles.

        Parameters
        ----------
        X : ndarray or CSR matrix of shape (n_samples, n_features)
        weight : ndarray of shape (n_samples,), default=None
            A row of weight two counts as two rows. None: each counts once.
        """
        levels = [0, 0.25, 0.5, 0.75, 1]
        if issparse(X):
            low, q1, median, q3, high = _sparse_quantiles(X, levels, weight)
        else:
            low, q1, median, q3, high = _quantiles(X, levels, weight)
        spread = q3 - q1
        # A column of mostly one value has no quartiles; a constant one is only centred.
        spread = np.where(spread > 0, spread, high / 2 - low / 2)
        self.center_ = median
        self.scale_ = np.where(spread > 0, spread, 1.0)
        return self

    def transform(self, X: NDArray[Any], dtype: Any) -> NDArray[Any]:
        """Columns as the network takes them, of the dtype given."""
        if len(X) <= _CHUNK:
            return self._clipped(X).astype(dtype, copy=False)
        out = np.empty(X.shape, dtype=dtype)
        for start in range(0, len(X), _CHUNK):
            rows = slice(start, start + _CHUNK)
            out[rows] = self._clipped(X[rows])
        return out

    def _clipped(self, X: NDArray[Any]) -> NDArray[np.float64]:
        with np.errstate(over="ignore"):
            z = np.subtract(X, self.center_, dtype=np.float64)
            z /= self.scale_
        z.clip(-_HUGE, _HUGE, out=z)
        z /= np.hypot(1, z / 3)
        return z


def _quantiles(X: NDArray[Any], q: list[float], weight: NDArray[Any] | None) -> NDArray[np.float64]:
    """Quantiles of each column, by the inverse of the weighted distribution function.

    That method, and no interpolation, makes a row of weight two the same as two rows.
    """
    if weight is not None:
        X, weight = X[weight > 0], weight[weight > 0]
        order = np.argsort(X, axis=0, kind="stable")
        mass = np.cumsum(weight[order], axis=0, dtype=np.float64)
        mass /= mass[-1]
        index = np.stack([(mass < level).sum(axis=0) for level in q])
        chosen = np.take_along_axis(X, np.take_along_axis(order, index, axis=0), axis=0)
        return chosen.astype(np.float64)
    return np.quantile(X, q, axis=0, method="inverted_cdf").astype(np.float64)


def _sparse_quantiles(X: Any, q: list[float], weight: NDArray[Any] | None) -> NDArray[np.float64]:
    """The same of a sparse matrix, a few dense columns at a time."""
    X = X.tocsc()
    width = max(1, _DENSE // max(1, X.shape[0]))
    blocks = [
        _quantiles(X[:, start : start + width].toarray(), q, weight)
        for start in range(0, X.shape[1], width)
    ]
    return np.concatenate(blocks, axis=1)
