"""What classifier and regressor share: from X and y to fitted members.

:meth:`BaseSnapshotEnsemble._train` is the story of a fit, from top to bottom.
"""

import copy
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import _check_sample_weight, _check_y, check_is_fitted
from skorch.utils import to_device

from . import inputs, schedules
from .batches import DatasetRows, TensorRows, numpy_type, to_tensor
from .defaults import SMALL, auto_batch_size, auto_max_epochs
from .generators import private_generators, seed_of
from .inference import chunk_size, member_outputs
from .interrupts import Interrupts
from .members import average, cycle_weights
from .modules import data_arguments, float_type
from .parameters import NetParameters
from .progress import Progress
from .runs import Run
from .snapshots import Snapshots, uncompiled
from .tables import TableScaler
from .threads import few_threads
from .training import SnapshotNet, copied, new_net

#: Rows on which a module is tried out before training, and each snapshot when it is taken.
EXAMPLE = 8


class Examples(NamedTuple):
    """Validated input of one call."""

    #: One of the inputs of :mod:`skensemble.inputs`.
    X: Any
    y: NDArray[Any]
    #: The user's weights, for statistics of columns and targets; None: all are equal.
    sample_weight: NDArray[np.float64] | None
    #: Those times the class weights, of mean 1, for the loss; None: all are 1.
    loss_weight: NDArray[np.float64] | None


class BaseSnapshotEnsemble(NetParameters):
    """Trains one network over several cycles and keeps a snapshot of each.

    A child says how targets are encoded (:meth:`_encode_y`), what the loss is
    (:meth:`_default_criterion`), and what a member's output means (:meth:`_member_values`).
    """

    # Where scikit-learn's HTML representation links to.
    _doc_link_module = "skensemble"
    _doc_link_template = (
        "https://skensemble.readthedocs.io/en/stable/generated/skensemble.{estimator_name}.html"
    )

    # -------------------------------------------------- what a fit leaves behind, all at once

    net_: SnapshotNet
    n_iter_: int
    n_cycles_: int
    member_weights_: NDArray[np.float64]
    _snapshots_: Snapshots
    _members_: Any
    _generators_: dict[str, Any]
    _row_shape_: Any
    _scaler_: TableScaler | None
    _dtype_: torch.dtype
    _is_small_: bool
    _n_steps_: int
    _top_lr_: float

    _fitted_names = frozenset(
        {
            "n_features_in_",
            "feature_names_in_",
            "net_",
            "n_iter_",
            "n_cycles_",
            "member_weights_",
            "_snapshots_",
            "_members_",
            "_generators_",
            "_row_shape_",
            "_scaler_",
            "_dtype_",
            "_is_small_",
            "_n_steps_",
            "_made_of_",
            "_top_lr_",
        }
    )

    # -------------------------------------------------------------------- hooks of a child

    @abstractmethod
    def _encode_y(self, y: Any, sample_weight: Any, *, go_on: bool, classes: Any) -> NDArray[Any]:
        """Check targets, learn what predict must undo, and return them as the loss takes them."""

    @abstractmethod
    def _n_outputs(self) -> int:
        """Outputs that the network must have."""

    @abstractmethod
    def _check_output(self, output: torch.Tensor, n_samples: int) -> None:
        """Refuse a module whose output does not fit the targets."""

    @abstractmethod
    def _target_tensor(self, y: NDArray[Any], output: torch.Tensor) -> torch.Tensor:
        """Encoded targets as the criterion takes them beside such an output."""

    @abstractmethod
    def _member_values(self, outputs: torch.Tensor) -> torch.Tensor:
        """What is averaged over members, in float64, (M, n, k), from their raw outputs."""

    def _weigh_classes(self, y: NDArray[Any], weight: Any) -> Any:
        """Weights of the loss from the user's: a regressor has no classes."""
        return weight

    # ------------------------------------------------------------------------ fitting

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Train the network through all cycles and keep a snapshot of each.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Training rows. The built-in network takes tables; a module of your own takes what its
            ``forward`` does, floats as float32 and integers as int64.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels or target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss and in the statistics of the columns. None: all equal.

        Returns
        -------
        self : object
            With ``warm_start=True`` and a fitted ensemble, a full budget of cycles is added to it.

        Raises
        ------
        ValueError
            If a parameter, the data or the module does not fit; the estimator is then as before.
        """
        go_on = bool(self.warm_start) and self.__sklearn_is_fitted__()
        return self._train(X, y, sample_weight, go_on=go_on)

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any, classes: Any = None) -> Self:
        go_on = self.__sklearn_is_fitted__()
        return self._train(X, y, sample_weight, go_on=go_on, one_cycle=True, classes=classes)

    def _train(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        go_on: bool,
        one_cycle: bool = False,
        classes: Any = None,
    ) -> Self:
        """From X and y to fitted members; all of it on a draft that replaces self at the end."""
        draft = self._draft(keep_fitted=go_on)
        if go_on:
            draft._check_unchanged()
        draft._check_parameters()
        data = draft._read(X, y, sample_weight, go_on=go_on, classes=classes)
        device = torch.device(self.device or "cpu")
        seed = 0 if go_on else seed_of(self.random_state)
        with (
            Interrupts() as interrupts,
            private_generators(device) as generators,
            torch.inference_mode(False),  # a user may fit within one of torch's modes
            torch.enable_grad(),
        ):
            if go_on:
                generators.restore(self._generators_)
            else:
                generators.seed(seed)
                draft._learn_columns(data)
            net, rows = draft._prepare(data, go_on=go_on)
            example = to_device(rows.X[:EXAMPLE], net.device)
            n_rows, batch_size = min(EXAMPLE, len(rows)), min(net.batch_size, len(rows))
            with few_threads(net, example, n_rows, batch_size):
                run = draft._plan(
                    net, rows, example, generators.batches, interrupts, go_on, one_cycle
                )
                states = run.train(net, rows, redraw=go_on and self.restart == "cold")
                draft._n_steps_ = max(0, draft._n_steps_ + run.recorder.step)
            draft._commit(net, states, generators.state(), go_on=go_on)
            self.__dict__ = draft.__dict__
        for message in run.messages():
            warnings.warn(message, RuntimeWarning, stacklevel=4 if one_cycle else 3)
        return self

    def _draft(self, keep_fitted: bool) -> Self:
        """A stand-in to work on, so that an error leaves this estimator as it was."""
        draft = object.__new__(type(self))
        draft.__dict__ = {
            name: value
            for name, value in vars(self).items()
            if keep_fitted or name not in self._fitted_names
        }
        return draft

    # ----------------------------------------------------------------- checking what came

    def _read(self, X: Any, y: Any, sample_weight: Any, *, go_on: bool, classes: Any) -> Examples:
        """Validated input; the number and names of features are learned or compared."""
        if y is not None:
            self._refuse_multilabel(y)
        source, y = self._read_input(X, y, reset=not go_on)
        if y is None:  # a dataset has its own
            y = source.targets()
            self._refuse_multilabel(y)
            y = _check_y(y, **self._y_checks())
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight,
                np.empty((source.n_samples, 1)),
                dtype=np.float64,
                ensure_non_negative=True,
            )
            if not sample_weight.any():
                raise ValueError(
                    "Got sample_weight with zeros alone, but expected at least one above zero "
                    "(Invalid weights: all weights are zero)."
                )
            if _all_equal(sample_weight):  # no other bits than without, whatever their value
                sample_weight = None
        y = self._encode_y(y, sample_weight, go_on=go_on, classes=classes)
        loss_weight = _of_mean_one(self._weigh_classes(y, sample_weight))
        return Examples(source, y, sample_weight, loss_weight)

    def _read_input(self, X: Any, y: Any = "no_validation", *, reset: bool) -> tuple[Any, Any]:
        """X, and y beside it, checked; rows of another shape than in fit are refused here."""
        source, y = inputs.read(
            self, X, y, reset=reset, X_checks=self._X_checks(), y_checks=self._y_checks()
        )
        if self.module is None and not isinstance(source, inputs.ArrayInput):
            raise ValueError(
                f"Got X of type {type(X).__name__} with module=None, but expected a table: the "
                "built-in network takes no dicts and no datasets."
            )
        if reset:
            self._row_shape_ = source.row_shape
        elif source.row_shape != self._row_shape_:
            raise ValueError(
                f"Got X with rows of shape {source.row_shape}, but expected {self._row_shape_} as "
                "in fit."
            )
        return source, y

    def _refuse_multilabel(self, y: Any) -> None:
        """Nothing to refuse in a regressor."""

    def _y_checks(self) -> dict[str, Any]:
        return {}

    def _X_checks(self) -> dict[str, Any]:
        if self.module is None:
            return {"dtype": [np.float64, np.float32], "accept_sparse": "csr"}
        return {"dtype": "numeric", "allow_nd": True, "accept_sparse": "csr"}

    # ------------------------------------------------------------------------ preparing

    def _learn_columns(self, data: Examples) -> None:
        """What the network gets to see of X: a module of the user's sees it as it is."""
        n_samples = data.X.n_samples
        one_batch = self._batch_size(n_samples) >= n_samples
        self._is_small_ = self.module is None and n_samples <= SMALL and one_batch
        if self.module is not None:
            self._scaler_, self._dtype_ = None, float_type(self.module)
            return
        has_float64 = torch.device(self.device or "cpu").type != "mps"
        self._dtype_ = torch.float64 if self._is_small_ and has_float64 else torch.float32
        weight = data.sample_weight
        if self._is_small_ and weight is None:
            weight = np.ones(n_samples)  # one way to take quantiles: no two roundings
        self._scaler_ = TableScaler().fit(data.X.X, weight)

    def _tensor(self, X: NDArray[Any]) -> torch.Tensor:
        """Rows as the module takes them."""
        if self._scaler_ is not None:
            X = self._scaler_.transform(X, numpy_type(self._dtype_))
        return to_tensor(X, self._dtype_)

    def _prepare(self, data: Examples, *, go_on: bool) -> tuple[SnapshotNet, Any]:
        """The net, initialised or carried on, and the rows on its device."""
        if isinstance(data.X, inputs.DatasetInput):
            data.X.dtype = self._dtype_
        X = data.X.rows(self._tensor)
        example, batch_size = X[:EXAMPLE], self._batch_size(len(X))
        if go_on:
            net = self._carried_on()
            net.batch_size = batch_size
        else:
            net = self._new_net(example, batch_size, self._max_epochs(len(X)))
        output = self._try_out(net, to_device(example, net.device))
        self._check_output(output, min(EXAMPLE, len(X)))
        y = self._target_tensor(data.y, output)
        weight = None
        if data.loss_weight is not None:
            net.weigh_criterion()
            weight = torch.from_numpy(data.loss_weight).to(output.dtype)
        if isinstance(X, inputs.DatasetInput):  # a loader moves each batch
            return net, DatasetRows(X, y, weight)
        weight = None if weight is None else weight.to(net.device)
        return net, TensorRows(X.to(net.device), y.to(net.device), weight)

    def _new_net(self, example: Any, batch_size: int, max_epochs: int) -> SnapshotNet:
        net_class = self._net_class if self.net is None else self.net
        criterion = self._default_criterion() if self.criterion is None else self.criterion
        return new_net(
            net_class,
            example=example,
            callbacks=self.callbacks,
            criterion=copy.deepcopy(criterion),
            optimizer=self.optimizer,
            lr=self.lr,
            max_epochs=max_epochs,
            batch_size=batch_size,
            device=self.device,
            verbose=int(self.verbose),
            **self._net_arguments(),
        )

    def _net_arguments(self) -> dict[str, Any]:
        """Module and keywords as skorch's net takes them."""
        # Copied with one memo: instances among the arguments are trained, and may be shared.
        keywords, module = copy.deepcopy((self._keywords(), self._module()))
        arguments = {
            name.removeprefix("net__"): value
            for name, value in keywords.items()
            if not name.startswith("schedule__")
        }
        given = set(self._by_prefix("module"))
        sizes: dict[str, Any] = {"n_outputs": self._n_outputs()}
        if isinstance(self._row_shape_, tuple) and self._row_shape_:
            sizes["n_inputs"] = self._row_shape_[0]
        if self.module is None:
            sizes["dtype"] = self._dtype_
        for name, size in data_arguments(module, given, sizes).items():
            arguments[f"module__{name}"] = size
        if self._is_small_:
            arguments["module__dropout"] = 0.0
        return {"module": module, **arguments}

    def _carried_on(self) -> SnapshotNet:
        """A copy of the fitted net, at the learning rate of now, with the callbacks as they are."""
        net = copy.deepcopy(self.net_)
        callbacks = copied([callback for _, callback in self.net_.callbacks_])
        names = [name for name, _ in self.net_.callbacks_]
        net.callbacks_ = list(zip(names, callbacks, strict=True))
        ratio = self._highest_lr() / self._top_lr_
        if ratio != 1:
            for name in net._optimizers:
                for group in getattr(net, name + "_").param_groups:
                    group["initial_lr"] *= ratio
        return net

    def _try_out(self, net: SnapshotNet, example: Any) -> torch.Tensor:
        """Output for a few rows; what the module says of them is said with their shape."""
        try:
            return net.probe(example)
        except Exception as error:
            raise ValueError(
                f"Got module={self._module_name()}, but expected one that takes "
                f"{inputs.described(example)}: {error}"
            ) from error

    def _batch_size(self, n_samples: int) -> int:
        return auto_batch_size(n_samples) if self.batch_size == "auto" else int(self.batch_size)

    def _max_epochs(self, n_samples: int) -> int:
        return auto_max_epochs(n_samples) if self.max_epochs == "auto" else int(self.max_epochs)

    # ------------------------------------------------------------------------- the run

    def _plan(
        self,
        net: SnapshotNet,
        rows: Any,
        example: Any,
        generator: torch.Generator,
        interrupts: Interrupts,
        go_on: bool,
        one_cycle: bool,
    ) -> Run:
        """How many steps, in which cycles, at which rates."""
        steps_per_epoch = len(net.get_iterator(rows, training=True))
        if steps_per_epoch == 0:
            raise ValueError(
                f"Got an iterator with no batch for {len(rows)} rows, but expected one at least."
            )
        n_steps = self._max_epochs(len(rows)) * steps_per_epoch
        n_cycles, burn_in = self.n_cycles, 0
        if one_cycle:
            n_steps, n_cycles = max(1, round(n_steps / n_cycles)), 1
        elif not go_on:
            burn_in = self._burn_in_steps(steps_per_epoch, n_steps)
        n_cycles = self._at_most(n_cycles, n_steps - burn_in)
        first_cycle, first_step = (self.n_cycles_, self._n_steps_) if go_on else (0, 0)
        options = self._by_prefix("schedule")
        plan = schedules.Plan.of(
            n_steps,
            n_cycles,
            schedule=self.schedule,
            cycle_mult=self.cycle_mult,
            floor=options.get("min_lr", 0.0) / self._highest_lr(),
            burn_in_steps=burn_in,
            first_step=first_step,
            first_cycle=first_cycle,
            **{k: v for k, v in options.items() if k in schedules.shape_options()},
        )
        self._n_steps_ = first_step - burn_in  # the run's own are added when they are done
        progress = None
        if self.verbose:
            progress = Progress(n_cycles, steps_per_epoch, n_steps, first_cycle)
        return Run(
            plan,
            steps_per_epoch,
            generator,
            interrupts,
            example,
            cold=self.restart == "cold",
            progress=progress,
        )

    def _burn_in_steps(self, steps_per_epoch: int, n_steps: int) -> int:
        epochs = self._by_prefix("schedule").get("burn_in_epochs", 0)
        burn_in = round(epochs * steps_per_epoch)
        if burn_in >= n_steps:
            raise ValueError(
                f"Got schedule__burn_in_epochs={epochs!r}, which are {burn_in} steps, but expected "
                f"fewer than the {n_steps} of the budget."
            )
        return burn_in

    def _at_most(self, n_cycles: int, n_steps: int) -> int:
        if n_cycles <= n_steps:
            return n_cycles
        warnings.warn(
            f"Got n_cycles={n_cycles} for {n_steps} steps; every cycle needs a step, so there are "
            f"{n_steps} cycles.",
            UserWarning,
            stacklevel=5,
        )
        return n_steps

    def _commit(
        self, net: SnapshotNet, states: list[Any], generators: dict[str, Any], *, go_on: bool
    ) -> None:
        """Fitted attributes, all at once."""
        self._snapshots_ = self._snapshots_.extended(states) if go_on else Snapshots(states)
        self._generators_ = generators
        self.net_ = net
        self.n_iter_ = len(net.history_)
        self.n_cycles_ = len(self._snapshots_)
        self.member_weights_ = cycle_weights(self.members, self.n_cycles_)
        self._members_ = self.members
        self._top_lr_ = self._highest_lr()
        self._made_of_ = self._made_of()

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there are snapshots to predict with."""
        return hasattr(self, "_snapshots_")

    @property
    def history_(self) -> Any:
        """What skorch recorded of the training: a row for each epoch."""
        return self.net_.history_

    @property
    def snapshots_(self) -> list[dict[str, torch.Tensor]]:
        """Copies of the parameters and buffers of each cycle; each loads into a fresh module."""
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"{type(self).__name__} has no snapshots_ before fit.")
        kept = uncompiled(self.net_.module_).state_dict()
        return [{k: v for k, v in s.items() if k in kept} for s in self._snapshots_[:]]

    # ----------------------------------------------------------------------- predicting

    def _values(self, X: Any, members: NDArray[Any]) -> Iterator[tuple[int, torch.Tensor]]:
        """What the members given say of X: the number of rows, and ``(members, rows, k)``."""
        source, _ = self._read_input(X, reset=False)
        size = chunk_size(self.net_)
        if isinstance(source, inputs.DatasetInput):
            source.dtype, size = self._dtype_, self.net_.batch_size
        device = torch.device(self.net_.device or "cpu")
        chunks = source.chunks(self._tensor, size)
        if device.type != "cpu":
            chunks = (to_device(chunk, device) for chunk in chunks)
        for outputs in member_outputs(self.net_, self._snapshots_.to(device), members, chunks):
            yield source.n_samples, self._member_values(outputs.cpu())

    def _combined(self, X: Any, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weighted combinations of members: ``(S, members)`` weights give ``(S, n, k)``."""
        members = np.flatnonzero(weights.any(axis=0))
        chosen = torch.from_numpy(weights[:, members])
        return self._gathered(X, members, lambda values: self._vote(values, chosen))

    def _gathered(
        self, X: Any, members: NDArray[Any], combine: Callable[[torch.Tensor], torch.Tensor]
    ) -> NDArray[np.float64]:
        """What is made of the members' values, all rows along the second axis."""
        out, done = torch.empty(0, 0, 0, dtype=torch.float64), 0
        for n_samples, values in self._values(X, members):
            part = combine(values)
            if not done:  # the only memory that grows with the rows
                out = out.new_empty(len(part), n_samples, part.shape[2])
            out[:, done : done + part.shape[1]] = part
            done += part.shape[1]
        return out.numpy()

    def _vote(self, values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """How members are combined; a classifier may count votes instead."""
        return average(values, weights)

    def _ensemble(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        return self._combined(X, self.member_weights_[None, :])[0]

    def _stages(self, X: Any) -> NDArray[np.float64]:
        """The ensemble as it would be after each number of cycles, ``(M, n, k)``."""
        check_is_fitted(self)
        n = self.n_cycles_
        weights = np.zeros((n, n))
        for m in range(1, n + 1):
            weights[m - 1, :m] = cycle_weights(self._members_, m)
        return self._combined(X, weights)

    def _each_member(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        return self._gathered(X, np.arange(self.n_cycles_), lambda values: values)


def _of_mean_one(weight: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Weights scaled to mean 1; None where they are all equal, which changes no bit."""
    if weight is None or _all_equal(weight):
        return None
    weight = weight / weight.max()  # first, lest the sum overflow
    return weight * (len(weight) / weight.sum())


def _all_equal(weight: NDArray[np.float64]) -> bool:
    return bool((weight == weight[0]).all())
