"""
House prices
============

A price is a product: area times price per square metre, times factors for the state and the place.
Networks find products more easily than trees do. This example looks at the error in per cent, at
the columns that matter, and at an interval for each price.
"""

# %%
# The houses
# ----------
# The table is drawn by a formula, so that the example needs no download. The noise is 8 %: no
# prediction has a smaller error than that.

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.inspection import permutation_importance
from sklearn.model_selection import train_test_split

from skensemble import SnapshotEnsembleRegressor
from skensemble.metrics import interval_coverage_score, interval_score_loss

N = 1_000
rng = np.random.default_rng(1)
houses = pd.DataFrame(
    {
        "area": rng.gamma(8, 16, N).round(),
        "built": rng.integers(1900, 2024, N),
        "district": rng.choice(["harbour", "hill", "old town", "park", "station"], N),
        "km_to_centre": rng.exponential(6, N).round(1),
        "garden": rng.choice([True, False], N),
        "heating": rng.choice(["gas", "heat pump", "oil"], N),
    }
)
per_metre = houses["district"].map(
    {"harbour": 3_200, "hill": 4_100, "old town": 4_600, "park": 3_900, "station": 2_700}
)
price = houses["area"] ** 0.9 * per_metre * np.exp(-houses["km_to_centre"] / 25)
price *= np.where(houses["garden"], 1.08, 1) * (1 + ((houses["built"] - 1960) / 200) ** 2)
price *= np.exp(rng.normal(0, 0.08, N))

train, test, y_train, y_test = train_test_split(houses, price, test_size=0.4, random_state=0)

# %%
# The logarithm of the price
# --------------------------
# Errors of prices are relative, so the target is the logarithm. ``TransformedTargetRegressor``
# takes it and goes back.


def on_log(regressor):
    """Train on the logarithm of the target."""
    return TransformedTargetRegressor(regressor, func=np.log, inverse_func=np.exp)


def error(model, frame):
    """Return the median error in per cent of the price."""
    return 100 * np.median(np.abs(model.predict(frame) / y_test - 1))


def coded(frame):
    """Make categories of the strings, as the trees want them."""
    return frame.astype({"district": "category", "heating": "category"})


model = on_log(SnapshotEnsembleRegressor(random_state=0)).fit(train, y_train)
trees = on_log(HistGradientBoostingRegressor(random_state=0)).fit(coded(train), y_train)
print(f"median error, skensemble:        {error(model, test):.1f} %")
print(f"median error, gradient boosting: {error(trees, coded(test)):.1f} %")
print("median of the noise alone:       5.4 %")

# %%
# Which columns matter
# --------------------
# A column is permuted, and R² falls. ``heating`` has no effect in the formula.

found = permutation_importance(model, test, y_test, n_repeats=3, random_state=0)
for place in np.argsort(-found.importances_mean):
    print(f"{houses.columns[place]:<14}{found.importances_mean[place]:6.2f}")

# %%
# An interval for each price
# --------------------------
# Each row has a prediction from a chain that left it out. ``predict_interval`` makes intervals of
# these errors. On the logarithm they are of one width, so in euros they grow with the price. An
# exponential keeps the order of numbers, so what is covered stays covered.

intervals = np.exp(model.regressor_.predict_interval(test, coverage=0.9))
low, high = intervals.T
print(f"\nmiddle interval: {np.median(low / model.predict(test)):.2f} to ", end="")
print(f"{np.median(high / model.predict(test)):.2f} times the prediction")

# %%
# Intervals of the price itself
# -----------------------------
# Without the logarithm, intervals of one width are too wide for cheap houses and too narrow for
# dear ones: nine in ten are covered only over all of them. ``method="normalized"`` makes intervals
# wider where the network is in doubt. That mends little here, since the network does not doubt the
# dear houses: their prices are noisy. A network of quantiles learns where the noise is. The
# interval score adds the widths and the misses, lower is better.

plain = SnapshotEnsembleRegressor(random_state=0).fit(train, y_train)
quantiles = SnapshotEnsembleRegressor(distribution="quantiles", random_state=0).fit(train, y_train)
ways = {
    "logarithm": intervals,
    "price": plain.predict_interval(test, coverage=0.9),
    "price, normalized": plain.predict_interval(test, coverage=0.9, method="normalized"),
    "price, quantiles": quantiles.predict_interval(test, coverage=0.9),
}
thirds = np.digitize(y_test, np.quantile(y_test, [1 / 3, 2 / 3]))
print(f"\n{'intervals of':<20}{'covered, %':>11}{'cheap':>7}{'middle':>8}{'dear':>6}{'score':>10}")
for name, made in ways.items():
    shares = [interval_coverage_score(y_test, made)]
    shares += [interval_coverage_score(y_test[thirds == k], made[thirds == k]) for k in range(3)]
    shown = "".join(f"{100 * share:{w}.0f}" for share, w in zip(shares, (11, 7, 8, 6), strict=True))
    print(f"{name:<20}{shown}{interval_score_loss(y_test, made):10.0f}")

# %%
# A picture of them, where matplotlib is installed
# ------------------------------------------------
# As a script, this writes ``house_prices.png`` next to itself, or to the path that its argument
# gives.

try:
    import matplotlib.pyplot as plt
except ImportError:
    print("\nmatplotlib is not installed, so there is no picture.")
else:
    fig, axes = plt.subplots(1, 4, figsize=(10, 3.4), sharey=True, layout="constrained")
    for ax, (name, made) in zip(axes, ways.items(), strict=True):
        middle = made.mean(axis=1)
        order = np.argsort(middle)
        middle, (low, high) = middle[order] / 1e3, (made - middle[:, None])[order].T / 1e3
        off = y_test.to_numpy()[order] / 1e3 - middle
        is_inside = (low <= off) & (off <= high)
        ax.fill_between(middle, low, high, color="C0", alpha=0.3, linewidth=0)
        ax.plot(middle[is_inside], off[is_inside], ".", color="0.3", markersize=3)
        ax.plot(middle[~is_inside], off[~is_inside], "x", color="C3", markersize=4)
        ax.set(title=name, xlabel="middle, thousands")
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("price less middle of the interval")
    if "__file__" in globals():  # a notebook shows the picture, a script writes it
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png")
        fig.savefig(path, dpi=120)
        print(f"\nPicture: {path}")
