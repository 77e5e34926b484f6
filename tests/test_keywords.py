"""Parameters by prefix."""

import copy
import inspect

import pytest
import torch
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter
from skorch import NeuralNet
from torch import nn

from skensemble import SnapshotEnsembleClassifier
from skensemble.keywords import (
    check_keywords,
    find_by_name,
    find_device,
    net_arguments,
    short,
    unexpected,
)


def test_keywords_are_parameters():
    model = SnapshotEnsembleClassifier(module__hidden=(8,), optimizer__weight_decay=0.1)
    assert model.get_params()["module__hidden"] == (8,)
    assert model.module__hidden == (8,)
    assert clone(model).get_params() == model.get_params()
    model.set_params(module__hidden=(4,), schedule__gamma=0.9, n_cycles=2)
    assert (model.module__hidden, model.schedule__gamma, model.n_cycles) == ((4,), 0.9, 2)
    assert "module__hidden=(4,)" in repr(model)
    assert "module__hidden" in model._repr_html_()
    with pytest.raises(
        ValueError, match=r"unexpected parameter n_cycle=3,.* Did you mean n_cycles"
    ):
        model.set_params(n_cycle=3)


def test_a_subclass_may_hand_on_keywords(iris):
    class Mine(SnapshotEnsembleClassifier):
        def __init__(self, alpha=1.0, **kwargs):
            super().__init__(**kwargs)
            self.alpha = alpha

    model = clone(Mine(alpha=2.0, n_cycles=2, max_epochs=2, module__hidden=(4,)))
    assert (model.alpha, model.n_cycles, model.module__hidden) == (2.0, 2, (4,))
    assert model.fit(*iris).n_cycles_ == 2


def test_keywords_of_any_name_are_kept(iris):
    """Names that end in an underscore are ordinary arguments of modules."""

    class Damped(nn.Linear):
        def __init__(self, n_inputs, n_outputs, lambda_=0.0):
            super().__init__(n_inputs, n_outputs)
            self.lambda_ = lambda_

    model = clone(SnapshotEnsembleClassifier(Damped, module__lambda_=7.0, max_epochs=2))
    assert model.get_params()["module__lambda_"] == 7.0
    assert model.fit(*iris).net_.module_.lambda_ == 7.0
    model.module__lambda_ = 3.0
    assert model.fit(*iris).net_.module_.lambda_ == 3.0
    for wrong in ("hidden_", "_hidden"):
        with pytest.raises(ValueError, match=f"unexpected parameter {wrong}"):
            SnapshotEnsembleClassifier(**{wrong: 3}).fit(*iris)
    model.note = "an attribute of the user's is none of ours"
    assert model.fit(*iris).note


def test_copies_of_an_estimator_share_no_keywords():
    model = SnapshotEnsembleClassifier(module__hidden=(8,))
    other = copy.copy(model)
    other.set_params(module__hidden=(4,), optimizer__eps=1.0)
    other.module__dropout = 0.5
    assert model.get_params() == SnapshotEnsembleClassifier(module__hidden=(8,)).get_params()
    assert other.module__dropout == 0.5
    with pytest.raises(AttributeError, match="no attribute 'optimizer__eps'"):
        _ = model.optimizer__eps


def test_the_nearest_name_is_told():
    known = {"lr", "n_cycles", "module__hidden", "module__dropout"}
    assert unexpected("n_cycle", known).endswith(" Did you mean n_cycles?")
    assert unexpected("module__hiden", known).endswith(" Did you mean module__hidden?")
    assert unexpected("hidden", known).endswith(" Did you mean module__hidden?")
    assert "Did you mean" not in unexpected("colour", known)
    assert unexpected("modul__hidden", known).endswith(" Did you mean module__hidden?")
    assert unexpected("hidden_layer_sizes", known).endswith(" Did you mean module__hidden?")
    # Not the built-in network's name where a module of one's own takes none like it.
    assert "Did you mean" not in unexpected("hidden_layer_sizes", {"lr", "module__width"})


def test_a_wrong_name_after_a_prefix_is_compared_with_what_may_follow_it():
    known = {"lr", "optimizer__betas", "optimizer__eps", "module__momentum_of"}
    said = unexpected("optimizer__momentun", known, 0.9)
    assert "parameter optimizer__momentun=0.9, " in said
    assert " optimizer__* takes betas, eps." in said
    assert "Did you mean" not in said
    assert unexpected("optimizer__beta", known).endswith(" Did you mean optimizer__betas?")


def test_an_argument_of_fit_that_it_does_not_take_is_named(iris):
    """Python's own error names neither the near argument nor where it has its place."""
    model = SnapshotEnsembleClassifier(max_epochs=2, n_cycles=1)
    for given, meant in [("eval_set", "X_val="), ("sample_weigth", "sample_weight")]:
        with pytest.raises(TypeError, match=f"Got {given}=3, .* Did you mean .*{meant}"):
            model.fit(*iris, **{given: 3})
    parameters = list(inspect.signature(model.fit).parameters)
    assert parameters[:4] == ["X", "y", "sample_weight", "groups"]
    assert has_fit_parameter(model, "sample_weight")


def test_attributes_that_are_not_there_say_what_is(iris):
    model = SnapshotEnsembleClassifier(max_epochs=2, n_cycles=1, n_chains=1, voting="hard")
    with pytest.raises(AttributeError, match="'n_iter_': call fit before"):
        _ = model.n_iter_
    model.fit(*iris)
    for name, remedy in [
        ("predict_proba", "voting='soft'"),
        ("validation_score_", "validation="),
        ("feature_importances_", "permutation_importance"),
        ("predct", "Did you mean 'predict'"),
        ("max_iter", "Did you mean max_epochs"),
        ("module__hidden", "not given"),
    ]:
        assert not hasattr(model, name)
        with pytest.raises(AttributeError, match=f"no attribute '{name}'.*{remedy}"):
            getattr(model, name)
    with pytest.raises(AttributeError, match=r"no attribute '_private'$"):
        _ = model._private


def test_losses_have_the_names_of_other_libraries_as_hints():
    for name, ours in [("mae", "l1"), ("log_loss", "crossentropy"), ("smothl1", "smoothl1")]:
        with pytest.raises(ValueError, match=f"Did you mean '{ours}'"):
            find_by_name("criterion", name, nn, nn.Module)


def test_long_values_are_cut_and_stand_on_one_line():
    assert short((128, 64)) == "(128, 64)"
    assert len(short(list(range(1000)))) == 80
    assert "\n" not in short(nn.Linear(2, 2)) + short(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))


def test_a_prefix_takes_the_names_it_is_said_to_take():
    takers = {"module": {"hidden"}, "optimizer": None}
    right = ("module__hidden", "optimizer__anything", "module__hidden__deep")
    check_keywords(dict.fromkeys(right, 1), [], takers)
    for wrong in ("module__width", "criterion__weight", "hidden"):
        with pytest.raises(ValueError, match=f"unexpected parameter {wrong}=1"):
            check_keywords({wrong: 1}, [], takers)

    class Own(NeuralNet):
        def __init__(self, *args, penalty=0.0, **kwargs):
            super().__init__(*args, **kwargs)

    assert net_arguments(Own) - net_arguments(NeuralNet) == {"penalty"}
    assert {"module", "lr", "predict_nonlinearity"} <= net_arguments(NeuralNet)


@pytest.mark.parametrize("asked", ["cpu", torch.device("cpu"), None])
def test_the_cpu_is_always_there(asked):
    assert find_device(asked) == torch.device("cpu")


@pytest.mark.parametrize(
    ("n_gpus", "has_mps", "found"), [(2, False, "cuda"), (0, True, "mps"), (0, False, "cpu")]
)
def test_auto_is_a_gpu_where_there_is_one(monkeypatch, n_gpus, has_mps, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: n_gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: n_gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_mps)
    assert find_device("auto") == torch.device(found)
    if n_gpus:
        assert find_device("cuda:1").index == 1


@pytest.mark.parametrize("asked", ["gpu", "cuda:9", "cuda", "mps", "banana"])
def test_a_device_that_is_not_there_is_refused(monkeypatch, asked):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: asked == "cuda:9")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match=rf"Got device='{asked}', but expected .* or 'auto'"):
        find_device(asked)
