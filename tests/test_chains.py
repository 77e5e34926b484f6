"""Chains trained as one network are chains trained one by one (promise 9)."""

import copy
import pickle

import numpy as np
import pytest
import torch
from conftest import Mlp, Normalised
from sklearn.base import clone
from sklearn.model_selection import KFold
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, Freezer
from torch import nn

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._nets.batchable import can_train_as_one
from skensemble._nets.by_hand import unit_masks
from skensemble._nets.chains import Chains
from skensemble._nets.generators import chain_seed
from skensemble.networks import ScaledLinear, TableNetwork


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


class Recurrent(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.layer = nn.GRU(8, 6, batch_first=True)
        self.output = nn.Linear(6, n_outputs)

    def forward(self, X):
        return self.output(self.layer(X.reshape(-1, 8, 8))[0][:, -1])


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


def is_one(model):
    return model.net_.batched_ is not None


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


def test_what_torch_func_cannot_take_is_found_out():
    X = torch.zeros(4, 64)
    assert can_train_as_one([Mlp(64, 3), Mlp(64, 3)], X)
    assert not can_train_as_one([Recurrent(3), Recurrent(3)], X)

    class Branching(Mlp):
        def forward(self, X):
            return super().forward(X if X.sum() > 1 else -X)

    assert not can_train_as_one([Branching(64, 3), Branching(64, 3)], X)


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


def test_losses_are_summed_and_never_that_of_the_mean(diabetes):
    """Rule 13: chains beside each other train as if they were alone."""
    X, y = diabetes
    X = X / X.std(axis=0)
    for criterion in (None, nn.HuberLoss, nn.PoissonNLLLoss):
        target = y / 100
        model = SnapshotEnsembleRegressor(
            Mlp, module__dropout=0.0, criterion=criterion, validation=None, n_cycles=1,
            max_epochs=3, lr=0.01, optimizer=torch.optim.SGD, random_state=0,
        )  # fmt: skip
        weight = np.random.default_rng(0).random(len(y)) if criterion is nn.HuberLoss else None
        together = clone(model).set_params(n_chains=3).fit(X, target, sample_weight=weight)
        alone = clone(model).set_params(n_chains=1).fit(X, target, sample_weight=weight)
        assert is_one(together)
        for name, value in alone.snapshots_[0].items():
            torch.testing.assert_close(together.snapshots_[0][name], value, rtol=1e-4, atol=1e-5)


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


class Padded(nn.Module):
    """vmap heeds the padding row of the first chain alone."""

    def __init__(self, n_outputs):
        super().__init__()
        self.layer = nn.Embedding(17, 4, padding_idx=0)
        self.output = nn.Linear(64 * 4, n_outputs)

    def forward(self, X):
        return self.output(self.layer(X).flatten(1))


class Averaging(Mlp):
    """A buffer that is replaced, not written to."""

    def __init__(self, n_inputs, n_outputs):
        super().__init__(n_inputs, n_outputs, dropout=0.0)
        self.register_buffer("mean", torch.zeros(n_inputs))

    def forward(self, X):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * X.detach().mean(dim=0)
        return super().forward(X - self.mean)


class Remembering(Mlp):
    def forward(self, X):
        self.last = torch.relu(self.hidden(X))
        return self.output(self.last)


@pytest.mark.parametrize("module", [Padded, Averaging, Remembering])
def test_what_torch_func_takes_for_something_else_goes_one_by_one(digits, module):
    X, y = digits
    X = X.astype(int) if module is Padded else X / 16
    parameters = {"n_cycles": 1, "max_epochs": 2, "lr": 0.01, "optimizer": torch.optim.SGD}
    parameters |= {"optimizer__momentum": 0.9, "validation": None, "random_state": 5}
    model = SnapshotEnsembleClassifier(module, n_chains=2, **parameters).fit(X, y)
    assert not is_one(model)
    single = SnapshotEnsembleClassifier(module, **{**parameters, "random_state": chain_seed(5, 1)})
    for name, value in single.fit(X, y).snapshots_[0].items():
        torch.testing.assert_close(model.snapshots_[1][name], value)


@pytest.mark.parametrize(
    "criterion",
    [
        nn.CrossEntropyLoss(ignore_index=1),
        nn.CrossEntropyLoss(label_smoothing=0.1),
        nn.CrossEntropyLoss(weight=torch.arange(1.0, 11.0)),
        nn.CrossEntropyLoss(reduction="sum"),
        nn.CrossEntropyLoss(),
    ],
    ids=["ignore_index", "smoothing", "weight", "sum", "plain"],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_options_of_the_loss_count_for_each_chain(digits, criterion, weighted):
    X, y = digits
    weight = np.random.default_rng(0).random(len(y)) if weighted else None
    lr = 1e-4 if criterion.reduction == "sum" else 0.01
    model = SnapshotEnsembleClassifier(
        module__hidden=(8,), module__column_dropout=0.0, criterion=criterion, validation=None,
        n_cycles=1, max_epochs=2, lr=lr, optimizer=torch.optim.SGD, random_state=0,
    )  # fmt: skip
    together = clone(model).set_params(n_chains=2).fit(X, y, sample_weight=weight)
    alone = clone(model).set_params(n_chains=1).fit(X, y, sample_weight=weight)
    assert is_one(together)
    for name, value in alone.snapshots_[0].items():
        torch.testing.assert_close(together.snapshots_[0][name], value, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("hidden", [(), (6,), (6, 5, 4)])
@pytest.mark.parametrize("n_outputs", [1, 3])
def test_gradients_by_hand_are_those_of_autograd(hidden, n_outputs):
    torch.manual_seed(0)
    modules = [TableNetwork(4, n_outputs, hidden, 0.0, torch.float64) for _ in range(3)]
    chains = Chains(copy.deepcopy(modules))
    X, g = torch.randn(3, 7, 4).double() * 3, torch.randn(3, 7, n_outputs).double()
    outputs, pull = chains.each_and_pullback(X)
    pull(g)
    for k, module in enumerate(modules):
        expected = module(X[k])
        torch.testing.assert_close(outputs[k], expected)
        expected.backward(g[k])
        for name, parameter in module.named_parameters():
            torch.testing.assert_close(chains.tensors[name].grad[k], parameter.grad)


def test_gradients_by_hand_are_those_of_autograd_where_columns_are_dropped(monkeypatch):
    mask = torch.tensor([[0, 0, 2, 2.0], [2, 2, 0, 0], [2, 2, 2, 2]], dtype=torch.float64)
    monkeypatch.setattr(ScaledLinear, "column_mask", lambda self, columns: mask[: len(columns)])
    torch.manual_seed(0)
    parameters = {"columns": [0, 0, 1, 1], "column_dropout": 0.5, "dtype": torch.float64}
    modules = [TableNetwork(4, 2, (6,), **parameters) for _ in range(3)]
    chains = Chains(copy.deepcopy(modules)).train()
    X, g = torch.randn(3, 7, 4).double(), torch.randn(3, 7, 2).double()
    chains.each(X).backward(g)
    by_autograd = {name: tensor.grad.clone() for name, tensor in chains.one.named_parameters()}
    for tensor in chains.parameters():
        tensor.grad = None
    outputs, pull = chains.each_and_pullback(X)
    pull(g)
    for k, module in enumerate(modules):
        monkeypatch.setattr(ScaledLinear, "column_mask", lambda self, columns, k=k: mask[k])
        expected = module(X[k])
        torch.testing.assert_close(outputs[k], expected)
        expected.backward(g[k])
        for name, parameter in module.named_parameters():
            torch.testing.assert_close(chains.tensors[name].grad[k], parameter.grad)
            torch.testing.assert_close(by_autograd[name][k], parameter.grad)
        # What is dropped has no gradient, and what is not sees the column doubled.
        plain = nn.functional.linear(X[k] * mask[k], module.layers[0].weight, module.layers[0].bias)
        torch.testing.assert_close(module.layers[0](X[k]), plain)
    chains.eval()
    torch.testing.assert_close(chains.each(X)[2], modules[2].eval()(X[2]))


def test_each_chain_drops_columns_of_its_own():
    torch.manual_seed(0)
    parameters = {"columns": [0, 0, 1, 1], "column_dropout": 0.5}
    chains = Chains([TableNetwork(4, 2, (6,), **parameters) for _ in range(200)]).train()
    chains.each(torch.randn(200, 5, 4)).sum().backward()
    # Where a column is dropped, its weights have no gradient.
    is_kept = (chains.tensors["layers.0.weight"].grad != 0).any(dim=1)
    assert torch.equal(is_kept[:, ::2], is_kept[:, 1::2])
    for share in (is_kept[:, 0], is_kept[:, 2], is_kept[:, 0] == is_kept[:, 2]):
        assert share.float().mean() == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("dropout", [0.1, 0.5, 0.9])
def test_dropout_drops_the_share_and_keeps_the_mean(dropout):
    (mask,) = unit_masks(torch.zeros(8, 500, 3), [64], dropout)
    assert mask.shape == (8, 500, 64)
    assert (mask == 0).float().mean() == pytest.approx(dropout, abs=0.005)
    assert mask.max() == pytest.approx(1 / (1 - dropout), rel=1e-6)


def test_a_frozen_layer_stays_with_chains(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(
        n_chains=2, n_cycles=1, max_epochs=2, callbacks=[Freezer("layers.0.*")], random_state=0
    )
    start = clone(model).set_params(lr=1e-30, optimizer=torch.optim.SGD).fit(X, y).snapshots_
    for got, expected in zip(model.fit(X, y).snapshots_, start, strict=True):
        torch.testing.assert_close(got["layers.0.weight"], expected["layers.0.weight"])
        assert not torch.allclose(got["layers.3.weight"], expected["layers.3.weight"], atol=1e-3)


def test_divergence_of_one_chain_in_turn_keeps_what_all_have_finished(digits):
    X, y = digits

    class Explode(Callback):
        def on_batch_begin(self, net, batch=None, training=None, **kwargs):
            self.steps = getattr(self, "steps", 0) + 1
            if self.steps == 9:
                with torch.no_grad():
                    next(net.module_.parameters()).fill_(float("inf"))

    model = SnapshotEnsembleClassifier(
        Mlp, n_chains=2, n_cycles=4, cycle_mult=1, max_epochs=1, batch_size=30, validation=None,
        callbacks=[Explode()], random_state=0,
    )  # fmt: skip
    with pytest.warns(RuntimeWarning, match="diverged in 3 of 4 cycles"):
        model.fit(X, y)
    assert len(model.snapshots_) == 2
    assert np.isfinite(model.predict_proba(X)).all()
