"""What became of each column in fit, as a table to be read and as warnings."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import NamedTuple

from .encoder import Categories, TableEncoder
from .frames import Columns
from .text import FEW, PLAIN, find_unreadable

#: Columns that a warning names, and rows that a table shows at either end.
_NAMED, _SHOWN = 5, 15

#: How a column of an array is read.
_NUMBER = ("numbers", 1, None)

#: What is said of columns of one kind, once for all of them.
_MESSAGES = {
    "strings": (
        "Got X with strings that are numbers or dates in {columns}, and read them as such; where "
        "they are codes, name them in categorical_features= or give them a categorical dtype."
    ),
    "rare": (
        "Got X with hardly any category of enough rows in {columns}, but expected categories that "
        "come back, so almost nothing is learned there; drop the column, encode text before (by "
        "skrub's TableVectorizer, for one), make numbers and dates of what are some, or name "
        "categorical_features= and table__min_rows= of your own."
    ),
    "many": (
        "Got X with more categories than table__max_categories={most} in {columns}, so the "
        "rarest of them share one input; raise table__max_categories= to tell them apart."
    ),
    "row number": (
        "Got X with whole numbers that never repeat in {columns}, like a row number, but expected "
        "columns that say something of other rows; drop it. Beside it even copies of a row "
        "differ, so give fit groups= where rows have copies."
    ),
}


class FittedColumn(NamedTuple):
    """What became of one column of X."""

    name: object
    #: "numbers", "categories", "dates", "durations", "times of day"; "nothing" where all missed.
    read_as: str
    #: Share of the rows in which it missed.
    missing: float
    #: Distinct categories, and those that have an input of their own; None for numbers.
    categories: int | None
    kept: int | None
    #: Linear pieces that its numbers were cut into.
    pieces: int
    #: What else is to be said of it, mostly nothing.
    remark: str


_FIELDS = tuple(FittedColumn.__annotations__)


class FittedColumns(tuple[FittedColumn, ...]):
    """A row for each column of X: its name, and what the built-in network made of it.

    ``pandas.DataFrame(model.columns_)`` makes a frame of it.

    Examples
    --------
    >>> from skensemble._data.fitted_columns import FittedColumn, FittedColumns
    >>> FittedColumns([FittedColumn("age", "numbers", 0.25, None, None, 8, "")])
    name  read_as  missing  categories  kept  pieces  remark
    age   numbers  25.0 %                     8
    """

    __slots__ = ()

    def __repr__(self) -> str:
        rows = [_FIELDS, *self._shown()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in _FIELDS)
        rows = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in self._shown()]
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _shown(self) -> list[tuple[str, ...]]:
        """Return the cells of the rows that are shown: where they are many, both ends."""
        if len(self) <= 2 * _SHOWN:
            return [*map(_cells, self)]
        gap = (f"… {len(self) - 2 * _SHOWN} more", *[""] * (len(_FIELDS) - 1))
        return [*map(_cells, self[:_SHOWN]), gap, *map(_cells, self[-_SHOWN:])]


def _cells(row: FittedColumn) -> tuple[str, ...]:
    share = f"{100 * row.missing:.1f} %" if row.missing else "0"
    counts = ["" if count is None else str(count) for count in row[3:5]]
    return (f"{row.name!s:.40}", row.read_as, share, *counts, str(row.pieces), row.remark)


class Told(NamedTuple):
    """A remark on one column."""

    kind: str
    #: For the table.
    remark: str
    #: The column in a warning: its name, and a count beside it.
    shown: str


def describe(
    columns: Columns | None, encoder: TableEncoder, names: Iterable[object]
) -> FittedColumns:
    """Make the table of the columns named, which both have learned."""
    return FittedColumns(row for row, _ in _describe_each(columns, encoder, [*names]))


def find_messages(
    columns: Columns | None, encoder: TableEncoder, names: Sequence[object]
) -> list[str]:
    """Return what to warn of, one message for all columns of which the same is to be said."""
    if columns is None and not encoder.row_numbers_:  # numbers alone, maybe very many
        return []
    told = [said for _, said in _describe_each(columns, encoder, names) if said is not None]
    messages = []
    for kind, message in _MESSAGES.items():
        shown = [said.shown for said in told if said.kind == kind]
        if shown:
            more = f" and {len(shown) - _NAMED} more" if len(shown) > _NAMED else ""
            which = f"column{'s' * (len(shown) > 1)} {', '.join(shown[:_NAMED])}{more}"
            messages.append(message.format(columns=which, most=encoder.max_categories))
    return messages


def _describe_each(
    columns: Columns | None, encoder: TableEncoder, names: Sequence[object]
) -> Iterator[tuple[FittedColumn, Told | None]]:
    """Yield for each column its row of the table, and what is to be told of it."""
    readings = [_NUMBER] * len(names) if columns is None else columns.readings_
    counts: tuple[float, int | None, int | None, int]
    pieces, place, categories = encoder.pieces_, 0, iter(encoder.categories_)
    row_numbers = set(encoder.row_numbers_ if len(names) > 1 else [])
    for i, (name, (kind, width, strings)) in enumerate(zip(names, readings, strict=True)):
        if kind == "categories":
            seen = next(categories)
            example = "" if columns is None else _example(columns.categories_of(i))
            said = _of_categories(name, seen, encoder.max_categories, example)
            counts = seen.missing, seen.distinct, seen.kept, 0
        else:
            said = _of_numbers(name, kind, strings, is_row_number=place in row_numbers)
            n_cut = int(pieces[place : place + width].sum())
            counts = float(encoder.missing_[place]), None, None, n_cut
            place += width
        missing, distinct, kept, n_pieces = counts
        remark = said.remark if said else ""
        yield FittedColumn(name, kind, missing, distinct, kept, n_pieces, remark), said


def _of_numbers(
    name: object, kind: str, strings: str | None, *, is_row_number: bool
) -> Told | None:
    if is_row_number and kind == "numbers":
        return Told("row number", "like a row number", repr(name))
    if strings is not None:
        return Told("strings", f"strings read as {strings}", repr(name))
    return None


def _of_categories(name: object, seen: Categories, most: int, example: str) -> Told | None:
    distinct, kept, enough, rare, _ = seen
    if distinct > FEW and rare > 0.5:
        remark = f"too few rows for {distinct - enough} of {distinct} categories"
        return Told("rare", remark, f"{name!r} ({distinct} distinct values{example})")
    if enough > kept:
        remark = f"more categories than {most}"
        return Told("many", remark, f"{name!r} ({enough} with enough rows)")
    return None


def _example(categories: Sequence[str]) -> str:
    """Return a value that says why a column is no column of numbers, or just what it holds."""
    if not categories:
        return ""
    bad = find_unreadable(categories, PLAIN["numbers"])
    n_read = sum(find_unreadable([c], PLAIN["numbers"]) is None for c in categories[:1000])
    if bad is None or n_read * 2 < min(len(categories), 1000):
        return f", such as {_cut(categories[0])}"
    return f", mostly numbers, but not {_cut(str(bad))}"


def _cut(text: str) -> str:
    return repr(text if len(text) <= 30 else text[:27] + "…")
