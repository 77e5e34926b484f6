"""Objects of this package in files: whole when they come back, and refused when they lie."""

import json

import numpy as np
import pytest
from file_models import fitted

from skensemble._persistence.container import Fault
from skensemble._persistence.foreign import Maker
from skensemble._persistence.saving import _write_other
from skensemble._persistence.schema import KINDS, audit_records, make_record, write_record
from skensemble._persistence.tree import Decoder, Encoder, Record


def record_of(value):
    encoder = Encoder(_write_other)
    tree = json.loads(json.dumps(encoder.encode(value)))
    return Decoder(encoder.arrays).decode(tree)


def equal(one, other):
    """Whether two objects hold the same, to the bit."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(
            one, other, equal_nan=one.dtype.kind == "f"
        )
    if type(one) is not type(other):
        return {type(one), type(other)} <= {int, np.int64} and one == other
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    if hasattr(one, "__dict__") and type(one).__module__.startswith("skensemble"):
        return equal(vars(one), vars(other))
    return one == other or one is other


@pytest.mark.parametrize(
    "name",
    ["frame_pandas", "frame_polars", "array_categories", "table_huge", "regressor_several",
     "module_dict", "held_out", "folds_of_groups", "weights_of_texts", "frame_named_categories"],
)  # fmt: skip
def test_what_was_learned_comes_back_whole(name):
    model = fitted(name)[0]._fitted_
    learned = {
        "intake": model.intake, "targets": model.targets, "verdict": model.verdict,
        "chosen": model.resume.chosen._replace(folds=None),
    }  # fmt: skip
    record = record_of(learned)
    audit_records(record)
    made = Maker((), make_record).make(record)
    if name == "folds_of_groups":  # a splitter is another object
        made["chosen"] = made["chosen"]._replace(left_out_by=learned["chosen"].left_out_by)
    assert equal(made, learned)


def test_every_attribute_of_a_class_is_written_or_computed():
    """A new attribute must stand in the schema, or it is lost."""
    computed = {
        "Columns": {"names_", "categories_", "is_categorical_"}, "CategoryColumn": {"codes"},
        "Chosen": {"folds"},
    }  # fmt: skip
    seen = set()
    names = ["frame_pandas", "array_categories", "held_out", "regressor", "labels_several"]
    names += ["regressor_of_quantiles", "regressor_of_amounts", "regressor_by_name"]
    for name in names:
        model = fitted(name)[0]._fitted_
        intake, chosen = model.intake, model.resume.chosen
        found = [intake, model.targets, chosen, chosen.assignment, model.verdict, intake.columns]
        found.append(None if model.verdict is None else model.verdict.conformity)
        found += [intake.encoder, *intake.encoder.categories_]
        if intake.columns is not None:
            encoders = intake.columns.encoders
            found += [*encoders, *(e.reading for e in encoders)]
            found += [e.calendar for e in encoders if e.kind == "dates"]
        for value in (value for value in found if value is not None):
            tag = record_of(value).tag
            seen.add(tag)
            fields = value._fields if isinstance(value, tuple) else vars(value)
            assert set(fields) == {*KINDS[tag].fields, *computed.get(tag, ())}, tag
    assert seen == {*KINDS}


def test_lies_about_targets_and_folds_are_refused():
    for name, change in [
        ("labels_text", {"classes": np.array(["a"])}), ("labels_text", {"classes": None}),
        ("weights", {"by_class": np.ones(9)}), ("regressor", {"center": np.ones(2)}),
        ("regressor", {"scale": np.zeros(1)}), ("regressor", {"spread": None}),
        ("regressor_of_quantiles", {"levels": (0.5, 0.5)}),
        ("regressor_of_quantiles", {"levels": (0.5,)}),
        ("regressor_of_quantiles", {"levels": (0.0, 0.5)}),
        ("regressor_of_amounts", {"loss": "normal"}), ("regressor_by_name", {"argument": -1.0}),
    ]:  # fmt: skip
        record = record_of(fitted(name)[0]._fitted_.targets)
        with pytest.raises(Fault):
            audit_records(record._replace(fields={**record.fields, **change}))
    record = record_of(fitted("held_out")[0]._fitted_.resume.chosen)
    for change in ({"n_chains": 0}, {"n_chains": 10**9}, {"left_out_by": ("rows", [1])}):
        with pytest.raises(Fault):
            audit_records(record._replace(fields={**record.fields, **change}))
    for change in ({"fold_of_placed": np.array([5])}, {"starts": np.zeros(9, np.uint64)}):
        inner = record.fields["assignment"]
        with pytest.raises(Fault):
            audit_records(inner._replace(fields={**inner.fields, **change}))


def test_what_is_not_ours_is_no_record():
    assert write_record(Encoder(_write_other), object()) is None
    with pytest.raises(Fault, match="unknown class"):
        audit_records([Record("Nothing", {})])
    with pytest.raises(Fault, match="other fields"):
        audit_records(Record("Reading", {}))
