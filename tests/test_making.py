"""The nets of a fit, made anew or carried on."""

import copy

import pytest
import torch
from conftest import Mlp, Normalised, is_one
from conftest import same as states_equal
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import nn

from skensemble import SnapshotEnsembleClassifier


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
