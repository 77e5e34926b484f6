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

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, balanced_accuracy_score, log_loss
from sklearn.model_selection import train_test_split

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
# Each training row has a probability from a network that has not seen it. A threshold that is good
# there is good for new rows, and the probabilities stay as they are. No row is held out for it.

unseen = plain.oof_decision_function_[:, 1]
thresholds = np.linspace(0.01, 0.5, 50)
best = max(thresholds, key=lambda t: balanced_accuracy_score(y_train, unseen > t))
show(f"above {best:.2f}", plain.predict_proba(test)[:, 1], best)
