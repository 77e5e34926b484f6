"""Probabilities in place of labels."""

import numpy as np
import pytest
import torch
from torch import nn

from skensemble._data.label_targets import LabelTargets
from skensemble._data.soft_targets import SoftClasses, SoftLabels, soft
from skensemble._data.targets import ClassTargets

P = np.array([[0.25, 0.75], [1.0, 0.0]])


@pytest.mark.parametrize(
    ("known", "kind", "criterion"),
    [
        (ClassTargets(classes=np.array(["a", "b"])), SoftClasses, nn.CrossEntropyLoss),
        (LabelTargets(n_labels=2), SoftLabels, nn.BCEWithLogitsLoss),
    ],
)
def test_probabilities_are_handed_to_the_loss_as_they_are(known, kind, criterion):
    targets = soft(known)
    assert type(targets) is kind
    learned, y = targets.learn(P, None)
    assert learned.n_outputs == 2
    assert learned.default_criterion is criterion
    assert learned.weigh(y, None) is None
    output = torch.randn(2, 2)
    tensor = learned.tensor(y, output)
    assert tensor.dtype == output.dtype
    np.testing.assert_array_equal(tensor.numpy(), P.astype(np.float32))
    assert learned.resume(learned, P, None)[0] == learned == learned.adopt(learned)
    np.testing.assert_array_equal(learned.truth(y), P)
    values = learned.values(output[None])
    assert torch.equal(values, known.values(output[None]))
    np.testing.assert_array_equal(learned.decode(P), known.decode(P))
    np.testing.assert_array_equal(learned.shape_unseen(P), P)
    with pytest.raises(ValueError, match="expected"):
        learned.check_output(torch.zeros(2, 3), "Mine", 2)
