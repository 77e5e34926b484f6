"""
One network against an ensemble, with the same budget
=====================================================

Three estimators train the same network for the same number of epochs. With ``n_cycles=1`` and one
chain, the learning rate falls once and leaves one set of weights. With ``n_cycles=5`` it falls five
times, and the five snapshots predict together: this is the textbook snapshot ensemble. The third
estimator is the default for tables: eight chains, which are copies of the network with their own
initialisations. Each chain leaves out a fold of the rows.

The data are the handwritten digits of scikit-learn. One split is too noisy for a comparison, so
every number is a mean over four splits, each with its own seed.
"""

# %%
# Data, and what is compared
# --------------------------
# Half of the rows train the estimators, and the other half tests them. The learning rate, the batch
# size and the network are the defaults. No column is scaled by hand.

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
# ``staged_predict_proba`` yields the prediction of the ensemble after 1, 2, … cycles, and
# ``predict_members`` returns the prediction of each snapshot alone. ``validation_score_`` scores
# the predictions of the chains for the rows that each has left out, without the test rows.

single, stages, members, chains, unseen, seconds = [], [], [], [], [], []
for seed in range(N_SPLITS):
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.5, stratify=y, random_state=seed
    )
    budget = {"max_epochs": MAX_EPOCHS, "random_state": seed}
    network = SnapshotEnsembleClassifier(n_cycles=1, n_chains=1, **budget)
    ensemble = SnapshotEnsembleClassifier(n_cycles=N_CYCLES, cycle_mult=1.0, n_chains=1, **budget)
    default = SnapshotEnsembleClassifier(**budget)
    for model in (network, ensemble, default):
        start = time.perf_counter()
        model.fit(X_train, y_train)
        seconds.append(time.perf_counter() - start)

    single.append(scores(network.predict_proba(X_test), y_test))
    stages.append([scores(p, y_test) for p in ensemble.staged_predict_proba(X_test)])
    members.append([scores(p, y_test) for p in ensemble.predict_members(X_test)])
    chains.append(scores(default.predict_proba(X_test), y_test))
    unseen.append(-default.validation_score_)

single, chains = np.array(single), np.array(chains)  # (splits, scores)
stages = np.array(stages)  # (splits, cycles, scores)
members = np.array(members)  # (splits, cycles, scores)
final = stages[:, -1]

# %%
# The same number of epochs, three results
# ----------------------------------------
# Snapshots help the log-loss most: one network that has trained for long is overconfident, and an
# average of networks that disagree is not. In each step, eight chains do the work of eight
# networks, so their fit takes longer.


def row(name, values, fit_seconds=""):
    """A line of the table: mean and standard deviation over the splits."""
    (error, loss), (error_std, loss_std) = values.mean(axis=0), values.std(axis=0)
    cells = f"{100 * error:5.2f} ± {100 * error_std:.2f}   {loss:6.3f} ± {loss_std:.3f}"
    return f"{name:<28}{cells}   {fit_seconds:>7}"


fit_seconds = [f"{spent:.2f}" for spent in np.reshape(seconds, (N_SPLITS, 3)).mean(axis=0)]
print(f"Test half of the digits, mean ± standard deviation over {N_SPLITS} splits")
print(f"{'':<28}{'error, %':>12}   {'log-loss':>14}   {'fit, s':>7}")
print(row("one network", single, fit_seconds[0]))
print(row(f"one snapshot of the {N_CYCLES}", members.mean(axis=1)))
print(row(f"ensemble of {N_CYCLES} snapshots", final, fit_seconds[1]))
print(row("the default, 8 chains", chains, fit_seconds[2]))
for title, values in ((f"{N_CYCLES} snapshots", final), ("8 chains", chains)):
    for name, column in (("error", 0), ("log-loss", 1)):
        sign = np.sign(values[:, column] - single[:, column])
        lower, equal, higher = (int(np.sum(sign == value)) for value in (-1, 0, 1))
        print(
            f"{title}, {name}: better than one network in {lower}, equal in {equal}, worse in "
            f"{higher} of {N_SPLITS} splits"
        )

# %%
# A score without test rows
# -------------------------
# Each row is predicted by the chain that left it out, so the score needs no separate test rows. It
# is the score of single chains. The ensemble predicts with their mean, which does better.

print(f"\nThe default's log-loss, mean of {N_SPLITS} splits")
print(f"out of fold (-validation_score_) {np.mean(unseen):.3f}, test {chains[:, 1].mean():.3f}")

# %%
# The ensemble of one chain over its size
# ---------------------------------------
# All of these numbers come from one fit per split. The first line is one network too, trained for a
# fifth of the budget. Its gain over the network with the whole budget comes from less overfitting.
# The further gain of the later lines comes from the ensemble.

print("\nThe ensemble after each cycle")
print(f"{'snapshots':>9}   {'error, %':>8}   {'log-loss':>8}")
for size, (error, loss) in enumerate(stages.mean(axis=0), start=1):
    print(f"{size:9d}   {100 * error:8.2f}   {loss:8.3f}")

# %%
# A picture of it, where matplotlib is installed
# ----------------------------------------------
# As a script, this writes ``one_network_or_an_ensemble.png`` next to itself, or to the path that
# its argument gives.

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
        one, alone, together, eight = (
            scale * values[..., column].mean(axis=0) for values in (single, members, stages, chains)
        )
        ax.axhline(one, color="0.5", linestyle="--", label="one network, same budget")
        ax.axhline(eight, color="C2", linestyle=":", label="8 chains (the default)")
        ax.plot(sizes, alone, "o", color="C0", label="the cycle's snapshot alone")
        ax.plot(sizes, together, "s-", color="C1", label="ensemble so far")
        ax.set(xlabel="cycle", xticks=sizes, ylabel=label)
        ax.spines[["top", "right"]].set_visible(False)
    axes[1].legend(frameon=False)
    if "__file__" in globals():  # a notebook shows the picture, a script writes it
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png")
        fig.savefig(path, dpi=120)
        print(f"\nPicture: {path}")
