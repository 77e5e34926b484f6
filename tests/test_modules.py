"""A user's module: its sizes, and how its parameters are reset."""

import copy
import threading

import numpy as np
import pytest
import torch
from conftest import Flat, Mlp, Normalised
from torch import nn

from skensemble import SnapshotEnsembleClassifier
from skensemble._nets.modules import (
    check_can_reset,
    check_outputs,
    check_scores,
    copy_of,
    data_arguments,
    evaluating,
    float_type,
    keyword_names,
    word_missing,
)


def test_cold_restarts_of_an_instance_reset_its_parameters(digits):
    X, y = digits
    module = Mlp(64, 10)
    before = [p.clone() for p in module.parameters()]
    model = SnapshotEnsembleClassifier(
        module, n_cycles=2, max_epochs=2, restart="cold", random_state=0
    ).fit(X, y)
    one, two = (s["hidden.weight"] for s in model.snapshots_)
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.5
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))

    module.extra = nn.Module()
    module.extra.weight = nn.Parameter(torch.ones(1))
    with pytest.raises(ValueError, match=r"part 'extra' has parameters but no reset_parameters"):
        model.fit(X, y)


def test_lazy_layers_factories_and_sizes_of_ones_own(iris):
    X, y = iris
    modules = [
        nn.Sequential(nn.LazyLinear(8), nn.BatchNorm1d(8), nn.ReLU(), nn.LazyLinear(3)),
        lambda: nn.Linear(4, 3),
        lambda n_inputs, n_outputs: nn.Linear(n_inputs, n_outputs),
    ]
    for module in modules:
        model = SnapshotEnsembleClassifier(module, max_epochs=30, lr=0.05, random_state=0)
        assert model.fit(X, y).score(X, y) > 0.8
    model = SnapshotEnsembleClassifier(Mlp, module__n_outputs=4, max_epochs=1)
    with pytest.raises(ValueError, match=r"one raw score for each of 3 classes"):
        model.fit(X, y)


def test_a_constructor_is_given_the_sizes_that_it_names():
    sizes = {"n_inputs": 4, "n_outputs": 3, "columns": None}
    assert data_arguments(Mlp, set(), sizes) == {"n_inputs": 4, "n_outputs": 3}
    assert data_arguments(Mlp, {"n_outputs"}, sizes) == {"n_inputs": 4}
    assert data_arguments(Flat, set(), sizes) == {"n_inputs": 4}
    assert data_arguments(lambda **kwargs: None, set(), sizes) == {}
    module = Mlp(9, 9)
    assert data_arguments(module, set(), sizes) == {}
    assert data_arguments(module, {"n_hidden"}, sizes) == {"n_inputs": 4, "n_outputs": 3}
    assert keyword_names(lambda a, *rest, b=0: None) == {"a", "b"}


def test_every_part_is_put_back_in_its_own_mode():
    module = Normalised(4, 3)
    module.norm.eval()
    with evaluating(module):
        assert not any(part.training for part in module.modules())
    assert [part.training for part in module.modules()] == [True, True, False, True]


def test_floats_are_those_of_the_first_parameters_that_are():
    assert float_type(nn.Linear(2, 2).to(torch.bfloat16)) == torch.bfloat16
    assert float_type(nn.Sequential(nn.LazyLinear(2), nn.Linear(2, 2).double())) == torch.float64
    assert float_type(Mlp) == float_type(nn.ReLU()) == torch.get_default_dtype()


def test_scores_that_are_positive_or_sum_to_one_are_no_probabilities():
    check_scores(torch.rand(8, 3) + 1, "m", 8, 3)
    check_scores(torch.tensor([[2.0, -1.0, 0.0]] * 8), "m", 8, 3)
    with pytest.raises(ValueError, match="returns probabilities"):
        check_scores(torch.softmax(torch.randn(8, 3), dim=1), "m", 8, 3)
    check_outputs(torch.zeros(8), "m", 8, 1)
    with pytest.raises(ValueError, match=r"returns shape \(8, 1\)"):
        check_outputs(torch.zeros(8, 1), "m", 8, 2)


class Derived(nn.Module):
    """Holds what deepcopy refuses: a computed tensor, and a lock."""

    def __init__(self):
        super().__init__()
        self.layer = nn.utils.weight_norm(nn.Linear(3, 2))
        self.parts = [self.layer, {"lock": threading.Lock()}]

    def forward(self, X):
        return self.layer(X)


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
def test_a_copy_shares_no_tensor_and_needs_no_deepcopy():
    module, X = Derived(), torch.randn(4, 3)
    with pytest.raises((RuntimeError, TypeError)):
        copy.deepcopy(module)
    made = copy_of(module)
    assert torch.equal(made(X), module(X))
    assert made.parts[0] is made.layer
    assert made.parts[1]["lock"] is module.parts[1]["lock"]
    with torch.no_grad():
        module.layer.weight_g.zero_()
    assert not torch.equal(made(X), module(X))
    other = nn.Parameter(torch.zeros(2, 1))
    replaced = copy_of(module, {id(module.layer.weight_g): other})
    assert replaced.layer.weight_g is other


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("wrap", [nn.utils.weight_norm, nn.utils.spectral_norm])
def test_a_weight_that_others_make_is_not_taken_for_reset(wrap):
    """Reset_parameters of the layer draws the computed weight, which the next pass overwrites."""
    with pytest.raises(ValueError, match="part '0' computes its weight from others"):
        check_can_reset(nn.Sequential(wrap(nn.Linear(3, 2))))


def test_what_a_constructor_requires_is_named_with_the_remedy(iris):
    with pytest.raises(ValueError, match="Got module=Linear") as told:
        SnapshotEnsembleClassifier(nn.Linear).fit(*iris)
    assert str(told.value) == (
        "Got module=Linear, whose constructor requires in_features and out_features, but expected "
        "a value for each: rename in_features to n_inputs and out_features to n_outputs, which "
        "the data decide, or pass module__in_features= and module__out_features=."
    )
    model = SnapshotEnsembleClassifier(
        nn.Linear, module__in_features=4, module__out_features=3, max_epochs=2, n_cycles=2
    )
    assert model.fit(*iris).n_cycles_ == 2

    def grown(n_inputs, num_classes, width, depth=1):
        return nn.Linear(n_inputs, num_classes)

    said = word_missing(grown, {"n_inputs"})
    assert "requires num_classes and width, but" in said
    assert "rename num_classes to n_outputs, which" in said
    assert "rename" not in word_missing(grown, {"n_inputs", "num_classes"})
    assert word_missing(grown, {"n_inputs", "num_classes", "width"}) is None
    assert word_missing(nn.ReLU, set()) is None
