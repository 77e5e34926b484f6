"""Threads by the size of a step, and one alone in a forked process."""

import os
import subprocess
import sys

import pytest
import torch
from skorch.callbacks import Callback
from torch import nn

from skensemble import SnapshotEnsembleClassifier
from skensemble._training.threads import few_threads, multiplications


class Net:
    def __init__(self, module):
        self.module_ = module

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


def test_large_steps_keep_their_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for n_units, expected in ((16, 1), (4096, 2)):
            net, example = Net(nn.Linear(32, n_units)), torch.zeros(8, 32)
            with few_threads(net, example, 8, 128):
                assert torch.get_num_threads() == expected
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


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
