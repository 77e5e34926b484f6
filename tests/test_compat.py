"""The private names of other packages that are leaned on."""

import importlib

import pytest
import torch
from sklearn.metrics import get_scorer
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from skensemble import _compat
from skensemble.callbacks import CycleLogger

INSTANCES = {
    "net": lambda: NeuralNetClassifier(nn.Linear, module__in_features=2, module__out_features=2),
    "module": lambda: nn.Linear(2, 2),
    "optimizer": lambda: torch.optim.SGD([torch.zeros(1)]),
    "scorer": lambda: get_scorer("accuracy"),
    "callbacks": lambda: with_a_callback(),
    "callbacks in a fit": lambda: begun(with_a_callback()),
}


def with_a_callback():
    return StandardScaler().set_callbacks(CycleLogger(print))


def begun(estimator):
    _compat.begin_fit_task(estimator, 1)
    return estimator


def owner_of(path):
    if path in INSTANCES:
        made = INSTANCES[path]()
        return made.initialize() if path == "net" else made
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("private", _compat.PRIVATE, ids=lambda p: f"{p.owner}.{p.name}")
def test_a_private_name_is_still_there(private):
    assert hasattr(owner_of(private.owner), private.name), (
        f"{private.owner} no longer has {private.name}, which served for: {private.reason}"
    )
    assert private.reason


def test_hooks_for_all_modules_and_optimizers_are_seen():
    layer, optimizer = nn.Linear(2, 2), torch.optim.SGD([torch.zeros(1)])
    assert not _compat.is_hooked(layer)
    assert _compat.unwrapped_step(optimizer) is not None
    handles = [
        nn.modules.module.register_module_forward_hook(lambda *_: None),
        register_optimizer_step_post_hook(lambda *_: None),
    ]
    try:
        assert _compat.is_hooked(layer)
        assert _compat.unwrapped_step(optimizer) is None
    finally:
        for handle in handles:
            handle.remove()
    assert not _compat.is_hooked(layer)
    assert _compat.unwrapped_step(optimizer) is not None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, at its import
def test_a_compiled_module_is_told_by_what_it_wraps():
    layer = nn.Linear(2, 2)
    assert _compat.uncompiled(layer) is layer
    assert not _compat.is_compiled(layer)
    compiled = torch.compile(layer)
    assert _compat.is_compiled(compiled)
    assert _compat.uncompiled(compiled) is layer
