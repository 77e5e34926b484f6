"""A graph of ONNX under construction: nodes, constants, inputs and outputs by name."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnx.inliner
from numpy.typing import ArrayLike
from onnx import TensorProto, compose, helper, numpy_helper

from skensemble._types import Array, Options

#: Opsets of the files: of ONNX itself, and of its operators for tables. onnxruntime has known them
#: since version 1.17.
OPSET, ML_OPSET = 20, 4

#: Format of the file that belongs to these opsets.
_IR_VERSION = 10

#: Domain of the operators for tables.
_ML = "ai.onnx.ml"

#: Operators that are in it.
_ML_OPERATORS = {"LabelEncoder"}

#: The types of tensors by the kind of numpy's; of floats by their size.
_TYPES = {"i": TensorProto.INT64, "b": TensorProto.BOOL, "U": TensorProto.STRING}

#: Name of the axis of rows.
ROWS = "n"


def type_of(dtype: np.dtype[np.generic]) -> int:
    """Return ONNX's number for a type of numpy."""
    if dtype.kind == "f":
        return helper.np_dtype_to_tensor_dtype(dtype)
    return _TYPES[dtype.kind]


class Graph:
    """Nodes, constants, inputs and outputs, each value with a name of its own.

    Examples
    --------
    >>> import numpy as np
    >>> from skensemble._export.graph import Graph
    >>> graph = Graph()
    >>> x = graph.input("x", np.dtype(float), (2,))
    >>> graph.output("y", graph.add("Mul", x, graph.constant(3.0)), np.dtype(float), (2,))
    >>> [node.op_type for node in graph.model({}).graph.node]
    ['Mul', 'Identity']
    """

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._numbers = itertools.count()

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output, and return the name of that."""
        out = self._new_name(operator)
        domain = _ML if operator in _ML_OPERATORS else ""
        node = helper.make_node(operator, inputs, [out], name=out, domain=domain, **attributes)
        self.nodes.append(node)
        return out

    def constant(self, values: ArrayLike, dtype: np.dtype[np.generic] | None = None) -> str:
        """Add an array, and return its name."""
        array = np.asarray(values, dtype)
        name = self._new_name("constant")
        array = array.astype(object) if array.dtype.kind == "U" else np.ascontiguousarray(array)
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def input(self, name: str, dtype: np.dtype[np.generic], row_shape: Sequence[int]) -> str:
        """Add an input of rows, and return its name."""
        shape: list[str | int | None] = [ROWS, *map(int, row_shape)]
        self.inputs.append(helper.make_tensor_value_info(name, type_of(dtype), shape))
        return name

    def output(
        self, name: str, value: str, dtype: np.dtype[np.generic], row_shape: Sequence[int]
    ) -> None:
        """Hand out a value under a name."""
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        shape: list[str | int | None] = [ROWS, *map(int, row_shape)]
        self.outputs.append(helper.make_tensor_value_info(name, type_of(dtype), shape))

    def cast(self, value: str, dtype: np.dtype[np.generic]) -> str:
        """Cast a value to a type of numpy."""
        return self.add("Cast", value, to=type_of(dtype))

    def gather(self, value: str, indices: ArrayLike, axis: int = 1) -> str:
        """Select along an axis, by default among columns."""
        return self.add("Gather", value, self.constant(indices, np.dtype(np.int64)), axis=axis)

    def sort(self, value: str) -> str:
        """Sort along the last axis."""
        last = self.constant([-1], np.dtype(np.int64))
        n_all = self.add("Gather", self.add("Shape", value), last)
        out, places = self._new_name("sorted"), self._new_name("places")
        node = helper.make_node("TopK", [value, n_all], [out, places], largest=0, axis=-1)
        self.nodes.append(node)
        return out

    def clip(self, value: str, low: float, high: float) -> str:
        """Clip a value of float64."""
        return self.add("Clip", value, self.constant(low), self.constant(high))

    def encode_labels(self, value: str, keys: Sequence[object], values: Array, other: float) -> str:
        """Replace each key by its value; those that are no key by another one.

        Strings become int64; numbers stay float64, since runtimes know nothing else for them.
        """
        if isinstance(keys[0], str):
            attributes: Options = {
                "keys_strings": keys,
                "values_int64s": [int(v) for v in values],
                "default_int64": int(other),
            }
        else:
            tensors = {"keys_tensor": keys, "values_tensor": values, "default_tensor": [other]}
            attributes = {
                name: numpy_helper.from_array(np.asarray(array, np.float64))
                for name, array in tensors.items()
            }
        return self.add("LabelEncoder", value, **attributes)

    def adopt(self, traced: onnx.ModelProto, inputs: Sequence[str]) -> str:
        """Take over what another exporter made, fed with these values; return its only output."""
        if traced.functions:
            traced = onnx.inliner.inline_local_functions(traced)
        # No column is called so, nor any value of ours.
        part = compose.add_prefix_graph(traced.graph, "/traced/")
        for name, own in zip(inputs, part.input, strict=True):
            self.nodes.append(helper.make_node("Identity", [name], [own.name]))
        self.nodes += part.node
        self.constants += part.initializer
        return part.output[0].name

    def model(self, metadata: dict[str, str]) -> onnx.ModelProto:
        """Return the whole, checked."""
        graph = helper.make_graph(
            self.nodes, "skensemble", self.inputs, self.outputs, self.constants
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(_ML, ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model)
        return model

    def _new_name(self, stem: str) -> str:
        # No column is called so: its name would have to begin with this slash.
        return f"/{stem}_{next(self._numbers)}"
