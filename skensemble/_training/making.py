"""The nets of a fit: made anew for each chain, or carried on from an earlier call."""

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, ParamMapper
from torch import nn
from torch.utils.data import DataLoader

from skensemble._compat import module_names, optimizers_of, own_callback_names
from skensemble._data.rows import TensorRows
from skensemble._nets.batchable import BY_ELEMENTS, can_train_as_one
from skensemble._nets.generators import Generators
from skensemble._nets.losses import learns_nothing
from skensemble._nets.modules import check_can_reset, data_arguments
from skensemble._types import Batch, CriterionLike, ModuleLike, Options

from .net import Rows, SnapshotNet, mixed_net
from .threads import few_threads
from .user_callbacks import (
    CallbackLike,
    check_callback,
    check_callback_keywords,
    copy_callbacks,
    looks_at_unseen,
)

#: Rows on which a module is tried out before training, and each snapshot when it is taken.
N_PROBE_ROWS = 8


class Recipe(NamedTuple):
    """What the nets of a fit are made of; nothing of it is written on."""

    net_class: type[NeuralNet]
    module: ModuleLike
    module_name: str
    criterion: CriterionLike
    optimizer: Callable[..., torch.optim.Optimizer]
    #: Of the optimizer, unless keywords say otherwise.
    optimizer_defaults: Options
    #: The user's arguments by skorch's prefixes.
    keywords: Options
    #: Arguments of the module's constructor that the data decide, by name.
    sizes: Options
    #: Whether there are so few rows that nothing is dropped in training.
    is_small: bool
    callbacks: Sequence[CallbackLike] | None
    #: lr, max_epochs, batch_size, device and verbose of skorch's net.
    settings: Options

    def arguments(self) -> Options:
        """Return the keyword arguments of one net."""
        # Copied with one memo: instances among the arguments are trained, and may be shared.
        keywords, module = copy.deepcopy((self.keywords, self.module))
        made = {f"optimizer__{name}": value for name, value in self.optimizer_defaults.items()}
        made |= {
            name.removeprefix("net__"): value
            for name, value in keywords.items()
            if not name.startswith("schedule__")
        }
        given = {name.removeprefix("module__") for name in keywords if name.startswith("module__")}
        sizes = data_arguments(module, given, self.sizes)
        made |= {f"module__{name}": size for name, size in sizes.items()}
        if self.is_small:
            made["module__dropout"] = made["module__column_dropout"] = 0.0
        made |= {"module": module, "criterion": copy.deepcopy(self.criterion)}
        return {**made, "optimizer": self.optimizer, **self.settings}

    def instances(self) -> list[nn.Module]:
        """Return the modules that are instances, among the arguments too."""
        parts = [v for name, v in self.keywords.items() if name.startswith("module__")]
        return [part for part in (self.module, *parts) if isinstance(part, nn.Module)]


class Ready(NamedTuple):
    """Nets and rows, on their device."""

    #: One that trains all chains as one, or one for each chain.
    nets: list[SnapshotNet]
    #: With the rows of each chain.
    rows: Rows
    probe_rows: Batch
    #: Output of a net for them.
    output: torch.Tensor

    def parts(self) -> list[Rows]:
        """Return the rows that each net trains on."""
        if len(self.nets) == 1:
            return [self.rows]
        return [self.rows.with_chains([chain]) for chain in self.rows.chains]

    def few_threads(self) -> AbstractContextManager[None]:
        """Set the threads by the size of a step of all chains that train at once."""
        net, n_rows = self.nets[0], len(self.rows)
        n_chains = len(self.rows.chains) // len(self.nets)
        n_probed = min(N_PROBE_ROWS, n_rows)
        n_together = n_chains * min(net.batch_size, n_rows)
        return few_threads(net.of_one_chain(), self.probe_rows, n_probed, n_together)


def make_nets(
    recipe: Recipe, generators: list[Generators], probe_rows: Batch, *, has_unseen: bool
) -> list[SnapshotNet]:
    """Make a net for each chain, each with an initialisation of its own.

    The probe rows decide the shapes of a lazy module. `has_unseen` tells whether there are unseen
    rows for callbacks to monitor; a callback that cannot work here is refused.
    """
    if len(generators) > 1:
        for part in recipe.instances():
            check_can_reset(part, f"{len(generators)} chains")
    nets = []
    for k, own in enumerate(generators):
        # Torch initialises from one global generator. Within its own, a chain begins as it would
        # alone, whatever the chains before it have drawn.
        with own.within():
            nets.append(_make_net(recipe, probe_rows, has_unseen, reset=k > 0))
    return nets


def _make_net(recipe: Recipe, probe_rows: Batch, has_unseen: bool, *, reset: bool) -> SnapshotNet:
    """Make and initialise one net; with `reset` draw the parameters of an instance anew."""
    arguments = recipe.arguments()
    callbacks = copy_callbacks(recipe.callbacks)
    net = mixed_net(recipe.net_class)(callbacks=callbacks, train_split=None, **arguments)
    net.probe_rows_ = probe_rows
    try:
        if reset:
            net.reset_instances()
        net.initialize()
    except Exception as error:
        made = {name: arguments[name] for name in ("module", "criterion", "optimizer", "device")}
        raise ValueError(
            f"The net could not be made from {made} and their arguments: {type(error).__name__}: "
            f"{error}"
        ) from error
    names = module_names(net)
    if len(names) != 1:
        raise ValueError(
            f"Got net={recipe.net_class.__name__} with the modules {names}, but expected one: a "
            "snapshot is of one module, so make the others part of it."
        )
    for callback in _users_callbacks(net):
        check_callback(callback, has_unseen)
    check_callback_keywords(net)
    del net.probe_rows_
    return net


def carry_on(nets: list[SnapshotNet], batch_size: int, lr_ratio: float) -> list[SnapshotNet]:
    """Copy fitted nets for a further run; their callbacks are as they were.

    `lr_ratio` is the highest rate of now divided by that of the last run.
    """
    copies = []
    for fitted in nets:
        net = copy.deepcopy(fitted)
        net.callbacks_ = copy_callbacks(fitted.callbacks_)
        if lr_ratio != 1:
            for optimizer in optimizers_of(net).values():
                for group in optimizer.param_groups:
                    group["initial_lr"] *= lr_ratio
        net.batch_size = batch_size
        net.resume()
        copies.append(net)
    return copies


def try_out(net: SnapshotNet, probe_rows: Batch, module_name: str) -> torch.Tensor:
    """Return the output for a few rows; an error of the module is told with their shape."""
    try:
        return net.of_one_chain().probe(probe_rows)
    except Exception as error:
        raise ValueError(
            f"Got module={module_name}, but expected one that takes {_describe(probe_rows)}: "
            f"{error}"
        ) from error


def join_chains(nets: list[SnapshotNet], rows: Rows, probe_rows: Batch) -> list[SnapshotNet]:
    """Train all chains as one batched module where that gives what each gives alone."""
    if len(nets) > 1 and isinstance(rows, TensorRows) and _trains_by_elements(nets[0]):
        modules: list[nn.Module] = [net.module_ for net in nets]
        if can_train_as_one(modules, probe_rows):
            nets[0].join(modules)
            return nets[:1]
    return nets


def _trains_by_elements(net: SnapshotNet) -> bool:
    """Tell whether a step on stacked parameters is a step on each of them."""
    optimizers = list(optimizers_of(net).values())
    return (
        len(optimizers) == 1
        and type(optimizers[0]) in BY_ELEMENTS
        and net.is_lean()
        and net.infers_plainly()
        and net.iterator_train is DataLoader
        and not net.get_params_for("iterator_train")
        and learns_nothing(net.criterion_)
        and not any(isinstance(cb, ParamMapper) for _, cb in net.callbacks_)
    )


def monitors_unseen(net: SnapshotNet) -> bool:
    """Tell whether a callback of the user's needs values of unseen rows after each epoch."""
    return any(map(looks_at_unseen, _users_callbacks(net)))


def _users_callbacks(net: SnapshotNet) -> list[Callback]:
    """Return the callbacks that skorch does not add by itself."""
    own = own_callback_names(net)
    return [callback for name, callback in net.callbacks_ if name not in own]


def _describe(X: Batch) -> str:
    """Put in words what a module was given."""
    if isinstance(X, dict):
        parts = [f"{name}: {_describe(part)}" for name, part in X.items()]
        return "{" + ", ".join(parts) + "}"
    return f"a batch of shape {tuple(X.shape)} and type {X.dtype}"
