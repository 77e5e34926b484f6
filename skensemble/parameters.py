"""Parameters of an estimator, also those by prefix as in skorch: kept, found and checked."""

import difflib
import inspect
from abc import ABCMeta, abstractmethod
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, ClassVar

import joblib
import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    InvalidParameterError,
    StrOptions,
    make_constraint,
)
from skorch import NeuralNet
from torch import nn
from torch.utils.data import DataLoader

from . import schedules
from ._nets.modules import check_can_reset, constructor_of, takes
from .members import RULES, UNSEEN_RULES
from .networks import TableNetwork

#: What each prefix of ours gives arguments to.
PREFIXES = (
    "module",
    "optimizer",
    "criterion",
    "iterator_train",
    "callbacks",
    "schedule",
    "net",
)

#: Parameters of skorch's net that ours set, under the same names.
SET_BY_US = {
    "module",
    "criterion",
    "optimizer",
    "lr",
    "max_epochs",
    "batch_size",
    "callbacks",
    "warm_start",
    "verbose",
    "device",
}


#: A second moment with a shorter memory than Adam's own: the rate falls to zero many times in a
#: run, and at the end of a cycle the memory must not be of its beginning.
AUTO_OPTIMIZER = torch.optim.AdamW, {"betas": (0.9, 0.99), "weight_decay": 0.0}


class KeywordParameters(BaseEstimator):
    """An estimator whose constructor takes ``**kwargs`` beside its named parameters.

    A keyword is read as an attribute of its own name, as any parameter is. Names are checked in
    ``fit``, when it is known what takes them.
    """

    _kwargs: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        keywords = self._keywords()
        if name in keywords:
            return keywords[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        prefix, is_nested, _ = name.partition("__")
        if is_nested and prefix in PREFIXES:
            self._set_keyword(name, value)
        else:
            super().__setattr__(name, value)

    @classmethod
    def _get_param_names(cls) -> list[str]:
        """Named parameters, those that a subclass hands on by its ``**kwargs`` included."""
        names: set[str] = set()
        for owner in cls.__mro__:
            if "__init__" not in vars(owner):
                continue
            parameters = list(inspect.signature(vars(owner)["__init__"]).parameters.values())[1:]
            names |= {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
        return sorted(names)

    def _keywords(self) -> dict[str, Any]:
        """What came by ``**kwargs``, under whatever name."""
        return self.__dict__.get("_kwargs", {})

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters of this estimator, those by prefix included.

        Parameters
        ----------
        deep : bool, default=True
            Also return the parameters of parameters that are estimators.

        Returns
        -------
        params : dict
        """
        return {**super().get_params(deep=deep), **self._keywords()}

    def set_params(self, **params: Any) -> Any:
        """Set parameters of this estimator, those by prefix included.

        Parameters
        ----------
        **params : dict
            Names and values.

        Returns
        -------
        self : estimator

        Raises
        ------
        ValueError
            If a name is neither a parameter nor begins with one of the prefixes.
        """
        named = inspect.signature(type(self)).parameters
        valid = {*self.get_params(deep=False), *named}
        for name in params:
            prefix, is_nested, _ = name.partition("__")
            if name not in valid and not (is_nested and prefix in PREFIXES):
                raise ValueError(unexpected(name, valid))
        for name, value in params.items():
            if name in self._get_param_names():
                setattr(self, name, value)
            else:
                self._set_keyword(name, value)
        return self

    def _set_keyword(self, name: str, value: Any) -> None:
        """Keep a keyword, in a new dict: copies of this estimator may share the old one."""
        self._kwargs = {**self._keywords(), name: value}

    def _by_prefix(self, prefix: str) -> dict[str, Any]:
        """The arguments under one prefix, without it."""
        start = prefix + "__"
        keywords = self._keywords().items()
        return {k.removeprefix(start): v for k, v in keywords if k.startswith(start)}

    def _validate_params(self) -> None:
        """Check each named parameter by itself: value first, then the rule.

        Raises
        ------
        InvalidParameterError
            A ValueError and a TypeError.
        """
        for name, constraints in self._parameter_constraints.items():
            value = getattr(self, name)
            made = [make_constraint(constraint) for constraint in constraints]
            if isinstance(value, bool) and not {"boolean", "verbose"} & {*map(str, constraints)}:
                made = [constraint for constraint in made if not isinstance(constraint, Interval)]
            if not any(constraint.is_satisfied_by(value) for constraint in made):
                rule = " or ".join(_in_words(make_constraint(c)) for c in constraints)
                raise InvalidParameterError(f"Got {name}={value!r}, but expected {rule}.")


class NetParameters(KeywordParameters, metaclass=ABCMeta):
    """The parameters that classifier and regressor share, and how they are checked."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
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

    @abstractmethod
    def __init__(
        self,
        module: Any,
        *,
        n_cycles: Any,
        cycle_mult: Any,
        lr: Any,
        max_epochs: Any,
        batch_size: Any,
        schedule: Any,
        restart: Any,
        optimizer: Any,
        criterion: Any,
        n_chains: Any,
        members: Any,
        validation: Any,
        early_stopping: Any,
        n_iter_no_change: Any,
        categorical_features: Any,
        net: Any,
        callbacks: Any,
        device: Any,
        warm_start: Any,
        random_state: Any,
        verbose: Any,
        **kwargs: Any,
    ):
        self.module = module
        self.n_cycles = n_cycles
        self.cycle_mult = cycle_mult
        self.lr = lr
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.schedule = schedule
        self.restart = restart
        self.optimizer = optimizer
        self.criterion = criterion
        self.n_chains = n_chains
        self.members = members
        self.validation = validation
        self.early_stopping = early_stopping
        self.n_iter_no_change = n_iter_no_change
        self.categorical_features = categorical_features
        self.net = net
        self.callbacks = callbacks
        self.device = device
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self._kwargs = kwargs

    _net_class: type[NeuralNet]
    _made_of_: dict[str, Any]

    @abstractmethod
    def _default_criterion(self) -> type[nn.Module]:
        """The loss where ``criterion`` is None."""

    def _check_parameters(self) -> None:
        """Check parameters, alone and together, and the names of keywords."""
        self._validate_params()
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
        """For each prefix of keywords the names that may follow it."""
        criterion = self._default_criterion() if self.criterion is None else self.criterion
        net = self._net_class if self.net is None else self.net
        optimizer = takes(self._optimizer()[0])
        return {
            "module": takes(constructor_of(self._module())),
            "optimizer": None if optimizer is None else {*optimizer, "param_groups"},
            "criterion": takes(constructor_of(criterion)),
            "iterator_train": takes(DataLoader),
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

    def _optimizer(self) -> tuple[Any, dict[str, Any]]:
        """The optimizer, and its arguments unless keywords say otherwise."""
        return AUTO_OPTIMIZER if self.optimizer == "auto" else (self.optimizer, {})

    def _highest_lr(self) -> Any:
        return self._by_prefix("optimizer").get("lr", self.lr)

    def _made_of(self) -> dict[str, Any]:
        """The parameters that a net is made of, which cannot change while it goes on."""
        names = ["module", "optimizer", "criterion", "net"]
        names += [
            name
            for name in self._keywords()
            if name.split("__")[0] in ("module", "optimizer", "criterion", "net")
            and name != "optimizer__lr"
        ]
        return {name: getattr(self, name) for name in names}

    def _check_unchanged(self) -> None:
        """Refuse to go on with a net that the parameters of now would not make."""
        now, then = self._made_of(), self._made_of_
        for name in sorted({*now, *then}):
            if not _is_same(now.get(name), then.get(name)):
                raise ValueError(
                    f"Got {name}={now.get(name)!r} for an ensemble that goes on, but expected "
                    f"{then.get(name)!r} as at its first fit; fit it anew with warm_start=False."
                )

    def _module(self) -> Any:
        return TableNetwork if self.module is None else self.module

    def _module_name(self) -> str:
        made = constructor_of(self._module())
        return getattr(made, "__name__", repr(made))


def _is_same(one: Any, other: Any) -> bool:
    """Whether two parameters are one object or equal; what cannot be compared by value is not."""
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except (TypeError, ValueError):  # an array has no single truth value
        return joblib.hash(one) == joblib.hash(other)


def _in_words(constraint: Any) -> str:
    """A constraint of scikit-learn's as a rule that need not be decoded."""
    if not isinstance(constraint, Interval):
        return str(constraint).replace("a str among", "one of")
    kind = "an integer" if constraint.type is Integral else "a number"
    bound = "of at least" if constraint.closed in ("left", "both") else "above"
    return f"{kind} {bound} {constraint.left}"


def unexpected(name: str, known: Iterable[str]) -> str:
    """Error text for a name that nothing takes, with the nearest that is taken."""
    nested = {k.partition("__")[2]: k for k in sorted(known) if "__" in k}
    near = [nested[name]] if name in nested else []
    near = near or difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.7)
    hint = f" Did you mean {near[0]}?" if near else ""
    prefixes = ", ".join(prefix + "__*" for prefix in PREFIXES)
    return (
        f"Got an unexpected parameter {name}, but expected a named one or one of {prefixes}.{hint}"
    )


def check_keywords(
    keywords: Iterable[str], named: Iterable[str], takers: dict[str, set[str] | None]
) -> None:
    """Refuse keywords that nothing takes, before anything is built.

    Parameters
    ----------
    keywords : iterable of str
        Names to be checked.
    named : iterable of str
        Parameters of the estimator's own.
    takers : dict
        For each prefix the names that are taken after it; None where any may be.

    Raises
    ------
    ValueError
        With the near match, if there is one.
    """
    known = set(named)
    for prefix, names in takers.items():
        known |= {f"{prefix}__{name}" for name in names or ()}
    for keyword in keywords:
        prefix, is_nested, name = keyword.partition("__")
        if not is_nested or prefix not in takers:
            raise ValueError(unexpected(keyword, known))
        if prefix == "net":
            _check_net_keyword(keyword, name)
        names = takers[prefix]
        if names is not None and name.split("__")[0] not in names:
            raise ValueError(unexpected(keyword, known))


def _check_net_keyword(keyword: str, name: str) -> None:
    """Refuse what another parameter of ours already sets."""
    first = name.split("__")[0]
    if name == "train_split":
        raise ValueError(f"Got {keyword}, but expected none: say by validation= what is left out.")
    if first in SET_BY_US or (first != "net" and first in PREFIXES and name != first):
        raise ValueError(f"Got {keyword}, but expected it as {name}=.")


def net_arguments(net: type[NeuralNet]) -> set[str] | None:
    """Names after ``net__`` that a skorch class takes, those of its base classes included.

    A class of the user's may hold further modules, whose arguments skorch checks itself.
    """
    names: set[str] = set()
    for cls in net.__mro__:
        if issubclass(cls, NeuralNet) and "__init__" in vars(cls):
            names |= {*inspect.signature(vars(cls)["__init__"]).parameters}
    return names - {"self", "args", "kwargs"}
