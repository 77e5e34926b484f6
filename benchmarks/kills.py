"""Kill fits at random moments, and see that they go on to the bits of an undisturbed run.

Each case is fitted in a process of its own, which SIGKILL ends at a random moment, and again after
it was started anew. The third process ends by itself. Digests of all snapshots, weights and unseen
predictions compare what it leaves with an undisturbed fit. A search with two jobs is killed three
times.
"""

import argparse
import contextlib
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from torch import nn

import skensemble
from skensemble import SnapshotEnsembleClassifier


class Net(nn.Module):
    """A network with batch normalisation and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 10)
        )

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return raw scores."""
        return self.layers(X)


class Finished(Callback):
    """Notes in a file each training that came to its end: the rate and the first losses tell which.

    Skorch calls it once a training, and a fit that is found finished trains nothing.
    """

    def __init__(self, path: str):
        self.path = path

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        told = repr((net.lr, [row["train_loss"] for row in net.history[:2]]))
        with open(self.path, "a") as file:
            file.write(hashlib.sha256(told.encode()).hexdigest() + "\n")


#: Name of the search among the cases.
SEARCH = "search of 18 fits, two jobs"

_EARLY = {"early_stopping": True, "n_iter_no_change": 1, "n_cycles": 12}

#: A network of one chain would end before it is killed.
_LONG = {"max_epochs": 500}

#: Estimators by name: built-in and own modules, one and eight chains, three optimizers.
CASES: dict[str, dict[str, Any]] = {
    "built-in, eight chains": {"n_chains": 8},
    "built-in, eight chains, dropout": {"n_chains": 8, "module__dropout": 0.3},
    "built-in, one chain, RMSprop": {"n_chains": 1, "optimizer": "RMSprop", "lr": 0.002},
    "built-in, early stopping": {"n_chains": 8, **_EARLY},
    "built-in, cold": {"n_chains": 4, "restart": "cold"},
    "own, SGD": {"module": Net, "optimizer": "SGD", "optimizer__momentum": 0.9, "lr": 0.1, **_LONG},
    "own, AdamW": {"module": Net, "optimizer": "AdamW", **_LONG},
    "own, eight chains, RMSprop": {
        "module": Net,
        "n_chains": 8,
        "optimizer": "RMSprop",
        "lr": 0.002,
    },
    "own, chains one by one": {
        "module": Net,
        "n_chains": 2,
        "optimizer": "LBFGS",
        "lr": 0.01,
        "max_epochs": 60,
    },
    "own, early stopping, dropout": {"module": Net, "n_chains": 8, **_EARLY},
}


def estimator(case: str, folder: Path | None, smallest: bool) -> SnapshotEnsembleClassifier:
    """Return the estimator of a case, which writes to the folder."""
    options = {"max_epochs": 60, "n_cycles": 8, "random_state": 0, **CASES[case]}
    if smallest:
        options["max_epochs"] = 4
    return SnapshotEnsembleClassifier(checkpoint_dir=folder, **options)


def data() -> tuple[np.ndarray, np.ndarray]:
    """Return images of digits as rows."""
    X, y = load_digits(return_X_y=True)
    return X / 16, y


def digest(model: SnapshotEnsembleClassifier) -> str:
    """Return the digest of what a fit left."""
    told = hashlib.sha256(model.member_weights_.tobytes())
    for snapshot in model.snapshots_:
        for value in snapshot.values():
            told.update(value.contiguous().numpy().tobytes())
    if hasattr(model, "oof_decision_function_"):
        told.update(model.oof_decision_function_.tobytes())
    return told.hexdigest()


def run(repeats: int, smallest: bool, peers: bool = False) -> list[dict[str, Any]]:
    """Return a row for each case: how many of its killed fits ended with the same bits."""
    rows, draw = [], random.Random(0)
    cases = list(CASES)[:1] if smallest else list(CASES)
    for case in cases:
        started = time.perf_counter()
        expected = fit_here(case, None, smallest)
        seconds = time.perf_counter() - started
        rows.append(row(case, expected, seconds, 1 if smallest else 4, draw, smallest))
    return rows if smallest else [*rows, search_row(draw)]


def search(folder: Path | None, notes: Path) -> GridSearchCV:
    """Return a search over rates and cycles, two fits at a time."""
    model = SnapshotEnsembleClassifier(
        max_epochs=40, random_state=0, checkpoint_dir=folder, callbacks=[Finished(str(notes))]
    )
    grid = {"lr": [0.002, 0.005, 0.01], "n_cycles": [3, 6]}
    return GridSearchCV(model, grid, cv=3, n_jobs=2, scoring="neg_log_loss", error_score="raise")


def scores_of(found: GridSearchCV) -> str:
    """Return the digest of all scores of a search."""
    names = sorted(name for name in found.cv_results_ if "score" in name and "time" not in name)
    told = b"".join(np.asarray(found.cv_results_[name]).tobytes() for name in names)
    return hashlib.sha256(told + digest(found.best_estimator_).encode()).hexdigest()


def search_row(draw: random.Random) -> dict[str, Any]:
    """Kill a search with two jobs three times, and count the fits that were trained twice."""
    with tempfile.TemporaryDirectory() as name:
        started = time.perf_counter()
        notes = [Path(name) / "whole", Path(name) / "killed"]
        expected = scores_of(search(None, notes[0]).fit(*data()))
        seconds = time.perf_counter() - started
        folder, n_killed = Path(name) / "files", 0
        for _ in range(3):
            n_killed += kill_group(SEARCH, folder, notes[1], draw.uniform(0, seconds / 3))
        told = [*command(SEARCH, folder, False), "--notes", str(notes[1])]
        done = subprocess.run(told, stdout=subprocess.PIPE, text=True, check=True)
        ended = notes[1].read_text().split()
        n_once = len(set(ended))
        return {
            "case": SEARCH,
            "seconds": round(seconds, 1),
            "fits": len(notes[0].read_text().split()),
            "kills": n_killed,
            "same bits": int(done.stdout.split()[-1] == expected),
            "files that predict": f"{n_once} trained, {len(ended) - n_once} twice",
        }


def row(
    case: str, expected: str, seconds: float, n: int, draw: random.Random, smallest: bool
) -> dict[str, Any]:
    """Kill one case `n` times twice, and count."""
    counts: Counter[str] = Counter()
    for _ in range(n):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for _ in range(2):
                counts["killed"] += kill_one(case, folder, draw.uniform(0, seconds), smallest)
                counts["files"] += len(list(folder.glob("*.safetensors")))
                counts["predicted"] += n_predicting(case, folder)
            counts["same bits"] += finish(case, folder, smallest) == expected
    return {
        "case": case,
        "seconds": round(seconds, 1),
        "fits": n,
        "kills": counts["killed"],
        "same bits": counts["same bits"],
        "files that predict": f"{counts['predicted']} of {counts['files']}",
    }


def fit_here(case: str, folder: Path | None, smallest: bool) -> str:
    """Fit a case in this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return digest(estimator(case, folder, smallest).fit(*data()))


def command(case: str, folder: Path, smallest: bool) -> list[str]:
    """Return the command that fits a case in a process of its own."""
    told = [sys.executable, "-W", "ignore", "-m", "benchmarks.kills", case, str(folder)]
    return [*told, "--smallest"] if smallest else told


def kill_one(case: str, folder: Path, seconds: float, smallest: bool) -> bool:
    """Start a fit, and kill it after so many seconds of training, unless it ended before."""
    process = subprocess.Popen(command(case, folder, smallest), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()  # it has begun
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    return process.wait() == -signal.SIGKILL


def kill_group(case: str, folder: Path, notes: Path, seconds: float) -> bool:
    """Start a search, and kill it with its workers after so many seconds."""
    told = [*command(case, folder, False), "--notes", str(notes)]
    process = subprocess.Popen(told, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.stdout.close()
    return process.wait() == -signal.SIGKILL


def finish(case: str, folder: Path, smallest: bool) -> str:
    """Let a process come to the end of the fit, and return the digest that it prints."""
    done = subprocess.run(
        command(case, folder, smallest), stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.split()[-1]


def n_predicting(case: str, folder: Path) -> int:
    """Count the files of a folder that load and predict; unfinished ones hide."""
    n = 0
    for path in folder.glob("*.safetensors"):
        model = skensemble.load(path, module=CASES[case].get("module"))
        n += bool(np.isfinite(model.predict_proba(data()[0])).all())
    return n


def main() -> None:
    """Fit one case, and print the digest of what it left."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("case", choices=[*CASES, SEARCH])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--smallest", action="store_true")
    parser.add_argument("--notes", type=Path, help="where a search notes what it trained")
    arguments = parser.parse_args()
    print("begins", flush=True)
    if arguments.case == SEARCH:
        print(scores_of(search(arguments.folder, arguments.notes).fit(*data())))
        return
    print(fit_here(arguments.case, arguments.folder, arguments.smallest))


if __name__ == "__main__":
    main()
