"""
One network against an ensemble, with the same budget
=====================================================

Both estimators below train the same network for the same number of epochs. With ``n_cycles=1``
the learning rate falls once and one set of weights is left. With ``n_cycles=5`` it falls five
times, and the five snapshots predict together.

The data are the handwritten digits of scikit-learn. One split is too noisy to compare on, so
every number is a mean over four splits, each with a seed of its own.
"""

# %%
# Data, and what is compared
# --------------------------
# Half of the rows train, the other half test. The rate, the batch size and the network are the
# defaults; no column is scaled by hand.

import sys
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from skensemble import SnapshotEnsembleClassifier

N_SPLITS = 4
N_CYCLES = 5
MAX_EPOCHS = 60

X, y = load_digits(return_X_y=True)


def scores(probabilities, y_true):
    """Error and log-loss of class probabilities."""
    return np.mean(probabilities.argmax(axis=1) != y_true), log_loss(y_true, probabilities)


# %%
# Train
# -----
# ``staged_predict_proba`` yields the ensemble as it was after 1, 2, … cycles, and
# ``predict_members`` what each snapshot says alone.

single, stages, members, seconds = [], [], [], []
for seed in range(N_SPLITS):
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=seed
    )
    network = SnapshotEnsembleClassifier(n_cycles=1, max_epochs=MAX_EPOCHS, random_state=seed)
    ensemble = SnapshotEnsembleClassifier(
        n_cycles=N_CYCLES, max_epochs=MAX_EPOCHS, random_state=seed
    )
    start = time.perf_counter()
    network.fit(X_train, y_train)
    middle = time.perf_counter()
    ensemble.fit(X_train, y_train)
    seconds.append((middle - start, time.perf_counter() - middle))

    single.append(scores(network.predict_proba(X_test), y_test))
    stages.append([scores(p, y_test) for p in ensemble.staged_predict_proba(X_test)])
    members.append([scores(p, y_test) for p in ensemble.predict_members(X_test)])

single = np.array(single)  # (splits, scores)
stages = np.array(stages)  # (splits, cycles, scores)
members = np.array(members)  # (splits, cycles, scores)
final = stages[:, -1]

# %%
# The same budget, two results
# ----------------------------
# The log-loss is where snapshots help most: one network that has trained for long is too sure of
# itself, and an average of networks that disagree is not.


def row(name, values, fit_seconds=""):
    """A line of the table: mean and standard deviation over the splits."""
    (error, loss), (error_std, loss_std) = values.mean(axis=0), values.std(axis=0)
    cells = f"{100 * error:5.2f} ± {100 * error_std:.2f}   {loss:6.3f} ± {loss_std:.3f}"
    return f"{name:<28}{cells}   {fit_seconds:>7}"


single_seconds, ensemble_seconds = np.mean(seconds, axis=0)
print(f"Test half of the digits, mean ± standard deviation over {N_SPLITS} splits")
print(f"{'':<28}{'error, %':>12}   {'log-loss':>14}   {'fit, s':>7}")
print(row("one network", single, f"{single_seconds:.2f}"))
print(row(f"one snapshot of the {N_CYCLES}", members.mean(axis=1)))
print(row(f"ensemble of {N_CYCLES} snapshots", final, f"{ensemble_seconds:.2f}"))
for name, column in (("error", 0), ("log-loss", 1)):
    sign = np.sign(final[:, column] - single[:, column])
    lower, equal, higher = (int(np.sum(sign == value)) for value in (-1, 0, 1))
    print(
        f"{name}: the ensemble is better in {lower}, equal in {equal}, worse in {higher} "
        f"of {N_SPLITS} splits"
    )

# %%
# The ensemble over its size
# --------------------------
# All of these come from one fit. The first line is one network too, trained for a fifth of the
# budget: what it gains over the network of the whole budget is less overfitting, what the later
# lines gain over it is the ensemble's.

print("\nThe ensemble after each cycle")
print(f"{'snapshots':>9}   {'error, %':>8}   {'log-loss':>8}")
for size, (error, loss) in enumerate(stages.mean(axis=0), start=1):
    print(f"{size:9d}   {100 * error:8.2f}   {loss:8.3f}")

# %%
# A picture of it, where matplotlib is installed
# ----------------------------------------------
# As a script, this writes ``quickstart.png`` next to itself, or the path given as its argument.

try:
    import matplotlib.pyplot as plt
except ImportError:
    print("\nmatplotlib is not installed, so there is no picture.")
else:
    sizes = np.arange(1, N_CYCLES + 1)
    fig, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    for ax, column, scale, label in zip(
        axes, (0, 1), (100, 1), ("test error, %", "test log-loss"), strict=True
    ):
        one, alone, together = (
            scale * values[..., column].mean(axis=0) for values in (single, members, stages)
        )
        ax.axhline(one, color="0.5", linestyle="--", label="one network, same budget")
        ax.plot(sizes, alone, "o", color="C0", label="the cycle's snapshot alone")
        ax.plot(sizes, together, "s-", color="C1", label="ensemble so far")
        ax.set(xlabel="cycle", xticks=sizes, ylabel=label)
        ax.spines[["top", "right"]].set_visible(False)
    axes[1].legend(frameon=False)
    if "__file__" in globals():  # a notebook shows the picture, a script writes it
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png")
        fig.savefig(path, dpi=120)
        print(f"\nPicture: {path}")
