"""Accepted means in effect: each parameter, `net__*`, callback and criterion is seen or refused.

Each table is compared with the library's own list: a new name fails until it stands here, with how
its effect is seen, or with the text that refuses it.
"""

import functools
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import skorch.callbacks
import torch
from conftest import Mlp, same
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import KFold
from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import (
    BatchScoring,
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    Freezer,
    GradientNormClipping,
    Initializer,
    InputShapeSetter,
    LoadInitState,
    LRScheduler,
    MlflowLogger,
    NeptuneLogger,
    ParamMapper,
    PassthroughScoring,
    PrintLog,
    ProgressBar,
    SacredLogger,
    TensorBoard,
    TrainEndCheckpoint,
    Unfreezer,
    WandbLogger,
    WarmRestartLR,
)
from torch import nn
from torch.utils.data import DataLoader

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._training.elsewhere import Elsewhere
from skensemble.keywords import net_arguments

rng = np.random.default_rng(0)
X = rng.normal(size=(160, 5)).astype(np.float32)
y = (X[:, 0] + X[:, 1] > 0).astype(int)
value = X[:, 0] - X[:, 1]


def linear(n_inputs, n_outputs):
    return nn.Linear(n_inputs, n_outputs)


def log_linear(n_inputs, n_outputs):
    return nn.Sequential(nn.Linear(n_inputs, n_outputs), nn.LogSoftmax(dim=1))


def sigmoid_linear(n_inputs, n_outputs):
    return nn.Sequential(nn.Linear(n_inputs, n_outputs), nn.Sigmoid())


def fit(callbacks=None, module=Mlp, **parameters):
    parameters = {
        "max_epochs": 4, "n_cycles": 2, "cycle_mult": 1.0, "random_state": 0, "lr": 0.02,
        **parameters,
    }  # fmt: skip
    return SnapshotEnsembleClassifier(module, callbacks=callbacks, **parameters).fit(X, y)


# ------------------------------------------------------------------------------------- callbacks


class Counting(Callback):
    def __init__(self):
        self.said = []

    def on_epoch_end(self, net, **kwargs):
        self.said.append(len(net.history))


class NotingBatches(Callback):
    def on_batch_end(self, net, training=False, **kwargs):
        net.history.record_batch("noted", 7.0)


class Recorder:
    """Stands for a run of TensorBoard, Sacred, Weights & Biases or MLflow."""

    def __init__(self, dir="."):
        self.said, self.dir, self.info = [], dir, SimpleNamespace(run_id=1)

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.said.append(name)


def _counts(_):
    counting = Counting()
    fit([counting])
    assert counting.said == [1, 2, 3, 4]


def _scores_batches(_):
    history = fit([BatchScoring("accuracy", name="acc", on_train=True)]).history_
    assert len(history[-1, "batches", :, "acc"]) == 5
    assert 0.5 < history[-1, "acc"] <= 1


def _writes_checkpoints(path):
    fit([Checkpoint(monitor="train_loss_best", dirname=str(path))])
    assert {p.name for p in path.iterdir()} >= {"params.pt", "optimizer.pt", "history.json"}
    refuses("load_best=True", Checkpoint("train_loss_best", dirname=str(path), load_best=True))
    refuses("load_best=True", EarlyStopping("train_loss", load_best=True))


def _stops(_):
    stopping = EarlyStopping("train_loss", threshold=0.9, patience=1, sink=lambda *_: None)
    assert fit([stopping]).n_iter_ == 2


def _scores_epochs(_):
    model = fit([EpochScoring("accuracy", name="acc", on_train=True, use_caching=False)])
    assert model.history_[-1, "acc"] == (model.predict_members(X)[-1].argmax(axis=1) == y).mean()


def _times(_):
    assert all(duration > 0 for duration in fit([("timer", EpochTimer())]).history_[:, "dur"])


def _freezes(_):
    one, two = fit([Freezer("hidden.*")]).snapshots_
    assert torch.equal(one["hidden.weight"], two["hidden.weight"])
    assert not torch.equal(one["output.weight"], two["output.weight"])
    refuses("expected a pattern that stands for", Freezer("hiden.*"))
    refuses("expected restart='warm'", Freezer("hidden.*"), restart="cold")


def _unfreezes(_):
    frozen = fit([Freezer("hidden.*")]).snapshots_[0]
    one, two = fit([Freezer("hidden.*"), Unfreezer("hidden.*", at=3)]).snapshots_
    assert torch.equal(one["hidden.weight"], frozen["hidden.weight"])
    assert not torch.equal(two["hidden.weight"], frozen["hidden.weight"])


def _clips(_):
    sgd = {"optimizer": torch.optim.SGD}
    one, two = fit([GradientNormClipping(1e-12)], **sgd).snapshots_
    assert (one["hidden.weight"] - two["hidden.weight"]).abs().max() < 1e-9


def _initializes(_):
    fill = functools.partial(nn.init.constant_, val=5.0)
    for callback in (Initializer("output.bias", fn=fill), ParamMapper("output.bias", fn=fill)):
        bias = fit([callback], lr=1e-9).snapshots_[0]["output.bias"]
        torch.testing.assert_close(bias, torch.full_like(bias, 5.0), atol=1e-4, rtol=0)


def _loads(path):
    saver = TrainEndCheckpoint(dirname=str(path))
    one = fit([saver, LoadInitState(saver)]).snapshots_
    assert (path / "train_end_params.pt").exists()
    assert not same(one, fit([saver, LoadInitState(saver)]).snapshots_)


def _passes_through(_):
    model = fit([NotingBatches(), PassthroughScoring("noted", on_train=True)])
    assert model.history_[:, "noted"] == [7.0] * 4


def _prints(_):
    lines = []
    fit([PrintLog(sink=lines.append)])
    assert len(lines) == 4 + 2


def _shows_progress(_):
    shown = []
    written, sys.stderr = sys.stderr, SimpleNamespace(write=shown.append, flush=lambda: None)
    try:
        fit([ProgressBar(detect_notebook=False)])
    finally:
        sys.stderr = written
    assert "%" in "".join(shown)


def _logs(path):
    for make, said in [
        (TensorBoard, "add_scalar"),
        (SacredLogger, "log_scalar"),
        (functools.partial(WandbLogger, save_model=False), "log"),
        (lambda run: MlflowLogger(run, client=run, create_artifact=False), "log_metric"),
    ]:
        run = Recorder(str(path))
        fit([make(run)])
        assert said in run.said
    refuses(r"Got WandbLogger\(save_model=True\), but no rows", WandbLogger(Recorder()))
    fit([WandbLogger(Recorder(str(path)))], validation=0.3)
    assert (path / "best_model.pth").exists()


def _logs_to_neptune(_):
    pytest.importorskip("neptune")


def refuses(text, *callbacks, **parameters):
    with pytest.raises(ValueError, match=text):
        fit(list(callbacks), **parameters)


CALLBACKS = {
    Callback: _counts,
    BatchScoring: _scores_batches,
    Checkpoint: _writes_checkpoints,
    EarlyStopping: _stops,
    EpochScoring: _scores_epochs,
    EpochTimer: _times,
    Freezer: _freezes,
    Unfreezer: _unfreezes,
    GradientNormClipping: _clips,
    Initializer: _initializes,
    ParamMapper: _initializes,
    InputShapeSetter: lambda _: refuses("is given the number of columns", InputShapeSetter()),
    LRScheduler: lambda _: refuses("the learning rate is set at every step", LRScheduler()),
    WarmRestartLR: lambda _: refuses("expected callbacks of skorch", WarmRestartLR),
    LoadInitState: _loads,
    TrainEndCheckpoint: _loads,
    PassthroughScoring: _passes_through,
    PrintLog: _prints,
    ProgressBar: _shows_progress,
    TensorBoard: _logs,
    SacredLogger: _logs,
    WandbLogger: _logs,
    MlflowLogger: _logs,
    NeptuneLogger: _logs_to_neptune,
}


def test_every_callback_of_skorch_stands_here():
    assert set(skorch.callbacks.__all__) <= {kind.__name__ for kind in CALLBACKS}


@pytest.mark.parametrize("kind", CALLBACKS, ids=lambda kind: kind.__name__)
def test_a_callback_is_seen_or_refused(kind, tmp_path):
    CALLBACKS[kind](tmp_path)


# ----------------------------------------------------------------------------------------- net__*


class OwnLoader(DataLoader):
    made = 0

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        type(self).made += 1


def _loads_batches():
    OwnLoader.made = 0
    fit(net__iterator_train=OwnLoader)
    assert OwnLoader.made > 0


def _compiles():
    fit_compiled = functools.partial(fit, net__compile=True, net__compile__backend="eager")
    model = fit_compiled(module=linear)
    assert type(model.net_.module_) is not nn.Linear
    np.testing.assert_allclose(
        model.predict_proba(X), fit(module=linear).predict_proba(X), atol=1e-5
    )


def _caches():
    """Without caching, an epoch is scored by its last weights."""
    scoring = EpochScoring("neg_log_loss", name="nll", on_train=True)
    one, two = (fit([scoring], net__use_caching=use).history_[0, "nll"] for use in ("auto", False))
    assert one != two


def _hands_on_to_torch(path):
    saver = Checkpoint(monitor=None, dirname=str(path))
    fit([saver])
    options = {"weights_only": False, "pickle_module": SimpleNamespace()}
    with pytest.raises(AttributeError, match="SimpleNamespace"):
        fit([LoadInitState(saver)], net__torch_load_kwargs=options)


def _refuses_net(text, **parameters):
    with pytest.raises(ValueError, match=text):
        fit(**parameters)


NET = {
    **{
        name: functools.partial(_refuses_net, f"expected it as {name}=", **{f"net__{name}": 1})
        for name in (
            "batch_size", "callbacks", "criterion", "device", "lr", "max_epochs", "module",
            "optimizer", "verbose", "warm_start",
        )
    },
    **{
        name: functools.partial(_refuses_net, f"Got net__{name}, but", **{f"net__{name}": None})
        for name in ("classes", "dataset", "iterator_valid", "train_split")
    },
    "predict_nonlinearity": functools.partial(
        _refuses_net, "softmax of raw scores", net__predict_nonlinearity=torch.sigmoid
    ),
    "iterator_train": _loads_batches,
    "compile": _compiles,
    "use_caching": _caches,
    "torch_load_kwargs": _hands_on_to_torch,
}  # fmt: skip


def test_every_argument_of_skorchs_nets_stands_here():
    assert net_arguments(NeuralNetClassifier) | net_arguments(NeuralNetRegressor) <= set(NET)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad")  # of compile
@pytest.mark.parametrize("name", NET)
def test_an_argument_of_the_net_is_seen_or_refused(name, tmp_path):
    NET[name](*[tmp_path] if name == "torch_load_kwargs" else [])


def test_arguments_of_what_has_no_effect_and_other_nonlinearities_are_refused():
    _refuses_net("Got net__iterator_valid__batch_size, but", net__iterator_valid__batch_size=3)
    _refuses_net("but expected 'auto'", net__predict_nonlinearity=None)
    model = SnapshotEnsembleRegressor(
        linear, max_epochs=1, n_cycles=1, net__predict_nonlinearity=torch.exp
    )
    with pytest.raises(ValueError, match="predictions are the outputs of the module"):
        model.fit(X, value)
    model.set_params(net__predict_nonlinearity=None).fit(X, value)


# ------------------------------------------------------------------------------ named parameters

#: For each parameter two settings whose fits must differ, by what is looked at.
PREDICTIONS = {
    "module": ({"module": Mlp}, {"module": linear}),
    "n_cycles": ({"n_cycles": 2}, {"n_cycles": 3}),
    "cycle_mult": ({"cycle_mult": 1.0}, {"cycle_mult": 3.0}),
    "lr": ({"lr": 0.01}, {"lr": 0.02}),
    "max_epochs": ({"max_epochs": 4}, {"max_epochs": 5}),
    "batch_size": ({"batch_size": 32}, {"batch_size": 80}),
    "schedule": ({"schedule": "cosine"}, {"schedule": "triangular"}),
    "restart": ({"restart": "warm"}, {"restart": "cold"}),
    "snapshots_per_cycle": tuple({"snapshots_per_cycle": n, "batch_size": 8} for n in (1, 3)),
    "optimizer": ({"optimizer": "auto"}, {"optimizer": torch.optim.SGD}),
    "n_chains": ({"n_chains": 1}, {"n_chains": 2}),
    "members": ({"members": "all"}, {"members": 1}),
    "validation": ({"validation": None}, {"validation": KFold(2)}),
    "class_weight": ({"class_weight": None}, {"class_weight": {0: 1, 1: 9}}),
    "calibrate": tuple({"calibrate": asked, "validation": 0.3} for asked in (False, True)),
    "transform": ({"transform": None}, {"transform": torch.neg}),
    "views": ({"views": None}, {"views": [None, torch.neg]}),
    "random_state": ({"random_state": 0}, {"random_state": 1}),
    "criterion": ({"criterion": None}, {"criterion": nn.MultiMarginLoss}),
    "distribution": ({"distribution": None}, {"distribution": "quantiles"}),
}  # fmt: skip


def _ends_early():
    slow = {"validation": 0.3, "lr": 1e-12, "n_cycles": 6, "max_epochs": 6}
    assert fit(early_stopping=False, **slow).n_cycles_ == 6
    assert fit(early_stopping=True, n_iter_no_change=2, **slow).n_cycles_ == 3
    assert fit(early_stopping=True, n_iter_no_change=4, **slow).n_cycles_ == 5


def _counts_votes():
    assert not hasattr(fit(voting="hard"), "predict_proba")


def _trains_by_the_net():
    class Own(NeuralNetClassifier):
        def get_loss(self, y_pred, y_true, *args, **kwargs):
            return 0 * nn.functional.cross_entropy(y_pred, y_true)

    one, two = fit(net=Own, optimizer=torch.optim.SGD).snapshots_
    assert same([one], [two])


def _goes_on():
    model = fit(warm_start=True)
    assert model.fit(X, y).n_cycles_ == 4


def _speaks(capsys):
    fit(verbose=1)
    assert capsys.readouterr().out or capsys.readouterr().err


def _takes_categories():
    table = np.c_[rng.integers(0, 4, 160) * 1.0, X]
    quick = {"max_epochs": 2, "n_cycles": 1, "n_chains": 1, "random_state": 0}
    one, two = (
        SnapshotEnsembleClassifier(categorical_features=named, **quick)
        .fit(table, y)
        .predict_proba(table)
        for named in (None, [0])
    )
    assert not np.array_equal(one, two)


def _wants_a_device():
    with pytest.raises(ValueError, match="Got device="):
        fit(device="no such")
    assert fit(device="cpu").net_.device == "cpu"


def _ends_in_time():
    with pytest.warns(ConvergenceWarning, match="Got time_limit"):
        model = fit(time_limit=1e-9)
    assert (model.n_cycles_, model.n_iter_, model.is_time_limited_) == (1, 1, True)
    assert not fit(time_limit=1e9).is_time_limited_


def _writes_a_file(tmp_path):
    fit(checkpoint_dir=tmp_path / "files", random_state=0)
    assert len(list((tmp_path / "files").iterdir())) == 1


def _trains_in_workers(monkeypatch):
    seen, train = [], Elsewhere.train
    monkeypatch.setattr(Elsewhere, "train", lambda *args: (seen.append(args), train(*args)))
    options = {"n_chains": 2, "optimizer": "LBFGS", "max_epochs": 1, "lr": 0.01}  # in turn
    fit(n_jobs=1, **options)
    assert not seen
    fit(n_jobs=2, **options)
    assert len(seen) == 2  # cycles


def _weighs_by_a_metric():
    losses, shares = (fit(validation=0.3, scoring=asked) for asked in (None, "accuracy"))
    assert losses.validation_score_ < 0 < shares.validation_score_ <= 1
    assert len(shares.cycle_scores_) == 2


def _decides():
    model = fit(validation=0.3, decision="recall")
    assert model.threshold_ != 0.5
    np.testing.assert_array_equal(model.predict(X), model.predict_proba(X)[:, 1] > model.threshold_)


OTHERS = {
    "scoring": _weighs_by_a_metric,
    "decision": _decides,
    "n_jobs": _trains_in_workers,
    "checkpoint_dir": _writes_a_file,
    "time_limit": _ends_in_time,
    "early_stopping": _ends_early,
    "n_iter_no_change": _ends_early,
    "voting": _counts_votes,
    "net": _trains_by_the_net,
    "callbacks": lambda: _counts(None),
    "warm_start": _goes_on,
    "categorical_features": _takes_categories,
    "device": _wants_a_device,
    "verbose": _speaks,
}


@pytest.mark.parametrize("kind", [SnapshotEnsembleClassifier, SnapshotEnsembleRegressor])
def test_every_named_parameter_stands_here(kind):
    assert set(kind._get_param_names()) <= PREDICTIONS.keys() | OTHERS.keys()


@pytest.mark.parametrize("name", PREDICTIONS)
@pytest.mark.parametrize("kind", [SnapshotEnsembleClassifier, SnapshotEnsembleRegressor])
def test_a_parameter_changes_predictions(kind, name):
    if name not in kind._get_param_names():
        return
    said = []
    for setting in PREDICTIONS[name]:
        is_real = kind is SnapshotEnsembleRegressor
        if is_real and setting.get("criterion"):
            setting = {"criterion": nn.L1Loss}
        base = {"module": Mlp, "max_epochs": 4, "n_cycles": 2, "random_state": 0, "lr": 0.02}
        model = kind(**{**base, **setting}).fit(X, value if is_real else y)
        said.append(model.predict(X) if is_real else model.predict_proba(X))
    assert not np.array_equal(*said)


@pytest.mark.parametrize("name", OTHERS)
def test_a_parameter_is_seen(name, capsys, tmp_path, monkeypatch):
    given = {"verbose": [capsys], "checkpoint_dir": [tmp_path], "n_jobs": [monkeypatch]}
    OTHERS[name](*given.get(name, []))


# --------------------------------------------------------------------------------------- criteria

_TAKES_MORE = "missing .* required positional argument"
_NO_CLASSES = r"expected one that takes raw scores of shape \(n, 2\) and class numbers of shape"
_NO_VALUES = r"expected one that takes outputs and targets of shape \(n, 1\), such as nn.MSELoss"

#: For a classifier and a regressor: the module and target with which it trains, or the text.
CRITERIA = {
    "CrossEntropyLoss": (linear, "the loss is that of a single class"),
    "NLLLoss": (log_linear, _NO_VALUES),
    "MultiMarginLoss": (linear, _NO_VALUES),
    "MSELoss": (_NO_CLASSES, (linear, value)),
    "L1Loss": (_NO_CLASSES, (linear, value)),
    "SmoothL1Loss": (_NO_CLASSES, (linear, value)),
    "HuberLoss": (_NO_CLASSES, (linear, value)),
    "PoissonNLLLoss": (_NO_CLASSES, (linear, y * 3.0)),
    "BCELoss": (_NO_CLASSES, (sigmoid_linear, y * 1.0)),
    "BCEWithLogitsLoss": (_NO_CLASSES, (linear, y * 1.0)),
    "MultiLabelSoftMarginLoss": (_NO_CLASSES, (linear, y * 1.0)),
    "HingeEmbeddingLoss": (_NO_CLASSES, (linear, y * 2.0 - 1)),
    "SoftMarginLoss": (_NO_CLASSES, (linear, y * 2.0 - 1)),
    "KLDivLoss": (_NO_CLASSES, (log_linear, np.c_[0.2 + 0.6 * y, 0.8 - 0.6 * y])),
    "MultiLabelMarginLoss": (_NO_CLASSES, _NO_VALUES),
    **dict.fromkeys(
        (
            "CTCLoss", "CosineEmbeddingLoss", "GaussianNLLLoss", "MarginRankingLoss",
            "TripletMarginLoss", "TripletMarginWithDistanceLoss",
        ),
        (_TAKES_MORE, _TAKES_MORE),
    ),
    # They are made with sizes, hold weights of their own, and return more than a number.
    "AdaptiveLogSoftmaxWithLoss": ("could not be made", "could not be made"),
    "LinearCrossEntropyLoss": ("could not be made", "could not be made"),
}  # fmt: skip


def test_every_criterion_of_torch_stands_here():
    assert {name for name in dir(nn) if name.endswith("Loss")} <= set(CRITERIA)


@pytest.mark.filterwarnings("ignore:reduction. 'mean':UserWarning")  # torch's own, of KLDivLoss
@pytest.mark.parametrize("name", [name for name in CRITERIA if hasattr(nn, name)])
@pytest.mark.parametrize("kind", [SnapshotEnsembleClassifier, SnapshotEnsembleRegressor])
def test_a_criterion_trains_or_is_refused(kind, name):
    is_real = kind is SnapshotEnsembleRegressor
    given = CRITERIA[name][is_real]
    quick = {"max_epochs": 8, "n_cycles": 1, "lr": 0.02, "random_state": 0}
    quick["criterion"] = getattr(nn, name)
    if isinstance(given, str):
        target = value if is_real else y
        with pytest.raises(ValueError, match=given):
            kind(linear, **quick).fit(X, target)
        with pytest.raises(ValueError, match=given):
            kind(module__hidden=(4,), **quick).fit(X, target)
        return
    module, target = given if is_real else (given, y)
    losses = kind(module, **quick).fit(X, target).history_[:, "train_loss"]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("name", "target", "text"),
    [
        ("BCEWithLogitsLoss", value, "values from 0 to 1"),
        ("HingeEmbeddingLoss", value, "values of -1 and 1"),
        ("PoissonNLLLoss", value, "values of at least 0"),
        ("KLDivLoss", np.c_[y, 1 - y], "expected logarithms of probabilities"),
    ],
)
def test_targets_that_a_criterion_is_not_for_are_refused(name, target, text):
    model = SnapshotEnsembleRegressor(linear, criterion=getattr(nn, name), max_epochs=1)
    with pytest.raises(ValueError, match=text):
        model.fit(X, target)


def test_raw_scores_are_refused_beside_a_loss_of_log_probabilities():
    for module in (None, linear):
        model = SnapshotEnsembleClassifier(module, criterion=nn.NLLLoss, max_epochs=1)
        with pytest.raises(ValueError, match=r"use nn\.CrossEntropyLoss, which takes raw scores"):
            model.fit(X, y)
