"""Scores of prediction sets."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, recall_score

from skensemble.metrics import mean_set_size, set_coverage_score

RNG = np.random.default_rng(0)
NAMES = np.array(["a", "b", "c"])


def test_sets_of_one_class_have_the_accuracy_and_the_recalls():
    y, predicted, weight = RNG.choice(NAMES, 90), RNG.choice(NAMES, 90), RNG.random(90)
    sets = predicted[:, None] == NAMES
    expected = accuracy_score(y, predicted, sample_weight=weight)
    assert set_coverage_score(y, sets, sample_weight=weight) == pytest.approx(expected)
    for average in ("macro", None):
        expected = recall_score(y, predicted, average=average, sample_weight=weight)
        found = set_coverage_score(y, sets, average=average, sample_weight=weight)
        np.testing.assert_allclose(found, expected)
    assert mean_set_size(sets, sample_weight=weight) == pytest.approx(1)


def test_whole_and_empty_sets():
    y = RNG.choice(NAMES, 90)
    for value in (0, 1):
        sets = np.full((90, 3), bool(value))
        assert set_coverage_score(y, sets) == value
        assert mean_set_size(sets) == 3 * value


def test_weights_are_as_repeated_rows():
    y, sets, times = RNG.choice(NAMES, 90), RNG.random((90, 3)) < 0.5, RNG.integers(0, 3, 90)
    again = np.repeat(sets, times, axis=0)
    for average in ("micro", "macro"):
        expected = set_coverage_score(np.repeat(y, times), again, average=average)
        found = set_coverage_score(y, sets, average=average, sample_weight=times)
        assert found == pytest.approx(expected)
    assert mean_set_size(sets, sample_weight=times) == pytest.approx(mean_set_size(again))


def test_a_class_without_rows_has_no_coverage():
    y, sets = ["c", "a"], [[True, False, False], [True, True, False]]
    each = set_coverage_score(y, sets, labels=NAMES, average=None)
    np.testing.assert_array_equal(each, [1, np.nan, 0])
    assert set_coverage_score(y, sets, labels=NAMES, average="macro") == 0.5
    assert set_coverage_score(y, sets, labels=["c", "a", "b"]) == 1


def test_wrong_arguments_are_named():
    for sets in (np.full((2, 2), 0.5), [True, False], np.zeros((0, 2), bool)):
        with pytest.raises(ValueError, match=r"Got sets of shape .* but expected bool of shape"):
            mean_set_size(sets)
    with pytest.raises(ValueError, match="Got average='weighted', but expected one of 'micro'"):
        set_coverage_score(["a", "b"], np.eye(2, dtype=bool), average="weighted")
