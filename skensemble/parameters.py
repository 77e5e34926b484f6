"""Parameters of an estimator, also those by prefix as in skorch: kept, found and checked."""

import difflib
import inspect
import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, InvalidParameterError, make_constraint
from skorch import NeuralNet

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

#: Parameters of skorch's net that ours set, under which name.
SET_BY_US = {
    "module": "module",
    "criterion": "criterion",
    "optimizer": "optimizer",
    "lr": "lr",
    "max_epochs": "max_epochs",
    "batch_size": "batch_size",
    "callbacks": "callbacks",
    "warm_start": "warm_start",
    "verbose": "verbose",
    "device": "device",
    "train_split": None,
}


class KeywordParameters(BaseEstimator):
    """An estimator whose constructor takes ``**kwargs`` beside its named parameters.

    Every keyword is an attribute of its own name, as any parameter is; names are checked in
    ``fit``, when it is known what takes them.
    """

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
        """What came by ``**kwargs``: whatever attribute is neither named nor fitted."""
        named = set(self._get_param_names())
        return {
            name: value
            for name, value in vars(self).items()
            if name not in named and not name.startswith("_") and not name.endswith("_")
        }

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
            setattr(self, name, value)
        return self

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
            if not any(constraint.is_satisfied_by(value) for constraint in made):
                rule = " or ".join(map(_in_words, made))
                raise InvalidParameterError(f"Got {name}={value!r}, but expected {rule}.")


def _in_words(constraint: Any) -> str:
    """A constraint of scikit-learn's as a rule that need not be decoded."""
    if not isinstance(constraint, Interval):
        return str(constraint).replace("a str among", "one of")
    kind = "an integer" if constraint.type is Integral else "a number"
    bound = "of at least" if constraint.closed in ("left", "both") else "above"
    return f"{kind} {bound} {constraint.left}"


def unexpected(name: str, known: Iterable[str]) -> str:
    """Error text for a name that nothing takes, with the nearest that is taken."""
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.7)
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
    if name not in SET_BY_US:
        return
    ours = SET_BY_US[name]
    rule = f"expected it as {ours}=" if ours else "expected none: rows are left out by us"
    raise ValueError(f"Got {keyword}, but {rule}.")


def net_arguments(net: type[NeuralNet]) -> set[str] | None:
    """Names after ``net__`` that a skorch class takes, those of its base classes included.

    A class of the user's may hold further modules, whose arguments skorch checks itself.
    """
    names: set[str] = set()
    for cls in net.__mro__:
        if issubclass(cls, NeuralNet) and "__init__" in vars(cls):
            names |= {*inspect.signature(vars(cls)["__init__"]).parameters}
    return names - {"self", "args", "kwargs"}


def check_schedule_options(options: dict[str, Any], *, lr: float, named_shape: bool) -> None:
    """Refuse ``schedule__*`` values that are out of range.

    Parameters
    ----------
    options : dict
        ``min_lr``, ``burn_in_epochs`` and those of a shape, as far as they are given.
    lr : float
        The highest learning rate.
    named_shape : bool
        Whether the schedule is one of ours; a callable decides its own lowest rate.
    """
    min_lr = options.get("min_lr", 0.0)
    if not isinstance(min_lr, Real) or not 0 <= float(min_lr) <= lr:
        raise InvalidParameterError(
            f"Got schedule__min_lr={min_lr!r}, but expected a number from 0 to lr={lr!r}."
        )
    if min_lr and not named_shape:
        raise InvalidParameterError(
            f"Got schedule__min_lr={min_lr!r} with a callable schedule, but expected the callable "
            "to decide its own lowest rate."
        )
    gamma = options.get("gamma", 1.0)
    if not isinstance(gamma, Real) or not 0 < float(gamma) <= 1:
        raise InvalidParameterError(
            f"Got schedule__gamma={gamma!r}, but expected a number above 0, at most 1."
        )
    burn_in = options.get("burn_in_epochs", 0)
    if not isinstance(burn_in, Real) or not 0 <= float(burn_in) < math.inf:
        raise InvalidParameterError(
            f"Got schedule__burn_in_epochs={burn_in!r}, but expected a number of at least 0."
        )
