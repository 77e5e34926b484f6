import logging

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Flat, Items, Mlp, Normalised, serve
from onnxruntime import InferenceSession
from torch import nn

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor

QUICK = {"max_epochs": 2, "n_cycles": 2, "random_state": 0}


class Mixed(nn.Module):
    """Images beside numbers of rooms and a mask; it returns two things."""

    def __init__(self, n_outputs):
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
        self.room = nn.Embedding(5, 4)
        self.output = nn.Linear(4 * 36 + 4, n_outputs)

    def forward(self, rooms, image, mask):
        room = (self.room(rooms) * mask.unsqueeze(-1)).sum(dim=1)
        hidden = torch.cat([self.image(image), room], dim=1)
        return self.output(hidden), hidden


class Counting(nn.Module):
    """It asks for the number of rows."""

    def __init__(self, n_outputs):
        super().__init__()
        self.layer = nn.LSTM(2, 6, batch_first=True)
        self.output = nn.Linear(6, n_outputs)

    def forward(self, X):
        return self.output(self.layer(X.reshape(len(X), 2, 2))[0].mean(dim=1))


class Stubborn(nn.Module):
    """What it does hangs on a value."""

    def __init__(self, n_inputs, n_outputs):
        super().__init__()
        self.layer = nn.Linear(n_inputs, n_outputs)

    def forward(self, X):
        out = self.layer(X)
        return out * 2 if float(out.detach().sum()) > 1 else out


class Pair(nn.Module):
    """Whole numbers alone."""

    def __init__(self, n_outputs):
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.output = nn.Linear(8, n_outputs)

    def forward(self, X):
        return self.output(self.embedding(X).flatten(1))


class Nested(nn.Module):
    """A dict within a dict."""

    def __init__(self, n_outputs):
        super().__init__()
        self.output = nn.Linear(3, n_outputs)

    def forward(self, of):
        return self.output(torch.cat([of["x"], of["z"]], dim=1))


def test_a_dict_of_images_whole_numbers_and_truth_values(tmp_path):
    rng = np.random.default_rng(0)
    X = {
        "image": rng.normal(size=(60, 1, 8, 8)).astype(np.float32),
        "rooms": rng.integers(0, 5, (60, 3)),
        "mask": rng.random((60, 3)) < 0.5,
    }
    y = np.array(["no", "yes"])[X["rooms"][:, 0] % 2]
    model = SnapshotEnsembleClassifier(Mixed, **QUICK).fit(X, y)
    found = serve(model, X, tmp_path / "mixed.onnx")
    assert np.allclose(found["probabilities"], model.predict_proba(X), atol=1e-5)
    assert found["label"].tolist() == model.predict(X).tolist()


def test_chains_with_buffers_and_one_row(iris, tmp_path):
    X, y = iris[0].astype(np.float32), iris[1]
    model = SnapshotEnsembleClassifier(Normalised, n_chains=2, **QUICK).fit(X, y)
    found = serve(model, X[:1], tmp_path / "normalised.onnx")
    assert np.allclose(found["probabilities"], model.predict_proba(X[:1]), atol=1e-5)


def test_a_regressor_of_shape_n_on_a_frame_of_numbers(diabetes, tmp_path):
    X, y = diabetes
    X = pd.DataFrame(X).rename(columns="column {}".format)
    model = SnapshotEnsembleRegressor(Flat, **QUICK).fit(X, y)
    found = serve(model, X, tmp_path / "flat.onnx")["variable"]
    assert found.shape == (442, 1)
    assert np.allclose(found[:, 0], model.predict(X), rtol=1e-5)


def test_a_module_that_asks_for_the_number_of_rows(iris, tmp_path):
    """The exporter of ONNX would fix it at that of the rows it traces with."""
    model = SnapshotEnsembleClassifier(Counting, **QUICK).fit(*iris)
    for rows in (iris[0].astype(np.float32), iris[0][:1].astype(np.float32)):
        found = serve(model, rows, tmp_path / "counting.onnx")["probabilities"]
        assert np.allclose(found, model.predict_proba(rows), atol=1e-5)


def test_a_module_in_double_precision(iris, tmp_path):
    X, y = iris
    module = Mlp(4, 3).double()
    model = SnapshotEnsembleClassifier(module, **QUICK).fit(X, y)
    found = serve(model, X, tmp_path / "double.onnx")["probabilities"]
    assert np.allclose(found, model.predict_proba(X), atol=1e-12)


def test_a_frame_of_whole_numbers_for_an_embedding(tmp_path):
    X = np.random.default_rng(0).integers(0, 5, (60, 2))
    frame = pd.DataFrame(X, columns=["from", "to"])
    model = SnapshotEnsembleClassifier(Pair, **QUICK).fit(frame, X[:, 0] > 2)
    model.to_onnx(tmp_path / "pair.onnx")
    feeds = {name: frame[[name]].to_numpy() for name in frame}
    label, found = InferenceSession(tmp_path / "pair.onnx").run(None, feeds)
    assert np.allclose(found, model.predict_proba(frame), atol=1e-5)
    assert label.dtype == np.bool_


def test_torch_is_left_as_it_was(iris, tmp_path, monkeypatch):
    model = SnapshotEnsembleClassifier(Mlp, **QUICK).fit(*iris)
    logger = logging.getLogger("torch")
    monkeypatch.setattr(logger, "level", logging.INFO)
    before = torch.get_rng_state(), logger.level, torch.is_grad_enabled()
    weights = model.snapshots_[0]["output.weight"]
    with torch.inference_mode(), torch.device("meta"):
        model.to_onnx(tmp_path / "model.onnx")
    after = torch.get_rng_state(), logger.level, torch.is_grad_enabled()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert torch.equal(weights, model.snapshots_[0]["output.weight"])


def test_a_dict_within_a_dict_is_refused(tmp_path):
    rows = [{"of": {"x": np.float32([i, 1]), "z": np.float32([i])}} for i in range(8)]
    model = SnapshotEnsembleClassifier(Nested, **QUICK).fit(Items(rows, np.arange(8) % 2))
    with pytest.raises(NotImplementedError, match=r"^Got a dict within a dict as X\['of'\]"):
        model.to_onnx(tmp_path / "nested.onnx")


def test_a_module_that_cannot_be_traced_is_refused_by_name(iris, tmp_path):
    model = SnapshotEnsembleClassifier(Stubborn, **QUICK).fit(*iris)
    with pytest.raises(ValueError, match=r"^Got module=Stubborn, which torch's exporter refuses"):
        model.to_onnx(tmp_path / "stubborn.onnx")
    assert not list(tmp_path.iterdir())


def test_a_type_that_numpy_lacks_is_refused(iris, tmp_path):
    model = SnapshotEnsembleClassifier(Mlp(4, 3).bfloat16(), **QUICK).fit(*iris)
    with pytest.raises(NotImplementedError, match=r"^Got a module whose floats are torch.bfloat16"):
        model.to_onnx(tmp_path / "half.onnx")
