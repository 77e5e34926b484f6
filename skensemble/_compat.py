"""Every private name of torch, skorch and scikit-learn that this package leans on.

A new version may drop any of these names without notice. They stand here and nowhere else, each
with its reason in :data:`PRIVATE`; ``tests/test_compat.py`` fails with the name of one that is
gone, and ``tests/test_architecture.py`` where another file uses one.
"""

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import sklearn.utils
import torch
from sklearn.utils import _param_validation, validation
from skorch import NeuralNet
from skorch.callbacks import Callback
from torch import nn
from torch.nn.modules import batchnorm, dropout
from torch.nn.modules.module import _global_forward_hooks, _global_forward_pre_hooks
from torch.nn.utils.parametrize import _inject_new_class, _inject_property
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

BatchNorm = batchnorm._BatchNorm
Dropout = dropout._DropoutNd
HasMethods = _param_validation.HasMethods
Interval = _param_validation.Interval
InvalidParameterError = _param_validation.InvalidParameterError
StrOptions = _param_validation.StrOptions
check_sample_weight = validation._check_sample_weight
check_y = validation._check_y
make_constraint = _param_validation.make_constraint
safe_indexing = sklearn.utils._safe_indexing

try:
    sklearn_callback: Any = importlib.import_module("sklearn.callback")
except ImportError:  # scikit-learn < 1.9 calls none
    sklearn_callback = None


class _NoCallbackSupport:
    """Stand for the class by which scikit-learn gives an estimator callbacks, where it has none."""


CallbackSupport: Any = getattr(sklearn_callback, "CallbackSupportMixin", _NoCallbackSupport)


class Private(NamedTuple):
    """One private name of another package."""

    #: Import path of what has the name, or "net", "module", "optimizer", "scorer", "callbacks" (an
    #: estimator with some) for an instance.
    owner: str
    name: str
    #: Why nothing public serves.
    reason: str


_RULES = "the rules that scikit-learn words itself"
_HOOKED = "a layer or an optimizer with hooks, its own or those of all, is called as it is"

_REASONS = {
    "sklearn.utils": {"_safe_indexing": "rows of any container; nothing public does it"},
    "sklearn.utils._param_validation": dict.fromkeys(
        ("HasMethods", "Interval", "InvalidParameterError", "StrOptions", "make_constraint"), _RULES
    ),
    "sklearn.utils.validation": {
        "_check_y": "check_X_y cannot check y beside a dataset",
        "_check_sample_weight": "the texts check_estimator wants",
    },
    "scorer": {"_score_func": "whether a metric takes weights; older scorers do not tell"},
    "sklearn.base.BaseEstimator": {"_get_param_names": "overridden: names behind **kwargs"},
    "net": {
        "_modules": "names of the modules that skorch made",
        "_criteria": "names of the criteria that skorch made",
        "_optimizers": "names of the optimizers that skorch made",
        "_initialize_module": "a cold restart makes the module anew",
        "_initialize_optimizer": "a cold restart begins the optimizer anew",
        "_set_training": "the lean loop sets the mode once an epoch",
        "_step_optimizer": "an optimizer that takes a closure",
        "_zero_grad_optimizer": "an optimizer that takes a closure",
        "_check_device": "a pickle from a GPU on a machine without one",
        "_current_init_context": "else skorch takes a criterion for a stray attribute",
        "_uniquely_named_callbacks": "the names that callbacks__* may have",
        "_default_callbacks": "which callbacks are skorch's own",
        "_get_predict_nonlinearity": "overridden: our modules return raw scores",
    },
    "module": {
        "_parameters": "a member's tensors take the places of the module's own",
        "_buffers": "a member's buffers take the places of the module's own",
        "_modules": "a quick look for the module that torch.compile wraps",
        "_forward_hooks": _HOOKED,
        "_forward_pre_hooks": _HOOKED,
        "_load_state_dict_pre_hooks": "parametrized weight_norm has one that no pickle can hold",
    },
    "torch.nn.modules.module": dict.fromkeys(
        ("_global_forward_hooks", "_global_forward_pre_hooks"), _HOOKED
    ),
    "torch.nn.utils.parametrize": dict.fromkeys(
        ("_inject_new_class", "_inject_property"),
        "the class that torch makes for a parametrized module, after unpickling",
    ),
    "torch.nn.modules.dropout": {"_DropoutNd": "the class of all dropout layers"},
    "torch.nn.modules.batchnorm": {"_BatchNorm": "the class whose statistics update_bn renews"},
    "torch": dict.fromkeys(
        ("_fused_adam_", "_fused_adamw_", "_foreach_add_"),
        "the kernels of a step of Adam, without what torch looks up anew in each",
    ),
    "optimizer": dict.fromkeys(
        ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"), _HOOKED
    ),
    "torch.optim.optimizer": dict.fromkeys(
        ("_global_optimizer_pre_hooks", "_global_optimizer_post_hooks"), _HOOKED
    ),
}

if sklearn_callback is not None:
    _REASONS["sklearn.callback.CallbackSupportMixin"] = {
        "_init_callback_context": "documented, in spite of its underscore: it begins the tasks"
    }
    _REASONS["callbacks"] = {"_skl_callbacks": "without callbacks a fit makes no tasks"}
    _REASONS["callbacks in a fit"] = dict.fromkeys(
        ("_callback_fit_ctx", "_skl_callbacks_to_teardown"), "a copy for callbacks is in no fit"
    )

PRIVATE = [
    Private(owner, name, reason)
    for owner, reasons in _REASONS.items()
    for name, reason in reasons.items()
]


# Names and parts of a skorch net. Skorch keeps a part called "module" as the attribute "module_".


def module_names(net: NeuralNet) -> list[str]:
    """Return the names of a net's modules."""
    return list(net._modules)


def modules_of(net: NeuralNet) -> list[nn.Module]:
    """Return a net's modules and criteria."""
    return [getattr(net, name + "_") for name in (*net._modules, *net._criteria)]


def optimizers_of(net: NeuralNet) -> dict[str, torch.optim.Optimizer]:
    """Return a net's optimizers by name."""
    return {name: getattr(net, name + "_") for name in net._optimizers}


def remake_module(net: NeuralNet) -> None:
    """Make the module anew."""
    net._initialize_module()


def remake_optimizer(net: NeuralNet) -> None:
    """Make the optimizers anew, at the rates of those before.

    A later call may have others than the net was made with.
    """
    before = [group.get("initial_lr") for group in _groups_of(net)]
    net._initialize_optimizer()
    for group, rate in zip(_groups_of(net), before, strict=False):
        if rate is not None:
            group["initial_lr"] = rate


def _groups_of(net: NeuralNet) -> list[dict[str, Any]]:
    return [group for optimizer in optimizers_of(net).values() for group in optimizer.param_groups]


def initializing(net: NeuralNet, kind: str) -> AbstractContextManager[None]:
    """Let attributes be set that skorch counts among its modules, criteria or optimizers."""
    return net._current_init_context(kind)


def set_training(net: NeuralNet, training: bool) -> None:
    """Set the mode of modules and criteria."""
    net._set_training(training)


def step_optimizer(net: NeuralNet, closure: Callable[[], torch.Tensor]) -> None:
    """Let each optimizer take a step by a closure, called with gradients cleared."""

    def cleared() -> torch.Tensor:
        net._zero_grad_optimizer()
        return closure()

    net._step_optimizer(cleared)


def check_device(net: NeuralNet, asked: object, mapped: object) -> str | torch.device | None:
    """Return the device asked for, or the CPU with a warning where it is missing here."""
    return net._check_device(asked, mapped)


def named_callbacks(net: NeuralNet) -> list[tuple[str, Callback]]:
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

    _default_callbacks = NeuralNet._default_callbacks

    #: From raw scores to probabilities, whatever the criterion.
    head: Callable[[torch.Tensor], torch.Tensor] = functools.partial(torch.softmax, dim=-1)

    def _get_predict_nonlinearity(self: NeuralNet) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return the head, unless the user asks for something else."""
        if self.predict_nonlinearity == "auto":
            return type(self).head
        return NeuralNet._get_predict_nonlinearity(self)


def tensor_holders(part: nn.Module) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the dicts in which a module keeps its own parameters and buffers."""
    return part._parameters, part._buffers


def parametrize(module: nn.Module, names: Iterable[str]) -> None:
    """Give a module the class that torch makes where tensors of these names are parametrized."""
    _inject_new_class(module)
    for name in names:
        _inject_property(module, name)


def without_local_hooks(state: dict[str, Any]) -> dict[str, Any]:
    """Return a module's state without the hooks that torch defines within a function.

    They cannot be pickled. They serve to load the parameters of older versions.
    """
    hooks = state["_load_state_dict_pre_hooks"]
    kept = type(hooks)()
    for key, hook in hooks.items():
        function = getattr(hook, "hook", hook)
        name = f"{function.__module__}.{getattr(function, '__qualname__', '')}"
        if not (name.startswith("torch.") and "<locals>" in name):
            kept[key] = hook
    return {**state, "_load_state_dict_pre_hooks": kept}


def is_reparametrized(part: nn.Module) -> bool:
    """Tell whether a hook before the forward pass computes one of the module's tensors.

    So do ``torch.nn.utils.weight_norm``, ``spectral_norm`` and ``prune``.
    """
    return bool(_reparametrizing(part))


def _reparametrizing(part: nn.Module) -> list[Callable[..., object]]:
    return [
        hook
        for hook in part._forward_pre_hooks.values()
        if any(
            isinstance(vars(part).get(str(getattr(hook, attribute, None))), torch.Tensor)
            for attribute in ("name", "_tensor_name")
        )
    ]


def recompute(module: nn.Module) -> None:
    """Compute the tensors of :func:`is_reparametrized` parts from the parameters of now.

    Their hooks do so before the next forward pass; until then the tensors are of older parameters.
    """
    with torch.no_grad():
        for part in module.modules():
            for hook in _reparametrizing(part):
                hook(part, ())


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


def unwrapped_step(optimizer: torch.optim.Optimizer) -> Callable[..., object] | None:
    """Return the step of an optimizer's class without torch's profiler around it.

    None where hooks are set, for this optimizer or for all: the profiler's wrapper calls them.
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


def fused_adam(optimizer: torch.optim.Optimizer) -> Callable[..., None] | None:
    """Return the kernel of a step of Adam or AdamW, and None for a step of another kind."""
    if type(optimizer) not in (torch.optim.Adam, torch.optim.AdamW):
        return None
    is_decoupled = type(optimizer) is torch.optim.AdamW
    for group in optimizer.param_groups:
        is_plain = group["fused"] and not (group["amsgrad"] or group["capturable"])
        if not is_plain or group.get("decoupled_weight_decay", is_decoupled) != is_decoupled:
            return None
    return torch._fused_adamw_ if is_decoupled else torch._fused_adam_


def add_one(numbers: list[torch.Tensor]) -> None:
    """Add one to each tensor, in place."""
    torch._foreach_add_(numbers, 1)


def metric_of(scorer: Callable[..., Any]) -> Callable[..., Any]:
    """Return the metric that a scorer was made of, or the scorer itself."""
    metric: Callable[..., Any] = getattr(scorer, "_score_func", scorer)
    return metric


# Callbacks of scikit-learn.

#: What an estimator holds as long as a fit goes on.
_OF_FIT_TASK = ("_callback_fit_ctx", "_skl_callbacks_to_teardown", "_parent_callback_ctx")


def has_callbacks(estimator: object) -> bool:
    """Tell whether an estimator has callbacks, its own or those of one around it."""
    return bool(vars(estimator).get("_skl_callbacks"))


def begin_fit_task(estimator: Any, n_tasks: int) -> Any:
    """Return the context of a fit with so many tasks at most, once callbacks are set up."""
    return estimator._init_callback_context(max_subtasks=n_tasks)


def leave_fit_task(estimator: object) -> None:
    """Take a copy of an estimator out of the fit in which it was made, callbacks included."""
    for name in (*_OF_FIT_TASK, "_skl_callbacks"):
        vars(estimator).pop(name, None)


@contextlib.contextmanager
def calling_back(estimator: object) -> Iterator[None]:
    """Let callbacks be torn down after a fit, however it ends.

    Scikit-learn's decorator would stand between the user's line and a warning that points there, so
    it decorates what comes after the fit.
    """
    try:
        yield
    finally:
        if _OF_FIT_TASK[0] in vars(estimator):
            sklearn_callback.with_callbacks(lambda _: None)(estimator)
