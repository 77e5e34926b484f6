"""
Learning rate and test error over one run
=========================================

Each time the learning rate restarts, the test error jumps. As the rate falls, the error falls with
it, and the snapshot is taken at the lowest rate. The ensemble averages the snapshots that have been
taken so far.

The run trains a small network on the handwritten digits of scikit-learn. The script writes
``learning_rate_and_error.png`` next to itself, or to the path given as its argument.
"""

# %%
# A network and a callback
# ------------------------
# Any skorch callback can watch the training. This one has no hook for single batches, so the fast
# training loop stays on.

import sys
from pathlib import Path

try:
    import matplotlib.pyplot as plt
except ImportError:
    print("This example draws a picture and needs matplotlib: pip install matplotlib")
    sys.exit(0)

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from skorch.callbacks import Callback
from torch import nn

from skensemble import SnapshotEnsembleClassifier, learning_rates


class Perceptron(nn.Sequential):
    """Two hidden layers; the sizes of input and output come from the data."""

    def __init__(self, n_inputs, n_outputs, n_units=128, dropout=0.1):
        super().__init__(
            nn.Linear(n_inputs, n_units),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(n_units, n_units),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(n_units, n_outputs),
        )


class TestError(Callback):
    """Error on the test part at the end of each epoch, kept in ``net.history``."""

    def __init__(self, X, y):
        self.X, self.y = X, y

    def on_epoch_end(self, net, **_):
        error = np.mean(net.predict(self.X) != self.y)
        net.history.record("test_error", float(error))


# %%
# One run
# -------
# The pixels are scaled to [0, 1] by hand, because a module of your own sees the data as they are.
# The labels are 0 to 9, which are also the numbers of the network's outputs.

N_CYCLES, MAX_EPOCHS, BATCH_SIZE, LR = 5, 60, 64, 0.02

X, y = load_digits(return_X_y=True)
X = (X / 16).astype(np.float32)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=0)

ensemble = SnapshotEnsembleClassifier(
    Perceptron,
    n_cycles=N_CYCLES,
    cycle_mult=1.0,
    max_epochs=MAX_EPOCHS,
    batch_size=BATCH_SIZE,
    lr=LR,
    callbacks=[TestError(X_test, y_test)],
    random_state=0,
).fit(X_train, y_train)

network_error = 100 * np.array(ensemble.history_[:, "test_error"])
snapshot_error = [
    100 * np.mean(p.argmax(axis=1) != y_test) for p in ensemble.predict_members(X_test)
]
ensemble_error = [100 * np.mean(labels != y_test) for labels in ensemble.staged_predict(X_test)]
for cycle, (alone, together) in enumerate(zip(snapshot_error, ensemble_error, strict=True), 1):
    print(f"cycle {cycle}: snapshot {alone:.2f} %, ensemble so far {together:.2f} %")

# %%
# The picture
# -----------
# ``learning_rates`` gives the rate of every step without training.

steps_per_epoch = -(-len(X_train) // BATCH_SIZE)
rates = learning_rates(MAX_EPOCHS * steps_per_epoch, lr=LR, n_cycles=N_CYCLES)
ends = MAX_EPOCHS / N_CYCLES * np.arange(1, N_CYCLES + 1)  # in epochs
right = MAX_EPOCHS + 3  # room for the ensemble of all cycles

plt.rcParams.update({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False})
fig, (top, bottom) = plt.subplots(
    2, 1, figsize=(8, 4.6), sharex=True, height_ratios=[1, 2.2], layout="constrained"
)
for ax in (top, bottom):
    for end in ends:
        ax.axvline(end, color="0.85", linewidth=1, zorder=0)

top.plot(np.arange(len(rates)) / steps_per_epoch, rates, color="0.25", linewidth=1.5)
top.set(ylabel="learning rate", ylim=(0, None), yticks=[0, LR / 2, LR])
for cycle, end in enumerate(ends, start=1):
    middle = end - MAX_EPOCHS / N_CYCLES / 2
    top.annotate(f"cycle {cycle}", (middle, 1.02), xycoords=("data", "axes fraction"), ha="center")

epochs = np.arange(1, MAX_EPOCHS + 1)
bottom.plot(epochs, network_error, color="C0", linewidth=1.5, label="network in training")
bottom.plot(ends, snapshot_error, "o", color="C0", markersize=7, label="snapshot", zorder=3)
bottom.step(
    [*ends, right],
    [*ensemble_error, ensemble_error[-1]],
    where="post",
    color="C1",
    linewidth=2.5,
    label="ensemble so far",
)
bottom.set(xlabel="epoch", ylabel="test error, %", xlim=(0, right), ylim=(0, 12))
bottom.legend(loc="upper right", ncols=3, framealpha=1, edgecolor="none", borderaxespad=0)

if "__file__" in globals():  # a notebook shows the picture, a script writes it
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".png")
    fig.savefig(path, dpi=130)
    print(f"Picture: {path}")
