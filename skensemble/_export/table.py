"""The built-in network in a graph, and what encodes its table."""

import numpy as np
import torch
from numpy.typing import DTypeLike

from skensemble._data.encoder import _HUGE, TableEncoder
from skensemble._data.intake import Intake
from skensemble._types import Array, State
from skensemble.networks import _FASTER, TableNetwork

from .graph import Graph
from .inputs import FLOAT, INT, Table, add_columns, add_matrix

#: From here on Mish is the identity in any precision; its formula would overflow later.
_STRAIGHT = 20.0


def add_table(graph: Graph, intake: Intake) -> tuple[str, Table]:
    """Add the inputs of a table; return its columns as the network takes them, (n, m)."""
    encoder, columns = intake.encoder, intake.columns
    assert encoder is not None
    if columns is None:
        table = add_matrix(graph, [str(name) for name in intake._names()])
    else:
        # An array's columns are called so.
        plain = [f"x{i}" for i in range(len(columns.columns_))]
        are_named = intake.feature_names is not None or columns.columns_ != plain
        first = encoder._n_inputs
        lookups = [np.where(places < 0, -1, places - first) for _, places in encoder._lookups]
        table = add_columns(graph, columns, lookups, are_named=are_named)
    return _encode(graph, table, encoder, np.dtype(str(intake.dtype).removeprefix("torch."))), table


def _encode(graph: Graph, table: Table, encoder: TableEncoder, dtype: np.dtype[np.generic]) -> str:
    """Add what :class:`TableEncoder` makes of numbers and of places of categories."""
    parts = []
    if table.numbers is not None:
        parts.append(graph.cast(_encode_numbers(graph, table.numbers, encoder), dtype))
    n_places = encoder.n_outputs_ - encoder._n_inputs
    if table.places is not None and n_places:
        own = encoder.origin_[encoder._n_inputs :]
        place = graph.gather(table.places, own - len(encoder.center_))
        is_there = graph.add("Equal", place, graph.constant(np.arange(n_places)[None]))
        parts.append(graph.cast(is_there, dtype))
    return parts[0] if len(parts) == 1 else graph.add("Concat", *parts, axis=1)


def _encode_numbers(graph: Graph, numbers: str, encoder: TableEncoder) -> str:
    add, constant = graph.add, graph.constant
    is_missing = add("IsNaN", numbers)
    if encoder._shrink is not None:
        numbers = add("Mul", numbers, constant(encoder._shrink))
    z = add("Sub", numbers, constant(encoder.center_))
    z = graph.clip(add("Div", z, constant(encoder.scale_)), -_HUGE, _HUGE)
    z = add("Where", is_missing, constant(0.0), z)
    third = add("Div", z, constant(3.0))
    root = add("Sqrt", add("Add", add("Mul", third, third), constant(1.0)))
    parts = [add("Div", z, root)]
    if len(encoder._piece_of):
        rise = add("Sub", graph.gather(z, encoder._piece_of), constant(encoder._low))
        parts.append(graph.clip(add("Mul", rise, constant(encoder._slope)), 0.0, 1.0))
    if len(encoder._missing):
        parts.append(graph.cast(graph.gather(is_missing, encoder._missing), FLOAT))
    return parts[0] if len(parts) == 1 else add("Concat", *parts, axis=1)


def add_network(graph: Graph, X: str, module: TableNetwork, stacks: State) -> str:
    """Add all members of the built-in network; return their outputs, (members, n, k).

    The first layer is one product for all members, since they share the rows.
    """
    scale, weight, bias, *others = (t.detach().cpu() for t in module._parameters_of(stacks))
    n_members, n_units, n_inputs = weight.shape
    weight = weight * (scale * _FASTER).unsqueeze(1)
    first = _array(weight.permute(2, 0, 1).reshape(n_inputs, -1))
    h = graph.add("MatMul", X, graph.constant(first))
    h = graph.add("Add", h, graph.constant(_array(bias.reshape(-1))))
    if others:
        h = _mish(graph, h, first.dtype)
    h = graph.add("Reshape", h, graph.constant([0, n_members, n_units], INT))
    h = graph.add("Transpose", h, perm=[1, 0, 2])
    layers = list(zip(others[::2], others[1::2], strict=True))
    for i, (weight, bias) in enumerate(layers):
        h = graph.add("MatMul", h, graph.constant(_array(weight.mT)))
        h = graph.add("Add", h, graph.constant(_array(bias.unsqueeze(1))))
        if i < len(layers) - 1:
            h = _mish(graph, h, first.dtype)
    return h


def _mish(graph: Graph, x: str, dtype: DTypeLike) -> str:
    """Add x · tanh(log(1 + exp(x))) as a ratio: a third of the time that ONNX's own Mish takes."""
    add = graph.add
    two = graph.constant(np.array(2, dtype))
    power = add("Exp", add("Min", x, graph.constant(np.array(_STRAIGHT, dtype))))
    ratio = add("Mul", power, add("Add", power, two))
    return add("Mul", x, add("Div", ratio, add("Add", ratio, two)))


def _array(tensor: torch.Tensor) -> Array:
    return np.ascontiguousarray(tensor.numpy())
