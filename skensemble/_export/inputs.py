"""The columns of a table as inputs of a graph: numbers, and places of categories."""

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skensemble._data.column import number_key
from skensemble._data.frames import Columns
from skensemble._types import Options

from .calendar import add_calendar
from .graph import Graph

FLOAT, INT, STRING = np.dtype(np.float64), np.dtype(np.int64), np.dtype(str)

#: Name of the only input where the columns have no names of their own.
MATRIX = "X"

#: Strings that say "missing" in a column of categories, where fit saw no such category. The first
#: is the one to send; the others are what Python makes of None, NaN, NaT and NA.
MISSING = ("", "None", "nan", "NaN", "NaT", "<NA>")

#: A number as text. Of longer whole ones no float holds all, and runtimes refuse larger ones.
_NUMBER = r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,2})?"

#: What says true and false.
_FLAGS = ("False", "false", "FALSE", "True", "true", "TRUE", "0", "1")

#: What a column's input is given, by the kind of the column.
_GIVEN = {
    "numbers": "numbers, NaN where they miss",
    "dates": "seconds since 1970, NaN where they miss",
    "durations": "seconds, NaN where they miss",
    "times of day": "seconds since midnight, NaN where they miss",
    "nothing": "anything, which has no effect",
}


class Table(NamedTuple):
    """A table within a graph."""

    #: Columns that are no categories, (n, m) of float64; None where there are none.
    numbers: str | None
    #: Places of categories, (n, c) of int64, counted from the first of the first column; below 0
    #: where there is none. None where there are no categories.
    places: str | None
    #: What is known of each column, for the metadata.
    columns: list[Options]


def add_matrix(graph: Graph, names: Sequence[str]) -> Table:
    """Add one input for a table of numbers."""
    matrix = graph.input(MATRIX, FLOAT, (len(names),))
    return Table(matrix, None, [_describe(name, "numbers", MATRIX) for name in names])


def add_columns(
    graph: Graph,
    columns: Columns,
    lookups: Sequence[NDArray[np.int64]],
    *,
    are_named: bool,
) -> Table:
    """Add an input for each column; a single one for an array of numbers.

    `lookups` have, for each column of categories, the place of each code, of missing values and
    of codes that fit has not seen.
    """
    is_matrix = not are_named and all(
        e.kind == "numbers" or (e.kind == "categories" and _are_numbers(e))
        for e in columns.encoders
    )
    matrix = graph.input(MATRIX, FLOAT, (len(columns.columns_),)) if is_matrix else None
    numbers, places, said = [], [], []
    left = iter(lookups)
    for i, encoder in enumerate(columns.encoders):
        name = str(columns.columns_[i])
        is_text = encoder.kind == "categories" and matrix is None
        if matrix is None:
            column = graph.input(name, STRING if is_text else FLOAT, (1,))
        else:
            column = graph.gather(matrix, [i])
        if is_text:
            places.append(_place_texts(graph, column, encoder, next(left)))
        elif encoder.kind == "categories":
            places.append(_place_numbers(graph, column, encoder, next(left)))
        else:
            numbers.append(_read(graph, column, encoder))
        marks = _missing_marks(encoder) if is_text else None
        described = _describe(name, encoder.kind, MATRIX if is_matrix else name, marks)
        if encoder.reading is not None:
            described["read_from"] = f"strings that are {encoder.reading}"
        said.append(described)
    return Table(_side_by_side(graph, numbers), _side_by_side(graph, places), said)


def _describe(name: str, kind: str, input_name: str, marks: list[str] | None = None) -> Options:
    said: Options = {"name": name, "kind": kind, "input": input_name}
    if marks is not None:
        return {**said, "given_as": "strings", "missing": marks}
    given = "numbers, NaN where they miss" if kind == "categories" else _GIVEN[kind]
    return {**said, "given_as": given}


def _side_by_side(graph: Graph, values: Sequence[str]) -> str | None:
    if len(values) < 2:
        return values[0] if values else None
    return graph.add("Concat", *values, axis=1)


def _read(graph: Graph, column: str, encoder: Any) -> str:
    """Return the columns of the matrix that a column without categories becomes."""
    if encoder.kind == "nothing":
        return graph.add("Mul", column, graph.constant(np.nan))
    if encoder.kind != "dates":
        return column
    try:
        return add_calendar(graph, column, encoder.calendar, encoder.zone)
    except ValueError as error:
        raise NotImplementedError(
            f"Got dates of the time zone {encoder.zone!r} in column {encoder.name!r}, but expected "
            "UTC, a fixed distance from it, or none: ONNX knows no clocks that change. Convert the "
            "column to UTC before fit."
        ) from error


# --------------------------------------------------------------------------- categories


def _are_numbers(encoder: Any) -> bool:
    """Tell whether each category is found by a number."""
    return len({code for code in _codes_of_numbers(encoder).values() if code >= 0}) == len(
        encoder.categories
    )


def _codes_of_numbers(encoder: Any) -> dict[float, int]:
    """Return the codes of all numbers that are a category, in any precision."""
    values = {0.0, 1.0, *filter(math.isfinite, map(_as_number, encoder.codes))}
    with np.errstate(over="ignore"):
        narrow = {float(kind(v)) for v in values for kind in (np.float32, np.float16)}
    return {v: encoder.code_of(v) for v in sorted(values | {*filter(math.isfinite, narrow)})}


def _as_number(text: str) -> float:
    try:
        return float(number_key(text))
    except ValueError:
        return math.nan


def _codes_of_texts(encoder: Any) -> dict[str, int]:
    """Return the codes of the strings by which a category may come."""
    codes = {text: encoder.code_of(text) for text in (*encoder.codes, *_FLAGS)}
    for key in encoder.codes:
        for text in _spellings(key):
            codes.setdefault(text, encoder.codes[key])
    return codes


def _spellings(key: str) -> Iterator[str]:
    """Yield how Python writes a category in other types than that of its key."""
    if key.lstrip("-").isdecimal():
        yield f"{key}.0"  # however long it is
    if key[:4].isdecimal():
        yield f"{key} 00:00:00"  # a day as a moment
    ends = key[1:-1].split(", ")
    if key[:1] in "([" and key[-1:] in ")]" and len(ends) == 2:  # an interval of pandas
        with contextlib.suppress(ValueError):
            yield f"{key[0]}{float(ends[0])}, {float(ends[1])}{key[-1]}"


def _missing_marks(encoder: Any) -> list[str]:
    return [mark for mark in MISSING if encoder.code_of(mark) < 0]


def _place_texts(graph: Graph, column: str, encoder: Any, lookup: NDArray[np.int64]) -> str:
    """Return the places of categories that come as strings."""
    places = _placed(_codes_of_texts(encoder).items(), lookup)
    places |= dict.fromkeys(_missing_marks(encoder), int(lookup[-2]))
    texts = sorted(places)
    found = graph.encode_labels(column, texts, np.array([places[text] for text in texts]), -1)
    numbers = {v: code for v, code in _codes_of_numbers(encoder).items() if code >= 0}
    if not numbers:
        return found
    # "1.00" is the category 1 too. What is no number would stop the runtime that has to read it.
    is_number = graph.add("RegexFullMatch", column, pattern=_NUMBER)
    text = graph.add("Where", is_number, column, graph.constant("0"))
    read = _find_numbers(graph, graph.cast(text, FLOAT), numbers, lookup)
    is_open = graph.add("And", is_number, graph.add("Less", found, graph.constant(0)))
    return graph.add("Where", is_open, read, found)


def _place_numbers(graph: Graph, column: str, encoder: Any, lookup: NDArray[np.int64]) -> str:
    """Return the places of categories that come as numbers."""
    numbers = {v: code for v, code in _codes_of_numbers(encoder).items() if code >= 0}
    place = _find_numbers(graph, column, numbers, lookup)
    missing = graph.constant(int(lookup[-2]))
    return graph.add("Where", graph.add("IsNaN", column), missing, place)


def _find_numbers(
    graph: Graph, column: str, codes: dict[float, int], lookup: NDArray[np.int64]
) -> str:
    places = np.array([lookup[code] for code in codes.values()])
    # The sum makes 0 of -0.
    column = graph.add("Add", column, graph.constant(0.0))
    return graph.cast(graph.encode_labels(column, list(codes), places, -1), INT)


def _placed(codes: Iterable[tuple[str, int]], lookup: NDArray[np.int64]) -> dict[str, int]:
    return {text: int(lookup[code]) for text, code in codes if code >= 0}
