"""Files of fitted estimators: what was saved comes back to the bit."""

import copy
import os
import pickle
import warnings

import joblib
import numpy as np
import pytest
import torch
from file_models import MODELS, fitted, numbers
from sklearn.base import clone, is_classifier

import skensemble
from skensemble import SnapshotEnsembleClassifier
from skensemble.model_selection import cycle_curve


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.nn.utils.weight_norm`")
        warnings.filterwarnings("ignore", ".*parametrizations.weight_norm")
        yield


def reload(model, tmp_path, load, **options):
    model.save(tmp_path / "model", **options)
    return skensemble.load(tmp_path / "model", **load)


def same(one, other):
    """Whether two values are equal, to the bit where they are numbers."""
    if isinstance(one, np.ndarray):
        is_same = one.dtype == other.dtype and one.shape == other.shape
        return is_same and (one.tobytes() == other.tobytes() or (one == other).all())
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("name", MODELS)
def test_a_loaded_model_is_the_one_that_was_saved(name, tmp_path):
    model, X, load = fitted(name)
    loaded = reload(model, tmp_path, load, include="unseen")
    assert type(loaded) is type(model)
    names = {n for n in vars(model) if n.endswith("_") and n[0] != "_"} - {"net_"}
    assert names == {n for n in vars(loaded) if n.endswith("_") and n[0] != "_"} - {"net_"}
    assert all(same(getattr(model, n), getattr(loaded, n)) for n in names)
    for method in ("predict", "predict_members", "predict_proba", "predict_log_proba"):
        if hasattr(model, method):
            assert same(getattr(model, method)(X), getattr(loaded, method)(X))
    for method in ("staged_predict", "staged_predict_proba"):
        if hasattr(model, method):
            pairs = zip(getattr(model, method)(X), getattr(loaded, method)(X), strict=True)
            assert all(same(a, b) for a, b in pairs)
    assert list(model.history_) == list(loaded.history_)
    for one, other in zip(model.snapshots_, loaded.snapshots_, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[k], other[k]) and one[k].dtype == other[k].dtype for k in one)
    state, again = model.net_.module_.state_dict(), loaded.net_.module_.state_dict()
    assert all(torch.equal(state[k], again[k]) for k in state)
    if model._fitted_.intake.encoder is not None:
        assert model.columns_ == loaded.columns_
    assert model._fitted_.resume.made_of.keys() == loaded._fitted_.resume.made_of.keys()
    one, again = model.get_params(deep=False), loaded.get_params(deep=False)
    assert {key: type(value) for key, value in one.items()} == {
        key: type(value) for key, value in again.items()
    }
    # What is written does not hang on what was read.
    loaded.save(tmp_path / "again", include="unseen")
    if set(load) != {"module"}:
        assert (tmp_path / "again").stat().st_size == (tmp_path / "model").stat().st_size
    clone(loaded)


def test_the_curve_over_cycles_is_the_same(tmp_path):
    model, X, load = fitted("table_default")
    loaded = reload(model, tmp_path, load)
    y = numbers()[1]
    one, other = cycle_curve(model, X, y), cycle_curve(loaded, X, y)
    assert all(same(a, b) for a, b in zip(one[:2], other[:2], strict=True))


GO_ON = [
    "table_default", "table_small", "regressor", "module_own", "module_chains", "module_recurrent",
    "net_own", "cold", "weights", "optimizer", "callbacks", "module_instance", "held_out",
    "partial",
    "module_half",
]  # fmt: skip


@pytest.mark.parametrize("name", GO_ON)
def test_training_goes_on_as_if_nothing_had_been(name, tmp_path):
    model, X, load = fitted(name)
    y = numbers(len(X), 4)[1] if is_classifier(model) else np.arange(len(X), dtype=float)
    if is_classifier(model):
        y = model.classes_[y % len(model.classes_)]
    loaded = reload(model, tmp_path, load, include=("training",))
    one = copy.deepcopy(model).partial_fit(X, y)
    other = loaded.partial_fit(X, y)
    assert same(one.predict_members(X), other.predict_members(X))
    assert same(one.predict(X), other.predict(X))


@pytest.mark.parametrize("name", ["table_default", "module_recurrent"])
def test_warm_starts_go_on(name, tmp_path):
    model, X, load = fitted(name)
    y = numbers(len(X))[1] % len(model.classes_)
    loaded = reload(model, tmp_path, load, include="training").set_params(warm_start=True)
    one = copy.deepcopy(model).set_params(warm_start=True).fit(X, y)
    assert same(one.predict_members(X), loaded.fit(X, y).predict_members(X))


def test_without_its_training_a_model_predicts_and_goes_on_no_further(tmp_path):
    model, X, load = fitted("table_default")
    loaded, y = reload(model, tmp_path, load), numbers()[1]
    for go_on in (loaded.partial_fit, clone(loaded).fit):
        if go_on.__name__ == "fit":
            continue
        with pytest.raises(ValueError, match=r'include=\("training",\)'):
            go_on(X, y)
    with pytest.raises(ValueError, match=r'include=\("training",\)'):
        loaded.set_params(warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="loaded without"):
        loaded.save(tmp_path / "model", include="training")
    # Weights are chosen anew without training, and a fit begins anew.
    loaded.refit_members(X, y)
    loaded.set_params(warm_start=False).fit(X, y)


def test_unseen_predictions_are_kept_on_request(tmp_path):
    model, _, load = fitted("table_default")
    assert not hasattr(reload(model, tmp_path, load), "oof_decision_function_")
    loaded = reload(model, tmp_path, load, include=["unseen"])
    assert same(loaded.oof_decision_function_, model.oof_decision_function_)


@pytest.mark.parametrize("through", ["pickle", "deepcopy", "joblib"])
@pytest.mark.parametrize("name", ["table_default", "module_chains"])
def test_loaded_models_are_copied_and_pickled(through, name, tmp_path):
    model, X, load = fitted(name)
    loaded = reload(model, tmp_path, load)
    if through == "pickle":
        other = pickle.loads(pickle.dumps(loaded))
    elif through == "deepcopy":
        other = copy.deepcopy(loaded)
    else:
        joblib.dump(loaded, tmp_path / "pickled")
        other = joblib.load(tmp_path / "pickled")
    os.remove(tmp_path / "model")
    assert same(other.predict_members(X), model.predict_members(X))
    assert joblib.hash(clone(loaded)) == joblib.hash(clone(other))


def test_parameters_that_changed_after_the_fit(tmp_path):
    model, X, _ = fitted("table_default")
    model = copy.copy(model).set_params(module__hidden=(3,), n_cycles=7, lr=0.5)
    loaded = reload(model, tmp_path, {})
    assert loaded.get_params()["module__hidden"] == (3,)
    assert loaded.n_cycles == 7
    assert same(loaded.predict_proba(X), model.predict_proba(X))


def test_generators_are_as_before(tmp_path):
    model, X, load = fitted("module_own")
    model.save(tmp_path / "model")
    torch.manual_seed(3)
    np.random.seed(3)
    skensemble.load(tmp_path / "model", **load).predict(X)
    found = torch.rand(2).tolist(), np.random.rand()
    torch.manual_seed(3)
    np.random.seed(3)
    assert found == (torch.rand(2).tolist(), np.random.rand())


def test_before_fit_there_is_nothing_to_save(tmp_path):
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        SnapshotEnsembleClassifier().save(tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_what_to_include_is_checked(tmp_path):
    for include in ("all", ["unseen", "all"], None, 3, [["unseen"]]):
        with pytest.raises(ValueError, match=r"Got include=.*, but expected some of"):
            fitted("table_default")[0].save(tmp_path / "model", include=include)
