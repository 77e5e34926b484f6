"""Steps on the lean path are those of plain skorch and plain torch."""

import numpy as np
import pytest
import torch
from conftest import Mlp, Normalised, same
from skorch import NeuralNet, NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping, LRScheduler
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._data.batches import BatchIterator
from skensemble._data.rows import TensorRows, to_tensor
from skensemble._nets.generators import Generators
from skensemble.schedules import Fractions


def test_regressors_and_monitors_bear_an_empty_fold(diabetes):
    X, y = diabetes
    groups = np.arange(len(y)) % 4
    model = SnapshotEnsembleRegressor(max_epochs=4, n_cycles=2, random_state=0)
    assert np.isfinite(model.fit(X, y, groups=groups).validation_score_)
    weight = np.random.default_rng(0).random(len(y))
    model.set_params(callbacks=[EarlyStopping(patience=9)])
    model.fit(X, y, groups=groups, sample_weight=weight)
    assert np.isfinite(model.history_[-1, "valid_loss"])


def plain_skorch(rows, net_class, batch_size, seed, policy, policy_arguments, **arguments):
    """The same network trained by skorch and torch's scheduler alone, on the same batches."""
    generators = Generators(torch.device("cpu"), seed)

    def iterator(dataset, batch_size):
        return BatchIterator(rows, batch_size, generators.batches)

    torch.manual_seed(seed)
    net = net_class(
        iterator_train=iterator,
        batch_size=batch_size,
        train_split=None,
        verbose=0,
        callbacks=[LRScheduler(policy, step_every="batch", **policy_arguments)],
        **arguments,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as small fits of ours do
    try:
        net.fit(rows, y=None)
    finally:
        torch.set_num_threads(threads)
    return net.module_.state_dict()


@pytest.mark.parametrize("policy", ["lambda", "cosine"])
@pytest.mark.parametrize(
    "optimizer",
    [
        (torch.optim.AdamW, {"weight_decay": 0.1}),
        (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        (torch.optim.RMSprop, {}),
    ],
    ids=lambda pair: pair[0].__name__,
)
@pytest.mark.parametrize("module", [Mlp, Normalised])
def test_one_cycle_equals_plain_training(digits, policy, optimizer, module):
    """Promise 1."""
    X, y = digits
    optimizer, flags = optimizer
    epochs, batch_size, lr, seed = 4, 64, 0.01, 7
    model = SnapshotEnsembleClassifier(
        module,
        n_cycles=1,
        max_epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        optimizer=optimizer,
        random_state=seed,
        **{f"optimizer__{name}": value for name, value in flags.items()},
    ).fit(X, y)

    n_steps = epochs * -(-len(X) // batch_size)
    if policy == "lambda":
        rates = Fractions(n_steps, 1)
        policies = LambdaLR, {"lr_lambda": lambda step: rates[min(step, n_steps - 1)]}
    else:
        policies = CosineAnnealingLR, {"T_max": n_steps}
    if optimizer is not torch.optim.RMSprop:  # which has no fused step
        flags = {**flags, "fused": True}
    expected = plain_skorch(
        TensorRows(to_tensor(X), torch.from_numpy(y)),
        NeuralNet,
        batch_size,
        seed,
        *policies,
        module=module,
        criterion=nn.CrossEntropyLoss,
        optimizer=optimizer,
        lr=lr,
        max_epochs=epochs,
        module__n_inputs=X.shape[1],
        module__n_outputs=10,
        **{f"optimizer__{name}": value for name, value in flags.items()},
    )
    assert same(model.snapshots_, [expected])


def test_one_cycle_of_regression_equals_plain_training_on_scaled_targets(diabetes):
    """Promise 1."""
    X, y = diabetes
    model = SnapshotEnsembleRegressor(
        Mlp, n_cycles=1, max_epochs=3, batch_size=50, lr=0.01, random_state=3
    ).fit(X, y)
    scaled = ((y - y.mean()) / y.std()).astype(np.float32)[:, None]
    n_steps = 3 * -(-len(X) // 50)
    expected = plain_skorch(
        TensorRows(to_tensor(X), torch.from_numpy(scaled)),
        NeuralNet,
        50,
        3,
        CosineAnnealingLR,
        {"T_max": n_steps},
        module=Mlp,
        criterion=nn.MSELoss,
        optimizer=torch.optim.AdamW,
        optimizer__betas=(0.9, 0.99),
        optimizer__weight_decay=0.0,
        optimizer__fused=True,
        lr=0.01,
        max_epochs=3,
        module__n_inputs=10,
        module__n_outputs=1,
    )
    assert same(model.snapshots_, [expected])


class Listener(Callback):
    """Looks at batches, which takes training off the lean path."""

    def __init__(self):
        self.n_batches = []

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        self.n_batches.append(len(batch[0]))


class ByStep(NeuralNetClassifier):
    """A net of the user's that overrides what the lean path replaces."""

    def train_step_single(self, batch, **fit_params):
        self.n_steps_seen = getattr(self, "n_steps_seen", 0) + 1
        return super().train_step_single(batch, **fit_params)


@pytest.mark.parametrize("weighted", [False, True])
def test_lean_and_generic_path_give_the_same_bits(digits, weighted):
    X, y = digits
    weight = np.random.default_rng(0).random(len(X)) if weighted else None
    model = SnapshotEnsembleClassifier(Mlp, n_cycles=3, max_epochs=4, random_state=0)
    lean = model.fit(X, y, sample_weight=weight)
    lean_snapshots, lean_losses = lean.snapshots_, lean.history_[:, "train_loss"]
    assert [len(row["batches"]) for row in lean.history_] == [1] * 4

    listener = Listener()
    generic = model.set_params(callbacks=[listener]).fit(X, y, sample_weight=weight)
    assert same(lean_snapshots, generic.snapshots_)
    np.testing.assert_array_equal(lean_losses, generic.history_[:, "train_loss"])
    assert sum(listener.n_batches) == 4 * len(X)

    by_step = model.set_params(callbacks=None, net=ByStep).fit(X, y, sample_weight=weight)
    assert same(lean_snapshots, by_step.snapshots_)
    assert by_step.net_.n_steps_seen == 4 * -(-len(X) // 32)


def test_lbfgs_records_the_loss_before_its_step(digits):
    """It calls its closure many times; skorch records the first loss, and so do we."""

    class Seen(Callback):
        def on_batch_end(self, net, batch=None, training=None, **kwargs):
            pass

    parameters = {"optimizer": torch.optim.LBFGS, "lr": 0.1, "max_epochs": 2, "n_cycles": 1}
    parameters |= {"module__dropout": 0.0, "batch_size": 600, "random_state": 0}
    lean = SnapshotEnsembleClassifier(Mlp, **parameters).fit(*digits)
    generic = SnapshotEnsembleClassifier(Mlp, callbacks=[Seen()], **parameters).fit(*digits)
    assert lean.history_[:, "train_loss"] == generic.history_[:, "train_loss"]
    assert same(lean.snapshots_, generic.snapshots_)


def test_the_loss_of_an_epoch_is_the_mean_over_rows(digits):
    """Batches of 33 and 34 rows weigh as many."""
    X, y = digits
    model = SnapshotEnsembleClassifier(
        Mlp, module__dropout=0.0, n_cycles=1, max_epochs=1, lr=1e-30, batch_size=34,
        optimizer=torch.optim.SGD, random_state=0,
    ).fit(X, y)  # fmt: skip
    with torch.no_grad():
        scores = model.net_.module_(torch.from_numpy(X).float())
    expected = nn.functional.cross_entropy(scores, torch.from_numpy(y)).item()
    assert model.history_[:, "train_loss"] == [pytest.approx(expected, rel=1e-6)]
    assert model.history_[:, "train_batch_count"] == [18]
