"""Fitted ensembles as files of ONNX, which are served without torch."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from ._compat import uncompiled
from ._nets.generators import on_named_device
from ._persistence.container import path_of_file, replacing
from ._types import Options, PathLike
from ._warnings import short
from .fitted import Fitted
from .networks import TableNetwork
from .other_files import version

if TYPE_CHECKING:
    from onnx import ModelProto

    from ._export.graph import Graph

#: Most bytes that a file of ONNX holds by itself.
_LARGEST = 2**31 - 1


class OnnxExport:
    """An ensemble that can be written as a file of ONNX."""

    _fitted_: Fitted

    def to_onnx(self, path: PathLike) -> None:
        """Write the ensemble as a file of ONNX, to predict where there is no torch.

        The file holds everything from raw columns to predictions: the encoding of a table, all
        members that have a weight, and their weighted mean.

        Parameters
        ----------
        path : str or path-like
            The file, by custom ending in ".onnx". It is in place once it is whole.

        Raises
        ------
        ImportError
            If the packages of the extra "onnx" are missing: ``pip install skensemble[onnx]``.
        NotImplementedError
            If ONNX has nothing for a column, a label, an input or a net; the text names it.
        ValueError
            If columns have no names of their own, if torch's exporter refuses the module, or if
            the file would have more than 2 GB.

        Notes
        -----
        Nothing is written where an error is raised.

        **Inputs.** A frame has one input for each column, called as the column, of shape
        ``(n, 1)``. An array of numbers has one input ``X`` of shape ``(n, n_features)``; one of
        objects has ``x0``, ``x1``, … Categories are strings: numbers and truth values as Python
        writes them, a missing one as ``""``. All other columns are float64 with NaN where a value
        misses: truth values as 0 and 1, dates as seconds since 1970, durations and times of day as
        seconds, and strings that `fit` read as numbers or dates as those. A module of your own has
        the inputs that it has here: ``X``, or one for each array of a dict, floats in the type of
        its parameters, integers as int64.

        **Outputs.** A classifier has ``label`` of shape ``(n,)`` and ``probabilities`` of shape
        ``(n, n_classes)``, the latter not with ``voting="hard"``; with several labels a row
        ``label`` is of shape ``(n, n_labels)``. A regressor has ``variable`` of shape
        ``(n, n_outputs)``, and with ``distribution="quantiles"`` also ``quantiles``, as
        ``predict_quantiles`` returns them. They are those of ``predict_proba`` and ``predict``, in
        float64, to 1e-5. Rows are not checked: infinite values are taken for very large ones.

        **Opsets** are 20 of ONNX and 4 of its operators for tables: onnxruntime 1.17 or later. The
        metadata have the version of this package, the name of the estimator, the number of
        members, and as JSON ``classes`` and ``columns`` (name, kind, input, and how it is given).

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> from sklearn.datasets import load_iris
        >>> from skensemble import SnapshotEnsembleClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> model = SnapshotEnsembleClassifier(n_cycles=2, max_epochs=4).fit(X, y)
        >>> path = Path(tempfile.mkdtemp()) / "iris.onnx"
        >>> model.to_onnx(path)
        >>> from onnxruntime import InferenceSession
        >>> label, probabilities = InferenceSession(path).run(None, {"X": X})
        >>> bool(abs(probabilities - model.predict_proba(X)).max() < 1e-5)
        True
        """
        check_is_fitted(self)
        fitted, path = self._fitted_, path_of_file(path)
        _require("onnx")
        if fitted.intake.encoder is None:
            _require("onnxscript")
        is_voting = getattr(self, "voting", "soft") == "hard"
        # A user may call this within one of torch's modes, or with another default device.
        with on_named_device("cpu"), torch.inference_mode(False):
            model = _build(fitted, type(self).__name__, is_voting=is_voting)
        with replacing(path) as unfinished:
            unfinished.write_bytes(model.SerializeToString())


def _require(package: str) -> None:
    try:
        importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f"Got to_onnx without the package {package} ({error}), but expected it to be "
            "installed: pip install skensemble[onnx]."
        ) from error


def _build(fitted: Fitted, name: str, *, is_voting: bool) -> ModelProto:
    """Return the whole as a model of ONNX, or refuse by name what ONNX cannot say."""
    from ._export.graph import Graph  # here, since it needs a package of an extra
    from ._export.outputs import add_outputs, label_array

    classes = fitted.targets.attributes().get("classes_")
    labels = None if classes is None else label_array(classes)
    members = np.flatnonzero(fitted.member_weights)
    _check_size(fitted, members)
    graph = Graph()
    raw, columns = _add_members(graph, fitted, members)
    add_outputs(
        graph,
        raw,
        fitted.member_weights[members],
        fitted.targets,
        is_voting=is_voting,
        temperature=fitted.temperature,
        threshold=0.5 if fitted.verdict is None else fitted.verdict.threshold,
        conformity=None if fitted.verdict is None else fitted.verdict.conformity,
    )
    _check_names(graph)
    metadata = {
        "skensemble": version(),
        "estimator": name,
        "members": str(len(members)),
        "columns": json.dumps(columns, ensure_ascii=False),
    }
    if labels is not None:
        metadata["classes"] = json.dumps(labels.tolist(), ensure_ascii=False)
    return graph.model(metadata)


def _add_members(
    graph: Graph, fitted: Fitted, members: NDArray[np.intp]
) -> tuple[str, list[Options]]:
    """Add the inputs and all members; return their outputs, and what is known of the inputs."""
    from ._export.table import add_network, add_table
    from ._export.traced import add_modules

    net = fitted.nets[0]
    if fitted.views is not None:
        raise NotImplementedError(
            f"Got views={short(fitted.views)}, but expected none: the file holds modules alone. "
            "Put the mean over views into the module, or set views=None and call refit_members."
        )
    if not net.infers_plainly():
        raise NotImplementedError(
            f"Got net={type(net).__name__}, which predicts by an infer or evaluation_step of its "
            "own, but expected one that calls its module: the file holds modules alone. Put what "
            "it does into the module."
        )
    module = uncompiled(net.module_)
    if fitted.intake.encoder is not None:
        assert isinstance(module, TableNetwork)
        X, table = add_table(graph, fitted.intake)
        return add_network(graph, X, module, fitted.snapshots.stacks(members)), table.columns
    modules = [fitted.module_of(int(index)) for index in members]
    return add_modules(graph, modules, fitted.intake, type(module).__name__)


def _check_size(fitted: Fitted, members: NDArray[np.intp]) -> None:
    state = fitted.snapshots.views(members[:1])[0]
    n_bytes = len(members) * sum(tensor.nbytes for tensor in state.values())
    if n_bytes > _LARGEST:
        raise ValueError(
            f"Got {len(members)} members of {n_bytes / 2**30:.1f} GB, but expected less than 2 GB, "
            "the most that a file of ONNX holds: weigh fewer cycles, by refit_members with "
            "members=1 for one, or train fewer chains."
        )


def _check_names(graph: Graph) -> None:
    """Refuse columns that cannot be told apart by their names from each other, or from outputs."""
    taken = {name for node in graph.nodes for name in node.output}
    counts = Counter(given.name for given in graph.inputs)
    bad = [name for name, n in counts.items() if n > 1 or not name or name in taken]
    if bad:
        raise ValueError(
            f"Got X with columns called {short(bad)}, but expected names that are not empty, that "
            "differ, and that no output of the file has: rename them before fit."
        )
