"""Tensors and batches."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skensemble._data import batches
from skensemble._data.batches import (
    BatchIterator,
    Budget,
    Budgeted,
    EvenBatches,
)
from skensemble._data.rows import ChainRows, TensorRows, to_tensor


@given(n=st.integers(1, 500), batch_size=st.integers(1, 600))
def test_batches_are_even_and_cover_every_row_once(n, batch_size):
    """Rule 4."""
    sizes = [
        len(b) for b in EvenBatches(ChainRows(n), batch_size, torch.Generator().manual_seed(0))
    ]
    rows = torch.cat(list(EvenBatches(ChainRows(n), batch_size, torch.Generator().manual_seed(0))))
    assert len(sizes) == math.ceil(n / batch_size)
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= batch_size
    assert torch.equal(rows.sort().values, torch.arange(n))


@pytest.mark.parametrize("block_bytes", [1, 300, 1 << 20])
def test_blocks_change_no_batch(monkeypatch, block_bytes):
    monkeypatch.setattr(batches, "_BLOCK_BYTES", block_bytes)
    X = torch.arange(50.0).reshape(25, 2)
    rows = TensorRows(X, X[:, 0].long(), X[:, 1])
    generators = [torch.Generator().manual_seed(1) for _ in range(2)]
    expected = [
        (X[i], X[i, 0].long(), X[i, 1]) for i in EvenBatches(ChainRows(25), 4, generators[0])
    ]
    got = list(BatchIterator(rows, 4, generators[1], weighted=True))
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_budget_ends_within_a_pass():
    budgeted = Budgeted([(1,), (2,), (3,)], Budget(5))
    assert list(budgeted) == [(1,), (2,), (3,)]
    assert list(budgeted) == [(1,), (2,)]
    assert list(budgeted) == []


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.float16, torch.float32),
        (np.float64, torch.float32),
        (">f8", torch.float32),
        (bool, torch.float32),
        (np.uint8, torch.int64),
        (">i4", torch.int64),
    ],
)
def test_floats_become_float32_and_integers_int64(dtype, expected):
    array = np.array([[0, 1], [1, 0]]).astype(dtype)
    tensor = to_tensor(array)
    assert tensor.dtype == expected
    np.testing.assert_array_equal(tensor.numpy(), array.astype(float))


def test_a_matching_array_is_shared_and_a_read_only_one_copied():
    array = np.zeros((3, 2), dtype=np.float32)
    assert to_tensor(array).data_ptr() == array.ctypes.data
    array.flags.writeable = False
    assert to_tensor(array).data_ptr() != array.ctypes.data
