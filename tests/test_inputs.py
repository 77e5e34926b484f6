import re

import numpy as np
import pandas as pd
import pytest
from conftest import run_graph

from skensemble._data.frames import Columns
from skensemble._export.graph import Graph
from skensemble._export.inputs import MISSING, add_columns

INT = np.dtype(np.int64)

#: Spellings of categories, known and unknown.
TEXTS = [
    "a", "b", "A", "1", "1.0", "1.00", "01", "1e0", "10", "1e1", "-0", "0", "0.5", ".5", "0.50",
    "True", "true", "TRUE", "False", "false", "yes", "1_0", " 1", "1 ", "inf", "1e999", "1e-999",
    "12345678901234567890", "12345678901234567891", "12345678901234567890.0", "٣", "é", "1e16",
    "10000000000000000", "2024-01-01", "0x1", "-1", "+1", "nan?", "1.5e-7", "0.00000015",
]  # fmt: skip

#: What fits saw.
SEEN = [
    ["a", "b"],
    ["1", "10", "0.5"],
    ["True", "False"],
    ["0", "1", "nan"],
    ["01", "1"],
    ["1.0", "2.0", ""],
    ["12345678901234567890", "x"],
    ["1e16", "1.5e-7", "None"],
]


def places(columns, values, *, are_named=True):
    """Places where each code has its own, missing values the next, and others -1."""
    codes = columns.categories_[0]
    graph = Graph()
    lookups = [np.array([*range(len(codes) + 1), -1])]
    table = add_columns(graph, columns, lookups, are_named=are_named)
    graph.output("places", table.places, INT, (1,))
    return run_graph(graph, {graph.inputs[0].name: values[:, None]})[0][:, 0].tolist(), table


@pytest.mark.parametrize("seen", SEEN, ids=str)
def test_strings_are_the_categories_that_they_are_in_predict(seen):
    columns = Columns([0]).fit(pd.DataFrame({"a": seen}))
    texts = [text for text in TEXTS if not re.fullmatch("1e-?999", text)] + seen
    expected = columns.transform(pd.DataFrame({"a": texts}))[:, 0].tolist()
    assert places(columns, np.array(texts, dtype=object))[0] == expected


@pytest.mark.parametrize("seen", SEEN, ids=str)
def test_no_string_stops_the_runtime(seen):
    columns = Columns([0]).fit(pd.DataFrame({"a": seen}))
    odd = ["1e999", "1e-999", "1" * 400, "0." + "1" * 400, "-", "e", ".", "\x00", "1\n", "𝟏"]
    assert places(columns, np.array(odd, dtype=object))[0] == [-1] * len(odd)


@pytest.mark.parametrize("seen", SEEN, ids=str)
def test_missing_values_come_as_python_writes_them(seen):
    columns = Columns([0]).fit(pd.DataFrame({"a": seen}))
    found, table = places(columns, np.array(MISSING, dtype=object))
    marks = [mark for mark in MISSING if mark not in seen]
    assert table.columns[0]["missing"] == marks
    for mark, place in zip(MISSING, found, strict=True):
        assert place == (len(seen) if mark in marks else sorted(seen).index(mark))


@pytest.mark.parametrize(
    "seen",
    [
        np.array([True, False]),
        np.array([3, 1, 2]),
        np.array([0.1, 1e16, 2.5e-7]),
        np.array([0.1, 2.0], dtype=np.float32),
    ],
    ids=str,
)
def test_numbers_that_are_categories_come_as_python_writes_them(seen):
    columns = Columns([0]).fit(pd.DataFrame({"a": seen}))
    codes = columns.transform(pd.DataFrame({"a": seen}))[:, 0].tolist()
    assert places(columns, seen.astype(object))[0] == codes
    assert places(columns, seen.astype(float).astype(object))[0] == codes


@pytest.mark.parametrize(
    "values",
    [
        pd.cut(np.arange(9.0), [-1, 2.5, 5, 9]),
        pd.cut(np.arange(9), [-1, 2, 5, 9], right=False),
        pd.date_range("2024-01-01", periods=4),
        np.array([b"a", b"b"], dtype=object),
    ],
    ids=["intervals", "whole intervals", "days", "bytes"],
)
def test_objects_come_as_python_writes_them(values):
    frame = pd.DataFrame({"a": values}).dropna()
    columns = Columns([0]).fit(frame)
    written = np.array([*map(str, frame["a"])], dtype=object)
    assert places(columns, written)[0] == columns.transform(frame)[:, 0].tolist()


def test_an_array_of_numbers_stays_one_input():
    X = np.array([[0.1, 5.0], [2.0, np.nan], [-0.0, 7.0]])
    columns = Columns([0]).fit(X)
    graph = Graph()
    table = add_columns(graph, columns, [np.array([0, 1, 2, 3, -1])], are_named=False)
    graph.output("numbers", table.numbers, np.dtype(float), (1,))
    graph.output("places", table.places, INT, (1,))
    rows = np.array([[2.0, 1.0], [np.nan, 2.0], [float(np.float32(0.1)), 3.0], [9.0, 4.0]])
    rows = np.concatenate([rows, [[0.0, 5.0]]])
    numbers, found = run_graph(graph, {"X": rows})
    assert numbers[:, 0].tolist() == [1, 2, 3, 4, 5]
    codes = columns.transform(rows)[:, 0]
    assert found[:, 0].tolist() == np.where(np.isnan(codes), 3, codes).tolist() == [2, 3, 1, -1, 0]


def test_an_array_of_texts_has_an_input_for_each_column():
    X = np.array([["a", 1.0], ["b", 2.0]], dtype=object)
    columns = Columns([0]).fit(X)
    graph = Graph()
    add_columns(graph, columns, [np.array([0, 1, 2, -1])], are_named=False)
    assert [given.name for given in graph.inputs] == ["x0", "x1"]


def test_a_column_of_a_zone_whose_clocks_change_is_refused_by_name():
    days = pd.date_range("2020-01-01", periods=900, tz="Europe/Paris")
    columns = Columns().fit(pd.DataFrame({"sold": days}))
    with pytest.raises(NotImplementedError, match=r"^Got dates of the time zone 'Europe/Paris' in"):
        add_columns(Graph(), columns, [], are_named=True)


def test_a_column_of_which_fit_saw_nothing_has_no_effect():
    columns = Columns().fit(pd.DataFrame({"a": [np.nan, np.nan]}))
    graph = Graph()
    table = add_columns(graph, columns, [], are_named=True)
    graph.output("numbers", table.numbers, np.dtype(float), (1,))
    assert np.isnan(run_graph(graph, {"a": np.array([[1.0], [np.nan]])})[0]).all()
