"""The history of a fit as a table."""

from html import escape
from numbers import Real
from typing import Any

from skorch.history import History

#: Rows of a table that are shown at each end.
_SHOWN = 30

#: Columns that come first, in this order, where there are any of them.
_FIRST = ("epoch", "cycle", "lr", "train_loss", "valid_loss", "unseen_score")

#: What is kept for skorch's callbacks, and tells a reader little.
_HIDDEN = ("batches", "train_batch_count", "valid_batch_count")


class FitHistory(History):
    """A history of skorch's that prints as a table, a row for each epoch.

    Examples
    --------
    >>> from skensemble._training.fit_history import FitHistory
    >>> FitHistory([{"epoch": 1, "lr": 0.1, "train_loss": 0.5, "batches": []}])
    epoch   lr  train_loss
        1  0.1         0.5
    """

    def __repr__(self) -> str:
        names, rows = self._table()
        if not names:
            return f"{type(self).__name__}([])"
        table = [names, *rows]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        return "\n".join("  ".join(map(str.rjust, row, widths)).rstrip() for row in table)

    def _repr_html_(self) -> str:
        names, rows = self._table()
        head = "".join(f"<th>{escape(name)}</th>" for name in names)
        cells = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows]
        body = "".join(f"<tr>{row}</tr>" for row in cells)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        """Return the names of the columns and the cells of the rows that are shown."""
        rows = self.to_list()
        found = dict.fromkeys(name for row in rows for name in row if _is_shown(name))
        names = [name for name in _FIRST if name in found]
        names += [name for name in found if name not in names]
        cells = [[_cell(row.get(name)) for name in names] for row in rows]
        if len(rows) > 2 * _SHOWN:
            cells[_SHOWN:-_SHOWN] = [["…"] * len(names)]
        return names, cells


def _is_shown(name: str) -> bool:
    return name not in _HIDDEN and not name.endswith("_best")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value)
    return f"{value:.4g}" if isinstance(value, Real) else f"{value!s:.20}"
