"""Which modules serve all chains at once."""

import copy
import threading

import numpy as np
import pytest
import torch
from conftest import Mlp, Recurrent, is_one
from torch import nn

from skensemble import SnapshotEnsembleClassifier
from skensemble._nets.batchable import BY_ELEMENTS, can_train_as_one
from skensemble._nets.chains import Chains
from skensemble._nets.generators import chain_seed


def test_what_torch_func_cannot_take_is_found_out():
    X = torch.zeros(4, 64)
    assert can_train_as_one([Mlp(64, 3), Mlp(64, 3)], X)
    assert not can_train_as_one([Recurrent(3), Recurrent(3)], X)

    class Branching(Mlp):
        def forward(self, X):
            return super().forward(X if X.sum() > 1 else -X)

    assert not can_train_as_one([Branching(64, 3), Branching(64, 3)], X)


class Padded(nn.Module):
    """vmap heeds the padding row of the first chain alone."""

    def __init__(self, n_outputs):
        super().__init__()
        self.layer = nn.Embedding(17, 4, padding_idx=0)
        self.output = nn.Linear(64 * 4, n_outputs)

    def forward(self, X):
        return self.output(self.layer(X).flatten(1))


class Averaging(Mlp):
    """A buffer that is replaced, not written to."""

    def __init__(self, n_inputs, n_outputs):
        super().__init__(n_inputs, n_outputs, dropout=0.0)
        self.register_buffer("mean", torch.zeros(n_inputs))

    def forward(self, X):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * X.detach().mean(dim=0)
        return super().forward(X - self.mean)


class Remembering(Mlp):
    def forward(self, X):
        self.last = torch.relu(self.hidden(X))
        return self.output(self.last)


@pytest.mark.parametrize("module", [Padded, Averaging, Remembering])
def test_what_torch_func_takes_for_something_else_goes_one_by_one(digits, module):
    X, y = digits
    X = X.astype(int) if module is Padded else X / 16
    parameters = {"n_cycles": 1, "max_epochs": 2, "lr": 0.01, "optimizer": torch.optim.SGD}
    parameters |= {"optimizer__momentum": 0.9, "validation": None, "random_state": 5}
    model = SnapshotEnsembleClassifier(module, n_chains=2, **parameters).fit(X, y)
    assert not is_one(model)
    single = SnapshotEnsembleClassifier(module, **{**parameters, "random_state": chain_seed(5, 1)})
    for name, value in single.fit(X, y).snapshots_[0].items():
        torch.testing.assert_close(model.snapshots_[1][name], value)


@pytest.mark.parametrize("kind", BY_ELEMENTS)
def test_a_step_on_stacked_parameters_is_a_step_on_each(kind):
    modules = [Mlp(4, 3, dropout=0.0).double() for _ in range(3)]
    chains = Chains([copy.deepcopy(module) for module in modules])
    together = kind(chains.parameters(), lr=0.01)
    alone = [kind(module.parameters(), lr=0.01) for module in modules]
    for _ in range(3):
        for name, stack in chains.named_parameters():
            stack.grad = torch.randn_like(stack)
            for k, module in enumerate(modules):
                module.get_parameter(name).grad = stack.grad[k].clone()
        for optimizer in (together, *alone):
            optimizer.step()
    for name, stack in chains.named_parameters():
        for k, module in enumerate(modules):
            torch.testing.assert_close(stack[k], module.get_parameter(name), rtol=1e-12, atol=0)


class Pair(Mlp):
    """Returns its hidden units too."""

    def forward(self, X):
        h = self.dropout(torch.relu(self.hidden(X)))
        return self.output(h), h


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_module_of_several_outputs_trains_in_chains_as_one(digits, dropout):
    X, y = digits[0] / 16, digits[1]
    parameters = {"n_cycles": 1, "max_epochs": 2, "lr": 0.01, "optimizer": torch.optim.SGD}
    parameters |= {"module__dropout": dropout, "n_chains": 2, "random_state": 5}
    pair, one = (SnapshotEnsembleClassifier(kind, **parameters).fit(X, y) for kind in (Pair, Mlp))
    assert is_one(pair)
    np.testing.assert_array_equal(pair.predict_proba(X), one.predict_proba(X))


def test_a_module_that_cannot_be_copied_trains_chain_by_chain(digits):
    class Locked(Mlp):
        def __init__(self, n_inputs, n_outputs):
            super().__init__(n_inputs, n_outputs, dropout=0.0)
            self.lock = threading.Lock()

    X, y = digits[0] / 16, digits[1]
    parameters = {"n_chains": 2, "n_cycles": 2, "max_epochs": 2, "random_state": 0}
    locked = SnapshotEnsembleClassifier(Locked, **parameters).fit(X, y)
    plain = SnapshotEnsembleClassifier(Mlp, module__dropout=0.0, **parameters).fit(X, y)
    assert not is_one(locked)
    np.testing.assert_allclose(locked.predict_proba(X), plain.predict_proba(X), atol=1e-4)
    assert locked.partial_fit(X, y).n_cycles_ == 3
    assert locked.set_params(restart="cold").fit(X, y).n_cycles_ == 2
