"""What travels to a worker comes back as it was."""

import pickle
import threading

import numpy as np
import pytest
import torch
from conftest import Recurrent, same
from scipy.sparse import csr_matrix

from skensemble import SnapshotEnsembleClassifier
from skensemble._data.rows import ChainRows, ConvertedRows, DictRows, TensorRows, to_tensor
from skensemble._training import tasks
from skensemble._training.tasks import Form, own_parts, pack, shared_parts, train_until, unpack

X = torch.arange(60.0).reshape(20, 3)
SPARSE = csr_matrix(X.numpy())


def travelled(rows):
    """Return rows as a worker makes them: of arrays that it may not write to."""
    parts = [*shared_parts(rows), *own_parts(rows)]
    for part in parts:
        if isinstance(part, np.ndarray):
            part.flags.writeable = False
    return pickle.loads(pickle.dumps(Form.of(rows))).rows(parts)


@pytest.mark.parametrize(
    "features",
    [X, DictRows({"a": X, "b": X[:, 0]}), ConvertedRows(SPARSE, to_tensor)],
    ids=["tensor", "dict", "sparse"],
)
@pytest.mark.parametrize("weight", [None, torch.rand(20)], ids=["plain", "weighted"])
def test_rows_of_each_kind(features, weight):
    chains = [ChainRows(15, torch.arange(15)), ChainRows(20)]
    rows = TensorRows(features, torch.arange(20), weight, chains)
    there = travelled(rows)
    index = torch.tensor([3, 1, 7])
    for one, other in zip(rows[index], there[index], strict=True):
        parts = one if isinstance(one, dict) else {"": one}
        for name, part in parts.items():
            assert torch.equal(part, other[name] if isinstance(other, dict) else other)
    assert (weight is None) == (there.weight is None)
    assert weight is None or torch.equal(weight, there.weight)
    assert [chain.n_samples for chain in there.chains] == [15, 20]
    assert torch.equal(there.chains[0].rows, torch.arange(15))
    assert there.chains[1].rows is None


def test_rows_are_over_the_same_memory():
    rows = TensorRows(X.clone(), torch.arange(20))
    assert travelled(rows).X.data_ptr() == rows.X.data_ptr()


@pytest.mark.parametrize("large", [False, True])
def test_messages(monkeypatch, large):
    monkeypatch.setattr(tasks, "_LARGE", 10 if large else 10**6)
    kinds = (torch.float32, torch.bfloat16, torch.int64, torch.bool)
    state = {"tensors": [torch.ones(2, 3, dtype=kind) for kind in kinds], "n": 3, "none": None}
    message = pack(state)
    assert isinstance(message, np.ndarray if large else bytes)
    there = unpack(message)
    assert there["n"] == 3
    assert there["none"] is None
    for one, other in zip(state["tensors"], there["tensors"], strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def test_large_messages_move_no_bit(digits, monkeypatch):
    rows = np.float32(digits[0]), digits[1]
    model = SnapshotEnsembleClassifier(Recurrent, n_chains=2, max_epochs=2, n_cycles=2)
    alone = model.set_params(random_state=0).fit(*rows).snapshots_
    monkeypatch.setattr(tasks, "_LARGE", 10)
    assert same(model.set_params(n_jobs=2).fit(*rows).snapshots_, alone)


class Holding(Exception):
    def __init__(self):
        super().__init__("of a lock")
        self.lock = threading.Lock()


def test_an_error_that_cannot_be_pickled_is_told(monkeypatch):
    def fail(message):
        raise Holding

    monkeypatch.setattr(tasks, "unpack", fail)
    with pytest.raises(RuntimeError, match="Holding: of a lock") as caught:
        train_until(0, 1, 1, 0, b"", np.zeros(0))
    assert isinstance(caught.value.__cause__, Holding)
    monkeypatch.setattr(tasks, "unpack", pickle.loads)
    with pytest.raises((EOFError, TypeError)):  # as it is
        train_until(0, 1, 1, 0, b"", np.zeros(0))
