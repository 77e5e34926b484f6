"""Digests of everything that a fit leaves behind, to compare two versions of the source.

``python benchmarks/bits.py --against REVISION`` fits the same estimators with the source of a
revision and with the present one, each in a process of its own, and names every attribute and
prediction whose bits differ. Digests depend on the processor, so none are kept.
"""

import argparse
import contextlib
import hashlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_matrix
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.model_selection import KFold
from skorch.callbacks import EarlyStopping, EpochScoring, GradientNormClipping
from torch import nn
from torch.utils.data import Dataset, TensorDataset

ROOT = Path(__file__).resolve().parent.parent


class Perceptron(nn.Module):
    """A network with dropout, as users write it."""

    def __init__(self, n_inputs: int, n_outputs: int, dropout: float = 0.2):
        super().__init__()
        self.hidden = nn.Linear(n_inputs, 12)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(12, n_outputs)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.output(self.dropout(torch.relu(self.hidden(X))))


class Normalised(nn.Module):
    """A network with buffers."""

    def __init__(self, n_inputs: int, n_outputs: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(n_inputs, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, n_outputs)
        )

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.layers(X)


class Recurrent(nn.Module):
    """A network that ``torch.func.vmap`` does not take."""

    def __init__(self, n_outputs: int):
        super().__init__()
        self.layer = nn.GRU(8, 6, batch_first=True)
        self.output = nn.Linear(6, n_outputs)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return self.output(self.layer(X.reshape(len(X), 8, 8))[0][:, -1])


class TwoInputs(nn.Module):
    """A network that takes a dict."""

    def __init__(self, n_outputs: int):
        super().__init__()
        self.left, self.right = nn.Linear(32, n_outputs), nn.Linear(32, n_outputs)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return self.left(left) + self.right(right)


class Items(Dataset[Any]):
    """A dataset that is more than arrays."""

    def __init__(self, X: Any, y: Any):
        self.X, self.y = X, y

    def __len__(self) -> int:
        return len(self.X)

    def __getitem__(self, index: int) -> Any:
        return torch.from_numpy(self.X[index]).float(), int(self.y[index])


def frame(n: int) -> tuple[pd.DataFrame, Any]:
    """Numbers, categories, strings, booleans, dates and missing values."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "number": rng.normal(size=n),
            "count": rng.integers(0, 5, n),
            "flag": rng.random(n) < 0.3,
            "city": rng.choice(["Bonn", "Rome", "Oslo", "Riga"], n),
            "size": pd.Categorical(rng.choice(["s", "m", "l"], n)),
            "sold": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 800, n), "D"),
        }
    )
    X.loc[rng.random(n) < 0.1, "number"] = np.nan
    X.loc[rng.random(n) < 0.1, "city"] = None
    y = X["number"].fillna(0) + (X["city"] == "Rome") + 0.3 * rng.normal(size=n)
    return X, y.to_numpy()


def by_square(predictions: Any, y: Any, sample_weight: Any) -> Any:
    """A rule for members of a user's own."""
    return np.arange(1, len(predictions) + 1) ** 2.0


def cases() -> Iterator[tuple[str, Any]]:
    """Names, and functions that return a fitted estimator and rows to predict."""
    from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor

    digits, labels = load_digits(return_X_y=True)
    digits, labels = digits[:400], labels[:400]
    iris, kinds = load_iris(return_X_y=True)
    diabetes, progress = load_diabetes(return_X_y=True)
    rng = np.random.default_rng(1)
    weight = rng.random(400) * 2
    brief: dict[str, Any] = {"max_epochs": 4, "n_cycles": 3, "random_state": 0}

    def classifier(*args: Any, **kwargs: Any) -> Any:
        return SnapshotEnsembleClassifier(*args, **{**brief, **kwargs})

    def regressor(*args: Any, **kwargs: Any) -> Any:
        return SnapshotEnsembleRegressor(*args, **{**brief, **kwargs})

    def fit(model: Any, X: Any = digits, y: Any = labels, **kwargs: Any) -> Any:
        return lambda: (model.fit(X, y, **kwargs), X)

    def in_parts(model: Any, X: Any, y: Any, **first: Any) -> Any:
        def call() -> Any:
            half = len(X) // 2
            model.partial_fit(X[:half], y[:half], **first)
            model.partial_fit(X[half:], y[half:])
            again = pickle.loads(pickle.dumps(model))
            return again.partial_fit(X, y), X

        return call

    def warm(model: Any, X: Any, y: Any) -> Any:
        def call() -> Any:
            model.set_params(warm_start=True).fit(X, y)
            return model.set_params(lr=0.004).fit(X, y), X

        return call

    two = np.stack([progress, progress**0.5 * 100], axis=1)
    sgd = {"optimizer": torch.optim.SGD, "optimizer__momentum": 0.9, "lr": 0.05}
    chains = {"n_chains": 3}
    yield "classifier", fit(classifier())
    yield (
        "classifier, default budget",
        fit(SnapshotEnsembleClassifier(random_state=0), iris, np.array(["a", "b", "c"])[kinds]),
    )
    yield "regressor", fit(regressor(), diabetes, progress)
    yield "regressor, two outputs", fit(regressor(n_chains=4), diabetes, two)
    yield (
        "regressor, default budget",
        fit(
            SnapshotEnsembleRegressor(random_state=3, n_cycles=5, max_epochs=40), diabetes, progress
        ),
    )
    yield "hidden dropout", fit(classifier(module__dropout=0.1, module__hidden=(16, 8)))
    yield "one chain of the built-in network", fit(classifier(n_chains=1, validation="cross"))
    yield "module", fit(classifier(Perceptron))
    yield "module, chains by vmap", fit(classifier(Perceptron, **chains, **sgd))
    yield "buffers, chains by vmap", fit(classifier(Normalised, **chains, validation=0.2))
    yield "chains one by one", fit(classifier(Recurrent, **chains))
    yield "chains one by one, cold", fit(classifier(Recurrent, n_chains=2, restart="cold"))
    yield "instance", fit(classifier(Perceptron(64, 10), n_chains=2))
    yield "regression module", fit(regressor(Perceptron, **chains), diabetes, progress)
    yield "weights", fit(classifier(), sample_weight=weight)
    yield "weights of a module", fit(classifier(Perceptron), sample_weight=weight)
    yield (
        "weights of a regressor",
        fit(regressor(criterion=nn.L1Loss), diabetes[:400], progress[:400], sample_weight=weight),
    )
    yield "balanced classes", fit(classifier(class_weight="balanced"), sample_weight=weight)
    yield (
        "class weights, X_val",
        fit(
            classifier(Perceptron, class_weight={3: 2.0}),
            X_val=digits[:50] + 1,
            y_val=labels[:50],
            sample_weight_val=weight[:50],
        ),
    )
    yield "groups", fit(classifier(), groups=np.arange(400) // 7)
    yield "splitter", fit(classifier(validation=KFold(3)))
    yield "no validation", fit(classifier(n_chains=2, validation=None, members=2))
    yield "classifier in parts", in_parts(classifier(), digits, labels, classes=range(10))
    yield "regressor in parts", in_parts(regressor(), diabetes, progress)
    yield (
        "chains one by one, in parts",
        in_parts(classifier(Recurrent, n_chains=2), digits, labels, classes=range(10)),
    )
    yield "warm start", warm(classifier(), digits, labels)
    yield "warm start, cold restarts", warm(classifier(restart="cold"), digits, labels)
    X, y = frame(300)
    yield "frame", fit(regressor(), X, y)
    yield (
        "frame, named categories",
        fit(
            classifier(categorical_features=["count", "city", "size", "flag"]),
            X.drop(columns="sold"),
            (y > 0).astype(int),
        ),
    )
    yield "small table", fit(classifier(), iris[40:70], kinds[40:70])
    yield (
        "small table, weights",
        fit(regressor(), diabetes[:30], progress[:30], sample_weight=np.arange(30.0)),
    )
    yield "sparse", fit(classifier(), csr_matrix(digits))
    yield "sparse, module", fit(classifier(Perceptron), csr_matrix(digits))
    yield (
        "dict",
        fit(classifier(TwoInputs, n_chains=2), {"left": digits[:, :32], "right": digits[:, 32:]}),
    )
    yield "dataset", fit(classifier(Perceptron, n_chains=2), Items(digits, labels), None)
    yield (
        "dataset of tensors",
        fit(
            classifier(Perceptron),
            TensorDataset(torch.from_numpy(digits).float(), torch.from_numpy(labels)),
            None,
        ),
    )
    yield "cold restarts", fit(classifier(restart="cold", n_chains=2))
    yield (
        "triangular, burn-in",
        fit(classifier(schedule="triangular2", schedule__burn_in_epochs=1, schedule__min_lr=1e-4)),
    )
    yield "votes", fit(classifier(voting="hard"))
    yield "greedy", fit(classifier(members="greedy"))
    yield "a rule", fit(classifier(members=by_square))
    yield "LBFGS", fit(classifier(Perceptron, optimizer=torch.optim.LBFGS, lr=0.1))
    yield "label smoothing", fit(classifier(criterion__label_smoothing=0.1))
    yield "Huber", fit(regressor(criterion=nn.HuberLoss), diabetes, progress)
    yield "a DataLoader", fit(classifier(Perceptron, iterator_train__num_workers=0))
    yield (
        "callbacks",
        fit(
            classifier(
                callbacks=[
                    ("stop", EarlyStopping("valid_loss", patience=2, sink=lambda *_: None)),
                    EpochScoring("accuracy", lower_is_better=False, on_train=True),
                ],
                max_epochs=8,
            )
        ),
    )
    yield (
        "gradient clipping",
        fit(classifier(Perceptron, n_chains=2, callbacks=[GradientNormClipping(1.0)])),
    )

    def chosen_again() -> Any:
        model = classifier().fit(digits[:200], labels[:200])
        return model.refit_members(digits[200:], labels[200:]), digits

    yield "members chosen again", chosen_again


def digest(value: Any) -> Any:
    """Hex digest of bits and of how they lie: arrays, tensors, scalars, and what holds them."""
    made = hashlib.sha256()
    _feed(made, value)
    return made.hexdigest()[:16]


def _feed(made: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        made.update(f"{value.dtype} {value.shape}".encode())
        made.update(
            repr(value.tolist()).encode()
            if value.dtype.kind == "O"
            else np.ascontiguousarray(value).tobytes()
        )
    elif isinstance(value, dict):
        for name, part in value.items():
            made.update(str(name).encode())
            _feed(made, part)
    elif isinstance(value, list | tuple):
        for part in value:
            _feed(made, part)
    else:
        made.update(repr(value).encode())


def of_model(model: Any, X: Any) -> dict[str, Any]:
    """A digest for each fitted attribute and each prediction."""
    left = {
        name: getattr(model, name)
        for name in sorted(dir(model))
        if name.endswith("_") and not name.startswith("_") and hasattr(model, name)
    }
    net = left.pop("net_")
    left["history_"] = [
        {k: v for k, v in row.items() if k not in ("dur", "batches")} for row in left["history_"]
    ]
    left["net_: module"] = net.module_.state_dict()
    left["net_: optimizer"] = net.optimizer_.state_dict()["state"]
    left["net_: rate"] = [group["lr"] for group in net.optimizer_.param_groups]
    for name in ("predict", "predict_proba", "predict_log_proba", "predict_members"):
        if hasattr(model, name):
            left[name] = getattr(model, name)(X)
    for name in ("staged_predict", "staged_predict_proba"):
        if hasattr(model, name):
            left[name] = list(getattr(model, name)(X))
    left["generators"] = [torch.get_rng_state(), np.random.get_state()]  # noqa: NPY002
    return {name: digest(value) for name, value in left.items()}


def all_digests() -> dict[str, dict[str, Any]]:
    """Of all cases, with the warnings of each."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    found = {}
    for name, call in cases():
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            model, X = call()
            found[name] = of_model(model, X)
        found[name]["warnings"] = sorted(str(warning.message) for warning in told)
    return found


@contextlib.contextmanager
def source_of(revision: str) -> Iterator[Path]:
    """A checkout of a revision, for the moment."""
    with tempfile.TemporaryDirectory() as folder:
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", "--quiet", folder, revision], check=True)
        try:
            yield Path(folder)
        finally:
            subprocess.run([*git, "remove", "--force", folder], check=True)


def digests_with(source: Path) -> Any:
    """What a process finds that imports the package from there."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "digests.json"
        subprocess.run(
            [sys.executable, __file__, "--write", str(file)],
            env={**os.environ, "PYTHONPATH": str(source)},
            check=True,
        )
        return json.loads(file.read_text())


def main() -> None:
    """Compare, or write what a comparison needs."""
    parser = argparse.ArgumentParser(description=__doc__)
    way = parser.add_mutually_exclusive_group(required=True)
    way.add_argument("--against", metavar="REVISION", help="to be compared with")
    way.add_argument("--write", type=Path, metavar="FILE", help="digests of the importable source")
    arguments = parser.parse_args()
    if arguments.write:
        arguments.write.write_text(json.dumps(all_digests(), indent=1) + "\n")
        return
    with source_of(arguments.against) as source:
        before, now = digests_with(source), digests_with(ROOT)
    pairs = [(case, name) for case in before for name in before[case]]
    different = [(c, name) for c, name in pairs if before[c][name] != now[c].get(name)]
    for case, name in different:
        print(f"{case}: {name} differs")
    new = [(case, name) for case in now for name in now[case] if (case, name) not in pairs]
    print(f"{len(before)} cases, {len(pairs)} digests, {len(different)} differ, {len(new)} are new")
    sys.exit(bool(different or new))


if __name__ == "__main__":
    main()
