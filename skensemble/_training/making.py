"""The nets of a fit: made anew for each chain, or carried on from an earlier call."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, ParamMapper
from torch import nn
from torch.utils.data import DataLoader

from skensemble._compat import module_names, optimizers_of, own_callback_names
from skensemble._data.rows import ConvertedRows, Features, TensorRows
from skensemble._nets.batchable import BY_ELEMENTS, can_train_as_one
from skensemble._nets.chains import slices_of
from skensemble._nets.generators import Generators, forked
from skensemble._nets.losses import check_criterion, learns_nothing
from skensemble._nets.modules import (
    check_can_reset,
    computes_members,
    copy_of,
    data_arguments,
    evaluating,
    first_output,
    word_missing,
)
from skensemble._types import Batch, CriterionLike, ModuleLike, Options
from skensemble._warnings import short, warn

from .net import Rows, SnapshotNet, copy_net, has_plain_loss, mixed_net
from .threads import Threads, choose_threads, count_groups, multiplications
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
        keywords, module = copy_of((self.keywords, self.module))
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
        made |= {"module": module, "criterion": copy_of(self.criterion)}
        return {**made, "optimizer": self.optimizer, **self.settings}

    def instances(self) -> list[nn.Module]:
        """Return the modules that are instances, among the arguments too."""
        parts = [v for name, v in self.keywords.items() if name.startswith("module__")]
        return [part for part in (self.module, *parts) if isinstance(part, nn.Module)]


class Ready(NamedTuple):
    """Nets and rows, on their device."""

    #: One for each group of chains that train as one, or for each chain.
    nets: list[SnapshotNet]
    #: With the rows of each chain.
    rows: Rows
    probe_rows: Batch
    #: Output of a net for them.
    output: torch.Tensor
    #: Multiplications in a step of one chain.
    step: float

    def groups(self) -> list[slice]:
        """Return the chains that each net trains."""
        return slices_of(len(self.rows.chains), len(self.nets))

    def parts(self) -> list[Rows]:
        """Return the rows that each net trains on."""
        return [self.rows.with_chains(self.rows.chains[group]) for group in self.groups()]

    def threads(
        self, *, is_private: bool, n_jobs: int | None = None, is_limited: bool = False
    ) -> Threads:
        """Choose the threads, by the size of a step of the chains that train as one.

        A limit of time measures the steps of this process, so `is_limited` ones stay in it.
        """
        n_chains = len(self.rows.chains) // len(self.nets)
        may_leave = not is_limited and self._may_leave()
        step, n_lanes = n_chains * self.step, len(self.nets)
        return choose_threads(
            step, n_lanes, is_private=is_private, n_jobs=n_jobs, may_leave=may_leave
        )

    def _may_leave(self) -> bool:
        """Tell whether training elsewhere comes to the same bits, and leaves out nothing.

        A callback may show or keep something here. What the user's iterators and datasets have
        noted is shared by the chains, or not kept.
        """
        net = self.nets[0]
        options = net.get_params_for("iterator_train").values()
        return (
            isinstance(self.rows, TensorRows)
            and torch.device(net.device or "cpu").type == "cpu"
            and net.iterator_train is DataLoader
            and all(isinstance(option, bool | int | float | str | None) for option in options)
            and not _users_callbacks(net)
        )


#: Columns are of like scale where none is so many times as wide as another, nor lies so many of its
#: own widths from 0.
_WIDEST, _FARTHEST = 1e3, 30

#: Rows that are looked at for it.
_N_LOOKED_AT = 1000


def warn_of_scales(X: Features, module: nn.Module) -> None:
    """Warn where a module of the user's is to learn from a table of very different columns."""
    first = next((part for part in module.modules() if not next(part.children(), None)), None)
    is_cared_for = isinstance(first, nn.BatchNorm1d) or computes_members(module)
    if is_cared_for or not isinstance(X, torch.Tensor | ConvertedRows):
        return
    rows = X[:: max(1, len(X) // _N_LOOKED_AT)]
    if rows.ndim != 2 or not rows.is_floating_point():
        return
    rows = rows.double()
    low, high = rows.amin(dim=0), rows.amax(dim=0)
    width = high - low
    varies = (width > 0) & width.isfinite()
    if not bool(varies.any()):
        return
    widths = width[varies]
    ratio = float(widths.max() / widths.min())
    distance = float((rows.mean(dim=0).abs() / width)[varies].max())
    if ratio > _WIDEST or distance > _FARTHEST:
        seen = (
            f"widths from {float(widths.min()):.3g} to {float(widths.max()):.3g}"
            if ratio > _WIDEST
            else f"one lies {distance:.0f} times its own width from 0"
        )
        warn(
            f"Got X with columns of very different scale ({seen}), but a module of your own sees "
            "them as they are, and learns best from columns near 0 and of like scale: put a "
            "StandardScaler before the estimator in a Pipeline."
        )


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
        given = {name.removeprefix("module__") for name in arguments if name.startswith("module__")}
        if isinstance(error, TypeError) and (said := word_missing(recipe.module, given)):
            raise ValueError(said) from error
        raise ValueError(
            f"The net could not be made from {_word_parts(recipe)}: {type(error).__name__}: "
            f"{str(error).rstrip('.')}.{_hint_at_parts(str(error))}"
        ) from error
    names = module_names(net)
    if len(names) != 1:
        raise ValueError(
            f"Got net={recipe.net_class.__name__} with the modules {names}, but expected one: a "
            "snapshot is of one module, so make the others part of it."
        )
    names = [name for name, _ in net.module_.named_parameters()]
    for callback in _users_callbacks(net):
        check_callback(callback, has_unseen, names)
    check_callback_keywords(net)
    del net.probe_rows_
    return net


def _word_parts(recipe: Recipe) -> str:
    """Put in words what a net is made of, and the user's arguments."""
    parts = {"module": recipe.module, "criterion": recipe.criterion, "optimizer": recipe.optimizer}
    words = [f"{key}={getattr(part, '__name__', short(part))}" for key, part in parts.items()]
    words += [f"{key}={short(value)}" for key, value in recipe.keywords.items()]
    return ", ".join(words)


#: What to do, by what torch or skorch say where a net cannot be made.
_HINTS_AT_PARTS = {
    "empty parameter list": " The module has no parameters to train: give one with layers.",
    "is no nn.Module": " Give a class of torch.nn.Module, or a function that returns a module.",
    "argument 'lr'": " An optimizer is a class of torch.optim, or a function of (params, lr).",
    "required positional argument": (
        " A criterion is a class or an instance of torch.nn.Module: put a function of outputs and "
        "targets into the forward of one."
    ),
    "duplicate": " Give each callback a name of its own.",
    "Got ": "",
}


def _hint_at_parts(said: str) -> str:
    found = next((hint for key, hint in _HINTS_AT_PARTS.items() if key in said), None)
    return " Change or leave out these arguments." if found is None else found


def carry_on(nets: list[SnapshotNet], batch_size: int, lr_ratio: float) -> list[SnapshotNet]:
    """Copy fitted nets for a further run; their callbacks are as they were.

    `lr_ratio` is the highest rate of now divided by that of the last run.
    """
    copies = []
    for fitted in nets:
        net = copy_net(fitted)
        net.callbacks_ = copy_callbacks(fitted.callbacks_)
        if lr_ratio != 1:
            for optimizer in optimizers_of(net).values():
                for group in optimizer.param_groups:
                    group["initial_lr"] *= lr_ratio
        net.batch_size = batch_size
        net.resume()
        copies.append(net)
    return copies


def try_out(
    net: SnapshotNet, probe_rows: Batch, module_name: str
) -> tuple[torch.Tensor, tuple[Any, ...] | torch.Tensor]:
    """Return the scores of a few rows, and what the module returned, be it several outputs.

    An error of the module is told with the rows' shape.
    """
    try:
        outputs = net.of_one_chain().probe(probe_rows, whole=True)
        return first_output(outputs), outputs
    except Exception as error:
        raise ValueError(
            f"Got module={module_name}, but expected one that takes {_describe(probe_rows)}: "
            f"{error}{_hint_at_integers(probe_rows) or _hint_at_shape(str(error))}"
        ) from error


def check_raw_scores(net: SnapshotNet, probe_rows: Batch, module_name: str) -> None:
    """Refuse a module that ends in a sigmoid or a softmax, where the criterion applies a sigmoid.

    Raw scores may lie between 0 and 1 too: what was done last tells them apart.
    """
    net = net.of_one_chain()
    device = next((tensor.device for tensor in net.module_.parameters()), None)
    with torch.enable_grad(), evaluating(net.module_), forked(device):
        last = first_output(net.scores(probe_rows)).grad_fn
    name = "" if last is None else last.name()
    for head in ("Sigmoid", "Softmax"):
        if name.removeprefix("Log").startswith(head):
            raise ValueError(
                f"Got module={module_name}, which returns probabilities (it ends in a "
                f"{head.lower()}), but expected raw scores (logits): leave out the final "
                f"{head.lower()}, the criterion applies a sigmoid."
            )


def _hint_at_integers(X: Batch) -> str:
    """Return what to do where whole numbers, such as those of images, came to a layer of floats."""
    parts = X.values() if isinstance(X, dict) else [X]
    if not any(part.dtype == torch.int64 for part in parts):
        return ""
    return (
        " (X has whole numbers, which stay so, for embeddings: divide images by 255, or give "
        "X.astype('float32'), where the module is for floats)"
    )


#: What to do where a module does not take the rows, by what is said.
_HINTS_AT_SHAPE = {
    "forward()": " (a module of several inputs takes a dict of arrays, by the names of forward's "
    "parameters)",
    'required "forward"': " (write the method forward(self, X) of its class)",
    "channels": " (images are of shape (n, channels, height, width): X[:, None] adds an axis)",
    "": " (a constructor's parameter named n_inputs is given the number of columns)",
}


def _hint_at_shape(said: str) -> str:
    return next(hint for key, hint in _HINTS_AT_SHAPE.items() if key in said)


def try_criterion(nets: list[SnapshotNet], outputs: Any, y: torch.Tensor) -> None:
    """Refuse a criterion that does not fit what the module returned for the targets `y`."""
    if has_plain_loss(nets[0]):  # of another loss nobody can know what it takes
        takes_first = check_criterion(nets[0].criterion_, outputs, y)
        for net in nets:
            net.takes_first_ = takes_first


def join_chains(
    nets: list[SnapshotNet], rows: Rows, probe_rows: Batch, step: float
) -> list[SnapshotNet]:
    """Train chains as one batched module where that gives what each gives alone.

    Each has so many multiplications a `step`.
    """
    if (
        len(nets) == 1
        or not isinstance(rows, TensorRows)
        or not _trains_by_elements(nets[0])
        or not can_train_as_one([net.module_ for net in nets], probe_rows)
    ):
        return nets
    return join_in_groups(nets, count_groups(nets[0], len(nets) * step, len(nets)))


def multiplications_of_a_step(net: SnapshotNet, rows: Rows, probe_rows: Batch) -> float:
    """Count those of one chain."""
    n_rows = len(rows)
    n_probed, n_in_a_step = min(N_PROBE_ROWS, n_rows), min(net.batch_size, n_rows)
    return multiplications(net.of_one_chain(), probe_rows) * n_in_a_step / n_probed


def join_in_groups(nets: list[SnapshotNet], n_groups: int) -> list[SnapshotNet]:
    """Let so many of the nets train the chains of all, each those of its neighbours as one."""
    joined = []
    for group in slices_of(len(nets), n_groups):
        first, *_ = own = nets[group]
        first.join([net.module_ for net in own])
        joined.append(first)
    return joined


def _trains_by_elements(net: SnapshotNet) -> bool:
    """Tell whether a step on stacked parameters is a step on each of them."""
    optimizers = list(optimizers_of(net).values())
    return (
        len(optimizers) == 1
        and type(optimizers[0]) in BY_ELEMENTS
        and net.takes_first_
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
