"""The skorch net that trains, its two callbacks, and how a run ends.

One callback sets the learning rate before every step, the other takes a snapshot after the last
step of every cycle. All that is particular to speed stands in ``SnapshotNet.run_single_epoch``.
"""

import contextlib
import copy
import functools
import math
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Callback, LRScheduler, PrintLog
from skorch.dataset import get_len, unpack_data
from skorch.utils import get_map_location, to_device
from torch import nn
from torch.utils.data import DataLoader

from .batches import BatchIterator, Budgeted, TensorRows, WeightedRows, data_loader
from .modules import materialise, probe, reset_parameters
from .progress import Progress
from .snapshots import State, as_arrays, is_finite, state_of, uncompiled


class Diverged(Exception):
    """Training left the finite numbers."""


class WeightedLoss(nn.Module):
    """Mean of ``w * loss`` over a batch, never divided by the batch's own weights.

    Parameters
    ----------
    criterion : nn.Module
        A criterion with an attribute ``reduction``, which becomes ``"none"``.

    Attributes
    ----------
    weight : Tensor of shape (batch,) or None
        Weights of the batch at hand, set by the iterator that hands it out; None: all are 1.

    Raises
    ------
    ValueError
        If the criterion has no ``reduction``.
    """

    def __init__(self, criterion: nn.Module):
        super().__init__()
        if not hasattr(criterion, "reduction"):
            raise ValueError(
                f"Got weights with criterion={type(criterion).__name__}, but expected a criterion "
                "with reduction='none', so that the loss of each row can be weighted."
            )
        self.reduction = criterion.reduction
        self.criterion = criterion
        criterion.reduction = "none"
        self.weight: torch.Tensor | None = None

    def forward(self, y_pred: Any, y_true: torch.Tensor) -> torch.Tensor:
        loss = self.criterion(y_pred, y_true)
        if self.weight is not None:
            loss = loss * self.weight.reshape(-1, *[1] * (loss.ndim - 1))
        return loss.sum() if self.reduction == "sum" else loss.mean()


class CyclicRate(Callback):
    """Sets the learning rate before every step.

    Parameters
    ----------
    fractions : list of float
        For each step of the run, the part of each parameter group's own rate to train at.
    interrupts : Interrupts
        Where Ctrl-C was pressed in code that swallowed it, the next step raises it again.
    """

    def __init__(self, fractions: list[float], interrupts: "Interrupts"):
        self.fractions, self.interrupts = fractions, interrupts
        self.step = 0

    def on_batch_begin(self, net: Any, batch: Any = None, training: Any = None, **_: Any) -> None:
        if not training:
            return
        if self.interrupts.marked:
            raise KeyboardInterrupt
        fraction = self.fractions[self.step]
        self.step += 1
        for name in net._optimizers:
            for group in getattr(net, name + "_").param_groups:
                group["lr"] = fraction * group.setdefault("initial_lr", group["lr"])


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

    Attributes
    ----------
    step : int
        Steps done.
    states : list of dict
        The snapshots taken.
    diverged : int
        Cycles left out because they left the finite numbers.
    """

    def __init__(
        self,
        ends: Any,
        example: Any,
        *,
        cold: bool = False,
        progress: Progress | None = None,
    ):
        self.ends, self.example, self.cold, self.progress = list(ends), example, cold, progress
        self.step = 0
        self.losses: list[torch.Tensor] = []
        self.last_taken = 0
        self.states: list[State] = []
        self.diverged = 0

    def on_batch_end(self, net: Any, batch: Any = None, training: Any = None, **kw: Any) -> None:
        if not training:
            return
        self.step += 1
        if self.progress is not None:
            self.losses.append(kw["loss"].detach())
        if self.step != self.ends[len(self.states) + self.diverged]:
            return
        self.take(net)
        if self.progress is not None:
            loss = float(torch.stack(self.losses).double().mean())
            self.progress.cycle_finished(self.step, _current_lr(net), loss)
            self.losses.clear()
        if self.cold and self.step < self.ends[-1]:
            net.redraw()

    def take(self, net: Any) -> None:
        """Add the weights of this moment, unless they are no longer finite."""
        state = state_of(net.module_)
        if is_finite(state.values()) and is_finite([probe(net.module_, self.example)]):
            self.states.append(state)
        elif self.cold:
            self.diverged += 1
        else:  # a warm restart would go on from numbers that are lost
            raise Diverged
        self.last_taken = self.step

    def finish(self, net: Any) -> None:
        """After a quiet stop within a cycle, its weights are the last snapshot."""
        if self.step > self.last_taken:
            self.take(net)


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
)

#: Optimizers with a step that is one call for all parameters (torch >= 2.4).
_FUSABLE = (torch.optim.Adagrad, torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)

_BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_grad_computed")


class SnapshotNet(NeuralNet):
    """What every net of this package does, mixed into the skorch class that trains.

    Beside skorch's parameters, :func:`train` sets ``run_``: what a run needs and a pickle does
    not.
    """

    run_: "Run | None" = None

    def get_default_callbacks(self) -> list[Any]:
        """Skorch's, less the table it prints: the progress of cycles has lines of its own."""
        return [item for item in super().get_default_callbacks() if not _is_print_log(item)]

    def initialize_module(self) -> Any:
        super().initialize_module()
        example = self.example_ if self.run_ is None else self.run_.recorder.example
        materialise(self.module_, to_device(example, "cpu"))
        return self

    def get_params_for_optimizer(self, prefix: str, named_parameters: Any) -> tuple[Any, Any]:
        """Skorch's, with torch's fused step where it exists and nothing else is asked for."""
        args, kwargs = super().get_params_for_optimizer(prefix, named_parameters)
        optimizer = getattr(self, prefix, None)
        if optimizer in _FUSABLE and not {"fused", "foreach", "differentiable"} & kwargs.keys():
            kwargs["fused"] = _can_fuse(p for group in args[0] for p in group["params"]) and not any(
                getattr(part, "sparse", False) for part in self.module_.modules()
            )
        return args, kwargs

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Batches from memory, or a DataLoader where that is asked for or needed."""
        if not training:
            in_memory = isinstance(dataset, TensorRows)
            return BatchIterator(dataset, self.batch_size) if in_memory else super().get_iterator(dataset)
        run = self.run_
        iterator, weighted = self._training_iterator(dataset, None if run is None else run.generator)
        if run is None:
            return iterator
        return Budgeted(iterator, run.n_steps, self._take_weight if weighted else None)

    def _training_iterator(self, dataset: Any, generator: Any) -> tuple[Any, bool]:
        """Shuffled batches, and whether weights come with them."""
        options = self.get_params_for("iterator_train")
        weighted = isinstance(dataset, TensorRows) and dataset.weight is not None
        if self.iterator_train is not DataLoader:
            if weighted:
                raise ValueError(
                    f"Got weights with net__iterator_train={self.iterator_train!r}, but expected "
                    "no iterator of your own: it would not hand out the weights."
                )
            return super().get_iterator(dataset, training=True), False
        if isinstance(dataset, TensorRows) and not options:
            return BatchIterator(dataset, self.batch_size, generator, weighted), weighted
        rows = WeightedRows(dataset) if weighted else dataset
        return data_loader(rows, self.batch_size, generator, options), weighted

    def _take_weight(self, weight: torch.Tensor) -> None:
        self.criterion_.weight = to_device(weight, self.device)

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any
    ) -> None:
        """One epoch, on the lean path where nobody listens to batches: the same steps.

        The lean path sets the training mode once, notifies nobody, and reads the losses at the
        end of the epoch alone. ``history`` gets one row for the epoch.
        """
        if not training or not self._is_lean():
            super().run_single_epoch(iterator, training, prefix, step_fn, **fit_params)
            return
        run = self.run_
        assert run is not None
        losses, sizes = [], []
        self._set_training(True)
        for batch in iterator:
            run.rate.on_batch_begin(self, batch=batch, training=True)
            loss = self._lean_step(*unpack_data(batch))
            losses.append(loss)
            sizes.append(get_len(batch[0]))
            taken = run.recorder.last_taken
            run.recorder.on_batch_end(self, batch=batch, training=True, loss=loss)
            if run.recorder.last_taken != taken:  # a cold restart makes a new module
                self._set_training(True)
        # One row for the epoch in place of one a batch: skorch's callbacks average over rows.
        mean = np.average(torch.stack(losses).tolist(), weights=sizes)
        self.history.new_batch()
        self.history.record_batch(prefix + "_loss", float(mean))
        self.history.record_batch(prefix + "_batch_size", sum(sizes))
        self.history.record(prefix + "_batch_count", len(sizes))

    def _lean_step(self, X: Any, y: torch.Tensor) -> torch.Tensor:
        """The same as ``train_step``, with nothing between the calls to torch."""
        first = None

        def closure() -> torch.Tensor:
            nonlocal first
            self._zero_grad_optimizer()
            loss = self.get_loss(self.infer(X), y, X=X, training=True)
            loss.backward()
            first = loss.detach() if first is None else first
            return loss

        self._step_optimizer(closure)
        assert first is not None
        return first

    def _is_lean(self) -> bool:
        """Whether neither the class nor a callback looks at single batches."""
        if self.run_ is None:
            return False
        own = (NeuralNet, SnapshotNet)
        for name in _GENERIC_IF_OVERRIDDEN:
            if getattr(type(self), name) not in [getattr(cls, name) for cls in own]:
                return False
        ours = (self.run_.rate, self.run_.recorder)
        listening = [
            cb
            for _, cb in self.callbacks_
            if cb not in ours
            and any(getattr(type(cb), hook) is not getattr(Callback, hook) for hook in _BATCH_HOOKS)
        ]
        return not listening

    def weigh_criterion(self) -> None:
        """From here on the loss is a weighted one; a criterion's own parameters stay."""
        if not isinstance(self.criterion_, WeightedLoss):
            with self._current_init_context("criterion"):
                self.criterion_ = WeightedLoss(self.criterion_)

    def redraw(self) -> None:
        """Draw new parameters and start the optimizer anew: a cold restart."""
        if isinstance(self.module, nn.Module) and self.module_ is self.module:
            reset_parameters(self.module_)
        verbose, self.verbose = self.verbose, 0  # skorch would print that it re-initialises
        try:
            self._initialize_module()
            self._initialize_optimizer()
        finally:
            self.verbose = verbose

    def __getstate__(self) -> dict[str, Any]:
        """Arrays in place of tensors, the optimizers as state dicts, nothing of the data."""
        state = vars(self).copy()
        state.pop("run_", None)
        optimizers = {name: state.pop(name + "_").state_dict() for name in self._optimizers}
        return as_arrays({"net": state, "optimizers": optimizers})

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state["net"])
        # skorch's own: warns and moves to the CPU where the device is missing here
        self.device = self._check_device(self.device, get_map_location(self.device))
        for name in self._modules + self._criteria:
            part = getattr(self, name + "_")
            if isinstance(part, nn.Module) and self.device is not None:
                part.to(self.device)
        with self._current_init_context("optimizer"):
            self.initialize_optimizer()
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


@functools.cache
def mixed_net(net: type[NeuralNet]) -> type[SnapshotNet]:
    """A user's skorch class with :class:`SnapshotNet` behind it: his methods come first."""
    if issubclass(net, SnapshotNet):
        return net
    return type(net.__name__, (net, SnapshotNet), {"_mixed_into": net, "__doc__": net.__doc__})


def _new_instance(cls: type[SnapshotNet]) -> SnapshotNet:
    return cls.__new__(cls)


def _new_mixed(net: type[NeuralNet]) -> SnapshotNet:
    return _new_instance(mixed_net(net))


class Interrupts:
    """Tells a real Ctrl-C from the KeyboardInterrupt by which skorch's callbacks stop a run.

    As a context manager, it marks every SIGINT before the handler that was set gets it. Once
    :attr:`deferred` is set, a SIGINT is only marked. Python delivers signals to the main thread
    alone, so elsewhere there is nothing to tell apart.
    """

    def __init__(self) -> None:
        self.marked = False
        self.deferred = False
        self._previous: Any = None

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            previous = signal.getsignal(signal.SIGINT)
            if callable(previous):
                self._previous = previous
                signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, signum: int, frame: Any) -> None:
        self.marked = True
        if not self.deferred:
            self._previous(signum, frame)


class Run:
    """One call's training: so many steps in so many cycles.

    Parameters
    ----------
    fractions : ndarray of shape (n_steps,)
        See :func:`skensemble.schedules.fractions`.
    ends : sequence of int
        Steps done at the end of each cycle.
    steps_per_epoch : int
    generator : torch.Generator
        Draws the permutations of the rows.
    interrupts : Interrupts
    example : Tensor
        A few rows, on the device.
    cold : bool, default=False
        See :class:`SnapshotRecorder`.
    progress : Progress, default=None
        Prints what happens.

    Attributes
    ----------
    messages : list of str
        What the user is to be warned of, once what was trained is safe.
    """

    def __init__(
        self,
        fractions: Any,
        ends: Any,
        steps_per_epoch: int,
        generator: torch.Generator,
        interrupts: Interrupts,
        example: Any,
        *,
        cold: bool = False,
        progress: Progress | None = None,
    ):
        self.n_steps, self.steps_per_epoch = len(fractions), steps_per_epoch
        self.generator, self.interrupts, self.progress = generator, interrupts, progress
        self.rate = CyclicRate(np.asarray(fractions).tolist(), interrupts)
        self.recorder = SnapshotRecorder(ends, example, cold=cold, progress=progress)
        self.messages: list[str] = []

    def train(self, net: SnapshotNet, dataset: Any) -> list[State]:
        """Train the net, and return the snapshots of the cycles that count.

        After a stop within a cycle, or a cycle that diverged, the net holds its last snapshot.

        Raises
        ------
        KeyboardInterrupt
            If Ctrl-C came before the first cycle was finished.
        ValueError
            If training diverged before the first cycle was finished.
        """
        with self._attached(net):
            net.notify("on_train_begin", X=dataset, y=None)
            try:
                net.fit_loop(dataset, epochs=math.ceil(self.n_steps / self.steps_per_epoch))
                self.recorder.finish(net)
                self.interrupts.deferred = True
            except KeyboardInterrupt:
                self.interrupts.deferred = True
                if not self.interrupts.marked:  # a callback's: its weights count
                    self._finish_quietly(net)
                elif not self.recorder.states:
                    raise
            except Diverged:
                self.interrupts.deferred = True
                self.recorder.diverged = len(self.recorder.ends) - len(self.recorder.states)
            states = self.recorder.states
            if not states:
                raise ValueError(_DIVERGED)
            uncompiled(net.module_).load_state_dict(states[-1], strict=False)
            net.notify("on_train_end", X=dataset, y=None)
        self._note_losses()
        return states

    def _finish_quietly(self, net: SnapshotNet) -> None:
        try:
            self.recorder.finish(net)
        except Diverged:
            self.recorder.diverged += 1

    def _note_losses(self) -> None:
        done, planned = len(self.recorder.states), len(self.recorder.ends)
        if self.interrupts.marked:
            self.messages.append(
                f"Interrupted: the ensemble keeps the {done} of {planned} cycles that were finished."
            )
        if self.recorder.diverged:
            self.messages.append(
                f"Training diverged in {self.recorder.diverged} of {planned} cycles, which are left "
                "out; a lower lr would keep them."
            )

    @contextlib.contextmanager
    def _attached(self, net: SnapshotNet) -> Iterator[None]:
        """Our callbacks around the user's: the rate is set first, the snapshot taken last."""
        users = net.callbacks_
        progress = [] if self.progress is None else [("progress", self.progress)]
        ours = [*progress, ("snapshots", self.recorder)]
        net.callbacks_ = [("cyclic_rate", self.rate), *users, *ours]
        net.run_ = self
        try:
            yield
        finally:
            net.callbacks_ = users
            net.run_ = None
            if self.progress is not None:
                self.progress.close()


_DIVERGED = (
    "Training diverged in the first cycle: the weights or outputs are no longer finite. Expected "
    "a lower lr, or columns and targets of moderate size."
)


def _current_lr(net: Any) -> float:
    """The learning rate of the first parameter group."""
    optimizer = getattr(net, net._optimizers[0] + "_")
    return float(optimizer.param_groups[0]["lr"])


def new_net(
    net_class: type[NeuralNet], *, example: Any, callbacks: Any, **arguments: Any
) -> SnapshotNet:
    """An initialised net; its callbacks are copies, the estimator's parameters stay as given.

    Raises
    ------
    ValueError
        If a callback would set the learning rate or needs validation data that are not there.
    """
    copies = [_copied(item) for item in callbacks or []]
    net = mixed_net(net_class)(callbacks=copies, train_split=None, **arguments)
    net.example_ = example
    net.initialize()
    for _, callback in net.callbacks_:
        check_callback(callback)
    del net.example_
    return net


def _copied(item: Any) -> Any:
    """A callback to be initialised: a shallow copy, whose attributes the user can still see."""
    if isinstance(item, tuple | list):
        name, callback = item
        return name, _copied(callback)
    return item if isinstance(item, type) else copy.copy(item)


def check_callback(callback: Any) -> None:
    """Refuse a callback that cannot work here."""
    name = type(callback).__name__
    if isinstance(callback, LRScheduler):
        raise ValueError(
            f"Got callback {name}, but the learning rate is set at every step by schedule=; "
            "expected a callback that leaves it alone."
        )
    monitor = getattr(callback, "monitor", None)
    if isinstance(monitor, str) and monitor.startswith("valid"):
        raise ValueError(
            f"Got {name}(monitor={monitor!r}), but no rows are left out for validation "
            f"(validation=None); expected a monitor of the training rows, such as "
            f"{monitor.replace('valid', 'train', 1)!r}."
        )


def _can_fuse(parameters: Any) -> bool:
    """Whether torch's fused step takes such parameters, on the CPU as on CUDA."""
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)


def _is_print_log(item: Any) -> bool:
    callback = item[1] if isinstance(item, tuple | list) else item
    return isinstance(callback, PrintLog) or callback is PrintLog
