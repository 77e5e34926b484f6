"""
A module of your own: a convolutional network on images
=======================================================

The estimators train any ``nn.Module`` class that returns one raw score per class. This example
trains a small convolutional network on the images of the handwritten digits, an array of shape
``(n_samples, channels, height, width)``. It compares one network with an ensemble of the same
budget, and loads a snapshot into a fresh module.
"""

# %%
# The module
# ----------
# The module takes raw images and returns raw scores, without a softmax at its end. ``n_inputs``
# (for images, the number of channels) and ``n_outputs`` (the number of classes) are filled in from
# the data. Any other parameter is set by its name after ``module__``.

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from torch import nn

from skensemble import SnapshotEnsembleClassifier


class ConvNet(nn.Module):
    """Two convolutions, each followed by pooling, and a linear layer."""

    def __init__(self, n_inputs, n_outputs, n_channels=8):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(n_inputs, n_channels, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(n_channels, 2 * n_channels, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.scores = nn.Linear(2 * n_channels * 2 * 2, n_outputs)

    def forward(self, images):
        return self.scores(self.features(images).flatten(start_dim=1))


# %%
# The images
# ----------
# A module of your own sees X as it is, so the pixels are scaled to [0, 1] here. Images keep their
# shape: there is no need to flatten them.

X, y = load_digits(return_X_y=True)
images = (X / 16).astype(np.float32).reshape(-1, 1, 8, 8)
images_train, images_test, y_train, y_test = train_test_split(
    images, y, test_size=0.5, stratify=y, random_state=0
)
print(f"Training images: {images_train.shape}, {len(np.unique(y))} classes")

# %%
# One network and an ensemble, with the same budget
# -------------------------------------------------
# Both take the same number of optimizer steps. The numbers are means over three seeds, which set
# the initial weights and the order of the batches. The split is always the same. The ensemble of
# the last three snapshots needs no other fit: it predicts what ``members=3`` would predict.

PARAMETERS = {"max_epochs": 45, "cycle_mult": 1.0, "batch_size": 64, "lr": 0.01}
N_SEEDS = 3


def scores(probabilities):
    """Error in percent and log-loss on the test half."""
    error = np.mean(probabilities.argmax(axis=1) != y_test)
    return 100 * error, log_loss(y_test, probabilities)


rows = {"one network": [], "all 5 snapshots": [], "the last 3 of them": [], "the first alone": []}
for seed in range(N_SEEDS):
    network = SnapshotEnsembleClassifier(ConvNet, n_cycles=1, random_state=seed, **PARAMETERS)
    ensemble = SnapshotEnsembleClassifier(ConvNet, n_cycles=5, random_state=seed, **PARAMETERS)
    network.fit(images_train, y_train)
    ensemble.fit(images_train, y_train)
    members = ensemble.predict_members(images_test)  # (snapshots, images, classes)
    rows["one network"].append(scores(network.predict_proba(images_test)))
    rows["all 5 snapshots"].append(scores(ensemble.predict_proba(images_test)))
    rows["the last 3 of them"].append(scores(members[-3:].mean(axis=0)))
    rows["the first alone"].append(scores(members[0]))

print(f"\nTest half, mean over {N_SEEDS} seeds")
print(f"{'':<20}{'error, %':>10}{'log-loss':>11}")
for name, values in rows.items():
    error, loss = np.mean(values, axis=0)
    print(f"{name:<20}{error:>10.2f}{loss:>11.3f}")

# %%
# One percent is nine images, so the errors of the first three lines do not differ clearly. The
# log-losses carry a warning: a cycle must be long enough for the network to learn. The first
# snapshot has had a fifth of the budget, which is too little for this network, and it costs the
# average more than it adds. There are three remedies: leave out the first snapshots
# (``members=3``), raise the budget, or use fewer cycles. A grid search over ``n_cycles`` that
# contains 1 shows which number of cycles pays off.

# %%
# A snapshot in a fresh module
# ----------------------------
# A snapshot is an ordinary state dict: parameters and buffers by name. Loaded into a new module, it
# predicts without this package, and ``torch.save`` writes it to a file. ``predict_members`` returns
# the prediction of each snapshot.

fresh = ConvNet(n_inputs=1, n_outputs=10)
fresh.load_state_dict(ensemble.snapshots_[-1])
fresh.eval()
with torch.no_grad():
    by_hand = torch.softmax(fresh(torch.from_numpy(images_test)), dim=1).numpy()
difference = np.abs(by_hand - ensemble.predict_members(images_test)[-1]).max()
print(f"\nLargest difference between the fresh module and the last member: {difference:.0e}")
print(f"Parameters of one snapshot: {sum(p.numel() for p in fresh.parameters()):,}")

# %%
# The ensemble predicts the mean of the predictions of such modules.

mean = np.average(ensemble.predict_members(images_test), axis=0, weights=ensemble.member_weights_)
print(f"predict_proba is their mean: {np.allclose(mean, ensemble.predict_proba(images_test))}")
