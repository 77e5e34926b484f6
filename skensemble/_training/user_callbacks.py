"""Callbacks of the user: which can work here, and what they look at."""

import copy
import fnmatch
import functools
from collections.abc import Sequence
from typing import TypeAlias

from sklearn.metrics import get_scorer_names
from skorch import NeuralNet
from skorch.callbacks import (
    Callback,
    InputShapeSetter,
    LRScheduler,
    ParamMapper,
    PassthroughScoring,
    PrintLog,
    WandbLogger,
)
from skorch.callbacks.scoring import ScoringBase

from skensemble._compat import named_callbacks
from skensemble._warnings import short
from skensemble.keywords import nearest

#: A callback or its class, by itself or after its name.
CallbackLike: TypeAlias = Callback | type[Callback] | tuple[str, Callback | type[Callback]]

#: Methods of a callback that skorch calls for each batch.
BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_grad_computed")


def copy_callbacks(callbacks: Sequence[CallbackLike] | None) -> list[CallbackLike]:
    """Copy a user's callbacks, but not what their attributes hold.

    The parameter stays as given, and the user can still see what a callback writes to. What is no
    callback of skorch's kind is refused.
    """
    copies = {}
    for callback in map(_without_name, callbacks or []):
        if not hasattr(callback, "on_train_begin") or not hasattr(callback, "initialize"):
            raise ValueError(
                f"Got callbacks with {short(callback)}, but expected callbacks of skorch: a class "
                "derived from skorch.callbacks.Callback, an instance, or a pair of a name and one."
            )
        copies[id(callback)] = callback if isinstance(callback, type) else copy.copy(callback)
    for callback in copies.values():
        if not isinstance(callback, type):
            # LoadInitState and others refer to another callback, which is to be its copy.
            for name, value in vars(callback).items():
                if id(value) in copies:
                    setattr(callback, name, copies[id(value)])
    return [
        (item[0], copies[id(item[1])]) if isinstance(item, tuple | list) else copies[id(item)]
        for item in callbacks or []
    ]


def check_callback(callback: Callback, has_unseen: bool, parameters: Sequence[str]) -> None:
    """Refuse a callback that cannot work here; `parameters` are the names of the module's."""
    name = type(callback).__name__
    if isinstance(callback, LRScheduler):
        raise ValueError(
            f"Got callback {name}, but the learning rate is set at every step by schedule=; "
            "expected a callback that leaves it alone."
        )
    if getattr(callback, "load_best", False):
        raise ValueError(
            f"Got {name}(load_best=True), but expected load_best=False: the snapshots at the ends "
            "of cycles predict, and nothing is loaded after them; weigh the cycles by rows that "
            "validation= leaves out and members='stacked', or end the run by early_stopping=True."
        )
    if isinstance(callback, InputShapeSetter):
        raise ValueError(
            f"Got callback {name}, but expected none: a parameter of the module's constructor "
            "that is named n_inputs is given the number of columns."
        )
    if isinstance(callback, ScoringBase) and isinstance(callback.scoring, str):
        _check_scorer(name, callback.scoring)
    if isinstance(callback, ParamMapper):
        _check_patterns(callback, parameters)
    if has_unseen or not looks_at_unseen(callback):
        return
    if isinstance(callback, WandbLogger):
        raise ValueError(
            f"Got {name}(save_model=True), but no rows are left out to choose it by; expected "
            "save_model=False, or rows left out by validation=, such as validation='cross'."
        )
    if isinstance(callback, ScoringBase | PassthroughScoring):
        raise ValueError(
            f"Got {name}(on_train=False), but no rows are left out; expected on_train=True, or "
            "rows left out by validation=, such as validation='cross'."
        )
    raise ValueError(
        f"Got {name}(monitor={callback.monitor!r}), but no rows are left out; expected a monitor "
        f"of the training rows, such as {callback.monitor.replace('valid', 'train', 1)!r}, or rows "
        "left out by validation=, such as validation='cross'."
    )


def _check_scorer(name: str, scoring: str) -> None:
    """Refuse a name that is no scorer's, before training."""
    if scoring not in get_scorer_names():
        raise ValueError(
            f"Got {name}({scoring!r}), but expected the name of a scorer, one of "
            f"sklearn.metrics.get_scorer_names().{nearest(scoring, get_scorer_names())}"
        )


def _check_patterns(callback: ParamMapper, parameters: Sequence[str]) -> None:
    """Refuse a pattern that stands for no parameter; skorch would pass it over."""
    given = callback.patterns
    for pattern in given if isinstance(given, list | tuple) else [given]:
        matches = pattern if callable(pattern) else functools.partial(_matches, pattern)
        if not any(map(matches, parameters)):
            raise ValueError(
                f"Got {type(callback).__name__}({pattern!r}), but expected a pattern that stands "
                f"for some of the module's parameters: {', '.join(parameters)}."
            )


def _matches(pattern: str, name: str) -> bool:
    return fnmatch.fnmatch(name, pattern)


def check_callback_keywords(net: NeuralNet) -> None:
    """Refuse ``callbacks__name`` where no callback has the name; skorch would ignore it."""
    names = {name for name, _ in named_callbacks(net)}
    for keyword in net.get_params_for("callbacks"):
        if keyword.split("__")[0] not in names:
            raise ValueError(
                f"Got callbacks__{keyword}, but expected the name of a callback: "
                f"one of {sorted(names)}. A pair in callbacks= gives a name: (name, callback)."
            )


def looks_at_unseen(callback: Callback) -> bool:
    """Tell whether a callback needs values of unseen rows after each epoch."""
    if isinstance(callback, ScoringBase | PassthroughScoring):
        return not callback.on_train
    if isinstance(callback, WandbLogger):
        return callback.save_model
    monitor = getattr(callback, "monitor", None)
    return isinstance(monitor, str) and monitor.startswith("valid")


def listens(callback: Callback) -> bool:
    """Tell whether a callback looks at single batches or gradients."""
    return any(
        hook in vars(callback) or getattr(type(callback), hook, None) is not getattr(Callback, hook)
        for hook in BATCH_HOOKS
    )


def is_print_log(item: CallbackLike) -> bool:
    """Tell whether a callback is the table that skorch prints."""
    callback = _without_name(item)
    return isinstance(callback, PrintLog) or callback is PrintLog


def _without_name(item: CallbackLike) -> Callback | type[Callback]:
    return item[1] if isinstance(item, tuple | list) else item


def own_attributes(callback: Callback) -> dict[str, object]:
    """Return what a callback has noted itself: attributes that are no parameters of it."""
    given = callback.get_params(deep=False) if hasattr(callback, "get_params") else {}
    return {k: v for k, v in vars(callback).items() if k not in given or v is not given[k]}
