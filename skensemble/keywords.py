"""Parameters by prefix, as in skorch: kept, named, and refused with the nearest name."""

import copy
import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from numbers import Integral
from types import ModuleType
from typing import Any, ClassVar, ParamSpec, Self, TypeVar

import torch
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer_names
from skorch import NeuralNet
from torch import nn

from ._compat import HasMethods, Interval, InvalidParameterError, StrOptions
from ._types import Options
from ._warnings import short as short
from .foreign_names import FOREIGN, FOREIGN_LOSSES
from .foreign_names import INSTEAD_OF as INSTEAD_OF

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: Prefixes of keywords; each names what the arguments are for.
PREFIXES = (
    "module",
    "optimizer",
    "criterion",
    "iterator_train",
    "callbacks",
    "schedule",
    "table",
    "net",
)

#: What may follow ``table__``, the arguments of the built-in network's encoder: the least of each.
TABLE_ARGUMENTS = {"n_pieces": 0, "min_rows": 0, "max_categories": 1, "max_inputs": 1}

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


#: Parameters of skorch's net that have no effect here, and why.
WITHOUT_EFFECT = {
    "train_split": "say by validation= what is left out",
    "dataset": "fit(dataset) takes a dataset of your own",
    "iterator_valid": "rows that are only predicted come in batches of the estimator's own",
    "classes": "the classes are those of y, or of classes= in partial_fit",
}


class ScorerNames(StrOptions):
    """The names of scikit-learn's scorers, too many to be listed in an error."""

    def __init__(self) -> None:
        super().__init__(set(get_scorer_names()))


#: Constraints of scikit-learn's that are words.
_PLAIN = {
    "boolean": "True or False",
    "random_state": "an integer of at least 0, a RandomState or None",
    "verbose": "an integer of at least 0, True or False",
    "array-like": "an array-like",
}


def in_words(constraints: Iterable[Any]) -> str:
    """Word constraints of scikit-learn's as a rule that need not be decoded."""
    words = ["a callable" if c is callable else _word_of(c) for c in constraints]
    return " or ".join(dict.fromkeys(words))


def _word_of(constraint: Any) -> str:
    if isinstance(constraint, Interval):
        kind = "an integer" if constraint.type is Integral else "a number"
        if constraint.right is not None:
            if constraint.left is None:
                return f"{kind} of at most {constraint.right}"
            return f"{kind} between {constraint.left} and {constraint.right}"
        bound = "of at least" if constraint.closed in ("left", "both") else "above"
        return f"{kind} {bound} {constraint.left}"
    if isinstance(constraint, ScorerNames):
        return "a name of sklearn.metrics.get_scorer_names()"
    if isinstance(constraint, StrOptions):
        choices = ", ".join(map(repr, sorted(constraint.options)))
        return choices if len(constraint.options) == 1 else f"one of {choices}"
    if isinstance(constraint, str) and constraint in _PLAIN:
        return _PLAIN[constraint]
    if isinstance(constraint, HasMethods):
        return f"an object with the method {', '.join(sorted(constraint.methods))}"
    if isinstance(constraint, type) and constraint is not type:
        name = {"str": "string"}.get(constraint.__name__, constraint.__name__)
        return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
    return "a class" if constraint is type else str(constraint)


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint at the name that is most like one that is not known, or nothing."""
    near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


def find_by_name(
    parameter: str, name: str, home: ModuleType, base: type, others: Iterable[str] = ()
) -> type:
    """Return the class of torch's that a name stands for, in lower case or as torch has it.

    `others` are names that are taken too, elsewhere.

    Examples
    --------
    >>> import torch
    >>> from skensemble.keywords import find_by_name
    >>> find_by_name("optimizer", "adam", torch.optim, torch.optim.Optimizer)
    <class 'torch.optim.adam.Adam'>
    """
    classes = [
        value
        for key, value in vars(home).items()
        if isinstance(value, type) and issubclass(value, base) and not key.startswith("_")
    ]
    suffix = "Loss" if base is not torch.optim.Optimizer else ""
    classes = [c for c in classes if c.__name__.endswith(suffix) and c is not base]
    known = {_plain(c.__name__, suffix): c for c in classes}
    found = known.get(_plain(name, suffix))
    if found is None:
        names = {*known, *others}
        choices = ", ".join(repr(key) for key in sorted(names))
        foreign = FOREIGN_LOSSES.get(name.lower()) if suffix else None
        hint = f" Did you mean {foreign!r}?" if foreign else nearest(name.lower(), names)
        raise InvalidParameterError(
            f"Got {parameter}={short(name)}, but expected a class of {home.__name__} or its name: "
            f"one of {choices}.{hint}"
        )
    return found


def find_device(asked: str | torch.device | None) -> torch.device:
    """Return the device asked for; "auto" is a GPU where there is one, and None is the CPU.

    Examples
    --------
    >>> from skensemble.keywords import find_device
    >>> find_device(None)
    device(type='cpu')
    """
    there = ["cpu"]
    if torch.backends.mps.is_available():
        there.insert(0, "mps")
    if torch.cuda.is_available():
        there.insert(0, "cuda")
    if asked == "auto":
        return torch.device(there[0])
    try:
        device = torch.device(asked or "cpu")
        is_missing = device.type in ("cuda", "mps") and device.type not in there
        n_gpus = torch.cuda.device_count()
        if is_missing or (device.type == "cuda" and (device.index or 0) >= n_gpus):
            raise RuntimeError
    except RuntimeError as error:
        raise InvalidParameterError(
            f"Got device={short(asked)}, but expected a device of torch that is there: "
            f"one of {', '.join(map(repr, sorted(there)))}, or 'auto'."
        ) from error
    return device


def _plain(name: str, suffix: str) -> str:
    return name.replace("_", "").replace(" ", "").lower().removesuffix(suffix.lower())


def naming_strangers(method: Callable[_P, _T]) -> Callable[_P, _T]:
    """Name in the error for an argument that a method does not take the one that was meant."""
    taken = inspect.signature(method).parameters

    @functools.wraps(method)
    def checked(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        for name in kwargs:
            if name not in taken:
                near = FOREIGN.get(name) or "".join(difflib.get_close_matches(name, taken, n=1))
                raise TypeError(
                    f"Got {name}={short(kwargs[name])}, an unexpected keyword argument of "
                    f"{method.__name__}(), but expected one of {', '.join(sorted({*taken}))}."
                    + (f" Did you mean {near}?" if near else " Parameters are of the constructor.")
                )
        return method(*args, **kwargs)

    return checked


class KeywordParameters(BaseEstimator):
    """An estimator whose constructor takes ``**kwargs`` beside its named parameters.

    A keyword is read as an attribute of its own name, as any parameter is. Names are checked in
    ``fit``, when it is known what takes them.
    """

    _kwargs: Options

    #: Parameters that are no attributes, but stored under a name with "_" before it: what has a
    #: `transform` is a transformer to scikit-learn.
    _unseen_names: ClassVar[frozenset[str]] = frozenset({"transform"})

    def __getattr__(self, name: str) -> Any:
        keywords = self._keywords()
        if name in keywords:
            return keywords[name]
        said = f"{type(self).__name__!r} object has no attribute {name!r}"
        # Libraries ask for private names, and often.
        raise AttributeError(said if name.startswith("_") else said + self._word_missing(name))

    def _word_missing(self, name: str) -> str:
        """Return why a public attribute is not there, or what to take in its place."""
        if name.partition("__")[0] in PREFIXES and "__" in name:
            return ": it was not given."
        if hasattr(type(self), name):
            try:
                object.__getattribute__(self, name)
            except AttributeError as error:
                return f": {error.__cause__ or error}"
        if name in INSTEAD_OF:
            return f": {INSTEAD_OF[name]}."
        if name in FOREIGN:
            return f". Did you mean {FOREIGN[name]}?"
        near = nearest(name, {key for key in [*dir(type(self)), *vars(self)] if key[0] != "_"})
        return "." + near if near else ""

    def __setattr__(self, name: str, value: object) -> None:
        prefix, is_nested, _ = name.partition("__")
        if is_nested and prefix in PREFIXES:
            self._set_keyword(name, value)
        else:
            super().__setattr__(f"_{name}" if name in self._unseen_names else name, value)

    def _named(self, name: str) -> Any:
        """Return the value of a named parameter."""
        return getattr(self, f"_{name}" if name in self._unseen_names else name)

    @classmethod
    def _get_param_names(cls) -> list[str]:
        """Return the named parameters, also those that a subclass hands on by ``**kwargs``."""
        names: set[str] = set()
        for owner in cls.__mro__:
            if "__init__" not in vars(owner):
                continue
            parameters = list(inspect.signature(vars(owner)["__init__"]).parameters.values())[1:]
            names |= {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                break
        return sorted(names)

    def _keywords(self) -> Options:
        """Return what came by ``**kwargs``, under whatever name."""
        return self.__dict__.get("_kwargs", {})

    def get_params(self, deep: bool = True) -> Options:
        """Get the parameters of this estimator, those by prefix included.

        Parameters
        ----------
        deep : bool, default=True
            Also return the parameters of parameters that are estimators.

        Returns
        -------
        params : dict
        """
        # BaseEstimator's own would ask for each by getattr.
        named = {name: self._named(name) for name in self._get_param_names()}
        for name, value in list(named.items()) if deep else []:
            if hasattr(value, "get_params") and not isinstance(value, type | nn.Module):
                named |= {f"{name}__{key}": inner for key, inner in value.get_params().items()}
        return {**named, **self._keywords()}

    def __sklearn_clone__(self) -> Self:
        """Clone as scikit-learn does, but for modules, which may have a `get_params` of their own.

        Some of torchvision's transforms have one, which draws numbers.
        """
        given = self.get_params(deep=False)
        apart = {name: value for name, value in given.items() if _has_module(value)}
        bare = object.__new__(type(self))
        bare.__dict__.update(self.__dict__)
        made: Self = super(
            KeywordParameters, bare.set_params(**dict.fromkeys(apart))
        ).__sklearn_clone__()
        return made.set_params(**copy.deepcopy(apart))

    def set_params(self, **params: object) -> Self:
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
        valid = {*self.get_params(deep=False), *inspect.signature(type(self)).parameters}
        for name in params:
            prefix, is_nested, _ = name.partition("__")
            if name not in valid and not (is_nested and prefix in PREFIXES):
                raise ValueError(unexpected(name, valid, params[name]))
        for name, value in params.items():
            if name in self._get_param_names():
                setattr(self, name, value)
            else:
                self._set_keyword(name, value)
        return self

    def _set_keyword(self, name: str, value: object) -> None:
        """Keep a keyword, in a new dict: copies of this estimator may share the old one."""
        self._kwargs = {**self._keywords(), name: value}

    def _by_prefix(self, prefix: str) -> Options:
        """Return the arguments under one prefix, without it."""
        start = prefix + "__"
        keywords = self._keywords().items()
        return {k.removeprefix(start): v for k, v in keywords if k.startswith(start)}


def _has_module(value: object) -> bool:
    if isinstance(value, list | tuple):
        return any(isinstance(part, nn.Module) for part in value)
    return isinstance(value, nn.Module)


def unexpected(name: str, known: Iterable[str], *value: object) -> str:
    """Word the error for a name, and its value, that nothing takes; with the nearest name."""
    known = {*known}
    prefix, is_nested, _ = name.partition("__")
    shown = "=".join([name, *map(short, value)])
    prefixes = ", ".join(prefix + "__*" for prefix in PREFIXES)
    taken = sorted(_after(prefix, known)) if is_nested else []
    taken_here = f" {prefix}__* takes {', '.join(taken)}." if taken else ""
    near = _near(name, known)
    hint = f" Did you mean {near}?" if near else " Its get_params() has the named ones."
    return (
        f"Got an unexpected parameter {shown}, but expected a named one or one of {prefixes}."
        f"{taken_here}{hint}"
    )


def _after(prefix: str, known: Iterable[str]) -> set[str]:
    """Return the known names that may follow a prefix."""
    start = prefix + "__"
    return {name.removeprefix(start) for name in known if name.startswith(start)}


def _near(name: str, known: set[str]) -> str | None:
    """Return what was meant by a name that is not known, most likely."""
    prefix, is_nested, rest = name.partition("__")
    if is_nested and prefix not in PREFIXES:
        prefixes = difflib.get_close_matches(prefix.lower(), PREFIXES, n=1, cutoff=0.7)
        if prefixes:
            return f"{prefixes[0]}__{rest}"
    nested = {k.partition("__")[2]: k for k in sorted(known) if "__" in k}
    own = rest if is_nested else name
    ours = FOREIGN.get(own)
    is_open = not nested or (not is_nested and bool(ours) and not str(ours).startswith("module__"))
    if ours in known or (ours and is_open):
        return ours
    if is_nested:
        after = difflib.get_close_matches(rest, sorted(_after(prefix, known)), n=1, cutoff=0.6)
        if after:
            return f"{prefix}__{after[0]}"
    if own in nested:
        return nested[own]
    near = difflib.get_close_matches(own, sorted(known), n=1, cutoff=0.7)
    return near[0] if near else None


def check_keywords(
    keywords: Mapping[str, object], named: Iterable[str], takers: dict[str, set[str] | None]
) -> None:
    """Refuse keywords that nothing takes, before anything is built.

    `named` are the parameters of the estimator's own; `takers` has for each prefix the names that
    may follow it, and None where any may.
    """
    nested = {f"{prefix}__{name}" for prefix, names in takers.items() for name in names or ()}
    known = {*named, *nested}
    for keyword, value in keywords.items():
        prefix, is_nested, name = keyword.partition("__")
        if not is_nested or prefix not in takers:
            raise ValueError(unexpected(keyword, known, value))
        first = name.split("__")[0]
        if prefix == "net" and first in WITHOUT_EFFECT:
            raise ValueError(
                f"Got {keyword}, but expected none: {WITHOUT_EFFECT[first]}. Leave out "
                f"{keyword}={short(value)}."
            )
        is_prefix = first != "net" and first in PREFIXES and name != first
        if prefix == "net" and (first in SET_BY_US or is_prefix):
            raise ValueError(
                f"Got {keyword}, but expected it as {name}=. Set {name}={short(value)}."
            )
        names = takers[prefix]
        if names is not None and first not in names:
            raise ValueError(unexpected(keyword, known, value))


def net_arguments(net: type[NeuralNet]) -> set[str]:
    """Return the names after ``net__`` that a skorch class and its base classes take.

    A class of the user's may have further modules, whose arguments skorch checks itself.
    """
    names: set[str] = set()
    for cls in net.__mro__:
        if issubclass(cls, NeuralNet) and "__init__" in vars(cls):
            names |= {*inspect.signature(vars(cls)["__init__"]).parameters}
    return names - {"self", "args", "kwargs"}
