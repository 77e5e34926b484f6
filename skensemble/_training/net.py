"""The skorch net that trains, and its two callbacks.

One callback sets the learning rate before every step, the other takes a snapshot after the last
step of every cycle. All that is particular to speed stands in ``SnapshotNet.run_single_epoch``.
"""

import copy
import functools
import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from skorch import NeuralNet, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Callback, ParamMapper
from skorch.utils import get_map_location, to_device
from torch import nn
from torch.utils.data import DataLoader

from .._data.batches import (
    BatchIterator,
    Budgeted,
    ChainsIterator,
    DatasetRows,
    TensorRows,
    WeightedRows,
    data_loader,
)
from .._nets.chains import Chains
from .._nets.generators import forked
from .._nets.losses import WeightedLoss, by_hand, learns_nothing, summed
from .._nets.modules import called, evaluating, first_output, is_lazy, reset_parameters
from .._nets.optimizers import BY_ELEMENTS, FUSABLE, bare_step, can_fuse, needs_no_closure
from .._nets.snapshots import State, as_arrays, is_finite, state_of
from .interrupts import Interrupts
from .progress import Progress
from .user_callbacks import (
    BATCH_HOOKS,
    check_callback,
    check_callback_keywords,
    copied,
    is_print_log,
    listens,
    looks_at_unseen,
)

if TYPE_CHECKING:
    from .run import Lane


#: Losses that are read together.
_READ_AT_ONCE = 100


class Diverged(Exception):
    """Training left the finite numbers."""


class Enough(Exception):
    """The unseen rows say that further cycles would not help."""


class CyclicRate(Callback):
    """Sets the learning rate before every step.

    Parameters
    ----------
    fractions : list of float
        For each step of the run, the part of each parameter group's own rate to train at.
    interrupts : Interrupts
        Where Ctrl-C was pressed in code that swallowed it, the next step raises it again.
    """

    def __init__(self, fractions: list[float], interrupts: Interrupts):
        self.fractions, self.interrupts = fractions, interrupts
        self.step = 0

    def on_batch_begin(self, net: Any, batch: Any = None, training: Any = None, **_: Any) -> None:
        if training:
            self.set_rate(self.groups_of(net))

    def groups_of(self, net: Any) -> list[dict[str, Any]]:
        """All parameter groups of a net, each with its own rate noted."""
        optimizers = [getattr(net, name + "_") for name in net._optimizers]
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        for group in groups:
            group.setdefault("initial_lr", group["lr"])
        return groups

    def set_rate(self, groups: list[dict[str, Any]]) -> None:
        """Set the rate of the next step."""
        if self.interrupts.marked:
            raise KeyboardInterrupt
        if self.step == len(self.fractions):
            raise ValueError(
                f"Got a batch after the {self.step} steps of the budget, but expected an iterator "
                "that hands out as many batches as its length tells."
            )
        fraction = self.fractions[self.step]
        self.step += 1
        for group in groups:
            group["lr"] = fraction * group["initial_lr"]


class SnapshotRecorder(Callback):
    """Takes a snapshot after the last step of every cycle.

    Parameters
    ----------
    ends : sequence of int
        Steps done at the end of each cycle.
    example : Tensor
        A few rows on which a snapshot must predict finite numbers.
    cold : bool, default=False
        Whether each new cycle draws new parameters.
    progress : Progress, default=None
        Prints a line for each cycle.
    on_taken : callable, default=None
        Is called after each cycle, and says whether that was the last.

    Attributes
    ----------
    step : int
        Steps done.
    states : list of dict or None
        The snapshot of each cycle; None where it left the finite numbers.
    drawn : int
        How often parameters were drawn anew.
    """

    def __init__(
        self,
        ends: Any,
        example: Any,
        *,
        cold: bool = False,
        progress: Progress | None = None,
        on_taken: Callable[[], bool] | None = None,
    ):
        self.ends, self.example, self.cold, self.progress = list(ends), example, cold, progress
        self.on_taken = on_taken
        self.step = 0
        self.losses: list[torch.Tensor] = []
        self.last_taken = 0
        self.drawn = 0
        self.states: list[State | None] = []
        self.is_enough = False

    def on_batch_end(self, net: Any, batch: Any = None, training: Any = None, **kw: Any) -> None:
        if training:
            self.after_step(net, kw["loss"].detach())

    def after_step(self, net: Any, loss: torch.Tensor) -> None:
        """Count a step, and take the snapshot if a cycle ends with it."""
        self.step += 1
        if self.progress is not None:
            self.losses.append(loss)
        if self.step != self.ends[len(self.states)]:
            return
        self.take(net)
        if self.progress is not None:
            mean = float(torch.stack(self.losses).double().mean())
            self.progress.cycle_finished(self.step, _current_lr(net), mean)
            self.losses.clear()
        if self.on_taken is not None and self.on_taken():
            self.is_enough = True
            net.run_.budget.left = 0  # the epoch ends as any other does
            return
        if self.cold and self.step < self.ends[-1]:
            net.redraw()
            self.drawn += 1

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        if self.is_enough:
            raise Enough

    def take(self, net: Any) -> None:
        """Add the weights of this moment, unless they are no longer finite."""
        state = state_of(net.module_)
        if is_finite(state.values()) and is_finite([net.probe(self.example)]):
            self.states.append(state)
        elif self.cold:
            self.states.append(None)
        else:  # a warm restart would go on from numbers that are lost
            raise Diverged
        self.last_taken = self.step

    def finish(self, net: Any) -> None:
        """After a quiet stop within a cycle, its weights are the last snapshot."""
        if self.step > self.last_taken:
            self.take(net)
            if self.on_taken is not None:
                self.on_taken()


#: Methods of a net that the lean path replaces; a class of the user's that overrides one of them
#: is trained by skorch's own, generic path.
_GENERIC_IF_OVERRIDDEN = (
    "train_step",
    "train_step_single",
    "get_loss",
    "infer",
    "evaluation_step",
    "run_single_epoch",
    "get_iterator",
    "notify",
    *BATCH_HOOKS,
)


class SnapshotNet(NeuralNet):
    """What every net of this package does, mixed into the skorch class that trains.

    Attributes
    ----------
    run_ : Lane or None
        What training goes by; only there while it goes on.
    batched_ : Chains or None
        The module of all chains, where they train as one; ``module_`` is the first chain's then,
        but while training goes on.
    """

    run_: "Lane | None" = None
    batched_: Chains | None = None
    module_: Any
    criterion_: Any
    device: Any
    verbose: Any

    def get_default_callbacks(self) -> list[Any]:
        """Skorch's, less the table it prints: the progress of cycles has lines of its own."""
        return [item for item in super().get_default_callbacks() if not is_print_log(item)]

    def initialize_module(self) -> Any:
        super().initialize_module()
        if not isinstance(self.module_, nn.Module):
            raise TypeError(f"it made {type(self.module_).__name__}, which is no nn.Module")
        if is_lazy(self.module_):
            example = self.example_ if self.run_ is None else self.run_.recorder.example
            with torch.no_grad(), evaluating(self.module_):
                self.standing_in(self.module_, device="cpu").scores(example)
        return self

    def standing_in(self, module: nn.Module, **changes: Any) -> "SnapshotNet":
        """This net with another module in place of its own, for inference alone."""
        other = object.__new__(type(self))
        other.__dict__ = {**self.__dict__, "module_": module, **changes}
        return other

    def scores(self, X: Any) -> torch.Tensor:
        """Raw outputs for a batch on the net's device, by the net's own inference.

        Of chains that train as one all outputs, along a new first axis.
        """
        if isinstance(self.module_, Chains):
            return self.module_.each(self.module_.shared(X))
        if self.infers_plainly():
            return first_output(called(self.module_, X))
        if type(self).evaluation_step is not NeuralNet.evaluation_step:
            return first_output(self.evaluation_step((X, None), training=False))
        return first_output(self.infer(X))

    @classmethod
    def infers_plainly(cls) -> bool:
        """Whether inference is a call of the module and nothing else."""
        return cls.infer is NeuralNet.infer and cls.evaluation_step is NeuralNet.evaluation_step

    def probe(self, X: Any) -> torch.Tensor:
        """Scores of a few rows, as in prediction; buffers and generators are left as found."""
        tensors = itertools.chain(self.module_.parameters(), self.module_.buffers())
        device = next((tensor.device for tensor in tensors), None)
        with torch.no_grad(), evaluating(self.module_), forked(device):
            return self.scores(X)

    def get_params_for_optimizer(self, prefix: str, named_parameters: Any) -> tuple[Any, Any]:
        """Skorch's, with torch's fused step where it exists and nothing else is asked for."""
        args, kwargs = super().get_params_for_optimizer(prefix, named_parameters)
        optimizer = getattr(self, prefix, None)
        if optimizer in FUSABLE and not {"fused", "foreach", "differentiable"} & kwargs.keys():
            parameters = [p for group in args[0] for p in group["params"]]
            kwargs["fused"] = can_fuse(self.module_, parameters)
        return args, kwargs

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Batches from memory, or a DataLoader where that is asked for or needed."""
        if not training:
            if isinstance(dataset, list):  # the unseen rows of each chain
                return dataset
            if isinstance(dataset, TensorRows):
                return BatchIterator(dataset.with_draws([]), self.batch_size)
            if isinstance(dataset, DatasetRows):  # (X, y), without the weights
                dataset = DatasetRows(dataset.X, dataset.y)
            iterator = super().get_iterator(dataset)
            if isinstance(iterator, DataLoader) and iterator.generator is None:
                # A loader draws a seed even where it shuffles nothing; a callback that predicts
                # would move the generator from which dropout is drawn.
                iterator.generator = torch.Generator()
            return iterator
        run = self.run_
        generators: list[Any] = [None] * len(getattr(dataset, "draws", [None]))
        if run is not None:
            generators = [chain.batches for chain in run.generators]
        iterator, weighted = self._training_iterator(dataset, generators)
        if run is None:
            return iterator
        return Budgeted(iterator, run.budget, self._take_weight if weighted else None)

    def get_split_datasets(self, X: Any, y: Any = None, **_: Any) -> tuple[Any, Any]:
        """All rows, and those that are to be looked at after each epoch."""
        return X, None if self.run_ is None else self.run_.valid

    def _training_iterator(self, dataset: Any, generators: list[Any]) -> tuple[Any, bool]:
        """Shuffled batches, and whether weights come with them."""
        options = self.get_params_for("iterator_train")
        weighted = getattr(dataset, "weight", None) is not None
        if self.iterator_train is not DataLoader:
            if weighted:
                raise ValueError(
                    f"Got weights with net__iterator_train={self.iterator_train!r}, but expected "
                    "no iterator of your own: it would not hand out the weights."
                )
            return super().get_iterator(dataset, training=True), False
        if isinstance(self.module_, Chains):
            return ChainsIterator(dataset, self.batch_size, generators, weighted), weighted
        if isinstance(dataset, TensorRows) and not options:
            return BatchIterator(dataset, self.batch_size, generators[0], weighted), weighted
        rows = WeightedRows(dataset) if weighted and isinstance(dataset, TensorRows) else dataset
        return data_loader(rows, self.batch_size, generators[0], options), weighted

    def _take_weight(self, weight: torch.Tensor) -> None:
        self.criterion_.take_weight(to_device(weight, self.device).reshape(-1))

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any
    ) -> None:
        """One epoch, on the lean path where nobody listens to batches: the same steps.

        The lean path sets the training mode once, notifies nobody, and reads the losses at the
        end of the epoch alone. ``history`` gets one row for the epoch.
        """
        run = self.run_
        if isinstance(iterator, list):
            self._validate_chains(iterator, prefix)
            return
        if training and run is not None and not isinstance(iterator, Budgeted):
            if isinstance(self.criterion_, WeightedLoss):
                raise ValueError(
                    f"Got weights with net={type(self).__name__}, whose get_iterator makes one of "
                    "its own, but expected none: it would not hand out the weights."
                )
            iterator = Budgeted(iterator, run.budget)
        if not training or run is None or not self._is_lean(run):
            super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
            return
        losses: list[float] = []
        sizes: list[int] = []
        steps = iter(self._lean_steps(run, iterator))
        # Read by the hundred: one at a time a GPU would wait, and thousands of small tensors
        # between large ones keep the memory of these from being used again.
        while some := list(itertools.islice(steps, _READ_AT_ONCE)):
            losses += torch.stack([loss for loss, _ in some]).tolist()
            sizes += [size for _, size in some]
        if not losses:
            return
        # One row for the epoch in place of one a batch: skorch's callbacks average over rows.
        mean = np.average(losses, weights=sizes)
        self.history.new_batch()
        self.history.record_batch(prefix + "_loss", float(mean))
        self.history.record_batch(prefix + "_batch_size", sum(sizes))
        self.history.record(prefix + "_batch_count", len(sizes))

    def _validate_chains(self, rows: list[TensorRows], prefix: str) -> None:
        """Loss of chains that train as one, each on the rows that it leaves out."""
        module: Any = self.module_
        losses, sizes = [], []
        self._set_training(False)  # the criterion's too: weights of rows are no matter here
        with torch.no_grad():
            for k, own in enumerate(rows):
                if not len(own):
                    continue
                for X, y in BatchIterator(own, self.batch_size):
                    losses.append(self.criterion_(module.of_chain(k, X), y))
                    sizes.append(len(y))
        mean = np.average(torch.stack(losses).tolist(), weights=sizes)
        self.history.new_batch()
        self.history.record_batch(prefix + "_loss", float(mean))
        self.history.record_batch(prefix + "_batch_size", sum(sizes))
        self.history.record(prefix + "_batch_count", len(sizes))

    def _lean_steps(self, run: "Lane", iterator: Any) -> Iterator[tuple[torch.Tensor, int]]:
        """The steps of an epoch with nothing but torch's calls between them: loss and rows."""
        rate, recorder = run.rate, run.recorder
        drawn = None
        for X, y in iterator:
            if recorder.drawn != drawn:  # at first, and after a cold restart
                self._set_training(True)
                step, groups = self._stepper(iterator), rate.groups_of(self)
                n_rows = _rows_of_chains if isinstance(self.module_, Chains) else len
                drawn = recorder.drawn
            rate.set_rate(groups)
            loss = step(X, y)
            recorder.after_step(self, loss)
            yield loss, n_rows(y)

    def _stepper(self, iterator: Any) -> Callable[[Any, torch.Tensor], torch.Tensor]:
        """What takes one step on a batch and returns its loss, as ``train_step`` does."""
        optimizers = [getattr(self, name + "_") for name in self._optimizers]
        if len(optimizers) != 1 or not needs_no_closure(optimizers[0]):
            return self._step_with_closure
        module, criterion, device = self.module_, self.criterion_, self.device
        is_there = isinstance(getattr(iterator, "iterator", None), BatchIterator)
        parameters = [p for group in optimizers[0].param_groups for p in group["params"]]
        update = bare_step(optimizers[0])

        hand = by_hand(criterion)

        def step_together(X: Any, y: torch.Tensor) -> torch.Tensor:
            for parameter in parameters:
                parameter.grad = None
            outputs = module.each(X)
            if hand is None:
                loss = summed(criterion, outputs, y)
                loss.backward()
            else:
                loss, gradient = hand(outputs.detach(), y)
                outputs.backward(gradient)
            update()
            return loss.detach() / len(y)

        def step_by_hand(X: Any, y: torch.Tensor) -> torch.Tensor:
            assert hand is not None
            for parameter in parameters:
                parameter.grad = None
            outputs, pull = module.each_and_pullback(X)
            loss, gradient = hand(outputs, y)
            pull(gradient)
            update()
            return loss / len(y)

        if isinstance(module, Chains):
            is_short = hand is not None and hasattr(module.one, "members_and_pullback")
            return step_by_hand if is_short else step_together

        def step(X: Any, y: torch.Tensor) -> torch.Tensor:
            for parameter in parameters:
                parameter.grad = None
            if not is_there:
                X, y = to_device(X, device), to_device(y, device)
            loss = criterion(called(module, X), y)
            loss.backward()
            update()
            return loss.detach()

        return step

    def _step_with_closure(self, X: Any, y: torch.Tensor) -> torch.Tensor:
        """A step of an optimizer that asks for the loss itself, such as LBFGS."""
        losses = []

        def closure() -> torch.Tensor:
            self._zero_grad_optimizer()
            loss = self.get_loss(self.infer(X), y, X=X, training=True)
            loss.backward()
            losses.append(loss.detach())
            return loss

        self._step_optimizer(closure)
        return losses[0]

    def _is_lean(self, run: "Lane | None" = None) -> bool:
        """Whether neither the class nor a callback looks at single batches."""
        for name in _GENERIC_IF_OVERRIDDEN:
            own = (getattr(NeuralNet, name), getattr(SnapshotNet, name))
            if getattr(type(self), name) not in own or name in vars(self):
                return False
        ours = () if run is None else (run.rate, run.recorder)
        return not any(listens(cb) for _, cb in self.callbacks_ if cb not in ours)

    def looks_at_unseen(self) -> bool:
        """Whether a callback of the user's needs values of unseen rows after each epoch."""
        ours = {name for name, _ in self._default_callbacks}
        return any(looks_at_unseen(cb) for name, cb in self.callbacks_ if name not in ours)

    def trains_by_elements(self) -> bool:
        """Whether a step on stacked parameters is a step on each of them."""
        optimizers = [getattr(self, name + "_") for name in self._optimizers]
        return (
            len(optimizers) == 1
            and type(optimizers[0]) in BY_ELEMENTS
            and self._is_lean()
            and self.infers_plainly()
            and self.iterator_train is DataLoader
            and not self.get_params_for("iterator_train")
            and learns_nothing(self.criterion_)
            and not any(isinstance(cb, ParamMapper) for _, cb in self.callbacks_)
        )

    def join(self, modules: list[nn.Module]) -> None:
        """Train the modules of several chains as one."""
        self.module_ = Chains(copy.deepcopy(modules))
        self._anew(self._initialize_optimizer)

    def alone(self) -> "SnapshotNet":
        """This net with the module of one chain, of whatever parameters."""
        if not isinstance(self.module_, Chains):
            return self
        return self.standing_in(self.module_.single())

    def settle(self) -> None:
        """After a run: a module that one can call in place of all chains."""
        if isinstance(self.module_, Chains):
            batched = self.module_
            self.__dict__["batched_"] = batched  # by hand: skorch would want to initialize it
            self.module_ = batched.single()

    def resume(self) -> None:
        """Before a further run: all chains again."""
        if self.batched_ is not None:
            self.module_ = self.batched_

    def weigh_criterion(self) -> None:
        """From here on the loss is a weighted one; a criterion's own parameters stay."""
        if not isinstance(self.criterion_, WeightedLoss):
            with self._current_init_context("criterion"):
                self.criterion_ = WeightedLoss(self.criterion_)

    def redraw(self) -> None:
        """Draw new parameters and start the optimizer anew: a cold restart."""
        if not isinstance(self.module_, Chains):
            self.reset_instances()
            self._anew(self._initialize_module, self._initialize_optimizer)
            return
        assert self.run_ is not None
        modules: list[nn.Module] = []
        for generators in self.run_.generators:
            with generators.within():
                self.reset_instances()
                self._anew(self._initialize_module)
            modules.append(copy.deepcopy(self.module_))
        self.join(modules)

    def reset_instances(self) -> None:
        """Draw new parameters for what is not made anew: the module or its arguments."""
        for part in (self.module, *self.get_params_for("module").values()):
            if isinstance(part, nn.Module):
                reset_parameters(part)

    def _anew(self, *initializers: Callable[[], Any]) -> None:
        """Initialize again, without skorch's lines about it."""
        verbose, self.verbose = self.verbose, 0
        try:
            for initialize in initializers:
                initialize()
        finally:
            self.verbose = verbose

    def __getstate__(self) -> dict[str, Any]:
        """Arrays in place of tensors, the optimizers as state dicts, nothing of the data."""
        state = vars(self).copy()
        state.pop("run_", None)
        optimizers = {name: state.pop(name + "_").state_dict() for name in self._optimizers}
        return as_arrays({"net": state, "optimizers": optimizers})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state["net"])
        # skorch's own: warns and moves to the CPU where the device is missing here
        self.device = self._check_device(self.device, get_map_location(self.device))
        parts = [getattr(self, name + "_") for name in self._modules + self._criteria]
        for part in [*parts, self.batched_]:
            if isinstance(part, nn.Module) and self.device is not None:
                part.to(self.device)
        module = self.module_
        self.resume()
        with self._current_init_context("optimizer"):
            self.initialize_optimizer()
        self.module_ = module
        for name, saved in state["optimizers"].items():
            getattr(self, name + "_").load_state_dict(saved)

    def __reduce__(self) -> tuple[Any, ...]:
        base = getattr(type(self), "_mixed_into", None)
        if base is None:
            return _new_instance, (type(self),), self.__getstate__()
        return _new_mixed, (base,), self.__getstate__()


class ClassifierNet(SnapshotNet, NeuralNetClassifier):
    """The net of :class:`SnapshotEnsembleClassifier`: raw scores, without skorch's extra log."""

    get_loss = NeuralNet.get_loss
    _default_callbacks = NeuralNet._default_callbacks

    def _get_predict_nonlinearity(self) -> Any:
        """The softmax of raw scores, whatever the criterion."""
        if self.predict_nonlinearity == "auto":
            return functools.partial(torch.softmax, dim=-1)
        return super()._get_predict_nonlinearity()


class RegressorNet(SnapshotNet, NeuralNetRegressor):
    """The net of :class:`SnapshotEnsembleRegressor`."""


def _rows_of_chains(y: torch.Tensor) -> int:
    return y.shape[1]


_mixed: dict[type[NeuralNet], type[SnapshotNet]] = {}


def mixed_net(net: type[NeuralNet]) -> type[SnapshotNet]:
    """A user's skorch class with :class:`SnapshotNet` behind it: her methods come first."""
    if issubclass(net, SnapshotNet):
        return net
    if issubclass(SnapshotNet, net):  # skorch's own NeuralNet, which is behind ours already
        return SnapshotNet
    if net not in _mixed:
        extra = {"_mixed_into": net, "__doc__": net.__doc__, "__module__": net.__module__}
        _mixed[net] = type(net.__name__, (net, SnapshotNet), extra)
    return _mixed[net]


def _new_instance(cls: type[SnapshotNet]) -> SnapshotNet:
    return cls.__new__(cls)


def _new_mixed(net: type[NeuralNet]) -> SnapshotNet:
    return _new_instance(mixed_net(net))


def _current_lr(net: Any) -> float:
    """The learning rate of the first parameter group."""
    optimizer = getattr(net, net._optimizers[0] + "_")
    return float(optimizer.param_groups[0]["lr"])


def new_net(
    net_class: type[NeuralNet],
    *,
    example: Any,
    callbacks: Any,
    leaves_out: bool,
    reset: bool,
    **arguments: Any,
) -> SnapshotNet:
    """An initialised net; its callbacks are copies, the estimator's parameters stay as given.

    With `leaves_out` there are unseen rows for callbacks to look at; with `reset` the parameters of
    an instance are drawn anew.

    Raises
    ------
    ValueError
        If a callback would set the learning rate or needs validation data that are not there.
    """
    net = mixed_net(net_class)(callbacks=copied(callbacks), train_split=None, **arguments)
    net.example_ = example
    try:
        if reset:
            net.reset_instances()
        net.initialize()
    except Exception as error:
        made = {name: arguments[name] for name in ("module", "criterion", "optimizer", "device")}
        raise ValueError(
            f"The net could not be made, but expected it to be with {made} and what is given to "
            f"them: {type(error).__name__}: {error}"
        ) from error
    if len(net._modules) != 1:
        raise ValueError(
            f"Got net={net_class.__name__} with the modules {net._modules}, but expected one: a "
            "snapshot is of one module, so make the others part of it."
        )
    ours = {name for name, _ in net._default_callbacks}
    for name, callback in net.callbacks_:
        if name not in ours:
            check_callback(callback, leaves_out)
    check_callback_keywords(net)
    del net.example_
    return net
