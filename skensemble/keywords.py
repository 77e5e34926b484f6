"""Parameters by prefix, as in skorch: kept, named, and refused with the nearest name."""

import difflib
import inspect
from collections.abc import Iterable
from numbers import Integral
from types import ModuleType
from typing import Any, Self

import torch
from sklearn.base import BaseEstimator
from skorch import NeuralNet

from ._compat import HasMethods, Interval, InvalidParameterError, StrOptions
from ._types import Options

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


#: What other libraries call what has another name, or another place, here.
_ELSEWHERE = {
    "lr": "learning_rate learning_rate_init eta eta0 base_lr max_lr",
    "max_epochs": "max_iter epochs n_epochs num_epochs iterations num_iterations n_iter",
    "n_cycles (snapshots of one run) or n_chains (networks)": (
        "n_estimators num_boost_round num_trees n_ensemble n_networks n_models ensemble_size"
    ),
    "module__hidden": (
        "hidden_layer_sizes hidden_sizes hidden_units hidden_dims hidden_size layers n_hidden "
        "num_leaves max_depth depth"
    ),
    "module__dropout": "dropout p_drop dropout_rate",
    "fit(X, y, X_val=..., y_val=...)": "eval_set eval_X eval_y validation_data X_val y_val",
    "validation": "validation_fraction valid_fraction validation_split train_split cv n_folds",
    "n_iter_no_change": "patience early_stopping_rounds od_wait tol",
    "optimizer": "solver",
    "optimizer__weight_decay": "alpha weight_decay l2 reg_lambda l2_leaf_reg l2_regularization",
    "optimizer__momentum": "momentum nesterovs_momentum",
    "criterion": "loss loss_function loss_fn objective",
    "module": "model network estimator base_estimator net_module",
    "categorical_features": "cat_features categorical_feature cat_cols enable_categorical",
    "class_weight": "scale_pos_weight is_unbalance auto_class_weights class_weights",
    "random_state": "seed random_seed",
    "device": "task_type tree_method gpu use_gpu device_type",
    "verbose": "silent verbosity logging_level",
    "batch_size": "batchsize bs",
    "cycle_mult": "T_mult",
    "schedule__min_lr": "eta_min min_lr base_rate",
    "schedule__burn_in_epochs": "warmup warmup_epochs burn_in_epochs",
    "n_cycles": "n_snapshots num_cycles T_0",
    "table__max_categories": "max_categories max_bins",
    "torch.set_num_threads(n) before fit": "n_jobs nthread num_threads thread_count",
}
_FOREIGN = {name: ours for ours, names in _ELSEWHERE.items() for name in names.split()}

#: Constraints of scikit-learn's that are words.
_PLAIN = {
    "boolean": "True or False",
    "random_state": "an integer of at least 0, a RandomState or None",
    "verbose": "an integer of at least 0, True or False",
    "array-like": "an array-like",
}

#: A value in a message is cut after so many characters.
_MOST = 80


def short(value: object) -> str:
    """Return a value as an error shows it: cut where it is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _MOST else text[: _MOST - 1] + "…"


def in_words(constraints: Iterable[Any]) -> str:
    """Word constraints of scikit-learn's as a rule that need not be decoded."""
    words = ["a callable" if c is callable else _word_of(c) for c in constraints]
    return " or ".join(dict.fromkeys(words))


def _word_of(constraint: Any) -> str:
    if isinstance(constraint, Interval):
        kind = "an integer" if constraint.type is Integral else "a number"
        if constraint.right is not None:
            return f"{kind} between {constraint.left} and {constraint.right}"
        bound = "of at least" if constraint.closed in ("left", "both") else "above"
        return f"{kind} {bound} {constraint.left}"
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


def find_by_name(parameter: str, name: str, home: ModuleType, base: type) -> type:
    """Return the class of torch's that a name stands for, in lower case or as torch has it.

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
        choices = ", ".join(repr(key) for key in sorted(known))
        raise InvalidParameterError(
            f"Got {parameter}={name!r}, but expected a class of {home.__name__} or its name: one "
            f"of {choices}.{nearest(name.lower(), known)}"
        )
    return found


def _plain(name: str, suffix: str) -> str:
    return name.replace("_", "").replace(" ", "").lower().removesuffix(suffix.lower())


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
    near = [_FOREIGN[name]] if name in _FOREIGN else []
    near = near or ([nested[name]] if name in nested else [])
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
        if prefix == "net" and first in WITHOUT_EFFECT:
            raise ValueError(f"Got {keyword}, but expected none: {WITHOUT_EFFECT[first]}.")
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
