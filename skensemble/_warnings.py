"""Warnings that point at the user's line, and values as messages show them."""

import contextlib
import inspect
import warnings
from collections.abc import Iterator
from pathlib import Path

from sklearn.exceptions import InconsistentVersionWarning as _OfScikitLearn

from ._locks import Turn

_HERE = str(Path(__file__).parent)

#: Python has one list of filters for all threads before 3.14, and puts back what each one found.
_turn = Turn()

#: A value in a message is cut after so many characters.
_MOST = 80


def short(value: object) -> str:
    """Return a value as an error shows it: on one line, cut where it is long.

    Examples
    --------
    >>> from skensemble._warnings import short
    >>> short((128, 64))
    '(128, 64)'
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= _MOST else text[: _MOST - 1] + "…"


class InconsistentVersionWarning(_OfScikitLearn):
    """A pickle was written by another version of this package."""

    def __init__(self, message: str):
        self.message = message

    def __str__(self) -> str:
        return self.message


@contextlib.contextmanager
def own_filters() -> Iterator[None]:
    """Let a block filter warnings, one thread at a time; filters are as before on leaving."""
    with _turn.taken(), warnings.catch_warnings():
        yield


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line outside of this package that led here."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
