"""The curves of Huang et al. 2017: the first k snapshots averaged, and the last k.

``python -m benchmarks.image_curves`` draws them from the stored results, without a fit.
"""

import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt

Rows = list[dict[str, Any]]

#: End of the titles of these rows.
TITLE = ": snapshots, first and last"

#: Colour (of Okabe and Ito) and marker.
LOOKS = {"first": ("#0072B2", "o"), "last": ("#D55E00", "s")}


def draw(curves: dict[str, Rows], file: Path) -> None:
    """Write the picture: a column for each set of images, error above log-loss."""
    size = (3 * len(curves), 5)
    figure, axes = plt.subplots(2, len(curves), figsize=size, sharex=True, layout="constrained")
    for (name, rows), column in zip(curves.items(), axes.T, strict=True):
        column[0].set_title(name)
        for ax, figure_name in zip(column, ("error, %", "log-loss"), strict=True):
            for which, (color, marker) in LOOKS.items():
                values = [row[f"{which} k, {figure_name}"] for row in rows]
                numbers = [row["snapshots"] for row in rows]
                ax.plot(numbers, values, color=color, marker=marker, label=f"{which} k of 8")
            ax.spines[["top", "right"]].set_visible(False)
            ax.set_ylim(0, 1.08 * ax.get_ylim()[1])
        column[1].set_xlabel("k, snapshots averaged")
    axes[0, 0].set_ylabel("test error, %")
    axes[1, 0].set_ylabel("test log-loss")
    axes[0, -1].legend(frameon=False)
    figure.savefig(file, dpi=150)
    plt.close(figure)


if __name__ == "__main__":
    TOP = Path(__file__).parent.parent
    stored = json.loads((TOP / "benchmarks" / "results" / "images_claims.json").read_text())["rows"]
    found = {t.removesuffix(TITLE): rows for t, rows in stored.items() if t.endswith(TITLE)}
    draw(found, TOP / "docs" / "images" / "first_and_last_snapshots.png")
