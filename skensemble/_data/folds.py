"""Which rows each chain leaves out.

A row's fold is a hash of what stands in it, so that identical rows share a fold, in one call and
in later ones: a chain that left a row out has seen no copy of it either.
"""

import hashlib
import zlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

Rows = NDArray[np.integer[Any]]
Hashes = NDArray[np.uint64]

#: With one chain, "cross" leaves out the first of so many folds.
ONE_OF = 5

#: Values that are hashed at a time.
_BLOCK = 1 << 20


class Folds(NamedTuple):
    """For each chain the rows that it trains on, and those that it leaves out."""

    trained: list[Rows]
    left_out: list[Rows]


def folds(
    validation: Any, n_chains: int, data: Any, y: Any, groups: Any, seed: int
) -> Folds | None:
    """Rows of each chain.

    Parameters
    ----------
    validation : {"cross"}, float, splitter or None
        "cross": each chain leaves out its own fold, one chain the first of five. A fraction: the
        same rows for all. A splitter of scikit-learn: a fold a chain.
    n_chains : int
    data : ArrayInput, SparseInput, DictInput or DatasetInput
    y : ndarray of shape (n_samples, ...)
        Handed to a splitter.
    groups : array-like of shape (n_samples,) or None
        Rows of one group share a fold.
    seed : int
        Salt of the hashes.

    Returns
    -------
    folds : Folds or None
        None where nothing is left out: by wish, or since a chain would have no rows to train on.

    Raises
    ------
    ValueError
        If a splitter leaves out a row never or twice.
    """
    n = data.n_samples
    if validation is None:
        return None
    if hasattr(validation, "get_n_splits"):
        return _by_splitter(validation, data, y, groups)
    hashes = row_hashes(data, seed) if groups is None else group_hashes(groups, seed)
    if validation == "cross":
        fold = hashes % np.uint64(n_chains if n_chains > 1 else ONE_OF)
        out = [fold == k for k in range(n_chains)]
    else:
        out = [hashes < np.uint64(float(validation) * 2.0**63) * np.uint64(2)] * n_chains
    if any(mask.all() for mask in out) or not any(mask.any() for mask in out):
        return None
    rows = np.arange(n)
    # Kept through the fit, and as many for each chain as there are rows.
    short = rows.astype(np.int32) if n < 2**31 else rows
    return Folds([short[~mask] for mask in out], [rows[mask] for mask in out])


def _by_splitter(splitter: Any, data: Any, y: Any, groups: Any) -> Folds:
    X = (
        data.X
        if isinstance(getattr(data, "X", None), np.ndarray)
        else np.zeros((data.n_samples, 1))
    )
    splits = list(splitter.split(X, y, groups))
    left_out = [np.asarray(test) for _, test in splits]
    if not np.array_equal(np.sort(np.concatenate(left_out)), np.arange(data.n_samples)):
        raise ValueError(
            f"Got validation={splitter!r}, but expected a splitter that leaves out each row "
            "exactly once, such as KFold or GroupKFold."
        )
    return Folds([np.asarray(train) for train, _ in splits], left_out)


def row_hashes(data: Any, seed: int) -> Hashes:
    """A hash of each row's values: equal rows have equal ones, whatever holds them.

    -0.0 counts as 0.0, and all NaN as one value. Rows of a dataset, which may be different each
    time they are read, are known by their number.
    """
    salt = _mix(np.uint64(seed % 2**63))
    if not hasattr(data, "X"):
        total = _mix(np.arange(data.n_samples, dtype=np.uint64) + salt)
    elif isinstance(data.X, dict):
        total = np.zeros(data.n_samples, np.uint64)
        for name in data.X:
            total += _hashed(data.X[name], _mix(salt + np.uint64(zlib.crc32(str(name).encode()))))
    else:
        total = _hashed(data.X, salt)
    return _mix(total + salt)


def group_hashes(groups: Any, seed: int) -> Hashes:
    """A hash of each row's group."""
    groups = np.asarray(groups)
    if groups.ndim != 1:
        raise ValueError(f"Got groups of shape {groups.shape}, but expected one a row.")
    if groups.dtype.kind == "O":  # of any types, which cannot be ordered
        groups = groups.astype(str)
    values, index = np.unique(groups, return_inverse=True)
    digests = [
        hashlib.blake2b(f"{seed} {value}".encode(), digest_size=8).digest() for value in values
    ]
    return np.frombuffer(b"".join(digests), np.uint64)[index]


def _hashed(X: Any, salt: Any) -> Hashes:
    """Sum over a row's values that are not 0, each hashed with its column.

    A sum, so that a sparse row has the hash of the dense one.
    """
    if issparse(X):
        if not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
        columns = _mix(np.arange(X.shape[1], dtype=np.uint64) + salt)
        sums = np.concatenate([[np.uint64(0)], np.cumsum(_values(X.data, columns[X.indices]))])
        return sums[X.indptr[1:]] - sums[X.indptr[:-1]]
    X = X.reshape(len(X), -1)
    columns = _mix(np.arange(X.shape[1], dtype=np.uint64) + salt)
    total = np.empty(len(X), np.uint64)
    step = max(1, _BLOCK // max(1, X.shape[1]))
    for start in range(0, len(X), step):
        rows = slice(start, start + step)
        total[rows] = _values(X[rows], columns).sum(axis=1, dtype=np.uint64)
    return total


def _values(X: NDArray[Any], columns: Hashes) -> Hashes:
    """A hash of each value in its column; 0 where the value is 0.

    In double precision: in single, all time stamps of a minute would be one.
    """
    values = np.array(X, dtype=np.float64)
    values[np.isnan(values)] = np.nan
    hashes = _mix(values.view(np.uint64) ^ columns)
    hashes[values == 0] = 0
    return hashes


def _mix(z: Any) -> Any:
    """Finalizer of SplitMix64 (Steele, Lea and Flood 2014): every bit decides about every other."""
    with np.errstate(over="ignore"):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
