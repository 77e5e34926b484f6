"""What files say of y is refused where it cannot be."""

import dataclasses

import numpy as np
import pytest
from file_models import fitted
from test_schema import record_of

from skensemble._persistence.container import Fault
from skensemble._persistence.schema import audit_records
from skensemble._persistence.target_schema import TARGET_KINDS


@pytest.mark.parametrize("kind", TARGET_KINDS.values(), ids=TARGET_KINDS)
def test_every_field_of_a_class_is_written(kind):
    assert {field.name for field in dataclasses.fields(kind.cls)} == {*kind.fields}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("labels_text", {"classes": np.array(["a"])}),
        ("labels_several", {"n_labels": None}),
        ("labels_several", {"n_labels": 1}),
        ("labels_several", {"n_labels": 2**40}),
        ("labels_several", {"calibrate": "often"}),
        ("regressor", {"scale": np.zeros(1)}),
    ],
)
def test_lies_are_refused(name, change):
    record = record_of(fitted(name)[0]._fitted_.targets)
    audit_records(record)
    with pytest.raises(Fault):
        audit_records(record._replace(fields={**record.fields, **change}))
