"""
A raw frame, against gradient boosting
======================================

A frame with strings, dates and missing values, as it comes. Both estimators get it without any
preparation. The target is made here, so it is known how good a prediction can be.
"""

# %%
# Energy used by buildings
# ------------------------
# The energy depends on the outside temperature, which follows the seasons, on the area, and on the
# kind of building. Some areas are missing. The noise has a standard deviation of 5 %.

import time

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import train_test_split

from skensemble import SnapshotEnsembleRegressor

N = 700
rng = np.random.default_rng(0)
buildings = pd.DataFrame(
    {
        "read_on": pd.Timestamp("2022-01-01") + pd.to_timedelta(rng.integers(0, 1_095, N), "D"),
        "kind": rng.choice(["flat", "house", "office", "school"], N),
        "area": rng.lognormal(4.5, 0.5, N).round(),
        "windows": rng.integers(2, 30, N),
    }
)
season = np.cos(2 * np.pi * buildings["read_on"].dt.day_of_year / 365)
need = buildings["kind"].map({"flat": 0.6, "house": 1.0, "office": 0.8, "school": 1.3})
energy = buildings["area"] * need * (1.2 + season) + 3 * buildings["windows"]
energy = energy * rng.normal(1, 0.05, N)
buildings.loc[rng.random(N) < 0.05, "area"] = np.nan

train, test, y_train, y_test = train_test_split(buildings, energy, test_size=0.4, random_state=0)
print(train.head(3).to_string(index=False))

# %%
# Two estimators, one call each
# -----------------------------
# ``HistGradientBoostingRegressor`` takes no dates, and takes strings only as a categorical dtype.


def for_trees(frame):
    """Change what the trees do not take."""
    day = frame["read_on"]
    parts = {"read_on": day.astype("int64"), "day": day.dt.day_of_year, "year": day.dt.year}
    return frame.assign(kind=frame["kind"].astype("category"), **parts)


start = time.perf_counter()
trees = HistGradientBoostingRegressor(random_state=0).fit(for_trees(train), y_train)
tree_seconds = time.perf_counter() - start
start = time.perf_counter()
model = SnapshotEnsembleRegressor(random_state=0).fit(train, y_train)
seconds = time.perf_counter() - start

tree_score = r2_score(y_test, trees.predict(for_trees(test)))
score = r2_score(y_test, model.predict(test))
print(f"\ngradient boosting  R² {tree_score:.3f}, {tree_seconds:.1f} s")
print(f"skensemble         R² {score:.3f}, {seconds:.1f} s")

# %%
# A score without the test rows
# -----------------------------
# Each training row has a prediction from a network that has not seen it.

print(f"skensemble, on the training rows out of fold: R² {model.validation_r2_:.3f}")
