"""The nets of a fit, made anew or carried on."""

import copy
import functools
import pickle
import warnings

import numpy as np
import pytest
import torch
from conftest import Mlp, Normalised, is_one
from conftest import same as states_equal
from skorch import NeuralNet
from skorch.callbacks import Callback, GradientNormClipping
from torch import nn
from torch.nn.utils import prune

from skensemble import SnapshotEnsembleClassifier
from skensemble._nets.generators import chain_seed


def test_an_instance_is_the_start_of_the_first_chain(digits):
    X, y = digits
    module = Mlp(64, 10)
    model = SnapshotEnsembleClassifier(
        module, n_chains=2, n_cycles=1, max_epochs=1, lr=1e-9, optimizer=torch.optim.SGD
    ).fit(X, y)
    one, two = model.snapshots_
    torch.testing.assert_close(one["hidden.weight"], module.hidden.weight.detach())
    assert not torch.allclose(two["hidden.weight"], module.hidden.weight, atol=1e-3)

    class Stubborn(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(64, 10))

        def forward(self, X):
            return X @ self.weight

    with pytest.raises(ValueError, match="Got 2 chains with a module whose part 'Stubborn'"):
        SnapshotEnsembleClassifier(Stubborn(), n_chains=2).fit(X, y)


def test_a_net_of_two_modules_is_refused(digits):
    class Two(NeuralNet):
        def initialize_module(self):
            super().initialize_module()
            self.head_ = nn.Linear(2, 2)
            return self

    with pytest.raises(ValueError, match=r"Got net=Two with the modules \['module', 'head'\]"):
        SnapshotEnsembleClassifier(Mlp, net=Two, max_epochs=1).fit(*digits)


def test_instances_among_the_modules_arguments_are_copied(digits):
    """They are trained as the rest; a refit starts from them, a cold restart resets them."""
    X, y = digits

    class Headed(nn.Module):
        def __init__(self, backbone, n_outputs):
            super().__init__()
            self.backbone, self.head = backbone, nn.Linear(8, n_outputs)

        def forward(self, X):
            return self.head(self.backbone(X))

    backbone = nn.Linear(64, 8)
    before = backbone.weight.clone()
    model = SnapshotEnsembleClassifier(
        Headed, module__backbone=backbone, max_epochs=2, n_cycles=2, random_state=0
    )
    one, two = model.fit(X, y).snapshots_, model.fit(X, y).snapshots_
    assert states_equal(one, two)
    assert torch.equal(backbone.weight, before)
    assert not torch.equal(one[0]["backbone.weight"], before)
    cold = model.set_params(restart="cold", lr=1e-9).fit(X, y).snapshots_
    assert (cold[0]["backbone.weight"] - cold[1]["backbone.weight"]).abs().max() > 0.01


def test_lr_of_now_is_used_when_going_on(digits):
    rates = []

    class Watch(Callback):
        def on_batch_begin(self, net, batch=None, training=None, **kwargs):
            rates.append(net.optimizer_.param_groups[0]["lr"])

    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, lr=0.01, callbacks=[Watch()])
    model.fit(*digits)
    rates.clear()
    model.set_params(lr=0.02).partial_fit(*digits)
    assert max(rates) == pytest.approx(0.02)


def test_an_instance_is_the_start_and_stays_as_it_is(iris):
    X, y = iris
    module = Normalised(4, 3)
    before = copy.deepcopy(module.state_dict())
    model = SnapshotEnsembleClassifier(module, lr=1e-30, max_epochs=1, n_cycles=1)
    (snapshot,) = model.fit(X, y).snapshots_
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    assert torch.equal(snapshot["hidden.weight"], before["hidden.weight"])


class OwnInference(NeuralNet):
    def infer(self, x, **fit_params):
        return super().infer(x, **fit_params)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, True),
        ({"optimizer": torch.optim.Rprop}, True),
        ({"optimizer": torch.optim.LBFGS}, False),
        ({"iterator_train__shuffle": True}, False),
        ({"net": OwnInference}, False),
    ],
    ids=["plain", "Rprop", "LBFGS", "loader", "net"],
)
def test_chains_are_joined_where_that_gives_what_each_gives_alone(digits, parameters, expected):
    model = SnapshotEnsembleClassifier(
        Mlp, n_chains=2, n_cycles=1, max_epochs=1, batch_size=300, **parameters
    )
    assert is_one(model.fit(*digits)) is expected


def test_nothing_of_the_users_arguments_is_written_on(digits):
    criterion, module = nn.CrossEntropyLoss(weight=torch.ones(10)), Mlp(64, 10)
    callback = Callback()
    before = copy.deepcopy(module.state_dict())
    SnapshotEnsembleClassifier(
        module, criterion=criterion, callbacks=[callback], max_epochs=1, n_chains=2
    ).fit(*digits, sample_weight=digits[1] + 1)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert criterion.reduction == "mean"
    assert vars(callback) == {}


def old_weight_norm(layer):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.utils.weight_norm(layer)


class Wrapped(nn.Module):
    def __init__(self, n_inputs, n_outputs, wrap):
        super().__init__()
        self.hidden = wrap(nn.Linear(n_inputs, 12))
        self.output = nn.Linear(12, n_outputs)

    def forward(self, X):
        return self.output(self.hidden(X).relu())


WRAPPERS = {
    "weight_norm": old_weight_norm,
    "spectral_norm": nn.utils.spectral_norm,
    "prune": functools.partial(prune.random_unstructured, name="weight", amount=0.3),
    "parametrized weight_norm": nn.utils.parametrizations.weight_norm,
    "parametrized spectral_norm": nn.utils.parametrizations.spectral_norm,
    "orthogonal": nn.utils.parametrizations.orthogonal,
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_weights_that_others_make_train_in_chains_and_pickle(digits, wrap):
    """Deepcopy fails on their modules once they have been called."""
    X, y = digits[0] / 16, digits[1]
    quick = {"module__wrap": wrap, "n_cycles": 2, "max_epochs": 6, "lr": 0.02, "random_state": 0}
    model = SnapshotEnsembleClassifier(Wrapped, n_chains=2, **quick).fit(X, y)
    assert model.score(X, y) > 0.7
    alone = SnapshotEnsembleClassifier(
        Wrapped, **{**quick, "random_state": chain_seed(0, 0)}, validation=None
    )
    whole = SnapshotEnsembleClassifier(Wrapped, n_chains=2, validation=None, **quick).fit(X, y)
    first = alone.fit(X, y).snapshots_[-1]
    for name, value in whole.snapshots_[-2].items():
        torch.testing.assert_close(value, first[name], atol=1e-3, rtol=1e-3)
    p = model.predict_proba(X)
    loaded = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(loaded.predict_proba(X), p)
    going_on = model.partial_fit(X, y).predict_proba(X)
    np.testing.assert_allclose(loaded.partial_fit(X, y).predict_proba(X), going_on, atol=1e-6)
    assert model.set_params(restart="cold").fit(X, y).score(X, y) > 0.5
    fresh = Wrapped(64, 10, wrap)
    fresh.load_state_dict(model.snapshots_[-1])
    with torch.no_grad():
        expected = torch.softmax(fresh.eval()(torch.from_numpy(X).float()), dim=1)
    np.testing.assert_allclose(model.predict_members(X)[-1], expected, atol=1e-5)


def test_a_criterion_gets_the_outputs_that_it_takes(iris):
    """As in skorch all of them, or the first where it takes that alone."""

    class Pair(nn.Linear):
        def __init__(self, n_inputs, n_outputs):
            super().__init__(n_inputs, n_outputs)

        def forward(self, X):
            scores = super().forward(X)
            return scores, scores.square().mean(dim=1)

    class Penalised(nn.Module):
        def forward(self, outputs, y_true):
            return nn.functional.cross_entropy(outputs[0], y_true) + outputs[1].mean()

    X, y = (iris[0] - iris[0].mean(axis=0)) / iris[0].std(axis=0), iris[1]
    quick = {"n_cycles": 1, "max_epochs": 20, "lr": 0.05, "random_state": 0}
    plain = SnapshotEnsembleClassifier(Pair, **quick).fit(X, y)
    for chains in ({}, {"n_chains": 2, "validation": None}):
        small = SnapshotEnsembleClassifier(Pair, criterion=Penalised, **quick, **chains).fit(X, y)
        size = small.snapshots_[0]["weight"].norm()
        assert size < 0.8 * plain.snapshots_[0]["weight"].norm()
        assert not is_one(small)
    listening = SnapshotEnsembleClassifier(Pair, callbacks=[GradientNormClipping(1e9)], **quick)
    assert states_equal(listening.fit(X, y).snapshots_, plain.snapshots_)


def test_columns_of_very_different_scale_are_told_once(iris):
    X, y = iris
    quick = {"n_cycles": 2, "max_epochs": 2}
    wide, far = X * [1, 1e5, 1, 1], X + np.array([0, 5000, 0, 0])
    for table, text in [(wide, "widths from .* to"), (far, "times its own width from 0")]:
        with pytest.warns(
            UserWarning, match=f"very different scale.*{text}.*StandardScaler"
        ) as told:
            SnapshotEnsembleClassifier(Mlp, **quick).fit(table, y).partial_fit(table, y)
        assert len(told) == 1

    class Normed(Mlp):
        def __init__(self, n_inputs, n_outputs):
            nn.Module.__init__(self)
            self.norm = nn.BatchNorm1d(n_inputs)
            self.rest = Mlp(n_inputs, n_outputs)

        def forward(self, X):
            return self.rest(self.norm(X))

    SnapshotEnsembleClassifier(Normed, **quick).fit(wide, y)
    SnapshotEnsembleClassifier(**quick).fit(wide, y)
    SnapshotEnsembleClassifier(Mlp, **quick).fit(X, y)


def test_a_criterion_is_tried_before_training(iris):
    """Also where the counts of rows and classes would let targets be broadcast."""

    class Broadcasting(nn.Module):
        def forward(self, y_pred, y_true):
            return (y_pred - y_true).square().mean()

    with pytest.raises(ValueError, match="Got criterion=") as told:
        SnapshotEnsembleClassifier(Mlp, criterion=nn.BCEWithLogitsLoss).fit(*iris)
    assert str(told.value) == (
        "Got criterion=BCEWithLogitsLoss, but expected one that takes raw scores of shape (n, 3) "
        "and class numbers of shape (n,), such as nn.CrossEntropyLoss; given shape (8, 3) of "
        "torch.float32 and shape (8,) of torch.int64, it raised ValueError: Target size "
        "(torch.Size([11])) must be the same as input size (torch.Size([11, 3]))."
    )
    for n_classes in (8, 11):
        y = np.arange(150) % n_classes
        with pytest.raises(ValueError, match="Got criterion=Broadcasting"):
            SnapshotEnsembleClassifier(Mlp, criterion=Broadcasting).fit(iris[0], y)
    criterion = nn.CrossEntropyLoss(reduction="none")
    with pytest.raises(ValueError, match="and not one number"):
        SnapshotEnsembleClassifier(Mlp, criterion=criterion).fit(*iris)


def test_trying_a_criterion_changes_nothing(iris):
    class Noisy(nn.CrossEntropyLoss):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, y_pred, y_true):
            self.calls += 1
            return super().forward(y_pred + 1e-3 * torch.randn_like(y_pred), y_true)

    model = SnapshotEnsembleClassifier(
        Mlp, criterion=Noisy, n_cycles=1, max_epochs=2, batch_size=50
    )
    assert model.fit(*iris).net_.criterion_.calls == 6
