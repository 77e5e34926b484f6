"""The skorch net that trains.

All that is particular to speed stands behind :meth:`SnapshotNet.run_single_epoch`.
"""

import copy
import functools
import itertools
from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np
import torch
from skorch import NeuralNet, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Callback
from skorch.utils import get_map_location, to_device
from torch import nn
from torch.utils.data import DataLoader

from skensemble import _compat
from skensemble._data.batches import Batches, BatchIterator, Budgeted, InFirstView, training_batches
from skensemble._data.rows import DatasetRows, RowsOfChains, TensorRows
from skensemble._nets.chains import Chains
from skensemble._nets.generators import forked
from skensemble._nets.losses import WeightedLoss
from skensemble._nets.modules import (
    call_module,
    copy_of,
    evaluating,
    first_output,
    is_lazy,
    reset_parameters,
)
from skensemble._nets.pickling import as_arrays
from skensemble._types import Array, Batch, Options

from .session import Session
from .steps import train_lean, validate_chains
from .user_callbacks import BATCH_HOOKS, is_print_log, listens

#: Optimizers with a step that is one call for all parameters (torch >= 2.4).
_FUSABLE = (torch.optim.Adagrad, torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)

#: Methods of a net that the lean path replaces, of a step and of the loop around it. A class of the
#: user's that overrides one of them is trained by skorch's own, generic path.
_STEP = ("train_step", "train_step_single", "get_loss", "infer", "evaluation_step")
_LOOP = ("run_single_epoch", "get_iterator", "notify", *BATCH_HOOKS)

Rows = TensorRows | DatasetRows


class SnapshotNet(NeuralNet):
    """What every net of this package does, mixed into the skorch class that trains."""

    #: What training goes by; only there while it goes on.
    session_: Session | None = None
    #: The module of all chains, where they train as one; ``module_`` is the first chain's then,
    #: but while training goes on.
    batched_: Chains | None = None
    #: Whether the criterion takes the first of several outputs, and not all of them as a tuple.
    takes_first_: bool = True
    #: A few rows; only there while the net is made.
    probe_rows_: Batch
    module_: nn.Module
    criterion_: nn.Module
    device: str | torch.device | None
    verbose: int

    def get_default_callbacks(self) -> list[tuple[str, Callback]]:
        """Leave out skorch's table: the progress of cycles has lines of its own."""
        return [item for item in super().get_default_callbacks() if not is_print_log(item)]

    def initialize_module(self) -> Self:
        """Make the module; the first rows decide the shapes of a lazy one."""
        super().initialize_module()
        if not isinstance(self.module_, nn.Module):
            raise TypeError(f"it made {type(self.module_).__name__}, which is no nn.Module")
        if is_lazy(self.module_):
            rows = self.probe_rows_ if self.session_ is None else self.session_.probe_rows
            with torch.no_grad(), evaluating(self.module_):
                self.with_module(self.module_, device="cpu").scores(rows)
        return self

    def with_module(self, module: nn.Module, **changes: object) -> Self:
        """Return this net with another module in place of its own, for inference alone."""
        # The attributes alone: skorch's own ways to copy a net would copy every tensor.
        other = object.__new__(type(self))
        other.__dict__ = {**self.__dict__, "module_": module, **changes}
        return other

    def scores(self, X: Batch, *, whole: bool = False) -> Any:
        """Return the raw outputs for a batch on the net's device, by the net's own inference.

        Those of chains that train as one have the chains as a new first axis. With `whole`, several
        outputs of a module are returned as they are, not the first of them.
        """
        if isinstance(self.module_, Chains):
            return self.module_.each(self.module_.shared(X))
        if self.infers_plainly():
            outputs = call_module(self.module_, X)
        elif type(self).evaluation_step is not NeuralNet.evaluation_step:
            outputs = self.evaluation_step((X, None), training=False)
        else:
            outputs = self.infer(X)
        return outputs if whole else first_output(outputs)

    @classmethod
    def infers_plainly(cls) -> bool:
        """Tell whether inference is a call of the module and nothing else."""
        return cls.infer is NeuralNet.infer and cls.evaluation_step is NeuralNet.evaluation_step

    def probe(self, X: Batch, *, whole: bool = False) -> Any:
        """Return the scores of a few rows; buffers and generators are left as found."""
        tensors = itertools.chain(self.module_.parameters(), self.module_.buffers())
        device = next((tensor.device for tensor in tensors), None)
        with torch.no_grad(), evaluating(self.module_), forked(device):
            return self.scores(X, whole=whole)

    def get_loss(self, y_pred: Any, y_true: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the loss, of the first of several outputs where the criterion takes that."""
        y_pred = first_output(y_pred) if self.takes_first_ else y_pred
        # Not the next class's: that of skorch's classifier takes a logarithm first.
        return NeuralNet.get_loss(self, y_pred, y_true, *args, **kwargs)

    def get_params_for_optimizer(
        self, prefix: str, named_parameters: Iterable[tuple[str, nn.Parameter]]
    ) -> tuple[tuple[list[Options]], Options]:
        """Ask for torch's fused step where it exists and the user asks for nothing else."""
        args, kwargs = super().get_params_for_optimizer(prefix, named_parameters)
        optimizer = getattr(self, prefix, None)
        if optimizer in _FUSABLE and not {"fused", "foreach", "differentiable"} & kwargs.keys():
            parameters = [p for group in args[0] for p in group["params"]]
            # A fused step takes no sparse gradients, such as those of embeddings.
            is_sparse = any(getattr(part, "sparse", False) for part in self.module_.modules())
            kwargs["fused"] = not is_sparse and all(
                p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters
            )
        return args, kwargs

    def get_iterator(self, dataset: Rows | RowsOfChains, training: bool = False) -> Batches:
        """Make batches from memory, or a DataLoader where that is asked for or needed."""
        if isinstance(dataset, RowsOfChains):
            return dataset
        if not training:
            later = self._later_iterator(dataset)
            views = None if self.session_ is None else self.session_.views
            return later if views is None else InFirstView(later, views)
        session = self.session_
        weighted = getattr(dataset, "weight", None) is not None
        if self.iterator_train is DataLoader:
            generators: list[torch.Generator | None] = [None] * len(dataset.chains)
            of_loader = None
            if session is not None:
                generators = [chain.batches for chain in session.generators]
                of_loader = session.generators[0].of_loader
            options = self.get_params_for("iterator_train")
            of_chains = isinstance(self.module_, Chains)
            iterator = training_batches(
                dataset,
                self.batch_size,
                generators,
                options,
                of_chains=of_chains,
                of_loader=of_loader,
            )
        elif weighted:
            raise ValueError(
                f"Got weights with net__iterator_train={self.iterator_train!r}, but expected "
                "no iterator of your own: it would not hand out the weights."
            )
        else:
            iterator = super().get_iterator(dataset, training=True)
        if session is None:
            return iterator
        return _budgeted(self, session, iterator, self._take_weight if weighted else None)

    def _later_iterator(self, dataset: Rows) -> Batches:
        """Make batches outside of training, without weights and in order."""
        if isinstance(dataset, TensorRows):
            return BatchIterator(dataset.with_chains([]), self.batch_size)
        if isinstance(dataset, DatasetRows):
            dataset = DatasetRows(dataset.X, dataset.y)
        iterator = super().get_iterator(dataset)
        if isinstance(iterator, DataLoader) and iterator.generator is None:
            # A loader draws a seed even where it shuffles nothing; a callback that predicts
            # would move the generator from which dropout is drawn.
            iterator.generator = torch.Generator()
        return iterator

    def get_split_datasets(
        self, X: Rows, y: None = None, **_: object
    ) -> tuple[Rows, TensorRows | RowsOfChains | None]:
        """Return all rows, and those that are to be looked at after each epoch."""
        return X, None if self.session_ is None else self.session_.valid

    def _take_weight(self, weight: torch.Tensor) -> None:
        assert isinstance(self.criterion_, WeightedLoss)
        self.criterion_.take_weight(to_device(weight, self.device).reshape(-1))

    def run_single_epoch(
        self, iterator: Batches | None, training: bool, prefix: str, step_fn: object, **kw: object
    ) -> None:
        """Run one epoch, on the lean path where nobody listens to batches: the same steps.

        There ``history`` gets one row for the epoch; see :mod:`.steps` for what else is left out.
        """
        if isinstance(iterator, RowsOfChains):
            validate_chains(self, iterator, prefix)
            return
        session = self.session_
        if training and session is not None and iterator is not None:
            if not isinstance(iterator, Budgeted):
                if isinstance(self.criterion_, WeightedLoss):
                    raise ValueError(
                        f"Got weights with net={type(self).__name__}, whose get_iterator makes one "
                        "of its own, but expected none: it would not hand out the weights."
                    )
                iterator = _budgeted(self, session, iterator)
            if self.is_lean():
                train_lean(self, session, iterator, prefix)
                return
        super().run_single_epoch(iterator, training, prefix, step_fn, **kw)

    def is_lean(self) -> bool:
        """Tell whether neither the class nor a callback of the user's looks at single batches."""
        for name in (*_STEP, *_LOOP):
            own = (getattr(NeuralNet, name), getattr(SnapshotNet, name))
            if getattr(type(self), name) not in own or name in vars(self):
                return False
        session = self.session_
        ours = () if session is None else (session.rate, session.recorder)
        return not any(listens(cb) for _, cb in self.callbacks_ if cb not in ours)

    def join(self, modules: list[nn.Module]) -> None:
        """Train the modules of several chains as one."""
        self.module_ = Chains([copy_of(module) for module in modules])
        self._quietly(_compat.remake_optimizer)

    def of_one_chain(self) -> Self:
        """Return this net with the module of one chain, whatever its parameters are."""
        if isinstance(self.module_, Chains):
            return self.with_module(self.module_.single())
        return self

    def settle(self) -> None:
        """Put the first chain in place of all after a run: a module that one can call."""
        if isinstance(self.module_, Chains):
            batched = self.module_
            self.__dict__["batched_"] = batched  # skorch's own setter would initialize it
            self.module_ = batched.single()
            for parameter in batched.parameters():  # until a later run sets them anew
                parameter.grad = None

    def resume(self) -> None:
        """Put all chains back before a further run."""
        if self.batched_ is not None:
            self.module_ = self.batched_

    def weigh_criterion(self) -> None:
        """Weigh the rows of the loss from here on; a criterion's own parameters stay."""
        if not isinstance(self.criterion_, WeightedLoss):
            with _compat.initializing(self, "criterion"):
                self.criterion_ = WeightedLoss(self.criterion_)

    def redraw(self) -> None:
        """Draw new parameters and start the optimizer anew: a cold restart."""
        if not isinstance(self.module_, Chains):
            self.reset_instances()
            self._quietly(_compat.remake_module, _compat.remake_optimizer)
            return
        assert self.session_ is not None
        modules: list[nn.Module] = []
        for generators in self.session_.generators:
            with generators.within():  # each chain draws what it would draw alone
                self.reset_instances()
                self._quietly(_compat.remake_module)
            modules.append(copy_of(self.module_))
        self.join(modules)

    def reset_instances(self) -> None:
        """Draw new parameters for what is not made anew: the module or its arguments."""
        for part in (self.module, *self.get_params_for("module").values()):
            if isinstance(part, nn.Module):
                reset_parameters(part)

    def _quietly(self, *initializers: Callable[[NeuralNet], None]) -> None:
        """Initialize again, without skorch's lines about it."""
        verbose, self.verbose = self.verbose, 0
        try:
            for initialize in initializers:
                initialize(self)
        finally:
            self.verbose = verbose

    def __getstate__(self) -> Options:
        """Keep arrays in place of tensors, optimizers as state dicts, and nothing of the data."""
        return as_arrays(_kept(self))

    def __setstate__(self, state: Options) -> None:
        self.__dict__.update(state["net"])
        # skorch's own check warns and moves to the CPU where the device is missing here.
        self.device = _compat.check_device(self, self.device, get_map_location(self.device))
        for part in [*_compat.modules_of(self), self.batched_]:
            if isinstance(part, nn.Module) and self.device is not None:
                part.to(self.device)
        module = self.module_
        self.resume()  # the optimizer's parameters are those of all chains
        with _compat.initializing(self, "optimizer"):
            self.initialize_optimizer()
        self.module_ = module
        for name, optimizer in _compat.optimizers_of(self).items():
            optimizer.load_state_dict(state["optimizers"][name])

    def __reduce__(self) -> tuple[object, ...]:
        # A class that mixed_net made cannot be imported by name: the class it was made from can.
        return _new_net, (getattr(type(self), "_mixed_into", type(self)),), self.__getstate__()


def _budgeted(
    net: SnapshotNet,
    session: Session,
    iterator: Batches,
    take_weight: Callable[[torch.Tensor], None] | None = None,
) -> Budgeted:
    """Return the batches that a run may still take, each as the module is to see it."""
    prepare = session.preparing(of_chains=isinstance(net.module_, Chains))
    return Budgeted(iterator, session.budget, take_weight, prepare)


class ClassifierNet(_compat.RawScores, SnapshotNet, NeuralNetClassifier):
    """The net of :class:`SnapshotEnsembleClassifier`: raw scores, without skorch's extra log."""


class LabelNet(ClassifierNet):
    """The net of a classifier of several labels a row."""

    head = functools.partial(torch.sigmoid)

    @property
    def classes_(self) -> Array:
        """Return a table, by which scorers of scikit-learn tell several labels from classes."""
        return np.tile(np.arange(2), (2, 1))

    def predict(self, X: Any) -> Array:
        """Return 0 or 1 for each label."""
        return (self.predict_proba(X) > 0.5).astype(np.int64)


class RegressorNet(SnapshotNet, NeuralNetRegressor):
    """The net of :class:`SnapshotEnsembleRegressor`."""


def has_plain_loss(net: SnapshotNet) -> bool:
    """Tell whether a net's loss is a call of its criterion and nothing else."""
    if type(net).get_loss not in (NeuralNet.get_loss, SnapshotNet.get_loss):
        return False
    steps = ("train_step", "train_step_single")
    return all(getattr(type(net), name) is getattr(NeuralNet, name) for name in steps)


def copy_net(net: SnapshotNet) -> SnapshotNet:
    """Copy a net, also where its module holds what deepcopy refuses."""
    try:
        return copy.deepcopy(net)
    except Exception:  # whatever a part of the module raises
        made = object.__new__(type(net))
        made.__setstate__(copy_of(_kept(net)))
        return made


def _kept(net: SnapshotNet) -> Options:
    """Return a net's state with optimizers as state dicts, and nothing of the data.

    An optimizer knows its parameters by identity, which they lose as arrays. It is made anew around
    the loaded module, and takes up its state there. The session refers to the data.
    """
    state = vars(net).copy()
    state.pop("session_", None)
    names = _compat.optimizers_of(net)
    optimizers = {name: state.pop(name + "_").state_dict() for name in names}
    return {"net": state, "optimizers": optimizers}


_mixed: dict[type[NeuralNet], type[SnapshotNet]] = {}


def mixed_net(net: type[NeuralNet]) -> type[SnapshotNet]:
    """Put :class:`SnapshotNet` behind a user's skorch class, whose methods come first."""
    if issubclass(net, SnapshotNet):
        return net
    if issubclass(SnapshotNet, net):  # skorch's own NeuralNet, which ours extends already
        return SnapshotNet
    if net not in _mixed:
        extra = {"_mixed_into": net, "__doc__": net.__doc__, "__module__": net.__module__}
        _mixed[net] = type(net.__name__, (net, SnapshotNet), extra)
    return _mixed[net]


def _new_net(net: type[NeuralNet]) -> SnapshotNet:
    mixed = mixed_net(net)
    return mixed.__new__(mixed)
