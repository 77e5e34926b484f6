"""The first two steps of loading: :func:`parse` and :func:`audit`.

Nothing is built, looked up or imported in them, and what a file says of itself is believed nowhere:
sizes, places, types and names are compared with each other and with the arrays.
"""

import os
from collections.abc import Collection
from typing import Any, NamedTuple

import numpy as np

from skensemble._training.telling import OF_CYCLES
from skensemble._types import Array, ModuleLike, Options
from skensemble._warnings import short
from skensemble.parameters import NetParameters

from .checks import (
    Check,
    anything,
    boolean,
    by_name,
    expect,
    floats,
    integer,
    integers,
    list_of,
    maybe,
    plain,
    real,
    record,
    text,
)
from .column_schema import are_below
from .container import DIGEST_SIZE, FORMAT, FORMAT_VERSION, Container, Fault, parse_json
from .foreign import untrusted
from .saving import content_digest
from .schema import audit_records
from .stored import PREFIX, Stack
from .tree import Decoder, Foreign, sizes_of, torch_type


class Parsed(NamedTuple):
    """A file whose header and digest are right; its values are undecided."""

    file: Container
    document: Options
    #: All but those of the snapshots.
    arrays: dict[str, Array]


class Audited(NamedTuple):
    """What a file says, checked; nothing is built of it."""

    file: Container
    #: Values by the names of the document.
    values: Options
    stacks: dict[str, Stack]


# ---------------------------------------------------------------------------------- parse


def parse(path: str | os.PathLike[str]) -> Parsed:
    """Read a file's header, document and arrays, and compare them with its digest."""
    file = Container(path)
    _check_format(file)
    own = {name: entry for name, entry in file.entries.items() if name.startswith(PREFIX)}
    arrays = {name: file.read(name) for name in file.entries if name not in own}
    stacks = {name: (entry.dtype.str, entry.shape) for name, entry in own.items()}
    text = file.texts.pop("document", "")
    found = content_digest(text, arrays, stacks).hex()
    if found != file.texts.get("digest"):
        raise Fault("another content than its digest says")
    return Parsed(file, parse_json(text, file.size, "document"), arrays)


def _check_format(file: Container) -> None:
    if "format" not in file.texts:
        raise Fault("nothing in it that says that skensemble wrote it")
    if file.texts["format"] != FORMAT:
        raise Fault(f"the format {short(file.texts['format'])}")
    version = file.texts.get("format_version", "")
    if not (version.isascii() and version.isdigit() and 0 < len(version) < 10) or int(version) < 1:
        raise Fault(f"the format version {short(version)}")
    if int(version) > FORMAT_VERSION:
        raise ValueError(
            f"Got path={short(file.path)}, a file of format version {version}, but expected at "
            f"most {FORMAT_VERSION}, which this skensemble reads: install a newer skensemble."
        )


# ---------------------------------------------------------------------------------- audit

#: Targets that are values.
_OF_VALUES = ("RealTargets", "NamedTargets", "RateTargets", "QuantileTargets")

#: What a document holds; arrays of the snapshots are checked apart.
_DOCUMENT: dict[str, Check] = {
    "versions": by_name(text()),
    "intake": record("Intake"),
    "targets": record("ClassTargets", "LabelTargets", *_OF_VALUES),
    "verdict": maybe(record("Verdict")),
    "stage_weights": floats(2, 0),
    "chosen": record("Chosen"),
    "seed": integer(-(1 << 70), 1 << 70),
    "n_steps": integer(0),
    "highest_lr": real(),
    "is_time_limited": boolean,
    "net": anything,
    "state": anything,
    "training": plain,
    "snapshots": anything,
}

_NET: dict[str, Check] = {
    "settings": by_name(real(0)),
    "sizes": by_name(anything),
    "takes_first": boolean,
    "runs_on_zeros": boolean,
    "frozen": list_of(text()),
    "attributes": by_name(by_name(plain)),
    "history": by_name(plain),
}


def audit(parsed: Parsed, estimator: NetParameters | None = None) -> Audited:
    """Decode the document, and check what it says against itself and against the arrays."""
    decoder = Decoder(parsed.arrays)
    asked = {*_DOCUMENT, *(() if estimator is not None else ("estimator", "made_of"))}
    for name in asked - parsed.document.keys():
        raise Fault(f"no {name!r} in its document")
    values = {name: decoder.part(parsed.document[name]) for name in sorted(asked)}
    if estimator is not None:
        _give_splitter(values["chosen"], estimator)
    for name, check in _DOCUMENT.items():
        check(values[name], name)
    _check_net(values["net"])
    audit_records({name: values[name] for name in ("intake", "targets", "verdict", "chosen")})
    if estimator is None:
        _check_estimator(values)
    stacks = _audit_snapshots(parsed.file, values["snapshots"])
    _check_together(values, _n_per_cycle(values, estimator))
    return Audited(parsed.file, values, stacks)


def _give_splitter(chosen: Any, estimator: NetParameters) -> None:
    """Put the estimator's own splitter in place of one that would have to be looked up."""
    how = getattr(chosen, "fields", {}).get("left_out_by")
    if isinstance(how, tuple) and len(how) == 2 and isinstance(how[1], Foreign):
        chosen.fields["left_out_by"] = how[0], estimator.validation


def _check_net(net: Any) -> None:
    expect(isinstance(net, dict) and net.keys() == _NET.keys(), "a net that is none")
    for name, check in _NET.items():
        check(net[name], name)
    net["history"] = _rows_of(net["history"])


def _rows_of(tree: Any) -> list[Options]:
    """Return the rows of a history."""
    if "rows" in tree:
        rows = tree["rows"]
    else:
        columns = tree["columns"]
        n = len(columns["batches"])
        expect(all(len(column) == n for column in columns.values()), "a history with gaps")
        rows = [{name: columns[name][i] for name in columns} for i in range(n)]
        for row in rows:  # of epochs in which no cycle ended
            for name in {*OF_CYCLES} & row.keys():
                if row[name] is None:
                    del row[name]
    for row in rows:
        expect(isinstance(row, dict) and isinstance(row.get("batches"), list), "a history of none")
    return rows


def _check_estimator(values: Options) -> None:
    found, made_of = values["estimator"], values["made_of"]
    expect(found.keys() == {"class", "parameters"}, "an estimator that is none")
    text()(found["class"], "class")
    by_name(anything)(found["parameters"], "parameters")
    expect(made_of.keys() == {"same", "other"}, "parameters of a net that are none")
    list_of(text())(made_of["same"], "made_of")
    by_name(anything)(made_of["other"], "made_of")
    expect(set(made_of["same"]) <= found["parameters"].keys(), "a parameter that there is not")
    audit_none(found["parameters"])
    audit_none(made_of["other"])


def audit_none(value: Any) -> None:
    """Refuse objects of ours where none belong."""
    parts = [value]
    while parts:
        part = parts.pop()
        if isinstance(part, Foreign):
            parts.append(part.parts)
        elif hasattr(part, "tag"):
            raise Fault(f"an object {part.tag!r} among the parameters")
        elif isinstance(part, dict):
            parts += [*part, *part.values()]
        elif isinstance(part, list | tuple | set | frozenset):
            parts += part


def _audit_snapshots(file: Container, found: Any) -> dict[str, Stack]:
    expect(isinstance(found, dict), "snapshots that are none")
    integers(1, 0)(found["places"], "places")
    n = len(found["places"])
    expect((np.sort(found["places"]) == np.arange(n)).all(), "places that are not one each")
    digests = found["digests"]
    expect(isinstance(digests, np.ndarray) and digests.dtype == np.uint8, "digests that are none")
    expect(digests.shape == (n, DIGEST_SIZE), "digests that are not as many as snapshots")
    stacks: dict[str, Stack] = {}
    for described in found["stacks"]:
        expect(isinstance(described, list) and len(described) in (2, 3), "a tensor without a type")
        name = described[0]
        expect(isinstance(name, str) and name not in stacks, "a tensor that stands twice")
        stacks[name] = _audit_stack(file, name, described[1:], n)
    named = {PREFIX + name for name in stacks}
    found_there = {name for name in file.entries if name.startswith(PREFIX)}
    expect(named == found_there, "other tensors than its document says")
    return stacks


def _audit_stack(file: Container, name: str, described: list[Any], n: int) -> Stack:
    entry, dtype = file.entries.get(PREFIX + name), torch_type(described[0])
    if entry is None:
        raise Fault(f"no tensor {short(name)}")
    if len(described) == 2:
        shape = tuple(sizes_of(described[1]))
        size = int(np.prod(shape, dtype=object)) * dtype.itemsize
        expect(entry.dtype == np.uint8 and entry.shape == (n * size,), f"a lie of {short(name)}")
        return Stack(dtype, shape, entry)
    expect(entry.dtype.name == described[0], f"another type of {short(name)} than it says")
    expect(entry.shape[:1] == (n,), f"other snapshots of {short(name)} than of the others")
    shape = entry.shape[1:]
    return Stack(dtype, shape[::-1] if len(shape) == 2 else shape, entry)


def _n_per_cycle(values: Options, estimator: NetParameters | None) -> int:
    """Return the snapshots that each chain takes in a cycle; files of earlier versions have one."""
    name = "snapshots_per_cycle"
    if estimator is not None:
        return int(estimator._made_of()[name])
    made_of, parameters = values["made_of"], values["estimator"]["parameters"]
    found = parameters[name] if name in made_of["same"] else made_of["other"].get(name, 1)
    integer(1, 1 << 20)(found, name)
    return int(found)


def _check_together(values: Options, n_per_cycle: int) -> None:
    """Check that cycles, chains, classes and outputs are as many everywhere."""
    weights, chosen = values["stage_weights"], values["chosen"].fields
    n_cycles = len(weights)
    expect(n_cycles >= 1 and weights.shape == (n_cycles, n_cycles), "weights of no cycles")
    expect(not np.triu(weights, 1).any(), "weights of cycles yet to come")
    expect(np.allclose(weights.sum(axis=1), 1, atol=1e-6), "weights that do not sum to 1")
    n_snapshots = len(values["snapshots"]["places"])
    expect(
        n_cycles * chosen["n_chains"] * n_per_cycle == n_snapshots,
        "snapshots that are not as many as weights",
    )
    verdict, targets = values["verdict"], values["targets"]
    if verdict is None:
        return
    expect(len(verdict.fields["cycle_scores"]) == n_cycles, "scores that are not as many as cycles")
    if verdict.fields["conformity"] is not None:
        _check_conformity(verdict.fields["conformity"].fields, targets, chosen["n_chains"])
    predictions = verdict.fields["predictions"]
    if targets.tag in ("ClassTargets", "LabelTargets") and predictions is not None:
        is_one = targets.tag == "ClassTargets"
        width = len(targets.fields["classes"]) if is_one else targets.fields["n_labels"]
        expect(predictions.ndim == 2 and predictions.shape[1] == width, "predictions of no classes")


def _check_conformity(conformity: Options, targets: Any, n_chains: int) -> None:
    """Check that folds are those of chains, and scores those of classes or outputs."""
    fold, labels, width = conformity["fold"], conformity["labels"], conformity["scores"].shape[1]
    expect(fold is None or are_below(fold, n_chains), "a fold that there is not")
    if targets.tag == "QuantileTargets":
        n_values = len(targets.fields["center"]) * (1 + len(targets.fields["levels"]))
        expect(labels is None and width == n_values, "scores of other outputs")
        return
    expect((conformity["scores"] >= 0).all(), "scores below 0")
    if targets.tag == "ClassTargets":
        expect(labels is not None and width == 2, "scores of no classes")
        expect(are_below(labels, len(targets.fields["classes"])), "a class that there is not")
    elif targets.tag == "LabelTargets":
        expect(labels is None, "classes of labels")
        expect(width == 2 * targets.fields["n_labels"], "scores of other labels")
        expect(bool((conformity["scores"] <= 1).all()), "scores that are no probabilities")
    else:
        expect(labels is None, "classes of values")
        expect(width == 2 * len(targets.fields["center"]), "scores of other outputs")


def check_trust(audited: Audited, module: ModuleLike | None, trusted: Collection[str]) -> None:
    """Refuse names that nobody trusts, with what to pass."""
    values = audited.values
    names = {*untrusted([values["chosen"], values["training"], values["state"]], trusted)}
    own: list[str] = []
    if "estimator" in values:
        cls = values["estimator"]["class"]
        if "." in cls:
            names |= {*untrusted(Foreign("name", cls, None), trusted)}
        for parameters in (values["estimator"]["parameters"], values["made_of"]["other"]):
            others = {name: value for name, value in parameters.items() if name != "module"}
            names |= {*untrusted(others, trusted)}
            if module is None:
                own += _untrusted_module(parameters, trusted)
    if not names and not own:
        return
    needed = sorted({*names, *own})
    remedy = f"trusted={[*trusted, *needed]!r}"
    if needed == own:
        either = f"module={own[0].rpartition('.')[2]} or "
        # What was made within a function, or by lambda, cannot be found by its name.
        remedy = "module= the one that it was made with" if "<" in own[0] else either + remedy
    raise ValueError(
        f"Got path={short(audited.file.path)}, a file that needs {', '.join(map(repr, needed))}, "
        "but expected every name outside of skensemble to be trusted: a file could name any code. "
        f"Where you know who wrote it, pass {remedy}."
    )


def _untrusted_module(parameters: Options, trusted: Collection[str]) -> list[str]:
    """Return the names that the parameter `module` needs trust for."""
    given = parameters.get("module")
    if isinstance(given, Foreign) and any(name.startswith("module__") for name in parameters):
        given = given._replace(kind="name" if given.kind == "module" else given.kind)  # made anew
    return untrusted(given, trusted, is_module=True)
