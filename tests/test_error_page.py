"""Every message that docs/errors.rst explains is provoked here, and reads as it says."""

import re
import signal
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from conftest import QUICK, Bare, Mlp
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit
from skorch.callbacks import (
    Callback,
    EarlyStopping,
    EpochScoring,
    Freezer,
    InputShapeSetter,
    LRScheduler,
)
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

import skensemble
from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._persistence import saving
from skensemble.model_selection import cycle_curve

PAGE = (Path(__file__).parent.parent / "docs" / "errors.rst").read_text()
HEADINGS = re.findall(r"^``(.+?)``$", PAGE, re.M)

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = np.arange(60) % 2
SEVERAL = np.arange(180).reshape(60, 3) % 7 % 2
FRAME = pd.DataFrame({"number": X[:, 0], "word": ["a", "b"] * 30})


def classify(*fit, **parameters):
    """Fit a classifier; without data, on the rows of this module."""
    return SnapshotEnsembleClassifier(**{**QUICK, **parameters}).fit(*fit or (X, Y))


def partial_fits(*targets):
    model = SnapshotEnsembleClassifier(Mlp, **QUICK)
    for y in targets:
        model.partial_fit(X, y)


def in_views():
    return classify(module=Mlp, views=[None, torch.neg], n_chains=2, validation="cross")


def regress(**parameters):
    return SnapshotEnsembleRegressor(**{**QUICK, **parameters}).fit(X, X[:, 0])


class Odd(nn.Module):
    """A criterion of which nobody knows what its outputs mean."""

    def forward(self, outputs, y):
        return ((outputs.exp() - y) ** 2).mean()


class Flat(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(3, n_outputs))

    def forward(self, X):
        return self.layers(X)


class Locked(Mlp):
    def __init__(self, n_inputs, n_outputs):
        super().__init__(n_inputs, n_outputs)
        self.lock = threading.Lock()


class Softmax(Mlp):
    def forward(self, X):
        return super().forward(X).softmax(1)


class Squares(Mlp):
    def forward(self, X):
        return super().forward(X * X)


class Wide(nn.Linear):
    def __init__(self, n_inputs):
        super().__init__(n_inputs, 7)


class Fixed(nn.Linear):
    def __init__(self):
        super().__init__(5, 2)


class Embedded(nn.Module):
    """It takes whole numbers alone."""

    def __init__(self):
        super().__init__()
        self.table, self.scores = nn.Embedding(9, 2), nn.Linear(6, 2)

    def forward(self, X):
        return self.scores(self.table(X).flatten(1))


class NoReduction(nn.Module):
    def forward(self, scores, y):
        return nn.functional.cross_entropy(scores, y)


class Explode(nn.Module):
    def __init__(self, n_inputs, n_outputs):
        super().__init__()
        self.linear = nn.Linear(n_inputs, n_outputs)

    def forward(self, X):
        return self.linear(X) * (float("nan") if self.training else 1.0)


class ExplodeLate(Callback):
    """Spoils the weights after the first cycle."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 3:
            with torch.no_grad():
                for parameter in net.module_.parameters():
                    parameter.fill_(float("nan"))


class StopAtOnce(Callback):
    def on_epoch_begin(self, net, **kwargs):
        raise KeyboardInterrupt


class OpensLate(Callback):
    """Holds what no file can keep, from the second of four epochs on."""

    def on_epoch_end(self, net, **_):
        if len(net.history) == 2:
            self.stream = iter([])


class CtrlC(Callback):
    """A real signal, in the third of four epochs."""

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == 3:
            signal.raise_signal(signal.SIGINT)


class Loader(DataLoader):
    """An iterator of the user's own."""


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(X[0], Y[0])])


class Features(Dataset):
    def __len__(self):
        return len(X)

    def __getitem__(self, i):
        return np.float32(X[i])


def predict_other(fitted, other, **parameters):
    SnapshotEnsembleClassifier(**{**QUICK, **parameters}).fit(fitted, Y).predict(other)


def partial_fit_again():
    model = SnapshotEnsembleClassifier(**QUICK).partial_fit(X, Y)
    model.partial_fit(X, Y + 1)


def go_on(*, then, now):
    """Call partial_fit twice, with other parameters the second time."""
    model = SnapshotEnsembleClassifier(**{**QUICK, **then}).partial_fit(X, Y)
    model.set_params(**now).partial_fit(X, Y)


def load_other_version():
    model = SnapshotEnsembleClassifier()
    model.__setstate__({**model.__getstate__(), "_skensemble_version": "0.0.1"})


def with_column(**values):
    return FRAME.assign(**values)


def saved(**parameters):
    """Save a classifier, and return the path."""
    path = Path(tempfile.mkdtemp()) / "file"
    classify(**parameters).save(path)
    return path


def damaged_file():
    path = saved()
    path.write_bytes(path.read_bytes()[:-9])
    skensemble.load(path)


def foreign_file():
    skensemble.load(saved(module=Mlp))


def newer_file():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saving, "FORMAT_VERSION", 2)
        path = saved()
    skensemble.load(path)


def go_on_after_load():
    skensemble.load(saved()).partial_fit(X, Y)


def resume_from_another():
    folder = Path(tempfile.mkdtemp())
    classify(checkpoint_dir=folder)
    model = SnapshotEnsembleClassifier(**QUICK).set_params(lr=0.5)
    model.fit(X, Y, resume_from=next(folder.iterdir()))


def damaged_checkpoint():
    folder = Path(tempfile.mkdtemp())
    classify(checkpoint_dir=folder)
    next(folder.iterdir()).write_bytes(b"nothing")
    classify(checkpoint_dir=folder)


def export_without_onnx():
    model = classify()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "onnx", None)
        model.to_onnx(Path(tempfile.mkdtemp()) / "file")


#: What provokes the messages, in the order of the page.
PROVOKE = {
    "Got an unexpected parameter": lambda: classify(hidden=(8,)),
    "Got n_cycles=0": lambda: classify(n_cycles=0),
    "Got optimizer": lambda: classify(optimizer="adamm"),
    "Got criterion='": lambda: classify(criterion="abacus"),
    "Got net__lr": lambda: classify(net__lr=0.1),
    "Got min_lr": lambda: classify(schedule__min_lr=2.0),
    "Got dropout": lambda: classify(module__dropout=1.0),
    "Got column_dropout": lambda: classify(module__column_dropout=1.0),
    "Got schedule__burn_in_epochs": lambda: classify(schedule__burn_in_epochs=4),
    "Got … from schedule(at)": lambda: classify(schedule=lambda at: -1.0),
    "Got n_cycles=… for": lambda: classify(n_cycles=500),
    "Got n_chains=… for": lambda: classify(X[:40], Y[:40], n_chains=80),
    "Got n_chains=… and validation": lambda: classify(n_chains=3, validation=KFold(4)),
    "Got transform=… with": lambda: classify(transform=torch.neg),
    "Got transform=…, which": lambda: classify(module=Mlp, transform=lambda X: X[1:]),
    "Got transform=…, which made batches": lambda: classify(
        module=Mlp, n_chains=2, transform=lambda X: X[:, : 2 + (X[0, 0] > X[-1, 0])]
    ),
    "Got views=…, but expected a list": lambda: classify(module=Mlp, views=[]),
    "Got views=…, but expected none: the": lambda: in_views().to_onnx("model.onnx"),
    "Got views=…, but expected none: columns": lambda: in_views().unseen_importance(X, Y),
    "Got validation=…": lambda: classify(validation=ShuffleSplit(3, random_state=0)),
    "Got validation=5": lambda: classify(validation=5),
    "Got validation=… and": lambda: classify(validation=GroupKFold(3)),
    "Got groups": lambda: SnapshotEnsembleClassifier(validation="last", **QUICK).fit(
        X, Y, groups=Y
    ),
    "Got validation=…, but the folds": lambda: SnapshotEnsembleClassifier(**QUICK).fit(
        X, Y, groups=np.zeros(60)
    ),
    "Rows were left": lambda: go_on(then={"validation": KFold(3)}, now={}),
    "Got members='stacked'": lambda: classify(n_chains=1, members="stacked"),
    "Got … from members=": lambda: classify(members=lambda *_: np.full(2, -1.0)),
    "Got net__train_split": lambda: classify(net__train_split=None),
    "Got X_val without y_val": lambda: SnapshotEnsembleClassifier(**QUICK).fit(X, Y, X_val=X),
    "Got cv=None": lambda: cycle_curve(SnapshotEnsembleClassifier(Mlp, **QUICK), X, Y),
    "Got device": lambda: classify(device="abacus"),
    "'SnapshotEnsembleClassifier'": lambda: classify(voting="hard").predict_proba(X),
    "Got net__predict": lambda: classify(net__predict_nonlinearity=None),
    "Got table__max": lambda: classify(table__max_categories=0),
    "Got criterion__": lambda: regress(criterion__scale_target="yes"),
    "Got … for an": lambda: go_on(then={}, now={"module__hidden": (3,)}),
    "Got module=…, whose": lambda: classify(module=nn.Linear),
    "Got criterion=…": lambda: classify(module=Mlp, criterion=nn.BCEWithLogitsLoss),
    "Got criterion=…, but expected a y": lambda: regress(criterion=nn.PoissonNLLLoss),
    "Got criterion=NLLLoss": lambda: classify(module=Mlp, criterion=nn.NLLLoss),
    "Got X with columns of": lambda: classify(X * [1, 1, 1e6], Y, module=Mlp),
    "Got X (or X_val)": lambda: classify(1e40 * X, Y, module=Mlp),
    "Got module=…, which returns shape … for … rows, but expected one": lambda: classify(
        module=Wide
    ),
    "Got module=…, which returns shape … for … rows, but expected (": lambda: regress(module=Wide),
    "Got module=…, which returns probabilities": lambda: classify(module=Softmax),
    "Got module=…, but expected one": lambda: classify(module=Fixed),
    "Got restart='cold'": lambda: classify(module=Bare(), restart="cold"),
    "Got a net that workers": lambda: classify(
        module=Locked, n_chains=2, optimizer="LBFGS", n_jobs=2
    ),
    "Got restart='cold' with a module whose part '…' computes": lambda: classify(
        module=nn.utils.weight_norm(nn.Linear(3, 2)), restart="cold"
    ),
    "Got y of a size": lambda: SnapshotEnsembleRegressor(criterion=nn.PoissonNLLLoss, **QUICK).fit(
        X, 1e4 * Y
    ),
    "Got weights with criterion": lambda: classify(class_weight={1: 2.0}, criterion=NoReduction),
    "Got weights with net": lambda: classify(class_weight={1: 2.0}, net__iterator_train=Loader),
    "Input X contains NaN": lambda: classify(np.where(X > 2, np.nan, X), Y, module=Mlp),
    "Got X with infinite": lambda: classify(with_column(number=np.inf), Y),
    "Input X contains infinity": lambda: classify(np.where(X > 2, np.inf, X), Y),
    "Got X with columns that": lambda: classify(FRAME, Y, module=Mlp),
    "Got X with categories": lambda: predict_other(
        FRAME[["number"]], with_column(number="many")[["number"]]
    ),
    "Got X of type … with": lambda: predict_other(
        np.tile([[1, 2, 3]], (60, 1)), [[0.5, 1.0, 2.0]], module=Embedded
    ),
    "Got X with the row": lambda: regress(module=Squares).predict(np.full((2, 3), 3e38)),
    "Got X with rows of the": lambda: classify([[1, 2], [3]], [0, 1]),
    "Got X='": lambda: classify("table.csv", Y),
    "Got X of type …, but expected something": lambda: classify(iter(X), Y),
    "Got X of type …, but expected a frame": lambda: classify([{"a": 1.0}] * 60, Y),
    "Got X that": lambda: classify(np.array([[10**400]] * 60, dtype=object), Y),
    "Got X of type …, but": lambda: classify({"a": X}, Y),
    "Got X of type …Lazy": lambda: classify(pl.DataFrame(X).lazy(), Y),
    "Got X of type …DataL": lambda: classify(DataLoader([1, 2]), module=Mlp),
    "Got X of type …Series": lambda: predict_other(FRAME[["number"]], FRAME.iloc[0]),
    "Got X of type list": lambda: classify([X, X], Y, module=Mlp),
    "Got X with strings": lambda: classify(with_column(word=[f"{i}.5" for i in range(60)]), Y),
    "Got X with hardly": lambda: classify(with_column(word=[f"row {i}" for i in range(60)]), Y),
    "Got X with more": lambda: classify(
        with_column(word=[f"w{i % 3}" for i in range(60)]), Y, table__max_categories=2
    ),
    "Got X with whole": lambda: classify(
        pd.concat([FRAME, FRAME], ignore_index=True).assign(number=range(120)), np.tile(Y, 2)
    ),
    "Got X with rows of shape": lambda: (
        SnapshotEnsembleClassifier(Flat, **QUICK)
        .fit(X.reshape(60, 1, 3), Y)
        .predict(X[:, :2].reshape(60, 1, 2))
    ),
    "X has": lambda: predict_other(X, X[:, :2]),
    "Got X=…, but expected a dataset": lambda: classify(Stream(), module=Mlp),
    "Of X_val": lambda: SnapshotEnsembleClassifier(**QUICK).fit(X, Y, X_val=X[:, :2], y_val=Y),
    "Got y=None": lambda: classify(Features(), module=Mlp),
    "Got y with … rows": lambda: classify(X, Y[:50]),
    "Got y with missing": lambda: classify(X, np.array(["a", None] * 30, dtype=object)),
    "Got y with 1 class": lambda: classify(X, np.zeros(60)),
    "Got y with the classes": partial_fit_again,
    "Got y of type": lambda: classify(X, np.eye(2, dtype=int)[Y] + Y[:, None]),
    "Got y of several": lambda: classify(X, SEVERAL + 1),
    "Got y with rows that": lambda: classify(X, [[0], [1, 2]] * 30),
    "Got y of shape …, several": lambda: partial_fits(Y, SEVERAL),
    "Got y of shape …, but": lambda: partial_fits(SEVERAL, Y),
    "Got y with … labels": lambda: partial_fits(SEVERAL, SEVERAL[:, :2]),
    "Got class_weight=…": lambda: classify(X, SEVERAL, class_weight="balanced"),
    "Got criterion=… with several": lambda: classify(X, SEVERAL, criterion=nn.MSELoss),
    "Got module=…, which returns probabilities (it": lambda: classify(
        X, SEVERAL, module=nn.Sequential(nn.Linear(3, 3), nn.Sigmoid())
    ),
    "Got sample_weight": lambda: classify(X, Y, np.zeros(60)),
    "Got class_weight": lambda: SnapshotEnsembleClassifier(
        class_weight="balanced", **QUICK
    ).partial_fit(X, Y),
    "Got callback LRScheduler": lambda: classify(callbacks=[LRScheduler()]),
    "Got …(load_best": lambda: classify(
        module=Mlp, validation="cross", callbacks=[EarlyStopping(load_best=True)]
    ),
    "Got callback InputShape": lambda: classify(module=Mlp, callbacks=[InputShapeSetter()]),
    "Got …('…')": lambda: classify(module=Mlp, callbacks=[Freezer("nothing*")]),
    "Got restart='cold' with the": lambda: classify(restart="cold", callbacks=[Freezer("*")]),
    "Got callbacks with": lambda: classify(callbacks=["stop"]),
    "Got EarlyStopping": lambda: classify(module=Mlp, callbacks=[EarlyStopping()]),
    "Got EpochScoring": lambda: classify(
        module=Mlp, callbacks=[EpochScoring("accuracy", on_train=False)]
    ),
    "Got callbacks__": lambda: classify(callbacks__clip__gradient_clip_value=1.0),
    "Training diverged in the first": lambda: classify(module=Explode),
    "Training diverged in …": lambda: classify(
        module=Mlp, cycle_mult=1.0, callbacks=[ExplodeLate()]
    ),
    "Got lr": lambda: regress(lr=50.0),
    "Got time_limit": lambda: classify(time_limit=1e-9),
    "Got max_epochs": lambda: SnapshotEnsembleRegressor(
        max_epochs=20, n_cycles=3, cycle_mult=1.0, lr=0.0005, random_state=0
    ).fit(X, X[:, 0]),
    "Interrupted": lambda: classify(module=Mlp, cycle_mult=1.0, callbacks=[CtrlC()]),
    "A callback stopped": lambda: classify(callbacks=[StopAtOnce()]),
    "Got path": damaged_file,
    "Got path=…, a file that": foreign_file,
    "Got path=…, a file of": newer_file,
    "Got an ensemble": go_on_after_load,
    "Got schedule=…": lambda: saved(schedule=lambda at: 1 - at.progress),
    "Got resume_from": resume_from_another,
    "Got the file": damaged_checkpoint,
    "Got checkpoint_dir": lambda: classify(checkpoint_dir=Path(__file__) / "folder"),
    "Got checkpoint_dir=…, but expected a run": lambda: classify(
        module=Mlp, cycle_mult=1.0, callbacks=[OpensLate()], checkpoint_dir=tempfile.mkdtemp()
    ),
    "Got random_state": lambda: classify(
        checkpoint_dir=Path(tempfile.mkdtemp()), random_state=None
    ),
    "Got an ensemble without rows that": lambda: classify(module=Mlp).predict_set(X),
    "Got an ensemble that cannot say": lambda: regress(
        module=nn.LazyLinear, module__out_features=1, criterion=Odd, n_chains=2
    ).predict_interval(X),
    "Got coverage=… and": lambda: regress(n_chains=2).predict_interval(X, 0.999),
    "Got coverage=…, but": lambda: regress(n_chains=2).predict_interval(X, 90),
    "Got distribution=None": lambda: regress().predict_quantiles(X),
    "Got scoring=…, but expected a scorer(": lambda: classify(n_chains=2, scoring=accuracy_score),
    "Got scoring=…, but expected a scorer that": lambda: classify(
        n_chains=2, scoring=make_scorer(lambda y_true, y_pred: np.nan)
    ),
    "Got decision=… and": lambda: classify(X, np.arange(60) % 3, n_chains=2, decision="f1_macro"),
    "Got X=None, but expected rows: an": lambda: regress(n_chains=2).unseen_importance(None),
    "Got to_onnx": export_without_onnx,
    "Got a pickle": load_other_version,
}


def told(provoke):
    """Return the texts of the error and of the warnings that a call ends in."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            provoke()
        except (Exception, KeyboardInterrupt) as error:
            return [str(error), *(str(warning.message) for warning in seen)]
    return [str(warning.message) for warning in seen]


def test_every_heading_is_provoked_once():
    missing = [h for h in HEADINGS if sum(h.startswith(start) for start in PROVOKE) == 0]
    idle = [start for start in PROVOKE if not any(h.startswith(start) for h in HEADINGS)]
    assert not missing
    assert not idle


@pytest.mark.parametrize("start", PROVOKE)
def test_message_reads_as_the_page_says(start):
    longest = [
        h
        for h in HEADINGS
        if max((s for s in PROVOKE if h.startswith(s)), key=len, default="") == start
    ]
    texts = told(PROVOKE[start])
    for heading in longest:
        pattern = ".*".join(re.escape(part.strip()) for part in heading.split("…"))
        assert any(re.search(pattern, text, re.S) for text in texts), (heading, texts)
