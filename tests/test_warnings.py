"""Warnings point at the user's line."""

import inspect
import warnings

import pytest

from skensemble import SnapshotEnsembleClassifier
from skensemble._data.folds import clip
from skensemble._warnings import warn


def line_here():
    return inspect.currentframe().f_back.f_lineno


def test_a_warning_points_at_the_line_that_led_here():
    with pytest.warns(RuntimeWarning, match="told") as told:
        warn("told", RuntimeWarning)
    assert (told[0].filename, told[0].lineno) == (__file__, line_here() - 1)


def test_a_warning_from_deep_within_points_at_the_call(iris):
    with pytest.warns(UserWarning, match="n_rows=5") as told:
        assert clip("n_rows", 5, 3, "things") == 3
    assert (told[0].filename, told[0].lineno) == (__file__, line_here() - 1)
    model = SnapshotEnsembleClassifier(n_cycles=9, max_epochs=2, batch_size=150, n_chains=1)
    with pytest.warns(UserWarning, match="n_cycles=9") as told:
        model.fit(*iris)
    assert (told[0].filename, told[0].lineno) == (__file__, line_here() - 1)


def test_a_warning_is_told_once_a_line():
    """Python's own default, which needs the right line."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for _ in range(2):
            clip("n_rows", 5, 3, "things")
        clip("n_rows", 5, 3, "things")
    assert len(told) == 2
