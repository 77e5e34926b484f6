"""The named parameters of both estimators: constraints, checks, and what they ask for."""

from abc import ABCMeta, abstractmethod
from numbers import Integral, Real
from typing import ClassVar

import joblib
import numpy as np
import torch
from sklearn.base import is_classifier
from skorch import NeuralNet
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
from .defaults import auto_batch_size, auto_column_dropout, auto_hidden, auto_max_epochs
from .keywords import KeywordParameters, check_keywords, net_arguments
from .members import RULES, UNSEEN_RULES
from .networks import TableNetwork

#: The second moment has a shorter memory than Adam's own: the rate falls to zero many times in a
#: run, and the end of a cycle must not remember its beginning.
AUTO_OPTIMIZER = torch.optim.AdamW, {"betas": (0.9, 0.99), "weight_decay": 0.0}


class NetParameters(KeywordParameters, metaclass=ABCMeta):
    """The parameters that classifier and regressor share, and how they are checked."""

    _parameter_constraints: ClassVar[dict[str, list[object]]] = {
        "module": [callable, None],
        "n_cycles": [Interval(Integral, 1, None, closed="left")],
        "cycle_mult": [Interval(Real, 0, None, closed="neither")],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "schedule": [StrOptions(set(schedules.SHAPES)), callable],
        "restart": [StrOptions({"warm", "cold"})],
        "optimizer": [callable, StrOptions({"auto"})],
        "criterion": [callable, None],
        "n_chains": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "members": [
            StrOptions({"auto", *RULES, *UNSEEN_RULES}),
            Interval(Integral, 1, None, closed="left"),
            callable,
        ],
        "validation": [
            StrOptions({"auto", "cross"}),
            Interval(Real, 0, 1, closed="neither"),
            HasMethods(["get_n_splits"]),
            None,
        ],
        "early_stopping": ["boolean", StrOptions({"auto"})],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "net": [type, None],
        "callbacks": [list, tuple, None],
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

    @abstractmethod
    def _targets(self) -> Targets:
        """Return what the parameters say of y, before y is known."""

    def _check_parameters(self) -> None:
        """Check parameters, alone and together, and the names of keywords."""
        self._check_each()
        if self.net is not None and not issubclass(self.net, NeuralNet):
            raise InvalidParameterError(
                f"Got net={self.net!r}, but expected a subclass of skorch.NeuralNet."
            )
        check_keywords(self._keywords(), self._get_param_names(), self._keyword_takers())
        self._check_schedule()
        if self.restart == "cold":
            for part in (self.module, *self._by_prefix("module").values()):
                if isinstance(part, nn.Module):
                    check_can_reset(part)
        try:
            torch.device(self.device or "cpu")
        except RuntimeError as error:
            raise InvalidParameterError(
                f"Got device={self.device!r}, but expected a device of torch, such as 'cpu' or "
                "'cuda'."
            ) from error

    def _keyword_takers(self) -> dict[str, set[str] | None]:
        """Return for each prefix of keywords the names that may follow it."""
        net = self._net_class if self.net is None else self.net
        optimizer = keyword_names(self._optimizer()[0])
        return {
            "module": keyword_names(constructor_of(self._module())),
            "optimizer": None if optimizer is None else {*optimizer, "param_groups"},
            "criterion": keyword_names(constructor_of(self._criterion())),
            "iterator_train": keyword_names(DataLoader),
            "callbacks": None,  # the net knows their names
            "schedule": {"min_lr", "burn_in_epochs", *schedules.shape_options()},
            "net": net_arguments(net) if self.net is None else None,
        }

    def _check_schedule(self) -> None:
        options = self._by_prefix("schedule")
        burn_in = options.pop("burn_in_epochs", 0)
        if not isinstance(burn_in, Real) or not 0 <= float(burn_in) < np.inf:
            raise InvalidParameterError(
                f"Got schedule__burn_in_epochs={burn_in!r}, but expected a number of at least 0."
            )
        schedules.check_options(self.schedule, lr=self._highest_lr(), **options)

    def _optimizer(self) -> tuple[Parameter, Options]:
        """Return the optimizer, and its arguments unless keywords say otherwise."""
        return AUTO_OPTIMIZER if self.optimizer == "auto" else (self.optimizer, {})

    def _highest_lr(self) -> float:
        return self._by_prefix("optimizer").get("lr", self.lr)

    def _made_of(self) -> Options:
        """Return the parameters that a net is made of; they cannot change while it goes on."""
        names = ["module", "optimizer", "criterion", "net"]
        names += [
            name
            for name in self._keywords()
            if name.split("__")[0] in ("module", "optimizer", "criterion", "net")
            and name != "optimizer__lr"
        ]
        return {name: getattr(self, name) for name in names}

    def _check_unchanged(self, then: Options) -> None:
        """Refuse to go on with a net that the parameters of now would not make."""
        now = self._made_of()
        for name in sorted({*now, *then}):
            if not _is_same(now.get(name), then.get(name)):
                raise ValueError(
                    f"Got {name}={now.get(name)!r} for an ensemble that goes on, but expected "
                    f"{then.get(name)!r} as at its first fit; fit it anew with warm_start=False."
                )

    def _criterion(self) -> Parameter:
        return self._targets().default_criterion if self.criterion is None else self.criterion

    def _module(self) -> Parameter:
        return TableNetwork if self.module is None else self.module

    def _module_name(self) -> str:
        made = constructor_of(self._module())
        return getattr(made, "__name__", repr(made))

    def _recipe(self, sizes: Options, n_samples: int, n_chains: int, *, is_small: bool) -> Recipe:
        """Say what the nets of a fit are made of; `sizes` are what the data decide."""
        optimizer, defaults = self._optimizer()
        if self.module is None:
            column_dropout = auto_column_dropout(n_samples, is_classifier(self))
            hidden = auto_hidden(n_samples, n_chains, is_classifier(self))
            sizes = {**sizes, "column_dropout": column_dropout, "hidden": hidden}
        return Recipe(
            net_class=self._net_class if self.net is None else self.net,
            module=self._module(),
            module_name=self._module_name(),
            criterion=self._criterion(),
            optimizer=optimizer,
            optimizer_defaults=defaults,
            keywords=self._keywords(),
            sizes=sizes,
            is_small=is_small,
            callbacks=self.callbacks,
            settings={
                "lr": self.lr,
                "max_epochs": self._max_epochs(n_samples),
                "batch_size": self._batch_size(n_samples),
                "device": self.device,
                "verbose": int(self.verbose),
            },
        )

    def _timetable(self, n_samples: int, *, is_one_cycle: bool) -> Timetable:
        """Say how long a run is, and at which rates it trains."""
        return Timetable(
            self.n_cycles,
            self.cycle_mult,
            self.schedule,
            self._max_epochs(n_samples),
            self._highest_lr(),
            self._by_prefix("schedule"),
            is_one_cycle,
        )

    def _asked_folds(self) -> Asked:
        """Say which chains and folds are asked for."""
        return Asked(
            self.validation, self.n_chains, self.members, self.module is None, is_classifier(self)
        )

    def _rule(self, targets: Targets) -> Parameter:
        """Return the rule for members: "auto" looks at unseen rows where the loss is known."""
        is_known = self.members != "auto" or targets.is_loss_known
        return self.members if is_known else "all"

    def _batch_size(self, n_samples: int) -> int:
        return auto_batch_size(n_samples) if self.batch_size == "auto" else int(self.batch_size)

    def _max_epochs(self, n_samples: int) -> int:
        return auto_max_epochs(n_samples) if self.max_epochs == "auto" else int(self.max_epochs)

    def _check_each(self) -> None:
        """Check each named parameter by itself; an error gives the value, then the rule."""
        for name, constraints in self._parameter_constraints.items():
            value = getattr(self, name)
            made = [make_constraint(constraint) for constraint in constraints]
            if isinstance(value, bool) and not {"boolean", "verbose"} & {*map(str, constraints)}:
                made = [constraint for constraint in made if not isinstance(constraint, Interval)]
            if not any(constraint.is_satisfied_by(value) for constraint in made):
                rule = " or ".join(_in_words(make_constraint(c)) for c in constraints)
                raise InvalidParameterError(f"Got {name}={value!r}, but expected {rule}.")


def _is_same(one: object, other: object) -> bool:
    """Tell whether two parameters are one object or equal by value."""
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except (TypeError, ValueError):  # an array has no single truth value
        return joblib.hash(one) == joblib.hash(other)


def _in_words(constraint: Interval) -> str:
    """Word a constraint of scikit-learn's as a rule that need not be decoded."""
    if not isinstance(constraint, Interval):
        return str(constraint).replace("a str among", "one of")
    kind = "an integer" if constraint.type is Integral else "a number"
    bound = "of at least" if constraint.closed in ("left", "both") else "above"
    return f"{kind} {bound} {constraint.left}"
