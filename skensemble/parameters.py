"""The named parameters of both estimators: constraints, checks, and what they ask for."""

import inspect
import math
import os
from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from datetime import timedelta
from numbers import Integral, Real
from typing import ClassVar

import joblib
import numpy as np
import torch
from sklearn.base import is_classifier
from skorch import NeuralNet
from skorch.callbacks import ParamMapper
from torch import nn
from torch.utils.data import DataLoader

from . import schedules
from ._compat import HasMethods, Interval, InvalidParameterError, StrOptions, make_constraint
from ._data.folds import Asked
from ._data.targets import Targets
from ._nets.modules import check_can_reset, constructor_of, keyword_names
from ._training.making import Recipe
from ._training.planning import Timetable
from ._types import Options, Parameter
from .defaults import (
    auto_batch_size,
    auto_betas,
    auto_column_dropout,
    auto_cycle_mult,
    auto_hidden,
    auto_lr,
    auto_max_epochs,
)
from .keywords import (
    TABLE_ARGUMENTS,
    KeywordParameters,
    ScorerNames,
    check_keywords,
    find_by_name,
    find_device,
    in_words,
    nearest,
    net_arguments,
    short,
)
from .members import RULES, UNSEEN_RULES
from .networks import TableNetwork

_A_MODULE = (
    "Give a class of torch.nn.Module, a function that returns one, or an instance; None is the "
    "built-in network."
)
_AN_OPTIMIZER = (
    "Give a class of torch.optim or its name, such as 'adam', and its arguments by optimizer__*."
)

#: What is meant, most likely, by values of other kinds: the first kind that fits is told.
_HINTS: dict[str, dict[type, str]] = {
    "module": {object: _A_MODULE},
    "optimizer": {object: _AN_OPTIMIZER},
    "criterion": {object: "Give a class of a loss of torch.nn, its name, or an instance."},
    "scoring": {
        list: "Give one: it chooses the cycles.",
        object: "Give a name, or make_scorer of a metric.",
    },
    "decision": {object: "Give the name of a metric of labels, such as 'f1', or a scorer."},
    "validation": {
        int: "For folds, one for each chain, set n_chains, or validation=KFold(n).",
        tuple: "Rows to judge by are given to fit, as X_val= and y_val=.",
        list: "For folds of your own, give a splitter, such as PredefinedSplit(fold_of_row).",
    },
    "early_stopping": {int: "How many cycles it waits is n_iter_no_change=."},
    "categorical_features": {str: "Of one column, make a list: [{value}].", int: "Make a list."},
    "class_weight": {list: "Make a dict: {{label: weight}}.", tuple: "Make a dict."},
    "checkpoint_dir": {object: "Give the path of a folder. None writes nothing."},
    "time_limit": {
        str: "Give seconds: 600 for ten minutes.",
        timedelta: "Give seconds: limit.total_seconds().",
        object: "It is in seconds; None is no limit.",
    },
    "n_jobs": {object: "-1 is one for each CPU."},
    "net": {object: "Give a class derived from it, not an instance or a name."},
    "callbacks": {object: "Make a list of callbacks of skorch: [EarlyStopping()], for one."},
    "transform": {
        list: "Give one function, such as torch.nn.Sequential of them.",
        object: "Of batches; a transformer of tables stands before the estimator, in a Pipeline.",
    },
    "views": {object: "Make a list of functions: [None, flip], where None is rows as they are."},
    "device": {int: "Give its name: 'cuda:{value}'."},
    "random_state": {np.random.Generator: "Draw an integer: int(rng.integers(2**31))."},
}


def _kind_of(estimator: "NetParameters") -> dict[str, bool]:
    """Return what rules of "auto" go by, beside the number of rows."""
    return {"is_built_in": estimator.module is None, "is_classifier": is_classifier(estimator)}


class NetParameters(KeywordParameters, metaclass=ABCMeta):
    """The parameters that classifier and regressor share, and how they are checked."""

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        "module": [callable, None],
        "n_cycles": [Interval(Integral, 1, None, closed="left")],
        "cycle_mult": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "lr": [Interval(Real, 0, None, closed="neither"), StrOptions({"auto"})],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "schedule": [StrOptions(set(schedules.SHAPES)), callable],
        "restart": [StrOptions({"warm", "cold", "star"})],
        "snapshots_per_cycle": [Interval(Integral, 1, None, closed="left")],
        "optimizer": [callable, str],
        "criterion": [callable, str, None],
        "n_chains": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "members": [
            StrOptions({"auto", *RULES, *UNSEEN_RULES}),
            Interval(Integral, 1, None, closed="left"),
            callable,
        ],
        "validation": [
            StrOptions({"auto", "cross", "last"}),
            Interval(Real, 0, 1, closed="neither"),
            HasMethods(["get_n_splits"]),
            None,
        ],
        "scoring": [ScorerNames(), callable, None],
        "early_stopping": ["boolean", StrOptions({"auto"})],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "checkpoint_dir": [str, os.PathLike, None],
        "n_jobs": [
            Interval(Integral, 1, None, closed="left"),
            Interval(Integral, None, -1, closed="right"),
            None,
        ],
        "net": [type, None],
        "callbacks": [list, tuple, None],
        "transform": [callable, None],
        "views": [list, tuple, None],
        "device": [str, torch.device, None],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def _keep(self, kwargs: Options, **named: Parameter) -> None:
        """Store the parameters as they are given, those by prefix in a place of their own."""
        for name, value in named.items():
            setattr(self, name, value)
        self._kwargs = kwargs

    #: The skorch class that trains where `net` is None.
    _net_class: ClassVar[type[NeuralNet]]
    #: The same for several labels a row.
    _label_net_class: ClassVar[type[NeuralNet]]

    @abstractmethod
    def _targets(self) -> Targets:
        """Return what the parameters say of y, before y is known."""

    def _check_parameters(self) -> None:
        """Check parameters, alone and together, and the names of keywords."""
        self._check_each()
        if self.net is not None and not issubclass(self.net, NeuralNet):
            raise InvalidParameterError(
                f"Got net={short(self.net)}, but expected a subclass of skorch.NeuralNet. None is "
                "the one that is meant for it."
            )
        check_keywords(self._keywords(), self._get_param_names(), self._keyword_takers())
        _refuse_votes(metrics_of(self), getattr(self, "voting", "soft"))
        _check_schedule(self)
        self._check_nonlinearity()
        _check_table(self._by_prefix("table"))
        _check_views(self)
        if self.restart == "cold":
            _refuse_mappers(self.callbacks or [])
            for part in (self.module, *self._by_prefix("module").values()):
                if isinstance(part, nn.Module):
                    check_can_reset(part)
        self._device()

    def _draws_privately(self) -> bool:
        """Tell whether nothing draws random numbers in a fit but the built-in network on the CPU.

        Code of the user's can only draw from torch's and numpy's global generators.
        """
        if self._device().type != "cpu" or self.module is not None or self.net or self.callbacks:
            return False
        parts = (self.criterion, self.optimizer, self.schedule, self.members)
        parts += tuple(metrics_of(self).values())
        theirs = ("torch.", "sklearn.")
        if any(not getattr(p, "__module__", "torch.").startswith(theirs) for p in parts):
            return False
        prefixes = ("iterator_train", "iterator_valid", "callbacks", "net")
        return not any(map(self._by_prefix, prefixes))

    def _device(self) -> torch.device:
        """Return the device that is asked for."""
        return find_device(self.device)

    def _keyword_takers(self) -> dict[str, set[str] | None]:
        """Return for each prefix of keywords the names that may follow it."""
        net = self._net_class if self.net is None else self.net
        optimizer = keyword_names(self._optimizer()[0])
        return {
            "module": keyword_names(constructor_of(self._module())),
            "optimizer": None if optimizer is None else {*optimizer, "param_groups"},
            "criterion": self._criterion_takes(),
            "iterator_train": keyword_names(DataLoader),
            "callbacks": None,  # the net knows their names
            "schedule": {"min_lr", "burn_in_epochs", "cycle_decay", *schedules.shape_options()},
            "table": {*TABLE_ARGUMENTS} if self.module is None else set(),
            "net": net_arguments(net) if self.net is None else None,
        }

    def _criterion_takes(self) -> set[str] | None:
        """Return the names after ``criterion__``, and what a regressor adds to them."""
        names = keyword_names(constructor_of(self._criterion()))
        return names if names is None or is_classifier(self) else {*names, "scale_target"}

    def _check_nonlinearity(self) -> None:
        """Refuse skorch's way from outputs to predictions: ours is the targets'."""
        given = self._by_prefix("net").get("predict_nonlinearity", "auto")
        if given == "auto" or (given is None and not is_classifier(self)):
            return
        made = "probabilities are the softmax of raw scores, the module's outputs"
        raise InvalidParameterError(
            f"Got net__predict_nonlinearity={short(given)}, but expected 'auto': "
            f"{made if is_classifier(self) else 'predictions are the outputs of the module'}; put "
            "what is to change them at the end of the module."
        )

    def _optimizer(self) -> tuple[Parameter, Options]:
        """Return the optimizer, and its arguments unless keywords say otherwise."""
        if self.optimizer == "auto":
            betas = auto_betas(is_built_in=self.module is None)
            return torch.optim.AdamW, {"betas": betas, "weight_decay": 0.0}
        if not isinstance(self.optimizer, str):
            return self.optimizer, {}
        kind = torch.optim.Optimizer
        return find_by_name("optimizer", self.optimizer, torch.optim, kind), {}

    def _highest_lr(self, n_samples: float = math.inf) -> float:
        """Return the rate of a fit of so many rows, the lowest where they are not known yet."""
        lr = auto_lr(n_samples, **_kind_of(self)) if self.lr == "auto" else self.lr
        return self._by_prefix("optimizer").get("lr", lr)

    def _made_of(self) -> Options:
        """Return the parameters that a net is made of; they cannot change while it goes on."""
        names = ["module", "optimizer", "criterion", "net", "n_chains", "categorical_features"]
        names += ["snapshots_per_cycle"] + [
            name
            for name in self._keywords()
            if name.split("__")[0] in ("module", "optimizer", "criterion", "table", "net")
            and name != "optimizer__lr"
        ]
        made_of = {name: getattr(self, name) for name in names}
        return {**made_of, "views": None if self.views is None else tuple(self.views)}

    def _check_unchanged(self, then: Options) -> None:
        """Refuse to go on with a net that the parameters of now would not make."""
        now = self._made_of()
        for name in sorted({*now, *then} - {"views"}):  # all cycles are judged in those of now
            if not _is_same(now.get(name), then.get(name)):
                raise ValueError(
                    f"Got {name}={short(now.get(name))} for an ensemble that goes on, but expected "
                    f"{short(then.get(name))} as at its first fit; fit it anew with "
                    "warm_start=False."
                )

    #: Losses by names that torch has not, or has for something else.
    _named_losses: ClassVar[dict[str, type[nn.Module]]] = {}

    def _named_criterion(self) -> Parameter:
        """Return the criterion, found where it is given by name; None where it is not given."""
        if not isinstance(self.criterion, str):
            return self.criterion
        own = self._named_losses.get(self.criterion.lower())
        if own is not None:
            return own
        return find_by_name("criterion", self.criterion, nn, nn.Module, self._named_losses)

    def _criterion(self, targets: Targets | None = None) -> Parameter:
        """Return the criterion, by custom that of the targets, of which y may decide the kind."""
        named = self._named_criterion()
        targets = self._targets() if targets is None else targets
        return targets.default_criterion if named is None else named

    def _module(self) -> Parameter:
        return TableNetwork if self.module is None else self.module

    def _module_name(self) -> str:
        made = constructor_of(self._module())
        return getattr(made, "__name__", repr(made))

    def _recipe(
        self,
        sizes: Options,
        shape: tuple[int, int],
        n_chains: int,
        targets: Targets,
        *,
        is_small: bool,
    ) -> Recipe:
        """Say what the nets of a fit are made of.

        `sizes` are what the data decide; `shape` has the numbers of rows and columns.
        """
        n_samples = shape[0]
        own_net = self._label_net_class if targets.has_sigmoids else self._net_class
        optimizer, defaults = self._optimizer()
        if self.module is None:
            column_dropout = auto_column_dropout(n_samples, is_classifier(self))
            hidden = auto_hidden(n_samples, n_chains, is_classifier(self))
            sizes = {**sizes, "column_dropout": column_dropout, "hidden": hidden}
        return Recipe(
            net_class=own_net if self.net is None else self.net,
            module=self._module(),
            module_name=self._module_name(),
            criterion=self._criterion(targets),
            optimizer=optimizer,
            optimizer_defaults=defaults,
            keywords={
                name: value
                for name, value in self._keywords().items()
                # The net sees what these made.
                if not name.startswith("table__") and name != "criterion__scale_target"
            },
            sizes=sizes,
            is_small=is_small,
            callbacks=self.callbacks,
            settings={
                "lr": self._highest_lr(n_samples),
                "max_epochs": self._max_epochs(*shape),
                "batch_size": self._batch_size(n_samples),
                "device": self.device and str(self._device()),
                "verbose": int(self.verbose),
            },
        )

    def _timetable(self, shape: tuple[int, int], *, is_one_cycle: bool) -> Timetable:
        """Say how long a run over so many rows and columns is, and at which rates it trains."""
        is_auto = self.cycle_mult == "auto"
        return Timetable(
            self.n_cycles,
            auto_cycle_mult(**_kind_of(self)) if is_auto else self.cycle_mult,
            self.schedule,
            self._max_epochs(*shape),
            self._highest_lr(shape[0]),
            self._by_prefix("schedule"),
            is_one_cycle,
        )

    def _asked_folds(self) -> Asked:
        """Say which chains and folds are asked for."""
        asked = self.validation, self.n_chains, self.members
        is_calibrated = getattr(self, "calibrate", False) is True
        is_built_in = self.module is None
        return Asked(*asked, is_built_in, is_classifier(self), is_calibrated, metrics_of(self))

    def _rule(self, targets: Targets) -> Parameter:
        """Return the rule for members: "auto" looks at unseen rows where the loss is known."""
        is_known = self.members != "auto" or targets.is_loss_known or self.scoring is not None
        return self.members if is_known else "all"

    def _batch_size(self, n_samples: int) -> int:
        if self.batch_size == "auto":
            return auto_batch_size(n_samples, is_built_in=self.module is None)
        return int(self.batch_size)

    def _max_epochs(self, n_samples: int, n_columns: int) -> int:
        if self.max_epochs == "auto":
            return auto_max_epochs(n_samples, n_columns, is_built_in=self.module is None)
        return int(self.max_epochs)

    def _check_each(self) -> None:
        """Check each named parameter by itself; an error gives the value, then the rule."""
        for name, constraints in self._parameter_constraints.items():
            value = self._named(name)
            made = [make_constraint(constraint) for constraint in constraints]
            if isinstance(value, bool) and not {"boolean", "verbose"} & {*map(str, constraints)}:
                made = [constraint for constraint in made if not isinstance(constraint, Interval)]
            if not any(constraint.is_satisfied_by(value) for constraint in made):
                options = {o for c in made if isinstance(c, StrOptions) for o in c.options}
                hint = _hint_at(name, value, options) or _word_default(type(self), name)
                raise InvalidParameterError(
                    f"Got {name}={short(value)}, but expected {in_words(constraints)}.{hint}"
                )


def _hint_at(name: str, value: object, options: set[str]) -> str:
    """Return what is meant, most likely, by a value that is refused, or nothing."""
    if isinstance(value, str) and (near := nearest(value, options)):
        return near
    for kind, hint in _HINTS.get(name, {}).items():
        if isinstance(value, kind) and not isinstance(value, bool):
            return " " + hint.format(value=short(value))
    return ""


def _word_default(owner: type, name: str) -> str:
    """Say what a parameter is where nothing is given."""
    for cls in owner.__mro__:
        taken = inspect.signature(vars(cls).get("__init__", object.__init__)).parameters
        if name in taken:
            return f" The default is {short(taken[name].default)}."
    return ""


def metrics_of(estimator: NetParameters) -> Options:
    """Return the user's metrics of unseen rows by their parameters; None: there is none."""
    return {"scoring": estimator.scoring, "decision": getattr(estimator, "decision", None)}


def _refuse_votes(metrics: Options, voting: str) -> None:
    """Refuse metrics of predictions where unseen rows know none like them: each has few votes."""
    for name, metric in metrics.items():
        if metric is not None and voting == "hard":
            raise InvalidParameterError(
                f"Got {name}={short(metric)} with voting='hard', but expected voting='soft': "
                "unseen rows are judged by probabilities, and votes would be other predictions."
            )


def _check_schedule(estimator: NetParameters) -> None:
    """Check the shape of a cycle, its options, and the burn-in."""
    options = estimator._by_prefix("schedule")
    burn_in = options.pop("burn_in_epochs", 0)
    if not isinstance(burn_in, Real) or not 0 <= float(burn_in) < np.inf:
        raise InvalidParameterError(
            f"Got schedule__burn_in_epochs={short(burn_in)}, but expected a number of at "
            "least 0. Without it there is no burn-in."
        )
    try:
        schedules.check_options(estimator.schedule, lr=estimator._highest_lr(), **options)
    except ValueError as error:
        which = str(error).removeprefix("Got ").partition("=")[0]
        given = "optimizer__lr" if which == "lr" else f"schedule__{which}"
        raise InvalidParameterError(f"{error} It is set by {given}=.") from error


def _check_table(options: Options) -> None:
    """Check the arguments of the encoder of tables."""
    for name, value in options.items():
        least = TABLE_ARGUMENTS[name]
        if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
            raise InvalidParameterError(
                f"Got table__{name}={short(value)}, but expected an integer of at least "
                f"{least}. Leave it out for one by the number of rows."
            )


def _check_views(estimator: NetParameters) -> None:
    """Check what is done to the features of batches, of which the built-in network has none."""
    views = estimator.views
    if views is not None and (not views or not all(v is None or callable(v) for v in views)):
        raise InvalidParameterError(
            f"Got views={short(views)}, but expected a list of functions, one at least: [None, "
            "flip], where None is rows as they are."
        )
    for name, value in (("transform", estimator._named("transform")), ("views", views)):
        if value is not None and estimator.module is None:
            raise InvalidParameterError(
                f"Got {name}={short(value)} with module=None, but expected a module of your own: "
                "the built-in network is for tables, whose columns it encodes before there are "
                "batches. Put what changes a table before it, in a Pipeline."
            )


def _refuse_mappers(callbacks: Sequence[object]) -> None:
    """Refuse callbacks that change parameters once, where each cycle draws others."""
    for item in callbacks:
        callback = item[1] if isinstance(item, tuple | list) else item
        kind = callback if isinstance(callback, type) else type(callback)
        if issubclass(kind, ParamMapper):
            raise InvalidParameterError(
                f"Got restart='cold' with the callback {kind.__name__}, but expected "
                "restart='warm': each cycle would draw parameters that it does not change."
            )


def _is_same(one: object, other: object) -> bool:
    """Tell whether two parameters are one object or equal by value."""
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except (TypeError, ValueError):  # an array has no single truth value
        return joblib.hash(one) == joblib.hash(other)
