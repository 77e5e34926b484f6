"""A hash of each row, by which identical rows share a fold."""

import hashlib
import zlib
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse

from skensemble._types import Array

from .sources import Source

Hashes = NDArray[np.uint64]

#: Values that are hashed at a time.
_BLOCK = 1 << 17


def row_hashes(data: Source, seed: int) -> Hashes:
    """Hash the values of each row: equal rows have equal hashes, whatever holds them.

    -0.0 counts as 0.0, and all NaN as one value. Rows of a dataset are known by their number:
    they may differ from one reading to the next.
    """
    salt = _mix(np.uint64(seed % 2**63))
    X = getattr(data, "X", None)
    if X is None:
        total = _mix(np.arange(data.n_samples, dtype=np.uint64) + salt)
    elif isinstance(X, dict):
        total = np.zeros(data.n_samples, np.uint64)
        for name in X:
            total += _sum_hashes(X[name], _mix(salt + np.uint64(zlib.crc32(str(name).encode()))))
    else:
        total = _sum_hashes(X, salt)
    return _mix(total + salt)


def group_labels(groups: ArrayLike) -> Array:
    """Return the group of each row, of one type, which can be ordered."""
    labels = np.asarray(groups)
    if labels.ndim != 1:
        raise ValueError(
            f"Got groups of shape {labels.shape}, but expected one a row: take one column, or "
            "join several into one label."
        )
    # Values of several types cannot be ordered.
    return labels.astype(str) if labels.dtype.kind == "O" else labels


def group_hashes(groups: ArrayLike, seed: int) -> Hashes:
    """Hash the group of each row."""
    values, index = np.unique(group_labels(groups), return_inverse=True)
    digests = [
        hashlib.blake2b(f"{seed} {value}".encode(), digest_size=8).digest() for value in values
    ]
    return np.frombuffer(b"".join(digests), np.uint64)[index]


def _sum_hashes(X: Any, salt: np.uint64) -> Hashes:
    """Sum the hashes of each row's values that are not 0, each hashed with its column.

    The sum gives a sparse row the hash of the dense one.
    """
    if issparse(X):
        if not X.has_canonical_format:
            X = X.copy()
            X.sum_duplicates()
        columns = _mix(np.arange(X.shape[1], dtype=np.uint64) + salt)
        sums = np.concatenate([[np.uint64(0)], np.cumsum(_hash_values(X.data, columns[X.indices]))])
        return sums[X.indptr[1:]] - sums[X.indptr[:-1]]
    X = X.reshape(len(X), -1)
    columns = _mix(np.arange(X.shape[1], dtype=np.uint64) + salt)
    total = np.empty(len(X), np.uint64)
    step = max(1, _BLOCK // max(1, X.shape[1]))
    for start in range(0, len(X), step):
        rows = slice(start, start + step)
        total[rows] = _hash_values(X[rows], columns).sum(axis=1, dtype=np.uint64)
    return total


def _hash_values(X: Array, columns: Hashes) -> Hashes:
    """Hash each value with its column; 0 where the value is 0.

    In double precision: in single, all time stamps of a minute would be one.
    """
    values = np.array(X, dtype=np.float64)
    values[np.isnan(values)] = np.nan
    hashes = _mix(values.view(np.uint64) ^ columns)
    hashes[values == 0] = 0
    return hashes


def _mix(z: Any) -> Any:
    """Mix the bits: the finalizer of SplitMix64 (Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))
