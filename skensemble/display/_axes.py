"""Where pictures are drawn, and what they have in common. Only plots import matplotlib."""

from types import ModuleType
from typing import Any, TypeAlias

from skensemble._types import Options

#: Axes, a figure or another object of matplotlib, which need not be installed.
Axes: TypeAlias = Any
Figure: TypeAlias = Any
Artist: TypeAlias = Any


def import_pyplot(caller: str) -> ModuleType:
    """Return ``matplotlib.pyplot``; say how to install it where it is missing."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{caller}.plot needs matplotlib, which is not installed: "
            'pip install "skensemble[plot]".'
        ) from error
    return plt


def open_axes(display: Any, ax: Axes | None) -> Axes:
    """Return the axes to draw a display into, made where none are given, and note them there."""
    plt = import_pyplot(type(display).__name__)
    if ax is None:
        _, ax = plt.subplots(layout="constrained")
        ax.spines[["top", "right"]].set_visible(False)
    display.ax_, display.figure_ = ax, ax.figure
    return ax


def neutral(ax: Axes) -> Any:
    """Return the colour of the text beside the axes: it shows on a light and on a dark ground."""
    return ax.xaxis.label.get_color()


def merged(defaults: Options, given: Options | None) -> Options:
    """Return a user's arguments of an artist over ours, whichever of two names they go by."""
    names = {"c": "color", "lw": "linewidth", "ls": "linestyle", "ms": "markersize"}
    return {**defaults, **{names.get(name, name): value for name, value in (given or {}).items()}}
