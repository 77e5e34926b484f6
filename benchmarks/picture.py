"""Loss over fit time, with a point for each method."""

import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, NullLocator

from .comparison import Comparison

#: Colour (of Okabe and Ito, told apart by the colour-blind), marker and size by kind of method.
LOOKS = {
    "ours": ("#D55E00", "*", 240),
    "variant": ("#E69F00", "D", 38),
    "trees": ("#009E73", "s", 42),
    "network": ("#0072B2", "o", 46),
}

NAMES = {"variant": "variants of ours", "trees": "trees", "network": "other networks"}

#: Where a label may stand beside its point, in units of the type size: right and left first.
PLACES = [
    (distance * math.cos(math.radians(angle)), distance * math.sin(math.radians(angle)))
    for distance in (0.8, 1.1, 1.5, 2.1, 2.8, 3.6, 4.5, 5.5, 6.5)
    for angle in (0, 180, 30, -30, 150, -150, 60, -60, 120, -120, 90, -90)
]


def draw(comparison: Comparison, file: Path) -> None:
    """Write the picture; methods without seconds are not in it."""
    points = _points(comparison)
    figure, axes = plt.subplots(figsize=(8, 5.2), layout="constrained")
    for label, (seconds, loss, low, high) in points.items():
        color, marker, size = LOOKS[comparison.methods[label].kind]
        axes.plot([seconds, seconds], [low, high], color=color, alpha=0.25, linewidth=2, zorder=1)
        axes.scatter(seconds, loss, s=size, color=color, marker=marker, zorder=3, linewidth=0)
    axes.axhline(1, color="0.6", linewidth=0.8, zorder=0)
    axes.set(xscale="log", yscale="log")
    axes.margins(x=0.12, y=0.08)
    _percent_axis(axes, [value for point in points.values() for value in point[1:]])
    axes.set_xlabel("median fit time, s")
    axes.set_ylabel(f"loss relative to {comparison.base}\n(geometric mean; bars: 95 % over tables)")
    axes.spines[["top", "right"]].set_visible(False)
    for kind, name in NAMES.items():
        color, marker, size = LOOKS[kind]
        axes.scatter([], [], s=size, color=color, marker=marker, linewidth=0, label=name)
    axes.legend(frameon=False, loc="best", fontsize=9)
    figure.draw_without_rendering()
    _place_labels(axes, {label: point[:2] for label, point in points.items()}, comparison)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=150)
    plt.close(figure)


def _points(comparison: Comparison) -> dict[str, tuple[float, float, float, float]]:
    """Return seconds, relative loss and the ends of its interval for each method with seconds."""
    points = {}
    for label in comparison.results:
        seconds = comparison.seconds(label)[0]
        if seconds != "":
            row = comparison.row(label)
            loss = 1 + row[f"loss / {comparison.base}, %"] / 100
            points[label] = (seconds, loss, 1 + row["low"] / 100, 1 + row["high"] / 100)
    return points


def _percent_axis(axes: Any, ratios: list[float]) -> None:
    """Set ticks at round per cents within what is drawn."""
    steps = (-75, -60, -50, -40, -30, -20, -10, 0, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500)
    low, high = min(ratios, default=1) * 0.95, max(ratios, default=1) * 1.05
    axes.set_yticks([1 + p / 100 for p in steps if low <= 1 + p / 100 <= high])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda ratio, _: _percent(ratio)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))


def _percent(ratio: float) -> str:
    percent = round(100 * (ratio - 1))
    return f"{percent:+} %".replace("-", "−") if percent else "0"


def _place_labels(
    axes: Any, points: dict[str, tuple[float, float]], comparison: Comparison
) -> None:
    """Put each label at the first place where it covers no point and no other label."""
    renderer = axes.figure.canvas.get_renderer()
    taken = [axes.get_legend().get_window_extent(renderer)]
    at = {label: axes.transData.transform(point) for label, point in points.items()}
    # Ours has the best place.
    for label in sorted(points, key=lambda label: comparison.methods[label].kind != "ours"):
        others = [point for name, point in at.items() if name != label]
        for place in PLACES:
            text = _label(axes, label, points[label], place, comparison.methods[label].kind)
            text.update_positions(renderer)
            box = Text.get_window_extent(text, renderer).padded(2)  # without the line to it
            inside = axes.get_window_extent(renderer)
            is_free = (
                inside.x0 <= box.x0 <= box.x1 <= inside.x1
                and inside.y0 <= box.y0 <= box.y1 <= inside.y1
                and not any(box.padded(4).contains(*point) for point in others)
                and not any(box.overlaps(other) for other in taken)
            )
            if is_free or place == PLACES[-1]:
                taken.append(box)
                break
            text.remove()


def _label(axes: Any, label: str, point: Any, place: tuple[float, float], kind: str) -> Any:
    """Draw a label at a place beside its point, with a line to it if it is far."""
    x, y = place
    is_ours = kind == "ours"
    size = 12 if is_ours else 9
    text = axes.annotate(
        label,
        point,
        xytext=(x * size, y * size),
        textcoords="offset points",
        ha="center" if abs(x) < 1e-9 else "left" if x > 0 else "right",
        va="center" if abs(y) < 1e-9 else "bottom" if y > 0 else "top",
        fontsize=size,
        fontweight="bold" if is_ours else "normal",
        color=LOOKS[kind][0] if is_ours else "0.15",
        arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.6}
        if math.hypot(x, y) > 1.3
        else None,
        zorder=4,
    )
    # Legible over lines.
    text.set_path_effects([withStroke(linewidth=2.5, foreground="white")])
    return text
