"""Intervals and sets of classes: ours, and those of the field, each on raw frames.

Every way is a function that learns from the training rows and makes regions for the test rows, at
its defaults. One fit of ours makes several of them.
"""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import softmax
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from skensemble.metrics import (
    expected_calibration_error,
    interval_coverage_score,
    interval_score_loss,
    mean_interval_width,
    mean_set_size,
    set_coverage_score,
)

from .estimators import ESTIMATORS
from .methods import METHODS, version_of
from .scores import best_temperature, log_loss
from .tables import Table

#: Shares of new rows that are to be covered.
COVERAGES = (0.8, 0.9, 0.95)

#: The quantiles that are the ends of intervals of these shares, from the lowest on.
LEVELS = [(1 - c) / 2 for c in reversed(COVERAGES)] + [(1 + c) / 2 for c in COVERAGES]

#: Figures of a way for each coverage: by the name of the region, then by that of the figure.
Figures = dict[str, dict[str, Any]]


class Way(NamedTuple):
    """A way to make regions."""

    name: str
    #: Learns and makes regions: of the training and the test rows, a seed, the number of threads,
    #: and whether it is to be quick. It returns their figures.
    measure: Callable[[Table, Table, int, int, bool], Figures]
    #: What it rests on.
    distribution: str
    #: A parameter that our estimator needs for it.
    parameter: str | None = None


def ours(train: Table, seed: int, smallest: bool, **options: Any) -> Any:
    """Fit our estimator."""
    brief = METHODS["ours"].smallest if smallest else {}
    return ESTIMATORS[train.task](random_state=seed, **(brief or {}), **options).fit(
        train.X, train.y
    )


# Intervals


def interval_figures(intervals: np.ndarray, test: Table) -> dict[str, Any]:
    """Return the figures of intervals, (n_coverages, n, 2); widths in units of sd(y)."""
    unit = float(test.y.std())
    pairs = list(zip(intervals, COVERAGES, strict=True))
    return {
        "coverage": [interval_coverage_score(test.y, made) for made, _ in pairs],
        "width": [mean_interval_width(made) / unit for made, _ in pairs],
        "score": [interval_score_loss(test.y, made, coverage=c) / unit for made, c in pairs],
    }


def our_intervals(train: Table, test: Table, seed: int, threads: int, smallest: bool) -> Figures:
    """Return the intervals of one default fit."""
    model = ours(train, seed, smallest)
    return {
        f"skensemble, {method}": interval_figures(
            model.predict_interval(test.X, COVERAGES, method=method), test
        )
        for method in ("cv+", "normalized")
    }


def our_quantiles(train: Table, test: Table, seed: int, threads: int, smallest: bool) -> Figures:
    """Return the conformalised quantiles of a network of quantiles."""
    model = ours(train, seed, smallest, distribution="quantiles")
    made = model.predict_interval(test.X, COVERAGES, method="cqr")
    return {"skensemble, cqr": interval_figures(made, test)}


def mapie_intervals(train: Table, test: Table, seed: int, threads: int, smallest: bool) -> Figures:
    """Return MAPIE's CV+ of five folds around scikit-learn's gradient boosting."""
    from mapie.regression import CrossConformalRegressor

    trees = HistGradientBoostingRegressor(categorical_features="from_dtype", random_state=seed)
    model = CrossConformalRegressor(trees, confidence_level=COVERAGES, random_state=seed)
    _, made = model.fit_conformalize(train.X, train.y).predict_interval(test.X)
    return {"MAPIE CV+, HistGradientBoosting": interval_figures(np.moveaxis(made, -1, 0), test)}


def boosted_at(
    levels: Sequence[float], train: Table, test: Table, seed: int, smallest: bool
) -> np.ndarray:
    """Return quantiles of scikit-learn's gradient boosting, (n, n_levels), a fit for each."""
    brief = {"max_iter": 5} if smallest else {}
    made = [
        HistGradientBoostingRegressor(
            loss="quantile",
            quantile=level,
            categorical_features="from_dtype",
            random_state=seed,
            **brief,
        )
        .fit(train.X, train.y)
        .predict(test.X)
        for level in levels
    ]
    return np.array(made).T


def catboost_at(
    levels: Sequence[float], train: Table, test: Table, seed: int, threads: int
) -> np.ndarray:
    """Return quantiles of one CatBoost model, (n, n_levels)."""
    model = METHODS["catboost"].make(train, seed, threads)
    named = ",".join(f"{level:.3f}" for level in levels)
    model[-1].set_params(loss_function=f"MultiQuantile:alpha={named}")
    return model.fit(train.X, train.y).predict(test.X)


def boosted_quantiles(
    train: Table, test: Table, seed: int, threads: int, smallest: bool
) -> Figures:
    """Return intervals of scikit-learn's gradient boosting, a fit for each end."""
    made = boosted_at(LEVELS, train, test, seed, smallest)
    return {"HistGradientBoosting, quantiles": interval_figures(_paired(made), test)}


def catboost_quantiles(
    train: Table, test: Table, seed: int, threads: int, smallest: bool
) -> Figures:
    """Return intervals of one CatBoost model of all quantiles."""
    made = catboost_at(LEVELS, train, test, seed, threads)
    return {"CatBoost MultiQuantile": interval_figures(_paired(made), test)}


def _paired(quantiles: np.ndarray) -> np.ndarray:
    """Return intervals (n_coverages, n, 2) of quantiles (n, n_levels); crossed ends are sorted."""
    n = len(COVERAGES)
    pairs = [quantiles[:, [n - 1 - i, n + i]] for i in range(n)]
    return np.sort(np.array(pairs), axis=-1)


# Sets


def set_figures(sets: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Return the figures of sets, (n_coverages, n, k); `y` holds numbers of classes."""
    labels = np.arange(sets.shape[-1])
    by_class = [set_coverage_score(y, made, labels=labels, average=None) for made in sets]
    return {
        "coverage": [set_coverage_score(y, made, labels=labels) for made in sets],
        "size": [mean_set_size(made) for made in sets],
        "least of a class": [float(np.nanmin(found)) for found in by_class],
    }


def our_sets(train: Table, test: Table, seed: int, threads: int, smallest: bool) -> Figures:
    """Return the sets of one default fit, and what a temperature does to its probabilities."""
    model = ours(train, seed, smallest, calibrate=True)
    y = np.searchsorted(model.classes_, test.y)
    ways = {
        "skensemble": {},
        "skensemble, randomised": {"random_state": seed},
        "skensemble, by class": {"class_conditional": True},
    }
    made = {}
    for name, options in ways.items():
        # Refused where a class has too few unseen rows for the highest coverage.
        with contextlib.suppress(ValueError):
            made[name] = set_figures(model.predict_set(test.X, COVERAGES, **options), y)
    return {**made, "temperature": temperature_figures(model, test.X, y)}


def temperature_figures(model: Any, X: pd.DataFrame, y: np.ndarray) -> dict[str, float]:
    """Return log-loss and calibration error without a temperature, with ours, with the best."""
    after = model.predict_proba(X)
    with np.errstate(divide="ignore"):
        # The mean over members: no temperature changes which mean it is applied to.
        before = softmax(model.temperature_ * np.log(after), axis=1)
    best_t = best_temperature(before, y)
    best = softmax(np.log(before.clip(1e-15)) / best_t, axis=1)
    labels = np.arange(after.shape[1])
    figures = {"T": model.temperature_, "best T": best_t}
    for name, p in {"before": before, "after": after, "best": best}.items():
        figures[f"log-loss {name}"] = log_loss(p, y)
        figures[f"ECE {name}"] = expected_calibration_error(y, p, labels=labels)
    return figures


def mapie_sets(train: Table, test: Table, seed: int, threads: int, smallest: bool) -> Figures:
    """Return MAPIE's sets of five folds around scikit-learn's gradient boosting.

    They are adaptive (APS). For two classes MAPIE has no such sets, but those of classes whose
    probability is high enough (LAC).
    """
    from mapie.classification import CrossConformalClassifier

    classes, numbers = np.unique(train.y, return_inverse=True)
    trees = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=seed)
    model = CrossConformalClassifier(
        trees,
        confidence_level=COVERAGES,
        conformity_score="aps" if len(classes) > 2 else "lac",
        random_state=seed,
    ).fit_conformalize(train.X, numbers)
    ways = {"MAPIE, HistGradientBoosting": True}
    if len(classes) > 2:
        ways["MAPIE, HistGradientBoosting, randomised"] = "randomized"
    y = np.searchsorted(classes, test.y)
    figures = {}
    for name, last in ways.items():
        options = {"conformity_score_params": {"include_last_label": last}}
        _, made = model.predict_set(test.X, **options)
        figures[name] = set_figures(np.moveaxis(made, -1, 0), y)
    return figures


#: By task.
WAYS = {
    "regression": [
        Way("ours", our_intervals, "skensemble"),
        Way("our quantiles", our_quantiles, "skensemble", "distribution"),
        Way("MAPIE", mapie_intervals, "mapie"),
        Way("CatBoost", catboost_quantiles, "catboost"),
        Way("HistGradientBoosting", boosted_quantiles, "scikit-learn"),
    ],
    "classification": [
        Way("ours", our_sets, "skensemble"),
        Way("MAPIE", mapie_sets, "mapie"),
    ],
}


def available(task: str) -> list[Way]:
    """Return the ways of a task whose packages, and whose parameters of ours, are there."""
    known = ESTIMATORS[task]().get_params()
    return [
        way
        for way in WAYS[task]
        if version_of([way.distribution]) and (way.parameter is None or way.parameter in known)
    ]
