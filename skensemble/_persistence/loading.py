"""A file to a fitted estimator, in three steps: parse, audit, construct."""

import os
from collections.abc import Callable, Collection, Mapping
from typing import Any

from skensemble._types import ModuleLike
from skensemble._warnings import short
from skensemble.parameters import NetParameters

from .audit import audit, check_trust, parse
from .building import Loaded, construct
from .container import Fault, path_of_file
from .stored import refusal


def read_model(
    path: str | os.PathLike[str],
    *,
    kinds: Mapping[str, type[NetParameters]] | None = None,
    module: ModuleLike | None = None,
    trusted: str | Collection[str] = (),
    estimator: NetParameters | None = None,
    check: Callable[[Any], object] | None = None,
) -> Loaded:
    """Read what :func:`~skensemble._persistence.saving.write_model` wrote.

    Parameters
    ----------
    path : path-like
    kinds : mapping of str to class
        Estimators by their names in a file.
    module : class, callable or nn.Module, default=None
        Stands in place of the parameter of that name, which is not looked up then.
    trusted : str or collection of str
        Names of code that may be imported and called.
    estimator : NetParameters, default=None
        Its parameters are taken in place of the file's, which are not looked at: the caller knows
        that the file is of this estimator.
    check : callable, default=None
        Is given what was written as `extra`, and may refuse it, before anything is built.

    Raises
    ------
    ValueError
        If the file is damaged, of a newer format, or needs a name that is not trusted.
    OSError
        If it cannot be opened.
    """
    path = path_of_file(path)
    trusted = _names(trusted)
    audited = _guarded(path, lambda: audit(parse(path), estimator))
    check_trust(audited, module, trusted)
    if check is not None:
        check(audited.values["training"])
    return _guarded(path, lambda: construct(audited, kinds or {}, module, trusted, estimator))


def _names(trusted: object) -> list[str]:
    """Return the names that were given, be it one."""
    if isinstance(trusted, str):
        return [trusted]
    names = [*trusted] if isinstance(trusted, Collection) else None
    if names is None or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"Got trusted={short(trusted)}, but expected names of classes or functions with "
            "those of their modules, such as 'mymodel.Net'."
        )
    return names


def _guarded(path: str | os.PathLike[str], step: Callable[[], Any]) -> Any:
    """Turn whatever a wrong file leads to into one kind of error."""
    try:
        return step()
    except Fault as fault:
        raise refusal(os.fspath(path), fault) from fault
    except (OSError, Warning):  # the user may have made warnings errors
        raise
    except Exception as error:
        if isinstance(error, ValueError) and str(error).startswith("Got "):
            raise  # it says what to do
        what = f"what cannot be read ({type(error).__name__}: {short(str(error))})"
        raise refusal(os.fspath(path), what) from error
