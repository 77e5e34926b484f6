"""A user's module: its sizes, and how its parameters are reset."""

import numpy as np
import pytest
import torch
from conftest import Flat, Mlp, Normalised
from torch import nn

from skensemble import SnapshotEnsembleClassifier
from skensemble._nets.modules import (
    check_outputs,
    check_scores,
    data_arguments,
    evaluating,
    float_type,
    keyword_names,
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
