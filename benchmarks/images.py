"""The paper's table on images that packages ship: snapshots, their relatives, and what was claimed.

Every method trains the same network on the same rows and batches of one size, by SGD with momentum,
for as many epochs as the others; only those that say so get several budgets.
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t
from threadpoolctl import threadpool_limits

from skensemble.metrics import disagreement_score, expected_calibration_error

from .cache import Cache, Result
from .image_sets import SETS, Images
from .image_ways import WAYS
from .methods import source_digest, version_of
from .scores import log_loss
from .timing import seconds_of, use_threads

Rows = list[dict[str, Any]]
#: What each seed gave, by the way.
Results = dict[str, list[Result]]

#: Figures of the table.
FIGURES = ("error, %", "log-loss", "ECE, %")

#: How far members are apart: the share of the rows for which two of them name other classes.
APART = "members apart, %"

NO_CYCLES = "5 snapshots without cycles"
DEEP = "deep ensemble, 5 budgets"


class Claim(NamedTuple):
    """What Huang et al. 2017 claim: one way has a lower figure than another."""

    says: str
    #: The figure, as the table calls it.
    by: str
    better: str
    worse: str
    of_better: Callable[[Result], float]
    of_worse: Callable[[Result], float]


def claim(says: str, better: str, worse: str, by: str, sign: int = 1) -> Claim:
    """Return the claim that a way has the lower figure, or the higher one where the sign is -1."""

    def figure(found: Result) -> float:
        return sign * (100 * found["disagreement"] if by == APART else float(found[by]))

    return Claim(says, by, better, worse, figure, figure)


def later(by: str, k: int = 3) -> Claim:
    """Return the claim that the last k of 8 snapshots, which are averaged, have a lower figure."""
    return Claim(
        f"the last {k} of 8 snapshots beat the first {k}",
        by,
        "8 snapshots",
        "8 snapshots",
        lambda found: float(found["backward"][k - 1][by]),
        lambda found: float(found["forward"][k - 1][by]),
    )


#: Most are of sections 3 and 4 of the paper.
CLAIMS = [
    claim("the ensemble beats the single network", "5 snapshots", "single network", "error, %"),
    claim("the ensemble beats the single network", "5 snapshots", "single network", "log-loss"),
    claim("cycles beat snapshots without cycles", "5 snapshots", NO_CYCLES, "error, %"),
    claim("cycles beat snapshots without cycles", "5 snapshots", NO_CYCLES, "log-loss"),
    claim("cycles make snapshots more diverse", "5 snapshots", NO_CYCLES, APART, -1),
    claim("cycles beat cold restarts", "5 snapshots", "5 cold restarts", "error, %"),
    later("error, %"),
    later("log-loss"),
    claim("the last snapshots are enough", "8 snapshots, last 5", "8 snapshots", "error, %"),
    claim("independent networks are better still", DEEP, "5 snapshots", "error, %"),
]


def run(
    smallest: bool,
    splits: int = 5,
    only: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    cache: Path | None = None,
    threads: int | None = None,
) -> dict[str, Rows]:
    """Return the rows of the summaries by their titles."""
    threads = use_threads(threads)
    known, summaries = Cache(cache), dict[str, Rows]()
    for name, (_, package) in SETS.items():
        if version_of([package]) is None or (smallest and package != "scikit-learn"):
            print(f"{name} needs {package}: skipped", file=sys.stderr)
        elif only is None or name in only:
            results, title = results_of(name, known, 1 if smallest else splits, methods, smallest)
            summaries[title] = [row_of(way, found) for way, found in results.items()]
            summaries[f"{title}: claims"] = claim_rows(results)
            summaries[f"{title}: snapshots, first and last"] = curve_rows(results)
    return {title: rows for title, rows in summaries.items() if rows}


def results_of(
    name: str, known: Cache, seeds: int, methods: Sequence[str] | None, smallest: bool
) -> tuple[Results, str]:
    """Return the figures of all ways for each seed, and the name of the images."""
    results: Results = {}
    for seed in range(seeds):
        images = SETS[name][0](seed)
        if smallest:
            images = images._replace(X=images.X[:200], y=images.y[:200], epochs=5)
        for way, (_, package) in WAYS.items():
            if version_of([package]) is None or (methods and way not in methods):
                continue
            version = source_digest() if package == "skensemble" else version_of([package])
            key = {"images": name, "way": way, "seed": seed, "of": version, "epochs": images.epochs}
            found = known.get(
                key,
                lambda way=way, images=images, seed=seed: figures(way, images, seed),
                f"{way}, {name} {seed}",
            )
            results.setdefault(way, []).append(found)
    return results, images.name


def figures(way: str, images: Images, seed: int) -> Result:
    """Return what a way does for a seed; the curves are those over its snapshots."""
    made: list[Any] = []
    with warnings.catch_warnings(action="ignore"), threadpool_limits(1):
        seconds = seconds_of(lambda: made.append(WAYS[way].run(images, seed)))
    members, weights = made[0]
    found = scores_of(np.tensordot(weights, members, axes=1), images.y_test)
    n = len(members)
    return {
        **found,
        "seconds": seconds,
        "disagreement": disagreement_score(members) if n > 1 else 0.0,
        "forward": [scores_of(members[:k].mean(axis=0), images.y_test) for k in range(1, n + 1)],
        "backward": [scores_of(members[-k:].mean(axis=0), images.y_test) for k in range(1, n + 1)],
    }


def scores_of(p: np.ndarray, y: np.ndarray) -> Result:
    """Return error, log-loss and calibration error of probabilities."""
    return {
        "error, %": 100 * float((p.argmax(axis=1) != y).mean()),
        "log-loss": log_loss(p, y),
        "ECE, %": 100 * expected_calibration_error(y, p),
    }


def interval(values: Sequence[float]) -> str:
    """Return the mean with the half width of its 95 % interval over seeds."""
    n = len(values)
    half = t.ppf(0.975, n - 1) * stdev(values) / np.sqrt(n) if n > 1 else 0.0
    return f"{mean(values):.3g} ± {half:.2g}"


def row_of(way: str, found: list[Result]) -> dict[str, Any]:
    """Return the figures of a way over seeds."""
    shown = {figure: interval([of[figure] for of in found]) for figure in FIGURES}
    apart = 100 * mean(of["disagreement"] for of in found)
    return {
        "method": way,
        **shown,
        APART: apart,
        "seconds": mean(of["seconds"] for of in found),
    }


def claim_rows(results: Results) -> Rows:
    """Return what becomes of each claim: the difference of pairs of seeds, with its interval."""
    rows = []
    for of in CLAIMS:
        if of.better in results and of.worse in results:
            pairs = zip(results[of.better], results[of.worse], strict=True)
            gains = [of.of_worse(b) - of.of_better(a) for a, b in pairs]
            n = len(gains)
            half = t.ppf(0.975, n - 1) * stdev(gains) / np.sqrt(n) if n > 1 else np.inf
            verdict = (
                "holds"
                if mean(gains) > half
                else "does not"
                if mean(gains) < -half
                else "undecided"
            )
            rows.append(
                {"claim": of.says, "by": of.by, "gain": interval(gains), "verdict": verdict}
            )
    return rows


def curve_rows(results: Results, way: str = "8 snapshots") -> Rows:
    """Return the error of the first k and of the last k snapshots, means over seeds."""
    if way not in results:
        return []
    n = len(results[way][0]["forward"])
    return [
        {"snapshots": k + 1}
        | {
            f"{direction[1]} k, {figure}": mean(of[direction[0]][k][figure] for of in results[way])
            for direction in (("forward", "first"), ("backward", "last"))
            for figure in FIGURES[:2]
        }
        for k in range(n)
    ]
