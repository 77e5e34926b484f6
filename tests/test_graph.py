import numpy as np
import onnx
import pytest
from conftest import run_graph
from onnx import helper

from skensemble._export.graph import OPSET, Graph

FLOAT = np.dtype(float)


def test_labels_of_strings_and_of_numbers():
    graph = Graph()
    text, number = graph.input("text", np.dtype(str), (1,)), graph.input("number", FLOAT, (1,))
    of_text = graph.encode_labels(text, ["a", "ü", ""], np.array([4, 5, 6]), -1)
    of_number = graph.encode_labels(number, [0.1, 1e300], np.array([7, 8]), -1)
    graph.output("of_text", of_text, np.dtype(np.int64), (1,))
    graph.output("of_number", of_number, FLOAT, (1,))
    feeds = {
        "text": np.array([["ü"], [""], ["b"]], dtype=object),
        "number": np.array([[1e300], [np.nan], [0.1]]),
    }
    found = run_graph(graph, feeds)
    assert [values[:, 0].tolist() for values in found] == [[5, 6, -1], [8, -1, 7]]


def test_a_foreign_graph_keeps_what_it_computes_and_none_of_its_names():
    """Its names are those of ours: a node, a constant, the input of a branch."""
    two = helper.make_tensor("/Mul_0", onnx.TensorProto.DOUBLE, [], [2.0])
    x = helper.make_tensor_value_info("X", onnx.TensorProto.DOUBLE, ["n"])
    y = helper.make_tensor_value_info("label", onnx.TensorProto.DOUBLE, ["n"])
    node = helper.make_node("Mul", ["X", "/Mul_0"], ["label"])
    foreign = helper.make_model(
        helper.make_graph([node], "foreign", [x], [y], [two]),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=10,
    )
    graph = Graph()
    once = graph.add("Mul", graph.input("X", FLOAT, ()), graph.constant(5.0))
    graph.output("label", graph.adopt(foreign, [once]), FLOAT, ())
    assert run_graph(graph, {"X": np.array([1.0, 3.0])})[0].tolist() == [10, 30]


def test_a_broken_graph_is_not_handed_out():
    graph = Graph()
    graph.output("y", "nothing", FLOAT, ())
    with pytest.raises(onnx.checker.ValidationError, match="nothing"):
        graph.model({})
