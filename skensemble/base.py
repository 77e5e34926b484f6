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
from sklearn.base import is_classifier
from sklearn.utils.validation import (
    _check_sample_weight,
    _check_y,
    check_consistent_length,
    check_is_fitted,
)
from skorch.utils import to_device
from torch.utils.data import Dataset

from . import schedules
from ._data import sources as inputs
from ._data.batches import DatasetRows, Draw, TensorRows, numpy_type, to_tensor
from ._data.encoder import TableEncoder
from ._data.folds import Folds, folds
from ._data.frames import Columns, is_frame
from ._nets.chains import can_train_as_one
from ._nets.generators import Generators, chain_seed, private_generators, seed_of
from ._nets.inference import chunk_size, member_outputs
from ._nets.modules import check_can_reset, data_arguments, float_type
from ._nets.snapshots import Snapshots, State, uncompiled
from ._training.interrupts import Interrupts
from ._training.net import SnapshotNet, new_net
from ._training.progress import Progress
from ._training.run import Lane, Run
from ._training.threads import few_threads
from ._training.user_callbacks import copied
from .defaults import (
    SMALL,
    auto_batch_size,
    auto_column_dropout,
    auto_hidden,
    auto_max_epochs,
    auto_n_chains,
)
from .members import average, cycle_weights, needs_unseen
from .parameters import NetParameters
from .unseen import UnseenRows

#: What only unseen rows can tell.
_UNSEEN_NAMES = ("validation_score_", "cycle_scores_", "oof_decision_function_", "oof_prediction_")

#: Rows on which a module is tried out before training, and each snapshot when it is taken.
EXAMPLE = 8


class Examples(NamedTuple):
    """Validated input of one call."""

    #: One of the inputs of :mod:`skensemble._data.sources`.
    X: Any
    y: NDArray[Any]
    #: The user's weights, for statistics of columns and targets; None: all are equal.
    sample_weight: NDArray[np.float64] | None
    #: Those times the class weights, of mean 1, for the loss; None: all are 1.
    loss_weight: NDArray[np.float64] | None


class Prepared(NamedTuple):
    """What a run trains, and what it is judged by."""

    #: One, or one a chain where they train one after another.
    nets: list[SnapshotNet]
    #: With a draw for each chain.
    rows: Any
    unseen: UnseenRows | None
    #: For each chain the rows for callbacks that look at unseen ones.
    valid: list[Any]


class BaseSnapshotEnsemble(NetParameters):
    """Trains chains of a network over several cycles and keeps a snapshot of each.

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
    n_chains_: int
    member_weights_: NDArray[np.float64]
    validation_score_: float
    cycle_scores_: NDArray[np.float64]
    _snapshots_: Snapshots
    _nets_: list[SnapshotNet]
    _stage_weights_: NDArray[np.float64]
    _generators_: list[dict[str, Any]]
    _seed_: int
    _left_out_by_: tuple[str, Any]
    _row_shape_: Any
    _columns_: Columns | None
    _encoder_: TableEncoder | None
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
            "n_chains_",
            "member_weights_",
            *_UNSEEN_NAMES,
            "_snapshots_",
            "_nets_",
            "_stage_weights_",
            "_generators_",
            "_seed_",
            "_left_out_by_",
            "_row_shape_",
            "_columns_",
            "_encoder_",
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
    def _truth(self, y: NDArray[Any]) -> NDArray[Any]:
        """Encoded targets as members' values are compared with them."""

    @abstractmethod
    def _member_values(self, outputs: torch.Tensor) -> torch.Tensor:
        """What is averaged over members, in float64, (M, n, k), from their raw outputs."""

    def _weigh_classes(self, y: NDArray[Any], weight: Any, is_held: bool) -> Any:
        """Weights of the loss from the user's: a regressor has no classes."""
        return weight

    # ------------------------------------------------------------------------ fitting

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        groups: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Train all chains through all cycles and keep a snapshot of each.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Training rows. The built-in network takes tables; a module of your own takes what its
            ``forward`` does, floats as float32 and integers as int64.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels or target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss, in the statistics of the columns and in the scores of
            unseen rows. None: all equal.
        groups : array-like of shape (n_samples,), default=None
            Rows of one group are left out together: handed to the splitter given as `validation`,
            or hashed in place of the row.
        X_val : array-like of shape (n_val, n_features) or (n_val, ...), default=None
            Rows to weigh and score the cycles by, in place of those that `validation` leaves out:
            all chains train on all of X.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs), default=None
            Their class labels or target values.
        sample_weight_val : array-like of shape (n_val,), default=None
            Their weights. None: all equal.

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
        held = (X_val, y_val, sample_weight_val)
        return self._train(X, y, sample_weight, go_on=go_on, groups=groups, held=held)

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
        groups: Any = None,
        held: tuple[Any, Any, Any] = (None, None, None),
    ) -> Self:
        """From X and y to fitted members; all of it on a draft that replaces self at the end."""
        draft = self._draft(keep_fitted=go_on)
        if go_on:
            draft._check_unchanged()
        draft._check_parameters()
        data = draft._read(X, y, sample_weight, go_on=go_on, classes=classes)
        held_data = draft._read_held(*held)
        if not go_on:
            draft._seed_ = seed_of(self.random_state)
        left = draft._choose_folds(data, held_data, groups, go_on=go_on)
        device = torch.device(self.device or "cpu")
        with (
            Interrupts() as interrupts,
            private_generators(device),
            torch.inference_mode(False),  # a user may fit within one of torch's modes
            torch.enable_grad(),
        ):
            generators = draft._draw_generators(device, go_on=go_on)
            with generators[0].within():
                if not go_on:
                    draft._learn_columns(data)
                ready = draft._prepare(data, held_data, left, generators, go_on=go_on)
            net, n_rows = ready.nets[0], len(ready.rows)
            example = to_device(ready.rows.X[:EXAMPLE], net.device)
            n_together = draft.n_chains_ // len(ready.nets) * min(net.batch_size, n_rows)
            with few_threads(net.alone(), example, min(EXAMPLE, n_rows), n_together):
                run = draft._plan(ready, example, generators, interrupts, go_on, one_cycle)
                states = run.train(redraw=go_on and self.restart == "cold")
                draft._n_steps_ = max(0, draft._n_steps_ + run.n_steps)
            draft._generators_ = [chain.state() for chain in generators]
            draft._commit(ready, states, go_on=go_on)
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

    def _read(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        go_on: bool,
        classes: Any,
        is_held: bool = False,
    ) -> Examples:
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
        loss_weight = _of_mean_one(self._weigh_classes(y, sample_weight, is_held))
        return Examples(source, y, sample_weight, loss_weight)

    def _read_held(self, X: Any, y: Any, sample_weight: Any) -> Examples | None:
        """Validated ``X_val`` and what belongs to it, where it is given."""
        if X is None:
            if y is not None or sample_weight is not None:
                raise ValueError("Got y_val or sample_weight_val without X_val, but expected both.")
            return None
        if y is None and not isinstance(X, Dataset):
            raise ValueError("Got X_val without y_val, but expected both.")
        try:
            return self._read(X, y, sample_weight, go_on=True, classes=None, is_held=True)
        except ValueError as error:
            raise ValueError(f"Of X_val, y_val and sample_weight_val: {error}") from error

    def _choose_folds(
        self, data: Examples, held: Examples | None, groups: Any, *, go_on: bool
    ) -> Folds | None:
        """How many chains there are, and which rows each leaves out."""
        n = data.X.n_samples
        if not go_on:
            self.n_chains_ = self._n_chains(data, groups)
        if groups is not None:
            check_consistent_length(groups, np.empty(n))
        how = self.validation
        if how == "auto":
            how = "cross" if self.n_chains_ > 1 else None
        if held is not None:
            how = None
        by = "groups" if groups is not None else getattr(data.X, "precision", "rows")
        how = self._as_before(how, by, held is not None, go_on=go_on)
        chosen = folds(how, self.n_chains_, data.X, data.y, groups, self._seed_)
        if chosen is not None and len(chosen.left_out) != self.n_chains_:
            raise ValueError(
                f"Got validation={how!r} with {len(chosen.left_out)} splits for "
                f"{self.n_chains_} chains, but expected as many: each chain leaves out one."
            )
        if chosen is None and how is not None and not go_on:
            warnings.warn(
                f"Got validation={how!r}, but the folds of these rows would leave a chain with "
                "none to train on, or leave out none at all: nothing is left out.",
                UserWarning,
                stacklevel=4,
            )
        is_wished = (
            how is None and held is None and (self.validation is None or not self._is_few(n))
        )
        if is_wished and needs_unseen(self.members):
            raise ValueError(
                f"Got members={self.members!r} and no rows that are left out, but expected some to "
                "choose by: set n_chains or validation, such as validation='cross', or give X_val "
                "and y_val."
            )
        return chosen

    def _as_before(self, how: Any, by: str, is_held: bool, *, go_on: bool) -> Any:
        """How rows are left out, or None where earlier calls trained on what would be unseen."""
        now = (by, how)
        if not go_on:
            self._left_out_by_ = now
        elif how is not None and (now != self._left_out_by_ or hasattr(how, "get_n_splits")):
            warnings.warn(
                "Rows were left out in another way in an earlier call, so that none is known to be "
                "unseen by all its cycles: this call leaves out none, and only X_val and y_val "
                "would give it rows to weigh the cycles by.",
                UserWarning,
                stacklevel=5,
            )
            self._left_out_by_ = now[0], None
            return None
        elif how is None and not is_held:
            self._left_out_by_ = now
        return how

    def _n_chains(self, data: Examples, groups: Any) -> int:
        n = data.X.n_samples
        if hasattr(self.validation, "get_n_splits"):
            n_splits = int(self.validation.get_n_splits(np.empty((n, 1)), data.y, groups))
            if self.n_chains not in ("auto", n_splits):
                raise ValueError(
                    f"Got n_chains={self.n_chains} and validation={self.validation!r} with "
                    f"{n_splits} splits, but expected as many: each chain leaves out one."
                )
            return n_splits
        if self.n_chains == "auto":
            return auto_n_chains(n, is_classifier(self)) if self.module is None else 1
        return self._at_most("n_chains", int(self.n_chains), n, "rows")

    def _is_few(self, n_samples: int) -> bool:
        """Whether "auto" leaves nothing out since there are so few rows."""
        return self.module is None and n_samples <= SMALL

    def _draw_generators(self, device: torch.device, *, go_on: bool) -> list[Generators]:
        """Those of each chain: at its seed, or where it came to."""
        starts: list[Any] = [chain_seed(self._seed_, k) for k in range(self.n_chains_)]
        return [Generators(device, start) for start in (self._generators_ if go_on else starts)]

    def _read_input(self, X: Any, y: Any = "no_validation", *, reset: bool) -> tuple[Any, Any]:
        """X, and y beside it, checked; rows of another shape than in fit are refused here."""
        if reset:
            self._columns_ = self._new_columns(X)
        source, y = inputs.read(
            self,
            X,
            y,
            reset=reset,
            X_checks=self._X_checks(),
            y_checks=self._y_checks(),
            columns=self._columns_,
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

    def _new_columns(self, X: Any) -> Columns | None:
        """What will tell the kinds of columns, where they are not all numbers by themselves."""
        named = self.categorical_features
        are_named = named is not None and not isinstance(named, str)
        return Columns(named) if self.module is None and (are_named or is_frame(X)) else None

    def _refuse_multilabel(self, y: Any) -> None:
        """Nothing to refuse in a regressor."""

    def _y_checks(self) -> dict[str, Any]:
        return {}

    def _X_checks(self) -> dict[str, Any]:
        if self.module is None:
            return {
                "dtype": [np.float64, np.float32],
                "accept_sparse": "csr",
                "ensure_all_finite": "allow-nan",
            }
        return {"dtype": "numeric", "allow_nd": True, "accept_sparse": "csr"}

    # ------------------------------------------------------------------------ preparing

    def _learn_columns(self, data: Examples) -> None:
        """What the network gets to see of X: a module of the user's sees it as it is."""
        n_samples = data.X.n_samples
        one_batch = self._batch_size(n_samples) >= n_samples
        self._is_small_ = self.module is None and n_samples <= SMALL and one_batch
        if self.module is not None:
            self._encoder_, self._dtype_ = None, float_type(self.module)
            return
        has_float64 = torch.device(self.device or "cpu").type != "mps"
        self._dtype_ = torch.float64 if self._is_small_ and has_float64 else torch.float32
        kinds = None if self._columns_ is None else self._columns_.is_categorical_
        self._encoder_ = TableEncoder().fit(data.X.X, data.sample_weight, kinds)

    def _tensor(self, X: NDArray[Any]) -> torch.Tensor:
        """Rows as the module takes them."""
        if self._encoder_ is not None:
            X = self._encoder_.transform(X, numpy_type(self._dtype_))
        return to_tensor(X, self._dtype_)

    def _prepare(
        self,
        data: Examples,
        held: Examples | None,
        left: Folds | None,
        generators: list[Generators],
        *,
        go_on: bool,
    ) -> Prepared:
        """The nets, initialised or carried on, and the rows on their device."""
        X = self._rows_of(data)
        example = X[:EXAMPLE]
        if go_on:
            nets = self._carried_on(self._batch_size(len(X)))
        else:
            nets = self._new_nets(example, len(X), generators, held is not None or left is not None)
        device = nets[0].device
        output = self._try_out(nets[0].alone(), to_device(example, device))
        self._check_output(output, min(EXAMPLE, len(X)))
        weight = None
        if data.loss_weight is not None:
            for net in nets:
                net.weigh_criterion()
            weight = torch.from_numpy(data.loss_weight).to(output.dtype)
        rows = _on_device(X, self._target_tensor(data.y, output), weight, device)
        rows = rows.with_draws(_draws(left, self.n_chains_, len(X)))
        if not go_on and self.n_chains_ > 1 and isinstance(rows, TensorRows):
            modules: list[torch.nn.Module] = [net.module_ for net in nets]
            if nets[0].trains_by_elements() and can_train_as_one(
                modules, to_device(example, device)
            ):
                nets[0].join(modules)
                nets = nets[:1]
        if left is None and held is None:
            return Prepared(nets, rows, None, [None] * self.n_chains_)
        judged, index = (data, left.left_out) if left is not None else (held, None)
        assert judged is not None
        looked_at = rows
        if index is None:
            X = self._rows_of(judged)
            looked_at = _on_device(X, self._target_tensor(judged.y, output), None, device)
            index = [np.arange(len(X))] * self.n_chains_
        weighs = judged.loss_weight is None or judged.loss_weight[np.concatenate(index)].any()
        if not weighs:
            return Prepared(nets, rows, None, [None] * self.n_chains_)
        unseen = self._unseen_rows(nets[0], looked_at.X, index, judged)
        valid: list[Any] = [None] * self.n_chains_
        if nets[0].looks_at_unseen():
            valid = [looked_at.part(torch.from_numpy(chosen)) for chosen in index]
        return Prepared(nets, rows, unseen, valid)

    def _rows_of(self, data: Examples) -> Any:
        """All rows as the module takes them, to be indexed by row numbers."""
        if isinstance(data.X, inputs.DatasetInput):
            data.X.dtype = self._dtype_
        row_bytes = 0
        if self._encoder_ is not None:
            row_bytes = self._encoder_.n_outputs_ * self._dtype_.itemsize
        return data.X.rows(self._tensor, row_bytes)

    def _unseen_rows(
        self, net: SnapshotNet, X: Any, index: list[NDArray[Any]], judged: Examples
    ) -> UnseenRows:
        return UnseenRows(
            net.alone(),
            X,
            index,
            self._truth(judged.y),
            judged.loss_weight,
            self._member_values,
            self._rule(),
        )

    def _rule(self) -> Any:
        """How cycles are weighted: "auto" looks at unseen rows where the loss there is known."""
        is_known = self.members != "auto" or self._is_loss_known()
        return self.members if is_known else "all"

    def _is_loss_known(self) -> bool:
        """Whether members' values can be compared with the targets: what a log-loss does."""
        return True

    def _new_nets(
        self, example: Any, n_samples: int, generators: list[Generators], leaves_out: bool
    ) -> list[SnapshotNet]:
        """A net for each chain, each with an initialisation of its own."""
        if self.n_chains_ > 1:
            for part in (self.module, *self._by_prefix("module").values()):
                if isinstance(part, torch.nn.Module):
                    check_can_reset(part, f"{self.n_chains_} chains")
        nets = []
        for k, own in enumerate(generators):
            with own.within():
                nets.append(self._new_net(example, n_samples, leaves_out, reset=k > 0))
        return nets

    def _new_net(
        self, example: Any, n_samples: int, leaves_out: bool, *, reset: bool
    ) -> SnapshotNet:
        net_class = self._net_class if self.net is None else self.net
        criterion = self._default_criterion() if self.criterion is None else self.criterion
        return new_net(
            net_class,
            example=example,
            callbacks=self.callbacks,
            criterion=copy.deepcopy(criterion),
            optimizer=self._optimizer()[0],
            lr=self.lr,
            max_epochs=self._max_epochs(n_samples),
            batch_size=self._batch_size(n_samples),
            leaves_out=leaves_out,
            reset=reset,
            device=self.device,
            verbose=int(self.verbose),
            **self._net_arguments(n_samples),
        )

    def _net_arguments(self, n_samples: int) -> dict[str, Any]:
        """Module and keywords as skorch's net takes them."""
        # Copied with one memo: instances among the arguments are trained, and may be shared.
        keywords, module = copy.deepcopy((self._keywords(), self._module()))
        arguments = {f"optimizer__{name}": value for name, value in self._optimizer()[1].items()}
        arguments |= {
            name.removeprefix("net__"): value
            for name, value in keywords.items()
            if not name.startswith("schedule__")
        }
        given = set(self._by_prefix("module"))
        sizes: dict[str, Any] = {"n_outputs": self._n_outputs()}
        if self._encoder_ is not None:
            sizes["n_inputs"] = self._encoder_.n_outputs_
            sizes["columns"] = self._encoder_.origin_
            sizes["column_dropout"] = auto_column_dropout(n_samples, is_classifier(self))
        elif isinstance(self._row_shape_, tuple) and self._row_shape_:
            sizes["n_inputs"] = self._row_shape_[0]
        if self.module is None:
            sizes["dtype"] = self._dtype_
            sizes["hidden"] = auto_hidden(n_samples, self.n_chains_, is_classifier(self))
        for name, size in data_arguments(module, given, sizes).items():
            arguments[f"module__{name}"] = size
        if self._is_small_:
            arguments["module__dropout"] = arguments["module__column_dropout"] = 0.0
        return {"module": module, **arguments}

    def _carried_on(self, batch_size: int) -> list[SnapshotNet]:
        """Copies of the fitted nets, at the learning rate of now; callbacks are as they were."""
        nets = []
        for fitted in self._nets_:
            net = copy.deepcopy(fitted)
            callbacks = copied([callback for _, callback in fitted.callbacks_])
            names = [name for name, _ in fitted.callbacks_]
            net.callbacks_ = list(zip(names, callbacks, strict=True))
            ratio = self._highest_lr() / self._top_lr_
            if ratio != 1:
                for name in net._optimizers:
                    for group in getattr(net, name + "_").param_groups:
                        group["initial_lr"] *= ratio
            net.batch_size = batch_size
            net.resume()
            nets.append(net)
        return nets

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
        ready: Prepared,
        example: Any,
        generators: list[Generators],
        interrupts: Interrupts,
        go_on: bool,
        one_cycle: bool,
    ) -> Run:
        """How many steps, in which cycles, at which rates."""
        nets, rows = ready.nets, ready.rows
        parts = [rows] if len(nets) == 1 else [rows.with_draws([draw]) for draw in rows.draws]
        steps_per_epoch = min(
            len(net.get_iterator(part, training=True))
            for net, part in zip(nets, parts, strict=True)
        )
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
        n_cycles = self._at_most("n_cycles", n_cycles, n_steps - burn_in, "steps")
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
        lanes = self._lanes(ready, parts, plan, example, generators, interrupts, progress)
        if ready.unseen is None:
            return Run(plan, steps_per_epoch, lanes, interrupts)
        self._begin_judging(ready.unseen, first_cycle, n_cycles)
        return Run(plan, steps_per_epoch, lanes, interrupts, ready.unseen.add)

    def _lanes(
        self,
        ready: Prepared,
        parts: list[Any],
        plan: schedules.Plan,
        example: Any,
        generators: list[Generators],
        interrupts: Interrupts,
        progress: Progress | None,
    ) -> list[Lane]:
        """One for all chains that train as one, else one for each."""
        together = len(ready.nets) == 1
        lanes = []
        for k, (net, part) in enumerate(zip(ready.nets, parts, strict=True)):
            valid = ready.valid if together and self.n_chains_ > 1 else ready.valid[k]
            lanes.append(
                Lane(
                    net,
                    part,
                    generators if together else [generators[k]],
                    plan,
                    interrupts,
                    example,
                    cold=self.restart == "cold",
                    progress=progress if k == 0 else None,
                    valid=valid if ready.valid[k] is not None else None,
                )
            )
        return lanes

    def _begin_judging(self, unseen: UnseenRows, first_cycle: int, n_cycles: int) -> None:
        """Show the unseen rows the cycles of earlier calls, and say when they are to stop a run."""
        for cycle in range(first_cycle):
            unseen.add(self._states(cycle))
        unseen.n_before = first_cycle
        # "auto" stops too: it pays (see benchmarks/README.md)
        if self.early_stopping is True or (self.early_stopping and self._is_loss_known()):
            unseen.n_planned = first_cycle + n_cycles
            unseen.patience = int(self.n_iter_no_change)

    def _states(self, cycle: int) -> list[State]:
        """All chains at the end of a cycle."""
        first = cycle * self.n_chains_
        return self._snapshots_.views(range(first, first + self.n_chains_))

    def _burn_in_steps(self, steps_per_epoch: int, n_steps: int) -> int:
        epochs = self._by_prefix("schedule").get("burn_in_epochs", 0)
        burn_in = round(epochs * steps_per_epoch)
        if burn_in >= n_steps:
            raise ValueError(
                f"Got schedule__burn_in_epochs={epochs!r}, which are {burn_in} steps, but expected "
                f"fewer than the {n_steps} of the budget."
            )
        return burn_in

    def _at_most(self, name: str, wanted: int, available: int, what: str) -> int:
        if wanted <= available:
            return wanted
        one = name.removeprefix("n_").removesuffix("s")
        warnings.warn(
            f"Got {name}={wanted} for {available} {what}; every {one} needs one of them, so there "
            f"are {available} {one}s.",
            UserWarning,
            stacklevel=5,
        )
        return available

    def _commit(self, ready: Prepared, states: list[list[State]], *, go_on: bool) -> None:
        """Fitted attributes, all at once."""
        before = self._snapshots_.views(range(len(self._snapshots_))) if go_on else []
        kept = [*before, *(state for cycle in states for state in cycle)]
        self._nets_ = ready.nets
        for net in self._nets_:
            net.settle()
        self.net_ = self._nets_[0]
        self.n_iter_ = len(self.net_.history_)
        self.n_cycles_ = len(kept) // self.n_chains_
        self._weigh(kept, ready.unseen)
        self._top_lr_ = self._highest_lr()
        self._made_of_ = self._made_of()

    def _weigh(self, states: list[State], unseen: UnseenRows | None) -> None:
        """Which snapshots predict, and what the unseen rows say of them."""
        n = self.n_cycles_
        for name in _UNSEEN_NAMES:
            self.__dict__.pop(name, None)
        if unseen is not None:
            del unseen.cycles[n:]  # Ctrl-C came before the last one counted
            by_cycle = [cycle.weights for cycle in unseen.cycles]
            self.cycle_scores_ = np.array([cycle.score for cycle in unseen.cycles])
            self.validation_score_ = float(self.cycle_scores_[-1])
            if self.n_chains_ > 1 and not unseen.is_held:
                self._keep_unseen(unseen.combined())
        else:
            by_cycle = [cycle_weights(self.members, m) for m in range(1, n + 1)]
        self._stage_weights_ = np.zeros((n, n))
        for m, weights in enumerate(by_cycle):
            self._stage_weights_[m, : m + 1] = weights
        self.member_weights_ = self._of_members(self._stage_weights_[-1])
        self._snapshots_ = Snapshots(states, first=np.flatnonzero(self.member_weights_).tolist())

    def _of_members(self, by_cycle: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weights of cycles as those of snapshots: all chains of a cycle have the same."""
        return np.repeat(by_cycle / self.n_chains_, self.n_chains_, axis=-1)

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there are snapshots to predict with."""
        return hasattr(self, "_snapshots_")

    def refit_members(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Choose the members again, by other rows and the `members` of now, without training.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows that no chain was trained on.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels or target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row. None: all equal.

        Returns
        -------
        self : object
            With new ``member_weights_``, ``cycle_scores_`` and ``validation_score_``.
        """
        check_is_fitted(self)
        draft = self._draft(keep_fitted=True)
        draft._check_parameters()
        data = draft._read(X, y, sample_weight, go_on=True, classes=None, is_held=True)
        n = data.X.n_samples
        rows = _on_device(draft._rows_of(data), torch.empty(n), None, self.net_.device)
        index = [np.arange(n)] * self.n_chains_
        unseen = draft._unseen_rows(self.net_, rows.X, index, data)
        for cycle in range(self.n_cycles_):
            unseen.add(self._states(cycle))
        draft._weigh(self._snapshots_.views(range(len(self._snapshots_))), unseen)
        self.__dict__ = draft.__dict__
        return self

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
            if part.shape[1] == n_samples:  # a few rows, which a copy would only delay
                return part.contiguous().numpy()
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

    def _keep_unseen(self, combined: NDArray[np.float64]) -> None:
        """Keep the weighted means of the unseen predictions of all rows."""

    def _stages(self, X: Any) -> NDArray[np.float64]:
        """The ensemble as it would be after each number of cycles, ``(M, n, k)``."""
        check_is_fitted(self)
        return self._combined(X, self._of_members(self._stage_weights_))

    def _each_member(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        return self._gathered(X, np.arange(len(self._snapshots_)), lambda values: values)


def _draws(left: Folds | None, n_chains: int, n_samples: int) -> list[Draw]:
    """The rows of each chain: in each epoch as many as the shortest has."""
    if left is None:
        return [Draw(n_samples)] * n_chains
    n = min(len(rows) for rows in left.trained)
    return [Draw(n, torch.from_numpy(rows)) for rows in left.trained]


def _on_device(X: Any, y: torch.Tensor, weight: Any, device: Any) -> TensorRows | DatasetRows:
    """Rows where the module is; a loader moves each batch by itself."""
    if isinstance(X, inputs.DatasetInput):
        return DatasetRows(X, y, weight)
    weight = None if weight is None else weight.to(device)
    return TensorRows(X.to(device), y.to(device), weight)


def _of_mean_one(weight: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Weights scaled to mean 1; None where they are all equal, which changes no bit."""
    if weight is None or _all_equal(weight):
        return None
    weight = weight / weight.max()  # first, lest the sum overflow
    return weight * (len(weight) / weight.sum())


def _all_equal(weight: NDArray[np.float64]) -> bool:
    return bool((weight == weight[0]).all())
