"""Members predict as their snapshots do, whatever the way."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import Mlp, Normalised, outputs_of_snapshots
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from skensemble import SnapshotEnsembleClassifier


def test_chunks_change_no_prediction(monkeypatch, digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, n_cycles=3).fit(X, y)
    whole = model.predict_proba(X)
    monkeypatch.setattr("skensemble._nets.inference.CHUNK", 70)
    np.testing.assert_allclose(model.predict_proba(X), whole, atol=1e-6)


class Kept(nn.Module):
    """Recurrent layers keep their tensors in a second place, and some modules their last batch."""

    def __init__(self, n_outputs):
        super().__init__()
        self.layer = nn.GRU(8, 6, batch_first=True)
        self.output = nn.Linear(6, n_outputs)

    def forward(self, X):
        self.last = X.reshape(len(X), 8, 8)
        return self.output(self.layer(self.last)[0][:, -1])


@pytest.mark.parametrize("module", [Kept, None])
def test_members_are_their_snapshots_whatever_way_they_predict(digits, module):
    """Through copies of a module that holds tensors twice, and through batched products."""
    X, y = digits
    model = SnapshotEnsembleClassifier(module, n_cycles=3, max_epochs=3, members=2).fit(X, y)
    scores = outputs_of_snapshots(model, model._fitted_.intake.tensor(X))
    expected = [torch.softmax(output, dim=1).numpy() for output in scores]
    # Scores are sums of hundreds of float32 pieces, each in another order.
    np.testing.assert_allclose(model.predict_members(X), expected, atol=3e-6)
    last = expected[-2 * model.n_chains_ :]
    np.testing.assert_allclose(model.predict_proba(X), np.mean(last, axis=0), atol=1e-6)


class Residual(nn.Sequential):
    """Activations whose input is read again, or kept by a hook."""

    def __init__(self, n_inputs, n_outputs):
        act = nn.ReLU()
        super().__init__(
            nn.Linear(n_inputs, 16), act, Skip(16), nn.Linear(16, 16), nn.Mish(),
            nn.Dropout(0.5), act, nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, n_outputs),
        )  # fmt: skip
        self[7].register_forward_hook(_doubled)


class Skip(nn.Module):
    def __init__(self, n_units):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_units, n_units), nn.SiLU())

    def forward(self, X):
        h = self.layers[0](X)
        return self.layers(X) + h + self.layers[1](h)


def _doubled(module, args, output):
    return 2 * output


def test_activations_in_place_change_no_member(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(Residual, n_cycles=2, max_epochs=2, random_state=0)
    model.fit(X, y)
    outputs = outputs_of_snapshots(model, torch.from_numpy(X).float())
    expected = [torch.softmax(output, dim=1).numpy() for output in outputs]
    np.testing.assert_allclose(model.predict_members(X), expected, atol=1e-6)
    assert model.net_.module_[1].inplace is False


def test_threads_may_predict_at_once(digits):
    X, y = digits
    for module in (Mlp, Kept, None):
        model = SnapshotEnsembleClassifier(module, n_cycles=3, max_epochs=2).fit(X, y)
        expected = model.predict_proba(X)
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(model.predict_proba, [X] * 8))
        for result in results:
            np.testing.assert_allclose(result, expected, atol=1e-6)


def test_dropout_is_off_at_prediction(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, module__dropout=0.9, max_epochs=1).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(X))


class InPlace(nn.Sequential):
    """Begins with an activation that a linear layer would let overwrite its input."""

    def __init__(self, n_inputs, n_outputs):
        super().__init__(nn.Tanh(), nn.Linear(n_inputs, 8), nn.ReLU(), nn.Linear(8, n_outputs))


@pytest.mark.parametrize("module", [InPlace, Mlp, Normalised, None])
def test_a_prediction_changes_neither_rows_nor_module(digits, module):
    X, y = digits[0].astype(np.float32), digits[1]
    model = SnapshotEnsembleClassifier(module, n_cycles=2, max_epochs=1).fit(X, y)
    before, state = X.copy(), {k: v.clone() for k, v in model.net_.module_.state_dict().items()}
    model.net_.module_.train()
    model.predict(X)
    np.testing.assert_array_equal(X, before)
    assert model.net_.module_.training
    for name, value in model.net_.module_.state_dict().items():
        assert torch.equal(value, state[name])


def test_hooks_of_a_layer_and_of_all_modules_are_called(digits):
    seen, everywhere = [], []

    def hooked():
        module = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
        module[0].register_forward_hook(lambda *_: seen.append(1))
        return module

    model = SnapshotEnsembleClassifier(hooked, n_cycles=3, max_epochs=1).fit(*digits)
    seen.clear()
    expected = model.predict_proba(digits[0])
    assert len(seen) == 3
    handle = register_module_forward_hook(lambda layer, *_: everywhere.append(type(layer)))
    try:
        np.testing.assert_array_equal(model.predict_proba(digits[0]), expected)
    finally:
        handle.remove()
    assert everywhere.count(nn.Linear) == 6
    assert everywhere.count(nn.ReLU) == 3
