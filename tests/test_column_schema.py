"""What was learned of columns, in files: a lie about it is refused."""

import numpy as np
import pytest
from file_models import fitted
from test_schema import record_of

from skensemble._persistence.column_schema import are_below
from skensemble._persistence.container import Fault
from skensemble._persistence.schema import audit_records
from skensemble._persistence.tree import Record


def test_places_are_below_a_bound():
    assert are_below(np.array([0, 2]), 3)
    assert are_below(np.array([], int), 0)
    assert not are_below(np.array([0, 3]), 3)


def lie(record, path, value):
    *way, last = path
    for step in way:
        record = record.fields[step] if isinstance(record, Record) else record[step]
    fields = record.fields if isinstance(record, Record) else record
    fields[last] = value(fields[last]) if callable(value) else value


LIES = {
    "n_outputs": (["encoder", "n_outputs"], 10**9),
    "origin": (["encoder", "origin"], lambda a: a + 100),
    "piece_of": (["encoder", "piece_of"], lambda a: a + 100),
    "low": (["encoder", "low"], lambda a: a[1:]),
    "slope": (["encoder", "slope"], lambda a: -a),
    "scale": (["encoder", "scale"], lambda a: a * 0),
    "center": (["encoder", "center"], lambda a: a * np.nan),
    "numbers": (["encoder", "numbers"], lambda a: a * 0),
    "a slice": (["encoder", "numbers"], slice(0, 10**9)),
    "missing": (["encoder", "missing"], lambda a: a + 1000),
    "lookup": (["encoder", "lookups", 0], lambda p: (p[0], p[1] + 1)),
    "lookup of another": (["encoder", "lookups", 0], lambda p: (p[0] + 1, p[1])),
    "short lookup": (["encoder", "lookups", 0], lambda p: (p[0], p[1][1:])),
    "no lookups": (["encoder", "lookups"], []),
    "categories": (["columns", "encoders", 4, "categories"], ["a"]),
    "columns": (["columns", "columns"], ["a"]),
    "names": (["columns", "encoders", 0, "names"], ["a", "b"]),
    "calendar parts": (["columns", "encoders", 6, "calendar", "parts"], [99]),
    "calendar ends": (["columns", "encoders", 6, "calendar", "last"], -1e300),
    "zone": (["columns", "encoders", 8, "zone"], "Nowhere/City"),
    "plain": (["columns", "is_plain"], True),
    "kind": (["columns", "encoders", 0, "kind"], "pickles"),
    "reading": (["columns", "encoders", 5, "reading", "thousands"], "x"),
    "row shape": (["row_shape"], (10**9,)),
    "n_features": (["n_features"], 3),
    "feature names": (["feature_names"], np.array(["a"], object)),
    "is_table": (["is_table"], False),
    "dtype": (["dtype"], None),
    "no encoder": (["encoder"], None),
}


@pytest.mark.parametrize("name", LIES)
def test_lies_about_columns_are_refused(name):
    kind = "array_categories" if name in ("piece_of", "low", "slope") else "frame_pandas"
    record = record_of(fitted(kind)[0]._fitted_.intake)
    audit_records(record)
    path, value = LIES[name]
    mutable = Record(record.tag, record.fields)
    lie(mutable, path, value)
    with pytest.raises(Fault):
        audit_records(mutable)
