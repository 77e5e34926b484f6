"""A run that goes on where another stood ends with the bits of an undisturbed one."""

import copy
import itertools

import numpy as np
import pytest
import torch
from conftest import Items, Mlp, noisy, same
from sklearn.base import clone
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, Freezer, GradientNormClipping
from torch import nn

from skensemble import SnapshotEnsembleClassifier
from skensemble._training.run import Run
from skensemble._training.state import capture_net, capture_notes, restore_net, restore_notes
from skensemble.networks import TableNetwork


class Counting(nn.Module):
    """A network with buffers and dropout, whose training hangs on a count of its own."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, 10)
        )
        self.n_batches = 0

    def forward(self, X):
        if not self.training:
            return self.layers(X)
        self.n_batches += 1
        return self.layers(X) / (1 + self.n_batches % 7)


class Box:
    def __init__(self):
        self.n = 0


class Noting(nn.Module):
    """A network whose training hangs on all that a module may hold beside its tensors."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)
        self.seen, self.counts, self.box, self.total = [], {"n": 0}, Box(), torch.zeros(1)
        self.rng, self.generator = np.random.default_rng(0), torch.Generator().manual_seed(3)

    def forward(self, X):
        if not self.training:
            return self.layer(X)
        self.seen.append(0)
        self.counts["n"] += 1
        self.box.n += 1
        self.total = self.total + 1
        noise = torch.randn(X.shape, generator=self.generator) * self.rng.random()
        n = len(self.seen) % 7 + self.counts["n"] % 5 + self.box.n % 11
        return self.layer(X + noise) / (1 + n) + self.total % 3


class Hidden(nn.Module):
    """A network that tells what it counts by torch's own way alone."""

    def __init__(self):
        super().__init__()
        self.layer, self.count = nn.Linear(64, 10), itertools.count()

    def get_extra_state(self):
        return {"n": self.count.__reduce__()[1][0]}

    def set_extra_state(self, state):
        self.count = itertools.count(state["n"])

    def forward(self, X):
        return self.layer(X) / (1 + (next(self.count) % 7 if self.training else 0))


class CountingSteps(torch.optim.Optimizer):
    """An optimizer that holds more than its state dict."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})
        self.n_steps, self.inner = 0, torch.optim.Adam(self.param_groups[0]["params"])

    def step(self, closure=None):
        self.n_steps += 1
        self.inner.param_groups[0]["lr"] = self.param_groups[0]["lr"] / (1 + self.n_steps % 7)
        return self.inner.step(closure)


class CountingNet(NeuralNetClassifier):
    def initialize(self):
        self.n_losses = 0
        return super().initialize()

    def get_loss(self, y_pred, y_true, *args, training=False, **kwargs):
        self.n_losses += training
        loss = super().get_loss(y_pred, y_true, *args, training=training, **kwargs)
        return loss * (1 + self.n_losses % 7)


class Decaying(Callback):
    """Keeps what it notes under names that skorch takes for those of parameters."""

    def __init__(self, n=0):
        self.n = n

    def on_train_begin(self, net, **_):
        self.seen, self.sums = [], np.zeros(1)

    def on_epoch_end(self, net, **_):
        self.n += 1
        self.seen.append(0)
        self.sums += 1
        with torch.no_grad():
            for parameter in net.module_.parameters():
                parameter.mul_(1 - 1e-3 * (self.n + len(self.seen) + self.sums[0]))


CASES = {
    "chains": {"module__dropout": 0.3},
    "one chain": {"n_chains": 1, "module__dropout": 0.2},
    "cold": {"restart": "cold"},
    "star": {"restart": "star"},
    "star, own chains in turn": {
        "module": Counting,
        "n_chains": 2,
        "optimizer": "LBFGS",
        "lr": 0.01,
        "restart": "star",
    },
    "several cycles an epoch": {"max_epochs": 2, "n_cycles": 6},
    "burn-in": {"schedule__burn_in_epochs": 1.5},
    "decay": {"schedule__cycle_decay": 0.5},
    "several snapshots a cycle": {"snapshots_per_cycle": 3},
    "augmented": {"module": Counting, "n_chains": 2, "transform": noisy},
    "momentum": {"optimizer": "SGD", "optimizer__momentum": 0.9, "lr": 0.05},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 1, "n_cycles": 6},
    "own module": {"module": Counting},
    "own module, RMSprop": {"module": Counting, "optimizer": "RMSprop", "lr": 0.001},
    "own module, cold": {"module": Mlp, "restart": "cold"},
    "own chains together": {"module": Mlp, "n_chains": 3},
    "own chains in turn": {"module": Counting, "n_chains": 2, "optimizer": "LBFGS", "lr": 0.01},
    "a DataLoader": {"module": Counting, "iterator_train__shuffle": True},
    "batch hooks": {"module": Counting, "n_chains": 2, "callbacks": [GradientNormClipping(1.0)]},
    "stopped by a callback": {
        "module": Counting,
        "callbacks": [EarlyStopping("train_loss", patience=1, threshold=0.1)],
    },
    "scores": {"module": Counting, "callbacks": [EpochScoring("accuracy", on_train=True)]},
    "notes of a module": {"module": Noting},
    "notes of a module, in turn": {"module": Noting, "n_chains": 2},
    "extra state": {"module": Hidden},
    "notes of an optimizer": {"module": Mlp, "optimizer": CountingSteps},
    "notes of a net": {"module": Mlp, "net": CountingNet, "criterion": nn.CrossEntropyLoss},
    "notes of a callback": {"module": Mlp, "callbacks": [Decaying()]},
    "types of an optimizer": {"optimizer": "NAdam", "n_rows": 30},
    "frozen": {"module": Counting, "callbacks": [Freezer("layers.0.*", at=3)]},
}


def note_stood(monkeypatch):
    """Let runs note where they stand after each cycle, and return the notes to come."""
    begin, notes = Run.__init__, []

    def noting(self, *args, **options):
        def keep(stood):
            notes.append(copy.deepcopy((stood, self.states[: stood["n_cycles"]])))

        begin(self, *args, **options)
        self.keep_by(keep)

    monkeypatch.setattr(Run, "__init__", noting)
    return notes


def go_on(monkeypatch, stood, cycles):
    """Let runs go on where another one stood."""
    train = Run.train

    def go(self, *, redraw):
        self.go_on(copy.deepcopy(stood), cycles)
        return train(self, redraw=redraw)

    monkeypatch.setattr(Run, "train", go)


def assert_same(one, other):
    assert same(one.snapshots_, other.snapshots_)
    assert one.member_weights_.tolist() == other.member_weights_.tolist()
    unseen = "oof_decision_function_"
    assert hasattr(one, unseen) == hasattr(other, unseen)
    if hasattr(one, unseen):
        assert getattr(one, unseen).tobytes() == getattr(other, unseen).tobytes()
    losses = [[row.get("train_loss") for row in model.history_] for model in (one, other)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_a_run_goes_on_to_the_same_bits(digits, options, monkeypatch):
    """Promise 12; a later call goes on to the same bits too."""
    options = {"max_epochs": 6, "n_cycles": 4, "random_state": 1, **copy.deepcopy(options)}
    n_rows = options.pop("n_rows", 300)
    X, y = digits[0][:n_rows], digits[1][:n_rows]
    if options.get("optimizer") == "LBFGS":
        options["max_epochs"] = 3
    whole = SnapshotEnsembleClassifier(**options).fit(X, y)
    with monkeypatch.context() as patch:
        notes = note_stood(patch)
        assert_same(SnapshotEnsembleClassifier(**options).fit(X, y), whole)
    assert len(notes) == whole.n_cycles_
    for stood, cycles in notes[1::2]:
        with monkeypatch.context() as patch:
            go_on(patch, stood, cycles)
            model = SnapshotEnsembleClassifier(**options).fit(X, y)
        assert_same(model, whole)
    assert_same(model.partial_fit(X, y), whole.partial_fit(X, y))


class Noisy(Items):
    """A dataset with a generator of its own."""

    def __init__(self, *rows):
        super().__init__(*rows)
        self.rng = np.random.default_rng(0)

    def __getitem__(self, index):
        X, y = super().__getitem__(index)
        return X + self.rng.random(), y


def test_the_generator_of_a_dataset_goes_on(digits, monkeypatch):
    rows = [torch.from_numpy(part[:200]) for part in digits]
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=4, n_cycles=4, random_state=1)
    with monkeypatch.context() as patch:
        notes = note_stood(patch)
        whole = clone(model).fit(Noisy(*rows), None)
    go_on(monkeypatch, *notes[1])
    assert_same(clone(model).fit(Noisy(*rows), None), whole)


def test_a_net_is_put_where_another_stood(digits):
    model = SnapshotEnsembleClassifier(Counting, max_epochs=2, random_state=0).fit(*digits)
    other = SnapshotEnsembleClassifier(Counting, max_epochs=1, random_state=1).fit(*digits)
    restore_net(other.net_, capture_net(model.net_))
    assert same([other.net_.module_.state_dict()], [model.net_.module_.state_dict()])
    assert other.net_.module_.n_batches == model.net_.module_.n_batches
    assert other.history_ == model.history_
    states = [m.net_.optimizer_.state_dict()["state"] for m in (model, other)]
    assert all(same([states[0][i]], [states[1][i]]) for i in states[0])


NO_NOTES = {"values": {}, "generators": {}, "optimizers": {}, "objects": {}}


def test_our_network_takes_no_notes_from_a_file():
    module = TableNetwork(2, 1)
    before = list(module._names)
    assert set(capture_notes(module)) == {"layers", "layers.1", "layers.4"}  # torch's own
    restore_notes(module, {"": {**NO_NOTES, "values": {"_names": 1e308}}})
    assert module._names == before
    restore_notes(module, {"layers": {**NO_NOTES, "values": {"_modules": {}}}})
    assert len(module.layers) == 7


def test_a_callback_that_no_file_can_keep_is_refused(digits):
    class Opens(Callback):
        def on_train_begin(self, net, **_):
            self.file_ = open(__file__)  # noqa: SIM115
            self.file_.close()

    model = SnapshotEnsembleClassifier(Mlp, callbacks=[Opens()], max_epochs=1).fit(*digits)
    with pytest.raises(ValueError, match="callback Opens with file_ of type TextIOWrapper"):
        capture_net(model.net_)


def test_tensors_of_an_optimizer_lie_as_their_parameters_do(digits):
    model = SnapshotEnsembleClassifier(n_chains=2, max_epochs=2, random_state=0).fit(*digits)
    net = copy.deepcopy(model.net_)
    state = capture_net(net)
    for tensors in state["optimizers"]["optimizer"]["state"].values():
        for name, value in tensors.items():
            tensors[name] = value.contiguous()
    restore_net(net, state)
    for parameter, tensors in net.optimizer_.state.items():
        for value in tensors.values():
            assert value.shape != parameter.shape or value.stride() == parameter.stride()
    assert any(torch.is_tensor(v) for v in net.optimizer_.state[parameter].values())
