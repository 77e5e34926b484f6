"""The loss of weighted rows, and of many chains."""

import numpy as np
import pytest
import torch
from conftest import Mlp, is_one
from sklearn.base import clone
from torch import nn

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._nets.losses import WeightedLoss, differentiate, sum_over_chains


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


def test_the_weighted_loss_is_the_mean_of_w_times_l(digits):
    """Rule 3, against one step of plain torch; a batch that weighs nothing takes no step."""
    X, y = digits
    weight = np.random.default_rng(0).random(len(X))
    module = nn.Linear(64, 10)
    model = SnapshotEnsembleClassifier(
        module, n_cycles=1, max_epochs=1, batch_size=600, optimizer=torch.optim.SGD, lr=0.1
    ).fit(X, y, sample_weight=weight)
    scores = module(torch.from_numpy(X).float())
    loss = nn.functional.cross_entropy(scores, torch.from_numpy(y), reduction="none")
    (loss * torch.from_numpy(weight / weight.mean()).float()).mean().backward()
    expected = module.weight - 0.1 * module.weight.grad
    torch.testing.assert_close(model.snapshots_[0]["weight"], expected.detach())

    model.set_params(criterion=nn.CrossEntropyLoss(reduction="sum"), lr=1e-3)
    model.fit(X, y, sample_weight=weight)
    expected = module.weight.detach() - 1e-3 * len(X) * module.weight.grad
    torch.testing.assert_close(model.snapshots_[0]["weight"], expected)
    model.set_params(criterion=None, lr=0.1)

    zero = np.zeros(len(X))
    zero[:2] = 1.0
    model.set_params(batch_size=100, callbacks=None).fit(X, y, sample_weight=zero)
    assert np.isfinite(model.predict_proba(X)).all()


def test_rows_without_weights_after_rows_with_them_train_on_the_criterion_itself(digits):
    """A mean over class weights is no mean of w * l."""
    X, y = digits
    model = SnapshotEnsembleClassifier(
        Mlp,
        criterion__weight=torch.arange(1.0, 11.0),
        n_cycles=1,
        max_epochs=1,
        batch_size=600,
        module__dropout=0.0,
        random_state=0,
    )
    model.fit(X, y, sample_weight=np.arange(len(y)))
    module = model.net_.module_
    with torch.no_grad():
        scores = module(torch.from_numpy(X).float())
    expected = nn.functional.cross_entropy(
        scores, torch.from_numpy(y), weight=torch.arange(1.0, 11.0)
    )
    model.partial_fit(X, y)
    assert model.history_[-1, "train_loss"] == pytest.approx(float(expected), rel=1e-5)


def test_weights_need_a_criterion_of_single_rows(iris):
    """Rule 3."""

    class Own(nn.Module):
        def forward(self, y_pred, y_true):
            return nn.functional.cross_entropy(y_pred, y_true)

    model = SnapshotEnsembleClassifier(Mlp, criterion=Own, max_epochs=2)
    assert model.fit(*iris).score(*iris) > 0
    with pytest.raises(ValueError, match="Got weights with criterion=Own"):
        model.fit(*iris, sample_weight=np.arange(150))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_weighted_loss_is_that_of_numpy_and_leaves_the_criterion_alone(reduction):
    criterion = nn.CrossEntropyLoss(reduction=reduction, label_smoothing=0.1)
    loss = WeightedLoss(criterion)
    scores, y, weight = torch.randn(9, 4), torch.arange(9) % 4, torch.rand(9)
    losses = nn.functional.cross_entropy(scores, y, reduction="none", label_smoothing=0.1)
    loss.take_weight(weight)
    expected = getattr(np, reduction)((weight * losses).numpy())
    assert loss(scores, y).item() == pytest.approx(expected, rel=1e-6)
    assert criterion.reduction == reduction
    assert loss.eval()(scores, y) == criterion(scores, y)
    loss.train().take_weight(None)
    assert loss(scores, y) == criterion(scores, y)


def test_weights_of_rows_count_for_every_output():
    loss = WeightedLoss(nn.MSELoss())
    outputs, Y, weight = torch.randn(5, 2), torch.randn(5, 2), torch.rand(5)
    loss.take_weight(weight)
    expected = np.mean(weight[:, None].numpy() * (outputs - Y).numpy() ** 2)
    assert loss(outputs, Y).item() == pytest.approx(expected, rel=1e-6)


def test_a_criterion_that_fails_keeps_its_reduction():
    criterion = nn.CrossEntropyLoss()
    loss = WeightedLoss(criterion)
    loss.take_weight(torch.ones(3))
    with pytest.raises(ValueError, match="Expected input batch_size"):
        loss(torch.randn(3, 2), torch.zeros(4, dtype=torch.int64))
    assert criterion.reduction == "mean"


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("kind", [nn.MSELoss, nn.HuberLoss, nn.L1Loss, nn.PoissonNLLLoss])
def test_losses_of_chains_are_summed_one_by_one(kind, reduction):
    criterion = kind(reduction=reduction)
    outputs = torch.randn(3, 6, 2, dtype=torch.float64, requires_grad=True)
    Y = torch.rand(3, 6, 2, dtype=torch.float64)
    expected = sum(criterion(outputs[k], Y[k]) for k in range(3))
    torch.testing.assert_close(sum_over_chains(criterion, outputs, Y), expected)
    loss, gradient = differentiate(criterion, outputs, Y)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, outputs)[0])
