"""
How many cycles? One fit against a grid search
==============================================

Each chain leaves out a fold of the rows. When a cycle ends, every row therefore has a prediction
from a network that has not seen it, and one fit gives the score after 1, 2, … cycles. A grid search
over the number of cycles answers the same question, but needs one fit for each number and each
fold.

The script prints a table and writes ``cycle_curve.png`` next to itself, or to the path given as its
argument.
"""

# %%
# The run
# -------
# The run has eight cycles of three epochs on the handwritten digits. Its first m cycles are
# identical to a run of m cycles with m times three epochs. The grid below consists of such runs. (A
# grid over ``n_cycles`` alone asks another question: into how many cycles should one and the same
# budget be divided?) Early stopping is off, so that the curve goes to its end. The short runs of
# the grid would warn that a longer one lowers the loss, which is what the curve is to show.

import sys
import time
import warnings
from pathlib import Path

try:
    import matplotlib.pyplot as plt
except ImportError:
    print("This example draws a picture and needs matplotlib: pip install matplotlib")
    sys.exit(0)

from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from skensemble import SnapshotEnsembleClassifier
from skensemble.model_selection import cycle_curve

warnings.simplefilter("ignore", ConvergenceWarning)

N_CYCLES, EPOCHS_OF_A_CYCLE = 8, 3
GRID = [1, 2, 4, 8]

X, y = load_digits(return_X_y=True)
model = SnapshotEnsembleClassifier(
    n_cycles=N_CYCLES,
    cycle_mult=1.0,
    max_epochs=N_CYCLES * EPOCHS_OF_A_CYCLE,
    early_stopping=False,
    random_state=0,
)
folds = StratifiedKFold(3, shuffle=True, random_state=0)

# %%
# One fit, one fit for each fold, one fit for each fold and number
# ----------------------------------------------------------------
# Scores are negative, so that higher is better. The table and the picture show the log-loss itself.

seconds = {}
start = time.perf_counter()
one_fit = cycle_curve(model, X, y)
seconds["one fit"] = time.perf_counter() - start

start = time.perf_counter()
by_fold = cycle_curve(model, X, y, cv=folds)
seconds["by fold"] = time.perf_counter() - start

start = time.perf_counter()
search = GridSearchCV(
    model,
    [{"n_cycles": [m], "max_epochs": [m * EPOCHS_OF_A_CYCLE]} for m in GRID],
    scoring="neg_log_loss",
    cv=folds,
    refit=False,
).fit(X, y)
seconds["grid"] = time.perf_counter() - start

unseen = -one_fit.scores
by_fold_mean = -by_fold.scores.mean(axis=1)
grid = dict(zip(GRID, -search.cv_results_["mean_test_score"], strict=True))

print("Log-loss of rows that were not trained on")
print(f"{'cycles':>8}{'one fit':>10}{'by fold':>10}{'grid':>10}")
for m in one_fit.n_cycles:
    cell = f"{grid[m]:.4f}" if m in grid else ""
    print(f"{m:>8}{unseen[m - 1]:>10.4f}{by_fold_mean[m - 1]:>10.4f}{cell:>10}")
print(f"{'seconds':>8}" + "".join(f"{spent:>10.1f}" for spent in seconds.values()))

# %%
# The fits of the grid are the beginnings of the fits by fold, so their scores are the same where
# both have one. The curve of one fit has the same shape, and also shows when further cycles stop
# paying off. Its level differs, for two reasons. Its chains have trained on more rows: on 7/8 of
# all rows instead of 7/8 of 2/3 of them. On the other hand, a row is predicted only by the chain
# that left it out, while a test row of a fold is predicted by all eight chains.
#
# In all of these fits, the cycles are weighted by unseen rows (``members="stacked"``). In the curve
# of one fit, the same rows are scored, so the curve hardly ever rises: a cycle that does not help
# gets no weight.

# %%
# The picture
# -----------

fig, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.plot(
    one_fit.n_cycles,
    unseen,
    "o-",
    color="C1",
    label=f"cycle_curve, one fit: {seconds['one fit']:.1f} s",
)
ax.plot(
    by_fold.n_cycles,
    by_fold_mean,
    "-",
    color="C0",
    label=f"cycle_curve, cv: 3 fits, {seconds['by fold']:.1f} s",
)
ax.plot(
    GRID,
    list(grid.values()),
    "s",
    color="C0",
    markerfacecolor="none",
    markersize=9,
    label=f"GridSearchCV: {len(GRID) * 3} fits, {seconds['grid']:.1f} s",
)
ax.set(
    xlabel="cycles of three epochs",
    ylabel="log-loss of rows not trained on",
    xticks=one_fit.n_cycles,
    ylim=(0, None),
)
ax.spines[["top", "right"]].set_visible(False)
ax.legend(frameon=False)

if "__file__" in globals():  # a notebook shows the picture, a script writes it
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png")
    fig.savefig(path, dpi=120)
    print(f"\nPicture: {path}")
