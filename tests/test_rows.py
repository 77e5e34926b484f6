"""Rows by number, as tensors."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from conftest import probabilities
from torch import nn

from skensemble import SnapshotEnsembleClassifier
from skensemble._data.rows import ConvertedRows, DatasetRows, DictRows, TensorRows, to_tensor


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (np.float16, torch.float32),
        (np.float64, torch.float32),
        (">f8", torch.float32),
        (bool, torch.bool),
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


def test_integers_stay_integers():
    class Look(nn.Module):
        def __init__(self, n_outputs):
            super().__init__()
            self.table = nn.Embedding(16, n_outputs)

        def forward(self, X):
            assert X.dtype == torch.int64
            return self.table(X).mean(dim=1)

    X = np.random.default_rng(0).integers(0, 16, (100, 3), dtype=np.uint8)
    y = (X > 8).any(axis=1)
    assert probabilities(X, y, Look).shape == (100, 2)
    assert probabilities(pd.DataFrame(X).add_prefix("c"), y, Look).shape == (100, 2)


def test_integers_reach_embeddings():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 5, size=(200, 2)).astype(np.int16)
    y = (X[:, 0] + X[:, 1]) % 2

    class Embedded(nn.Module):
        def __init__(self, n_outputs):
            super().__init__()
            self.table = nn.Embedding(5, 4)
            self.layers = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, n_outputs))

        def forward(self, X):
            return self.layers(self.table(X).flatten(1))

    model = SnapshotEnsembleClassifier(Embedded, max_epochs=40, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.9


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_rows_converted_by_number_are_those_converted_at_once(digits, make):
    X = digits[0]
    rows = ConvertedRows(make(X), lambda part: to_tensor(np.sqrt(part)))
    index = torch.tensor([5, 0, 599, 5])
    expected = np.sqrt(X).astype(np.float32)
    assert len(rows) == 600
    np.testing.assert_array_equal(rows[index], expected[index])
    np.testing.assert_array_equal(rows[10:20], expected[10:20])
    np.testing.assert_array_equal(rows.part(index)[:], expected[index])


def test_parts_of_rows_have_their_own_targets(digits):
    X, y = to_tensor(digits[0]), to_tensor(digits[1])
    index = torch.tensor([7, 3, 100])
    kinds = [
        (X, lambda part: part),
        (DictRows({"a": X, "b": -X}), lambda part: -part["b"]),
        (ConvertedRows(digits[0], to_tensor), lambda part: part),
    ]
    for features, plain in kinds:
        part = TensorRows(features, y).part(index)
        assert torch.equal(plain(part.X[:]), X[index])
        assert torch.equal(part.y, y[index])


def test_items_of_a_dataset_carry_their_weight():
    class Squares:
        def __len__(self):
            return 5

        def features(self, index):
            return torch.tensor([index**2])

    y, weight = torch.arange(5), torch.linspace(0, 1, 5)
    assert DatasetRows(Squares())[3].tolist() == [9]
    features, target, heaviness = DatasetRows(Squares(), y, weight)[3]
    assert (features.item(), target.item(), heaviness.item()) == (9, 3, 0.75)
    part = DatasetRows(Squares(), y, weight).part(torch.tensor([4, 1]))
    assert [(features.item(), target.item()) for features, target in part] == [(16, 4), (1, 1)]
