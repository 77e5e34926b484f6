from datetime import datetime, timedelta

import numpy as np
import pytest
from conftest import calendar as by_hand
from conftest import run_graph

from skensemble._data.dates import Calendar
from skensemble._export.calendar import add_calendar
from skensemble._export.graph import Graph

FLOAT = np.dtype(float)


def encoded(seconds, of, zone=None):
    graph = Graph()
    given = graph.input("t", FLOAT, (1,))
    graph.output("parts", add_calendar(graph, given, of, zone), FLOAT, (len(of.names),))
    return run_graph(graph, {"t": seconds[:, None]})[0]


@pytest.fixture
def stamps():
    rng = np.random.default_rng(0)
    # Both ends of months, of leap years and of centuries, and whatever lies between.
    years = [2, 1600, 1899, 1900, 1969, 1970, 2000, 2023, 2024, 2100, 9998]
    ends = [
        datetime(year, month, 1) + timedelta(seconds=s)
        for year in years
        for month in range(1, 13)
        for s in (-1, 0, 86_399, 86_400)
    ]
    days = rng.integers(0, 3_000_000, 500)
    return ends + [datetime(1500, 1, 1, 3, 4, 5) + timedelta(int(day)) for day in days]


def test_parts_of_dates_are_those_of_the_standard_library(stamps):
    local = np.array(stamps, dtype="M8[us]")
    seconds = local.astype(np.int64) / 1e6
    of = Calendar(seconds, local)
    found = dict(zip(of.names, encoded(seconds, of).T, strict=True))
    assert np.array_equal(found.pop(""), seconds)
    expected = by_hand("t", stamps, list(found))
    assert len(expected) == 11
    for name, values in found.items():
        assert np.allclose(values, expected[f"t: {name}"], atol=1e-9), name


def test_later_dates_stay_within_those_of_fit_and_missing_ones_miss():
    days = np.arange("2020-01-01", "2023-01-01", dtype="M8[D]").astype("M8[us]")
    of = Calendar(days.astype(np.int64) / 1e6, days)
    later = np.array(["2031-05-06T07:00", "1950-01-31", "NaT", "2021-12-31"], dtype="M8[us]")
    seconds = np.where(np.isnat(later), np.nan, later.astype(np.int64) / 1e6)
    expected = of.encode(seconds, later)
    assert np.isnan(expected[2]).all()
    assert np.allclose(encoded(seconds, of), expected, equal_nan=True, atol=1e-9)


def test_a_fixed_distance_from_utc_and_no_clock_that_changes():
    utc = np.arange("2020-01-01", "2023-01-01", 7_000, dtype="M8[s]").astype("M8[us]")
    seconds, local = utc.astype(np.int64) / 1e6, utc + np.timedelta64(-210, "m")
    of = Calendar(seconds, local)
    assert np.allclose(encoded(seconds, of, "UTC-03:30"), of.encode(seconds, local), atol=1e-9)
    with pytest.raises(ValueError, match="Europe/Paris"):
        add_calendar(Graph(), "t", of, "Europe/Paris")
