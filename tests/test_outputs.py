from datetime import date
from fractions import Fraction

import numpy as np
import pytest
import torch
from conftest import run_graph

from skensemble._data.targets import ClassTargets, RealTargets
from skensemble._export.graph import Graph
from skensemble._export.outputs import add_outputs, label_array

RAW = np.random.default_rng(0).normal(size=(4, 50, 3)).astype(np.float32) * 5
WEIGHTS = np.array([0.5, 0.25, 0.125, 0.125])


def combined(raw, weights, targets, **options):
    graph = Graph()
    value = graph.input("raw", raw.dtype, raw.shape[1:])
    add_outputs(graph, value, weights, targets, **{"is_voting": False, **options})
    feeds = {"raw": raw}
    return dict(zip([o.name for o in graph.outputs], run_graph(graph, feeds), strict=True))


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (np.array([3, 5, 9]), np.int64),
        (np.array([3, 5, 9], dtype=np.uint8), np.int64),
        (np.array(["a", "ü", "z"]), object),
        (np.array(["a", "b", ""], dtype=object), object),
        (np.array([0.5, 1.0, 2.5]), np.float64),
        (np.array([1, 2, 3], dtype=object), np.int64),
    ],
    ids=str,
)
def test_labels_of_a_type_that_onnx_has(labels, kind):
    found = combined(RAW, WEIGHTS, ClassTargets(classes=labels))
    p = np.einsum("m,mnk->nk", WEIGHTS, torch.tensor(RAW).double().softmax(-1).numpy())
    assert np.allclose(found["probabilities"], p, atol=1e-12)
    assert found["probabilities"].dtype == np.float64
    assert found["label"].dtype == kind
    assert found["label"].tolist() == labels[p.argmax(axis=1)].tolist()


def test_labels_that_are_truth_values():
    found = combined(RAW[..., :2], WEIGHTS, ClassTargets(classes=np.array([False, True])))
    assert found["label"].dtype == np.bool_


@pytest.mark.parametrize(
    "labels", [[date(2024, 1, 1), date(2024, 1, 2)], [b"a", b"b"], [Fraction(1, 2), Fraction(1)]]
)
def test_other_labels_are_refused_by_their_type(labels):
    with pytest.raises(NotImplementedError, match=f"labels of type {type(labels[0]).__name__}"):
        label_array(np.array(labels, dtype=object))


def test_no_probability_is_above_one():
    raw = np.array([[[800.0, 0.0, 0.0]]] * 4)
    weights = np.array([0.1, 0.2, 0.3, 0.4000000001])
    found = combined(raw, weights, ClassTargets(classes=np.arange(3)))
    assert found["probabilities"].max() == 1


def test_votes_are_counted_and_ties_go_to_the_first_class():
    raw = np.zeros((3, 2, 3))
    raw[[0, 1, 2], 0, [2, 1, 1]] = 1  # 0.4 against 0.3 and 0.3
    raw[[0, 1, 2], 1, [2, 0, 1]] = 1
    third = np.full(3, 1 / 3)
    targets = ClassTargets(classes=np.array(["a", "b", "c"]))
    found = combined(raw, np.array([0.4, 0.3, 0.3]), targets, is_voting=True)
    assert list(found) == ["label"]
    assert found["label"].tolist() == ["b", "c"]
    assert combined(raw, third, targets, is_voting=True)["label"].tolist() == ["b", "a"]


def test_equal_sums_of_votes_tie():
    """0.1 + 0.2 is not quite 0.3."""
    raw = np.zeros((3, 1, 2))
    raw[[0, 1, 2], 0, [0, 1, 1]] = 1
    targets = ClassTargets(classes=np.array(["a", "b"]))
    found = combined(raw, np.array([0.3, 0.1, 0.2]), targets, is_voting=True)
    assert found["label"].tolist() == ["a"]


def test_values_get_back_their_units():
    y = np.array([[1.0, -500.0, 7.0], [3.0, 900.0, 7.0], [2.0, 100.0, 7.0]])
    targets, _ = RealTargets().learn(y, None)
    found = combined(RAW, WEIGHTS, targets)["variable"]
    mean = np.einsum("m,mnk->nk", WEIGHTS, RAW.astype(float))
    assert np.allclose(found, mean * y.std(axis=0) + y.mean(axis=0), rtol=1e-12)
    assert (found[:, 2] == 7).all()
