"""Callbacks of the user: which can work here, and what they look at."""

import copy
from typing import Any

from skorch import NeuralNet
from skorch.callbacks import Callback, LRScheduler, PassthroughScoring, PrintLog
from skorch.callbacks.scoring import ScoringBase

from skensemble._compat import named_callbacks

#: Methods of a callback that skorch calls for each batch.
BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_grad_computed")


def copy_callbacks(callbacks: Any) -> list[Any]:
    """Copy a user's callbacks, but not what their attributes hold.

    The parameter stays as given, and the user can still see what a callback writes to.

    Raises
    ------
    ValueError
        If one of them is no callback of skorch's kind.
    """
    given = [item[1] if isinstance(item, tuple | list) else item for item in callbacks or []]
    for callback in given:
        if not hasattr(callback, "on_train_begin") or not hasattr(callback, "initialize"):
            raise ValueError(f"Got callbacks with {callback!r}, but expected callbacks of skorch.")
    copies = {id(cb): cb if isinstance(cb, type) else copy.copy(cb) for cb in given}
    for callback in copies.values():  # LoadInitState and others refer to another callback
        for name, value in vars(callback).items() if not isinstance(callback, type) else ():
            if id(value) in copies:
                setattr(callback, name, copies[id(value)])
    return [
        (item[0], copies[id(item[1])]) if isinstance(item, tuple | list) else copies[id(item)]
        for item in callbacks or []
    ]


def check_callback(callback: Any, leaves_out: bool) -> None:
    """Refuse a callback that cannot work here."""
    name = type(callback).__name__
    if isinstance(callback, LRScheduler):
        raise ValueError(
            f"Got callback {name}, but the learning rate is set at every step by schedule=; "
            "expected a callback that leaves it alone."
        )
    if leaves_out or not looks_at_unseen(callback):
        return
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


def check_callback_keywords(net: NeuralNet) -> None:
    """Refuse ``callbacks__name`` where no callback has the name; skorch would ignore it."""
    names = {name for name, _ in named_callbacks(net)}
    for keyword in net.get_params_for("callbacks"):
        if keyword.split("__")[0] not in names:
            raise ValueError(
                f"Got callbacks__{keyword}, but expected the name of a callback: "
                f"one of {sorted(names)}."
            )


def looks_at_unseen(callback: Any) -> bool:
    """Tell whether a callback needs values of unseen rows after each epoch."""
    if isinstance(callback, ScoringBase | PassthroughScoring):
        return not callback.on_train
    monitor = getattr(callback, "monitor", None)
    return isinstance(monitor, str) and monitor.startswith("valid")


def listens(callback: Any) -> bool:
    """Tell whether a callback looks at single batches or gradients."""
    return any(
        hook in vars(callback) or getattr(type(callback), hook, None) is not getattr(Callback, hook)
        for hook in BATCH_HOOKS
    )


def is_print_log(item: Any) -> bool:
    """Tell whether a callback is the table that skorch prints."""
    callback = item[1] if isinstance(item, tuple | list) else item
    return isinstance(callback, PrintLog) or callback is PrintLog
