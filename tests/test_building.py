"""Estimators from files: parameters, devices, and what stands in place of a module."""

import json

import numpy as np
import pytest
import torch
from conftest import QUICK, Mlp
from file_models import Half, fitted, make_net, numbers
from test_foreign import with_names

import skensemble
from skensemble import SnapshotEnsembleClassifier
from skensemble._persistence import building
from skensemble._persistence.container import Container, write_container


def test_a_module_given_stands_in_its_place(tmp_path):
    model, X, _ = fitted("module_own")
    model.save(tmp_path / "model")

    class Renamed(Mlp):
        pass

    with pytest.warns(UserWarning, match="another source"):
        loaded = skensemble.load(tmp_path / "model", module=Renamed)
    assert loaded.module is Renamed
    assert loaded._fitted_.resume.made_of["module"] is Renamed
    assert type(loaded.net_.module_) is Renamed
    assert np.array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_an_instance_given_stands_in_its_place(tmp_path):
    X, y = numbers()
    model = SnapshotEnsembleClassifier(Mlp(4, 3), **QUICK).fit(X, y)
    model.save(tmp_path / "model")
    loaded = skensemble.load(tmp_path / "model", module=Mlp(4, 3))
    assert np.array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_another_module_is_refused(tmp_path):
    model, _, _ = fitted("module_own")
    model.save(tmp_path / "model")
    with (
        pytest.warns(UserWarning, match="another source"),
        pytest.raises(ValueError, match="Got "),
    ):
        skensemble.load(tmp_path / "model", module=Half)
    with (
        pytest.warns(UserWarning, match="another source"),
        pytest.raises(ValueError, match="Got"),
    ):
        skensemble.load(tmp_path / "model", module=make_net)


@pytest.mark.parametrize("device", ["cuda", "cuda:3", torch.device("cuda:1"), "mps"])
def test_models_of_a_gpu_load_without_one(device, tmp_path, monkeypatch):
    """What the file says of the device is all that there is of it."""
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        pytest.skip("there is a GPU")
    model, X, _ = fitted("table_default")
    written = SnapshotEnsembleClassifier.__copy__(model)
    written.device = device
    written.save(tmp_path / "model")
    with pytest.warns(UserWarning, match="which is not here: it is loaded on the CPU"):
        loaded = skensemble.load(tmp_path / "model")
    assert loaded.device == "cpu"
    assert np.array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_devices_that_are_here_stay(monkeypatch):
    assert building._device_here("auto") == "auto"
    assert building._device_here(None) is None
    assert building._device_here("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert building._device_here("cuda:1") == "cuda:1"
    with pytest.warns(UserWarning, match="cuda:2"):
        assert building._device_here("cuda:2") == "cpu"


def test_a_loaded_model_is_fitted_again(tmp_path):
    model, X, load = fitted("module_own")
    model.save(tmp_path / "model")
    y = numbers()[1]
    loaded = skensemble.load(tmp_path / "model", **load).fit(X, y)
    assert np.array_equal(loaded.predict_proba(X), model.predict_proba(X))
    assert loaded.warm_start is False


def test_members_are_tried_before_the_model_is_handed_out(tmp_path):
    """A module that is given as an instance has the outputs that it has, whatever the classes."""
    model, _, _ = fitted("module_instance")
    model.save(tmp_path / "model")
    file = Container(tmp_path / "model")
    name = json.loads(file.texts["document"])["targets"]["classes"]["at"]
    arrays = {name: file.read(name) for name in file.entries}
    arrays[name] = arrays[name][:2].copy()
    write_container(tmp_path / "model", arrays, file.texts)
    with_names(tmp_path / "model", lambda document: None)
    with pytest.raises(ValueError, match=r"a module of \(3,\) outputs, where 2 are to be"):
        skensemble.load(tmp_path / "model")
