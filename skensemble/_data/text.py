"""Strings that are numbers or dates: which style a column of them has, and what each means."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from numbers import Real
from typing import Any

#: Strings that say "missing" in a column of numbers or dates, in lower case.
_MISSING = frozenset(
    ["", "?", "-", "--", ".", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "none", "missing"]
)

#: Up to so many distinct strings stay categories: each has an input of its own, and codes such as
#: "0", "1" and "10" need no order.
FEW = 10

#: How digits are written, from the most to the least usual: the pattern of a number without its
#: sign, the sign between thousands and the decimal one.
_DIGITS: tuple[tuple[str, str, str], ...] = (
    (r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", "", "."),
    (r"[0-9]{1,3}(?:,[0-9]{3})*(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?", ",", "."),
    (r"[0-9]{1,3}(?:\.[0-9]{3})*(?:,[0-9]+)?|[0-9]+(?:,[0-9]+)?", ".", ","),
    (r"[0-9]{1,3}(?:[ '’_\u00a0\u202f][0-9]{3})*(?:[.,][0-9]+)?", " '’_\u00a0\u202f", ","),
)

#: What may stand before a number: other letters make a code of it, as in "p12".
_CURRENCY = r"[A-Z]{0,3}[$€£¥₹₽₩]|USD|EUR|GBP|JPY|CHF|CAD|AUD|CNY|INR|SEK|NOK|DKK|PLN|CZK|BRL|MXN"

#: A sign, a currency or another sign, the digits with their signs, and a unit.
_PARTS = re.compile(
    rf"([+\-−]?)\s*({_CURRENCY}|)\s*([+\-−]?)"
    r"([0-9.](?:[0-9.,'’_ \u00a0\u202f]*[0-9.])?(?:(?<=[0-9.])[eE][+-]?[0-9]+)?)"
    r"\s*((?:[^0-9.,\s+\-][^0-9.,+\-]*[0-9²³]?)?)"
)

#: ISO 8601: a day or a month, and maybe a time and a zone.
_ISO = re.compile(
    r"([0-9]{4}-[0-9]{2})(-[0-9]{2})?(?:[T ]([0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?))?"
    r"\s?(Z|UTC|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)


@dataclass(frozen=True)
class Reading:
    """How the strings of a column are read: as numbers of one style, or as dates.

    Examples
    --------
    >>> from skensemble._data.text import Reading
    >>> reading = Reading("numbers", "$", "", ",", ".")
    >>> reading("$1,234.5"), reading("n/a")
    (1234.5, None)
    """

    kind: str
    #: What stands before and behind each number, such as "$" or "kg"; a number may lack it.
    before: str = ""
    behind: str = ""
    #: Signs between thousands, and the one before decimals.
    thousands: str = ""
    point: str = "."

    def __call__(self, value: object) -> Any:
        """Return the number or date that a value is, None where it is a missing mark.

        A ValueError says that it is neither.
        """
        if not isinstance(value, str):
            return _as_is(value, self.kind)
        if is_missing_mark(value):
            return None
        text = value.strip()
        return _read_date(text) if self.kind == "dates" else self._number(text)

    def _number(self, text: str) -> float:
        sign, before, digits, behind = _split(text)
        if (before or self.before, behind or self.behind) != (self.before, self.behind):
            raise ValueError(text)
        if not re.fullmatch(_pattern(self.thousands, self.point), digits):
            raise ValueError(text)
        for mark in self.thousands:
            digits = digits.replace(mark, "")
        return sign * float(digits.replace(",", "."))

    def __str__(self) -> str:
        """Say in a few words what is read, to follow "as"."""
        unit = self.before or self.behind
        return f"{self.kind} in {unit!r}" if unit else self.kind


#: How the strings are read that stand where fit saw numbers, or dates.
PLAIN = {"numbers": Reading("numbers"), "dates": Reading("dates")}


def find_reading(values: Iterable[object], *, few: int = FEW) -> Reading | None:
    """Find how the distinct values of a column are read; None where they are categories.

    All of them, but for missing marks, must be numbers with the same signs and the same unit, or
    none, or else ISO dates. Up to `few` distinct numbers are categories, and so are numbers that
    begin with a zero, as postcodes do.
    """
    known = [v for v in values if not is_missing_mark(v)]
    texts = [v.strip() for v in known if isinstance(v, str)]
    if not texts:
        return None
    if _ISO.fullmatch(texts[0]):
        return PLAIN["dates"] if _reads_all(PLAIN["dates"], known) else None
    if len(known) <= few or any(re.match(r"[+\-−]?0[0-9]", text) for text in texts):
        return None
    before, behind = set(), set()
    for text in texts:
        match = _PARTS.fullmatch(text)
        if match is None:
            return None
        if set(match[4]) & set("123456789"):  # nothing is nothing in any unit
            before.add(match[2])
            behind.add(match[5])
    if len(before) > 1 or len(behind) > 1:
        return None
    for _, thousands, point in _DIGITS:
        reading = Reading("numbers", "".join(before), "".join(behind), thousands, point)
        if _reads_all(reading, known):
            return reading
    return None


def is_missing_mark(value: object) -> bool:
    """Tell a string that says "missing" in a column of numbers or dates."""
    return isinstance(value, str) and value.strip().lower() in _MISSING


def find_unreadable(values: Iterable[object], read: Callable[[object], object]) -> object | None:
    """Return the first value that is not read; None where all are."""
    for value in values:
        try:
            read(value)
        except ValueError:
            return value
    return None


def _reads_all(reading: Reading, values: Iterable[object]) -> bool:
    return find_unreadable(values, reading) is None


def _as_is(value: object, kind: str) -> object:
    """Return a value that is no string, where it is of the kind."""
    if not isinstance(value, (Real, Decimal) if kind == "numbers" else date):
        raise ValueError(value)
    return value


def _pattern(thousands: str, point: str) -> str:
    return next(p for p, t, d in _DIGITS if (t, d) == (thousands, point))


def _split(text: str) -> tuple[int, str, str, str]:
    """Return the sign of a number, what stands before it, its digits, and what stands behind."""
    match = _PARTS.fullmatch(text)
    if match is None or (match[1] and match[3]):
        raise ValueError(text)
    return (-1 if match[1] + match[3] in ("-", "−") else 1), match[2], match[4], match[5]


def _read_date(text: str) -> datetime:
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError(text)
    month, day, at, zone = match.groups()
    at = (at or "00:00").replace(",", ".")
    zone = {"Z": "+00:00", "UTC": "+00:00", None: ""}.get(zone, zone)
    return datetime.fromisoformat(f"{month}{day or '-01'}T{at}{zone}")
