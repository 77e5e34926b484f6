"""Warnings point at the user's line."""

import inspect
import threading
import warnings

import pytest

from skensemble import SnapshotEnsembleClassifier
from skensemble._data.folds import clip
from skensemble._warnings import own_filters, warn


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


def test_filters_of_threads_that_overlap_are_put_back():
    before, first_is_in, second_waits = list(warnings.filters), threading.Event(), threading.Event()

    def first():
        with own_filters():
            warnings.simplefilter("ignore")
            first_is_in.set()
            second_waits.wait(1)

    def second():
        first_is_in.wait(1)
        second_waits.set()
        with own_filters():
            warnings.simplefilter("error")

    threads = [threading.Thread(target=run) for run in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before
