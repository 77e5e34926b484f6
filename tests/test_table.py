import numpy as np
import pytest
import torch
from conftest import run_graph

from skensemble._data.encoder import TableEncoder
from skensemble._data.frames import Columns
from skensemble._data.intake import Intake
from skensemble._export.graph import Graph
from skensemble._export.table import add_network, add_table
from skensemble.networks import TableNetwork

FLOAT = np.dtype(float)


def intake(X, columns=None, dtype=torch.float64):
    """What fit learns of a table, and its matrix."""
    matrix = X if columns is None else columns.fit_transform(X)
    kinds = {} if columns is None else {"is_categorical": columns.is_categorical_}
    encoder = TableEncoder(min_rows=1).fit(matrix, **kinds)
    names = Intake(True, X.shape[1], None, X.shape[1:], "float", columns, encoder, dtype)
    return names, matrix


def encoded(learned, X):
    graph = Graph()
    value, _ = add_table(graph, learned)
    dtype = np.dtype(np.float64 if learned.dtype == torch.float64 else np.float32)
    graph.output("inputs", value, dtype, (learned.encoder.n_outputs_,))
    return run_graph(graph, {"X": X})[0]


def wild(n=400):
    """Columns of all sizes, with missing values, of one value, of two, and of none."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 8))
    X[:, 1] = 1.7e9 + rng.integers(0, 60, n)
    X[:, 2] = 1e308 * np.sign(X[:, 2])
    X[:, 3] = 5.0
    X[:, 4] = X[:, 4] > 0
    X[:, 5] = np.nan
    X[:, 6] = np.exp(20 * X[:, 6])
    X[rng.random(n) < 0.3, 7] = np.nan
    return X


def test_numbers_are_encoded_as_in_predict():
    X = wild()
    learned, _ = intake(X)
    assert learned.encoder._shrink is not None
    with np.errstate(over="ignore"):
        others = X * 3 - 1
    others = np.concatenate([others, -X[::-1], np.full((1, 8), np.nan), np.zeros((1, 8))])
    others = np.nan_to_num(others, nan=np.nan, posinf=1e308, neginf=-1e308)
    for rows in (X, others):
        expected = learned.encoder.transform(rows, np.float64)
        assert np.allclose(encoded(learned, rows), expected, rtol=1e-12, atol=1e-12)


def test_single_precision_is_cut_last():
    X = wild()
    learned, _ = intake(X, dtype=torch.float32)
    found = encoded(learned, X)
    assert found.dtype == np.float32
    assert np.allclose(found, learned.encoder.transform(X, np.float32), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("listed", [[0], [1, 2], [0, 1, 2]], ids=str)
def test_categories_are_columns_of_zero_and_one(listed):
    rng = np.random.default_rng(0)
    X = rng.integers(0, [3, 20, 2], size=(200, 3)).astype(float)
    X[rng.random((200, 3)) < 0.1] = np.nan
    learned, _ = intake(X, Columns(listed))
    rows = np.concatenate([X, X + 1, np.full((1, 3), np.nan), np.full((1, 3), 99.0)])
    expected = learned.encoder.transform(learned.columns.transform(rows), np.float64)
    assert np.allclose(encoded(learned, rows), expected, rtol=1e-12, atol=1e-12)


def test_a_category_misses_where_none_did_in_fit():
    X = np.random.default_rng(0).integers(0, 3, size=(200, 2)).astype(float)
    learned, _ = intake(X, Columns([1]))
    rows = np.full((1, 2), np.nan)
    expected = learned.encoder.transform(rows, np.float64)
    assert not expected[:, learned.encoder._n_inputs :].any()
    assert np.array_equal(encoded(learned, rows), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("hidden", [(), (7,), (9, 5, 3)], ids=str)
def test_the_network_of_all_members_is_each_of_them(hidden, dtype):
    torch.manual_seed(0)
    networks = [TableNetwork(6, 4, hidden=hidden, dtype=dtype).eval() for _ in range(3)]
    for network in networks:
        torch.nn.init.uniform_(network.first.scale, -1, 1)
    states = [network.state_dict() for network in networks]
    stacks = {name: torch.stack([state[name] for state in states]) for name in states[0]}
    X = 40 * torch.randn(11, 6, dtype=dtype)  # far out Mish is a straight line, or zero
    graph = Graph()
    numpy_dtype = X.numpy().dtype
    value = add_network(graph, graph.input("X", numpy_dtype, (6,)), networks[0], stacks)
    graph.output("outputs", value, numpy_dtype, (11, 4))
    with torch.no_grad():
        expected = torch.stack([network(X) for network in networks]).numpy()
    close = {"rtol": 1e-4, "atol": 1e-4} if dtype == torch.float32 else {"rtol": 1e-12}
    assert np.allclose(run_graph(graph, {"X": X.numpy()})[0], expected, **close)
