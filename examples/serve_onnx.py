"""
Serve an ensemble without torch
===============================

Train on a raw frame, write one file of ONNX, and predict from it in a process that cannot import
torch. The server needs onnxruntime and numpy, or ONNX's runtime for another language.
"""

# %%
# Train and write the file
# ------------------------
# The file holds the encoding of the columns, all members, and their weighted mean. This needs
# ``pip install skensemble[onnx]``.

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from skensemble import SnapshotEnsembleClassifier

N = 600
rng = np.random.default_rng(0)
trips = pd.DataFrame(
    {
        "carrier": rng.choice(["bus", "train", "ferry"], N),
        "km": rng.lognormal(3, 1, N),
        "night": rng.random(N) < 0.3,
    }
)
delay = trips["km"] / 40 + trips["carrier"].map({"bus": 1, "train": 0, "ferry": 2}) - trips["night"]
late = np.where(delay + rng.normal(0, 0.5, N) > 1.5, "late", "in time")
trips.loc[rng.random(N) < 0.1, ["km", "carrier"]] = None

model = SnapshotEnsembleClassifier(max_epochs=20, random_state=0).fit(trips, late)
folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "trips.onnx"
model.to_onnx(path)
print(f"{np.count_nonzero(model.member_weights_)} members in {path.stat().st_size / 1e6:.1f} MB")

# %%
# Serve it elsewhere
# ------------------
# Each column is an input of shape (n, 1). Categories are strings, and ``""`` where they miss; all
# other columns are numbers, and NaN where they miss. Fit has seen no monorail.

SERVER = """
import sys

sys.modules["torch"] = sys.modules["skensemble"] = None  # any import of them fails

import numpy as np
import onnxruntime

try:
    import torch
except ImportError:
    print("no torch here")

session = onnxruntime.InferenceSession(sys.argv[1])
feeds = {
    "carrier": np.array([["train"], ["ferry"], [""], ["monorail"]], dtype=object),
    "km": np.array([[12.0], [80.0], [np.nan], [30.0]]),
    "night": np.array([[0.0], [0.0], [1.0], [0.0]]),
}
label, probabilities = session.run(["label", "probabilities"], feeds)
for carrier, is_late, p in zip(feeds["carrier"][:, 0], label, probabilities):
    print(f"{carrier or 'missing':10} {is_late:8} {p.max():.6f}")
"""

served = subprocess.run(
    [sys.executable, "-W", "error", "-c", SERVER, str(path)],
    capture_output=True, text=True, check=True,
)  # fmt: skip
print(served.stdout)

# %%
# The same rows here
# ------------------

rows = pd.DataFrame(
    {
        "carrier": ["train", "ferry", None, "monorail"],
        "km": [12.0, 80.0, np.nan, 30.0],
        "night": [False, False, True, False],
    }
)
here = model.predict_proba(rows).max(axis=1)
there = np.array([float(line.split()[-1]) for line in served.stdout.splitlines()[1:]])
print(f"largest difference: {np.abs(here - there).max():.0e}")
folder.cleanup()
