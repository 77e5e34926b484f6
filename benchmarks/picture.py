"""Loss over fit time: ours, and what people use today.

``python -m benchmarks.picture`` draws it from the stored results, without a fit.
"""

import json
import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, NullLocator
from numpy import geomspace

from .comparison import Comparison, Rows
from .methods import METHODS

#: What is drawn, as far as it was timed: one star and six rivals.
DRAWN = ("ours", "catboost", "xgboost", "lightgbm", "hist", "mlp", "realmlp")

#: Colour (of Okabe and Ito, told apart by the colour-blind), marker and size by kind of method.
LOOKS = {
    "ours": ("#D55E00", "*", 380),
    "trees": ("#009E73", "s", 64),
    "network": ("#0072B2", "o", 72),
}

NAMES = {"trees": "gradient boosting", "network": "other networks"}

#: Where a label may stand beside its point, in units of the type size: right and left first.
PLACES = [
    (distance * math.cos(math.radians(angle)), distance * math.sin(math.radians(angle)))
    for distance in (0.8, 1.1, 1.5, 2.1, 2.8, 3.6, 4.5, 5.5, 6.5)
    for angle in (0, 180, 30, -30, 150, -150, 60, -60, 120, -120, 90, -90)
]


#: Points (seconds, relative loss, and the ends of its interval) by label.
Points = dict[str, tuple[float, float, float, float]]


def draw(comparison: Comparison, file: Path) -> None:
    """Write the picture of a comparison; methods without seconds are not in it."""
    draw_rows([comparison.row(label) for label in comparison.results], comparison.base, file)


def draw_rows(rows: Rows, base: str, file: Path) -> None:
    """Write the picture of the rows of "Methods", whose losses are relative to `base`."""
    points, kinds = _points(rows, base), {m.label: m.kind for m in METHODS.values()}
    # As wide as a page shows it, so that the type keeps its size.
    figure, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
    for label, (seconds, loss, low, high) in points.items():
        color, marker, size = LOOKS[kinds[label]]
        axes.plot([seconds, seconds], [low, high], color=color, alpha=0.25, linewidth=3, zorder=1)
        axes.scatter(seconds, loss, s=size, color=color, marker=marker, zorder=3, linewidth=0)
    axes.axhline(1, color="0.6", linewidth=0.8, zorder=0)
    axes.set(xscale="log", yscale="log")
    axes.margins(x=0.12, y=0.08)
    _percent_axis(axes, [value for point in points.values() for value in point[1:]])
    axes.set_xlabel("median fit time in seconds", fontsize=12)
    axes.set_ylabel(f"loss relative to {base}\n(bars: 95 % interval over tables)", fontsize=12)
    axes.spines[["top", "right"]].set_visible(False)
    for kind, name in NAMES.items():
        color, marker, size = LOOKS[kind]
        axes.scatter([], [], s=size, color=color, marker=marker, linewidth=0, label=name)
    axes.legend(frameon=False, loc="upper left", fontsize=12)
    figure.draw_without_rendering()
    _place_labels(axes, points, kinds)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=200)
    plt.close(figure)


def _points(rows: Rows, base: str) -> Points:
    """Return the points of those rows that are drawn and have seconds."""
    drawn = {METHODS[name].label for name in DRAWN if name in METHODS}
    points = {}
    for row in rows:
        if row["method"] in drawn and row["fit, s"] != "":
            loss, low, high = (1 + row[k] / 100 for k in (f"loss / {base}, %", "low", "high"))
            points[row["method"]] = (row["fit, s"], loss, low, high)
    return points


def _percent_axis(axes: Any, ratios: list[float]) -> None:
    """Set ticks at round per cents within what is drawn."""
    steps = (-75, -50, -40, -30, -20, -10, 0, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500)
    low, high = min(ratios, default=1) * 0.95, max(ratios, default=1) * 1.05
    axes.set_yticks([1 + p / 100 for p in steps if low <= 1 + p / 100 <= high])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda ratio, _: _percent(ratio)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
    axes.tick_params(labelsize=12)


def _percent(ratio: float) -> str:
    percent = round(100 * (ratio - 1))
    return f"{percent:+} %".replace("-", "−") if percent else "0"


def _place_labels(axes: Any, points: Points, kinds: dict[str, str]) -> None:
    """Put each label at the first place where it covers no point and no other label."""
    renderer = axes.figure.canvas.get_renderer()
    taken = [axes.get_legend().get_window_extent(renderer)]
    at = {label: _along_bar(axes, *point) for label, point in points.items()}
    # Ours has the best place.
    for label in sorted(points, key=lambda label: kinds[label] != "ours"):
        others = [point for name, bar in at.items() if name != label for point in bar]
        for place in PLACES:
            text = _label(axes, label, points[label][:2], place, kinds[label])
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


def _along_bar(axes: Any, seconds: float, loss: float, low: float, high: float) -> Any:
    """Return a point and others along its bar, in pixels."""
    return axes.transData.transform([(seconds, y) for y in (loss, *geomspace(low, high, 20))])


def _label(axes: Any, label: str, point: Any, place: tuple[float, float], kind: str) -> Any:
    """Draw a label at a place beside its point, with a line to it if it is far."""
    x, y = place
    is_ours = kind == "ours"
    size = 17 if is_ours else 12
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


def _stored(file: Path) -> tuple[Rows, str]:
    """Return the rows of "Methods" that a run has stored first, and what they are relative to."""
    rows: dict[str, Rows] = json.loads(file.read_text())["rows"]
    methods = next(rows[title] for title in rows if title.startswith("Methods"))
    column = next(name for name in methods[0] if name.startswith("loss / "))
    return methods, column.removeprefix("loss / ").removesuffix(", %")


if __name__ == "__main__":
    TOP = Path(__file__).parent.parent
    stored = _stored(TOP / "benchmarks" / "results" / "accuracy.json")
    draw_rows(*stored, TOP / "docs" / "images" / "accuracy.png")
