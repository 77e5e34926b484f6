"""One column of a frame, read as what it is."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pytest
from conftest import OF_DAYS, OF_WEEKS, OF_YEARS, _codes, calendar, frame_of
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
def test_true_and_one_are_one_category():
    values = pd.DataFrame({"a": pd.Series([1, True, "x", 1.0], dtype=object)})
    fitted = Columns().fit(values)
    assert fitted.categories_ == [["1", "x"]]
    assert _codes(fitted, values) == [0, 0, 1, 0]


FLAGS = {
    "bool": pd.DataFrame({"a": [True, False, True]}),
    "objects": pd.DataFrame({"a": pd.Series([True, False, True], dtype=object)}),
    "boolean": pd.DataFrame({"a": pd.array([True, False, True], dtype="boolean")}),
    "category": pd.DataFrame({"a": pd.Categorical([True, False, True])}),
    "int": pd.DataFrame({"a": [1, 0, 1]}),
    "float": pd.DataFrame({"a": [1.0, 0, 1]}),
    "float32": pd.DataFrame({"a": np.float32([1, 0, 1])}),
    "1": pd.DataFrame({"a": ["1", "0", "1"]}),
    "1.0": pd.DataFrame({"a": ["1.0", "0.0", "1.0"]}),
    "True": pd.DataFrame({"a": ["True", "False", "True"]}),
    "true": pd.DataFrame({"a": ["true", "false", "true"]}),
    "polars": pl.DataFrame({"a": [True, False, True]}),
    "uint8": pl.DataFrame({"a": pl.Series([1, 0, 1], dtype=pl.UInt8)}),
    "array": np.array([[True], [False], [True]]),
}


@pytest.mark.parametrize("one", FLAGS)
@pytest.mark.usefixtures("path")
def test_a_flag_is_the_same_category_in_every_type(one):
    fitted = Columns([0]).fit(FLAGS[one])
    assert {name: _codes(fitted, X) for name, X in FLAGS.items()} == {
        name: [1, 0, 1] for name in FLAGS
    }


TENTHS = {
    "float64": pd.DataFrame({"a": [0.1, 0.2, 3]}),
    "float32": pd.DataFrame({"a": np.float32([0.1, 0.2, 3])}),
    "float16": pd.DataFrame({"a": np.float16([0.1, 0.2, 3])}),
    "objects": pd.DataFrame({"a": pd.Series([np.float32(0.1), 0.2, 3], dtype=object)}),
    "text": pd.DataFrame({"a": ["0.1", "0.20", "3.0"]}),
    "polars": pl.DataFrame({"a": pl.Series([0.1, 0.2, 3], dtype=pl.Float32)}),
    "decimals": pl.DataFrame({"a": [Decimal("0.1"), Decimal("0.2"), Decimal(3)]}),
    "array": np.float32([[0.1], [0.2], [3]]),
}


@pytest.mark.parametrize("one", TENTHS)
@pytest.mark.usefixtures("path")
def test_a_number_is_the_same_category_in_every_precision(one):
    fitted = Columns([0]).fit(TENTHS[one])
    expected = {name: [0, 1, 2] for name in TENTHS}
    assert {name: _codes(fitted, X) for name, X in TENTHS.items()} == expected


def test_sets_are_the_same_categories_in_every_process():
    """Their own text has the order of hashes, which differ."""
    script = (
        "import pandas as pd\n"
        "from skensemble._data.frames import Columns\n"
        "sets = [frozenset(['b', 'a']), frozenset('cde'), ('x', frozenset([2, 'y']))]\n"
        "print(Columns().fit(pd.DataFrame({'a': sets})).categories_)"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "12"
    }
    assert said == {"""[["('x', {'y', 2})", "{'a', 'b'}", "{'c', 'd', 'e'}"]]\n"""}


class _Holder:
    """Its text has a set in it, or, without a set, its address."""

    def __init__(self, held=None):
        self.held = held

    def __repr__(self):
        return repr(self.held) if self.held else object.__repr__(self)


@pytest.mark.parametrize("held", [None, frozenset("ab")])
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: (value, 1)])
def test_objects_without_a_text_of_their_own_are_refused_by_name(held, wrap):
    X = pd.DataFrame({"who": pd.Series([wrap(_Holder(held)), wrap(_Holder(held))], dtype=object)})
    with pytest.raises(
        ValueError, match="of type _Holder in column 'who', but expected categories"
    ):
        Columns().fit(X)
    fitted = Columns().fit(pd.DataFrame({"who": ["x", "y"]}))
    with pytest.raises(
        ValueError, match="of type _Holder in column 'who', but expected categories"
    ):
        fitted.transform(X)


@pytest.mark.usefixtures("path")
def test_periods_and_intervals_are_the_same_through_arrow():
    pyarrow = pytest.importorskip("pyarrow")
    days = pd.DataFrame({"day": pd.period_range("2020-01-01", periods=3, freq="D").to_timestamp()})
    X = pd.DataFrame(
        {
            "day": pd.Series([*pd.period_range("2020-01-01", periods=3, freq="D"), pd.NaT]),
            "age": pd.arrays.IntervalArray([*pd.interval_range(0, 3), np.nan]),
        }
    )
    table = pyarrow.Table.from_pandas(X, preserve_index=False)
    fitted = Columns().fit(X)
    expected = fitted.transform(X)
    np.testing.assert_array_equal(expected[:3, :-1], Columns().fit_transform(days))
    assert fitted.categories_[-1] == ["(0, 1]", "(1, 2]", "(2, 3]"]
    whole = X.head(3).astype({"age": "interval[int64, right]"})
    np.testing.assert_array_equal(fitted.transform(whole), expected[:3])
    np.testing.assert_array_equal(fitted.transform(X.astype(object)), expected)
    for other in (fitted.transform(table), Columns().fit(table).transform(X)):
        np.testing.assert_array_equal(other, expected)


def test_integers_beyond_all_floats_are_infinite():
    X = pd.DataFrame({"a": pd.Series([10**400, 1], dtype=object)})
    with pytest.raises(ValueError, match="infinite values in column 'a'"):
        Columns().fit(X)


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
    parts = calendar("t", stamps, OF_YEARS + OF_WEEKS + OF_DAYS)
    assert columns.names_ == ["t", *parts]
    expected = [[t.replace(tzinfo=UTC).timestamp() for t in stamps], *parts.values()]
    np.testing.assert_allclose(out, np.transpose(expected), rtol=1e-13, atol=1e-13)


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
    parts = calendar("a", [t.astimezone(zone) for t in stamps], OF_WEEKS + OF_DAYS)
    expected = np.transpose([[1577844000, 1577854800], *parts.values()])
    typed = pd.to_datetime(local)
    for one in (local, typed):
        fitted = Columns().fit(pd.DataFrame({"a": one}))
        for other in (
            pd.DataFrame({"a": local}),
            pd.DataFrame({"a": typed}),
            pl.DataFrame({"a": stamps}),
        ):
            np.testing.assert_allclose(fitted.transform(other), expected, rtol=1e-13)


@pytest.mark.usefixtures("path")
def test_dates_of_several_zones_are_read_in_utc():
    tokyo = ZoneInfo("Asia/Tokyo")
    stamps = [datetime(2020, 1, 1, 2, tzinfo=tokyo), datetime(2020, 1, 1, 5, tzinfo=BERLIN)]
    X = pd.DataFrame({"a": pd.Series(stamps, dtype=object)})
    columns = Columns()
    hours = columns.fit_transform(X)[:, columns.names_.index("a: hour")]
    assert hours.tolist() == [17, 4]


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
