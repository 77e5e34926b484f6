"""Nets from files: of the shapes that the snapshots have, without rows."""

import numpy as np
import pytest
import torch
from conftest import QUICK, Mlp
from file_models import fitted, numbers
from skorch.callbacks import Freezer

import skensemble
from skensemble import SnapshotEnsembleClassifier


def reload(model, tmp_path, **load):
    model.save(tmp_path / "model")
    return skensemble.load(tmp_path / "model", **load)


def test_what_was_frozen_is_frozen(tmp_path):
    X, y = numbers()
    model = SnapshotEnsembleClassifier(Mlp, callbacks=[Freezer("hidden.*")], **QUICK).fit(X, y)
    loaded = reload(model, tmp_path, module=Mlp)
    for one in (model, loaded):
        found = {n: p.requires_grad for n, p in one.net_.module_.named_parameters()}
        assert found == {n: "output" in n for n in found}
    module = loaded.snapshot_module(0)
    assert not module.hidden.weight.requires_grad


def test_the_net_is_that_of_the_last_snapshot(tmp_path):
    for name in ("module_chains", "module_recurrent", "table_default", "cold"):
        model, _, load = fitted(name)
        loaded = reload(model, tmp_path, **load)
        last = model.snapshots_[-model.n_chains_]
        state = loaded.net_.module_.state_dict()
        assert all(torch.equal(state[k], last[k]) for k in last)
        assert loaded.net_.lr == model.net_.lr
        assert loaded.net_.batch_size == model.net_.batch_size
        assert loaded.net_.max_epochs == model.net_.max_epochs


def test_weights_of_the_criterion_are_there_when_training_goes_on(tmp_path):
    model, X, _ = fitted("weights")
    y = numbers()[1]
    model.save(tmp_path / "model", include="training")
    weight = np.linspace(0, 2, len(y))
    loaded = skensemble.load(tmp_path / "model").partial_fit(X, y, sample_weight=weight)
    assert loaded.n_cycles_ == model.n_cycles_ + 1


@pytest.mark.parametrize("name", ["table_default", "module_chains", "module_recurrent"])
def test_nets_of_all_chains_are_made_for_training_alone(name, tmp_path):
    model, _, load = fitted(name)
    model.save(tmp_path / "model")
    assert len(skensemble.load(tmp_path / "model", **load)._fitted_.nets) == 1
    model.save(tmp_path / "model", include="training")
    nets = skensemble.load(tmp_path / "model", **load)._fitted_.nets
    assert len(nets) == len(model._fitted_.nets)
    assert (nets[0].batched_ is None) == (model._fitted_.nets[0].batched_ is None)
