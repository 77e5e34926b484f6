"""The built-in network."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._nets.chains import Chains
from skensemble.networks import Dense, Dropout, ScaledLinear, TableNetwork


def test_a_scaled_layer_is_a_plain_one_over_scaled_columns():
    layer, plain = ScaledLinear(5, 3), nn.Linear(5, 3)
    plain.load_state_dict({"weight": layer.weight, "bias": layer.bias})
    X = torch.randn(7, 5)
    torch.testing.assert_close(layer(X), plain(X))  # every factor starts at 1
    factor = torch.rand(5) + 0.5
    with torch.no_grad():
        layer.scale.copy_(factor / 6)
    torch.testing.assert_close(layer(X), plain(X * factor))
    layer.reset_parameters()
    torch.testing.assert_close(6 * layer.scale.detach(), torch.ones(5))


@pytest.mark.parametrize("kind", [Dense, ScaledLinear])
def test_outputs_start_with_the_variance_of_the_inputs(kind):
    layer = kind(400, 300)
    assert layer.weight.std().item() == pytest.approx(400**-0.5, rel=0.02)
    outputs = layer(torch.randn(1000, 400)) - layer.bias
    assert outputs.std().item() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("p", [0.0, 0.3, 0.999])
def test_dropout_has_the_masks_of_torchs(p):
    X = torch.randn(50, 20)
    results = []
    for kind in (Dropout, nn.Dropout):
        torch.manual_seed(0)
        results.append(kind(p)(X))
    assert torch.equal(*results)
    assert Dropout(p).eval()(X) is X


def test_biases_start_as_torchs_do():
    for n_inputs in (1, 3, 400):
        biases = []
        for kind in (Dense, nn.Linear):
            torch.manual_seed(0)
            biases.append(kind(n_inputs, 7, dtype=torch.float64).bias)
        assert torch.equal(*biases)


def test_columns_are_dropped_whole_and_keep_their_mean():
    layer = ScaledLinear(5, 3, columns=[0, 1, 2, 1, 1], dropout=0.25)
    mask = layer.column_mask(layer.columns.expand(20_000, -1))
    torch.testing.assert_close(mask[:, [1, 1]], mask[:, [3, 4]])
    assert not torch.equal(mask[:, 0], mask[:, 1])
    assert (mask == 0).float().mean() == pytest.approx(0.25, abs=0.01)
    assert mask.max() == pytest.approx(1 / 0.75)
    X = torch.randn(7, 5)
    assert not torch.equal(ScaledLinear(5, 3, dropout=0.9)(X), layer(X))
    torch.testing.assert_close(layer.eval()(X), layer(X))


@pytest.mark.parametrize("dropout", [-0.1, 1, 1.5, np.nan])
def test_columns_are_not_all_dropped(cancer, dropout):
    model = SnapshotEnsembleClassifier(module__column_dropout=dropout, max_epochs=1)
    with pytest.raises(ValueError, match=f"Got column_dropout={dropout}, but expected from 0 to"):
        model.fit(*cancer)


def test_columns_are_the_layers_own():
    columns = np.arange(3, dtype=np.int32)
    columns.flags.writeable = False
    layer = ScaledLinear(3, 2, columns=columns, dropout=0.1)
    assert not np.shares_memory(layer.columns.numpy(), columns)
    assert layer(torch.ones(4, 3)).shape == (4, 2)


def test_a_classifier_drops_columns_in_training_alone(cancer):
    X, y = cancer
    fit = {"n_chains": 2, "n_cycles": 1, "max_epochs": 2, "random_state": 0}
    model = SnapshotEnsembleClassifier(**fit).fit(X, y)
    first = model.net_.module_.layers[0]
    assert first.dropout == 0.1
    assert first.n_columns == X.shape[1]
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(X))
    module = model.net_.module_.eval()
    module.load_state_dict(model.snapshots_[-1], strict=True)
    alone = module(model._fitted_.intake.tensor(X)).softmax(dim=1).detach().numpy()
    np.testing.assert_allclose(model.predict_members(X)[-1], alone, rtol=1e-4, atol=1e-6)
    assert "layers.0.columns" not in model.snapshots_[0]
    without = SnapshotEnsembleClassifier(**fit, module__column_dropout=0.0).fit(X, y)
    assert not np.array_equal(model.predict_proba(X), without.predict_proba(X))
    assert SnapshotEnsembleRegressor(**fit, lr=0.008).fit(X, y).net_.module_.layers[0].dropout == 0
    own = SnapshotEnsembleRegressor(**fit, lr=0.008, module__column_dropout=0.3).fit(X, y)
    assert own.net_.module_.layers[0].dropout == 0.3
    for given in ({}, {"module__column_dropout": 0.3}):
        few = SnapshotEnsembleClassifier(**fit | {"n_chains": "auto"}, **given).fit(X[:32], y[:32])
        assert few.net_.module_.layers[0].dropout == 0  # rule 1


@pytest.mark.parametrize("n_rows", [1, 3, 40])
def test_members_are_the_modules(n_rows):
    modules = [TableNetwork(6, 2, hidden=(8, 4)).double() for _ in range(3)]
    for module in modules:
        nn.init.uniform_(module.layers[0].scale, 0.0, 0.3)
    states = [module.state_dict() for module in modules]
    stacks = {name: torch.stack([state[name] for state in states]) for name in states[0]}
    X = torch.randn(n_rows, 6).double()
    with torch.no_grad():
        expected = torch.stack([module(X) for module in modules])
        torch.testing.assert_close(modules[0].forward_members(stacks, X), expected)


def test_the_factors_find_the_columns_that_count():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 20)).astype(np.float32)
    y = np.sin(2 * X[:, 3]) + X[:, 3] * X[:, 7]
    model = SnapshotEnsembleRegressor(n_cycles=4, max_epochs=40, random_state=0).fit(X, y)
    factors = np.mean([state["layers.0.scale"].abs().numpy() for state in model.snapshots_], axis=0)
    column = np.concatenate([np.arange(20), model._fitted_.intake.encoder._piece_of])
    counts = np.isin(column, [3, 7])
    assert factors[counts].mean() > 1.5 * factors[~counts].mean()


def test_cold_restarts_draw_the_factors_anew(cancer):
    model = SnapshotEnsembleClassifier(
        restart="cold", n_chains=1, n_cycles=2, max_epochs=2, lr=1e-9, random_state=0
    ).fit(*cancer)
    for state in model.snapshots_:
        torch.testing.assert_close(
            state["layers.0.scale"], torch.full_like(state["layers.0.scale"], 1 / 6)
        )
    first, second = (state["layers.0.weight"] for state in model.snapshots_)
    assert not torch.allclose(first, second, atol=1e-2)


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


@pytest.mark.parametrize("name", ["dropout", "column_dropout"])
@pytest.mark.parametrize("share", [1.0, -0.1, float("nan")])
def test_a_share_to_be_dropped_lies_from_0_to_below_1(iris, name, share):
    with pytest.raises(ValueError, match=f"Got {name}={share}, but expected from 0 to below 1"):
        SnapshotEnsembleClassifier(**{f"module__{name}": share}, max_epochs=1).fit(*iris)


def test_hardly_any_columns_may_be_kept():
    layer = ScaledLinear(5, 2, dropout=0.9999)
    columns = torch.arange(5).expand(40_000, 5)
    kept = torch.cat([layer.column_mask(columns[:, :]).flatten() for _ in range(5)]) > 0
    assert abs(float(kept.double().mean()) - 1e-4) < 4e-5


@pytest.mark.parametrize("hidden", [(), (8,), (8, 5)])
def test_outputs_without_some_inputs_are_those_of_other_rows(hidden):
    """Of the first layer's products only the difference is made."""
    members = [TableNetwork(6, 3, hidden=hidden).double() for _ in range(4)]
    stacks = {
        name: torch.stack([member.state_dict()[name] for member in members])
        for name in members[0].state_dict()
    }
    stacks["layers.0.scale"] *= torch.rand(4, 6).double() + 0.5
    X, values = torch.randn(10, 6).double(), torch.randn(6).double()
    parts = [torch.tensor(part, dtype=torch.int64) for part in ([0, 3], [5], [])]
    whole, *others = members[0].forward_without(stacks, X, parts, values)
    torch.testing.assert_close(whole, members[0].forward_members(stacks, X))
    for part, other in zip(parts, others, strict=True):
        changed = X.clone()
        changed[:, part] = values[part]
        torch.testing.assert_close(other, members[0].forward_members(stacks, changed))
