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

import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.inspection import permutation_importance
from sklearn.model_selection import train_test_split

from skensemble import SnapshotEnsembleRegressor

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
# The errors out of fold are those of rows that a network has not seen. Nine in ten of them are
# smaller than ``factor``.

network = model.regressor_
unseen = np.abs(np.log(y_train) - network.oof_prediction_)
factor = np.exp(np.quantile(unseen, 0.9))
predicted = model.predict(test)
inside = np.mean((predicted / factor < y_test) & (y_test < predicted * factor))
print(f"from / {factor:.2f} to * {factor:.2f}: {100 * inside:.0f} % of the test prices lie within")
