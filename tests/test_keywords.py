"""Parameters by prefix."""

import copy

import pytest
from sklearn.base import clone
from skorch import NeuralNet
from torch import nn

from skensemble import SnapshotEnsembleClassifier
from skensemble.keywords import check_keywords, net_arguments, unexpected


def test_keywords_are_parameters():
    model = SnapshotEnsembleClassifier(module__hidden=(8,), optimizer__weight_decay=0.1)
    assert model.get_params()["module__hidden"] == (8,)
    assert model.module__hidden == (8,)
    assert clone(model).get_params() == model.get_params()
    model.set_params(module__hidden=(4,), schedule__gamma=0.9, n_cycles=2)
    assert (model.module__hidden, model.schedule__gamma, model.n_cycles) == ((4,), 0.9, 2)
    assert "module__hidden=(4,)" in repr(model)
    assert "module__hidden" in model._repr_html_()
    with pytest.raises(ValueError, match=r"unexpected parameter n_cycle,.* Did you mean n_cycles"):
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


def test_a_prefix_takes_the_names_it_is_said_to_take():
    takers = {"module": {"hidden"}, "optimizer": None}
    check_keywords(["module__hidden", "optimizer__anything", "module__hidden__deep"], [], takers)
    for wrong in ("module__width", "criterion__weight", "hidden"):
        with pytest.raises(ValueError, match=f"unexpected parameter {wrong}"):
            check_keywords([wrong], [], takers)

    class Own(NeuralNet):
        def __init__(self, *args, penalty=0.0, **kwargs):
            super().__init__(*args, **kwargs)

    assert net_arguments(Own) - net_arguments(NeuralNet) == {"penalty"}
    assert {"module", "lr", "predict_nonlinearity"} <= net_arguments(NeuralNet)
