"""What of nets is written beside the snapshots: settings, history, and where training stands."""

from typing import Any

from torch import nn

from skensemble._nets.losses import WeightedLoss
from skensemble._training.state import capture_net
from skensemble._training.telling import OF_CYCLES
from skensemble._types import Options
from skensemble.fitted import Fitted

from .tree import Encoder
from .trying import runs_on_zeros

#: Attributes of a part of a module that are kept, of these types.
_PLAIN = (bool, int, float, str)


def write_net(encoder: Encoder, fitted: Fitted) -> Options:
    """Write what is kept of the net of the first chain, beside its snapshots."""
    net = fitted.nets[0]
    module = net.module_
    names = ("lr", "max_epochs", "batch_size", "verbose")
    sizes = {name: getattr(net, f"module__{name}", None) for name in ("hidden", "column_dropout")}
    return {
        "settings": {name: encoder.encode_named(name, getattr(net, name)) for name in names},
        "sizes": encoder.encode_named("module__*", sizes if _is_ours(module) else {}),
        "takes_first": bool(net.takes_first_),
        "runs_on_zeros": runs_on_zeros(fitted),
        "frozen": [name for name, p in module.named_parameters() if not p.requires_grad],
        "attributes": attributes_of(module),
        "history": _write_history(encoder, list(net.history_)),
    }


def _is_ours(part: nn.Module) -> bool:
    return type(part).__module__.startswith("skensemble.")


def attributes_of(module: nn.Module) -> Options:
    """Return what parts of the user's have noted as plain values, by the name of the part."""
    found = {}
    for path, part in module.named_modules():
        if not type(part).__module__.startswith(("torch.", "skensemble.")):
            held = vars(part).items()
            found[path] = {k: v for k, v in held if type(v) in _PLAIN and k[0] != "_"}
    return {path: noted for path, noted in found.items() if noted}


def _write_history(encoder: Encoder, rows: list[Options]) -> Any:
    """Write the history; by columns where all rows are alike, which is far shorter.

    What is told of a cycle stands in the row of the epoch in which it ended.
    """
    if len({(*(name for name in row if name not in OF_CYCLES),) for row in rows}) == 1:
        names = dict.fromkeys(name for row in rows for name in row)
        columns = {name: [row.get(name) for row in rows] for name in names}
        return {"columns": encoder.encode_named("history_", columns)}
    return {"rows": encoder.encode_named("history_", rows)}


def write_state(encoder: Encoder, fitted: Fitted) -> Options:
    """Write what a later call needs to go on."""
    if not fitted.resume.generators:
        raise ValueError(
            'Got include=("training",) for an ensemble that was loaded without, but expected one '
            "that can go on training: fit it, or load a file that was saved with it."
        )
    nets = []
    for net in fitted.nets:
        whole = net if net.batched_ is None else net.with_module(net.batched_)
        nets.append({k: v for k, v in capture_net(whole).items() if k != "history"})
    state = {
        "nets": nets,
        "are_weighed": isinstance(fitted.nets[0].criterion_, WeightedLoss),
        "histories": [list(net.history_) for net in fitted.nets[1:]],
        "generators": fitted.resume.generators,
    }
    return encoder.encode_named("training", state)
