"""Names of other libraries: each leads to one that exists here."""

import re

import pytest

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble.foreign_names import FOREIGN, FOREIGN_LOSSES, INSTEAD_OF
from skensemble.keywords import PREFIXES

KINDS = [SnapshotEnsembleClassifier, SnapshotEnsembleRegressor]


def test_no_foreign_name_is_one_of_ours():
    names = set.union(*({*kind().get_params()} for kind in KINDS))
    assert not names & FOREIGN.keys()
    # A classifier has methods that a regressor is told to go without.
    assert not any(all(hasattr(kind, name) for kind in KINDS) for name in INSTEAD_OF)


@pytest.mark.parametrize("ours", sorted(set(FOREIGN.values())))
def test_every_foreign_name_leads_to_parameters_that_exist(ours):
    names = set.union(*({*kind().get_params()} for kind in KINDS)) | {"fit"}
    first = re.match(r"\w+", ours)[0]
    assert first in names or first.partition("__")[0] in PREFIXES


def test_losses_and_attributes_lead_somewhere():
    assert FOREIGN_LOSSES["log_loss"] == "crossentropy"
    assert "get_params()['transform']" in INSTEAD_OF["transform"]
    with pytest.raises(AttributeError, match=r"take get_params\(\)\['transform'\]"):
        _ = SnapshotEnsembleClassifier().transform
    with pytest.raises(ValueError, match="Did you mean transform"):
        SnapshotEnsembleClassifier(augmentation=None).fit([[0], [1]], [0, 1])
