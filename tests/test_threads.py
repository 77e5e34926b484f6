"""Threads by the size of a step, and one alone in a forked process."""

import os
import signal
import subprocess
import sys
import threading

import joblib
import numpy as np
import pytest
import torch
from conftest import same
from sklearn.base import clone
from skorch.callbacks import Callback
from test_checkpoints import killed
from torch import nn

import skensemble
from skensemble import SnapshotEnsembleClassifier
from skensemble._training.hooks import SnapshotRecorder
from skensemble._training.threads import (
    Threads,
    choose_threads,
    count_groups,
    multiplications,
)
from skensemble.networks import TableNetwork


class Net:
    def __init__(self, module):
        self.module_, self.device = module, None

    def probe(self, X):
        with torch.no_grad():
            return self.module_(X)


@pytest.mark.parametrize(
    ("module", "shape", "per_row"),
    [
        (
            nn.Sequential(nn.Linear(54, 128), nn.ReLU(), nn.Linear(128, 7)),
            (54,),
            54 * 128 + 128 * 7,
        ),
        (nn.Conv2d(1, 16, 3), (1, 8, 8), 9 * 16 * 36),
        (nn.Conv2d(1, 16, 3, stride=2), (1, 9, 9), 9 * 16 * 16),
        (nn.GRU(5, 8, batch_first=True), (3, 5), 3 * (24 * 5 + 24 * 8) / 3),
    ],
    ids=["linear", "convolution", "stride", "recurrent"],
)
def test_multiplications_of_a_row(module, shape, per_row):
    assert multiplications(Net(module), torch.zeros(4, *shape)) == 4 * per_row


@pytest.mark.usefixtures("two_threads")
def test_large_steps_keep_their_threads():
    for step, expected in ((1e7, 1), (1e8, 2)):
        threads = choose_threads(step, 1, is_private=True)
        with threads.in_use():
            assert torch.get_num_threads() == expected
        assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_lanes_train_beside_each_other_where_nothing_draws_from_global_generators(monkeypatch):
    monkeypatch.setattr(joblib, "cpu_count", lambda: 8)
    assert choose_threads(1e8, 4, is_private=True) == Threads(2, 1)
    assert choose_threads(1e8, 4, is_private=False) == Threads(1, 2)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 1)  # a container of one CPU
    assert choose_threads(1e8, 4, is_private=True) == Threads(1, 1)


@pytest.mark.parametrize(
    ("step", "n_chains", "expected"),
    [(1e6, 8, 1), (3.2e7, 8, 2), (1e8, 8, 4), (1e9, 8, 4), (1e9, 6, 2), (1e9, 3, 1), (1e9, 1, 1)],
)
def test_groups_by_the_size_of_a_step_alone(step, n_chains, expected):
    net = Net(TableNetwork(4, 3, (8,)))
    assert count_groups(net, step, n_chains) == expected
    assert count_groups(Net(nn.Linear(4, 3)), step, n_chains) == 1


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"restart": "cold"},
        {"validation": None, "n_chains": 16},
        {"class_weight": {0: 2.0}, "schedule__burn_in_epochs": 1},
        {"early_stopping": True, "n_iter_no_change": 1, "max_epochs": 12},
    ],
    ids=["default", "cold", "sixteen", "weights", "stopped"],
)
def test_the_number_of_threads_moves_no_bit(digits, monkeypatch, options):
    """Groups of chains train beside each other or in turn, here on 144 inputs and more."""
    model = SnapshotEnsembleClassifier(
        **{"max_epochs": 3, "n_cycles": 3, "batch_size": 100, "random_state": 0, **options}
    )
    models = []
    for n_cpus in (1, 2):
        monkeypatch.setattr(joblib, "cpu_count", lambda n=n_cpus: n)
        models.append(clone(model).fit(*digits))
        models[-1].partial_fit(*digits)
    one, two = models
    assert len(one._fitted_.nets) > 1
    assert same(one.snapshots_, two.snapshots_)
    losses = [model.history_[:, "train_loss"] for model in models]
    assert losses[0] == losses[1]
    np.testing.assert_array_equal(one.member_weights_, two.member_weights_)
    np.testing.assert_array_equal(one.predict_proba(digits[0]), two.predict_proba(digits[0]))


def test_images_count_their_pixels_where_a_layer_sees_them(digits):
    """A large dense layer behind a small convolution is not used once a pixel."""
    X, y = digits
    convolution = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 10)
    )
    model = SnapshotEnsembleClassifier(convolution, max_epochs=1).fit(X.reshape(-1, 1, 8, 8), y)
    per_row = multiplications(model.net_, torch.zeros(1, 1, 8, 8))
    assert per_row == 9 * 8 * 36 + 72 * 10


def test_a_small_fit_leaves_the_number_of_threads_as_it_was(iris):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    seen = []

    class Watch(Callback):
        def on_epoch_end(self, net, **kwargs):
            seen.append(torch.get_num_threads())

    try:
        SnapshotEnsembleClassifier(max_epochs=1, n_cycles=4, callbacks=[Watch()]).fit(*iris)
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)


FORKED = """
import multiprocessing, os, threading
import numpy as np, torch
from torch import nn
from skensemble import SnapshotEnsembleClassifier

class Wide(nn.Sequential):
    def __init__(self, n_inputs, n_outputs):
        super().__init__(nn.Linear(n_inputs, 256), nn.ReLU(), nn.Linear(256, n_outputs))

def fit(module):
    return SnapshotEnsembleClassifier(module, max_epochs=1, n_cycles=2, random_state=0).fit(X, y)

def differs(model):
    return float(np.abs(model.predict_proba(X) - expected[model.module]).max())

def predict(module):
    return differs(models[module])

def fit_and_predict(module):
    return differs(fit(module))

def predict_in_a_thread(module):
    gaps = []
    thread = threading.Thread(target=lambda: gaps.append(predict(module)))
    thread.start()
    thread.join()
    return gaps[0]

rng = np.random.default_rng(0)
X = rng.normal(size=(800, 20))
y = (X[:, 0] > 0).astype(int)
torch.set_num_threads(2)
torch.rand(5_000_000).exp().sum()  # OpenMP has a second thread from here on
models = {module: fit(module) for module in (None, Wide)}
expected = {module: model.predict_proba(X) for module, model in models.items()}
with multiprocessing.get_context("fork").Pool(1) as pool:
    for job in (predict, fit_and_predict, predict_in_a_thread):
        for module in models:
            gap = pool.apply_async(job, [module]).get(timeout=30)
            assert gap < 1e-6, (job, module, gap)
    print(pool.apply(torch.get_num_threads), torch.get_num_threads())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_waits_for_no_thread_of_its_parent():
    """OpenMP's second thread is gone there, and its first would wait for it for good."""
    done = subprocess.run(
        [sys.executable, "-c", FORKED],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
    )
    assert done.stdout.split() == ["1", "2"], done.stderr


@pytest.mark.usefixtures("two_threads")
def test_groups_go_on_after_a_crash(digits, tmp_path, monkeypatch):
    model = SnapshotEnsembleClassifier(max_epochs=3, n_cycles=3, batch_size=100, random_state=0)
    whole = clone(model).fit(*digits)
    model.set_params(checkpoint_dir=tmp_path)
    killed(monkeypatch, clone(model), *digits, after=2)
    model.fit(*digits)
    assert len(model._fitted_.nets) == 2
    assert same(model.snapshots_, whole.snapshots_)
    (file,) = tmp_path.iterdir()
    loaded = skensemble.load(file)
    assert len(loaded._fitted_.nets) == 2
    assert same(loaded.partial_fit(*digits).snapshots_, whole.partial_fit(*digits).snapshots_)


@pytest.mark.usefixtures("two_threads")
def test_ctrl_c_in_the_middle_of_a_step_ends_all_threads_and_keeps_cycles(digits, monkeypatch):
    calls, pressed, after_step = [], [], SnapshotRecorder.after_step
    n_before = threading.active_count()

    def press(self, net, loss):
        after_step(self, net, loss)
        is_beside = threading.current_thread() is not threading.main_thread()
        if len(self.states) == 2 and is_beside and not pressed:
            pressed.append(True)
            signal.raise_signal(signal.SIGINT)

    def handle(*_):
        calls.append(threading.current_thread())
        raise KeyboardInterrupt

    monkeypatch.setattr(SnapshotRecorder, "after_step", press)
    before = signal.signal(signal.SIGINT, handle)
    model = SnapshotEnsembleClassifier(max_epochs=3, n_cycles=3, batch_size=100)
    try:
        with pytest.warns(RuntimeWarning, match="Interrupted: the ensemble keeps the 1 of 3"):
            model.fit(*digits)
    finally:
        signal.signal(signal.SIGINT, before)
    assert calls == [threading.main_thread()]
    assert model.n_cycles_ == 1
    assert threading.active_count() == n_before
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_a_limit_shortens_groups_that_train_beside_each_other(digits):
    model = SnapshotEnsembleClassifier(
        max_epochs=2000, n_cycles=3, batch_size=100, time_limit=1.5, early_stopping=False
    ).fit(*digits)
    assert model.is_time_limited_
    assert 1 <= model.n_cycles_ <= 3  # a busy machine has time for fewer
    n_epochs = [len(net.history_) for net in model._fitted_.nets]
    assert max(n_epochs) < 1500
    assert min(n_epochs) > 0.9 * max(n_epochs) - 2
