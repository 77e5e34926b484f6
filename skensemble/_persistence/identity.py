"""What a call trains on and with, part by part, as fingerprints."""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy
import sklearn
import skorch
import torch
from scipy.sparse import issparse

from skensemble._data.frames import column_names, is_frame, iter_columns
from skensemble._nets.origins import package_of
from skensemble._training.state import capture_net
from skensemble._types import Options
from skensemble.fitted import Fitted
from skensemble.parameters import NetParameters

from .fingerprints import fingerprint

#: The fingerprint of each part of a call, by the words that name the part.
Identity = dict[str, str]

#: Parameters that change no number, and the one whose seed stands for it. The number of threads is
#: no part either: small fits use one, and another machine may go on with what it has.
_WITHOUT_EFFECT = {"checkpoint_dir", "n_jobs", "random_state", "verbose", "warm_start"}


def identify(
    estimator: NetParameters, data: dict[str, Any], seed: int, before: Fitted | None
) -> Identity:
    """Return the fingerprints of all that the bits of a fit hang on.

    `data` has what was given to the call, by the names of its arguments. A fingerprint tells
    nothing of the data but whether it is the same.
    """
    named = {"estimator": type(estimator), "seed from random_state": seed, **_versions()}
    named["torch's default type"] = torch.get_default_dtype()
    for name, value in _with_effect(estimator).items():
        named[f"parameter {name}"] = value
    identity = {name: fingerprint(value) for name, value in named.items()}
    for name, value in data.items():
        if value is not None:
            identity |= _of_rows(name, value)
    if before is not None:
        identity["ensemble before"] = _of_ensemble(before)
    return identity


def _with_effect(estimator: NetParameters) -> Options:
    """Return the parameters that numbers hang on, what is written in two ways in one of them."""
    given = estimator.get_params(deep=False)
    given["device"] = str(estimator._device())
    if isinstance(given.get("class_weight"), dict):  # whose order says nothing
        given["class_weight"] = {*given["class_weight"].items()}
    return {name: value for name, value in given.items() if name not in _WITHOUT_EFFECT}


def tell_apart(one: Identity, other: Identity) -> list[str]:
    """Name the parts in which two calls differ."""
    names = [*one, *(name for name in other if name not in one)]
    return [name for name in names if one.get(name) != other.get(name)]


def _versions() -> dict[str, str]:
    packages = (np, scipy, sklearn, skorch, torch, sys.modules["skensemble"])
    python = ".".join(map(str, sys.version_info[:3]))
    versions = {f"version of {package.__name__}": package.__version__ for package in packages}
    return {"version of python": python, **versions}


def _of_rows(name: str, value: Any) -> Identity:
    """Return the fingerprints of rows, column by column where they have some."""
    return {f"{part} of {name}" if part else name: h for part, h in _columns_of(value)}


def _columns_of(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield f"{name!r}", fingerprint(part)
    elif is_frame(value):
        names = column_names(value)
        yield "columns", fingerprint([package_of(type(value)), *names])
        for name, column in zip(names, iter_columns(value), strict=True):
            yield f"column {name!r}", fingerprint([str(column.dtype), _as_array(column)])
    elif isinstance(value, np.ndarray) and value.ndim == 2 and not value.dtype.hasobject:
        yield "shape", fingerprint(value.shape)
        for j, column in enumerate(value.T):
            yield f"column {j}", fingerprint(column)
    elif issparse(value):
        whole = value.tocoo()
        yield "", fingerprint([type(value), whole.shape, whole.data, *whole.coords])
    else:
        yield "", fingerprint(value)


def _as_array(column: Any) -> Any:
    return column if isinstance(column, np.ndarray) else column.to_numpy()


def _of_ensemble(before: Fitted) -> str:
    """Return the fingerprint of what an earlier call left, and where it stood."""
    resume: Options = before.resume._asdict()
    names = ("generators", "seed", "n_steps", "highest_lr", "chosen")
    stood = [resume[name] for name in names]
    nets = [capture_net(net) for net in before.nets]
    trained = [[net["modules"], net["optimizers"]] for net in nets]
    learned = [before.intake, before.targets, before.stage_weights]
    return fingerprint([stood, learned, trained, before.all_states()])
