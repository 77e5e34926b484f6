"""The objects of this package that stand in a file: what each holds, and what that may be.

A class is one :class:`~skensemble._persistence.checks.Kind` in :data:`KINDS`. What can be computed
from the rest is not written.
"""

from typing import Any

import numpy as np

from skensemble._data.assignment import Assignment
from skensemble._data.folds import Chosen
from skensemble._data.intake import Intake
from skensemble._types import Options
from skensemble._uncertainty.conformal import Conformity
from skensemble.weighing import Verdict

from .checks import (
    Check,
    Kind,
    boolean,
    by_name,
    either,
    expect,
    floats,
    integer,
    integers,
    maybe,
    pair,
    real,
    record,
    text,
    texts,
    torch_float,
    tuple_of,
)
from .column_schema import COLUMN_KINDS, are_below
from .container import Fault
from .target_schema import TARGET_KINDS
from .tree import Encoder, Foreign, Record


def _check_intake(f: Options) -> None:
    encoder, columns, n = f["encoder"], f["columns"], f["n_features"]
    expect(f["is_table"] == (encoder is not None), "a table without its columns, or the reverse")
    expect(columns is None or encoder is not None, "columns of what is no table")
    expect(isinstance(f["row_shape"], dict) == isinstance(f["kinds"], dict), "a row of two kinds")
    names = f["feature_names"]
    expect(names is None or len(names) == n, "names of features that are not as many as features")
    if encoder is None:
        return
    width = len(encoder.fields["center"]) + len(encoder.fields["lookups"])
    expect(f["row_shape"] == (width,), "rows that are not as wide as their columns")
    if columns is None:
        expect(not encoder.fields["lookups"], "categories of an array that has none")
        expect(n == width, "features that are not as many as columns")
        return
    expect(len(columns.fields["parts"]) == width, "columns that are not as many as they make")
    expect(n == len(columns.fields["columns"]), "features that are not as many as columns")
    codes = iter(encoder.fields["lookups"])
    place = 0
    for column in columns.fields["encoders"]:
        if column.tag == "CategoryColumn":
            j, lookup = next(codes, (None, ()))
            expect(j == place, "a category in another column than its codes")
            n_codes = len(column.fields["categories"])
            expect(len(lookup) == n_codes + 2, "codes that are not as many as categories")
        place += len(column.fields["names"])
    expect(next(codes, None) is None, "codes of a column that has no categories")


def _check_assignment(f: Options) -> None:
    n = len(f["shares"])
    expect(n >= 1 and len(f["starts"]) == n - 1, "folds that are not as many everywhere")
    expect(len(f["placed"]) == len(f["fold_of_placed"]), "folds that are not as many everywhere")
    expect(are_below(f["fold_of_placed"], n), "a fold that there is not")


def _check_verdict(f: Options) -> None:
    expect(f["temperature"] > 0, "a temperature of 0")


def _check_conformity(f: Options) -> None:
    others = [f[name] for name in ("fold", "labels", "weight") if f[name] is not None]
    expect(all(len(o) == len(f["scores"]) for o in others), "scores that are not as many as folds")


def _splitter(value: Any, name: str) -> None:
    """Take what validation= takes; what is foreign is looked up by its name, with trust."""
    is_plain = isinstance(value, str | int | float | None)
    # Nothing that is decoded has methods: it is the estimator's own.
    if is_plain or isinstance(value, Foreign) or hasattr(value, "get_n_splits"):
        return
    raise Fault(f"{name}={value!r}")


_shape: Check = either(tuple_of(integer(0)), by_name(lambda value, name: _shape(value, name)))
_kinds = either(text("float", "whole", "truth"), by_name(text("float", "whole", "truth")))
_positive = floats(1, 0, above=True)
_hashes = integers(1, 0, np.uint64)

#: By their names in a file.
KINDS: dict[str, Kind] = {
    **COLUMN_KINDS,
    **TARGET_KINDS,
    "Intake": Kind(
        Intake,
        {
            "is_table": boolean,
            "n_features": maybe(integer(0)),
            "feature_names": maybe(texts),
            "row_shape": _shape,
            "kinds": _kinds,
            "columns": maybe(record("Columns")),
            "encoder": maybe(record("TableEncoder")),
            "dtype": torch_float,
            "is_small": boolean,
        },
        _check_intake,
    ),
    "Chosen": Kind(
        Chosen,
        {
            "n_chains": integer(1, 1 << 20),
            "left_out_by": pair(text("groups", "single", "double", "rows"), _splitter),
            "assignment": maybe(record("Assignment")),
        },
    ),
    "Assignment": Kind(
        Assignment,
        {
            "shares": _positive,
            "is_by_row": boolean,
            "spread": _hashes,
            "placed": _hashes,
            "fold_of_placed": integers(1, 0),
            "starts": _hashes,
        },
        _check_assignment,
    ),
    "Verdict": Kind(
        Verdict,
        {
            "cycle_scores": floats(1),
            "predictions": maybe(either(floats(1, nan=True), floats(2, nan=True))),
            "r2": maybe(real()),
            "conformity": maybe(record("Conformity")),
            "temperature": real(0),
            "threshold": real(0, 1),
        },
        _check_verdict,
        late={"conformity": None, "temperature": 1.0, "threshold": 0.5},
    ),
    "Conformity": Kind(
        Conformity,
        {
            "fold": maybe(integers(1, 0, np.int32)),
            "scores": floats(2),
            "labels": maybe(integers(1, 0, np.int32)),
            "weight": maybe(_positive),
        },
        _check_conformity,
    ),
}

_TAGS = {kind.cls: tag for tag, kind in KINDS.items()}


def _plain_names(kind: Kind) -> dict[str, str]:
    """Return for each attribute its name in a file."""
    plain_names = [name.strip("_") for name in kind.fields]
    return {
        name: name.lstrip("_") if plain_names.count(short) > 1 else short
        for name, short in zip(kind.fields, plain_names, strict=True)
    }


def write_record(encoder: Encoder, value: Any) -> Options | None:
    """Write an object of this package; None where it is none."""
    tag = _TAGS.get(type(value))
    if tag is None:
        return None
    names = _plain_names(KINDS[tag])
    return {"$": tag, **{names[name]: encoder.encode(getattr(value, name)) for name in names}}


def audit_records(value: Any) -> None:
    """Check every object of ours within a value, and the values that it holds."""
    if isinstance(value, Record):
        for part in value.fields.values():
            audit_records(part)
        _audit(value)
    elif isinstance(value, dict):
        for part in value.values():
            audit_records(part)
    elif isinstance(value, list | tuple):
        for part in value:
            audit_records(part)


def _audit(value: Record) -> None:
    kind = KINDS.get(value.tag)
    if kind is None:
        raise Fault(f"an object of the unknown class {value.tag!r}")
    names = _plain_names(kind)
    for name in kind.late:
        value.fields.setdefault(names[name], kind.late[name])
    if {*names.values()} != value.fields.keys():
        raise Fault(f"other fields than those of {value.tag}")
    for name, check in kind.fields.items():
        check(value.fields[names[name]], f"{names[name]} of {value.tag}")
    kind.together(value.fields)


def make_record(value: Record) -> Any:
    """Make an object from its record, which was audited and whose parts are made."""
    kind = KINDS[value.tag]
    fields = {name: value.fields[short] for name, short in _plain_names(kind).items()}
    if issubclass(kind.cls, tuple):
        missing = {name: None for name in kind.cls.__annotations__ if name not in fields}  # type: ignore
        return kind.cls(**fields, **missing)
    made = object.__new__(kind.cls)
    made.__dict__.update(fields)
    kind.finish(made)
    return made
