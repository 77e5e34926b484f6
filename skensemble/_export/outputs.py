"""What members say, combined in a graph to probabilities and labels, or to values."""

import numpy as np

from skensemble._data.label_targets import LabelTargets
from skensemble._data.named_targets import RateTargets
from skensemble._data.quantile_targets import mass_of
from skensemble._data.targets import ClassTargets, RealTargets, Targets
from skensemble._types import Array, Floats
from skensemble._uncertainty.conformal import Conformity
from skensemble.intervals import quantile_shifts

from .graph import Graph
from .inputs import FLOAT, INT

#: Names of the outputs, as sklearn-onnx has them.
LABEL, PROBABILITIES, VARIABLE = "label", "probabilities", "variable"

#: Name of the grid beside the mean, where quantiles are predicted.
QUANTILES = "quantiles"


def add_outputs(
    graph: Graph,
    raw: str,
    weights: Floats,
    targets: Targets,
    *,
    is_voting: bool,
    temperature: float = 1.0,
    threshold: float = 0.5,
    conformity: Conformity | None = None,
) -> None:
    """Combine the outputs of members, (members, n, k), by their weights.

    Quantiles are moved as unseen rows ask for.
    """
    raw = graph.cast(raw, FLOAT)
    if isinstance(targets, RealTargets):
        _add_values(graph, raw, weights, targets, quantile_shifts(targets, conformity))
        return
    if isinstance(targets, LabelTargets):
        _add_labels(graph, raw, weights, targets, temperature, is_voting=is_voting)
        return
    assert isinstance(targets, ClassTargets)
    labels = label_array(targets.labels)
    probabilities = graph.add("Softmax", raw, axis=2)
    if is_voting:
        combined = _count_votes(graph, probabilities, weights, len(labels))
    else:
        combined = _average(graph, probabilities, weights)
    best = graph.add("ArgMax", combined, axis=1, keepdims=0)
    if threshold != 0.5:
        best = _cut(graph, _temper(graph, combined, temperature), threshold)
    label = graph.add("Gather", graph.constant(labels), best)
    graph.output(LABEL, label, labels.dtype, ())
    if not is_voting:
        # Rounding lifts a mean above 1.
        combined = _temper(graph, combined, temperature)
        clipped = graph.add("Min", combined, graph.constant(1.0))
        graph.output(PROBABILITIES, clipped, FLOAT, (len(labels),))


def _add_values(
    graph: Graph, raw: str, weights: Floats, targets: RealTargets, shifts: Floats | None
) -> None:
    """Combine values, or grids of quantiles, of which the means are handed out too."""
    factor, summand = targets.line
    k, n_levels = len(factor), len(targets.levels)
    if n_levels:
        raw = graph.sort(graph.add("Reshape", raw, graph.constant([0, 0, k, n_levels], INT)))
        factor, summand = factor[:, None], summand[:, None]
    values = graph.add("Mul", raw, graph.constant(factor))
    values = graph.add("Add", values, graph.constant(summand))
    if isinstance(targets, RateTargets):
        values = graph.add("Exp", values)
    values = _average(graph, values, weights, n_axes=4 if n_levels else 3)
    if n_levels:
        moved = values
        if shifts is not None:
            moved = graph.sort(graph.add("Add", values, graph.constant(shifts)))
        grid = graph.add("Transpose", moved, perm=[0, 2, 1])
        shape = (n_levels, k) if k > 1 else (n_levels,)
        made = graph.add("Reshape", grid, graph.constant([0, *shape], INT))
        weighted = graph.add("Mul", values, graph.constant(mass_of(targets.levels)))
        values = graph.add("ReduceSum", weighted, graph.constant([2], INT), keepdims=0)
    graph.output(VARIABLE, values, FLOAT, (k,))
    if n_levels:
        graph.output(QUANTILES, made, FLOAT, shape)


def _add_labels(
    graph: Graph,
    raw: str,
    weights: Floats,
    targets: LabelTargets,
    temperature: float,
    *,
    is_voting: bool,
) -> None:
    """Combine the raw scores of several labels a row, each of which is there or not."""
    probabilities = graph.add("Sigmoid", raw)
    half, shape = graph.constant(0.5), (targets.n_outputs,)
    if is_voting:
        votes = graph.cast(graph.add("Greater", probabilities, half), FLOAT)
        sums = _average(graph, votes, weights)
        # Rounded as ours are: a tie is no majority.
        rounded = graph.add("Round", graph.add("Mul", sums, graph.constant(1e12)))
        is_there = graph.add("Greater", rounded, graph.constant(0.5e12))
    else:
        combined = _average(graph, probabilities, weights)
        is_there = graph.add("Greater", combined, half)
    graph.output(LABEL, graph.cast(is_there, INT), INT, shape)
    if not is_voting:
        tempered = _temper_labels(graph, combined, temperature)
        graph.output(PROBABILITIES, graph.add("Min", tempered, graph.constant(1.0)), FLOAT, shape)


def _temper_labels(graph: Graph, probabilities: str, temperature: float) -> str:
    """Divide the log-odds of each probability by the temperature."""
    if temperature == 1:
        return probabilities
    power = graph.constant(1 / temperature)
    there = graph.add("Pow", probabilities, power)
    absent = graph.add("Pow", graph.add("Sub", graph.constant(1.0), probabilities), power)
    return graph.add("Div", there, graph.add("Add", there, absent))


def _average(graph: Graph, values: str, weights: Floats, n_axes: int = 3) -> str:
    """Return the weighted mean over members, (n, k)."""
    weights = weights.reshape(-1, *[1] * (n_axes - 1))
    weighted = graph.add("Mul", values, graph.constant(weights))
    return graph.add("ReduceSum", weighted, graph.constant([0], INT), keepdims=0)


def _temper(graph: Graph, probabilities: str, temperature: float) -> str:
    """Raise probabilities to the power of 1 / temperature, and scale them to sum to 1."""
    if temperature == 1:
        return probabilities
    powers = graph.add("Pow", probabilities, graph.constant(1 / temperature))
    return graph.add("Div", powers, graph.add("ReduceSum", powers, graph.constant([1], INT)))


def _cut(graph: Graph, probabilities: str, threshold: float) -> str:
    """Return the number of the class: the second of two where its probability is above."""
    second = graph.gather(probabilities, [1])
    is_above = graph.cast(graph.add("Greater", second, graph.constant(threshold)), INT)
    return graph.add("ReduceSum", is_above, graph.constant([1], INT), keepdims=0)


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
