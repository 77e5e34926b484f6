"""Parameters by prefix, as in skorch: kept, named, and refused with the nearest name."""

import difflib
import inspect
from collections.abc import Iterable
from typing import Any, Self

from sklearn.base import BaseEstimator
from skorch import NeuralNet

from ._types import Options

#: Prefixes of keywords; each names what the arguments are for.
PREFIXES = ("module", "optimizer", "criterion", "iterator_train", "callbacks", "schedule", "net")

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


class KeywordParameters(BaseEstimator):
    """An estimator whose constructor takes ``**kwargs`` beside its named parameters.

    A keyword is read as an attribute of its own name, as any parameter is. Names are checked in
    ``fit``, when it is known what takes them.
    """

    _kwargs: Options

    def __getattr__(self, name: str) -> Any:
        keywords = self._keywords()
        if name in keywords:
            return keywords[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        prefix, is_nested, _ = name.partition("__")
        if is_nested and prefix in PREFIXES:
            self._set_keyword(name, value)
        else:
            super().__setattr__(name, value)

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
        return {**super().get_params(deep=deep), **self._keywords()}

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
                raise ValueError(unexpected(name, valid))
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


def unexpected(name: str, known: Iterable[str]) -> str:
    """Word the error for a name that nothing takes, with the nearest that is taken."""
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

    `named` are the parameters of the estimator's own; `takers` has for each prefix the names that
    may follow it, and None where any may.
    """
    nested = {f"{prefix}__{name}" for prefix, names in takers.items() for name in names or ()}
    known = {*named, *nested}
    for keyword in keywords:
        prefix, is_nested, name = keyword.partition("__")
        if not is_nested or prefix not in takers:
            raise ValueError(unexpected(keyword, known))
        first = name.split("__")[0]
        if keyword == "net__train_split":
            raise ValueError(
                f"Got {keyword}, but expected none: say by validation= what is left out."
            )
        is_prefix = first != "net" and first in PREFIXES and name != first
        if prefix == "net" and (first in SET_BY_US or is_prefix):
            raise ValueError(f"Got {keyword}, but expected it as {name}=.")
        names = takers[prefix]
        if names is not None and first not in names:
            raise ValueError(unexpected(keyword, known))


def net_arguments(net: type[NeuralNet]) -> set[str]:
    """Return the names after ``net__`` that a skorch class and its base classes take.

    A class of the user's may have further modules, whose arguments skorch checks itself.
    """
    names: set[str] = set()
    for cls in net.__mro__:
        if issubclass(cls, NeuralNet) and "__init__" in vars(cls):
            names |= {*inspect.signature(vars(cls)["__init__"]).parameters}
    return names - {"self", "args", "kwargs"}
