"""Raw frames to one matrix: what each kind of column becomes, and what is refused."""

import copy
import pickle
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from skensemble._data import column, frames
from skensemble._data.frames import Columns, is_frame

BERLIN = ZoneInfo("Europe/Berlin")

#: A column of every kind, each with a missing value.
TABLE = {
    "count": [1, 2, 3, None],
    "size": [1.5, None, 3.0, -2.0],
    "paid": [True, None, False, True],
    "price": [Decimal("1.25"), Decimal(3), None, Decimal("-0.5")],
    "city": ["Bonn", None, "Aachen", "Bonn"],
    "day": [date(2020, 1, 1), None, date(1960, 3, 4), date(2020, 1, 2)],
    "sold": [datetime(2020, 1, 1, 5), datetime(2020, 1, 1, 7, 30, 0, 123456), None, None],
    "seen": [datetime(2020, 1, 31, 23, 30, tzinfo=UTC), None, datetime(2020, 7, 1, tzinfo=UTC)] * 1
    + [None],
    "took": [timedelta(days=1), None, timedelta(microseconds=-5), timedelta(0)],
    "at": [time(1), None, time(2, 3, 4, 500000), time(0)],
    "void": [None, None, None, None],
}

#: The matrix, by hand.
MATRIX = {
    "count": [1, 2, 3, np.nan],
    "size": [1.5, np.nan, 3, -2],
    "paid": [1, np.nan, 0, 1],
    "price": [1.25, 3, np.nan, -0.5],
    "city": [1, np.nan, 0, 1],
    "day": [1577836800, np.nan, -310176000, 1577923200],
    "day: month": [1, np.nan, 3, 1],
    "day: weekday": [2, np.nan, 4, 3],
    "sold": [1577854800, 1577863800.123456, np.nan, np.nan],
    "sold: hour": [5, 7, np.nan, np.nan],
    "seen": [1580513400, np.nan, 1593561600, np.nan],
    "seen: month": [2, np.nan, 7, np.nan],
    "seen: weekday": [5, np.nan, 2, np.nan],
    "seen: hour": [0, np.nan, 2, np.nan],
    "took": [86400, np.nan, -5e-6, 0],
    "at": [3600, np.nan, 7384.5, 0],
    "void": [np.nan] * 4,
}


def _pandas(table):
    frame = pd.DataFrame(table)
    if "seen" in table:
        frame["seen"] = pd.to_datetime(frame["seen"]).dt.tz_convert("Europe/Berlin")
    return frame


def _pandas_objects(table):
    local = [None if v is None else v.astimezone(BERLIN) for v in table.get("seen", [])]
    table = {**table, "seen": local} if "seen" in table else table
    return pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in table.items()})


def _pandas_nullable(table):
    with np.errstate(invalid="ignore"):  # pandas 2.2 asks whether infinity is an integer
        return _pandas(table).convert_dtypes()


def _polars(table):
    frame = pl.DataFrame(table, strict=False)
    if "seen" in table:
        frame = frame.with_columns(pl.col("seen").dt.convert_time_zone("Europe/Berlin"))
    return frame


def _pyarrow(table):
    pyarrow = pytest.importorskip("pyarrow")
    arrays = {name: pyarrow.array(values) for name, values in table.items()}
    if "seen" in table:
        arrays["seen"] = arrays["seen"].cast(pyarrow.timestamp("us", tz="Europe/Berlin"))
    return pyarrow.table(arrays)


def frame_of(values, name="a"):
    """A column alone, in a frame of its own library."""
    make = pd.DataFrame if isinstance(values, pd.Series) else pl.DataFrame
    return make({name: values})


@pytest.fixture(params=[_pandas, _pandas_objects, _pandas_nullable, _polars, _pyarrow])
def frame(request):
    """A function from a dict of lists to a frame."""
    return request.param


@pytest.fixture(params=["few rows", "many rows"])
def path(request, monkeypatch):
    """Small tables and large ones go other ways."""
    if request.param == "many rows":
        monkeypatch.setattr(frames, "_FEW_ROWS", 0)
        monkeypatch.setattr(column, "_FEW_VALUES", 0)


def _codes(fitted, values):
    """Codes of one column's values, in each way that they can be given."""
    return fitted.transform(values)[:, 0].tolist()


# --- kinds of columns -------------------------------------------------------------------------


@pytest.mark.usefixtures("path")
def test_a_table_is_the_same_matrix_in_every_library(frame):
    X = frame(TABLE)
    columns = Columns().fit(X)
    assert columns.names_ == list(MATRIX)
    assert np.array(columns.names_)[columns.is_categorical_].tolist() == ["city"]
    assert [c for c in columns.categories_ if c is not None] == [["Aachen", "Bonn"]]
    out = columns.transform(X)
    assert out.dtype == np.float64
    np.testing.assert_array_equal(out, np.transpose(list(MATRIX.values())))


@pytest.mark.usefixtures("path")
def test_a_frame_of_another_library_may_be_predicted(frame):
    fitted = Columns().fit(_pandas(TABLE))
    np.testing.assert_array_equal(
        fitted.transform(frame(TABLE)), fitted.transform(_pandas(TABLE)), strict=True
    )


@pytest.mark.usefixtures("path")
def test_fit_transform_is_fit_and_transform(frame):
    X = frame(TABLE)
    one, two = Columns(), Columns().fit(X)
    np.testing.assert_array_equal(one.fit_transform(X), two.transform(X))
    assert one.names_ == two.names_


def test_rows_are_the_same_alone_and_together(frame):
    X = frame({name: values * 50 for name, values in TABLE.items()})
    fitted = Columns().fit(X)
    together = fitted.transform(X)
    for i in range(4):
        row = X.slice(i, 1) if hasattr(X, "slice") else X.iloc[i : i + 1]
        np.testing.assert_array_equal(fitted.transform(row), together[i : i + 1])


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


@pytest.mark.parametrize("name", [name for name in TABLE if name != "void"])
@pytest.mark.usefixtures("path")
def test_a_column_wholly_missing_later_is_nan(name):
    """One row of a frame of None has no type that tells what it was."""
    fitted = Columns().fit(_pandas({name: TABLE[name]}))
    for empty in (
        pd.DataFrame({name: [None]}),
        pd.DataFrame({name: [np.nan]}),
        pd.DataFrame({name: [pd.NaT]}),
        pl.DataFrame({name: [None]}),
    ):
        out = fitted.transform(empty)
        assert out.shape == (1, len(fitted.names_))
        assert np.isnan(out).all()


@pytest.mark.parametrize("dtype", [object, "category", "float64", "datetime64[ns]", "str"])
@pytest.mark.parametrize("categorical_features", ["from_dtype", None, ["a"]])
def test_a_column_wholly_missing_in_fit_is_nan_for_ever(dtype, categorical_features):
    X = pd.DataFrame({"a": pd.Series([None, None], dtype=dtype)})
    columns = Columns(categorical_features).fit(X)
    assert not columns.is_categorical_.any()
    for later in (X, pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": ["x", "y"]})):
        np.testing.assert_array_equal(columns.transform(later), np.full((2, 1), np.nan))


# --- categories -------------------------------------------------------------------------------


@pytest.mark.usefixtures("path")
def test_a_category_that_fit_did_not_see_is_minus_one(frame):
    fitted = Columns().fit(frame({"a": ["x", "y", None]}))
    assert _codes(fitted, frame({"a": ["y", "new", "x"]})) == [1, -1, 0]


@pytest.mark.usefixtures("path")
def test_categories_declared_but_absent_are_unseen():
    declared = pd.CategoricalDtype(["c", "b", "a"])
    fitted = Columns().fit(pd.DataFrame({"a": pd.Series(["a", "c"], dtype=declared)}))
    assert fitted.categories_ == [["a", "c"]]
    assert _codes(fitted, pd.DataFrame({"a": pd.Series(["b", "c"], dtype=declared)})) == [-1, 1]
    enum = pl.Enum(["c", "b", "a"])
    assert _codes(fitted, pl.DataFrame({"a": pl.Series(["b", "c"], dtype=enum)})) == [-1, 1]


@pytest.mark.usefixtures("path")
def test_the_codes_of_a_type_do_not_matter():
    fitted = Columns().fit(pd.DataFrame({"a": pd.Categorical(["x", "y", "z"])}))
    permuted = pd.Categorical(["x", "y", "z"], categories=["z", "w", "y", "x"])
    assert _codes(fitted, pd.DataFrame({"a": permuted})) == [0, 1, 2]


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
def test_integers_that_no_float_tells_apart_are_two_categories(frame):
    X = frame({"a": [2**60, 2**60 + 1]})
    assert _codes(Columns(["a"]).fit(X), X) == [0, 1]


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


# --- dates ------------------------------------------------------------------------------------


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
def test_dates_of_another_zone_are_read_in_that_of_fit():
    stamps = pd.Series(pd.to_datetime(["2020-01-31 23:30", "2020-07-01 12:00"], utc=True))
    fitted = Columns().fit(pd.DataFrame({"a": stamps.dt.tz_convert("Europe/Berlin")}))
    assert fitted.names_ == ["a", "a: month", "a: weekday", "a: hour"]
    expected = [[1580513400, 2, 5, 0], [1593604800, 7, 2, 14]]
    local = stamps.dt.tz_convert("Asia/Tokyo")
    for other in (
        pd.DataFrame({"a": stamps}),
        pd.DataFrame({"a": local}),
        pd.DataFrame({"a": local.astype(object)}),
        pl.DataFrame({"a": [t.to_pydatetime() for t in stamps]}),
    ):
        np.testing.assert_array_equal(fitted.transform(other), expected)


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


def test_dates_with_and_without_a_zone_are_not_mixed():
    naive = pd.DataFrame({"sold": pd.to_datetime(["2020-01-01", "2020-02-01"])})
    aware = pd.DataFrame({"sold": naive["sold"].dt.tz_localize("UTC")})
    with pytest.raises(ValueError, match=r"'sold'.* but expected dates without a time zone as in"):
        Columns().fit(naive).transform(aware)
    with pytest.raises(ValueError, match=r"'sold'.* but expected dates with a time zone as in fit"):
        Columns().fit(aware).transform(naive)
    both = pd.DataFrame({"sold": [naive.iloc[0, 0], aware.iloc[0, 0]]}, dtype=object)
    with pytest.raises(ValueError, match="of a time zone and of none in column 'sold'"):
        Columns().fit(both)


# --- which columns are categories -------------------------------------------------------------


@pytest.mark.parametrize("features", [["b"], [1], [False, True], np.array(["b"], dtype=object)])
def test_categories_are_named_by_name_index_or_mask(frame, features):
    X = frame({"a": [1.5, 2.5], "b": [20, 3]})
    columns = Columns(features).fit(X)
    assert columns.is_categorical_.tolist() == [False, True]
    np.testing.assert_array_equal(columns.transform(X), [[1.5, 0], [2.5, 1]])


@pytest.mark.parametrize("features", [None, [], [False, False]])
def test_nothing_listed_is_nothing_categorical(frame, features):
    X = frame({"a": [1.5, 2.5], "b": [True, False]})
    columns = Columns(features).fit(X)
    assert not columns.is_categorical_.any()
    np.testing.assert_array_equal(columns.transform(X), [[1.5, 1], [2.5, 0]])


def test_columns_of_an_array_are_categories_by_index_or_mask():
    X = np.array([[1.5, 20.0], [2.5, np.nan], [np.nan, 3.0]])
    for features in ([1], [False, True]):
        columns = Columns(features).fit(X)
        np.testing.assert_array_equal(columns.transform(X), [[1.5, 0], [2.5, np.nan], [np.nan, 1]])
        assert columns.categories_ == [None, ["20", "3"]]
        assert _codes(columns, X[:, ::-1])[0] == 20
        assert columns.transform(np.array([[0, 20], [0, 7]])).tolist() == [[0, 0], [0, -1]]


@pytest.mark.parametrize(
    ("features", "error"),
    [
        (["z"], "item value 'z' which is not a valid feature name"),
        ([2], r"must be in \[0, n_features - 1\]"),
        ([-1], r"must be in \[0, n_features - 1\]"),
        ([True], r"must have shape \(n_features,\)"),
        ([1.5], "array-like of bool, int or str, got: float64"),
        ([0, None], "array-like of bool, int or str, got: NoneType, int"),
    ],
)
def test_what_hist_gradient_boosting_refuses_is_refused(frame, features, error):
    """With its words."""
    from sklearn.ensemble import HistGradientBoostingRegressor

    X = frame({"a": [1.5, 2.5], "b": [20, 3]})
    with pytest.raises(ValueError, match=error):
        Columns(features).fit(X)
    with pytest.raises(ValueError, match=error):
        HistGradientBoostingRegressor(categorical_features=features).fit(
            pd.DataFrame({"a": [1.5, 2.5], "b": [20, 3]}), [0, 1]
        )


def test_names_without_a_frame_are_refused():
    with pytest.raises(ValueError, match="on data without feature names"):
        Columns(["a"]).fit(np.ones((2, 2)))


@pytest.mark.parametrize("features", [None, ["n"], [True, False, False, False]])
def test_columns_that_are_no_numbers_must_be_listed(features):
    X = pd.DataFrame(
        {"n": [1, 2], "s": ["x", "y"], "c": pd.Categorical(["x", "y"]), "m": pd.Series([1, "x"])}
    )
    with pytest.raises(ValueError, match=r"columns that are no numbers: \['s', 'c', 'm'\], but"):
        Columns(features).fit(X)


@pytest.mark.usefixtures("path")
def test_categories_of_numbers_that_are_not_listed_are_numbers():
    X = pd.DataFrame({"a": pd.Categorical([10, 2, None])})
    assert Columns().fit(X).is_categorical_.all()
    columns = Columns(None).fit(X)
    assert not columns.is_categorical_.any()
    np.testing.assert_array_equal(columns.transform(X), [[10], [2], [np.nan]])
    np.testing.assert_array_equal(columns.transform(pd.DataFrame({"a": [7]})), [[7]])


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.usefixtures("path")
def test_infinite_values_are_refused_by_name(frame):
    good, bad = {"a": [1.0, 2.0], "age": [3.0, 4.0]}, {"a": [1.0, 2.0], "age": [3.0, -np.inf]}
    words = r"infinite values in column 'age', but .* \(input contains infinity\)\."
    with pytest.raises(ValueError, match=words):
        Columns().fit(frame(bad))
    with pytest.raises(ValueError, match=words):
        Columns().fit(frame(good)).transform(frame(bad))
    with pytest.raises(ValueError, match=words):
        Columns().fit(frame({**good, "s": ["x", "y"]})).transform(frame({**bad, "s": ["x", "y"]}))
    with pytest.raises(ValueError, match="infinite values in column 'x1'"):
        Columns([0]).fit(np.array([[1.0, np.inf]]))


OTHERS = {
    "numbers": [1.5, 2.0],
    "categories": ["12", "x"],
    "dates": [datetime(2020, 1, 1), datetime(2020, 2, 1)],
    "durations": [timedelta(1), timedelta(2)],
    "times of day": [time(1), time(2)],
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("kind", [kind for kind in OTHERS if kind != "categories"])
@pytest.mark.usefixtures("path")
def test_a_column_of_another_kind_than_in_fit_is_refused_by_name(frame, kind, other):
    """Beside a number polars would make a number of a date."""
    fitted = Columns().fit(frame({"a": [1, 2], "age": OTHERS[kind]}))
    X = frame({"a": [1, 2], "age": OTHERS[other]})
    if kind == other:
        fitted.transform(X)
        return
    with pytest.raises(ValueError, match=f"Got X with {other} in column 'age', .*expected {kind}"):
        fitted.transform(X)


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


# --- the rest ---------------------------------------------------------------------------------


def test_is_frame():
    frame = pd.DataFrame({"a": [1]})
    assert all(map(is_frame, (frame, pl.DataFrame({"a": [1]}))))
    for other in (
        frame["a"],
        frame.to_numpy(),
        [[1]],
        {"a": [1]},
        csr_array(np.ones((2, 2))),
        pl.LazyFrame({"a": [1]}),
        None,
        "a",
    ):
        assert not is_frame(other)


def test_the_matrix_is_a_copy():
    """What comes next may write on it."""
    X = pd.DataFrame(np.ones((3, 2)), columns=["a", "b"])
    out = Columns().fit(X).transform(X)
    out[:] = 7
    assert out.flags.c_contiguous
    assert (X.to_numpy() == 1).all()


@pytest.mark.parametrize("dtype", ["float32", "int16", "uint64", "bool"])
@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_all_numbers_of_any_type_at_once(make, dtype):
    values = np.array([[0, 1], [1, 1], [1, 0]], dtype=dtype)
    X = make({"a": values[:, 0], "b": values[:, 1]})
    out = Columns().fit(X).transform(X)
    np.testing.assert_array_equal(out, values.astype(np.float64), strict=True)


@pytest.mark.usefixtures("path")
def test_columns_of_the_same_name_are_told_by_position():
    X = pd.DataFrame([[1, "x"], [2, "y"]], columns=["a", "a"])
    columns = Columns().fit(X)
    np.testing.assert_array_equal(columns.transform(X), [[1, 0], [2, 1]])


def test_names_that_are_no_strings():
    X = pd.DataFrame([[1.0, "x"], [2.0, "y"]], columns=[0, 1])
    columns = Columns().fit(X)
    assert columns.names_ == ["0", "1"]
    np.testing.assert_array_equal(columns.transform(X), [[1, 0], [2, 1]])


def test_sparse_columns_of_pandas():
    X = pd.DataFrame({"a": pd.arrays.SparseArray([0.0, 1.0, np.nan])})
    np.testing.assert_array_equal(Columns().fit(X).transform(X), [[0], [1], [np.nan]])


def test_copies_and_pickles_give_the_same_and_hold_no_frame(frame):
    X = frame(TABLE)
    fitted = Columns().fit(X)
    data = pickle.dumps(fitted)
    assert b"pandas" not in data
    assert b"polars" not in data
    for other in (pickle.loads(data), copy.deepcopy(fitted)):
        np.testing.assert_array_equal(other.transform(X), fitted.transform(X))


def test_a_fit_that_fails_changes_nothing():
    X = pd.DataFrame({"a": ["x", "y"]})
    columns = Columns().fit(X)
    with pytest.raises(ValueError, match="infinity"):
        columns.fit(pd.DataFrame({"b": [1, 2], "c": [1, np.inf]}))
    assert columns.names_ == ["a"]
    assert _codes(columns, X) == [0, 1]
