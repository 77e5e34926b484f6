"""A fitted estimator to a file: :func:`write_model`."""

import json
import os
import platform
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np
import sklearn
import torch

from skensemble._types import Array, Options, State
from skensemble._warnings import short
from skensemble.fitted import Fitted
from skensemble.parameters import NetParameters

from .container import FORMAT, FORMAT_VERSION, TYPES, digest_of, iter_bytes, write_container
from .foreign import name_of, write_foreign
from .nets import write_net, write_state
from .schema import write_record
from .stored import digests_of, lay_out
from .tree import Encoder

#: What a file may hold beside what predicts.
INCLUDES = ("unseen", "training")

#: Letters of a document that are encoded at a time.
_AT_ONCE = 1 << 20


def write_model(
    path: str | os.PathLike[str],
    estimator: NetParameters,
    fitted: Fitted,
    *,
    include: Collection[str] = (),
    extra: Any = None,
) -> None:
    """Write a fitted estimator, so that the file is at any moment the old one or the new one whole.

    Parameters
    ----------
    path : path-like
        The folder must exist. A file of the name is replaced.
    estimator : NetParameters
        Its parameters are written. Nothing is written on it.
    fitted : Fitted
        Its snapshots may be those of the cycles so far.
    include : collection of str
        "unseen" for the predictions of rows that were left out, "training" for what a later call
        needs to go on.
    extra : object, default=None
        Plain values, lists, dicts, arrays and tensors that are kept beside, for a run that goes on.

    Raises
    ------
    ValueError
        If the estimator holds what no file can keep, such as a lambda.
    OSError
        If the file cannot be written. Nothing is left behind, and the old file stays.
    """
    prepare_model(begin(estimator), fitted, include=include, extra=extra).write(path)


def prepare_model(
    begun: "Begun", fitted: Fitted, *, include: Collection[str] = (), extra: Any = None
) -> "Prepared":
    """Read all that a file is to hold; see :func:`write_model`. It can be written at any time."""
    encoder = begun.encoder.copy()
    document = {
        "versions": _versions(),
        "estimator": begun.estimator,
        "made_of": _write_made_of(encoder, begun.parameters, fitted.resume.made_of),
        **_write_learned(encoder, fitted, with_unseen="unseen" in include),
        "net": write_net(encoder, fitted),
        "state": write_state(encoder, fitted) if "training" in include else None,
        "training": encoder.encode_named("extra", extra),
    }
    return Prepared(document, encoder, *fitted.snapshots.whole)


class Prepared(NamedTuple):
    """What a file is to hold."""

    document: Options
    encoder: Encoder
    #: Of the snapshots, and where in them each snapshot is.
    stacks: State
    places: Array

    def write(self, path: str | os.PathLike[str], known: dict[int, bytes] | None = None) -> None:
        """Write the file; `known` has digests of snapshots, to which those found out are added."""
        encoder, laid = self.encoder, lay_out(self.stacks)
        snapshots = {
            "stacks": [_describe(name, stack) for name, stack in self.stacks.items()],
            "places": encoder.encode(np.asarray(self.places, dtype=np.int64)),
            "digests": encoder.encode(
                digests_of(laid, self.places, {} if known is None else known)
            ),
        }
        document = {**self.document, "snapshots": snapshots}
        text = json.dumps(document, separators=(",", ":"), allow_nan=False)
        texts = {
            "format": FORMAT,
            "format_version": str(FORMAT_VERSION),
            "digest": content_digest(text, encoder.arrays, _shapes(laid)).hex(),
            "document": text,
        }
        write_container(path, {**encoder.arrays, **laid}, texts)


class Begun(NamedTuple):
    """What all files of a run say of the estimator."""

    parameters: Options
    #: The JSON of its class and its parameters.
    estimator: Options
    encoder: Encoder


def begin(estimator: NetParameters) -> Begun:
    """Read the parameters of an estimator.

    Raises
    ------
    ValueError
        If there is one that no file can keep, such as a lambda.
    """
    encoder, parameters = new_encoder(), estimator.get_params(deep=False)
    return Begun(parameters, _write_estimator(encoder, type(estimator), parameters), encoder)


def new_encoder() -> Encoder:
    """Return what writes values of any kind that a file can keep."""
    return Encoder(_write_other)


def content_digest(
    document: str, arrays: dict[str, Array], stacks: dict[str, tuple[str, tuple[int, ...]]]
) -> bytes:
    """Return the digest of all but the numbers of snapshots, which have digests of their own."""
    return digest_of(_parts_of(document, arrays, stacks))


def _parts_of(
    document: str, arrays: dict[str, Array], stacks: dict[str, tuple[str, tuple[int, ...]]]
) -> Iterator[Any]:
    for start in range(0, len(document), _AT_ONCE):
        yield document[start : start + _AT_ONCE].encode()
    for name in sorted(arrays):
        array = arrays[name]
        yield f"{name} {array.dtype.str} {array.shape}".encode()
        yield from iter_bytes(array)
    for name in sorted(stacks):
        yield f"{name} {stacks[name]}".encode()


def _shapes(laid: dict[str, Array]) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (array.dtype.str, array.shape) for name, array in laid.items()}


def _versions() -> Options:
    """Return what wrote the file, for those who look for the reason of a difference."""
    import skensemble

    return {
        "skensemble": skensemble.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
        "torch": str(torch.__version__),
    }


def _write_other(encoder: Encoder, value: Any) -> Options:
    return write_record(encoder, value) or write_foreign(encoder, value)


def _write_estimator(encoder: Encoder, cls: type[NetParameters], parameters: Options) -> Options:
    name = cls.__name__ if cls.__module__.startswith("skensemble.") else name_of(cls)
    return {"class": name, "parameters": _write_parameters(encoder, parameters)}


def _write_parameters(encoder: Encoder, parameters: Options) -> Options:
    made = {}
    for name, value in parameters.items():
        if name == "checkpoint_dir":  # a file says nowhere where to write
            continue
        made[name] = encoder.encode_named(name, value)
        stray = next((n for n in _names_in(made[name]) if "<" in n), None)
        if stray is not None and name != "module":
            raise ValueError(
                f"Got {name}={short(value)} with {stray!r}, but expected what can be found by its "
                "name when the file is loaded: define it with def or class at the top of a module."
            )
    return made


def _names_in(tree: Any) -> list[str]:
    """Return the names of foreign things in a tree of JSON."""
    if isinstance(tree, list):
        return [name for part in tree for name in _names_in(part)]
    if not isinstance(tree, dict):
        return []
    names = [tree["name"]] if tree.get("$") in ("name", "instance", "module") else []
    return names + [name for part in tree.values() for name in _names_in(part)]


def _write_made_of(encoder: Encoder, now: Options, made_of: Options) -> Options:
    """Write the parameters that the nets are made of, where they are not those of now."""
    same = [name for name, value in made_of.items() if name in now and now[name] is value]
    other = {name: value for name, value in made_of.items() if name not in same}
    return {"same": same, "other": _write_parameters(encoder, other)}


def _write_learned(encoder: Encoder, fitted: Fitted, *, with_unseen: bool) -> Options:
    verdict, resume = fitted.verdict, fitted.resume
    if verdict is not None and not with_unseen:
        verdict = verdict._replace(predictions=None)
    return {
        "intake": encoder.encode_named("X", fitted.intake),
        "targets": encoder.encode_named("y", fitted.targets),
        "verdict": encoder.encode(verdict),
        "stage_weights": encoder.encode(fitted.stage_weights),
        "chosen": encoder.encode_named("validation", resume.chosen),
        "seed": encoder.encode(resume.seed),
        "n_steps": int(resume.n_steps),
        "highest_lr": float(resume.highest_lr),
        "is_time_limited": bool(resume.is_time_limited),
    }


def _describe(name: str, stack: torch.Tensor) -> list[Any]:
    """Name a tensor of the snapshots and its type, and its shape where its array does not tell."""
    dtype = str(stack.dtype).removeprefix("torch.")
    is_plain = dtype in _SAME
    return [name, dtype] if is_plain else [name, dtype, list(stack.shape[1:])]


#: Types that torch and the file have alike, by torch's names.
_SAME = {dtype.name for dtype in TYPES.values()}
