"""Loading: one kind of error for whatever is wrong, and little memory."""

import tracemalloc
import warnings

import numpy as np
import pytest
from conftest import Bare, Mlp
from file_models import fitted
from test_foreign import with_names

import skensemble
from skensemble import SnapshotEnsembleClassifier
from skensemble._persistence import loading
from skensemble._persistence.container import Container, write_container
from skensemble._persistence.loading import read_model


@pytest.mark.parametrize("error", [KeyError("a"), TypeError("b"), MemoryError(), RecursionError()])
@pytest.mark.parametrize("step", ["parse", "audit", "construct"])
def test_whatever_a_file_leads_to_is_a_value_error(error, step, tmp_path, monkeypatch):
    fitted("labels_whole")[0].save(tmp_path / "model")

    def fail(*args):
        raise error

    monkeypatch.setattr(loading, step, fail)
    with pytest.raises(ValueError, match=f"cannot be read .{type(error).__name__}"):
        skensemble.load(tmp_path / "model")


def test_what_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError):
        skensemble.load(tmp_path / "nothing")
    with pytest.raises(OSError, match="Got a folder"):
        skensemble.load(tmp_path)


def test_kinds_of_estimators_are_those_that_the_caller_knows(tmp_path):
    fitted("labels_whole")[0].save(tmp_path / "model")
    with pytest.raises(ValueError, match="unknown estimator 'SnapshotEnsembleClassifier'"):
        read_model(tmp_path / "model", kinds={})


@pytest.mark.parametrize("what", ["json", "arrays", "texts"])
def test_memory_stays_below_twice_the_file(what, tmp_path):
    """Of files that try to take more, whose digests are right."""
    path = tmp_path / "model"
    fitted("labels_whole")[0].save(path)
    skensemble.load(path)  # what is imported late counts no more
    if what == "json":
        with_names(path, lambda d: d.update(training=[[]] * 90_000 + [{}] * 90_000))
    elif what == "texts":
        with_names(path, lambda d: d.update(training="a" * 20_000_000))
    else:
        file = Container(path)
        arrays = {name: file.read(name) for name in file.entries}
        write_container(path, {**arrays, "more": np.zeros(3_000_000)}, file.texts)
        with_names(path, lambda d: None)
    size = path.stat().st_size
    tracemalloc.start()
    try:
        skensemble.load(path)
    except ValueError:
        pass
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 2 * size + (16 << 20)


def test_what_is_trusted_are_whole_names(tmp_path):
    model, _, _ = fitted("module_own")
    model.save(tmp_path / "model")
    skensemble.load(tmp_path / "model", trusted="conftest.Mlp")
    for trusted in ("conftest.Mlp2", "Mlp", ["conftest"], "xconftest.Mlp", ("conftest.*",)):
        with pytest.raises(ValueError, match=r"a file that needs 'conftest\.Mlp'"):
            skensemble.load(tmp_path / "model", trusted=trusted)
    with pytest.raises(ValueError, match=r"Got trusted=.*, but expected names"):
        skensemble.load(tmp_path / "model", trusted=[type(model)])


def test_a_model_is_saved_onto_the_file_that_it_came_from(tmp_path):
    model, X, _ = fitted("members_last")
    model.save(tmp_path / "model")
    skensemble.load(tmp_path / "model").save(tmp_path / "model")
    loaded = skensemble.load(tmp_path / "model")
    assert np.array_equal(loaded.predict_members(X), model.predict_members(X))


def test_another_module_than_the_ensembles_is_named(iris, tmp_path):
    path = tmp_path / "own.model"
    SnapshotEnsembleClassifier(Mlp, max_epochs=2, n_cycles=1).fit(*iris).save(path)
    with pytest.raises(UserWarning, match="has another source than now"):
        skensemble.load(path, module=Bare)
    warnings.simplefilter("ignore")
    with pytest.raises(ValueError, match=r"Got module=.*Bare.*other tensors.*hidden.weight"):
        skensemble.load(path, module=Bare)


@pytest.mark.parametrize("trusted", [None, True, 3, [Mlp], ["a", None]])
def test_trusted_has_names(iris, tmp_path, trusted):
    path = tmp_path / "iris.model"
    SnapshotEnsembleClassifier(max_epochs=2, n_cycles=1).fit(*iris).save(path)
    with pytest.raises(ValueError, match=r"Got trusted=.*names of classes or functions"):
        skensemble.load(path, trusted=trusted)


def test_what_has_no_name_of_its_own_is_asked_for(iris, tmp_path):
    path = tmp_path / "own.model"
    SnapshotEnsembleClassifier(lambda: Mlp(4, 3), max_epochs=2, n_cycles=1).fit(*iris).save(path)
    with pytest.raises(ValueError, match="pass module= the one that it was made with") as raised:
        skensemble.load(path)
    assert "trusted=" not in str(raised.value)


def test_what_is_no_path_is_refused():
    with pytest.raises(TypeError, match="Got path=3, but expected the path of a file"):
        skensemble.load(3)
