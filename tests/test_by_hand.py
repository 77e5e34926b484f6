"""What torch does too is what torch does."""

import copy

import pytest
import torch
from conftest import Mlp, same
from sklearn.base import clone
from skorch.callbacks import Callback, Freezer
from torch import nn
from torch.nn.modules.module import register_module_forward_hook
from torch.optim.optimizer import register_optimizer_step_post_hook

from skensemble import SnapshotEnsembleClassifier
from skensemble._nets.by_hand import (
    bare_step,
    gradient_by_hand,
    mish,
    mish_and_slope,
    shorten_sequences,
    unit_masks,
)
from skensemble._nets.chains import Chains
from skensemble._nets.losses import differentiate
from skensemble.networks import TableNetwork


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


def test_mish_and_its_slope_are_those_of_torch_and_autograd():
    h = torch.linspace(-60, 60, 5001, dtype=torch.float64, requires_grad=True)
    expected = nn.functional.mish(h)
    (expected_slope,) = torch.autograd.grad(expected.sum(), h)
    overwritten = h.detach().clone()
    slope = mish_and_slope(overwritten)
    torch.testing.assert_close(overwritten, expected.detach(), rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(mish(h.detach().clone()), overwritten, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(slope, expected_slope, rtol=1e-12, atol=1e-14)


def test_mish_of_huge_numbers_in_single_precision_overflows_nowhere():
    torch.testing.assert_close(mish(torch.tensor([-1e38])), torch.zeros(1))
    h = torch.tensor([-1e4, -100.0, 100.0, 1e4, 1e38])
    torch.testing.assert_close(mish(h.clone()), torch.tensor([0, 0, 100.0, 1e4, 1e38]))
    slope = mish_and_slope(h)
    torch.testing.assert_close(h, torch.tensor([0, 0, 100.0, 1e4, 1e38]))
    torch.testing.assert_close(slope, torch.tensor([0, 0, 1.0, 1, 1]))


def test_layers_and_chains_drop_units_of_their_own():
    one, two = unit_masks(torch.zeros(2, 400, 3), [5, 5], 0.25)
    for a, b in ((one, two), (one[0], one[1]), (one[0, :200], one[0, 200:])):
        both = ((a == 0) & (b == 0)).float().mean()
        assert both.item() == pytest.approx(0.25**2, abs=0.03)
    assert set(one.unique().tolist()) == {0, torch.tensor(1 / 0.75).item()}


@pytest.mark.parametrize("criterion", [nn.MSELoss(), nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss()])
def test_loss_and_gradient_are_those_of_the_criterion_chain_by_chain(criterion):
    outputs = torch.randn(3, 7, 4, dtype=torch.float64, requires_grad=True)
    y = torch.randn(3, 7, 4).double()
    if isinstance(criterion, nn.CrossEntropyLoss):
        y = torch.randint(4, (3, 7))
    expected = sum(criterion(outputs[k], y[k]) for k in range(3))
    loss, gradient = gradient_by_hand(criterion)(outputs.detach().clone(), y)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, outputs)[0])


def test_the_loss_of_labels_has_the_bits_of_autograd():
    """A regressor may have it too, and had it before it was written by hand."""
    outputs, y = 4 * torch.randn(8, 33, 5), torch.randint(2, (8, 33, 5)).float()
    criterion = nn.BCEWithLogitsLoss()
    for one, other in zip(
        gradient_by_hand(criterion)(outputs, y), differentiate(criterion, outputs, y), strict=True
    ):
        assert torch.equal(one, other)


class OwnLoss(nn.MSELoss):
    def forward(self, y_pred, y_true):
        return super().forward(y_pred, y_true) + 1


@pytest.mark.parametrize(
    "criterion",
    [
        OwnLoss(),
        nn.MSELoss(reduction="sum"),
        nn.CrossEntropyLoss(label_smoothing=0.1),
        nn.CrossEntropyLoss(weight=torch.ones(3)),
        nn.CrossEntropyLoss(ignore_index=1),
        nn.CrossEntropyLoss(reduction="sum"),
        nn.BCEWithLogitsLoss(pos_weight=torch.ones(3)),
        nn.BCEWithLogitsLoss(weight=torch.ones(3)),
        nn.BCEWithLogitsLoss(reduction="sum"),
    ],
    ids=str,
)
def test_any_other_loss_is_left_to_autograd(criterion):
    assert gradient_by_hand(criterion) is None


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        (torch.optim.Adam, {"amsgrad": True}),
        (torch.optim.Adam, {"weight_decay": 0.1, "maximize": True}),
        (torch.optim.AdamW, {"weight_decay": 0.1, "betas": (0.8, 0.99)}),
    ],
)
def test_a_bare_step_is_the_step(kind, options, fused):
    one, other = Mlp(4, 3), Mlp(4, 3)
    other.load_state_dict(one.state_dict())
    optimizers = [
        kind(module.parameters(), lr=0.1, fused=fused, **options) for module in (one, other)
    ]
    bare = bare_step(optimizers[0])
    assert bare != optimizers[0].step
    for k in range(6):
        for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
            # One that is frozen for a while has no gradient.
            mine.grad = None if k in (2, 3) and mine.ndim == 1 else torch.randn_like(mine)
            theirs.grad = None if mine.grad is None else mine.grad.clone()
        for optimizer in optimizers:
            optimizer.param_groups[0]["lr"] = 0.1 / (k + 1)
        bare()
        optimizers[1].step()
    assert same([one.state_dict()], [other.state_dict()])
    states = [optimizer.state_dict()["state"] for optimizer in optimizers]
    assert same(*([*state.values()] for state in states))


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
def test_a_step_that_is_looked_up_is_taken_for_each_group(kind):
    one, other = Mlp(4, 3), Mlp(4, 3)
    other.load_state_dict(one.state_dict())
    steps = []
    for module in (one, other):
        weight, *others = module.parameters()
        groups = [{"params": [weight], "lr": 0.3}, {"params": others, "weight_decay": 0.2}]
        steps.append(kind(groups, lr=0.1, fused=True))
    bare = bare_step(steps[0])
    for _ in range(3):
        for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
            mine.grad = torch.randn_like(mine)
            theirs.grad = mine.grad.clone()
        bare()
        steps[1].step()
    assert same([one.state_dict()], [other.state_dict()])


def test_a_step_that_others_have_changed_is_taken_as_it_is():
    optimizer = torch.optim.SGD(Mlp(4, 3).parameters(), differentiable=True)
    assert bare_step(optimizer) == optimizer.step
    optimizer = torch.optim.SGD(Mlp(4, 3).parameters())
    torch.optim.lr_scheduler.StepLR(optimizer, 1)
    assert bare_step(optimizer) is optimizer.step


def test_hooks_of_one_optimizer_and_of_all_are_called_in_a_fit(digits):
    own, everywhere = [], []

    class Hooked(Callback):
        def on_train_begin(self, net, **kwargs):
            net.optimizer_.register_step_post_hook(lambda *_: own.append(1))

    model = SnapshotEnsembleClassifier(Mlp, n_cycles=1, max_epochs=2, batch_size=100)
    model.set_params(callbacks=[Hooked()]).fit(*digits)
    assert len(own) == 12
    handle = register_optimizer_step_post_hook(lambda *_: everywhere.append(1))
    try:
        model.set_params(callbacks=None).fit(*digits)
    finally:
        handle.remove()
    assert len(everywhere) == 12


def test_a_shortened_sequence_is_the_sequence_and_leaves_its_input_alone():
    layers = [
        nn.ReLU(), nn.Linear(6, 5), nn.Mish(), nn.Tanh(), nn.Linear(5, 5), nn.Dropout(),
        nn.SiLU(), nn.Sequential(nn.Linear(5, 5), nn.Sigmoid()), nn.Linear(5, 4), nn.ReLU(),
    ]  # fmt: skip
    plain = nn.Sequential(*layers).eval()
    shortened = copy.deepcopy(plain)
    shorten_sequences(shortened)
    X = torch.randn(9, 6)
    before = X.clone()
    with torch.inference_mode():
        torch.testing.assert_close(shortened(X), plain(X))
    assert torch.equal(X, before)


def test_a_shortened_sequence_calls_hooks_and_hands_them_what_stays():
    kept = []
    plain = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3), nn.ReLU())
    plain[0].register_forward_hook(lambda layer, args, out: kept.append(out))
    plain[3].register_forward_pre_hook(lambda layer, args: (args[0] + 1,))
    shortened = copy.deepcopy(plain)
    shorten_sequences(shortened)
    X = torch.randn(5, 3)
    with torch.inference_mode():
        torch.testing.assert_close(shortened(X), plain(X))
        torch.testing.assert_close(kept[0], kept[1])  # not overwritten by the activation
        assert (kept[0] < 0).any()
        everywhere = []
        handle = register_module_forward_hook(lambda layer, *_: everywhere.append(type(layer)))
        try:
            module = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
            shorten_sequences(module)
            module(X)
        finally:
            handle.remove()
    assert everywhere == [nn.Linear, nn.ReLU, nn.Sequential]


@pytest.mark.parametrize("dropout", [0.5, 0.99, 0.999, 0.9999])
def test_hardly_any_units_may_be_kept(dropout):
    """16 random bits a unit kept every unit where the dropout rounded to 1."""
    X = torch.zeros(4, 1000, 3)
    mask = torch.cat([part.flatten() for part in unit_masks(X, [150, 100], dropout)])
    kept = mask > 0
    share = 1 - dropout
    deviation = (share * dropout / len(mask)) ** 0.5
    assert abs(float(kept.double().mean()) - share) < 4 * deviation
    torch.testing.assert_close(mask[kept], torch.full_like(mask[kept], 1 / share))
    assert not unit_masks(X, [3], 0.999999999)[0].any()
