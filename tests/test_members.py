"""Which members count, and their combination."""

import numpy as np
import pytest
import torch

from skensemble.members import average, cycle_weights, majority


@pytest.mark.parametrize(
    ("members", "expected"),
    [("all", [0.25] * 4), (2, [0, 0, 0.5, 0.5]), (9, [0.25] * 4), (1, [0, 0, 0, 1])],
)
def test_weights_of_cycles(members, expected):
    np.testing.assert_array_equal(cycle_weights(members, 4), expected)


def test_average_is_numpy_average():
    outputs = np.random.default_rng(0).random((3, 5, 2))
    weights = np.array([0.2, 0.3, 0.5])
    expected = np.average(outputs, axis=0, weights=weights)
    averaged = average(torch.from_numpy(outputs), torch.from_numpy(weights[None]))
    np.testing.assert_allclose(averaged[0], expected)


def test_majority_counts_votes_and_a_tie_goes_to_the_first_class():
    votes = [[2, 0, 1], [2, 1, 0], [1, 0, 2], [0, 1, 1]]  # member, row
    probabilities = torch.eye(3, dtype=torch.float64)[torch.tensor(votes)]
    counted = majority(probabilities, torch.full((1, 4), 0.25, dtype=torch.float64))[0].numpy()
    np.testing.assert_allclose(counted[0], [0.25, 0.25, 0.5])
    np.testing.assert_array_equal(counted.argmax(axis=1), [2, 0, 1])


def test_equal_sums_of_weights_tie_whatever_their_order():
    """0.1 + 0.2 is not 0.3 in floating point, but three tenths are three tenths."""
    weights = torch.tensor([[0.3, 0.1, 0.2]], dtype=torch.float64)
    probabilities = torch.eye(2, dtype=torch.float64)[torch.tensor([[0], [1], [1]])]
    counted = majority(probabilities, weights)[0]
    assert counted[0, 0] == counted[0, 1]
    assert counted.argmax(dim=1).tolist() == [0]
