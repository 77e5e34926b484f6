"""Names of foreign code: looked up where they are harmless or trusted, and nowhere else."""

import builtins
import collections
import contextlib
import functools
import json
import sys

import numpy as np
import pytest
import torch
from conftest import Mlp
from file_models import Branches, fitted, make_net, numbers
from sklearn.model_selection import KFold, PredefinedSplit
from skorch.callbacks import Checkpoint, EarlyStopping
from torch import nn

import skensemble
from skensemble import SnapshotEnsembleClassifier
from skensemble._persistence import foreign
from skensemble._persistence.container import Container, Fault, write_container
from skensemble._persistence.foreign import (
    Maker,
    foreigners,
    is_free,
    name_of,
    source_of,
    untrusted,
    write_foreign,
)
from skensemble._persistence.saving import content_digest
from skensemble._persistence.stored import PREFIX, digests_of
from skensemble._persistence.tree import Decoder, Encoder, Foreign


def write(value):
    encoder = Encoder(write_foreign)
    return json.loads(json.dumps(encoder.encode(value))), encoder.arrays


def there_and_back(value, trusted=()):
    tree, arrays = write(value)
    decoded = Decoder(arrays).decode(tree)
    assert not untrusted(decoded, trusted)
    return Maker(trusted, lambda record: record).make(decoded)


class Marked:
    """An instance of a user's class."""

    def __init__(self, mark):
        self.mark, self.me = mark, self


def test_classes_and_functions_come_back():
    for value in (nn.Linear, torch.optim.AdamW, nn.functional.relu, KFold, EarlyStopping):
        assert there_and_back(value) is value
        assert is_free(value)
    assert there_and_back([Mlp, make_net], ["conftest.Mlp", "file_models.make_net"]) == [
        Mlp,
        make_net,
    ]


def test_instances_come_back():
    found = there_and_back(KFold(3, shuffle=True, random_state=1))
    assert repr(found) == repr(KFold(3, shuffle=True, random_state=1))
    found = there_and_back(PredefinedSplit([0, 1, 1]))
    assert found.test_fold.tolist() == [0, 1, 1]
    found = there_and_back(EarlyStopping(patience=3))
    assert (found.patience, found.sink) == (3, print)
    found = there_and_back(functools.partial(nn.Linear, 3, bias=False))
    assert (found.func, found.args, found.keywords) == (nn.Linear, (3,), {"bias": False})
    one, other = there_and_back([Marked((1, 2))] * 2, ["test_foreign.Marked"])
    assert one is other
    assert one.me is one
    assert one.mark == (1, 2)


def test_modules_come_back_with_what_they_share():
    torch.manual_seed(0)
    shared = nn.Linear(3, 3)
    module = nn.Sequential(shared, nn.BatchNorm1d(3), shared, nn.GRU(3, 2))
    module[3].weight_hh_l0.requires_grad_(False)
    found = there_and_back(module.eval())
    assert found[0] is found[2]
    assert found[0].weight is not shared.weight
    assert not found[3].weight_hh_l0.requires_grad
    X = torch.randn(5, 3)
    assert torch.equal(found(X)[0], module(X)[0])
    found[3].flatten_parameters()


@pytest.mark.parametrize(
    ("name", "part"), [("_parameters", [0]), ("_modules", {"a": 1.0}), ("_forward_hooks", 3)]
)
def test_modules_without_what_torch_needs_are_faults(name, part):
    attributes = {**vars(nn.ReLU()), name: part}
    parts = {"vars": attributes, "parametrized": []}
    made_up = Foreign("module", "torch.nn.modules.activation.ReLU", None, parts, 0)
    with pytest.raises(Fault, match=f"a module whose {name}"):
        Maker((), lambda record: record).make(made_up)


def test_names_of_layers_and_optimizers_need_no_trust_and_others_do():
    free = [
        "torch.nn.modules.linear.Linear", "torch.optim.sgd.SGD", "skorch.callbacks.EarlyStopping",
        "sklearn.model_selection._split.KFold",
    ]  # fmt: skip
    theirs = [Foreign("name", name_of(v), None) for v in (nn.Linear, torch.optim.SGD, KFold)]
    assert untrusted(theirs, ()) == []
    assert free
    for name in (
        "os.system", "builtins.eval", "torch.load", "torch.hub.load", "subprocess.Popen",
        "torch.nn.modules.linear.Linear.__init__", "torch.nn.modules.module.torch", "numpy.load",
        "torch.nn.functional.importlib", "torch.nn.functional.warnings", "torch.optim.optimizer.os",
        "skorch.callbacks.training.Checkpoint", "skorch.callbacks.training.LoadInitState",
        "skorch.callbacks.training.TrainEndCheckpoint", "skorch.callbacks.logging.WandbLogger",
        "sklearn.model_selection._search.GridSearchCV", "skensemble.fitting.os", "", ".", "os",
        "torch.serialization.load", "torch.nn.utils.rnn.pad_sequence", "skensemble._compat.torch",
    ):  # fmt: skip
        assert untrusted([{"a": (Foreign("instance", name, None, {"b": 1}),)}], ()) == [name]


def test_names_are_found_wherever_they_stand():
    inner = Foreign("name", "a.b", None)
    nested = {"x": [Foreign("partial", "functools.partial", None, {"of": inner, "args": []})]}
    assert [f.name for f in foreigners(nested)] == ["functools.partial", "a.b"]
    assert untrusted(nested, ()) == ["a.b"]
    assert untrusted({(1, inner): 2}, ()) == ["a.b"]


class Watched:
    """What is imported, and which modules there are, while a block runs."""

    def __init__(self, monkeypatch):
        self.asked, own = [], builtins.__import__

        def watched(name, *args, **kwargs):
            self.asked.append(name)
            return own(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", watched)
        monkeypatch.setattr(foreign.importlib, "import_module", self._refuse)
        self.before = set(sys.modules)

    def _refuse(self, name):
        raise AssertionError(f"{name} was imported")


def renew_digests(document, own, stacks):
    """Give each snapshot the digest that it has, where the file still says which they are."""
    with contextlib.suppress(KeyError, TypeError, ValueError):
        found = document["snapshots"]
        n, name = len(own[found["places"]["at"]]), found["digests"]["at"]
        if name in own:
            own[name] = digests_of(stacks, np.arange(n), {})


def with_names(path, change):
    """Change the document of a file, and give it the digests that it then has."""
    file = Container(path)
    document = json.loads(file.texts["document"])
    arrays = {name: file.read(name) for name in file.entries}
    stacks = {name: array for name, array in arrays.items() if name.startswith(PREFIX)}
    own = {name: array for name, array in arrays.items() if name not in stacks}
    renew_digests(document, own, stacks)
    change(document)
    text = json.dumps(document)
    shapes = {name: (array.dtype.str, array.shape) for name, array in stacks.items()}
    digest = content_digest(text, own, shapes).hex()
    write_container(path, {**own, **stacks}, {**file.texts, "document": text, "digest": digest})


PLACES = {
    "module": lambda d, f: d["estimator"]["parameters"].update(module=f),
    "schedule": lambda d, f: d["estimator"]["parameters"].update(schedule=f),
    "callbacks": lambda d, f: d["estimator"]["parameters"].update(callbacks=[f]),
    "criterion argument": lambda d, f: d["estimator"]["parameters"].update(criterion__weight=f),
    "key": lambda d, f: d["estimator"]["parameters"].update(
        class_weight={"$": "dict", "of": [[f, 1]]}
    ),
    "made of": lambda d, f: d["made_of"]["other"].update(optimizer=f),
    "class": lambda d, f: d["estimator"].update({"class": f["name"]}),
    "splitter": lambda d, f: d["chosen"].update(left_out_by={"$": "tuple", "of": ["rows", f]}),
    "training": lambda d, f: d.update(training={"a": f}),
    "state": lambda d, f: d.update(state={"a": f}),
    "label": lambda d, f: d["targets"].update(
        classes={"$": "objects", "dtype": "O", "shape": [2], "of": ["a", f]}
    ),
    "intake": lambda d, f: d["intake"].update(feature_names=f),
    "history": lambda d, f: d["net"].update(history={"rows": [{"batches": [], "a": f}]}),
}

NAMES = ["os.system", "this.that", "antigravity.antigravity", "torch.hub.load", "mymodel.Net"]


@pytest.mark.parametrize("kind", ["name", "instance", "module"])
@pytest.mark.parametrize("place", PLACES)
def test_a_file_that_names_foreign_code_is_refused_before_import(
    kind, place, tmp_path, monkeypatch
):
    model, _, _ = fitted("labels_whole")
    model.save(tmp_path / "model")
    skensemble.load(tmp_path / "model")  # what loading itself imports late
    for name in NAMES:
        found = {"$": kind, "name": name, "source": None, "number": 7, "parts": {"vars": {}}}
        model.save(tmp_path / "model")
        with_names(tmp_path / "model", lambda d, f=found: PLACES[place](d, f))
        with monkeypatch.context() as patch:
            watch = Watched(patch)
            with pytest.raises(ValueError, match="Got path=") as error:
                skensemble.load(tmp_path / "model", trusted=["conftest.Mlp"])
        assert not {n for n in watch.asked if n.partition(".")[0] in ("os", "this", "mymodel")}
        assert set(sys.modules) == watch.before
        if place in ("module", "schedule", "callbacks", "made of", "class"):
            assert f"trusted=['conftest.Mlp', '{name}']" in str(error.value)


def test_the_error_says_what_to_pass(tmp_path):
    model, X, _ = fitted("module_own")
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"pass module=Mlp or trusted=\['conftest\.Mlp'\]"):
        skensemble.load(tmp_path / "model")
    for load in ({"module": Mlp}, {"trusted": ["conftest.Mlp"]}):
        loaded = skensemble.load(tmp_path / "model", **load)
        assert (loaded.predict(X) == model.predict(X)).all()
    model, _, load = fitted("net_own")
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"pass trusted=\['conftest\.Mlp', 'file_models\.Clip"):
        skensemble.load(tmp_path / "model")
    with pytest.raises(ValueError, match=r"pass trusted=\['file_models\.Clipped'\]"):
        skensemble.load(tmp_path / "model", module=Mlp)
    skensemble.load(tmp_path / "model", module=Mlp, trusted=["file_models.Clipped"])


def test_a_module_that_is_not_there_needs_no_other(tmp_path):
    model, _, _ = fitted("labels_whole")
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="built-in network"):
        skensemble.load(tmp_path / "model", module=Mlp)


def test_a_changed_source_is_told(tmp_path, monkeypatch):
    model, _, _ = fitted("module_dict")
    model.save(tmp_path / "model")
    real = foreign.inspect.getsource
    monkeypatch.setattr(
        foreign.inspect, "getsource", lambda v: real(v) + ("#" if v is Branches else "")
    )
    for load in ({"module": Branches}, {"trusted": ["file_models.Branches"]}):
        with pytest.warns(UserWarning, match=r"file_models\.Branches has another source than now"):
            skensemble.load(tmp_path / "model", **load)


def test_sources_are_told_apart():
    assert source_of(Mlp) == source_of(Mlp)
    assert source_of(Mlp) != source_of(Branches)
    assert source_of(collections.deque) is None


def test_callbacks_that_write_files_need_trust(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    X, y = numbers()
    callback = Checkpoint(dirname="made", monitor="train_loss_best")
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, n_cycles=1, callbacks=[callback])
    model.fit(X, y).save("model")
    with pytest.raises(ValueError, match="Checkpoint"):
        skensemble.load("model", module=Mlp)
    skensemble.load("model", module=Mlp, trusted=["skorch.callbacks.training.Checkpoint"])


def test_what_is_trusted_must_be_there():
    maker = Maker(["nowhere.Net", "conftest.Nothing"], lambda record: record)
    for name in maker.trusted:
        with pytest.raises(ValueError, match=f"Got trusted=\\['{name}'\\], but there is nothing"):
            maker.make(Foreign("name", name, None))
    with pytest.raises(Fault, match="nobody trusts"):
        maker.make(Foreign("name", "conftest.Mlp", None))


def test_things_of_another_kind_are_faults():
    maker = Maker(["file_models.make_net", "conftest.Mlp"], lambda record: record)
    wrong = [
        Foreign("instance", "file_models.make_net", None, {"vars": {}}),
        Foreign("instance", "conftest.Mlp", None, {"vars": {}}),
        Foreign("module", "sklearn.model_selection._split.KFold", None, {"vars": {}}),
        Foreign("again", "x", None, None, 3),
        Foreign("instance", "conftest.Mlp", None, [1]),
        Foreign("module", "conftest.Mlp", None, {"vars": {1: 2}, "parametrized": []}),
    ]
    for value in wrong:
        with pytest.raises(Fault):
            maker.make(value)


def test_layers_of_which_a_file_could_ask_for_any_number_need_trust(tmp_path):
    model, _, _ = fitted("module_of_torch")
    layer = "torch.nn.modules.transformer.Transformer"
    for found in (
        {"$": "name", "name": layer, "source": None},
        {"$": "module", "name": layer, "source": None, "number": 7,
         "parts": {"vars": {}, "parametrized": []}},
        {"$": "partial", "name": "functools.partial", "parts": {
            "of": {"$": "name", "name": layer, "source": None}, "args": [], "kwargs": {}}},
    ):  # fmt: skip
        model.save(tmp_path / "model")
        with_names(
            tmp_path / "model",
            lambda d, f=found: d["estimator"]["parameters"].update(
                module=f, module__num_encoder_layers=10**9
            ),
        )
        with pytest.raises(ValueError, match=f"trusted=\\['{layer}'\\]"):
            skensemble.load(tmp_path / "model")


def test_linear_layers_take_no_memory_for_a_lie(tmp_path):
    for name in ("module_of_torch", "module_instance"):
        model, _, _ = fitted(name)
        model.save(tmp_path / "model")
        linear = {"$": "name", "name": "torch.nn.modules.linear.Linear", "source": None}
        change = {"module": linear, "module__in_features": 10**6, "module__out_features": 10**6}
        if name == "module_of_torch":
            change = {"module__out_features": 10**12}
        with_names(tmp_path / "model", lambda d, c=change: d["estimator"]["parameters"].update(c))
        with pytest.raises(ValueError, match=r"other tensors|larger than its|cannot be read"):
            skensemble.load(tmp_path / "model")
