"""Raw frames to one matrix: what each kind of column becomes, and what is refused."""

import copy
import pickle
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pytest
from conftest import OF_DAYS, OF_WEEKS, OF_YEARS, _codes, calendar
from scipy.sparse import csr_array

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


MIDNIGHTS = [None if day is None else datetime(*day.timetuple()[:3]) for day in TABLE["day"]]

IN_BERLIN = [None if t is None else t.astimezone(BERLIN) for t in TABLE["seen"]]

#: The matrix, by hand.
MATRIX = {
    "count": [1, 2, 3, np.nan],
    "size": [1.5, np.nan, 3, -2],
    "paid": [1, np.nan, 0, 1],
    "price": [1.25, 3, np.nan, -0.5],
    "city": [1, np.nan, 0, 1],
    "day": [1577836800, np.nan, -310176000, 1577923200],
    **calendar("day", MIDNIGHTS, OF_YEARS + OF_WEEKS),
    "sold": [1577854800, 1577863800.123456, np.nan, np.nan],
    **calendar("sold", TABLE["sold"], OF_DAYS),
    "seen": [1580513400, np.nan, 1593561600, np.nan],
    **calendar("seen", IN_BERLIN, OF_WEEKS + OF_DAYS),
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


@pytest.fixture(params=[_pandas, _pandas_objects, _pandas_nullable, _polars, _pyarrow])
def frame(request):
    """A function from a dict of lists to a frame."""
    return request.param


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
    np.testing.assert_allclose(out, np.transpose(list(MATRIX.values())), rtol=1e-13, atol=1e-15)


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


@pytest.mark.usefixtures("path")
def test_integers_that_no_float_tells_apart_are_two_categories(frame):
    X = frame({"a": [2**60, 2**60 + 1]})
    assert _codes(Columns(["a"]).fit(X), X) == [0, 1]


@pytest.mark.usefixtures("path")
def test_dates_of_another_zone_are_read_in_that_of_fit():
    stamps = pd.Series(pd.to_datetime(["2020-01-31 23:30", "2020-07-01 12:00"], utc=True))
    fitted = Columns().fit(pd.DataFrame({"a": stamps.dt.tz_convert("Europe/Berlin")}))
    here = [stamp.astimezone(BERLIN) for stamp in stamps]
    parts = calendar("a", here, OF_WEEKS + OF_DAYS)
    assert fitted.names_ == ["a", *parts]
    expected = np.transpose([[1580513400, 1593604800], *parts.values()])
    local = stamps.dt.tz_convert("Asia/Tokyo")
    for other in (
        pd.DataFrame({"a": stamps}),
        pd.DataFrame({"a": local}),
        pd.DataFrame({"a": local.astype(object)}),
        pl.DataFrame({"a": [t.to_pydatetime() for t in stamps]}),
    ):
        np.testing.assert_allclose(fitted.transform(other), expected, rtol=1e-13, atol=1e-15)


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
