"""Modules from files are tried: on sizes that take no memory, and on rows of zeros."""

import numpy as np
import pytest
import torch
from conftest import QUICK
from file_models import fitted, numbers
from torch import nn

import skensemble
from skensemble import SnapshotEnsembleClassifier
from skensemble._persistence.container import Fault
from skensemble._persistence.trying import check_tensors, runs_on_zeros, try_out, zeros_for


class Strict(nn.Module):
    """It takes no rows of zeros."""

    def __init__(self, n_inputs, n_outputs):
        super().__init__()
        self.layer = nn.Linear(n_inputs, n_outputs)

    def forward(self, X):
        assert X.any(), "empty rows"
        return self.layer(X)


def test_zeros_are_as_the_module_takes_rows():
    rows = zeros_for(fitted("module_dict")[0]._fitted_.intake)
    assert {name: (part.dtype, tuple(part.shape[1:])) for name, part in rows.items()} == {
        "numbers": (torch.float32, (4,)), "codes": (torch.int64, (1,)),
    }  # fmt: skip
    rows = zeros_for(fitted("table_small")[0]._fitted_.intake)
    assert rows.dtype == torch.float64
    assert zeros_for(fitted("module_images")[0]._fitted_.intake).shape[1:] == (1, 6, 6)


def test_a_module_may_refuse_zeros(tmp_path):
    X, y = numbers()
    model = SnapshotEnsembleClassifier(Strict, **QUICK).fit(X, y)
    assert not runs_on_zeros(model._fitted_)
    model.save(tmp_path / "model")
    loaded = skensemble.load(tmp_path / "model", module=Strict)
    assert np.array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_tensors_are_those_of_the_snapshots(tmp_path):
    model, _, load = fitted("module_half")
    model.save(tmp_path / "model")
    loaded = skensemble.load(tmp_path / "model", **load)
    stacks = loaded._fitted_.snapshots._entries
    check_tensors(loaded.net_.module_, stacks)
    for module in (nn.Linear(4, 2), nn.Linear(4, 3)):
        with pytest.raises(Fault, match="other tensors"):
            check_tensors(module, stacks)


def test_members_must_have_the_outputs_of_the_targets():
    model, _, _ = fitted("module_chains")
    try_out(model._fitted_)
    wrong = fitted("labels_truth")[0]._fitted_
    with pytest.raises(Fault, match="outputs, where 2 are to be"):
        try_out(type(wrong)(**{**vars(model._fitted_), "targets": wrong.targets}))
