"""Every private name of torch, skorch and scikit-learn that this package leans on.

A new version may drop any of these names without notice. They stand here and nowhere else, each
with its reason in :data:`PRIVATE`; ``tests/test_compat.py`` fails with the name of one that is
gone, and ``tests/test_architecture.py`` where another file uses one.
"""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import torch
from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    InvalidParameterError,
    StrOptions,
    make_constraint,
)
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import _check_y as check_y
from skorch import NeuralNet
from torch import nn
from torch.nn.modules.dropout import _DropoutNd as Dropout
from torch.nn.modules.module import _global_forward_hooks, _global_forward_pre_hooks
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

__all__ = [
    "PRIVATE",
    "Dropout",
    "HasMethods",
    "Interval",
    "InvalidParameterError",
    "RawScores",
    "StrOptions",
    "check_device",
    "check_sample_weight",
    "check_y",
    "criterion_names",
    "initialize_module",
    "initialize_optimizer",
    "initializing",
    "is_compiled",
    "is_hooked",
    "make_constraint",
    "module_names",
    "named_callbacks",
    "optimizer_names",
    "own_callback_names",
    "safe_indexing",
    "set_training",
    "step_optimizer",
    "tensor_holders",
    "uncompiled",
    "unwrapped_step",
    "zero_gradients",
]


class Private(NamedTuple):
    """One private name of another package."""

    #: Import path of what has the name, or "net", "module", "optimizer" for an instance of one.
    owner: str
    name: str
    #: Why nothing public serves.
    reason: str


PRIVATE = (
    Private("sklearn.utils", "_safe_indexing", "rows of any container; nothing public does it"),
    *(
        Private("sklearn.utils._param_validation", name, "the rules that scikit-learn words itself")
        for name in (
            "HasMethods",
            "Interval",
            "InvalidParameterError",
            "StrOptions",
            "make_constraint",
        )
    ),
    Private("sklearn.utils.validation", "_check_y", "check_X_y cannot check y beside a dataset"),
    Private("sklearn.utils.validation", "_check_sample_weight", "the texts check_estimator wants"),
    Private("sklearn.base.BaseEstimator", "_get_param_names", "overridden: names behind **kwargs"),
    Private("net", "_modules", "names of the modules that skorch made"),
    Private("net", "_criteria", "names of the criteria that skorch made"),
    Private("net", "_optimizers", "names of the optimizers that skorch made"),
    Private("net", "_initialize_module", "a cold restart makes the module anew"),
    Private("net", "_initialize_optimizer", "a cold restart begins the optimizer anew"),
    Private("net", "_set_training", "the lean loop sets the mode once an epoch"),
    Private("net", "_step_optimizer", "an optimizer that takes a closure"),
    Private("net", "_zero_grad_optimizer", "an optimizer that takes a closure"),
    Private("net", "_check_device", "a pickle from a GPU on a machine without one"),
    Private("net", "_current_init_context", "else skorch takes a criterion for a stray attribute"),
    Private("net", "_uniquely_named_callbacks", "the names that callbacks__* may have"),
    Private("net", "_default_callbacks", "which callbacks are skorch's own"),
    Private("net", "_get_predict_nonlinearity", "overridden: our modules return raw scores"),
    Private("module", "_parameters", "a member's tensors take the places of the module's own"),
    Private("module", "_buffers", "the same for buffers"),
    Private("module", "_modules", "a quick look for the module that torch.compile wraps"),
    Private("module", "_forward_hooks", "a layer with hooks is called as it is"),
    Private("module", "_forward_pre_hooks", "a layer with hooks is called as it is"),
    *(
        Private("torch.nn.modules.module", name, "hooks for all modules are called as well")
        for name in ("_global_forward_hooks", "_global_forward_pre_hooks")
    ),
    Private("torch.nn.modules.dropout", "_DropoutNd", "the class of all dropout layers"),
    Private("optimizer", "_optimizer_step_pre_hooks", "an optimizer with hooks steps as it is"),
    Private("optimizer", "_optimizer_step_post_hooks", "an optimizer with hooks steps as it is"),
    *(
        Private("torch.optim.optimizer", name, "hooks for all optimizers are called as well")
        for name in ("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks")
    ),
)


# ------------------------------------------------------------------------------------- skorch


def module_names(net: NeuralNet) -> list[str]:
    """Return the names of a net's modules."""
    return list(net._modules)


def criterion_names(net: NeuralNet) -> list[str]:
    """Return the names of a net's criteria."""
    return list(net._criteria)


def optimizer_names(net: NeuralNet) -> list[str]:
    """Return the names of a net's optimizers."""
    return list(net._optimizers)


def initialize_module(net: NeuralNet) -> None:
    """Make the module anew."""
    net._initialize_module()


def initialize_optimizer(net: NeuralNet) -> None:
    """Make the optimizers anew."""
    net._initialize_optimizer()


def initializing(net: NeuralNet, kind: str) -> AbstractContextManager[None]:
    """Let attributes be set that skorch counts among its modules, criteria or optimizers."""
    return net._current_init_context(kind)


def set_training(net: NeuralNet, training: bool) -> None:
    """Set the mode of modules and criteria."""
    net._set_training(training)


def step_optimizer(net: NeuralNet, closure: Callable[[], torch.Tensor]) -> None:
    """Let each optimizer take a step by a closure."""
    net._step_optimizer(closure)


def zero_gradients(net: NeuralNet) -> None:
    """Clear the gradients of all optimizers."""
    net._zero_grad_optimizer()


def check_device(net: NeuralNet, asked: Any, mapped: Any) -> Any:
    """Return the device asked for, or the CPU with a warning where it is missing here."""
    return net._check_device(asked, mapped)


def named_callbacks(net: NeuralNet) -> list[tuple[str, Any]]:
    """Return the callbacks under the names that skorch gives them."""
    return list(net._uniquely_named_callbacks())


def own_callback_names(net: NeuralNet) -> set[str]:
    """Return the names of the callbacks that the net has by itself."""
    return {name for name, _ in net._default_callbacks}


class RawScores:
    """Mix into a skorch classifier whose module returns raw scores.

    ``NeuralNetClassifier`` takes the logarithm of what a module returns and averages an accuracy
    over batches; neither fits raw scores.
    """

    get_loss = NeuralNet.get_loss
    _default_callbacks = NeuralNet._default_callbacks

    def _get_predict_nonlinearity(self: Any) -> Any:
        """Return the softmax of raw scores, whatever the criterion."""
        if self.predict_nonlinearity == "auto":
            return functools.partial(torch.softmax, dim=-1)
        return NeuralNet._get_predict_nonlinearity(self)


# -------------------------------------------------------------------------------------- torch


def tensor_holders(part: nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the dicts in which a module keeps its own parameters and buffers."""
    return part._parameters, part._buffers


def uncompiled(module: nn.Module) -> nn.Module:
    """Return the module that ``torch.compile`` wraps, or the module itself."""
    inner = module._modules.get("_orig_mod")  # a failing attribute lookup of nn.Module is slow
    return module if inner is None else inner


def is_compiled(module: nn.Module) -> bool:
    """Tell whether ``torch.compile`` made the module."""
    return uncompiled(module) is not module


def is_hooked(module: nn.Module) -> bool:
    """Tell whether hooks run around the forward pass, its own or those of all modules."""
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or _global_forward_hooks
        or _global_forward_pre_hooks
    )


def unwrapped_step(optimizer: torch.optim.Optimizer) -> Callable[..., Any] | None:
    """Return the step of an optimizer's class without torch's profiler around it.

    None where hooks are set, for this optimizer or for all: they are called by what is around it.
    """
    if (
        getattr(optimizer, "_optimizer_step_pre_hooks", True)
        or getattr(optimizer, "_optimizer_step_post_hooks", True)
        or _global_optimizer_pre_hooks
        or _global_optimizer_post_hooks
    ):
        return None
    step: Any = type(optimizer).step
    while hasattr(step, "__wrapped__"):
        step = step.__wrapped__
    return step
