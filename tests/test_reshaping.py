"""Fitted ensembles with other snapshots."""

import numpy as np
import pytest
import torch
from conftest import Items, Mlp, Normalised, is_one, same
from torch.optim.swa_utils import update_bn

from skensemble import SnapshotEnsembleClassifier
from skensemble._nets.generators import Generators, chain_seed
from skensemble._nets.snapshots import state_of
from skensemble.averaging import average_weights
from skensemble.reshaping import equal_stages, part_of, with_snapshots

QUICK = {"max_epochs": 3, "n_cycles": 3, "random_state": 0, "cycle_mult": 1.0}


def test_stages_weigh_alike():
    np.testing.assert_allclose(equal_stages(3), [[1, 0, 0], [1 / 2, 1 / 2, 0], [1 / 3] * 3])


@pytest.mark.parametrize("options", [{}, {"optimizer": "LBFGS", "max_epochs": 1, "lr": 0.01}])
def test_the_nets_hold_the_last_snapshot_and_go_on_from_it(digits, options):
    """Whether chains train as one or in turn."""
    X, y = digits
    model = SnapshotEnsembleClassifier(
        Mlp, n_chains=2, validation=None, **{**QUICK, **options}
    ).fit(X[:100], y[:100])
    assert is_one(model) == (not options)
    before, fitted = state_of(model.net_.module_), model._fitted_
    states = fitted.all_states()[:2]
    made = with_snapshots(fitted, states, np.ones((1, 1)))
    assert same([state_of(made.nets[0].module_)], states[:1])
    assert same([state_of(model.net_.module_)], [before])
    assert (made.n_cycles, made.n_chains, made.verdict) == (1, 2, None)
    for chain, net in enumerate(made.nets):
        if net.batched_ is not None:
            parts = [net.batched_.single(k).state_dict() for k in range(2)]
            assert same(parts, states)
        else:
            assert same([state_of(net.module_)], [states[chain]])


def test_a_part_keeps_the_ratios_of_weights(digits):
    def weigh(predictions, y, w):
        return np.array([0.2, 0.0, 0.6, 0.2])[: len(predictions)]

    X, y = digits
    fitted = (
        SnapshotEnsembleClassifier(
            n_chains=2, members=weigh, early_stopping=False, **{**QUICK, "n_cycles": 4}
        )
        .fit(X[:100], y[:100])
        ._fitted_
    )
    part = part_of(fitted, [0, 2])
    np.testing.assert_allclose(part.stage_weights, [[1, 0], [1 / 4, 3 / 4]])
    assert same(part.all_states(), fitted.states(0) + fitted.states(2))
    # A cycle without weight that is kept alone predicts.
    np.testing.assert_allclose(part_of(fitted, [1]).stage_weights, [[1]])


@pytest.mark.parametrize("is_dataset", [False, True])
def test_statistics_come_in_even_batches_drawn_from_the_seed(digits, is_dataset):
    X, y = digits[0][:81].astype(np.float32), digits[1][:81]
    model = SnapshotEnsembleClassifier(
        Normalised, module__n_inputs=64, batch_size=20, n_chains=2, validation=None, **QUICK
    ).fit(X, y)
    averaged = average_weights(model, Items(X, y) if is_dataset else X)
    for chain in range(2):
        fresh = Normalised(64, 10)
        states = model.snapshots_[chain::2]
        mean = {name: torch.stack([s[name] for s in states]).double().mean(0) for name in states[0]}
        fresh.load_state_dict(mean)
        drawn = Generators(torch.device("cpu"), chain_seed(0, chain)).batches
        order = torch.randperm(81, generator=drawn)
        parts = torch.from_numpy(X)[order].tensor_split(5)
        assert [len(part) for part in parts] == [17, 16, 16, 16, 16]
        update_bn(parts, fresh)
        for name, tensor in fresh.state_dict().items():
            there = averaged.snapshots_[chain][name]
            torch.testing.assert_close(there, tensor, atol=1e-6, rtol=1e-6)
