"""What a restart does: star, and the rates of an optimizer that is made anew."""

import joblib
import numpy as np
import pytest
import torch
from conftest import Mlp, Normalised, is_one, same
from torch import nn

import skensemble
from skensemble import SnapshotEnsembleClassifier
from skensemble._compat import remake_optimizer
from skensemble._training.hooks import SnapshotRecorder

SGD = {"optimizer": "SGD", "optimizer__momentum": 0.9, "lr": 0.2, "random_state": 0}


@pytest.fixture(scope="module")
def rows(digits):
    return digits[0][:120].astype(np.float32) / 16, digits[1][:120]


def first_alone(at):
    """Trains in the first cycle of all, and in no other."""
    return 1.0 - at.progress if at.cycle == 0 else 0.0


@pytest.mark.parametrize("module", [lambda: Normalised(64, 10), lambda: Mlp(64, 10, dropout=0.0)])
def test_star_is_plain_training_from_the_end_of_the_first_cycle(rows, module):
    """Weights and buffers; each with an optimizer begun anew (Sadrtdinov et al. 2023)."""
    X, y = map(torch.from_numpy, rows)
    model = SnapshotEnsembleClassifier(
        module, restart="star", n_cycles=3, cycle_mult=0.5, max_epochs=14, batch_size=120, **SGD
    ).fit(*rows)
    torch.manual_seed(0)
    by_hand, center, found = module(), None, []
    for length in (8, 4, 2):
        if center is not None:
            by_hand.load_state_dict(center)
        optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.2, momentum=0.9)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, length)
        for _ in range(length):
            optimizer.zero_grad()
            nn.functional.cross_entropy(by_hand(X), y).backward()
            optimizer.step()
            scheduler.step()
        found.append({name: t.clone() for name, t in by_hand.state_dict().items()})
        center = center or found[0]
    for snapshot, state in zip(model.snapshots_, found, strict=True):
        for name, tensor in state.items():
            torch.testing.assert_close(snapshot[name], tensor, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "is_batched"),
    [
        ({"n_chains": 3}, True),
        ({"n_chains": 2, "module": Mlp, "module__dropout": 0.0}, True),
        ({"n_chains": 2, "module": Mlp, "optimizer": "LBFGS", "lr": 0.05, "n_jobs": 1}, False),
        ({"n_chains": 1, "module": Mlp}, False),
    ],
)
def test_each_chain_begins_at_its_own_first_end(rows, options, is_batched):
    """In all ways in which chains train, and in later calls."""
    sgd = {"optimizer": "SGD", "lr": 0.1, "random_state": 0, "validation": None}
    model = SnapshotEnsembleClassifier(
        restart="star", schedule=first_alone, n_cycles=3, max_epochs=3, warm_start=True,
        **{**sgd, **options},
    ).fit(*rows)  # fmt: skip
    assert is_one(model) == is_batched
    n = model.n_chains_
    first = model.snapshots_[:n]
    for cycle in (1, 2):
        assert same(model.snapshots_[cycle * n : (cycle + 1) * n], first)
    # Later calls begin there too, wherever the last one ended.
    model.set_params(schedule=lambda at: 1.0 if at.cycle == 3 else 0.0)
    model.partial_fit(*rows)
    assert not same(model.snapshots_[3 * n :], first)
    model.set_params(max_epochs=2, n_cycles=2).fit(*rows)
    assert model.n_cycles_ == 6
    assert same(model.snapshots_[4 * n :], first * 2)


def test_chains_in_workers_come_to_the_same_bits(rows):
    options = {"n_chains": 2, "optimizer": "LBFGS", "lr": 0.01, "validation": None}
    options |= {"restart": "star", "n_cycles": 3, "max_epochs": 3, "random_state": 0}
    one = SnapshotEnsembleClassifier(Mlp, n_jobs=1, **options).fit(*rows)
    with joblib.parallel_config("threading"):
        other = SnapshotEnsembleClassifier(Mlp, n_jobs=2, **options).fit(*rows)
    assert same(one.snapshots_, other.snapshots_)


def test_a_warm_restart_differs_from_the_second_cycle_on(rows):
    one, other = (
        SnapshotEnsembleClassifier(Mlp, restart=how, n_cycles=3, max_epochs=6, **SGD).fit(*rows)
        for how in ("warm", "star")
    )
    assert same(one.snapshots_[:1], other.snapshots_[:1])
    assert not torch.equal(*(m.snapshots_[1]["hidden.weight"] for m in (one, other)))


def test_a_cycle_that_diverges_is_left_out_and_the_next_begins_at_the_center(rows):
    def explodes(at):
        return 1e20 if at.cycle == 1 else first_alone(at)

    with pytest.warns(RuntimeWarning, match="diverged in 1 of 3 cycles"):
        model = SnapshotEnsembleClassifier(
            Mlp, restart="star", schedule=explodes, n_cycles=3, max_epochs=6, **SGD
        ).fit(*rows)
    one, other = model.snapshots_
    assert same([one], [other])


def test_a_file_goes_on_from_the_first_cycle(rows, tmp_path):
    model = SnapshotEnsembleClassifier(Mlp, restart="star", n_cycles=2, max_epochs=4, **SGD)
    model.fit(*rows).save(tmp_path / "a.model", include="training")
    read = skensemble.load(tmp_path / "a.model", module=Mlp)
    assert read.restart == "star"
    assert same(read.partial_fit(*rows).snapshots_, model.partial_fit(*rows).snapshots_)


@pytest.mark.parametrize("module", [None, Mlp])
@pytest.mark.parametrize("restart", ["cold", "star"])
def test_an_optimizer_that_is_made_anew_has_the_rate_of_now(rows, restart, module):
    """It had that of the first call, whatever lr a later one was given."""
    options = {"n_cycles": 2, "max_epochs": 2, "warm_start": True, "random_state": 0}
    model = SnapshotEnsembleClassifier(
        module, restart=restart, optimizer="SGD", lr=0.1, n_chains=2, validation=None, **options
    ).fit(*rows)
    model.set_params(lr=1e-9).fit(*rows)
    assert [group["initial_lr"] for group in model.net_.optimizer_.param_groups] == [1e-9]
    if restart == "star":
        for name, tensor in model.snapshots_[0].items():
            torch.testing.assert_close(model.snapshots_[-2][name], tensor, atol=1e-6, rtol=0)


def test_rates_are_kept_around_what_makes_an_optimizer_anew(rows):
    model = SnapshotEnsembleClassifier(Mlp, n_cycles=1, max_epochs=1, **SGD).fit(*rows)
    net, state = model.net_, {n: t + 1 for n, t in model.snapshots_[0].items()}
    net.optimizer_.param_groups[0]["initial_lr"] = 0.5
    before = net.optimizer_
    recorder = SnapshotRecorder([1], None, cold=False)
    recorder.center = state
    recorder.go_back(net)
    assert net.optimizer_ is not before
    assert not net.optimizer_.state
    assert net.optimizer_.param_groups[0]["initial_lr"] == 0.5
    assert same([net.module_.state_dict()], [state])
    del net.optimizer_.param_groups[0]["initial_lr"]
    remake_optimizer(net)
    assert "initial_lr" not in net.optimizer_.param_groups[0]
