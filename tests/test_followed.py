"""How a training can be followed."""

import pickle
import subprocess
import sys

import joblib
import pytest
from conftest import QUICK
from sklearn.base import clone
from skorch.callbacks import EpochScoring
from skorch.history import History

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._compat import sklearn_callback
from skensemble.callbacks import CycleLogger

is_new = pytest.mark.skipif(sklearn_callback is None, reason="scikit-learn >= 1.9")


def log(metrics, step):
    """Log to nowhere, by a function that can be pickled."""


@is_new
@pytest.mark.parametrize("kind", [SnapshotEnsembleClassifier, SnapshotEnsembleRegressor])
def test_callbacks_are_set_replaced_and_kept_by_clones(kind):
    one, other = CycleLogger(log), CycleLogger(log)
    model = kind()
    assert model.set_callbacks(one, other) is model
    assert clone(model)._skl_callbacks == [one, other]
    assert "callbacks" not in {k for k, v in model.get_params().items() if v is not None}
    model.set_callbacks(other)
    assert model._skl_callbacks == [other]
    assert vars(model.set_callbacks()) == vars(kind())


@is_new
def test_an_estimator_with_callbacks_is_pickled_and_saved(iris, tmp_path):
    from skensemble import load

    model = SnapshotEnsembleClassifier(**QUICK).set_callbacks(CycleLogger(log)).fit(*iris)
    loaded = pickle.loads(pickle.dumps(model))
    assert loaded._skl_callbacks[0].log is log
    model.save(tmp_path / "model")
    assert not hasattr(load(tmp_path / "model"), "_skl_callbacks")
    before = joblib.hash(clone(model).set_callbacks())
    model.fit(*iris)
    assert joblib.hash(clone(model).set_callbacks()) == before


@is_new
@pytest.mark.parametrize(
    ("wrong", "shown"),
    [(3, "3"), (CycleLogger, "CycleLogger"), (EpochScoring("accuracy"), "Epoch")],
)
def test_what_is_no_callback_of_scikit_learns_is_refused(wrong, shown):
    model = SnapshotEnsembleClassifier()
    with pytest.raises(TypeError, match=rf"Got set_callbacks\(.*{shown}.*parameter callbacks="):
        model.set_callbacks(CycleLogger(log), wrong)
    assert not hasattr(model, "_skl_callbacks")


@is_new
def test_a_callback_of_scikit_learns_is_no_parameter(iris):
    model = SnapshotEnsembleClassifier(callbacks=[CycleLogger(log)], **QUICK)
    with pytest.raises(ValueError, match=r"Got callbacks with .*callbacks of skorch"):
        model.fit(*iris)


def test_the_history_is_skorchs_and_prints_as_a_table(iris):
    model = SnapshotEnsembleClassifier(**QUICK)
    with pytest.raises(AttributeError, match="call fit before"):
        _ = model.history_
    model.fit(*iris)
    assert isinstance(model.history_, History)
    assert model.history_ == model.net_.history_
    assert repr(model.history_).split()[:2] == ["epoch", "cycle"]


def test_without_scikit_learns_callbacks_all_else_works():
    """As with scikit-learn before 1.9."""
    script = """
import sys
import sklearn.base, sklearn.pipeline, sklearn.model_selection, sklearn.metrics, skorch
import sklearn.linear_model, sklearn.preprocessing, sklearn.compose
sys.modules["sklearn.callback"] = None
from sklearn.datasets import load_iris
import skensemble
from skensemble.callbacks import CycleLogger
model = skensemble.SnapshotEnsembleClassifier(max_epochs=4, n_cycles=2, verbose=1, random_state=0)
model.fit(*load_iris(return_X_y=True))
print(hasattr(model, "set_callbacks"))
for call in (lambda: model.set_callbacks(), lambda: CycleLogger(print)):
    try:
        call()
    except Exception as error:
        print(type(error).__name__, error)
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    lines = out.stdout.splitlines()
    assert lines[0].startswith("cycle 1/2")
    assert lines[3] == "False"
    said = "but expected 1.9 or newer, which calls callbacks"
    assert lines[4].startswith("AttributeError")
    assert lines[5].startswith("ImportError")
    assert all(said in line for line in lines[4:])
