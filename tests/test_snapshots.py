"""Snapshots and their pickles."""

import copy
import pickle
import pickletools

import numpy as np
import pytest
import torch
from conftest import Normalised
from torch import nn

from skensemble._nets.pickling import as_arrays
from skensemble._nets.snapshots import Snapshots, is_finite, state_of


def test_what_is_handed_out_is_a_copy():
    """Promise 4."""
    snapshots = Snapshots([state_of(Normalised(3, 2)) for _ in range(3)])
    before = [{k: v.clone() for k, v in s.items()} for s in snapshots]
    for state in [*snapshots, *snapshots[:], snapshots[-1]]:
        for value in state.values():
            value.zero_()
    for one, other in zip(snapshots, before, strict=True):
        assert all(torch.equal(one[k], other[k]) for k in other)


def test_a_snapshot_does_not_move_with_the_module():
    module = Normalised(3, 2)
    snapshots = Snapshots([state_of(module)])
    before = snapshots[0]
    module(torch.randn(8, 3)).sum().backward()
    with torch.no_grad():
        module.output.weight.add_(1)
    assert all(torch.equal(snapshots[0][k], before[k]) for k in before)
    assert "norm.running_mean" in before
    with pytest.raises(IndexError, match="Got index 1, but there are 1 snapshots"):
        snapshots[1]


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


def test_finite_sees_nan_and_infinity():
    assert is_finite([torch.zeros(2), torch.tensor([1])])
    assert not is_finite([torch.zeros(2), torch.tensor(np.inf)])
    assert not is_finite([torch.tensor(np.nan)])


def test_matrices_lie_as_a_product_takes_them():
    """Transposed, so that one batched product over all members reads them in order."""
    snapshots = Snapshots([state_of(Normalised(3, 2)) for _ in range(3)])
    stacks = snapshots.stacks(range(3))
    assert stacks["hidden.weight"].mT.is_contiguous()
    chosen = snapshots.stacks([2, 0])
    assert torch.equal(chosen["hidden.weight"][1], snapshots[0]["hidden.weight"])
