"""What all pictures have in common."""

import ast
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb

import skensemble.display
from skensemble.display import (
    CycleCurveDisplay,
    InterpolationDisplay,
    IntervalDisplay,
    LearningRateDisplay,
    LRRangeDisplay,
    MembersDisplay,
)
from skensemble.display._axes import merged, neutral

#: One display of each class.
DISPLAYS = [
    CycleCurveDisplay(n_cycles=[1, 2], scores=[-0.3, -0.2], weights=[0.2, 0.8]),
    InterpolationDisplay(positions=[0, 0.5, 1], losses=[[0.3, 0.1, 0.2]], labels=["0 to 1"]),
    IntervalDisplay(y_true=[1.0, 2.0, 3.0], intervals=[[0, 2], [2.5, 3], [2, 4]], coverage=0.9),
    LearningRateDisplay(rates=[0.1, 0.05, 0.1, 0.05], cycle_ends=[2, 4], steps_per_epoch=2),
    LRRangeDisplay(lrs=[0.01, 0.1, 1], losses=[2, 1, 9], smoothed=[2, 1.5, 3], suggestion=0.01),
    MembersDisplay(agreement=np.eye(4) * 0.1 + 0.9, n_chains=2),
]
EACH = pytest.mark.parametrize("display", DISPLAYS, ids=lambda display: type(display).__name__)


def test_each_display_is_looked_at_here():
    assert {type(display).__name__ for display in DISPLAYS} == {*skensemble.display.__all__}


@EACH
def test_a_display_is_drawn_into_given_axes_or_its_own(display):
    own = display.plot()
    assert own is display
    assert own.figure_ is own.ax_.figure
    _, axes = plt.subplots(1, 2)
    assert display.plot(axes[1]).ax_ is axes[1]
    assert display.plot(ax=axes[0]).figure_ is axes[0].figure
    assert axes[0].get_xlabel()
    assert axes[0].get_ylabel()


@EACH
@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_all_that_is_drawn_shows_on_the_ground(display, style):
    with plt.style.context(style):
        ax = display.plot().ax_
        display.figure_.canvas.draw()
        ground = np.array(to_rgb(ax.get_facecolor()))
        for line in ax.lines:
            in_matrix = type(display) is MembersDisplay  # its lines are gaps between blocks
            contrast = np.abs(np.array(to_rgb(line.get_color())) - ground).max()
            assert in_matrix or contrast > 0.4, line
        assert np.abs(np.array(to_rgb(neutral(ax))) - ground).max() > 0.9


@EACH
def test_without_matplotlib_a_picture_says_what_to_install(display, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    name = type(display).__name__
    with pytest.raises(ImportError, match=rf'{name}\.plot needs.*pip install "skensemble\[plot\]"'):
        display.plot()


@pytest.mark.parametrize("path", sorted(Path(skensemble.display.__file__).parent.glob("*.py")))
def test_matplotlib_is_imported_where_pictures_are_drawn_alone(path):
    """A picture that nobody draws costs no import, and needs no installation."""
    for node in ast.parse(path.read_text()).body:
        assert "matplotlib" not in ast.unparse(node) or not isinstance(
            node, ast.Import | ast.ImportFrom
        )


def test_arguments_of_an_artist_replace_ours_under_both_names():
    ours = {"color": "C0", "linewidth": 1}
    assert merged(ours, None) == ours
    assert merged(ours, {"c": "red", "lw": 3}) == {"color": "red", "linewidth": 3}
    display = DISPLAYS[3].plot(line_kw={"c": "red", "ls": ":"})
    assert display.line_.get_color() == "red"
    assert display.line_.get_linestyle() == ":"
