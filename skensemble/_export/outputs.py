"""What members say, combined in a graph to probabilities and labels, or to values."""

import numpy as np

from skensemble._data.targets import ClassTargets, RealTargets, Targets
from skensemble._types import Array, Floats

from .graph import Graph
from .inputs import FLOAT, INT

#: Names of the outputs, as sklearn-onnx has them.
LABEL, PROBABILITIES, VARIABLE = "label", "probabilities", "variable"


def add_outputs(
    graph: Graph,
    raw: str,
    weights: Floats,
    targets: Targets,
    *,
    is_voting: bool,
    temperature: float = 1.0,
) -> None:
    """Combine the outputs of members, (members, n, k), by their weights."""
    raw = graph.cast(raw, FLOAT)
    if isinstance(targets, RealTargets):
        factor, summand = targets.line
        values = graph.add("Mul", raw, graph.constant(factor))
        values = graph.add("Add", values, graph.constant(summand))
        values = _average(graph, values, weights)
        graph.output(VARIABLE, values, FLOAT, (targets.n_outputs,))
        return
    assert isinstance(targets, ClassTargets)
    labels = label_array(targets.labels)
    probabilities = graph.add("Softmax", raw, axis=2)
    if is_voting:
        combined = _count_votes(graph, probabilities, weights, len(labels))
    else:
        combined = _average(graph, probabilities, weights)
    best = graph.add("ArgMax", combined, axis=1, keepdims=0)
    label = graph.add("Gather", graph.constant(labels), best)
    graph.output(LABEL, label, labels.dtype, ())
    if not is_voting:
        # Rounding lifts a mean above 1.
        combined = _temper(graph, combined, temperature)
        clipped = graph.add("Min", combined, graph.constant(1.0))
        graph.output(PROBABILITIES, clipped, FLOAT, (len(labels),))


def _average(graph: Graph, values: str, weights: Floats) -> str:
    """Return the weighted mean over members, (n, k)."""
    weighted = graph.add("Mul", values, graph.constant(weights[:, None, None]))
    return graph.add("ReduceSum", weighted, graph.constant([0], INT), keepdims=0)


def _temper(graph: Graph, probabilities: str, temperature: float) -> str:
    """Raise probabilities to the power of 1 / temperature, and scale them to sum to 1."""
    if temperature == 1:
        return probabilities
    powers = graph.add("Pow", probabilities, graph.constant(1 / temperature))
    return graph.add("Div", powers, graph.add("ReduceSum", powers, graph.constant([1], INT)))


def _count_votes(graph: Graph, probabilities: str, weights: Floats, n_classes: int) -> str:
    """Return the weight of the members that vote for each class, (n, k), rounded as ours is."""
    best = graph.add("ArgMax", probabilities, axis=2, keepdims=1)
    votes = graph.add("Equal", best, graph.constant(np.arange(n_classes)[None, None]))
    sums = _average(graph, graph.cast(votes, FLOAT), weights)
    return graph.add("Round", graph.add("Mul", sums, graph.constant(1e12)))


def label_array(labels: Array) -> Array:
    """Return class labels as ONNX has them, or refuse their type."""
    if labels.dtype.kind in "iu":
        return labels.astype(np.int64)
    if labels.dtype.kind == "f":
        return labels.astype(np.float64)
    if labels.dtype.kind in ("b", "U"):
        return labels
    types = {type(label) for label in labels.tolist()}
    if all(issubclass(t, str) for t in types):
        return np.array([str(label) for label in labels])
    if types <= {int, bool}:
        return labels.astype(np.int64 if types == {int} else np.bool_)
    names = ", ".join(sorted(t.__name__ for t in types))
    raise NotImplementedError(
        f"Got class labels of type {names}, but expected strings, integers, floats or truth "
        "values: ONNX has no others. Fit on labels of such a type."
    )
