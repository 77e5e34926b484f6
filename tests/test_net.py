"""The skorch net that trains, and nets of the user's own."""

import copy
import pickle

import numpy as np
import pytest
import torch
from conftest import Mlp, Normalised, same
from conftest import same as states_equal
from skorch import NeuralNet, NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn

from skensemble import SnapshotEnsembleClassifier
from skensemble._data.batches import BatchIterator


def test_a_callback_of_epochs_keeps_the_lean_path(digits, monkeypatch):
    from skensemble._training.net import SnapshotNet

    def fail(*args, **kwargs):
        raise AssertionError("the generic path was taken")

    class Epochs(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("seen", True)

    monkeypatch.setattr(NeuralNet, "train_step", fail)
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, callbacks=[Epochs()], random_state=0)
    model.fit(*digits)
    assert model.history_[:, "seen"] == [True, True]
    assert SnapshotNet.train_step is NeuralNet.train_step


class Penalised(NeuralNetClassifier):
    """The classic reason for a net of one's own: a penalty in ``get_loss``."""

    def __init__(self, *args, penalty=0.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.penalty = penalty

    def get_loss(self, y_pred, y_true, X=None, training=False):
        loss = super().get_loss(y_pred, y_true, X=X, training=training)
        return loss + self.penalty * self.module_.output.weight.abs().sum()


def test_a_net_with_its_own_loss_is_used(digits):
    X, y = digits

    def size(model):
        return model.snapshots_[-1]["output.weight"].abs().sum()

    base = {"max_epochs": 5, "random_state": 0}
    plain = SnapshotEnsembleClassifier(Mlp, **base).fit(X, y)
    free = SnapshotEnsembleClassifier(Mlp, net=Penalised, **base).fit(X, y)
    held = SnapshotEnsembleClassifier(Mlp, net=Penalised, net__penalty=1.0, **base).fit(X, y)
    assert same(plain.snapshots_, free.snapshots_)
    assert size(held) < 0.5 * size(free)
    assert isinstance(held.net_, Penalised)
    weighted = held.fit(X, y, sample_weight=np.arange(len(X)))
    assert size(weighted) < 0.5 * size(free)


def test_skorchs_own_nets_are_nets(digits):
    X, y = digits
    plain = SnapshotEnsembleClassifier(Mlp, max_epochs=2, random_state=0).fit(X, y)
    for net in (NeuralNet, NeuralNetClassifier):
        model = SnapshotEnsembleClassifier(Mlp, net=net, max_epochs=2, random_state=0).fit(X, y)
        assert same(model.snapshots_, plain.snapshots_)


def test_a_net_with_its_own_inference_predicts_by_it(digits):
    X, y = digits

    class Halved(NeuralNet):
        def infer(self, x, **fit_params):
            return super().infer(x / 2, **fit_params)

    class HalvedLater(NeuralNet):
        def evaluation_step(self, batch, training=False):
            return super().evaluation_step((batch[0] / 2, batch[1]), training=training)

    parameters = {"max_epochs": 3, "n_cycles": 2, "random_state": 0}
    plain = SnapshotEnsembleClassifier(Mlp, **parameters)
    halved = SnapshotEnsembleClassifier(Mlp, net=Halved, **parameters).fit(X, y)
    expected = plain.fit(X / 2, y).predict_proba(X / 2)
    np.testing.assert_allclose(halved.predict_proba(X), expected, atol=1e-6)
    later = SnapshotEnsembleClassifier(Mlp, net=HalvedLater, **parameters).fit(X, y)
    expected = plain.fit(X, y).predict_proba(X / 2)
    np.testing.assert_allclose(later.predict_proba(X), expected, atol=1e-6)


def test_a_nets_own_hooks_of_batches_are_called(digits):
    class Counting(NeuralNet):
        def on_batch_begin(self, *args, **kwargs):
            super().on_batch_begin(*args, **kwargs)
            self.n_seen = getattr(self, "n_seen", 0) + 1

    model = SnapshotEnsembleClassifier(Mlp, net=Counting, max_epochs=1, random_state=0)
    assert model.fit(*digits).net_.n_seen == 19
    seen, callback = [], Callback()
    callback.on_batch_end = lambda net, **kwargs: seen.append(1)
    model.set_params(net=None, callbacks=[callback]).fit(*digits)
    assert len(seen) == 19


class OwnLoader(NeuralNet):
    def get_iterator(self, dataset, training=False):
        return torch.utils.data.DataLoader(dataset, batch_size=100)


class OwnLoss(NeuralNet):
    def get_loss(self, y_pred, y_true, X=None, training=False):
        return nn.functional.cross_entropy(y_pred, y_true)


class Heedless(nn.CrossEntropyLoss):
    def forward(self, y_pred, y_true):
        return nn.functional.cross_entropy(y_pred, y_true)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"net": OwnLoader}, "Got weights with net=OwnLoader, whose get_iterator"),
        ({"net": OwnLoss}, "Got weights with a net whose get_loss makes no use of criterion_"),
        ({"criterion": Heedless}, "Got weights with criterion=Heedless"),
        ({"net__iterator_train": BatchIterator}, "Got weights with net__iterator_train="),
    ],
)
def test_weights_are_never_dropped_in_silence(digits, parameters, message):
    """Rule 3."""
    X, y = digits
    if "net__iterator_train" in parameters:
        parameters = {
            "net__iterator_train": lambda dataset, batch_size: BatchIterator(dataset, batch_size)
        }
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=1, n_cycles=2, **parameters)
    model.fit(X, y)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, sample_weight=np.arange(len(y)))


def test_an_iterator_of_ones_own_keeps_to_the_budget(digits):
    """Promise 3: two and a half epochs are fifteen steps."""
    model = SnapshotEnsembleClassifier(Mlp, net=OwnLoader, n_cycles=2, max_epochs=5)
    model.partial_fit(*digits)
    assert sum(model.history_[:, "train_batch_count"]) == 15


def test_sparse_gradients_take_no_fused_step():
    X = np.random.default_rng(0).integers(0, 9, (100, 3))
    module = nn.Sequential(nn.EmbeddingBag(9, 2, sparse=True))
    model = SnapshotEnsembleClassifier(module, optimizer=torch.optim.SGD, max_epochs=2)
    assert not model.fit(X, X[:, 0] > 4).net_.optimizer_.defaults["fused"]


@pytest.mark.parametrize("restart", ["warm", "cold"])
def test_restarts(digits, restart):
    """Rule 10: a warm one keeps weights and optimizer, a cold one draws anew."""
    X, y = digits

    class Watch(Callback):
        def __init__(self, steps):
            self.steps = steps

        def on_batch_end(self, net, batch=None, training=None, **kwargs):
            state = net.optimizer_.state[next(iter(net.module_.parameters()))]
            self.steps.append(int(state["step"]))

    steps = []
    model = SnapshotEnsembleClassifier(
        Mlp,
        n_cycles=2,
        cycle_mult=1,
        max_epochs=2,
        restart=restart,
        callbacks=[Watch(steps)],
        random_state=0,
    ).fit(X, y)
    n = len(steps) // 2
    assert steps[n] == (n + 1 if restart == "warm" else 1)
    one, two = (s["hidden.weight"] for s in model.snapshots_)
    correlation = np.corrcoef(one.ravel(), two.ravel())[0, 1]
    assert (correlation > 0.8) if restart == "warm" else (abs(correlation) < 0.5)


def test_an_iterator_of_skorchs_prefix_replaces_ours(digits):
    sizes = []

    class Watch(Callback):
        def on_batch_end(self, net, batch=None, training=None, **kwargs):
            sizes.append(len(batch[0]))

    X, y = digits
    model = SnapshotEnsembleClassifier(
        Mlp,
        n_cycles=2,
        max_epochs=1,
        callbacks=[Watch()],
        iterator_train__batch_size=250,
        random_state=0,
    )
    plain = model.fit(X, y).snapshots_
    assert sizes == [250, 250, 100]
    assert model.net_.criterion_.reduction == "mean"
    weighted = model.fit(X, y, sample_weight=np.arange(len(X)))
    assert not same(weighted.snapshots_, plain)
    assert weighted.net_.criterion_.weight is None
    in_order = model.set_params(iterator_train__shuffle=False).fit(X, y).snapshots_
    assert not same(in_order, plain)


def test_partial_fit_goes_on_after_unpickling(digits):
    """Rule 12: the net and its optimizer are in the pickle."""
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, n_cycles=2, max_epochs=2, random_state=0).fit(X, y)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))
        assert other.history_[:, "train_loss"] == model.history_[:, "train_loss"]
        other.partial_fit(X, y)
        again = copy.deepcopy(model).partial_fit(X, y)
        assert states_equal(other.snapshots_, again.snapshots_)


def test_a_probe_moves_no_generator_and_no_buffer(digits):
    class Restless(Normalised):
        def forward(self, X):
            return super().forward(X) + torch.rand(1) * 0

    model = SnapshotEnsembleClassifier(Restless, n_cycles=1, max_epochs=1).fit(*digits)
    module = model.net_.module_.train()
    before, state = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    model.net_.probe(torch.ones(8, 64))
    assert states_equal([before], [module.state_dict()])
    assert torch.equal(torch.get_rng_state(), state)
    assert module.training
