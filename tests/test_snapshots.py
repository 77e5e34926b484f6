"""Parameter sets of all members, stacked."""

import numpy as np
import pytest
import torch
from conftest import Normalised
from torch import nn

from skensemble import SnapshotEnsembleClassifier
from skensemble._nets.snapshots import Room, Snapshots, is_finite, state_of


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


def test_buffers_that_are_not_persistent_belong_to_a_snapshot_too(digits):
    X, y = digits

    class Centred(nn.Linear):
        def __init__(self, n_inputs, n_outputs):
            super().__init__(n_inputs, n_outputs)
            self.register_buffer("mean", torch.zeros(n_inputs), persistent=False)

        def forward(self, X):
            if self.training:
                self.mean += 1
            return super().forward(X - self.mean)

    model = SnapshotEnsembleClassifier(Centred, max_epochs=2, n_cycles=2, lr=1e-9, random_state=0)
    one, two = model.fit(X, y).predict_members(X)
    assert np.abs(one - two).max() > 0.01
    fresh = Centred(64, 10)
    fresh.load_state_dict(model.snapshots_[0])


def test_snapshots_move_to_a_device_and_leave_their_own_behind():
    """Copying them as a file does left boxes in place of tensors."""
    states = [state_of(Normalised(3, 2)) for _ in range(3)]
    snapshots = Snapshots(states, first=[2])
    moved = snapshots.to(torch.device("meta"))
    assert len(moved) == 3
    assert {tensor.device.type for tensor in moved[1].values()} == {"meta"}
    assert all(torch.equal(snapshots[2][name], states[2][name]) for name in states[2])
    assert snapshots.to(torch.device("cpu")) is snapshots


def _room(before, taken, n_planned):
    room = Room(n_planned)
    room.before = before
    for index, state in enumerate(taken):
        room.put(index, [state])
    return room


@pytest.mark.parametrize("first", [(), (4, 1), (3, 4), (2, 0, 1)])
@pytest.mark.parametrize("n_before", [0, 2])
def test_a_room_hands_over_what_a_stack_of_copies_has(first, n_before):
    states = [state_of(Normalised(3, 2)) for _ in range(5)]
    expected = Snapshots(states, first)
    room = _room(states[:n_before], states[n_before:], n_planned=9)
    n = 5 - n_before
    for made in (room.copied(n, first), room.handed_over(n, first)):
        assert len(made) == 5
        np.testing.assert_array_equal(made.whole[1], expected.whole[1])
        for name, stack in expected.whole[0].items():
            assert torch.equal(made.whole[0][name], stack)
            # Products differ in the last bits where factors lie in another way.
            assert made.whole[0][name].stride() == stack.stride()


def test_a_room_gives_away_its_own_memory_and_copies_only_when_asked():
    states = [state_of(Normalised(3, 2)) for _ in range(4)]
    room = _room([], states, n_planned=4)
    (there,) = room.put(3, states[3:])

    def memory(state):
        return state["hidden.weight"].untyped_storage().data_ptr()

    assert memory(room.copied(4).whole[0]) != memory(there)
    given = room.handed_over(4, first=[0, 3])
    assert memory(given.whole[0]) == memory(there)
    assert torch.equal(given[3]["hidden.weight"], states[3]["hidden.weight"])
