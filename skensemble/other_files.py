"""What pickle, joblib, cloudpickle, copy and skops write of an estimator, and read again."""

import sys
from typing import Self

from ._nets.pickling import as_arrays, holds_tensors
from ._types import Options
from ._warnings import InconsistentVersionWarning, warn
from .fitted import Fitted
from .parameters import NetParameters

#: Where a file keeps the version that wrote it.
_VERSION = "_skensemble_version"


def version() -> str:
    """Return the version of this package."""
    return sys.modules[__package__].__version__


class Picklable(NetParameters):
    """An estimator whose state is plain data, the same from the file as before.

    Two attributes are one object: ``net_`` is the first net of ``_fitted_``, and a module given as
    an instance is among the parameters that the nets are made of. Both are kept so.
    """

    def __copy__(self) -> Self:
        """Return an estimator with the same attributes; what is fitted never changes."""
        made = object.__new__(type(self))
        made.__dict__.update(vars(self))
        return made

    def __getstate__(self) -> Options:
        """Hold the version that writes, and arrays in place of the tensors of parameters."""
        state = {**super().__getstate__(), _VERSION: version()}
        fitted: Fitted | None = state.pop("_fitted_", None)
        if fitted is None:
            return {**state, **as_arrays(_with_tensors(state))}
        if state.get("net_") is fitted.nets[0]:
            del state["net_"]  # skops would write it twice
        made_of = fitted.resume.made_of
        own, known = as_arrays((_with_tensors(state), _with_tensors(made_of)))
        return {**state, **own, "_fitted_": fitted.as_made_of({**made_of, **known})}

    def __setstate__(self, state: Options) -> None:
        """Take over a state, with a warning where another version wrote it."""
        written, here = state.get(_VERSION), version()
        if written != here:
            writer = "an older skensemble" if written is None else f"skensemble {written}"
            warn(
                f"Got a pickle of {type(self).__name__} that {writer} wrote, but "
                f"expected one of skensemble {here}: with another version predictions may differ "
                "or fail; load it with the version that wrote it, or fit anew.",
                InconsistentVersionWarning,
            )
        fitted = state.get("_fitted_")
        nets = {} if fitted is None else {"net_": fitted.nets[0]}
        kept = {name: value for name, value in state.items() if name != _VERSION}
        super().__setstate__({**nets, **kept})


def _with_tensors(state: Options) -> Options:
    """Select what has tensors, and no form of its own for files."""
    return {name: value for name, value in state.items() if name != "net_" and holds_tensors(value)}
