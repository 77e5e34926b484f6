"""
Imbalanced classes
==================

One row in twenty belongs to the class that matters. Weights make a classifier find more of these
rows, and so does a lower threshold. Only the threshold leaves the probabilities true.
"""

# %%
# Faults of machines
# ------------------
# A fault is likely where a machine is hot and old. The true probability of each row is known here.

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    log_loss,
    make_scorer,
)
from sklearn.model_selection import TunedThresholdClassifierCV, train_test_split

from skensemble import SnapshotEnsembleClassifier

N = 3_000
rng = np.random.default_rng(0)
machines = pd.DataFrame(
    {
        "site": rng.choice(["north", "south", "west"], N),
        "age": rng.uniform(0, 20, N),
        "heat": rng.normal(60, 10, N),
        "load": rng.uniform(0, 1, N),
    }
)
risk = 0.25 * (machines["age"] - 10) + 0.15 * (machines["heat"] - 60) + (machines["site"] == "west")
true = 1 / (1 + np.exp(5.2 - risk))
fault = rng.random(N) < true
train, test, y_train, y_test, _, true_test = train_test_split(
    machines, fault, true, test_size=0.5, stratify=fault, random_state=0
)
print(f"{100 * fault.mean():.1f} % of the rows are faults")

# %%
# Plain, and with weights
# -----------------------
# The mean of the probabilities shows what weights do: it should be the share of faults.

plain = SnapshotEnsembleClassifier(random_state=0).fit(train, y_train)
weighted = SnapshotEnsembleClassifier(class_weight="balanced", random_state=0).fit(train, y_train)

print(f"{'':<12}log-loss   mean probability   average precision   balanced accuracy")


def show(name, probability, threshold=0.5):
    """Print how good probabilities are, and the labels that a threshold makes of them."""
    scores = (
        log_loss(y_test, probability),
        probability.mean(),
        average_precision_score(y_test, probability),
        balanced_accuracy_score(y_test, probability > threshold),
    )
    print(f"{name:<12}{scores[0]:8.3f}{scores[1]:19.3f}{scores[2]:20.3f}{scores[3]:20.3f}")


show("the truth", true_test)
show("plain", plain.predict_proba(test)[:, 1])
show("weighted", weighted.predict_proba(test)[:, 1])

# %%
# A threshold from unseen rows
# ----------------------------
# Each training row has a probability from a network that has not seen it. ``decision`` looks for
# the threshold that is best for them. No row is held out for it, nothing is fitted again, and the
# probabilities stay as they are.

decided = SnapshotEnsembleClassifier(decision="balanced_accuracy", random_state=0)
decided.fit(train, y_train)
show(f"above {decided.threshold_:.2f}", decided.predict_proba(test)[:, 1], decided.threshold_)

# %%
# A metric of your own
# --------------------
# An inspection costs 1, and a fault that was missed costs 15. Any scorer of scikit-learn will do,
# such as one made of a function of labels.


def saved(y_true, y_pred):
    """Return what inspections save, per machine."""
    return np.mean(15 * (y_true & y_pred)) - np.mean(y_pred)


by_cost = SnapshotEnsembleClassifier(decision=make_scorer(saved), random_state=0)
by_cost.fit(train, y_train)
print(f"threshold {by_cost.threshold_:.3f}, saved {saved(y_test, by_cost.predict(test)):.3f}")

# %%
# Who inspects at a risk of one in fifteen or more saves most, if probabilities are true. So the
# threshold should be near 0.067.

# %%
# Beside ``TunedThresholdClassifierCV``
# -------------------------------------
# scikit-learn's own search for a threshold works with every classifier. It fits the model five
# times for the threshold, and once more on all rows.

plain = SnapshotEnsembleClassifier(random_state=0)
tuned = TunedThresholdClassifierCV(plain, scoring=make_scorer(saved), random_state=0)
start = time.perf_counter()
tuned.fit(train, y_train)
several = time.perf_counter() - start
start = time.perf_counter()
by_cost.fit(train, y_train)
one = time.perf_counter() - start
print(f"threshold {tuned.best_threshold_:.3f}, saved {saved(y_test, tuned.predict(test)):.3f}")
print(f"six fits took {several / one:.1f} times as long as one")

# %%
# The same top for unseen and for new rows
# ----------------------------------------
# What a threshold saves on rows that were left out is what it saves on new ones. As a script, this
# writes ``imbalanced_classes.png`` next to itself, or to the path that its argument gives.

try:
    import matplotlib.pyplot as plt
except ImportError:
    print("\nmatplotlib is not installed, so there is no picture.")
else:
    thresholds = np.linspace(0, 0.3, 61)
    curves = {
        "unseen training rows": (y_train, by_cost.oof_decision_function_[:, 1]),
        "test rows": (y_test, by_cost.predict_proba(test)[:, 1]),
    }
    fig, ax = plt.subplots(figsize=(7, 3.6), layout="constrained")
    for label, (y, probability) in curves.items():
        ax.plot(thresholds, [saved(y, probability > t) for t in thresholds], label=label)
    ax.axvline(by_cost.threshold_, color="0.4", ls="--", label="threshold of one fit")
    ax.axvline(tuned.best_threshold_, color="0.4", ls=":", label="threshold of six fits")
    ax.set(xlabel="inspect above this probability", ylabel="saved per machine")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    if "__file__" in globals():  # a notebook shows the picture, a script writes it
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png")
        fig.savefig(path, dpi=120)
