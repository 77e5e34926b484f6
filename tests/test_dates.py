"""Dates to numbers: what a calendar shows, and where its trend ends."""

import numpy as np
import pytest
from conftest import OF_DAYS, OF_WEEKS, OF_YEARS

from skensemble._data.dates import Calendar


def learn(first, last, step="D"):
    local = np.arange(first, last, dtype=f"M8[{step}]").astype("M8[us]")
    return Calendar(local.astype("M8[s]").astype(float), local), local


@pytest.mark.parametrize(
    ("first", "last", "step", "names"),
    [
        ("2020-01-01", "2020-01-02", "D", [""]),
        ("2020-01-01", "2020-05-01", "D", ["", *OF_WEEKS]),
        ("2020-01-01T00", "2020-05-01T00", "h", ["", *OF_WEEKS, *OF_DAYS]),
        ("2020-01-01", "2020-12-31", "D", [*OF_YEARS[1:], *OF_WEEKS]),
        ("2020-07-01", "2021-06-30", "D", [*OF_YEARS[1:], *OF_WEEKS]),
        ("2020-01-01", "2021-02-01", "D", ["", *OF_YEARS, *OF_WEEKS]),
    ],
)
def test_parts_are_those_that_fit_has_seen_enough_of(first, last, step, names):
    calendar, _ = learn(first, last, step)
    assert calendar.names == names
    assert calendar.most_pieces[0] > 0
    assert all(most < 0 for most in calendar.most_pieces[1:])


def test_the_trend_has_a_piece_for_each_whole_year():
    assert learn("2015-01-01", "2020-06-01")[0].most_pieces[0] == 5
    assert learn("2020-01-01", "2020-05-01")[0].most_pieces[0] > 1000


def test_time_beyond_the_range_of_fit_stays_at_its_end():
    calendar, local = learn("2018-03-01", "2021-03-01")
    times = np.array(["1900-03-01", "2018-03-01", "2021-02-28", "2400-02-28"], dtype="M8[us]")
    out = calendar.encode(times.astype("M8[s]").astype(float), times)
    ends = local[[0, 0, -1, -1]].astype("M8[s]").astype(float)
    np.testing.assert_array_equal(out[:, 0], ends)
    np.testing.assert_array_equal(out[:, 1], [2018, 2018, 2021, 2021])
    np.testing.assert_array_equal(out[:, 2], [3, 3, 2, 2])


def test_the_ends_of_a_year_a_week_and_a_day_are_near():
    calendar, local = learn("2018-01-01T00", "2021-01-01T00", "h")
    pairs = {
        "year": ["2019-12-31T23", "2020-01-01T00"],
        "week": ["2020-01-05T23", "2020-01-06T00"],
        "day": ["2020-01-05T23", "2020-01-06T00"],
    }
    everywhere = calendar.encode(local.astype("M8[s]").astype(float), local)
    for unit, ends in pairs.items():
        times = np.array(ends, dtype="M8[us]")
        out = calendar.encode(times.astype("M8[s]").astype(float), times)
        where = [calendar.names.index(f"{wave} of the {unit}") for wave in ("sine", "cosine")]
        step = np.abs(np.diff(everywhere[:, where], axis=0)).max()
        assert np.abs(out[1, where] - out[0, where]).max() <= step * 1.01 < 0.3


def test_missing_dates_miss_in_all_parts():
    calendar, _ = learn("2018-01-01", "2021-01-01")
    out = calendar.encode(np.array([np.nan]), np.array(["NaT"], dtype="M8[us]"))
    assert np.isnan(out).all()
