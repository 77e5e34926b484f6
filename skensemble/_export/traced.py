"""A module of the user's in a graph, by torch's own exporter."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import onnx
import torch
from torch import nn

from skensemble._data.intake import Intake
from skensemble._data.rows import numpy_type
from skensemble._nets.modules import call_module, first_output
from skensemble._types import Batch, Options
from skensemble._warnings import short

from .graph import OPSET, Graph
from .inputs import FLOAT, MATRIX

#: Rows of the batch that is traced; a number that a module's own sizes hardly have.
_N_ROWS = 3


class Members(nn.Module):
    """Several modules of one kind as one, whose outputs stand side by side: (members, n, k)."""

    def __init__(self, modules: Sequence[nn.Module], names: Sequence[str] | None):
        super().__init__()
        self.members = nn.ModuleList(modules)
        self.names = names

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        """Return the outputs of all members; inputs with names are passed by them."""
        X: Batch = inputs[0] if self.names is None else dict(zip(self.names, inputs, strict=True))
        outputs = [first_output(call_module(module, X)) for module in self.members]
        return torch.stack([o.unsqueeze(1) if o.ndim == 1 else o for o in outputs])


def add_modules(
    graph: Graph, modules: Sequence[nn.Module], intake: Intake, name: str
) -> tuple[str, list[Options]]:
    """Add the inputs and all members; return their outputs and what is known of the inputs."""
    shapes = intake.row_shape if isinstance(intake.row_shape, dict) else {MATRIX: intake.row_shape}
    kinds = intake.kinds if isinstance(intake.kinds, dict) else {MATRIX: intake.kinds}
    is_dict = isinstance(intake.row_shape, dict)
    types = {"whole": torch.int64, "truth": torch.bool}
    rows = {}
    for key, shape in shapes.items():
        if isinstance(shape, dict):
            raise NotImplementedError(
                f"Got a dict within a dict as X[{key!r}], but expected arrays: the inputs of a "
                "file of ONNX have no levels. Give the module arrays alone."
            )
        rows[key] = torch.zeros(_N_ROWS, *shape, dtype=types.get(kinds[key], intake.dtype))
    columns = None if is_dict or intake.feature_names is None else intake.feature_names.tolist()
    if columns is not None:
        inputs, said = _add_columns(graph, columns, rows[MATRIX].dtype)
    else:
        inputs, said = _add_inputs(graph, rows)
    members = Members(modules, list(rows) if is_dict else None).eval()
    traced = _trace(members, list(rows.values()), name)
    return graph.adopt(traced, inputs), said


def _add_inputs(graph: Graph, rows: dict[str, torch.Tensor]) -> tuple[list[str], list[Options]]:
    """Add an input for each of the module's."""
    inputs, said = [], []
    for key, example in rows.items():
        dtype = _type_of(example.dtype)
        inputs.append(graph.input(key, dtype, example.shape[1:]))
        said.append({"name": key, "kind": "array", "input": key, "given_as": str(dtype)})
    return inputs, said


def _add_columns(
    graph: Graph, names: Sequence[str], dtype: torch.dtype
) -> tuple[list[str], list[Options]]:
    """Add an input for each column of a frame of numbers, side by side for the module."""
    given = FLOAT if dtype.is_floating_point else _type_of(dtype)
    columns = [graph.input(str(name), given, (1,)) for name in names]
    X = graph.add("Concat", *columns, axis=1)
    said = [
        {"name": str(name), "kind": "numbers", "input": str(name), "given_as": str(given)}
        for name in names
    ]
    return [graph.cast(X, _type_of(dtype))], said


def _type_of(dtype: torch.dtype) -> np.dtype[np.generic]:
    made = np.dtype(numpy_type(dtype))
    if str(dtype) != f"torch.{made}":
        raise NotImplementedError(
            f"Got a module whose floats are {dtype}, but expected a type that numpy has: call its "
            "float() before fit."
        )
    return made


def _trace(members: Members, rows: Sequence[torch.Tensor], name: str) -> onnx.ModelProto:
    """Ask torch's exporter, or say which module it refuses."""
    try:
        with _quietly(), torch.no_grad():
            program = torch.onnx.export(
                _capture(members, tuple(rows)), dynamo=True, opset_version=OPSET, verbose=False
            )
        assert program is not None
        made = program.model_proto
    except Exception as error:  # whatever a module raises when it is traced
        cause = error.__cause__ or error
        reason = short(str(cause).strip().split("\n")[0])
        raise ValueError(
            f"Got module={name}, which torch's exporter refuses, but expected one that it can "
            "trace with any number of rows: take out what hangs on values of X, as an if does "
            f"({type(cause).__name__}: {reason})."
        ) from error
    opset = {entry.domain: entry.version for entry in made.opset_import}
    if opset != {"": OPSET}:
        raise ValueError(
            f"Got module={name}, for which torch's exporter needs the opsets {opset}, but "
            f"expected operators of ONNX's opset {OPSET} alone."
        )
    return made


def _capture(members: Members, rows: tuple[torch.Tensor, ...]) -> torch.export.ExportedProgram:
    """Trace the modules for any number of rows.

    Left to itself, the exporter of ONNX would fix the number of rows that a module asks for by
    ``len(X)``, without a word. The strict way knows what that is, but takes fewer modules.
    """
    n = torch.export.Dim("n")
    shapes = (tuple({0: n} for _ in rows),)
    try:
        return torch.export.export(members, rows, dynamic_shapes=shapes, strict=False)
    except Exception as error:  # whatever a module raises
        try:
            return torch.export.export(members, rows, dynamic_shapes=shapes, strict=True)
        except Exception:
            raise error from None


@contextmanager
def _quietly() -> Iterator[None]:
    """Silence what torch tells of the exporter's work, and of what it cannot do."""
    log = logging.getLogger("torch")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
