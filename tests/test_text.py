"""Strings that are numbers or dates."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from skensemble._data.text import PLAIN, find_reading, find_unreadable, is_missing_mark

NUMBERS = {
    "plain": (["1.5", "-2", "+3", ".5", "5.", " 12 ", "−3"], [1.5, -2, 3, 0.5, 5, 12, -3]),
    "exponents": (["1e3", "2E-5", "7"], [1000, 2e-5, 7]),
    "marks": (["1.5", "?", "NA", "n/a", "", " - ", "--", "NaN", "null"], [1.5] + [None] * 8),
    "thousands": (["1,234.5", "1,234,567", "999.5"], [1234.5, 1234567, 999.5]),
    "thousands alone": (["1,234", "5,678"], [1234, 5678]),
    "decimal comma": (["12,5", "1.234,25", "7"], [12.5, 1234.25, 7]),
    "spaces": (["1 234", "22 333 444", "5"], [1234, 22333444, 5]),
    "dollars": (["$1,200", "-$3", "$ 12.50", "$-4", "-"], [1200, -3, 12.5, -4, None]),
    "dollars behind": (["12.50 $", "3 $", "?"], [12.5, 3, None]),
    "euros": (["10 000,5 €", "3 €", "EUR"[:0]], [10000.5, 3, None]),
    "codes of currencies": (["USD 12", "USD 3.5"], [12, 3.5]),
    "percents": (["12%", "3.5 %"], [12, 3.5]),
    "units": (["5 kg", "3.5kg", "0"], [5, 3.5, 0]),
    "squares": (["5 m2", "30 m2"], [5, 30]),
    "numbers among them": (["1.5", 2, 2.5, Decimal("3.5"), "?"], [1.5, 2, 2.5, 3.5, None]),
    "days": (["2020-01-31", "NA"], [datetime(2020, 1, 31), None]),
    "months": (["2020-01", "2020-12"], [datetime(2020, 1, 1), datetime(2020, 12, 1)]),
    "times": (
        ["2020-01-31 05:06", "2020-01-31T05:06:07.5"],
        [datetime(2020, 1, 31, 5, 6), datetime(2020, 1, 31, 5, 6, 7, 500000)],
    ),
    "zones": (
        ["2020-01-31T05:00Z", "2020-01-31 05:00+02:00", "2020-01-31 05:00:00 UTC"],
        [datetime(2020, 1, 31, h, tzinfo=UTC) for h in (5, 3, 5)],
    ),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_strings_of_one_style_are_read(name):
    values, expected = NUMBERS[name]
    reading = find_reading(values, few=0)
    assert [reading(value) for value in values] == expected


@pytest.mark.parametrize(
    "values",
    [
        ["1.5", "abc"],
        ["01234", "10115"],  # postcodes
        ["5 kg", "3 lb"],
        ["5 kg", "3"],
        ["$5", "3 kg"],
        ["1,234.5", "1.234,5"],
        ["p12", "p13"],
        ["12:30", "1:00"],
        ["3/4", "1/2"],
        ["1-2", "3-4"],
        ["1.2.3", "1.2.4"],
        ["٣", "٤"],
        ["2020-02-30", "2020-02-01"],
        ["2020-01-01", "soon"],
        ["2020-01-01", "12"],
        ["inf", "3"],
        ["?", "NA"],
        [],
        [1.5, 2.5],
    ],
    ids=str,
)
def test_other_strings_are_categories(values):
    assert find_reading(values, few=0) is None


def test_few_distinct_numbers_are_categories_but_dates_never():
    numbers = [str(i) for i in range(11)]
    assert find_reading(numbers[:10]) is None
    assert find_reading([*numbers[:10], "?"]) is None
    assert find_reading(numbers).kind == "numbers"
    assert find_reading(["2020-01-01"]).kind == "dates"


def test_a_reading_says_what_it_reads_and_refuses_the_rest():
    reading = find_reading(["5 kg", "3 kg"], few=0)
    assert str(reading) == "numbers in 'kg'"
    assert str(PLAIN["dates"]) == "dates"
    for value in ("5 lb", "$5", "five", "1,5"):
        assert find_unreadable(["5 kg", "?", value], reading) == value
    assert find_unreadable(["5", "6 kg"], reading) is None


def test_missing_marks():
    assert all(map(is_missing_mark, ["", " ? ", "N/A", "nan", "None", "NULL", "#N/A"]))
    assert not any(map(is_missing_mark, ["0", "no", "x", None, 0]))
