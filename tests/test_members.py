"""Which members count, and their combination."""

import numpy as np
import pytest

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
    np.testing.assert_allclose(average(outputs, weights), expected)


def test_majority_counts_votes_and_a_tie_goes_to_the_first_class():
    votes = [[2, 0, 1], [2, 1, 0], [1, 0, 2], [0, 1, 1]]  # member, row
    probabilities = np.eye(3)[np.array(votes)]
    counted = majority(probabilities, np.full(4, 0.25))
    np.testing.assert_allclose(counted[0], [0.25, 0.25, 0.5])
    np.testing.assert_array_equal(counted.argmax(axis=1), [2, 0, 1])


def test_equal_sums_of_weights_tie_whatever_their_order():
    """0.1 + 0.2 is not 0.3 in floating point, but three tenths are three tenths."""
    weights = np.array([0.3, 0.1, 0.2, 0.4])
    probabilities = np.eye(2)[np.array([[0], [1], [1], [0]])]
    probabilities[3] = 0.5  # whose vote goes to the first class
    counted = majority(probabilities[:3], weights[:3])
    assert counted[0, 0] == counted[0, 1]
    assert counted.argmax(axis=1) == [0]
