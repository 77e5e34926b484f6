"""One column of a frame, read as what it is."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pytest
from conftest import _codes, frame_of
from hypothesis import given, settings
from hypothesis import strategies as st

from skensemble._data import column, frames
from skensemble._data.frames import Columns

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([1, None, np.nan, pd.NA], dtype=object),
        pd.Series([1, pd.NA, pd.NA, pd.NA], dtype="Int8"),
        pd.Series([1.0, pd.NA, np.nan, None], dtype="Float32"),
        pd.Series([True, pd.NA, None, None], dtype="boolean"),
        pd.Series([Decimal(1), None, Decimal("NaN"), pd.NaT], dtype=object),
        pd.Series([np.float32(1), None, np.float64("nan"), None], dtype=object),
        pl.Series([1.0, None, float("nan"), None]),
        pl.Series([1, None, None, None], dtype=pl.UInt64),
        pl.Series([Decimal(1), None, None, None]),
    ],
    ids=str,
)
@pytest.mark.usefixtures("path")
def test_every_kind_of_missing_number_is_nan(values):
    X = frame_of(values)
    columns = Columns(None)
    np.testing.assert_array_equal(columns.fit_transform(X), [[1], [np.nan], [np.nan], [np.nan]])
    np.testing.assert_array_equal(columns.transform(X), [[1], [np.nan], [np.nan], [np.nan]])


@pytest.mark.parametrize(
    "values",
    [
        pd.Series(["a", None, np.nan, pd.NA, pd.NaT], dtype=object),
        pd.Series(["a", None, np.nan, pd.NA, None], dtype="string"),
        pd.Series(["a", None, np.nan, pd.NA, None], dtype="str"),
        pd.Series(["a", None, np.nan, pd.NA, None], dtype="category"),
        pl.Series(["a", None, None, None, None], dtype=pl.Categorical),
        pl.Series(["a", None, None, None, None], dtype=pl.Enum(["b", "a"])),
        pl.Series(["a", None, None, None, None], dtype=pl.Object),
    ],
    ids=str,
)
@pytest.mark.usefixtures("path")
def test_every_kind_of_missing_category_is_nan(values):
    X = frame_of(values)
    columns = Columns()
    np.testing.assert_array_equal(columns.fit_transform(X)[:, 0], [0] + [np.nan] * 4)
    np.testing.assert_array_equal(columns.transform(X)[:, 0], [0] + [np.nan] * 4)
    assert columns.is_categorical_.all()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.none() | st.text(st.characters(codec="utf-8"), max_size=4), min_size=1, max_size=12
    ),
    st.booleans(),
)
def test_categories_go_round_through_every_type(values, few):
    """Whatever type held them in fit, and whatever holds them later, the codes are the same."""
    known = sorted({value for value in values if value is not None})
    ways = [
        pd.DataFrame({"a": pd.Series(values, dtype=object)}),
        pd.DataFrame({"a": pd.Series(values, dtype="string")}),
        pd.DataFrame({"a": pd.Categorical(values, categories=known[::-1])}),
        pl.DataFrame({"a": pl.Series(values, dtype=pl.String)}),
        pl.DataFrame({"a": pl.Series(values, dtype=pl.Categorical)}),
        pl.DataFrame({"a": pl.Series(values, dtype=pl.Enum(known[::-1]))}),
    ]
    expected = [[np.nan if value is None else known.index(value)] for value in values]
    if not known:
        return
    with pytest.MonkeyPatch.context() as patch:
        if not few:
            patch.setattr(frames, "_FEW_ROWS", 0)
            patch.setattr(column, "_FEW_VALUES", 0)
        for one in ways:
            fitted = Columns().fit(one)
            assert fitted.categories_ == [known]
            for other in ways:
                np.testing.assert_array_equal(fitted.transform(other), expected)


@pytest.mark.usefixtures("path")
@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-(2**53), 2**53), min_size=1, max_size=8))
def test_integers_are_the_same_categories_as_floats_and_as_text(values):
    known = sorted({str(value) for value in values})
    expected = [[known.index(str(value))] for value in values]
    ways = [
        pd.DataFrame({"a": values}),
        pd.DataFrame({"a": np.array(values, dtype=float)}),
        pd.DataFrame({"a": pd.array(values, dtype="Int64")}),
        pd.DataFrame({"a": pd.Categorical(values)}),
        pd.DataFrame({"a": [str(value) for value in values]}),
        pd.DataFrame({"a": [f"{value}.0" for value in values]}),
        pl.DataFrame({"a": values}),
        pl.DataFrame({"a": [Decimal(value) for value in values]}),
        np.array(values, dtype=float)[:, None],
    ]
    for one in ways[:5]:
        fitted = Columns(["a"]).fit(one)
        for other in ways:
            np.testing.assert_array_equal(fitted.transform(other), expected)


@pytest.mark.usefixtures("path")
def test_true_and_one_are_two_categories():
    """Libraries find the distinct values by ==."""
    values = pd.DataFrame({"a": pd.Series([1, True, "x", 1.0], dtype=object)})
    fitted = Columns().fit(values)
    assert fitted.categories_ == [["1", "True", "x"]]
    assert _codes(fitted, values) == [0, 1, 2, 0]
    assert _codes(fitted, values[::-1]) == [0, 2, 1, 0]


def test_text_that_looks_alike_stays_apart():
    fitted = Columns().fit(pd.DataFrame({"a": ["1", "1.0", "01", "-2.0"]}))
    assert fitted.categories_ == [["-2.0", "01", "1", "1.0"]]
    assert _codes(fitted, pd.DataFrame({"a": ["1.0", "1", "01", "-2", "1.00"]})) == [3, 2, 1, 0, 2]


def test_a_day_is_the_same_category_as_its_midnight():
    fitted = Columns(["a"]).fit(pl.DataFrame({"a": [date(2020, 1, 1), date(2020, 1, 2)]}))
    assert fitted.categories_ == [["2020-01-01", "2020-01-02"]]
    assert _codes(fitted, pd.DataFrame({"a": pd.to_datetime(["2020-01-02", None])}))[0] == 1


def test_parts_of_dates_are_those_of_the_standard_library():
    stamps = [datetime(1955, 5, 5, 5) + timedelta(days=97.3 * i) for i in range(400)]
    columns = Columns()
    out = columns.fit_transform(pl.DataFrame({"t": stamps}))
    assert columns.names_ == ["t", "t: month", "t: weekday", "t: hour"]
    expected = [[t.replace(tzinfo=UTC).timestamp(), t.month, t.weekday(), t.hour] for t in stamps]
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.usefixtures("path")
def test_the_unit_of_dates_and_durations_changes_no_bit(unit):
    seconds = [1_700_000_001, 1_700_000_002, -3]
    stamps = pd.Series(np.array(seconds, dtype="M8[s]")).astype(f"datetime64[{unit}]")
    spans = pd.Series(np.array(seconds, dtype="m8[s]")).astype(f"timedelta64[{unit}]")
    if unit in ("us", "ns"):
        stamps += np.timedelta64(123457, "us")
        spans += np.timedelta64(123457, "us")
    out = Columns().fit_transform(pd.DataFrame({"a": stamps, "b": spans}))
    rest = 0.123457 if unit in ("us", "ns") else 0
    np.testing.assert_array_equal(out[:, 0], np.array(seconds) + rest)
    np.testing.assert_array_equal(out[:, -1], np.array(seconds) + rest)


def test_nanoseconds_are_the_same_alone_and_together():
    """Python's own dates have none."""
    stamps = pd.Series(np.array([1001, 1999, 5], dtype="M8[ns]"))
    X = pd.DataFrame({"a": stamps, "b": stamps - stamps[0]})
    fitted = Columns().fit(X)
    together = fitted.transform(pd.concat([X] * 50))
    np.testing.assert_array_equal(fitted.transform(X), together[:3])
    np.testing.assert_array_equal(together[:3], [[1001e-9, 0], [1999e-9, 998e-9], [5e-9, -996e-9]])


@pytest.mark.usefixtures("path")
def test_zones_by_their_distance_from_utc():
    zone = timezone(timedelta(hours=-3, minutes=-30))
    stamps = [datetime(2020, 1, 1, 2, tzinfo=UTC), datetime(2020, 1, 1, 5, tzinfo=UTC)]
    local = pd.Series([t.astimezone(zone) for t in stamps], dtype=object)
    expected = [[1577844000, 12, 1, 22], [1577854800, 1, 2, 1]]
    typed = pd.to_datetime(local)
    for one in (local, typed):
        fitted = Columns().fit(pd.DataFrame({"a": one}))
        for other in (
            pd.DataFrame({"a": local}),
            pd.DataFrame({"a": typed}),
            pl.DataFrame({"a": stamps}),
        ):
            np.testing.assert_array_equal(fitted.transform(other), expected)


@pytest.mark.usefixtures("path")
def test_dates_of_several_zones_are_read_in_utc():
    tokyo = ZoneInfo("Asia/Tokyo")
    stamps = [datetime(2020, 1, 1, 2, tzinfo=tokyo), datetime(2020, 1, 1, 5, tzinfo=BERLIN)]
    X = pd.DataFrame({"a": pd.Series(stamps, dtype=object)})
    columns = Columns()
    assert columns.fit_transform(X)[:, -1].tolist() == [17, 4]
    assert columns.names_ == ["a", "a: month", "a: weekday", "a: hour"]


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([1j, 2j]),
        pd.Series([1j, "x"], dtype=object),
        pd.Series([[1], [2]]),
        pd.Series([np.ones(2), None]),
        pd.Series([{"a": 1}, {}]),
        pl.Series([[1], [2]]),
        pl.Series([{"a": 1}, {"a": 2}]),
        pl.Series([[1], {}], dtype=pl.Object),
    ],
    ids=str,
)
@pytest.mark.parametrize("features", ["from_dtype", None, ["emb"]])
@pytest.mark.usefixtures("path")
def test_nested_and_complex_values_are_refused_by_name(values, features):
    with pytest.raises(ValueError, match=r"Got X with values of type .* in column 'emb'"):
        Columns(features).fit(frame_of(values, "emb"))
