"""
Pictures of a fit
=================

``skensemble.display`` draws what a fit leaves behind, in the manner of scikit-learn's displays:
``from_estimator`` computes and draws, ``plot`` draws again, into axes of yours if you like. This
example goes once through all of them, on the handwritten digits and on the diabetes data that come
with scikit-learn.
"""

# %%
# As a script, this writes a picture for each display next to itself, such as
# ``pictures_of_a_fit_members.png``, or by the path that its argument gives.

import sys
from pathlib import Path

try:
    import matplotlib.pyplot as plt
except ImportError:
    print("This example draws pictures and needs matplotlib: pip install matplotlib")
    sys.exit(0)

import numpy as np
from sklearn.calibration import CalibrationDisplay
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble.display import (
    CycleCurveDisplay,
    InterpolationDisplay,
    IntervalDisplay,
    LearningRateDisplay,
    LRRangeDisplay,
    MembersDisplay,
)


def finish(display, name):
    """Give a picture the size of a page, and write it where this is a script."""
    display.figure_.set_size_inches(6.4, 3.8)
    if "__file__" in globals():  # a notebook shows the picture, a script writes it
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png")
        path = path.with_name(f"{path.stem}_{name}.png")
        display.figure_.savefig(path, dpi=120)
        plt.close(display.figure_)
        print(f"Picture: {path}")


X, X_test, y, y_test = train_test_split(
    *load_digits(return_X_y=True), test_size=0.4, random_state=0
)

# %%
# Before the fit: which rate?
# ---------------------------
# A short run lets the rate rise from step to step. The loss falls where the rate is large enough,
# and rises where it is too large. The dashed line is a tenth of the rate of the least loss: a rate
# to begin with. ``lr_range_test`` in ``skensemble.model_selection`` returns the numbers.

model = SnapshotEnsembleClassifier(
    n_chains=4, n_cycles=6, max_epochs=36, early_stopping=False, random_state=0
)
display = LRRangeDisplay.from_estimator(model, X, y)
print(f"suggested rate: {display.suggestion:.4f}")
finish(display, "lr_range")

# %%
# The rate of every step
# ----------------------
# The rate falls within each cycle, and rises again at its restart. Each cycle is longer than the
# one before. A mark shows where a snapshot was taken.

model.set_params(lr=display.suggestion).fit(X, y)
finish(LearningRateDisplay.from_estimator(model, by="epoch"), "learning_rate")

# %%
# The score of unseen rows, and the weights of cycles
# ---------------------------------------------------
# Each row is predicted by a chain that left it out. The bars are the weights that the cycles have
# in the ensemble.

finish(CycleCurveDisplay.from_estimator(model, negate_score=True), "cycle_curve")

# %%
# A second curve goes into the same axes: here that of the test rows, which all chains predict
# together.

display = CycleCurveDisplay.from_estimator(model, negate_score=True, line_kw={"label": "unseen"})
CycleCurveDisplay.from_predictions(
    y_test,
    model.staged_predict_proba(X_test),
    metric=log_loss,
    ax=display.ax_,
    line_kw={"label": "test"},
)
display.ax_.legend(frameon=False)
finish(display, "cycle_curve_test")

# %%
# How alike are the members?
# --------------------------
# Each square is a chain, and within it are its cycles. Snapshots of one chain, near the diagonal,
# predict the same class for more rows than those of different chains do.

display = MembersDisplay.from_estimator(model, X_test)
same = display.agreement.reshape(model.n_cycles_, model.n_chains_, model.n_cycles_, model.n_chains_)
last_two = same[-1, :, -2, :]  # the last cycle of each chain against the one before of each
others = ~np.eye(model.n_chains_, dtype=bool)
print(f"same class, last two snapshots of one chain: {100 * np.diag(last_two).mean():.1f} %")
print(f"same class, those of two different chains:   {100 * last_two[others].mean():.1f} %")
finish(display, "members")

# %%
# Between two snapshots
# ---------------------
# A network halfway between two snapshots has the mean of their weights. Along a line from an early
# snapshot to the last one of its chain the loss falls. Between snapshots of one chain there is no
# barrier here. (Figure 4 of Huang et al. 2017 is drawn in the same way.)

finish(InterpolationDisplay.from_estimator(model, X_test, y_test), "interpolation")

# %%
# Between chains there is one: they ended in different valleys. A line with a bend goes through a
# third network, here an earlier snapshot of the first chain. It stays in the valley up to there,
# and then meets the barrier. (A bend that is trained can lead around it: Garipov et al. 2018.)

n_chains, last = model.n_chains_, model.n_cycles_ - 1
ends = (last * n_chains, last * n_chains + 1)
display = InterpolationDisplay.from_estimator(
    model, X_test, y_test, pairs=[ends], bend=(last - 1) * n_chains
)
finish(display, "interpolation_bend")

# %%
# Intervals against the truth
# ---------------------------
# Where the true value is not in the interval of its row, there is a cross.

table, table_test, values, values_test = train_test_split(
    *load_diabetes(return_X_y=True), test_size=0.5, random_state=0
)
regressor = SnapshotEnsembleRegressor(max_epochs=60, random_state=0).fit(table, values)
finish(IntervalDisplay.from_estimator(regressor, table_test, values_test), "intervals")

# %%
# Are the probabilities right?
# ----------------------------
# scikit-learn's own display serves: it takes the predictions of unseen rows that the fit leaves, so
# no rows need be put aside for it.

cells, is_benign = load_breast_cancer(return_X_y=True)
two_classes = SnapshotEnsembleClassifier(random_state=0).fit(cells, is_benign)
display = CalibrationDisplay.from_predictions(
    is_benign, two_classes.oof_decision_function_[:, 1], n_bins=8, strategy="quantile"
)
finish(display, "calibration")
