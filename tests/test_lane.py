"""A net in training, beside the callbacks of the user."""

import warnings

import numpy as np
import pytest
import torch
from conftest import Mlp, Recurrent, same
from sklearn.base import clone
from skorch.callbacks import Callback, EarlyStopping, EpochScoring

from skensemble import SnapshotEnsembleClassifier


@pytest.mark.parametrize("module", [None, Recurrent])
def test_skorchs_callbacks_look_at_unseen_rows(digits, module):
    X, y = digits
    model = SnapshotEnsembleClassifier(
        module, n_chains=2, n_cycles=2, max_epochs=3, lr=0.002,
        callbacks=[EarlyStopping(patience=50)],
    )  # fmt: skip
    model.fit(X / 16, y)
    losses = model.history_[:, "valid_loss"]
    assert len(losses) == model.n_iter_ == 3
    assert all(np.isfinite(losses))
    if module is None:  # of the last epoch, and of all chains
        last = model.predict_members(X / 16)[-2:]
        fold = [np.abs(last[k] - model.oof_decision_function_).max(axis=1) for k in (0, 1)]
        assert np.median(np.minimum(*fold)) < 1  # each row by one chain or a mean with the first
    scored = clone(model).set_params(callbacks=[EpochScoring("accuracy", name="acc")])
    scored.fit(X / 16, y)
    assert 0 <= scored.history_[-1, "acc"] <= 1


def test_early_stopping_of_skorch_ends_all_chains(digits):
    X, y = digits
    for module in (Mlp, Recurrent):
        model = SnapshotEnsembleClassifier(
            module, n_chains=2, n_cycles=3, max_epochs=30, lr=1e-12,
            optimizer=torch.optim.SGD, callbacks=[EarlyStopping(patience=2, threshold=0.1)],
        ).fit(X / 16, y)  # fmt: skip
        assert model.n_iter_ < 30
        assert len(model.snapshots_) == 2 * model.n_cycles_ >= 2


def test_early_stopping_stops_quietly_and_its_weights_are_the_last_snapshot(digits):
    """Rule 7, and promise 3: a run stopped early is a prefix of the full one."""
    stop = EarlyStopping("train_loss", patience=1, threshold=0.6, sink=lambda *args: None)
    model = SnapshotEnsembleClassifier(
        Mlp, n_cycles=2, max_epochs=20, callbacks=[stop], random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stopped = model.fit(*digits)
    assert 1 < stopped.n_iter_ < 20
    assert same([stopped.net_.module_.state_dict()], stopped.snapshots_[-1:])
    assert stop.__dict__.keys() == EarlyStopping("train_loss").__dict__.keys()  # a copy ran

    full = SnapshotEnsembleClassifier(Mlp, n_cycles=2, max_epochs=20, random_state=0).fit(*digits)
    losses = full.history_[:, "train_loss"]
    assert losses[: stopped.n_iter_] == stopped.history_[:, "train_loss"]


def test_the_rate_is_set_before_the_users_callbacks_and_the_snapshot_taken_after(digits):
    rates = []

    class Watch(Callback):
        def on_batch_begin(self, net, batch=None, training=None, **kwargs):
            rates.append(net.optimizer_.param_groups[0]["lr"])

        def on_batch_end(self, net, batch=None, training=None, **kwargs):
            torch.nn.init.constant_(net.module_.output.bias, len(rates))

    model = SnapshotEnsembleClassifier(
        Mlp, n_cycles=2, cycle_mult=1, max_epochs=1, batch_size=100, lr=0.1, callbacks=[Watch()]
    ).fit(*digits)
    np.testing.assert_allclose(rates, 0.1 * (1 + np.cos(np.pi * np.array([0, 1, 2] * 2) / 3)) / 2)
    assert [state["output.bias"][0].item() for state in model.snapshots_] == [3, 6]


@pytest.mark.parametrize("failing", [False, True])
def test_nothing_of_a_run_stays_on_the_net(digits, failing):
    nets = []

    class Watch(Callback):
        def on_epoch_end(self, net, **kwargs):
            nets.append(net)
            if failing:
                raise KeyError("mine")

    callback = Watch()
    model = SnapshotEnsembleClassifier(Mlp, n_cycles=1, max_epochs=1, callbacks=[callback])
    if failing:
        with pytest.raises(KeyError, match="mine"):
            model.fit(*digits, sample_weight=digits[1] + 1)
    else:
        model.fit(*digits, sample_weight=digits[1] + 1)
    (net,) = nets
    assert net.session_ is None
    assert net.criterion_.weight is None
    names = [name for name, _ in net.callbacks_]
    assert not {"cyclic_rate", "snapshots", "progress"} & set(names)
