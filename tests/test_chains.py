"""Chains trained as one network are chains trained one by one (promise 9)."""

import copy
import pickle

import numpy as np
import pytest
import torch
from conftest import Mlp, Normalised, Recurrent, is_one
from sklearn.base import clone
from sklearn.model_selection import KFold
from skorch.callbacks import Callback
from torch import nn

from skensemble import SnapshotEnsembleClassifier
from skensemble._nets.chains import Chains
from skensemble._nets.generators import chain_seed


class Convolutional(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.output = nn.Linear(4 * 9, n_outputs)

    def forward(self, X):
        h = torch.relu(self.norm(self.conv(X.reshape(-1, 1, 8, 8))))
        return self.output(nn.functional.max_pool2d(h, 2).flatten(1))


class Transformer(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.output = nn.Linear(8, n_outputs)

    def forward(self, X):
        return self.output(self.layer(X.reshape(-1, 8, 8)).mean(dim=1))


class Batches(Callback):
    """Looks at single batches, so that chains go one by one."""

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        pass


MODULES = {
    "built-in": None,
    "perceptron": Mlp,
    "normalised": Normalised,
    "convolutional": Convolutional,
    "transformer": Transformer,
}


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_chains_as_one_equal_chains_one_by_one(digits, module):
    X, y = digits
    # A bias before a normalisation, or of attention's keys, has no gradient but rounding, which
    # Adam would take for one; so have pieces of columns that hardly ever rise.
    arguments = {"optimizer": torch.optim.SGD}
    if module is Mlp:
        arguments = {"module__dropout": 0.0}
    if module is None:
        arguments["module__column_dropout"] = 0.0
    model = SnapshotEnsembleClassifier(
        module, n_chains=3, n_cycles=2, max_epochs=2, lr=0.002,
        random_state=1, **arguments,
    )  # fmt: skip
    one = clone(model).fit(X / 16, y)
    by_one = clone(model).set_params(callbacks=[Batches()]).fit(X / 16, y)
    assert is_one(one)
    assert not is_one(by_one)
    assert one.n_chains_ == by_one.n_chains_ == 3
    for got, expected in zip(one.snapshots_, by_one.snapshots_, strict=True):
        assert got.keys() == expected.keys()
        for name in got:
            torch.testing.assert_close(got[name], expected[name], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(one.cycle_scores_, by_one.cycle_scores_, rtol=1e-4)


@pytest.mark.parametrize("module", [Normalised, Recurrent])
def test_chains_equal_single_fits(digits, module):
    """Each chain is the fit of one network on the rows that the chain does not leave out."""
    X, y = digits
    parameters = {"n_cycles": 2, "max_epochs": 2, "lr": 0.01, "batch_size": 50}
    parameters["optimizer"] = torch.optim.SGD
    folds = KFold(3)
    model = SnapshotEnsembleClassifier(module, validation=folds, random_state=7, **parameters)
    model.fit(X / 16, y)
    assert is_one(model) == (module is Normalised)
    for k, (train, _) in enumerate(folds.split(X)):
        single = SnapshotEnsembleClassifier(module, random_state=chain_seed(7, k), **parameters)
        single.fit(X[train] / 16, y[train])
        for cycle in range(2):
            got = model.snapshots_[cycle * 3 + k]
            for name, expected in single.snapshots_[cycle].items():
                torch.testing.assert_close(got[name], expected, rtol=1e-5, atol=1e-5)


def test_a_chain_does_not_depend_on_how_many_stand_beside_it(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(
        Mlp, module__dropout=0.0, validation=None, max_epochs=2, n_cycles=1, lr=0.002,
        random_state=3,
    )  # fmt: skip
    two = clone(model).set_params(n_chains=2).fit(X / 16, y).snapshots_
    four = clone(model).set_params(n_chains=4).fit(X / 16, y).snapshots_
    alone = clone(model).set_params(n_chains=1).fit(X / 16, y).snapshots_
    for got, expected in [(two[0], four[0]), (two[1], four[1]), (two[0], alone[0])]:
        for name in got:
            torch.testing.assert_close(got[name], expected[name], rtol=1e-5, atol=1e-5)


def test_dropout_differs_from_chain_to_chain_and_is_the_same_for_a_seed(digits):
    class Dropped(nn.Module):
        def __init__(self, n_outputs):
            super().__init__()
            self.drop = nn.Dropout(0.5)
            self.layer = nn.Linear(64, n_outputs)

        def forward(self, X):
            return self.layer(self.drop(X))

    modules = [Dropped(3) for _ in range(2)]
    for module in modules:
        nn.init.ones_(module.layer.weight)
    chains = Chains(modules)
    one, two = chains.each(torch.ones(2, 5, 64))
    assert not torch.equal(one - modules[1].layer.bias, two - modules[1].layer.bias)
    X, y = digits
    for module in (None, Dropped):
        model = SnapshotEnsembleClassifier(module, n_chains=2, max_epochs=2, random_state=0)
        p = [clone(model).fit(X, y).predict_members(X) for _ in range(2)]
        np.testing.assert_array_equal(p[0], p[1])


@pytest.mark.parametrize("module", [None, Normalised, Recurrent])
def test_going_on_with_chains(digits, module):
    X, y = digits
    model = SnapshotEnsembleClassifier(
        module, n_chains=3, n_cycles=2, max_epochs=4, lr=0.002, random_state=0
    ).fit(X, y)
    before = copy.deepcopy(model.snapshots_)
    unpickled = pickle.loads(pickle.dumps(model))
    for going_on in (model, unpickled):
        going_on.partial_fit(X, y)
        assert going_on.n_cycles_ == 3
        assert len(going_on.snapshots_) == len(going_on.member_weights_) == 9
        assert going_on.cycle_scores_.shape == (3,)
    for old, new in zip(before, model.snapshots_, strict=False):
        assert all(torch.equal(old[name], new[name]) for name in old)
    np.testing.assert_allclose(unpickled.predict_proba(X), model.predict_proba(X), atol=1e-6)
    model.set_params(warm_start=True).fit(X, y)
    assert model.n_cycles_ == 5
    assert model.oof_decision_function_.shape == (600, 10)
    loaded = copy.deepcopy(model.net_.module_)
    loaded.load_state_dict(model.snapshots_[-3])  # the first chain's last
    for name, value in model.net_.module_.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[name])


@pytest.mark.parametrize("module", [None, Mlp, Recurrent])
def test_cold_restarts_draw_every_chain_anew(digits, module):
    X, y = digits
    model = SnapshotEnsembleClassifier(
        module, n_chains=2, n_cycles=2, max_epochs=2, restart="cold", lr=1e-9, random_state=0,
        optimizer=torch.optim.SGD,
    ).fit(X, y)  # fmt: skip
    first = [next(iter(state.values())) for state in model.snapshots_]
    for i in range(4):
        for j in range(i):
            assert not torch.allclose(first[i], first[j], atol=1e-3)
