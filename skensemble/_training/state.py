"""Where the training of a net stands: plain data, to be kept and to go on from.

A state holds numbers, texts, tensors, and lists and dicts of them, so that a file can keep it. What
the parameters of the estimator and the rows say is not in it: a run that goes on makes its nets as
the first one did, and takes up the state then.
"""

import contextlib
import copy
import inspect
from collections.abc import Iterator

import torch
from skorch.callbacks import Callback
from torch import nn

from skensemble._compat import module_names, modules_of, optimizers_of
from skensemble._data.rows import DatasetRows
from skensemble._nets.snapshots import load_state, state_of
from skensemble._types import Options, State

from .lane import Lane
from .net import Rows, SnapshotNet
from .notes import copied, load_optimizer, put_back, take_notes
from .user_callbacks import own_attributes

#: Attributes of a module that hold its tensors, its parts and its hooks.
_OF_MODULE = set(vars(nn.Module())) - {"training"}

#: Attributes of a net that skorch and this package make by themselves.
_OF_NET = {
    *("initialized_", "init_context_", "prefixes_", "cuda_dependent_attributes_"),
    *("virtual_params_", "classes_inferred_", "callbacks_", "history_"),
    *("session_", "batched_", "takes_first_"),
}


def capture(lane: Lane, *, has_begun: bool = False) -> Options:
    """Copy where a lane stands before an epoch, whose row of the history may have begun."""
    recorder, of_net = lane.recorder, capture_net(lane.net)
    if has_begun:
        of_net["history"].pop()
    return {
        "net": of_net,
        "n_epochs": len(of_net["history"]) - lane.n_epochs_before,
        "generators": [chain.state() for chain in lane.session.generators],
        "step": recorder.step,
        "last_taken": recorder.last_taken,
        "n_redraws": recorder.n_redraws,
        "first_loss": None if recorder.first_loss is None else float(recorder.first_loss),
        "total": None if recorder.total is None else float(recorder.total),
        "rows": _notes_of_rows(lane.rows),
        "n_left": lane.session.budget.left,
        "is_stopped": lane.is_stopped,
        "has_diverged": lane.has_diverged,
        **({"center": recorder.center} if recorder.is_star else {}),
        **({"early": list(recorder.early)} if recorder.early else {}),
    }


def restore(lane: Lane, state: Options, taken: list[list[State] | None]) -> None:
    """Let a lane go on where another process stood; `taken` are the snapshots of that one."""
    recorder, session = lane.recorder, lane.session
    restore_net(lane.net, state["net"])
    for chain, of_chain in zip(session.generators, state["generators"], strict=True):
        chain.restore(of_chain)
    recorder.step, recorder.last_taken = state["step"], state["last_taken"]
    recorder.n_redraws, recorder.states = state["n_redraws"], taken
    if state["first_loss"] is not None:
        recorder.first_loss = torch.tensor(state["first_loss"], dtype=torch.float64)
    recorder.total = None
    if state["total"] is not None:
        recorder.total = torch.tensor(state["total"], dtype=torch.float64)
    if "center" in state:
        recorder.is_star, recorder.center = True, state["center"]
    recorder.early = list(state.get("early", []))
    if state["rows"]:
        put_back(_dataset_of(lane.rows), state["rows"])
    session.rate.skip(recorder.step, recorder.last_taken)
    session.budget.left = state["n_left"]
    lane.is_stopped, lane.has_diverged = state["is_stopped"], state["has_diverged"]
    lane.n_epochs_done = state["n_epochs"]


def capture_net(net: SnapshotNet) -> Options:
    """Copy what training has changed: modules, optimizers, callbacks, and the history."""
    return {
        "modules": [_capture_module(module) for module in modules_of(net)],
        "optimizers": {
            name: copied(optimizer.state_dict()) for name, optimizer in optimizers_of(net).items()
        },
        "notes": {
            "net": _notes_of_net(net),
            **{name: _notes_of_optimizer(o) for name, o in optimizers_of(net).items()},
        },
        "callbacks": {name: _capture_callback(callback) for name, callback in _callbacks_of(net)},
        "history": copy.deepcopy(list(net.history_)),
    }


def restore_net(net: SnapshotNet, state: Options) -> None:
    """Put a net of the same parameters where another one stood."""
    for module, of_module in zip(modules_of(net), state["modules"], strict=True):
        _restore_module(module, of_module)
    for name, optimizer in optimizers_of(net).items():
        load_optimizer(optimizer, state["optimizers"][name])
    for name, owner in {"net": net, **optimizers_of(net)}.items():
        if notes := state["notes"][name]:
            put_back(owner, notes)
    for name, callback in _callbacks_of(net):
        if name in state["callbacks"]:
            put_back(callback, state["callbacks"][name])
    del net.history_[:]
    net.history_.extend(copy.deepcopy(state["history"]))


def check_callbacks(net: SnapshotNet) -> None:
    """Refuse a callback that holds what no file can keep."""
    for _, callback in _callbacks_of(net):
        _capture_callback(callback)


def _callbacks_of(net: SnapshotNet) -> list[tuple[str, Callback]]:
    """Return all callbacks by name but those that this package adds for a run."""
    return [(name, cb) for name, cb in net.callbacks_ if not _is_ours(cb)]


def _is_ours(part: Callback | nn.Module) -> bool:
    return type(part).__module__.startswith("skensemble.")


def _capture_module(module: nn.Module) -> Options:
    return {
        "tensors": state_of(module),
        "frozen": [name for name, p in module.named_parameters() if not p.requires_grad],
        "extra": {path: part.get_extra_state() for path, part in _with_extra_state(module)},
        # A module may count its own steps.
        "notes": capture_notes(module),
    }


def _restore_module(module: nn.Module, state: Options) -> None:
    load_state(module, state["tensors"])
    frozen = set(state["frozen"])
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name not in frozen)
    restore_notes(module, state["notes"])
    for path, part in _with_extra_state(module):
        part.set_extra_state(copied(state["extra"][path]))


def capture_notes(module: nn.Module) -> Options:
    """Copy what the parts of a module hold beside their tensors.

    Ours hold what their constructors set, and note nothing.
    """
    parts = module.named_modules()
    return {path: _notes_of_part(part) for path, part in parts if not _is_ours(part)}


def restore_notes(module: nn.Module, notes: Options) -> None:
    """Give the parts of a module what those of another held beside their tensors."""
    for path, part in module.named_modules():
        if path in notes and not _is_ours(part):
            put_back(part, notes[path], without=_OF_MODULE)


@contextlib.contextmanager
def noting_nothing(module: nn.Module) -> Iterator[None]:
    """Leave what a module has noted as found, whatever calls it within the block."""
    notes = capture_notes(module)
    try:
        yield
    finally:
        restore_notes(module, notes)


def _notes_of_part(part: nn.Module) -> Options:
    # Layers of torch's may hold copies of their tensors.
    is_short = type(part).__module__.startswith("torch.")
    buffers = {id(buffer) for buffer in part.buffers()}
    shared = [name for name, value in vars(part).items() if id(value) in buffers]
    return take_notes(part, without=[*_OF_MODULE, *shared], is_short=is_short)[0]


def _with_extra_state(module: nn.Module) -> list[tuple[str, nn.Module]]:
    plain = nn.Module.get_extra_state
    return [(n, p) for n, p in module.named_modules() if type(p).get_extra_state is not plain]


def _capture_callback(callback: Callback) -> Options:
    """Copy what a callback has noted; what it was given it may have changed."""
    if type(callback).__module__.startswith("skorch."):
        # They keep open files, bars and functions, which they open again.
        given = set(vars(callback)) - set(own_attributes(callback))
        return take_notes(callback, without=given)[0]
    notes, strays = take_notes(callback)
    given = set(inspect.signature(type(callback)).parameters)
    if stray := next((stray for stray in strays if stray.split()[0] not in given), None):
        raise ValueError(
            f"Got the callback {type(callback).__name__} with {stray}, but expected numbers, "
            "texts, arrays, and lists and dicts of them: checkpoint_dir= keeps what a callback "
            "notes, and can keep nothing else."
        )
    return notes


def _notes_of_net(net: SnapshotNet) -> Options:
    """Copy what a net of the user's has noted; ours notes nothing."""
    if type(net).__module__.partition(".")[0] in ("skensemble", "skorch"):
        return {}
    given = {name for cls in type(net).__mro__ for name in inspect.signature(cls).parameters}
    kept = {f"{name}_" for name in (*module_names(net), "criterion", *optimizers_of(net))}
    others = {name for name in vars(net) if name.startswith("_") or "__" in name}
    return take_notes(net, without=given | kept | others | _OF_NET)[0]


def _notes_of_optimizer(optimizer: torch.optim.Optimizer) -> Options:
    """Copy what an optimizer of the user's holds beside its state dict."""
    if type(optimizer).__module__.startswith("torch."):
        return {}
    hooks = [name for name in vars(optimizer) if name.startswith("_")]
    return take_notes(optimizer, without=[*hooks, "state", "param_groups", "defaults"])[0]


def _notes_of_rows(rows: Rows) -> Options:
    """Copy what a dataset of the user's has noted, such as where its generator stands."""
    dataset = _dataset_of(rows)
    return {} if dataset is None else take_notes(dataset, is_short=True)[0]


def _dataset_of(rows: Rows) -> object | None:
    """Return the dataset of the user's that rows are read from; None: they are in memory."""
    return getattr(rows.X, "dataset", None) if isinstance(rows, DatasetRows) else None
