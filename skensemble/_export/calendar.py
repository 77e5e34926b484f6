"""Parts of the calendar in a graph, from seconds since 1970."""

from collections.abc import Callable
from datetime import timezone
from functools import cached_property

import numpy as np

from skensemble._data.column import find_zone
from skensemble._data.dates import Calendar

from .graph import Graph

_DAY = 86_400

#: Days of 400 years, after which the calendar begins anew; and so many of them that no year is
#: negative, as division rounds towards zero.
_ERA, _ERAS = 146_097, 1000

#: Days from the first of March of the year 0 to 1970.
_MARCH_0 = 719_468


def add_calendar(graph: Graph, seconds: str, calendar: Calendar, zone: str | None) -> str:
    """Add what :meth:`~skensemble._data.dates.Calendar.encode` makes of a column of dates.

    `seconds` are those since 1970, (n, 1), NaN where a date misses: of the local time where the
    column has no time zone, else of UTC. A ValueError says that the hours of the zone change.
    """
    known = graph.add("Where", graph.add("IsNaN", seconds), graph.constant(0.0), seconds)
    columns = []
    if calendar.has_trend:
        columns.append(graph.clip(known, calendar.first, calendar.last))
    if calendar.parts:
        local = graph.add("Add", known, graph.constant(_offset(zone)))
        of = _Parts(graph, local)
        names = calendar.names[1:] if calendar.has_trend else calendar.names
        columns += [of.part(name, calendar.years) for name in names]
    out = graph.add("Concat", *columns, axis=1)
    return graph.add("Where", graph.add("IsNaN", seconds), graph.constant(np.nan), out)


def _offset(zone: str | None) -> float:
    """Return the seconds from UTC to local time."""
    found = None if zone in (None, "UTC") else find_zone(str(zone))
    if found is None:
        return 0.0
    if not isinstance(found, timezone):
        raise ValueError(zone)
    return found.utcoffset(None).total_seconds()


class _Parts:
    """Parts of local times; what several of them need is computed once."""

    def __init__(self, graph: Graph, local: str):
        self.graph = graph
        day = graph.add("Floor", self._by("Div", local, float(_DAY)))
        self._second = graph.add("Sub", local, self._by("Mul", day, float(_DAY)))
        self._day = graph.cast(day, np.dtype(np.int64))
        self._made: dict[str, str] = {}

    def part(self, name: str, years: tuple[int, int]) -> str:
        """Return a part as float64, by its name in :mod:`skensemble._data.dates`."""
        wave, _, turn = name.partition(" of the ")
        if wave in ("sine", "cosine"):
            angle = self._by("Mul", self._of(f"turn of {turn}"), 2 * np.pi)
            return self.graph.add("Sin" if wave == "sine" else "Cos", angle)
        value = self._of(name)
        return self.graph.clip(value, *map(float, years)) if name == "year" else value

    def _of(self, name: str) -> str:
        """Return a part or a turn as float64, made once."""
        makers: dict[str, Callable[[], str]] = {
            "year": lambda: self._float(self._date[0]),
            "month": lambda: self._float(self._date[1]),
            "day of year": lambda: self._float(self._date[2]),
            "weekday": lambda: self._float(self._by("Mod", self._by("Add", self._day, 3), 7)),
            "hour": lambda: self.graph.add("Floor", self._by("Div", self._second, 3600.0)),
            "turn of day": lambda: self._by("Div", self._second, float(_DAY)),
            "turn of week": lambda: self._turn("weekday", 0.0, 7.0),
            "turn of year": lambda: self._turn("day of year", -1.0, 365.2425),
        }
        if name not in self._made:
            self._made[name] = makers[name]()
        return self._made[name]

    def _turn(self, day: str, first: float, length: float) -> str:
        days = self.graph.add("Add", self._of(day), self._of("turn of day"))
        return self._by("Div", self._by("Add", days, first), length)

    @cached_property
    def _date(self) -> tuple[str, str, str]:
        """Return year, month and day of the year as int64.

        Years that begin in March end with the day that only some have (H. Hinnant,
        "chrono-Compatible Low-Level Date Algorithms", 2013, `civil_from_days`).
        """
        add, by = self.graph.add, self._by
        days = by("Add", self._day, _MARCH_0 + _ERA * _ERAS)
        era = by("Div", days, _ERA)
        of_era = add("Sub", days, by("Mul", era, _ERA))
        leap = add("Add", by("Div", of_era, 1460), by("Div", of_era, _ERA - 1))
        years = add("Add", add("Sub", of_era, leap), by("Div", of_era, 36_524))
        year_of_era = by("Div", years, 365)
        of_year = add("Sub", of_era, self._days_of_years(year_of_era))
        month = by("Div", by("Add", by("Mul", of_year, 5), 2), 153)  # 0 is March
        is_late = add("Less", month, self.graph.constant(10))
        month = add("Where", is_late, by("Add", month, 3), by("Add", month, -9))
        year = add("Add", year_of_era, by("Mul", era, 400))  # of all eras, by March
        is_next = self.graph.cast(add("Less", month, self.graph.constant(3)), np.dtype(np.int64))
        before = by("Add", add("Add", year, is_next), -1)
        # The first of January is 306 days after the first of March.
        new_year = add("Add", self._days_of_years(before), by("Div", before, 400))
        day_of_year = by("Add", add("Sub", days, new_year), -306 + 1)
        return by("Add", before, 1 - 400 * _ERAS), month, day_of_year

    def _days_of_years(self, years: str) -> str:
        """Return the days of so many years from the first of an era on, but for whole eras."""
        leap = self.graph.add("Sub", self._by("Div", years, 4), self._by("Div", years, 100))
        return self.graph.add("Add", self._by("Mul", years, 365), leap)

    def _by(self, operator: str, value: str, constant: float) -> str:
        return self.graph.add(operator, value, self.graph.constant(constant))

    def _float(self, value: str) -> str:
        return self.graph.cast(value, np.dtype(np.float64))
