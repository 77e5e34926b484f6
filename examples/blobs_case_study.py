"""
Case study: blobs, and the last ten of fifty snapshots
======================================================

A well-known tutorial on snapshot ensembles (J. Brownlee, *How to Develop a Snapshot Ensemble Deep
Learning Neural Network in Python With Keras*) trains a small network on three blobs of points. It
takes fifty snapshots in 500 epochs, and asks how many of the last ones should predict together.
Here the tutorial becomes one ``fit``.

The script prints a table and writes ``blobs_case_study.png`` next to itself, or to the path given
as its argument.
"""

# %%
# The problem
# -----------
# The data are three classes in two columns. Their blobs overlap, so no method can be right on every
# point. Only 100 points are for training, and 1,000 for testing.

import sys
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.datasets import make_blobs
from sklearn.metrics import log_loss
from sklearn.naive_bayes import GaussianNB
from torch import nn, optim

from skensemble import SnapshotEnsembleClassifier

N_TRAIN, N_CYCLES, MAX_EPOCHS, N_LAST = 100, 50, 500, 10

X, y = make_blobs(n_samples=1100, centers=3, n_features=2, cluster_std=2, random_state=2)
X_train, X_test = X[:N_TRAIN].astype(np.float32), X[N_TRAIN:].astype(np.float32)
y_train, y_test = y[:N_TRAIN], y[N_TRAIN:]

# %%
# The network and its run
# -----------------------
# The network has one hidden layer of 25 units and is trained by SGD with momentum. The learning
# rate falls from 0.01 along a cosine fifty times, over ten epochs each.


class Network(nn.Sequential):
    """One hidden layer; the sizes of input and output come from the data."""

    def __init__(self, n_inputs, n_outputs, n_units=25):
        super().__init__(nn.Linear(n_inputs, n_units), nn.ReLU(), nn.Linear(n_units, n_outputs))


ensemble = SnapshotEnsembleClassifier(
    Network,
    n_cycles=N_CYCLES,
    cycle_mult=1.0,
    max_epochs=MAX_EPOCHS,
    batch_size=32,
    lr=0.01,
    optimizer=optim.SGD,
    optimizer__momentum=0.9,
    members=N_LAST,
    random_state=0,
).fit(X_train, y_train)

# %%
# Single snapshots and ensembles of the last ones
# -----------------------------------------------
# ``predict_members`` returns the probabilities of every snapshot, so the ensembles of the last 1,
# 2, … 10 snapshots need no other fit. Because of ``members=10``, ``predict_proba`` returns the
# ensemble of ten.

members = ensemble.predict_members(X_test)[::-1]  # the last snapshot first


def scores(probabilities):
    """Accuracy and log-loss on the test points."""
    return np.mean(probabilities.argmax(axis=1) == y_test), log_loss(y_test, probabilities)


def cells(accuracy, loss):
    """The two numbers of a line of the table."""
    return f"{accuracy:>11.3f}{loss:>11.3f}"


alone = np.array([scores(p) for p in members[:N_LAST]])
together = np.array([scores(members[:size].mean(axis=0)) for size in range(1, N_LAST + 1)])
assert np.allclose(members[:N_LAST].mean(axis=0), ensemble.predict_proba(X_test))

print(f"{'':<6}{'this snapshot alone':>22}{'ensemble from it on':>22}")
print(f"{'cycle':<6}" + 2 * f"{'accuracy':>11}{'log-loss':>11}")
for size in range(1, N_LAST + 1):
    print(f"{N_CYCLES + 1 - size:<6}{cells(*alone[size - 1])}{cells(*together[size - 1])}")

# %%
# What to compare it with
# -----------------------
# The ensemble is compared with one network of the same budget, with the mean of all fifty
# snapshots, and with naive Bayes with Gaussian densities. The points were drawn from the model of
# naive Bayes, so no method can do much better.

network = clone(ensemble).set_params(n_cycles=1).fit(X_train, y_train)
bayes = GaussianNB().fit(X_train, y_train)
all_cycles = scores(members.mean(axis=0))
one_network = scores(network.predict_proba(X_test))

print(f"\n{'':<28}{'accuracy':>11}{'log-loss':>11}")
print(f"{'one network, same budget':<28}{cells(*one_network)}")
print(f"{f'ensemble of the last {N_LAST}':<28}{cells(*together[-1])}")
print(f"{f'ensemble of all {N_CYCLES}':<28}{cells(*all_cycles)}")
print(f"{'Gaussian naive Bayes':<28}{cells(*scores(bayes.predict_proba(X_test)))}")

votes = members[:N_LAST].argmax(axis=2)
print(f"\nPoints on which the last {N_LAST} snapshots all agree: ", end="")
print(f"{100 * np.mean((votes == votes[0]).all(axis=0)):.1f} %")

# %%
# What it shows
# -------------
# The ensemble gains little. On nearly all points the last ten snapshots predict the same class, so
# their average adds little: the accuracies differ by less than the standard error, which is about
# 0.012 with 1,000 points. One network of the same budget is on par with them.
#
# The log-loss shows more. In general, older snapshots have a lower log-loss: with 100 points, the
# network becomes overconfident as training goes on. The average over all fifty cycles, early ones
# included, has a lower log-loss than the average of the last ten, although it is no more accurate.
# On other data the early snapshots may do harm, as with the convolutional network in another
# example. Only an experiment shows which members to keep.

# %%
# Over thirty runs
# ----------------
# One run says little of differences so small. ``python -m benchmarks blobs --splits 30`` repeats it
# with thirty seeds:
#
# .. image:: /images/blobs_runs.png
#    :alt: Box plots of test error and log-loss over thirty runs. Ensembles of the last 1 to 10
#          snapshots of warm restarts hardly differ. Triangular rates and one plain network are on
#          par with them. Star and cold restarts are far worse.
#
# The error is 19 % whatever the size of the ensemble, and for the plain network, too. Averaging ten
# snapshots lowers the log-loss by 0.007. Triangular rates do the same. Cold restarts are far
# behind, because each network has only ten epochs, and so are cycles that all begin where the first
# one ended.

# %%
# A picture of it, where matplotlib is installed
# ----------------------------------------------

try:
    import matplotlib.pyplot as plt
except ImportError:
    print("\nmatplotlib is not installed, so there is no picture.")
else:
    sizes = np.arange(1, N_LAST + 1)
    fig, axes = plt.subplots(1, 2, figsize=(8, 3.8), layout="constrained")
    for ax, column, label in zip(axes, (0, 1), ("test accuracy", "test log-loss"), strict=True):
        ax.axhline(
            one_network[column], color="0.5", linestyle="--", label="one network, same budget"
        )
        ax.axhline(
            all_cycles[column], color="0.5", linestyle=":", label=f"ensemble of all {N_CYCLES}"
        )
        ax.plot(sizes, together[:, column], color="C1", linewidth=3, label="ensemble of the last")
        ax.plot(sizes, alone[:, column], "o", color="C0", label="snapshot alone")
        ax.set(xlabel="snapshots, counted from the last", xticks=sizes, ylabel=label)
        ax.spines[["top", "right"]].set_visible(False)
    accuracy = one_network[0]
    error = np.sqrt(accuracy * (1 - accuracy) / len(y_test))
    axes[0].axhspan(accuracy - error, accuracy + error, color="0.93", label="± standard error")
    axes[0].set_ylim(0.77, 0.86)
    fig.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False
    )
    if "__file__" in globals():  # a notebook shows the picture, a script writes it
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png")
        fig.savefig(path, dpi=120)
        print(f"\nPicture: {path}")
