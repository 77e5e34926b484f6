"""Tensors are arrays in pickles."""

import copy
import pickle
import pickletools

import numpy as np
import pytest
import torch
from conftest import Mlp, Normalised
from torch import nn
from torch.nn.utils import prune

from skensemble import SnapshotEnsembleClassifier
from skensemble._nets.pickling import as_arrays
from skensemble._nets.snapshots import Snapshots, state_of


def test_pickles_hold_arrays():
    """Rule 12."""
    snapshots = Snapshots([state_of(Normalised(3, 2))])
    payload = pickle.dumps(snapshots)
    names = {str(arg) for op, arg, _ in pickletools.genops(payload) if isinstance(arg, str)}
    assert not any("torch._utils" in name or "torch.storage" in name for name in names)
    loaded = pickle.loads(payload)
    assert all(torch.equal(loaded[0][k], snapshots[0][k]) for k in snapshots[0])


def test_arrays_keep_sharing_parameters_and_types():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(2, 2)
            self.two = nn.Linear(2, 2)
            self.two.weight = self.one.weight
            self.one.bias.requires_grad_(False)
            self.register_buffer("small", torch.ones(2, dtype=torch.bfloat16))

    Tied.__qualname__ = "Tied"
    globals()["Tied"] = Tied
    module = Tied()
    loaded = pickle.loads(pickle.dumps(as_arrays({"module": module})))["module"]
    assert loaded.one.weight is loaded.two.weight
    assert isinstance(loaded.one.weight, nn.Parameter)
    assert not loaded.one.bias.requires_grad
    assert loaded.small.dtype == torch.bfloat16
    assert torch.equal(loaded.one.weight, module.one.weight)
    assert torch.equal(copy.deepcopy(as_arrays(module)).one.weight, module.one.weight)


def test_a_pickle_does_not_grow_with_the_rows(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, random_state=0)
    small = len(pickle.dumps(model.fit(X[:100], y[:100])))
    large = len(pickle.dumps(model.fit(np.repeat(X, 5, axis=0), np.repeat(y, 5))))
    assert large < small + 200


@pytest.mark.parametrize(
    "wrap",
    [
        nn.utils.parametrizations.weight_norm,
        nn.utils.parametrizations.spectral_norm,
        nn.utils.parametrizations.orthogonal,
    ],
)
def test_parametrized_modules_pickle(wrap):
    """Torch gives them a class of its own, which refuses to be pickled."""
    module = nn.Sequential(wrap(nn.Linear(3, 3)), nn.ReLU()).eval()
    with pytest.raises((RuntimeError, AttributeError)):
        pickle.dumps(module)
    loaded = pickle.loads(pickle.dumps(as_arrays({"module": module, "again": module[0]})))
    X = torch.randn(4, 3)
    assert torch.equal(loaded["module"](X), module(X))
    assert loaded["again"] is loaded["module"][0]
    assert type(loaded["again"]).__name__ == "ParametrizedLinear"
    assert loaded["module"].state_dict().keys() == module.state_dict().keys()


def test_computed_tensors_pickle_as_numbers():
    module = prune.random_unstructured(nn.Linear(3, 2), "weight", 0.5)
    assert not module.weight.is_leaf
    loaded = pickle.loads(pickle.dumps(as_arrays(module)))
    assert torch.equal(loaded.weight, module.weight)
    assert not loaded.weight.requires_grad
    X = torch.randn(4, 3)
    assert torch.equal(loaded(X), module(X))
