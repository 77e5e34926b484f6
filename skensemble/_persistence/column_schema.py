"""What was learned of the columns of a table, as it stands in a file."""

from typing import Any

import numpy as np

from skensemble._data import dates, frames
from skensemble._data.column import find_zone, number_key
from skensemble._data.encoder import Categories, TableEncoder
from skensemble._data.frames import Columns
from skensemble._data.text import Reading
from skensemble._types import Options

from .checks import (
    Check,
    Kind,
    boolean,
    either,
    expect,
    floats,
    hashable,
    integer,
    integers,
    list_of,
    maybe,
    pair,
    plain,
    real,
    record,
    text,
    truths,
)


def _check_columns(f: Options) -> None:
    encoders = [encoder.fields for encoder in f["encoders"]]
    names = [name for encoder in encoders for name in encoder["names"]]
    expect(len(f["columns"]) == len(encoders), "names of columns that are not as many as columns")
    expect(len(f["parts"]) == len(names), "parts of columns that are not as many as columns")
    is_plain = all(encoder["kind"] == "numbers" for encoder in encoders)
    expect(is_plain or not f["is_plain"], "columns that are no numbers and are said to be")


def _finish_columns(made: Columns) -> None:
    made.names_ = [name for e in made.encoders for name in e.names]
    made.categories_ = [c for e in made.encoders for c in [e.categories] * len(e.names)]
    made.is_categorical_ = np.array([c is not None for c in made.categories_], dtype=bool)


def _check_one_column(f: Options) -> None:
    expect(len(f["names"]) == len(f["most_pieces"]) == 1, "a column that is several")


def _check_dates(f: Options) -> None:
    n = len(f["calendar"].fields["parts"]) + f["calendar"].fields["has_trend"]
    expect(n == len(f["names"]) == len(f["most_pieces"]), "a date whose parts are not as many")
    zone = f["zone"]
    expect(zone is None or find_zone(zone) is not None, f"the unknown time zone {zone!r}")


def _check_calendar(f: Options) -> None:
    expect(f["first"] <= f["last"], "dates that end before they begin")
    expect(f["parts"] or f["has_trend"], "a date without parts")
    expect(len(f["names"]) == len(f["most_pieces"]) == len(f["parts"]) + f["has_trend"],
           "a date whose parts are not as many")  # fmt: skip


def _check_encoder(f: Options) -> None:
    n, numbers, piece_of = len(f["center"]), f["numbers"], f["piece_of"]
    same = ("scale", "is_constant", "missing_")
    expect(all(len(f[name]) == n for name in same), "numbers that are not as many everywhere")
    expect(f["shrink"] is None or len(f["shrink"]) == n, "numbers that are not as many everywhere")
    expect(len(piece_of) == len(f["low"]) == len(f["slope"]), "pieces that are not as many")
    expect(are_below(piece_of, n) and are_below(f["missing"], n), "a column that there is not")
    expect(are_below(np.array(f["row_numbers"], dtype=int), n), "a column that there is not")
    n_inputs = n + len(piece_of) + len(f["missing"])
    expect(f["n_inputs"] == n_inputs, "inputs that are not as many as their columns")
    lookups = f["lookups"]
    expect(len(lookups) == len(f["categories"]), "categories that are not as many as their columns")
    width, taken = n + len(lookups), [j for j, _ in lookups]
    if isinstance(numbers, slice):
        expect(not lookups, "columns that are numbers and categories")
    else:
        expect(
            isinstance(numbers, np.ndarray) and len(numbers) == n, "numbers that are not as many"
        )
        taken += numbers.tolist()
        expect(sorted(taken) == list(range(width)), "columns that are not one after another")
    end = n_inputs
    for _, lookup in lookups:
        places = lookup[lookup >= 0]
        expect(len(lookup) >= 2, "categories without a place for those that miss")
        last = int(places.max(initial=end - 1))
        expect(int(places.min(initial=end)) >= end, "a category in the place of another column")
        end = last + 1
    expect(
        f["n_outputs"] == end == len(f["origin"]), "inputs that are not as many as their columns"
    )
    expect(are_below(f["origin"], max(1, width)), "a column that there is not")


def are_below(places: Any, n: int) -> bool:
    return bool((places < n).all())


def _finish_categories(made: Any) -> None:
    made.codes = {key: code for code, key in enumerate(made.categories)}
    for code, key in enumerate(made.categories):
        made.codes.setdefault(number_key(key), code)


def _all_columns(value: Any, name: str) -> None:
    """Take the slice that means every column."""
    expect(isinstance(value, slice) and value == slice(None), name)


_positive = floats(1, 0, above=True)
_column: dict[str, Check] = {
    "name": hashable,
    "kind": text("numbers", "durations", "times of day", "categories", "dates", "nothing"),
    "names": list_of(text()),
    "expected": text(),
    "most_pieces": list_of(integer()),
    "reading": maybe(record("Reading")),
}

#: By their names in a file.
COLUMN_KINDS: dict[str, Kind] = {
    "Columns": Kind(
        Columns,
        {
            "categorical_features": plain,
            "columns_": list_of(hashable),
            "_encoders": list_of(record("Column", "NothingColumn", "CategoryColumn", "DateColumn")),
            "parts_": integers(1),
            "_is_plain": boolean,
        },
        _check_columns,
        _finish_columns,
    ),
    "Column": Kind(frames._Encoder, _column, _check_one_column),
    "NothingColumn": Kind(frames._Nothing, _column, _check_one_column),
    "CategoryColumn": Kind(
        frames._Categories,
        {**_column, "categories": list_of(text())},
        _check_one_column,
        _finish_categories,
    ),
    "DateColumn": Kind(
        frames._Dates,
        {**_column, "zone": maybe(text()), "calendar": record("Calendar")},
        _check_dates,
    ),
    "Calendar": Kind(
        dates.Calendar,
        {
            "first": real(),
            "last": real(),
            "years": pair(integer(), integer()),
            "has_trend": boolean,
            "parts": list_of(integer(0, len(dates._PARTS) - 1)),
            "names": list_of(text()),
            "most_pieces": list_of(integer()),
        },
        _check_calendar,
    ),
    "Reading": Kind(
        Reading,
        {
            "kind": text("numbers", "dates"),
            "before": text(),
            "behind": text(),
            "thousands": text("", ",", ".", " '’_\u00a0\u202f"),
            "point": text(".", ","),
        },
    ),
    "TableEncoder": Kind(
        TableEncoder,
        {
            "n_pieces": integer(0),
            "min_rows": integer(0),
            "max_categories": integer(1),
            "max_inputs": integer(1),
            "_numbers": either(integers(1, 0), _all_columns),
            "center_": floats(1),
            "scale_": _positive,
            "_shrink": maybe(_positive),
            "_missing": integers(1, 0),
            "_piece_of": integers(1, 0),
            "_low": floats(1),
            "_slope": _positive,
            "_n_inputs": integer(0),
            "n_outputs_": integer(0),
            "_lookups": list_of(pair(integer(0), integers(1, -1))),
            "categories_": list_of(record("Categories")),
            "origin_": integers(1, 0),
            "_is_constant": truths,
            "row_numbers_": list_of(integer(0)),
            "missing_": floats(1, 0),
        },
        _check_encoder,
    ),
    "Categories": Kind(
        Categories,
        {
            **dict.fromkeys(("distinct", "kept", "enough"), integer(0)),
            **dict.fromkeys(("rare", "missing"), real(0)),
        },
    ),
}
