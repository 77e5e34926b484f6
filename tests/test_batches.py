"""Tensors and batches."""

import math

import pytest
import torch
from conftest import Normalised
from hypothesis import given
from hypothesis import strategies as st

from skensemble import SnapshotEnsembleClassifier
from skensemble._data import batches
from skensemble._data.batches import BatchIterator, Budget, Budgeted, EvenBatches
from skensemble._data.rows import ChainRows, TensorRows


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


def test_batch_norm_with_one_row_more_than_a_batch(digits):
    """Rule 4; buffers are in the snapshot."""
    X, y = digits
    model = SnapshotEnsembleClassifier(
        Normalised, batch_size=299, max_epochs=40, n_cycles=2, lr=0.02, random_state=0
    ).fit(X[:300], y[:300])
    assert model.score(X[300:], y[300:]) > 0.8
    one, two = model.snapshots_
    assert not torch.equal(one["norm.running_mean"], two["norm.running_mean"])
    assert int(two["norm.num_batches_tracked"]) == 2 * 40


@pytest.mark.parametrize("n_rows", [4, 9, 12, None])
def test_an_order_of_small_numbers_is_the_same(n_rows):
    """Also where a chain has fewer rows than an epoch, and begins its next permutation."""
    rows = None if n_rows is None else torch.arange(30)[::2][:n_rows].to(torch.int32)
    chain, generator = ChainRows(10, rows), torch.Generator()
    expected = EvenBatches(chain, 3, generator.manual_seed(5)).order()
    small = torch.empty(10, dtype=torch.int32)
    EvenBatches(chain, 3, generator.manual_seed(5)).write_order(small)
    assert expected.dtype == torch.int64
    assert torch.equal(small.long(), expected)
    allowed = range(10) if rows is None else rows.tolist()
    times = [expected.tolist().count(row) for row in allowed]
    assert sum(times) == 10
    assert max(times) - min(times) <= 1
