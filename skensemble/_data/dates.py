"""Dates to numbers: a trend that ends where fit ends, and what comes back each year, week, day."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skensemble._types import Array, Floats

Moments = NDArray[np.datetime64]

#: Seconds of a day, and of a year on average.
_DAY = 86_400
_YEAR = 365.2425 * _DAY

#: Dates of so many years show what comes back yearly. In fewer, the day of the year is the trend
#: again, and a later year would be predicted by days that fit has not seen.
_FEWEST_YEARS = 0.75

#: More pieces than any encoder makes.
_ALL = 1 << 20


class Part(NamedTuple):
    """One column of the matrix that is made of a date."""

    name: str
    of: Callable[[Moments], Array]
    #: Pieces that it is cut into at most; 1 for none. What is smooth by itself needs none.
    most_pieces: int = _ALL
    #: What the part must see in fit: "year" a good part of one, "years" a whole one.
    needs: str = ""
    #: What must vary in fit; None: the part itself.
    by: Callable[[Moments], Array] | None = None

    def varies(self, t: Moments) -> bool:
        """Tell whether it tells one row from another."""
        return bool(np.ptp((self.by or self.of)(t)) > 0)


def _year(t: Moments) -> Array:
    return t.astype("M8[Y]").astype(np.int64) + 1970


def _month(t: Moments) -> Array:
    return t.astype("M8[M]").astype(np.int64) % 12 + 1


def _day_of_year(t: Moments) -> Array:
    return (t.astype("M8[D]") - t.astype("M8[Y]").astype("M8[D]")).astype(np.int64) + 1


def _weekday(t: Moments) -> Array:
    return (t.astype("M8[D]").astype(np.int64) + 3) % 7  # 1970 began on a Thursday


def _hour(t: Moments) -> Array:
    return t.astype("M8[h]").astype(np.int64) % 24


def _turn_of_year(t: Moments) -> Floats:
    return (_day_of_year(t) - 1 + _turn_of_day(t)) / 365.2425


def _turn_of_week(t: Moments) -> Floats:
    return (_weekday(t) + _turn_of_day(t)) / 7


def _turn_of_day(t: Moments) -> Floats:
    return (t - t.astype("M8[D]")).astype("m8[us]").astype(np.int64) / (_DAY * 1e6)


def _wave(
    of: Callable[[Floats], Floats], turn: Callable[[Moments], Floats]
) -> Callable[..., Array]:
    return lambda t: of(2 * np.pi * turn(t))


#: All of them, by the local time.
_PARTS = (
    Part("year", _year, needs="years"),
    Part("month", _month, needs="year"),
    Part("day of year", _day_of_year, needs="year"),
    Part("sine of the year", _wave(np.sin, _turn_of_year), 1, "year", _day_of_year),
    Part("cosine of the year", _wave(np.cos, _turn_of_year), 1, "year", _day_of_year),
    Part("weekday", _weekday),
    Part("sine of the week", _wave(np.sin, _turn_of_week), 1, "", _weekday),
    Part("cosine of the week", _wave(np.cos, _turn_of_week), 1, "", _weekday),
    Part("hour", _hour),
    Part("sine of the day", _wave(np.sin, _turn_of_day), 1, "", _hour),
    Part("cosine of the day", _wave(np.cos, _turn_of_day), 1, "", _hour),
)


class Calendar:
    """What of a column of dates the network sees, learned in fit.

    - The trend: seconds since 1970. It stays within the range that fit saw, so that no time to
      come moves anything. Beside what comes back yearly, it is cut into a piece for each whole
      year only, and is left out below one year: it would take the seasons for its own.
    - The year within that range, month and day of the year as numbers, and the time of year as
      sine and cosine, which are the same at both ends of a year, where the dates span at least
      nine months.
    - The weekday and the hour, likewise as numbers and as waves, where they vary.

    Examples
    --------
    >>> import numpy as np
    >>> from skensemble._data.dates import Calendar
    >>> days = np.array(["2024-01-01", "2024-01-06"], dtype="M8[us]")
    >>> calendar = Calendar(days.astype("M8[s]").astype(float), days)
    >>> calendar.names
    ['', 'weekday', 'sine of the week', 'cosine of the week']
    >>> later = np.array(["2030-01-01"], dtype="M8[us]")
    >>> calendar.encode(later.astype("M8[s]").astype(float), later).round(2)
    array([[1.7044992e+09, 1.0000000e+00, 7.8000000e-01, 6.2000000e-01]])
    """

    def __init__(self, seconds: Floats, local: Moments):
        is_known = ~np.isnat(local)
        seconds, local = seconds[is_known], local[is_known]
        self.first, self.last = float(seconds.min()), float(seconds.max())
        years = (self.last - self.first) / _YEAR
        self.years = int(_year(local).min()), int(_year(local).max())
        is_yearly = years >= _FEWEST_YEARS
        # Within one year the day of the year says all that the trend would.
        self.has_trend = not is_yearly or years >= 1
        is_shown = {"": True, "year": is_yearly, "years": is_yearly and self.has_trend}
        self.parts = [
            i for i, part in enumerate(_PARTS) if is_shown[part.needs] and part.varies(local)
        ]
        self.names = [*([""] if self.has_trend else []), *(_PARTS[i].name for i in self.parts)]
        trend = max(1, int(years)) if is_yearly else _ALL
        most = [*([trend] if self.has_trend else []), *(_PARTS[i].most_pieces for i in self.parts)]
        #: How many pieces each column is cut into at most, negative for all but the first.
        self.most_pieces = [most[0], *(-pieces for pieces in most[1:])]

    def encode(self, seconds: Floats, local: Moments) -> Floats:
        """Return a column for each of the names; NaN where a date misses."""
        parts = [np.clip(seconds, self.first, self.last)] if self.has_trend else []
        for i in self.parts:
            part = _PARTS[i]
            values = part.of(local)
            parts.append(np.clip(values, *self.years) if part.name == "year" else values)
        out = np.stack(parts, axis=1).astype(np.float64)
        out[np.isnan(seconds)] = np.nan
        return out
