"""Equal rows have equal hashes, whatever holds them."""

import numpy as np
import pytest
import scipy.sparse as sp
from conftest import QUICK

from skensemble import SnapshotEnsembleClassifier
from skensemble._data import hashes
from skensemble._data.folds import folds
from skensemble._data.hashes import group_hashes, row_hashes
from skensemble._data.sources import ArrayInput, DictInput, SparseInput


def test_equal_rows_have_equal_hashes_whatever_holds_them():
    rng = np.random.default_rng(0)
    X = rng.integers(-3, 3, (200, 6)).astype(np.float64)
    X[5] = X[77]
    X[6, 2], X[78] = -0.0, X[6]
    X[78, 2] = 0.0
    hashes = row_hashes(ArrayInput(X), 3)
    assert hashes[5] == hashes[77]
    assert hashes[6] == hashes[78]
    for same in (
        ArrayInput(X.astype(np.float32)),
        ArrayInput(X.astype(int)),
        ArrayInput(np.asfortranarray(X)),
        SparseInput(sp.csr_matrix(X)),
        SparseInput(sp.csr_array(X)),
        ArrayInput(X.reshape(200, 2, 3)),
    ):
        np.testing.assert_array_equal(row_hashes(same, 3), hashes)
    assert (row_hashes(ArrayInput(X), 4) != hashes).all()
    distinct = len(np.unique(X, axis=0))
    assert len(np.unique(hashes)) == distinct
    swapped = row_hashes(ArrayInput(X[:, ::-1].copy()), 3)
    palindromes = (X[:, ::-1] == X).all(axis=1)
    assert (swapped == hashes).sum() == palindromes.sum()
    named = DictInput({"a": X[:, :3], "b": X[:, 3:]})
    assert len(np.unique(row_hashes(named, 3))) == distinct


def test_nan_is_one_value():
    X = np.array([[np.nan, 1.0], [-np.nan, 1.0], [np.nan, 2.0]])
    one, two, three = row_hashes(ArrayInput(X), 0)
    assert one == two != three


def test_precisions_are_told_apart(digits):
    """A number in single precision may be another, in another fold."""
    X, y = digits[0] / 7, digits[1]
    model = SnapshotEnsembleClassifier(module__hidden=(8,), n_chains=2, **QUICK)
    model.fit(X.astype(np.float32), y)
    with pytest.warns(UserWarning, match="left out in another way"):
        model.partial_fit(X, y)


def test_time_stamps_of_one_minute_have_folds_of_their_own():
    X = 1.7e9 + np.linspace(0, 60, 500)[:, None]
    chosen = folds("cross", 4, ArrayInput(X), None, None, 0)
    assert min(len(rows) for rows in chosen.left_out) > 80


def test_rows_of_a_group_have_one_hash_wherever_they_stand():
    groups = np.array(["a", "b", "a", "c", "b"])
    got = group_hashes(groups, 0)
    assert len(set(got.tolist())) == 3
    assert (got[0], got[1]) == (got[2], got[4])
    np.testing.assert_array_equal(group_hashes(groups[::-1], 0), got[::-1])
    np.testing.assert_array_equal(group_hashes(groups[:2], 0), got[:2])
    assert not (group_hashes(groups, 1) == got).any()
    np.testing.assert_array_equal(group_hashes([None, 3, "a"], 0)[2], got[0])


def test_blocks_change_no_hash(digits, monkeypatch):
    X = ArrayInput(digits[0])
    with monkeypatch.context() as patch:
        patch.setattr(hashes, "_BLOCK", 1000)
        in_blocks = row_hashes(X, 0)
    np.testing.assert_array_equal(in_blocks, row_hashes(X, 0))
