"""A run that goes on where another stood ends with the bits of an undisturbed one."""

import copy

import pytest
import torch
from conftest import Mlp, same
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, Freezer, GradientNormClipping
from torch import nn

from skensemble import SnapshotEnsembleClassifier
from skensemble._training.run import Run
from skensemble._training.state import capture_net, restore_net


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


CASES = {
    "chains": {"module__dropout": 0.3},
    "one chain": {"n_chains": 1, "module__dropout": 0.2},
    "cold": {"restart": "cold"},
    "several cycles an epoch": {"max_epochs": 2, "n_cycles": 6},
    "burn-in": {"schedule__burn_in_epochs": 1.5},
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
    "frozen": {"module": Counting, "callbacks": [Freezer("layers.0.*", at=3)]},
}


def note_stood(monkeypatch):
    """Let runs note where they stand after each cycle, and return the notes to come."""
    begin, notes = Run.__init__, []

    def noting(self, *args):
        def keep(stood):
            notes.append((copy.deepcopy(stood), list(self.states[: stood["n_cycles"]])))

        begin(self, *args)
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
    X, y = digits[0][:300], digits[1][:300]
    options = {"max_epochs": 6, "n_cycles": 4, "random_state": 1, **options}
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


def test_a_net_is_put_where_another_stood(digits):
    model = SnapshotEnsembleClassifier(Counting, max_epochs=2, random_state=0).fit(*digits)
    other = SnapshotEnsembleClassifier(Counting, max_epochs=1, random_state=1).fit(*digits)
    restore_net(other.net_, capture_net(model.net_))
    assert same([other.net_.module_.state_dict()], [model.net_.module_.state_dict()])
    assert other.net_.module_.n_batches == model.net_.module_.n_batches
    assert other.history_ == model.history_
    states = [m.net_.optimizer_.state_dict()["state"] for m in (model, other)]
    assert all(same([states[0][i]], [states[1][i]]) for i in states[0])


def test_a_callback_that_no_file_can_keep_is_refused(digits):
    class Opens(Callback):
        def on_train_begin(self, net, **_):
            self.file_ = open(__file__)  # noqa: SIM115
            self.file_.close()

    model = SnapshotEnsembleClassifier(Mlp, callbacks=[Opens()], max_epochs=1).fit(*digits)
    with pytest.raises(ValueError, match="callback Opens with file_ of type TextIOWrapper"):
        capture_net(model.net_)


def test_tensors_of_an_optimizer_lie_as_their_parameters_do(digits):
    model = SnapshotEnsembleClassifier(n_chains=2, max_epochs=1, random_state=0).fit(*digits)
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
