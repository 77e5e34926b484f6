"""
Sets of digits
==============

Some handwritten digits could be two of them. ``predict_set`` then answers with both. The true digit
is in the set for the share of rows that you ask for.
"""

# %%
# One fit
# -------
# Half of the digits train the classifier. Each row has a prediction from a chain that left it out,
# and these predictions tell how large the sets must be. No further row is needed.

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skensemble import SnapshotEnsembleClassifier
from skensemble.metrics import mean_set_size, set_coverage_score

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)
model = SnapshotEnsembleClassifier(random_state=0).fit(X_train, y_train)
print(f"accuracy: {model.score(X_test, y_test):.3f}")

# %%
# How much to ask for
# -------------------
# A single digit is right for 98 rows of 100, so a coverage of 0.9 hardly needs larger sets. There
# are some, since every chain has a say, and single chains are wrong more often than their mean.
# With ``random_state``, chance leaves out classes until just the share that you ask for is covered.
# Some sets are then empty.

print(f"\n{'asked for':>9}{'covered':>10}{'mean size':>11}{'of one':>8}{'larger':>8}{'empty':>7}")
for coverage in (0.9, 0.95, 0.99):
    for seed in (None, 0):
        sets = model.predict_set(X_test, coverage, random_state=seed)
        sizes = sets.sum(axis=1)
        print(
            f"{coverage:9.2f}{set_coverage_score(y_test, sets):10.3f}{mean_set_size(sets):11.2f}"
            f"{np.sum(sizes == 1):8d}{np.sum(sizes > 1):8d}{np.sum(sizes == 0):7d}"
            + ("   randomised" if seed is not None else "")
        )

# %%
# What the size says
# ------------------
# Where the set holds one digit, ``predict`` is nearly always right. The others are the rows to look
# at by hand. The larger the set, the more the members disagree (``epistemic``).

sets = model.predict_set(X_test, coverage=0.99)
sizes = sets.sum(axis=1)
is_right = model.predict(X_test) == y_test
doubt = model.predict_uncertainty(X_test)
print(f"\n{'size':>5}{'rows':>6}{'right, %':>10}{'aleatoric':>11}{'epistemic':>11}")
for size in np.unique(sizes):
    rows = sizes == size
    print(
        f"{size:5d}{rows.sum():6d}{100 * is_right[rows].mean():10.1f}"
        f"{doubt.aleatoric[rows].mean():11.2f}{doubt.epistemic[rows].mean():11.2f}"
    )

# %%
# The digits with the largest sets
# --------------------------------
# As a script, this writes ``sets_on_digits.png`` next to itself, or to the path that its argument
# gives.

try:
    import matplotlib.pyplot as plt
except ImportError:
    print("\nmatplotlib is not installed, so there is no picture.")
else:
    largest = np.argsort(-sizes, kind="stable")[:12]
    fig, axes = plt.subplots(2, 6, figsize=(8, 3.4), layout="constrained")
    for ax, row in zip(axes.flat, largest, strict=True):
        ax.imshow(X_test[row].reshape(8, 8), cmap="gray_r")
        digits = ", ".join(str(digit) for digit in model.classes_[sets[row]])
        ax.set_title(f"{{{digits}}}", fontsize=10)
        ax.set_xlabel(f"true: {y_test[row]}", color="0.3" if sets[row, y_test[row]] else "C3")
        ax.set(xticks=[], yticks=[])
    if "__file__" in globals():  # a notebook shows the picture, a script writes it
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png")
        fig.savefig(path, dpi=120)
        print(f"\nPicture: {path}")
