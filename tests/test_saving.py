"""What is written: small, plain, and nothing of the rows."""

import json
import threading

import numpy as np
import pytest
import torch
from conftest import QUICK, Mlp
from file_models import MODELS, falling, fitted, numbers
from safetensors import safe_open
from sklearn.datasets import load_iris

import skensemble
from skensemble import SnapshotEnsembleClassifier
from skensemble._persistence.container import Container
from skensemble._persistence.loading import read_model
from skensemble._persistence.saving import content_digest, write_model


def test_a_default_model_is_hardly_larger_than_its_arrays(tmp_path):
    X, y = load_iris(return_X_y=True)
    model = SnapshotEnsembleClassifier(max_epochs=8, random_state=0).fit(X, y)
    for include in ((), ("unseen", "training")):
        model.save(tmp_path / "model", include=include)
        file = Container(tmp_path / "model")
        assert file.size <= 1.02 * sum(entry.nbytes for entry in file.entries.values())


def test_rows_of_the_training_are_not_in_it(tmp_path):
    X, y = numbers(200, 2, 2)
    model = SnapshotEnsembleClassifier(max_epochs=2, n_cycles=1, module__hidden=(4,)).fit(X, y)
    model.save(tmp_path / "model", include=["training"])
    data = (tmp_path / "model").read_bytes()
    # Thresholds are values of rows; no two rows stand side by side, in any type.
    for dtype in (np.float64, np.float32):
        assert not any(X[i : i + 2, 0].astype(dtype).tobytes() in data for i in range(199))
    model.fit(np.repeat(X, 4, axis=0), np.repeat(y, 4)).save(tmp_path / "more")
    assert abs((tmp_path / "more").stat().st_size - len(data)) < len(data)


def test_others_can_read_it(tmp_path):
    """The document is JSON, and the arrays are those of safetensors."""
    model, _, _ = fitted("module_own")
    model.save(tmp_path / "model")
    with safe_open(tmp_path / "model", "pt") as file:
        texts = file.metadata()
        weight = file.get_tensor("snapshots/hidden.weight")
    document = json.loads(texts["document"])
    assert (texts["format"], texts["format_version"]) == ("skensemble", "1")
    assert document["estimator"]["class"] == "SnapshotEnsembleClassifier"
    assert document["versions"]["skensemble"] == skensemble.__version__
    assert document["estimator"]["parameters"]["module"]["name"] == "conftest.Mlp"
    place = document["snapshots"]["places"]["at"]
    assert torch.equal(weight[0].mT, model.snapshots_[0]["hidden.weight"])
    assert place in Container(tmp_path / "model").entries


def test_no_pickle_is_in_any_file(tmp_path):
    for name in MODELS:
        model, _, _ = fitted(name)
        model.save(tmp_path / "model", include=["training"])
        data = (tmp_path / "model").read_bytes()
        assert b"numpy._core" not in data
        assert b"torch._utils" not in data


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schedule", lambda at: 1.0),
        ("callbacks", [threading.Lock()]),
        ("members", lambda p, y, w: p),
    ],
)
def test_what_no_file_can_keep_is_refused_by_name(name, value, tmp_path):
    model, _, _ = fitted("table_default")
    with pytest.raises(ValueError, match=f"Got {name}="):
        skensemble.SnapshotEnsembleClassifier.__copy__(model).set_params(**{name: value}).save(
            tmp_path / "model"
        )
    assert not list(tmp_path.iterdir())


def test_a_module_of_a_function_is_loaded_by_module(tmp_path):
    class Local(Mlp):
        pass

    X, y = numbers()
    model = SnapshotEnsembleClassifier(Local, **QUICK).fit(X, y)
    model.save(tmp_path / "model")
    loaded = skensemble.load(tmp_path / "model", module=Local)
    assert np.array_equal(loaded.predict_proba(X), model.predict_proba(X))


class Own(SnapshotEnsembleClassifier):
    """A user's estimator."""


def test_estimators_of_ones_own_need_trust(tmp_path):
    X, y = numbers()
    model = Own(module__hidden=(4,), n_chains=1, **QUICK).fit(X, y)
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"trusted=\['test_saving\.Own'\]"):
        skensemble.load(tmp_path / "model")
    loaded = skensemble.load(tmp_path / "model", trusted=["test_saving.Own"])
    assert type(loaded) is Own
    assert np.array_equal(loaded.predict_proba(X), model.predict_proba(X))


def test_what_a_run_keeps_beside_comes_back(tmp_path):
    model, _, _ = fitted("schedule_own")
    extra = {
        "step": 3, "tensors": [torch.arange(3.0), torch.tensor(2, dtype=torch.bfloat16)],
        "state": {0: {"exp_avg": torch.ones(2)}}, "told": [("a", 1), None], "numbers": np.arange(3),
        "generator": ("MT19937", np.arange(5, dtype=np.uint32), 3, 0, 0.5),
    }  # fmt: skip
    write_model(tmp_path / "model", model, model._fitted_, extra=extra)
    loaded = read_model(tmp_path / "model", estimator=model)  # it trusts its own parameters
    assert loaded.estimator is model
    assert loaded.estimator.schedule is falling
    found = loaded.extra
    assert found.keys() == extra.keys()
    assert found["told"] == [("a", 1), None]
    assert torch.equal(found["tensors"][0], extra["tensors"][0])
    assert found["tensors"][1].dtype == torch.bfloat16
    assert found["state"].keys() == {0}
    assert found["generator"][1].tolist() == [0, 1, 2, 3, 4]
    X = numbers()[0]
    assert np.array_equal(loaded.fitted.each_member(model._read(X)[1]), model.predict_members(X))


def test_a_digest_is_of_everything():
    one = content_digest("a", {"x": np.ones(2)}, {"s": ("<f4", (2, 3))})
    assert one == content_digest("a", {"x": np.ones(2)}, {"s": ("<f4", (2, 3))})
    others = [
        ("b", {"x": np.ones(2)}, {"s": ("<f4", (2, 3))}),
        ("a", {"y": np.ones(2)}, {"s": ("<f4", (2, 3))}),
        ("a", {"x": np.ones((2, 1))}, {"s": ("<f4", (2, 3))}),
        ("a", {"x": np.ones(2)}, {"s": ("<f4", (3, 2))}),
        ("a", {"x": np.ones(2, np.float32)}, {"s": ("<f4", (2, 3))}),
    ]
    assert all(one != content_digest(*other) for other in others)
