"""Files of others: pickle, joblib, cloudpickle, copy, skops and safetensors hold what is fitted."""

import copy
import functools
import gc
import pickle
import runpy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import skops.io
import torch
from conftest import QUICK, Flat, Mlp, Normalised
from skops.io.exceptions import UntrustedTypesFoundException
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping, EpochScoring, GradientNormClipping
from torch import nn

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor

TRUSTED = runpy.run_path(
    str(Path(__file__).parent.parent / "docs" / "guide" / "types_for_skops.py")
)["TYPES"]

rng = np.random.default_rng(0)
X = rng.normal(size=(120, 4))
y = (X[:, 0] + 0.5 * X[:, 1] > 0) + (X[:, 2] > 1).astype(int)
images = rng.normal(size=(60, 1, 6, 6)).astype(np.float32)
frame = pd.DataFrame(
    {
        "number": X[:, 0],
        "colour": pd.Categorical(np.array(["red", "green", "blue"])[rng.integers(3, size=120)]),
        "word": np.array(["aa", "bb"])[rng.integers(2, size=120)],
        "day": pd.date_range("2024-01-01", periods=120),
        "is_new": rng.integers(2, size=120).astype(bool),
    }
)


class TwoInputs(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.left, self.right = nn.Linear(2, 4), nn.Linear(2, 4)
        self.output = nn.Linear(8, n_outputs)

    def forward(self, one, two):
        return self.output(torch.relu(torch.cat([self.left(one), self.right(two)], dim=1)))


class Convolutional(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.layer = nn.Conv2d(1, 3, 3)
        self.output = nn.Linear(48, n_outputs)

    def forward(self, X):
        return self.output(torch.relu(self.layer(X)).flatten(1))


class Tied(nn.Module):
    """Tied weights, and a tensor that is neither parameter nor buffer."""

    def __init__(self, n_inputs, n_outputs):
        super().__init__()
        self.one, self.two = nn.Linear(n_inputs, n_inputs), nn.Linear(n_inputs, n_inputs)
        self.two.weight = self.one.weight
        self.output = nn.Linear(n_inputs, n_outputs)
        self.shift = torch.ones(n_outputs)

    def forward(self, X):
        return self.output(torch.relu(self.two(self.one(X)))) + self.shift


class HalfLoss(NeuralNetClassifier):
    def get_loss(self, y_pred, y_true, *args, **kwargs):
        return super().get_loss(y_pred, y_true, *args, **kwargs) / 2


def weight_normed(n_inputs, n_outputs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        first = nn.utils.weight_norm(nn.Linear(n_inputs, 8))
    return nn.Sequential(first, nn.ReLU(), nn.Linear(8, n_outputs))


def parametrized(n_inputs, n_outputs):
    first = nn.utils.parametrizations.weight_norm(nn.Linear(n_inputs, 8))
    return nn.Sequential(first, nn.ReLU(), nn.Linear(8, n_outputs))


def falling(at):
    return 1 - 0.9 * at.progress


def quiet(text):
    """Take the place of print in a callback."""


def classify(module=None, **parameters):
    return SnapshotEnsembleClassifier(module, **{**QUICK, "module__hidden": (8,), **parameters})


def classify_with(module, **parameters):
    return SnapshotEnsembleClassifier(module, **{**QUICK, **parameters})


class Kind(NamedTuple):
    make: Callable[[], object]
    X: object = X
    y: object = y


KINDS = {
    "built-in": Kind(classify),
    "small": Kind(classify, X[:30], y[:30]),
    "frame": Kind(classify, frame, np.array(["no", "perhaps", "yes"])[y]),
    "regressor": Kind(lambda: SnapshotEnsembleRegressor(module__hidden=(8,), **QUICK), X, X[:, 0]),
    "two outputs": Kind(
        lambda: SnapshotEnsembleRegressor(module__hidden=(8,), **QUICK), frame, X[:, :2]
    ),
    "flat": Kind(lambda: SnapshotEnsembleRegressor(Flat, **QUICK), X, X[:, 0]),
    "own module": Kind(lambda: classify_with(Mlp)),
    "batched chains": Kind(lambda: classify_with(Normalised, n_chains=3)),
    "one by one": Kind(
        lambda: classify_with(Mlp, n_chains=2, callbacks=[GradientNormClipping(1.0)])
    ),
    "cold": Kind(lambda: classify(restart="cold", n_chains=2)),
    "tied": Kind(lambda: classify_with(Tied, n_chains=2)),
    "weight_norm": Kind(lambda: classify_with(weight_normed)),
    "parametrized": Kind(lambda: classify_with(parametrized, n_chains=2)),
    "net=": Kind(lambda: classify_with(Mlp, net=HalfLoss)),
    "dict": Kind(lambda: classify_with(TwoInputs), {"one": X[:, :2], "two": X[:, 2:]}),
    "callbacks": Kind(
        lambda: classify_with(
            Mlp,
            callbacks=[
                ("accuracy", EpochScoring("accuracy", name="acc", on_train=True)),
                EarlyStopping("train_loss", sink=quiet),
            ],
        )
    ),
    "images": Kind(lambda: classify_with(Convolutional, optimizer="sgd"), images, y[:60]),
    "hard": Kind(lambda: classify(voting="hard")),
    "schedule": Kind(lambda: classify(schedule=falling)),
    "instance": Kind(
        lambda: classify_with(Mlp(4, 3), criterion=nn.CrossEntropyLoss(torch.ones(3)))
    ),
    "random state": Kind(lambda: classify(random_state=np.random.RandomState(0))),
}


@functools.cache
def fitted(name):
    """Return a model that no test changes."""
    make, X, y = KINDS[name]
    return make().fit(X, y)


def outputs(model, X):
    """Return all that a model says of rows."""
    said = [model.predict(X), model.predict_members(X), *model.staged_predict(X)]
    if hasattr(model, "predict_proba"):
        said += [model.predict_proba(X), *model.staged_predict_proba(X)]
    return said


def agree(one, other):
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def by_joblib(model, folder, **options):
    joblib.dump(model, folder / "model.joblib")
    return joblib.load(folder / "model.joblib", **options)


def by_compressed_joblib(model, folder):
    joblib.dump(model, folder / "model.joblib.gz")
    return joblib.load(folder / "model.joblib.gz")


def by_skops(model, folder):
    skops.io.dump(model, folder / "model.skops")
    named = skops.io.get_untrusted_types(file=folder / "model.skops")
    return skops.io.load(folder / "model.skops", trusted=named)


WAYS = {
    "pickle": lambda model, _: pickle.loads(pickle.dumps(model)),
    "pickle 2": lambda model, _: pickle.loads(pickle.dumps(model, protocol=2)),
    "cloudpickle": lambda model, _: pickle.loads(cloudpickle.dumps(model)),
    "copy": lambda model, _: copy.copy(model),
    "deepcopy": lambda model, _: copy.deepcopy(model),
    "joblib": by_joblib,
    "joblib.gz": by_compressed_joblib,
    "memory map": lambda model, folder: by_joblib(model, folder, mmap_mode="r"),
    "skops": by_skops,
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_model_says_the_same_and_goes_on_alike(kind, tmp_path):
    X, y = KINDS[kind].X, KINDS[kind].y
    model = fitted(kind)
    said, state = outputs(model, X), np.random.get_state()[1].copy()
    loaded = {name: way(model, tmp_path) for name, way in WAYS.items()}
    for name, other in loaded.items():
        assert vars(other).keys() == vars(model).keys(), name
        assert other.net_ is other._fitted_.nets[0], name
        assert agree(outputs(other, X), said), name
    went_on = outputs(copy.deepcopy(model).partial_fit(X, y), X)
    for name, other in loaded.items():
        assert agree(outputs(other.partial_fit(X, y), X), went_on), name
    assert agree(outputs(model, X), said)  # whatever became of its copies
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_tied_weights_stay_tied(tmp_path):
    model = fitted("tied")
    for name, way in WAYS.items():
        module = way(model, tmp_path).net_.module_
        assert module.one.weight is module.two.weight, name


def test_an_unfitted_estimator_goes_round_too(tmp_path):
    model = KINDS["instance"].make()
    for name, way in WAYS.items():
        other = way(model, tmp_path)
        assert other.get_params().keys() == model.get_params().keys()
        assert torch.equal(other.module.hidden.weight, model.module.hidden.weight), name
        assert not hasattr(other, "net_")


def test_a_copy_shares_what_is_fitted_until_either_is_fitted_again():
    model = fitted("own module")
    other = copy.copy(model)
    assert other._fitted_ is model._fitted_
    said = outputs(model, X)
    other.set_params(n_cycles=3).fit(X, y)
    assert (model.n_cycles, model.n_cycles_, other.n_cycles_) == (2, 2, 3)
    assert agree(outputs(model, X), said)


def test_an_array_of_a_file_mapped_into_memory_is_left_alone(tmp_path):
    model = fitted("batched chains")
    loaded = by_joblib(model, tmp_path, mmap_mode="r")
    before = (tmp_path / "model.joblib").read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch warns of memory that cannot be written to
        loaded.partial_fit(X, y).predict(X)
    assert (tmp_path / "model.joblib").read_bytes() == before


# ------------------------------------------------------------------------------------ cloudpickle

NOTEBOOK = """
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback

class Cell(torch.nn.Module):
    def __init__(self, n_inputs, n_outputs):
        super().__init__()
        self.layer = torch.nn.Linear(n_inputs, n_outputs)

    def forward(self, X):
        return self.layer(X)

class Net(NeuralNetClassifier):
    def get_loss(self, y_pred, y_true, *args, **kwargs):
        return super().get_loss(y_pred, y_true, *args, **kwargs) / 2

class Watch(Callback):
    def on_epoch_end(self, net, **kwargs):
        self.seen = len(net.history)

shape = lambda at: 1 - at.progress / 2
"""


def dumped_by_a_notebook():
    """Fit what is made of classes of ``__main__``; return the file and what the model says."""
    cells = {"__name__": "__main__"}
    exec(NOTEBOOK, cells)
    model = classify_with(
        cells["Cell"], net=cells["Net"], callbacks=[cells["Watch"]()], schedule=cells["shape"],
        n_chains=2,
    ).fit(X, y)  # fmt: skip
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(model)
    went_on = outputs(copy.deepcopy(model).partial_fit(X, y), X)
    return cloudpickle.dumps(model), outputs(model, X), went_on


def test_cloudpickle_brings_the_classes_of_a_notebook():
    payload, said, went_on = dumped_by_a_notebook()
    gc.collect()  # cloudpickle knows the classes as long as they live
    model = pickle.loads(payload)
    assert agree(outputs(model, X), said)
    assert agree(outputs(model.partial_fit(X, y), X), went_on)


# ------------------------------------------------------------------------------------------ skops


def test_the_list_for_skops_is_what_the_built_in_network_needs():
    needed = set()
    for kind in KINDS:
        model = fitted(kind)
        data = skops.io.dumps(model)
        named = {*skops.io.get_untrusted_types(data=data)}
        if kind in ("built-in", "small", "frame", "regressor", "two outputs", "cold", "hard"):
            loaded = skops.io.loads(data, trusted=TRUSTED)
            assert agree(outputs(loaded, KINDS[kind].X), outputs(model, KINDS[kind].X))
            needed |= named
        needed |= {name for name in named if name.startswith("skensemble.")}
    assert sorted(TRUSTED) == TRUSTED
    assert {*TRUSTED} == needed


def test_skops_loads_no_type_that_is_not_trusted():
    data = skops.io.dumps(fitted("own module"))
    with pytest.raises(UntrustedTypesFoundException, match=r"conftest\.Mlp"):
        skops.io.loads(data, trusted=TRUSTED)
    # What comes in addition for a module of one's own.
    assert {*skops.io.get_untrusted_types(data=data)} - {*TRUSTED} == {
        "conftest.Mlp",
        "torch.nn.modules.dropout.Dropout",
        "torch.nn.modules.linear.Linear",
    }


def test_skops_writes_each_array_once():
    model = SnapshotEnsembleClassifier(**QUICK).fit(X, y)
    assert len(skops.io.dumps(model)) < 1.5 * len(pickle.dumps(model))


# ------------------------------------------------------------------------------------ safetensors


@pytest.mark.parametrize(
    "kind", ["built-in", "small", "own module", "batched chains", "images", "tied", "weight_norm"]
)
def test_snapshots_go_to_safetensors_and_back(kind, tmp_path):
    model = fitted(kind)
    members = model.predict_members(KINDS[kind].X)
    for k, snapshot in enumerate(model.snapshots_):
        safetensors.torch.save_file(snapshot, tmp_path / "snapshot.safetensors")
        fresh = copy.deepcopy(model.snapshot_module(0))
        with torch.no_grad():
            for tensor in fresh.parameters():
                tensor.zero_()
        fresh.load_state_dict(safetensors.torch.load_file(tmp_path / "snapshot.safetensors"))
        assert all(torch.equal(fresh.state_dict()[name], snapshot[name]) for name in snapshot)
        if kind in ("built-in", "small"):
            continue  # they see an encoded table
        rows = torch.as_tensor(KINDS[kind].X, dtype=torch.float32)
        with torch.no_grad():
            probabilities = torch.softmax(fresh(rows).double(), dim=1)
        np.testing.assert_allclose(probabilities, members[k], atol=1e-6)


def test_tied_weights_are_saved_once_by_the_function_for_modules(tmp_path):
    model = fitted("tied")
    safetensors.torch.save_model(model.snapshot_module(-1), tmp_path / "tied.safetensors")
    assert len(safetensors.torch.load_file(tmp_path / "tied.safetensors")) == 5
    fresh = Tied(4, 3).eval()
    safetensors.torch.load_model(fresh, tmp_path / "tied.safetensors")
    assert torch.equal(fresh.two.weight, model.snapshots_[-1]["two.weight"])


def test_snapshots_are_contiguous_and_share_nothing():
    for kind in ("built-in", "batched chains", "tied", "images"):
        model = fitted(kind)
        tensors = [tensor for snapshot in model.snapshots_ for tensor in snapshot.values()]
        assert all(tensor.is_contiguous() for tensor in tensors)
        assert len({tensor.data_ptr() for tensor in tensors}) == len(tensors)
        storages = [tensor.untyped_storage().nbytes() for tensor in tensors]
        assert storages == [tensor.nbytes for tensor in tensors]


# --------------------------------------------------------------------------- nothing of the data

ROWS = rng.normal(size=(300, 4))
VALUES = 7 * rng.normal(size=300)
NAMES = np.array([f"patient-{i // 3:04d}" for i in range(300)])
WEIGHTS = rng.uniform(0.5, 2, size=300)


def found(payload, values):
    """Count the values that are in a file: eight bytes each, or four beside the next one's."""
    one = {value.tobytes() for value in values.astype("<f8").ravel()}
    four = np.atleast_2d(values.astype("<f4"))
    pairs = [four[:, :-1], four[:, 1:]], [four[:-1], four[1:]]
    two = {a.tobytes() + b.tobytes() for x, y in pairs for a, b in zip(x.flat, y.flat, strict=True)}
    return sum(pattern in payload for pattern in one | two)


@pytest.mark.parametrize(
    "make",
    [
        lambda: SnapshotEnsembleRegressor(Flat, **QUICK),
        lambda: SnapshotEnsembleRegressor(Flat, n_chains=3, **QUICK),
        lambda: SnapshotEnsembleRegressor(Flat, n_chains=3, restart="cold", **QUICK),
        lambda: SnapshotEnsembleRegressor(
            Flat,
            n_chains=3,
            callbacks=[
                EpochScoring("r2", name="a"),
                EpochScoring("r2", name="b", on_train=True, use_caching=False),
                GradientNormClipping(1.0),
            ],
            **QUICK,
        ),
        lambda: SnapshotEnsembleRegressor(module__hidden=(8,), n_chains=3, **QUICK),
    ],
    ids=["one chain", "chains", "cold", "callbacks", "built-in"],
)
def test_a_file_holds_nothing_of_the_data(make):
    assert found(ROWS.tobytes() + VALUES.astype("<f4").tobytes(), ROWS) >= ROWS.size
    assert found(VALUES.astype("<f4").tobytes(), VALUES) == len(VALUES) - 1
    model = make()
    groups = NAMES if model.n_chains == 3 else None
    model.fit(ROWS, VALUES, sample_weight=WEIGHTS, groups=groups)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        others = make().fit(
            -ROWS[::-1], VALUES + 1, X_val=ROWS, y_val=VALUES, sample_weight_val=WEIGHTS
        )
    more = make().fit(ROWS, VALUES).partial_fit(ROWS, VALUES, sample_weight=WEIGHTS)
    # The table is scaled by statistics, which may be values of a column.
    statistics = 4 * ROWS.shape[1] if model.module is None else 0
    for payload in map(pickle.dumps, (model, others, more)):
        assert found(payload, ROWS) <= statistics
        assert found(payload, VALUES) == 0
        assert found(payload, WEIGHTS) == 0
        assert not any(name.encode() in payload for name in NAMES)


def test_a_pickle_holds_the_categories_and_not_the_rows():
    model = classify().fit(frame, y)
    payload = pickle.dumps(model)
    assert b"green" in payload  # what is learned of a column
    assert found(payload, frame["number"].to_numpy()) <= 4
