"""Kinds of fitted estimators whose files are tested: each is a function in MODELS.

It returns a fitted estimator, rows to predict, and what :func:`skensemble.load` needs to be given.
"""

import functools
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pandas as pd
import polars as pl
import scipy.sparse
import torch
from conftest import QUICK, Flat, Mlp, Normalised, Recurrent
from sklearn.model_selection import GroupKFold, KFold
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping, EpochScoring, GradientNormClipping
from torch import nn
from torch.nn.utils import parametrizations, weight_norm
from torch.utils.data import TensorDataset

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor

MODELS = {}


def kind(function):
    MODELS[function.__name__] = function
    return function


# ------------------------------------------------------------------------- a user's own code


class Branches(nn.Module):
    """Several inputs by name, whole numbers for an embedding among them."""

    def __init__(self, n_outputs):
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.layer = nn.Linear(3 + 4, n_outputs)
        self.n_calls = 0

    def forward(self, numbers, codes):
        if self.training:
            self.n_calls += 1
        return self.layer(torch.cat([numbers, self.embedding(codes)[:, 0]], dim=1))


class Images(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.LazyLinear(n_outputs)
        )

    def forward(self, X):
        return self.layers(X)


class Normed(nn.Module):
    """Weights that are computed from others, in the old way and the new one."""

    def __init__(self, n_inputs, n_outputs):
        super().__init__()
        self.one = parametrizations.weight_norm(nn.Linear(n_inputs, 8))
        self.two = nn.Linear(8, n_outputs)

    def forward(self, X):
        return self.two(torch.relu(self.one(X)))


class Half(nn.Module):
    """A buffer of a type that numpy does not have, and one of truth values."""

    def __init__(self, n_inputs, n_outputs):
        super().__init__()
        self.layer = nn.Linear(n_inputs, n_outputs)
        self.register_buffer("factor", torch.full((2, 3), 1.5, dtype=torch.bfloat16))
        self.register_buffer("mask", torch.tensor([True, False]))
        self.register_buffer("nothing", torch.zeros(0, 3), persistent=False)

    def forward(self, X):
        return self.layer(X) * self.factor[0, 0].float() * self.mask[0]


def make_net(n_inputs, n_outputs, width=6):
    return nn.Sequential(nn.Linear(n_inputs, width), nn.Tanh(), nn.Linear(width, n_outputs))


class Smoothed(nn.Module):
    def __init__(self, smoothing=0.1):
        super().__init__()
        self.smoothing, self.reduction = smoothing, "mean"

    def forward(self, scores, y):
        return nn.functional.cross_entropy(
            scores, y, label_smoothing=self.smoothing, reduction=self.reduction
        )


class Clipped(NeuralNetClassifier):
    def train_step(self, batch, **fit_params):
        return super().train_step(batch, **fit_params)


def falling(at):
    return 1 - 0.9 * at.progress


def lately(predictions, y, sample_weight):
    return np.arange(1.0, len(predictions) + 1)


# ----------------------------------------------------------------------------------- data


def numbers(n=60, n_columns=4, n_classes=3):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, n_columns))
    return X, (X[:, 0] > 0).astype(int) + (X[:, 1] > 0.5) * (n_classes > 2)


def raw_table(n=80):
    """Columns of every kind, with missing values, as plain lists."""
    rng = np.random.default_rng(1)
    start = date(2020, 1, 1)
    days = [start + timedelta(days=int(d)) for d in rng.integers(0, 900, n)]
    return {
        "number": [None if i % 7 == 0 else float(v) for i, v in enumerate(rng.normal(size=n))],
        "whole": rng.integers(0, 9, n).tolist(),
        "constant": [1.0] * n,
        "flag": (rng.random(n) > 0.5).tolist(),
        "city": [None if i % 9 == 0 else f"city {c}" for i, c in enumerate(rng.integers(0, 6, n))],
        "price": [f"${v:,.2f}" for v in rng.uniform(500, 5000, n)],
        "day": days,
        "empty": [None] * n,
    }


def target_of(table):
    return [int(w > 3) for w in table["whole"]]


def fit(X, y, module=None, *, weight=None, groups=None, **parameters):
    model = SnapshotEnsembleClassifier(module, **{**QUICK, **_SMALL(module), **parameters})
    return model.fit(X, y, sample_weight=weight, groups=groups)


def regress(X, y, module=None, **parameters):
    return SnapshotEnsembleRegressor(module, **{**QUICK, **_SMALL(module), **parameters}).fit(X, y)


def _SMALL(module):
    return {"module__hidden": (8,), "n_chains": 2} if module is None else {}


# --------------------------------------------------------------------------------- labels


def _with_labels(labels):
    X, y = numbers()
    labels = labels if isinstance(labels, np.ndarray) else np.array(labels)
    return fit(X, labels[y]), X, {}


LABELS = {
    "whole": np.array([-3, 0, 7]),
    "bytes8": np.array([1, 2, 250], dtype=np.uint8),
    "text": np.array(["no", "maybe", "ja, ünïcode"]),
    "text_objects": np.array(["no", "maybe", "yes"], dtype=object),
    "text_wide": np.array(["a", "b", "c"], dtype="<U20"),
    "truth": np.array([False, True, True]),
    "float": np.array([0.0, 1.0, 2.0]),
    "float32": np.array([0.0, 1.0, 2.0], dtype=np.float32),
    "large": np.array([2**60, 2**61, 2**62]),
}
for _name, _labels in LABELS.items():
    MODELS[f"labels_{_name}"] = functools.partial(_with_labels, _labels)


@kind
def labels_categorical():
    X, y = numbers()
    return fit(X, pd.Series(pd.Categorical.from_codes(y, ["low", "middle", "high"]))), X, {}


@kind
def labels_several():
    X, _ = numbers()
    Y = np.stack([X[:, 0] > 0, X[:, 1] > 0.5, X[:, 2] * X[:, 3] > 0], axis=1)
    return fit(X, Y, calibrate=True), X, {}


# --------------------------------------------------------------------------------- tables


@kind
def table_default():
    X, y = numbers()
    return SnapshotEnsembleClassifier(max_epochs=2, n_cycles=2, random_state=0).fit(X, y), X, {}


@kind
def table_small():
    """So few rows that training is in float64."""
    X, y = numbers(24, 3, 2)
    return fit(X, y, n_chains="auto"), X, {}


@kind
def table_constant():
    X, y = numbers()
    return fit(np.c_[X, np.ones(len(X)), np.arange(len(X))], y), np.c_[X, X[:, :2]], {}


@kind
def table_huge():
    X, y = numbers()
    X[0, 0] = 1.7e308
    return fit(X, y), X, {}


@kind
def frame_pandas():
    table = raw_table()
    X = pd.DataFrame(table)
    X["city"] = X["city"].astype("category")
    X["when"] = pd.date_range("2021-03-01", periods=len(X), freq="7h", tz="Europe/Berlin")
    X["took"] = pd.to_timedelta(np.arange(len(X)) * 90, unit="s")
    return fit(X, target_of(table)), X, {}


@kind
def frame_polars():
    table = raw_table()
    X = pl.DataFrame(table).with_columns(pl.col("city").cast(pl.Categorical))
    return fit(X, target_of(table)), X, {}


@kind
def frame_named_categories():
    X, y = numbers()
    X = pd.DataFrame({"a": X[:, 0], "b": y % 2, "c": np.arange(len(X)) % 5})
    return fit(X, y, categorical_features=["b", "c"]), X, {}


@kind
def frame_numbers():
    X, y = numbers()
    return fit(pd.DataFrame(X, columns=list("abcd")), y), pd.DataFrame(X, columns=list("abcd")), {}


@kind
def array_categories():
    X, y = numbers()
    X = np.c_[X, np.arange(len(X)) % 4]
    return fit(X, y, categorical_features=np.array([4])), X, {}


@kind
def array_objects():
    X = np.array([[Decimal(i % 5), Fraction(i % 3, 7), "ab"[i % 2]] for i in range(60)], object)
    X = pd.DataFrame({"a": X[:, 0].astype(float), "b": X[:, 2], "c": list(X[:, 1])})
    return fit(X, [i % 2 for i in range(60)]), X, {}


@kind
def sparse():
    X, y = numbers()
    X = scipy.sparse.csr_matrix(np.where(X > 0, X, 0))
    return fit(X, y), X, {}


# ------------------------------------------------------------------------------ regressors


@kind
def regressor():
    X, y = numbers()
    return regress(X, y * 3.0 + X[:, 2]), X, {}


@kind
def regressor_several():
    X, y = numbers()
    return regress(X, np.c_[y * 100.0, X[:, 2], np.ones(len(y))]), X, {}


@kind
def regressor_of_counts():
    X, y = numbers()
    return regress(X, y, criterion=nn.PoissonNLLLoss), X, {}


@kind
def regressor_flat():
    X, y = numbers()
    return regress(X, y * 1.0, Flat), X, {"trusted": ["conftest.Flat"]}


@kind
def regressor_quantile():
    X, y = numbers()
    return regress(X, y, criterion="smooth_l1", criterion__beta=0.5), X, {}


@kind
def regressor_of_quantiles():
    X, y = numbers()
    return (
        regress(X, y + X[:, 1], distribution="quantiles", criterion__levels=(0.1, 0.5, 0.9)),
        X,
        {},
    )


@kind
def regressor_of_amounts():
    X, y = numbers()
    return regress(X, y + 1.0, criterion="gamma"), X, {}


@kind
def regressor_by_name():
    X, y = numbers()
    return regress(X, y + X[:, 1], criterion="quantile", criterion__quantile=0.75), X, {}


# ------------------------------------------------------------------------- own modules


@kind
def module_own():
    X, y = numbers()
    return fit(X, y, Mlp, module__n_hidden=8), X, {"module": Mlp}


@kind
def module_chains():
    X, y = numbers()
    return fit(X, y, Normalised, n_chains=3), X, {"trusted": ["conftest.Normalised"]}


@kind
def module_recurrent():
    X = np.random.default_rng(0).normal(size=(40, 64))
    y = (X[:, 0] > 0).astype(int)
    return fit(X, y, Recurrent, n_chains=2), X, {"module": Recurrent}


@kind
def module_instance():
    X, y = numbers()
    made = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    return fit(X, y, made), X, {}


@kind
def module_instance_tied():
    X, y = numbers()
    shared = weight_norm_silently(nn.Linear(4, 4))
    made = nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(4, 3))
    return fit(X, y, made), X, {}


def weight_norm_silently(layer):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return weight_norm(layer)


@kind
def module_factory():
    X, y = numbers()
    made = functools.partial(make_net, width=5)
    return fit(X, y, made), X, {"trusted": ["file_models.make_net"]}


@kind
def module_of_torch():
    X, y = numbers()
    return fit(X, y, nn.LazyLinear, module__out_features=3), X, {}


@kind
def module_normed():
    X, y = numbers()
    return fit(X, y, Normed), X, {"module": Normed}


@kind
def module_half():
    X, y = numbers(n_classes=2)
    return fit(X, y, Half), X, {"module": Half}


@kind
def module_images():
    X = np.random.default_rng(0).normal(size=(30, 1, 6, 6)).astype(np.float32)
    return fit(X, np.arange(30) % 2, Images), X, {"module": Images}


@kind
def module_dict():
    rng = np.random.default_rng(0)
    X = {"numbers": rng.normal(size=(40, 4)), "codes": rng.integers(0, 5, (40, 1))}
    return fit(X, np.arange(40) % 3, Branches), X, {"module": Branches}


@kind
def dataset():
    X, y = numbers()
    items = TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(y))
    model = SnapshotEnsembleClassifier(Mlp, **QUICK).fit(items)
    return model, X.astype(np.float32), {"module": Mlp}


# --------------------------------------------------------------------------- parameters


@kind
def voting_hard():
    X, y = numbers()
    return fit(X, y, voting="hard"), X, {}


@kind
def schedule_own():
    X, y = numbers()
    return fit(X, y, schedule=falling), X, {"trusted": ["file_models.falling"]}


@kind
def schedule_triangular():
    X, y = numbers()
    options = {"schedule__min_lr": 1e-4, "schedule__burn_in_epochs": 1}
    return fit(X, y, schedule="triangular2", **options), X, {}


@kind
def members_own():
    X, y = numbers()
    return fit(X, y, members=lately), X, {"trusted": ["file_models.lately"]}


@kind
def members_last():
    X, y = numbers()
    return fit(X, y, members=1, n_cycles=3), X, {}


@kind
def criterion_own():
    X, y = numbers()
    given = {"criterion": Smoothed, "criterion__smoothing": 0.2}
    return fit(X, y, **given), X, {"trusted": {"file_models.Smoothed"}}


@kind
def criterion_instance():
    X, y = numbers()
    made = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))
    return fit(X, y, criterion=made), X, {}


@kind
def net_own():
    X, y = numbers()
    trusted = ["conftest.Mlp", "file_models.Clipped"]
    return fit(X, y, Mlp, net=Clipped, n_chains=2), X, {"trusted": trusted}


@kind
def callbacks():
    X, y = numbers()
    given = [EarlyStopping(monitor="train_loss"), ("scored", EpochScoring("accuracy"))]
    given += [GradientNormClipping(1.0)]
    return fit(X, y, callbacks=given), X, {}


@kind
def cold():
    X, y = numbers()
    return fit(X, y, restart="cold"), X, {}


@kind
def weights():
    X, y = numbers()
    weight = np.linspace(0, 2, len(y))
    return fit(X, y, weight=weight, class_weight={0: 1.0, 1: 2.0, 2: 0.5}), X, {}


@kind
def weights_of_texts():
    X, y = numbers()
    y = np.array(["a", "b", "c"])[y]
    return fit(X, y, class_weight={"a": 1, "b": 2}), X, {}


@kind
def folds_of_splitter():
    X, y = numbers()
    return fit(X, y, validation=KFold(3), n_chains=3), X, {}


@kind
def folds_of_groups():
    X, y = numbers()
    groups = np.arange(len(y)) % 6
    return fit(X, y, validation=GroupKFold(2), groups=groups), X, {}


@kind
def held_out():
    X, y = numbers()
    model = SnapshotEnsembleClassifier(**QUICK, **_SMALL(None), validation=0.3)
    return model.fit(X, y), X, {}


@kind
def partial():
    X, y = numbers()
    model = SnapshotEnsembleClassifier(**QUICK, **_SMALL(None))
    for _ in range(3):
        model.partial_fit(X, y, classes=[0, 1, 2])
    return model, X, {}


@kind
def optimizer():
    X, y = numbers()
    options = {"optimizer__momentum": 0.9, "optimizer__nesterov": True, "lr": 0.05}
    return fit(X, y, optimizer="sgd", **options), X, {}


@kind
def random_state():
    X, y = numbers()
    return fit(X, y, random_state=np.random.RandomState(3), device=torch.device("cpu")), X, {}


@functools.cache
def fitted(name):
    """Return a kind, fitted once."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MODELS[name]()
