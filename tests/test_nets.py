"""What is kept of nets beside their snapshots."""

import json

import numpy as np
import pytest
from conftest import QUICK
from file_models import fitted, numbers
from skorch.callbacks import Callback

import skensemble
from skensemble import SnapshotEnsembleClassifier
from skensemble._persistence.nets import attributes_of


class Noting(Callback):
    """It notes something else in each epoch."""

    def __init__(self, what):
        self.what = what

    def on_epoch_end(self, net, **kwargs):
        net.history.record("even" if len(net.history) % 2 == 0 else "odd", self.what)


def test_histories_of_unlike_rows_come_back(tmp_path):
    X, y = numbers()
    for what in (np.float32(0.1), np.arange(3), ("a", None), float("nan")):
        given = {"module__hidden": (4,), "n_chains": 1, "callbacks": [Noting(what)]}
        model = SnapshotEnsembleClassifier(**given, **QUICK).fit(X, y)
        model.save(tmp_path / "model")
        loaded = skensemble.load(tmp_path / "model", trusted=["test_nets.Noting"])
        assert repr(list(loaded.history_)) == repr(list(model.history_))


def test_histories_are_short(tmp_path):
    X, y = numbers()
    model = SnapshotEnsembleClassifier(module__hidden=(4,), n_chains=1, n_cycles=1, max_epochs=50)
    model.fit(X, y).save(tmp_path / "model")
    from skensemble._persistence.container import Container

    document = json.loads(Container(tmp_path / "model").texts["document"])
    assert len(json.dumps(document["net"]["history"])) < 50 * 200


def test_what_a_history_cannot_keep_is_refused_by_name(tmp_path):
    X, y = numbers()
    given = {"module__hidden": (4,), "n_chains": 1, "callbacks": [Noting(object())]}
    model = SnapshotEnsembleClassifier(**given, **QUICK).fit(X, y)
    with pytest.raises(ValueError, match=r"Got (callbacks|history_)="):
        model.save(tmp_path / "model")


def test_what_a_module_has_noted_is_kept(tmp_path):
    model, _, load = fitted("module_dict")
    n_calls = model.net_.module_.n_calls
    assert n_calls > 0
    assert attributes_of(model.net_.module_)[""]["n_calls"] == n_calls
    model.save(tmp_path / "model")
    assert skensemble.load(tmp_path / "model", **load).net_.module_.n_calls == n_calls
