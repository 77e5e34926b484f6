"""The picture of a range test."""

import numpy as np
import pytest
from conftest import Mlp

from skensemble import SnapshotEnsembleClassifier
from skensemble.display import LRRangeDisplay
from skensemble.model_selection import lr_range_test


def test_what_the_test_has_found_is_drawn(digits):
    model = SnapshotEnsembleClassifier(Mlp, random_state=0)
    found = lr_range_test(model, *digits, n_steps=80)
    for display in (
        LRRangeDisplay.from_range(found),
        LRRangeDisplay.from_estimator(model, *digits, n_steps=80),
    ):
        np.testing.assert_array_equal(display.line_.get_xdata(), found.lrs)
        np.testing.assert_array_equal(display.line_.get_ydata(), found.smoothed)
        np.testing.assert_array_equal(display.losses_line_.get_ydata(), found.losses)
        assert display.suggestion_line_.get_xdata()[0] == found.suggestion
        assert display.ax_.get_xscale() == "log"


def test_losses_far_above_the_first_are_beyond_the_edge():
    losses = [2.0, 1.0, 0.5, 1e6]
    display = LRRangeDisplay(lrs=[1, 2, 3, 4], losses=losses, smoothed=losses).plot()
    low, high = display.ax_.get_ylim()
    assert low < 0.5
    assert 2 < high < 4
    assert display.suggestion_line_ is None
    calm = LRRangeDisplay(lrs=[1, 2], losses=[2, 1], smoothed=[2, 1], suggestion=np.nan).plot()
    assert calm.suggestion_line_ is None
    assert calm.ax_.get_ylim()[1] > 2


@pytest.mark.parametrize("losses", [[], [1.0]])
def test_no_losses_and_too_few_are_refused(losses):
    lrs = [] if not losses else [0.1, 0.2]
    with pytest.raises(ValueError, match=r"Got lrs=.*, but expected rates, with a loss and a"):
        LRRangeDisplay(lrs=lrs, losses=losses, smoothed=losses).plot()
