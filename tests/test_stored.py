"""Snapshots in a file: what predicts is read, and the rest when it is asked for."""

import copy
import pickle
import threading

import numpy as np
import pytest
import torch
from file_models import fitted

import skensemble
from skensemble._nets.snapshots import Snapshots
from skensemble._persistence.container import Container
from skensemble._persistence.stored import PREFIX, StoredSnapshots, digests_of, lay_out


def load(name, tmp_path):
    model, X, options = fitted(name)
    model.save(tmp_path / "model")
    return model, X, skensemble.load(tmp_path / "model", **options)


class Reads:
    """The bytes of the file that are read."""

    def __init__(self, monkeypatch):
        self.n, own = 0, Container.read_into

        def counted(file, start, buffer):
            self.n += len(buffer)
            return own(file, start, buffer)

        monkeypatch.setattr(Container, "read_into", counted)


def test_only_the_members_that_predict_are_read(tmp_path, monkeypatch):
    model, X, _ = load("members_last", tmp_path)
    size = sum(e.nbytes for n, e in Container(tmp_path / "model").entries.items() if PREFIX in n)
    weights = model.member_weights_
    assert np.count_nonzero(weights) == len(weights) / 3
    reads = Reads(monkeypatch)
    loaded = skensemble.load(tmp_path / "model")
    snapshots = loaded._fitted_.snapshots
    of_load = reads.n
    assert isinstance(snapshots, StoredSnapshots)
    assert np.array_equal(loaded.predict(X), model.predict(X))
    assert reads.n == of_load  # the last snapshot is one of them, and they are read together
    assert of_load < (tmp_path / "model").stat().st_size - size * 0.6
    assert np.array_equal(loaded.predict_members(X), model.predict_members(X))
    assert reads.n >= of_load + size * 0.6
    before = reads.n
    loaded.predict_members(X)
    assert reads.n == before


def test_they_lie_as_those_in_memory(tmp_path):
    model, _, loaded = load("table_default", tmp_path)
    members = np.flatnonzero(model.member_weights_)
    for chosen in (members, np.arange(len(model.member_weights_)), [3, 1]):
        one = model._fitted_.snapshots.stacks(chosen)
        other = loaded._fitted_.snapshots.stacks(chosen)
        for name in one:
            assert torch.equal(one[name], other[name])
            assert one[name].stride() == other[name].stride()
            assert other[name].data_ptr() % 64 == one[name].data_ptr() % 64


def test_indexing_is_that_of_snapshots(tmp_path):
    model, _, loaded = load("module_half", tmp_path)
    one, other = model._fitted_.snapshots, loaded._fitted_.snapshots
    assert len(one) == len(other)
    for index in (0, -1, len(one) - 1):
        assert all(torch.equal(one[index][k], other[index][k]) for k in one[index])
    assert len(other[:2]) == 2
    with pytest.raises(IndexError, match="there are"):
        other[len(one)]
    for name, value in other[0].items():
        value.zero_()
        assert torch.equal(one[0][name], other[0][name])


def test_copies_are_plain(tmp_path):
    model, X, loaded = load("module_chains", tmp_path)
    stored = loaded._fitted_.snapshots
    for made in (copy.deepcopy(stored), pickle.loads(pickle.dumps(stored)), stored.in_memory()):
        assert type(made) is Snapshots
        assert all(torch.equal(made[0][k], stored[0][k]) for k in made[0])
    assert np.array_equal(loaded.predict(X), model.predict(X))


def test_threads_read_once_and_the_same(tmp_path):
    model, X, _ = load("table_default", tmp_path)
    said = model.predict_members(X)
    loaded = skensemble.load(tmp_path / "model")
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(loaded.predict_members(X))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(said, one) for one in found)


def damage(path, member, name):
    """Change one number of one snapshot."""
    entry = Container(path).entries[PREFIX + name]
    data = bytearray(path.read_bytes())
    data[entry.start + member * entry.nbytes // entry.shape[0]] ^= 1
    path.write_bytes(data)


def test_a_damaged_snapshot_is_refused_when_it_is_read(tmp_path):
    model, X, _ = load("members_last", tmp_path)
    n = len(model.member_weights_)
    damage(tmp_path / "model", n - 1, "layers.0.weight")  # of those that do not predict
    loaded = skensemble.load(tmp_path / "model")
    assert np.array_equal(loaded.predict(X), model.predict(X))
    with pytest.raises(ValueError, match=f"snapshot at place {n - 1} than its digest says"):
        loaded.predict_members(X)
    with pytest.raises(ValueError, match="digest"):
        pickle.dumps(loaded)
    damage(tmp_path / "model", 0, "layers.0.weight")
    with pytest.raises(ValueError, match="snapshot at place 0 than its digest says"):
        skensemble.load(tmp_path / "model")


def test_digests_are_of_each_snapshot():
    stacks = {"a": torch.arange(12.0).reshape(2, 3, 2), "b": torch.tensor([1, 2])}
    laid = lay_out(stacks)
    assert laid[PREFIX + "a"].shape == (2, 2, 3)
    known = {}
    one = digests_of(laid, np.array([1, 0]), known)
    assert one.shape == (2, 8)
    assert known == {0: one[1].tobytes(), 1: one[0].tobytes()}
    stacks["a"][1, 0, 0] += 1
    laid = lay_out(stacks)
    other = digests_of(laid, np.array([0, 1]), {})
    assert (one[0] == other[0]).all()
    assert (one[1] != other[1]).any()
    assert (digests_of(laid, np.array([1, 0]), known) == one).all()  # believed
