"""Mistakes as newcomers make them: each message names argument, value, rule and remedy."""

import copy
import re
import warnings
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from conftest import QUICK, Bare, Flat, Mlp
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, ShuffleSplit
from skorch import NeuralNetClassifier
from skorch.callbacks import Checkpoint, EarlyStopping, EpochScoring, Freezer, LRScheduler
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset

from skensemble import (
    SnapshotEnsembleClassifier,
    SnapshotEnsembleRegressor,
    learning_rates,
)
from skensemble._warnings import short
from skensemble.model_selection import cycle_curve

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = np.arange(60) % 2
R = X[:, 0] + 1
FRAME = pd.DataFrame({"age": X[:, 0], "city": ["a", "b", "c"] * 20})
GAP, PEAK = X.copy(), X.copy()
GAP[4, 1], PEAK[4, 1] = np.nan, np.inf
IMAGES = RNG.integers(0, 255, size=(60, 1, 6, 6))


class Mistake(NamedTuple):
    """What a newcomer types, and what its message has to say, as regular expressions."""

    name: str
    call: object
    argument: str
    value: str
    rule: str
    remedy: str


def new(**parameters):
    return SnapshotEnsembleClassifier(**{**QUICK, "n_chains": 2, **parameters})


def classify(X=X, y=Y, fit=None, **parameters):
    return new(**parameters).fit(X, y, **(fit or {}))


def regress(X=X, y=R, fit=None, **parameters):
    model = SnapshotEnsembleRegressor(**{**QUICK, "n_chains": 2, **parameters})
    return model.fit(X, y, **(fit or {}))


@pytest.fixture(scope="module")
def models():
    """Fitted once, for mistakes in what comes after."""
    return {
        "array": classify(),
        "frame": classify(FRAME),
        "own": classify(module=Mlp),
        "hard": classify(voting="hard"),
        "regressor": regress(),
        "warm": classify(warm_start=True),
        "partial": new().partial_fit(X, Y),
    }


class Softmax(Mlp):
    def forward(self, X):
        return super().forward(X).softmax(1)


class OneOutput(nn.Linear):
    def __init__(self, n_inputs):
        super().__init__(n_inputs, 1)


class TwoOutputs(nn.Linear):
    def __init__(self, n_inputs):
        super().__init__(n_inputs, 2)


class Fixed(nn.Linear):
    def __init__(self):
        super().__init__(5, 2)


class NoReturn(Mlp):
    def forward(self, X):
        super().forward(X)


class Convolution(nn.Module):
    def __init__(self, n_outputs):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 2, 6), nn.Flatten(), nn.Linear(2, n_outputs))

    def forward(self, X):
        return self.layers(X)


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, a, b):
        return self.layer(a + b)


class LikeKeras:
    def on_epoch_end(self, epoch, logs=None):
        """Do nothing."""


class Rows(Dataset):
    def __len__(self):
        return 60

    def __getitem__(self, i):
        return np.float32(X[i])


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(X[0], Y[0])])


def loss(outputs, y):
    return ((outputs - y) ** 2).mean()


#: Parameters of the constructor: name, value, rule, and remedy.
_DEFAULT = r"The default is "
_PARAMETERS = [
    ("n_cycles", 0, "an integer of at least 1", _DEFAULT + "8"),
    ("n_cycles", "5", "an integer of at least 1", _DEFAULT),
    ("n_cycles", list(range(1000)), "an integer of at least 1", _DEFAULT),
    ("cycle_mult", 0, "a number above 0 or 'auto'", _DEFAULT + "'auto'"),
    ("lr", -1, "a number above 0 or 'auto'", _DEFAULT + "'auto'"),
    ("lr", float("nan"), "a number above 0", _DEFAULT),
    ("max_epochs", 1e3, "an integer of at least 1 or 'auto'", _DEFAULT + "'auto'"),
    ("batch_size", "automatic", "an integer of at least 1 or 'auto'", "mean 'auto'"),
    ("schedule", "cosin", "'cosine', 'exp_range', 'triangular'", "mean 'cosine'"),
    ("schedule", None, "'cosine', 'exp_range', 'triangular'", _DEFAULT),
    ("snapshots_per_cycle", 0, "an integer of at least 1", _DEFAULT + "1"),
    ("restart", "hot", "'cold', 'star', 'warm'", _DEFAULT + "'warm'"),
    ("optimizer", "adamm", "'adadelta', .*'adam', .*'sgd'", "mean 'adam'"),
    ("optimizer", None, "callable or a string", "class of torch.optim or its name"),
    ("optimizer", torch.optim.SGD([torch.ones(1)]), "callable or a string", "optimizer__*"),
    ("criterion", "log_loss", "'bce', .*'crossentropy'", "mean 'crossentropy'"),
    ("criterion", "huberr", "'bce', .*'huber'", "mean 'huber'"),
    ("criterion", 3, "a callable or a string or None", "a loss of torch.nn"),
    ("n_chains", 0, "an integer of at least 1 or 'auto'", _DEFAULT),
    ("members", "best", "'all', 'auto', 'greedy', 'stacked'", _DEFAULT),
    ("members", "stack", "'all', 'auto', 'greedy', 'stacked'", "mean 'stacked'"),
    ("validation", 5, "'auto', 'cross', 'last' or a number between 0 and 1", "KFold"),
    ("validation", 1.5, "a number between 0 and 1", _DEFAULT),
    ("validation", (X, Y), "a number between 0 and 1", "X_val= and y_val="),
    ("voting", "loud", "'hard', 'soft'", _DEFAULT + "'soft'"),
    ("calibrate", "always", "True or False or 'auto'", _DEFAULT + "False"),
    ("scoring", "acuracy", "a name of sklearn.metrics.get_scorer_names", "mean 'accuracy'"),
    ("scoring", ["f1"], "or a callable or None", "Give one"),
    ("scoring", 0.5, "or a callable or None", "make_scorer"),
    ("decision", "roc_auc", "a scorer.* judge predictions of unseen rows", "make_scorer"),
    ("decision", 0.5, "a name of sklearn.metrics.get_scorer_names", "the name of a metric"),
    ("class_weight", "balance", "a dict or 'balanced' or None", "mean 'balanced'"),
    ("class_weight", [1, 2], "a dict or 'balanced' or None", "label: weight"),
    ("class_weight", {5: 1.0}, "for each label", r"labels are \[0, 1\]"),
    ("class_weight", {0: "a", 1: 2}, "a number of at least 0", r"labels are \[0, 1\]"),
    ("class_weight", {0: -1, 1: 1}, "at least 0", "weight 0"),
    ("early_stopping", "yes", "True or False or 'auto'", _DEFAULT + "'auto'"),
    ("early_stopping", 10, "True or False or 'auto'", "n_iter_no_change="),
    ("n_iter_no_change", 0, "an integer of at least 1", _DEFAULT),
    ("categorical_features", "city", "an array-like or 'from_dtype'", r"\['city'\]"),
    ("categorical_features", ["town"], "names or numbers of columns", r"'age', 'city'"),
    ("categorical_features", ["citi"], "names or numbers of columns", "mean 'city'"),
    ("categorical_features", [7], r"must be in \[0, n_features - 1\]", r"'age', 'city'"),
    ("categorical_features", [True], r"must have shape \(n_features,\)", r"'age', 'city'"),
    ("net", int, "a subclass of skorch.NeuralNet", "None is"),
    ("net", NeuralNetClassifier(Mlp), "a class or None", "not an instance"),
    ("callbacks", EarlyStopping(), "a list or a tuple or None", "Make a list"),
    ("callbacks", "EarlyStopping", "a list or a tuple or None", "Make a list"),
    ("device", "gpu", "a device of torch that is there", "'auto'"),
    ("device", "cuda:99", "a device of torch that is there", "'auto'"),
    ("device", 0, "a string or a device or None", "'cuda:0'"),
    ("warm_start", "yes", "True or False", _DEFAULT),
    ("random_state", "seed", "an integer of at least 0, a RandomState", _DEFAULT),
    ("random_state", np.random.default_rng(0), "a RandomState", "Draw an integer"),
    ("verbose", -1, "an integer of at least 0, True or False", _DEFAULT),
    ("n_jobs", 0, "an integer of at least 1 or an integer of at most -1 or None", "-1 is one for"),
    ("n_jobs", "all", "an integer of at least 1 or an integer of at most -1", "-1 is one for each"),
    ("n_jobs", 1.5, "an integer of at least 1 or an integer of at most -1", "-1 is one for each"),
    ("n_jobs", True, "an integer of at least 1 or an integer of at most -1", _DEFAULT + "None"),
    ("time_limit", 0, "a number above 0 or None", "It is in seconds"),
    ("time_limit", np.inf, "a number above 0 or None", "None is no limit"),
    ("time_limit", np.nan, "a number above 0 or None", "None is no limit"),
    ("time_limit", "10m", "a number above 0 or None", "Give seconds: 600 for ten minutes"),
    ("time_limit", timedelta(minutes=10), "a number above 0", r"limit.total_seconds\(\)"),
    ("module", "mlp", "a callable or None", "a class of torch.nn.Module"),
    ("module", LogisticRegression(), "a callable or None", "a class of torch.nn.Module"),
    ("table__n_pieces", -1, "an integer of at least 0", "Leave it out"),
    ("schedule__burn_in_epochs", -1, "a number of at least 0", "Without it"),
    ("criterion__scale_target", "yes", "True or False", "Without it"),
    ("distribution", "quantile", "'quantiles' or None", "mean 'quantiles'"),
    ("criterion__levels", [0.5, 0.5], "at least 2 numbers that increase", "such as 0.5"),
    ("criterion__quantile", 2, "a number above 0 and below 1", "such as 0.5"),
]

#: Names that nothing takes: name, value, and the near name or what it is here.
_NAMES = [
    ("learning_rate", 0.1, "mean lr"),
    ("max_iter", 100, "mean max_epochs"),
    ("n_estimators", 100, "mean n_cycles .* or n_chains"),
    ("hidden_layer_sizes", (64,), "mean module__hidden"),
    ("eval_set", [(X, Y)], r"mean fit\(X, y, X_val="),
    ("n_cycle", 3, "mean n_cycles"),
    ("seed", 1, "mean random_state"),
    ("patience", 3, "mean n_iter_no_change"),
    ("eval_metric", "auc", "mean scoring"),
    ("threshold", 0.3, "mean decision"),
    ("weight_decay", 0.1, "mean optimizer__weight_decay"),
    ("timeout", 60, "mean time_limit"),
    ("max_time", 60, "mean time_limit"),
    ("time_budget", 60, "mean time_limit"),
    ("momentum", 0.9, "mean optimizer__momentum"),
    ("nthread", 2, "mean n_jobs"),
    ("hidden", (3,), "mean module__hidden"),
    ("activation", "relu", "network of your own"),
    ("colour", 1, "get_params"),
    ("module_hidden", 3, "mean module__hidden"),
    ("modul__hidden", 3, "mean module__hidden"),
    ("module__hiden", (3,), "takes .*hidden.* mean module__hidden"),
    ("optimizer__beta", 1, "takes .*betas.* mean optimizer__betas"),
    ("schedule__eta_min", 0.1, "takes .*min_lr.* mean schedule__min_lr"),
    ("iterator_train__shufle", True, "mean iterator_train__shuffle"),
    ("net__compiled", True, "mean net__compile"),
    ("table__n_piece", 3, "mean table__n_pieces"),
]

#: Arguments of learning_rates: name, value, rule and remedy.
_RATES = [
    ("lr", 0, "a number above 0", "above 0"),
    ("n_cycles", 0, "an integer of at least 1", "at least 1"),
    ("n_cycles", 20, "at most 10", "every cycle needs a step"),
    ("n_cycles", True, "an integer of at least 1", "at least 1"),
    ("schedule", "cosin", "'cosine', 'exp_range'", "mean 'cosine'"),
    ("schedule", ["cosine"], "'cosine', 'exp_range'", "mean 'cosine'"),
    ("cycle_mult", 0, "a number above 0", "above 0"),
    ("min_lr", 0.5, r"from 0 to lr=0\.1", "from 0"),
    ("gamma", 2, "above 0, at most 1", "at most 1"),
    ("cycle_decay", 2, "above 0, at most 1", "at most 1"),
    ("burn_in_steps", -1, "an integer of at least 0", "at least 0"),
    ("n_steps", 2.5, "an integer of at least 1", "at least 1"),
]

#: Attributes that are not there: of which model, their names, and what to do.
_ATTRIBUTES = [
    ("hard", "predict_proba", "voting='soft'"),
    ("hard", "staged_predict_proba", "voting='soft'"),
    ("regressor", "predict_proba", "SnapshotEnsembleClassifier"),
    ("array", "decision_function", "predict_proba"),
    ("array", "feature_importances_", "permutation_importance"),
    ("array", "save_model", r"save\(path\)"),
    ("array", "load_model", r"skensemble.load\(path\)"),
    ("array", "loss_curve_", "history_"),
    ("array", "best_score_", "validation_score_"),
    ("array", "estimators_", "snapshots_"),
    ("array", "predict_probas", "mean 'predict_proba'"),
    ("array", "learning_rate", "mean lr"),
    ("own", "columns_", "own network"),
    ("new", "snapshots_", "call fit"),
    ("new", "classes_", "call fit"),
]


#: Parameters of a regressor alone, and those that make it take them.
_OF_VALUES = {
    "criterion__scale_target": {},
    "distribution": {},
    "criterion__levels": {"distribution": "quantiles"},
    "criterion__quantile": {"criterion": "quantile"},
}


def _of_parameter(name, value, rule, remedy):
    estimate, others = regress if name in _OF_VALUES else classify, _OF_VALUES.get(name, {})
    data = FRAME if name == "categorical_features" else X
    shown = re.escape(f"{name}={short(value)}")
    return Mistake(
        f"{name}={value!s:.20}",
        lambda models: estimate(data, **{name: value}, **others),
        f"Got {name}=",
        f"Got {shown},",
        f"but expected .*{rule}",
        remedy,
    )


def _of_name(name, value, remedy):
    shown = re.escape(f"{name}={short(value)}")
    rule = r"but expected a named one or one of module__\*"
    return Mistake(
        f"unknown {name}", lambda models: classify(**{name: value}), name, shown, rule, remedy
    )


def _of_rate(name, value, rule, remedy):
    def call(models):
        learning_rates(**{"n_steps": 10, "lr": 0.1, "n_cycles": 2, name: value})

    shown = re.escape(f"Got {name}={short(value)},")
    return Mistake(f"rates {name}={value}", call, name, shown, f"but expected .*{rule}", remedy)


def _of_attribute(model, name, remedy):
    def call(models):
        getattr(new() if model == "new" else models[model], name)

    rule = f"has no attribute '{name}'"
    return Mistake(f"{model}.{name}", call, name, "'SnapshotEnsemble", rule, remedy)


#: A shape of a message: argument, value, rule, remedy.
_ROWS = r"Got y with 5 rows", r"but expected as many", "same rows"
_AS_IN_FIT = "is expecting 3 features", "columns that X had in fit"

_DATA = [
    Mistake("no y", lambda m: classify(y=None), "y", "y=None", "expected the targets", "Give one"),
    Mistake("X is a path", lambda m: classify("a.csv"), "X", "='a.csv'", "expected", "read_csv"),
    Mistake("X is None", lambda m: classify(None), "X", "X=None", "expected rows", "give a table"),
    Mistake("X one row", lambda m: classify(X[0]), "X", r"1D array", "Expected 2D", "reshape"),
    Mistake("X 3d", lambda m: classify(IMAGES), "X", "dim 4", "dim <= 2", "module of your own"),
    Mistake("X empty", lambda m: classify(X[:0]), "X", r"\(0, 3\)", "minimum of 1", "at least one"),
    Mistake("X dict", lambda m: classify({"a": X}), "X", "type dict", "a table", "Make a frame"),
    Mistake("X ragged", lambda m: classify([[1, 2], [3]]), "X", r"\[1, 2\]", "expected", "equal"),
    Mistake(
        "X tuple of arrays",
        lambda m: classify((X, X), module=TwoInputs),
        "X",
        "type tuple",
        "expected a dict of arrays",
        "names of forward's parameters",
    ),
    Mistake("X a generator", lambda m: classify(iter(X)), "X", "type", "expected", "a list of it"),
    Mistake("X lazy", lambda m: classify(pl.DataFrame(X).lazy()), "X", "LazyFr", "exp", "collect"),
    Mistake("X column", lambda m: classify(FRAME["age"]), "X", "Series", "a table", "to_frame"),
    Mistake("X loader", lambda m: classify(DataLoader(Rows())), "X", "Load", "exp", "loader.data"),
    Mistake("X infinite", lambda m: classify(PEAK), "X", "infinity.*column x1", "Exp", "replace"),
    Mistake(
        "X infinite frame",
        lambda m: classify(FRAME.assign(age=np.inf)),
        "X",
        "infinite values in column 'age'",
        "but expected finite",
        "or missing ones",
    ),
    Mistake("X gap", lambda m: classify(GAP, module=Mlp), "X", "NaN.*column x1", "Exp", "imputer"),
    Mistake(
        "words for a module",
        lambda m: classify(FRAME, module=Mlp),
        "X with columns",
        r"\['city'\]",
        "but expected numbers alone",
        "OneHotEncoder",
    ),
    Mistake(
        "integer images",
        lambda m: classify(IMAGES, module=Convolution),
        "module=Convolution",
        r"shape \(8, 1, 6, 6\) and type torch.int64",
        "but expected one that takes",
        r"divide images by 255.*astype",
    ),
    Mistake(
        "images without a channel",
        lambda m: classify(IMAGES[:, 0] / 255, module=Convolution),
        "module=Convolution",
        r"shape \(8, 6, 6\)",
        "but expected one that takes",
        r"X\[:, None\]",
    ),
    Mistake(
        "a dict of other names",
        lambda m: classify({"a": X, "c": X}, module=TwoInputs),
        "module=TwoInputs",
        "keyword argument 'c'",
        "but expected one that takes",
        "names of forward's parameters",
    ),
    Mistake(
        "a dict of other lengths",
        lambda m: classify({"a": X, "b": X[:5]}, module=TwoInputs),
        "X",
        "{'a': 60, 'b': 5}",
        "but expected",
        "as many in each",
    ),
    Mistake("dataset", lambda m: classify(Rows()), "X", "Rows", "a table", "stack the items"),
    Mistake(
        "dataset without y",
        lambda m: classify(Rows(), None, module=Mlp),
        "y=None and X",
        "X=Rows",
        r"its items to be \(X, y\)",
        "or y beside",
    ),
    Mistake(
        "stream", lambda m: classify(Stream(), None, module=Mlp), "X", "Stream", "exp", "a length"
    ),
    Mistake("y one class", lambda m: classify(y=Y * 0), "y", r"1 class.*\[0\]", "2 cl", "classes="),
    Mistake("y short", lambda m: classify(y=Y[:5]), "y", *_ROWS),
    Mistake("y floats", lambda m: classify(y=R), "y", "continuous", "label", "EnsembleRegressor"),
    Mistake(
        "y with gaps",
        lambda m: classify(y=np.array(["a", "b", np.nan] * 20, dtype=object)),
        "y",
        "missing labels, the first in row 2",
        "expected one in each row",
        "leave out",
    ),
    Mistake(
        "y with NaN", lambda m: classify(y=np.where(Y, np.nan, Y)), "y", "row 1", "one", "leave out"
    ),
    Mistake(
        "y of other marks",
        lambda m: classify(y=2 * np.eye(2)[Y]),
        "y",
        r"\[0.0, 2.0\]",
        "0 or 1",
        "y == 2.0 says",
    ),
    Mistake(
        "y of lists",
        lambda m: classify(y=[[0], [0, 1]] * 30),
        "y",
        "list labels",
        "0 or 1 for each label",
        "MultiLabelBinarizer",
    ),
    Mistake(
        "y of several columns",
        lambda m: classify(y=np.c_[Y, Y + 1]),
        "y",
        "'multiclass-multioutput'",
        "one label a row",
        "MultiOutputClassifier",
    ),
    Mistake(
        "class_weight of labels",
        lambda m: classify(y=np.c_[Y, Y], class_weight="balanced"),
        "class_weight",
        "'balanced'",
        "None",
        "pos_weight",
    ),
    Mistake(
        "criterion of labels",
        lambda m: classify(y=np.c_[Y, Y], criterion=nn.BCELoss),
        "criterion",
        "BCELoss",
        "a raw score and 0 or 1",
        "nn.BCEWithLogitsLoss",
    ),
    Mistake("y is a name", lambda m: classify(y="city"), "y", "='city'", "values", "by its name"),
    Mistake(
        "y of several types",
        lambda m: classify(y=np.array([0, "a"] * 30, dtype=object)),
        "y",
        "unknown",
        "Expected one label",
        r"astype\(str\)",
    ),
    Mistake(
        "y strings of a regressor",
        lambda m: regress(y=["a", "b"] * 30),
        "y",
        "'a'",
        "Expected one label or number",
        "SnapshotEnsembleClassifier",
    ),
    Mistake("y NaN", lambda m: regress(y=np.where(Y, np.nan, R)), "y", "NaN", "Exp", "leave out"),
    Mistake(
        "y None", lambda m: regress(y=[1.0, None] * 30), "y", "missing.*row 1", "num", "leave out"
    ),
]

_FIT = [
    Mistake(
        "fit(eval_set=)",
        lambda m: classify(fit={"eval_set": [(X, Y)]}),
        "eval_set",
        r"eval_set=\[\(array",
        "but expected one of X, X_val, groups",
        r"mean fit\(X, y, X_val=",
    ),
    Mistake(
        "fit(epochs=)",
        lambda m: classify(fit={"epochs": 5}),
        "epochs",
        "epochs=5",
        "but expected one of X, X_val, groups",
        "mean max_epochs",
    ),
    Mistake(
        "fit(weights=)",
        lambda m: classify(fit={"weights": 5}),
        "weights",
        "weights=5",
        "but expected one of X, X_val, groups",
        "mean sample_weight",
    ),
    *(
        Mistake(
            f"sample_weight {name}",
            lambda m, weight=weight: classify(fit={"sample_weight": weight}),
            "sample_weight",
            value,
            "xpected",
            remedy,
        )
        for name, weight, value, remedy in [
            ("short", np.ones(5), r"\(5,\)", "as many as X has rows"),
            ("negative", -np.ones(60), "Negative", "None weighs all"),
            ("NaN", np.full(60, np.nan), "NaN", "None weighs all"),
            ("zero", np.zeros(60), "non-zero", "None weighs all"),
            ("a word", "balanced", "='balanced'", "the values themselves"),
            ("words", ["a"] * 60, "'a'", "None weighs all"),
        ]
    ),
    Mistake(
        "groups short",
        lambda m: classify(fit={"groups": Y[:5]}),
        "groups",
        r"\[5, 60\]",
        "Expected one label for each row",
        "as many as X has rows",
    ),
    Mistake(
        "groups wide",
        lambda m: classify(fit={"groups": np.ones((60, 2))}),
        "groups",
        r"\(60, 2\)",
        "but expected one a row",
        "take one column",
    ),
    Mistake(
        "no groups",
        lambda m: classify(validation=GroupKFold(2), n_chains="auto"),
        "groups",
        "groups=None",
        "but expected",
        "give groups=",
    ),
    Mistake(
        "X_val alone",
        lambda m: classify(fit={"X_val": (X, Y)}),
        "X_val",
        "without y_val",
        "both",
        "y_val=y_val",
    ),
    Mistake(
        "y_val alone",
        lambda m: classify(fit={"y_val": Y}),
        "y_val",
        "without X_val",
        "both",
        "Give X_val",
    ),
    *(
        Mistake(f"X_val {name}", lambda m, given=given: classify(fit=given), "X_val", *words)
        for name, given, words in [
            ("columns", {"X_val": X[:, :2], "y_val": Y}, ("X has 2 features", *_AS_IN_FIT)),
            ("rows", {"X_val": X, "y_val": Y[:5]}, _ROWS),
            ("labels", {"X_val": X, "y_val": Y + 1}, (r"\[2\]", r"expected .*\[0, 1\]", "Leave")),
            ("infinite", {"X_val": PEAK, "y_val": Y}, ("column x1", "Expected", "replace")),
        ]
    ),
    Mistake(
        "X_val of other names",
        lambda m: classify(FRAME, fit={"X_val": FRAME.rename(columns={"age": "a"}), "y_val": Y}),
        "X_val",
        "now missing:\n- age",
        "should match those",
        "feature_names_in_",
    ),
]

_LATER = [
    Mistake(
        "before fit", lambda m: new().predict(X), "fit", "instance", "not fitted yet", "Call 'fit'"
    ),
    Mistake(
        "fewer columns", lambda m: m["array"].predict(X[:, :2]), "X", "2 features", *_AS_IN_FIT
    ),
    Mistake("one row", lambda m: m["array"].predict(X[0]), "X", "1D array", "Expected", "reshape"),
    *(
        Mistake(
            f"a frame {name}",
            lambda m, change=change: m["frame"].predict(change(FRAME)),
            "X|feature names",
            value,
            "should match|as in fit|as they were in fit",
            remedy,
        )
        for name, change, value, remedy in [
            ("lacks a column", lambda f: f[["age"]], "- city", "feature_names_in_"),
            (
                "of other names",
                lambda f: f.rename(columns={"age": "a"}),
                "- a\n",
                "feature_names_in_",
            ),
            ("of other order", lambda f: f[["city", "age"]], "same order", "feature_names_in_"),
            ("of other kind", lambda f: f.assign(age="old"), "'old'", "expected numbers"),
        ]
    ),
    Mistake("a gap", lambda m: m["own"].predict(GAP), "X", "column x1", "Expected", "imputer"),
    Mistake(
        "partial_fit, other classes",
        lambda m: copy.deepcopy(m["partial"]).partial_fit(X, Y + 1),
        "y",
        r"classes \[2\]",
        r"expected those of the first call: \[0, 1\]",
        "classes=",
    ),
    Mistake(
        "partial_fit, one class", lambda m: new().partial_fit(X, Y * 0), "y", "1", "2", "classes="
    ),
    Mistake(
        "partial_fit, balanced",
        lambda m: new(class_weight="balanced").partial_fit(X, Y),
        "class_weight",
        "='balanced'",
        "a dict or None",
        "compute_class_weight",
    ),
    *(
        Mistake(
            f"warm start, other {name}",
            lambda m, given=given, data=data: (
                copy.deepcopy(m["warm"]).set_params(**given).fit(*data)
            ),
            *words,
        )
        for name, given, data, words in [
            (
                "module",
                {"module__hidden": (3,)},
                (X, Y),
                ("module__hidden", r"=\(3,\)", "expected None", "warm_start=False"),
            ),
            (
                "optimizer",
                {"optimizer": "sgd"},
                (X, Y),
                ("optimizer", "='sgd'", "expected 'auto'", "warm_start=False"),
            ),
            ("columns", {}, (X[:, :2], Y), ("X", "2 features", *_AS_IN_FIT)),
            ("classes", {}, (X, Y + 1), ("y", r"\[2\]", r"expected .*\[0, 1\]", "fit anew")),
        ]
    ),
    Mistake(
        "refit, columns", lambda m: m["array"].refit_members(X[:, :2], Y), "X", "2 ", *_AS_IN_FIT
    ),
    Mistake("refit, rows", lambda m: m["array"].refit_members(X, Y[:5]), "y", *_ROWS),
    Mistake(
        "refit, classes", lambda m: m["array"].refit_members(X, Y + 1), "y", r"\[2\]", "exp", "Leav"
    ),
    Mistake("refit, y", lambda m: m["array"].refit_members(X, None), "y", "None", "exp", "Give"),
]

_NETS = [
    *(
        Mistake(f"module {name}", lambda m, call=call: call(), f"module={name}", *words)
        for name, call, words in [
            (
                "Softmax",
                lambda: classify(module=Softmax),
                ("probabilities", "expected raw scores", "leave out the final softmax"),
            ),
            (
                "OneOutput",
                lambda: classify(module=OneOutput),
                (r"\(8, 1\)", r"shape \(8, 2\)", "n_outputs"),
            ),
            (
                "TwoOutputs",
                lambda: regress(module=TwoOutputs),
                (r"\(8, 2\)", r"\(8, 1\) or \(8,\)", "n_outputs"),
            ),
            (
                "Flat",
                lambda: regress(y=np.c_[R, R], module=Flat),
                (r"\(8,\)", r"\(8, 2\)", "n_outputs"),
            ),
            ("Fixed", lambda: classify(module=Fixed), (r"5x2", "one that takes", "n_inputs")),
            (
                "NoReturn",
                lambda: classify(module=NoReturn),
                ("NoneType", "expected", "return a tensor"),
            ),
            (
                "Linear",
                lambda: classify(module=nn.Linear),
                ("in_features and out_features", "expected a value", "n_inputs .* n_outputs"),
            ),
            ("Mlp", lambda: classify(module=Mlp(5, 2)), ("5x16", "one that takes", "n_inputs")),
            ("ReLU", lambda: classify(module=nn.ReLU), ("ReLU", "empty parameter", "with layers")),
            (
                "LogisticRegression",
                lambda: classify(module=LogisticRegression),
                ("LogisticR", "is no nn.Module", "a class of torch.nn.Module"),
            ),
        ]
    ),
    Mistake(
        "cold restarts of an instance",
        lambda m: classify(module=Bare(), restart="cold", n_chains=1),
        "restart",
        "='cold'",
        r"no reset_parameters\(\), but expected one",
        "the module's class",
    ),
    *(
        Mistake(f"criterion {name}", lambda m, call=call: call(), f"criterion={name}", *words)
        for name, call, words in [
            (
                "MSELoss",
                lambda: classify(module=Mlp, criterion=nn.MSELoss()),
                (r"\(8, 2\)", "expected one that takes raw scores", "nn.CrossEntropyLoss"),
            ),
            (
                "BCEWithLogitsLoss",
                lambda: classify(module=Mlp, criterion="bcewithlogits"),
                (r"\(8, 2\)", "expected one that takes raw scores", "nn.CrossEntropyLoss"),
            ),
            (
                "NLLLoss",
                lambda: classify(module=Mlp, criterion=nn.NLLLoss),
                ("raw scores", "expected logarithms", "use nn.CrossEntropyLoss"),
            ),
            (
                "CrossEntropyLoss",
                lambda: regress(criterion=nn.CrossEntropyLoss()),
                (r"\(8, 1\)", "expected one that takes outputs", "nn.MSELoss"),
            ),
            (
                "loss",
                lambda: regress(criterion=loss),
                ("loss", "missing 2 required", "into the forward"),
            ),
        ]
    ),
    Mistake(
        "a function that makes an optimizer",
        lambda m: classify(optimizer=lambda params: torch.optim.Adam(params)),
        "optimizer=",
        "<lambda>",
        "unexpected keyword argument 'lr'",
        r"\(params, lr\)",
    ),
    *(
        Mistake(
            f"{name}={value}",
            lambda m, name=name, value=value: classify(**{name: value}),
            name,
            re.escape(f"{name}={value!r}"),
            *words,
        )
        for name, value, *words in [
            ("module__hidden", 5, "expected the numbers of units", r"\(128, 64\)"),
            ("module__dropout", 1.5, "expected from 0 to below 1", "0 drops nothing"),
            ("module__dropout", "a", "expected from 0 to below 1", "0 drops nothing"),
            ("optimizer__weight_decay", -1, "Invalid weight_decay", "Change or leave out"),
            ("net__train_split", 1, "expected none", "validation="),
        ]
    ),
    *(
        Mistake(
            f"{name}={value}",
            lambda m, name=name, value=value: classify(**{name: value}),
            name,
            f"={value}",
            *words,
        )
        for name, value, *words in [
            ("schedule__min_lr", 9.0, "from 0 to lr=", "set by schedule__min_lr="),
            ("schedule__gamma", 0, "above 0, at most 1", "set by schedule__gamma="),
            ("schedule__cycle_decay", 0, "above 0, at most 1", "set by schedule__cycle_decay="),
            ("optimizer__lr", -1, "above 0", "set by optimizer__lr="),
            ("net__lr", 1, "expected it as lr=", "Set lr=1"),
        ]
    ),
]

_CALLABLES = [
    *(
        Mistake(
            f"a schedule that {name}",
            lambda m, schedule=schedule: classify(schedule=schedule),
            "schedule",
            value,
            "fraction of lr",
            remedy,
        )
        for name, schedule, value, remedy in [
            ("is negative", lambda at: -1.0, r"Got -1\.0", "Return a number"),
            ("returns nothing", lambda at: None, "Got None", "Return a number"),
            ("returns a word", lambda at: "a", "Got 'a'", "Return a number"),
            ("returns a list", lambda at: [1.0] * 999, r"Got \[1\.0.*…", "Return a number"),
            ("takes nothing", lambda: 1.0, "takes 0 positional", "lambda at: 1 - at.progress"),
            ("takes a number", lambda at: at / 10, "unsupported operand", "at has cycle, length"),
            ("knows epochs", lambda at: at.epoch, "no attribute 'epoch'", "at has cycle, length"),
        ]
    ),
    *(
        Mistake(
            f"members that {name}",
            lambda m, rule=rule: classify(members=rule),
            "members",
            value,
            "weights? of at least 0|one weight for each cycle",
            "one for each cycle|function of",
        )
        for name, rule, value in [
            ("are negative", lambda *_: np.full(2, -1.0), r"Got \[-1\.0"),
            ("are words", lambda *_: ["a", "b"], "'a'"),
            ("take too little", lambda y: y, "takes 1 positional"),
        ]
    ),
    Mistake(
        "nothing to choose by",
        lambda m: classify(n_chains=1, members="stacked"),
        "members",
        "='stacked'",
        "expected some to choose by",
        "validation='cross'",
    ),
    Mistake(
        "other numbers of chains and splits",
        lambda m: classify(n_chains=3, validation=KFold(4)),
        "n_chains",
        "=3 and validation=KFold",
        "expected as many",
        "n_chains at 'auto'",
    ),
    Mistake(
        "rows left out twice",
        lambda m: classify(n_chains="auto", validation=ShuffleSplit(3)),
        "validation",
        "=ShuffleSplit",
        "each row exactly once",
        "such as KFold",
    ),
    Mistake(
        "more folds than rows",
        lambda m: classify(n_chains="auto", validation=KFold(100)),
        "validation",
        r"KFold\(n_splits=100",
        "n_samples=60",
        "another splitter",
    ),
    *(
        Mistake(
            f"callback {name}",
            lambda m, callback=callback: classify(module=Mlp, n_chains=1, callbacks=[callback]),
            "callback|Got [A-Z]",
            *words,
        )
        for name, callback, words in [
            ("by name", "early_stopping", ("'early_stopping'", "expected", "derived from skorch")),
            ("of keras", LikeKeras(), ("LikeKeras", "expected", "derived from skorch")),
            ("of the rate", LRScheduler(), ("LRScheduler", "expected", "schedule=")),
            (
                "that loads",
                EarlyStopping(load_best=True),
                ("load_best=True", "expected load_best=False", "members='stacked'"),
            ),
            (
                "of unseen rows",
                EarlyStopping(),
                ("'valid_loss'", "expected a monitor", "validation='cross'"),
            ),
            (
                "that saves",
                Checkpoint(),
                ("'valid_loss_best'", "expected a m", "'train_loss_best'"),
            ),
            ("of unseen scores", EpochScoring("accuracy"), ("=False", "expected", "on_train=True")),
            (
                "of no score",
                EpochScoring("accuracyy", on_train=True),
                ("'accuracyy'", "expected the name of a scorer", "mean 'accuracy'"),
            ),
            ("of no layer", Freezer("nothing*"), (r"'nothing\*'", "expected", "hidden.weight")),
        ]
    ),
]

_TOOLS = [
    Mistake(
        "set_params",
        lambda m: new().set_params(max_iter=3),
        "max_iter",
        "=3",
        "expected a named one",
        "mean max_epochs",
    ),
    Mistake(
        "GridSearchCV",
        lambda m: GridSearchCV(new(), {"n_cycle": [1]}, cv=2).fit(X, Y),
        "n_cycle",
        "=1",
        "expected a named one",
        "mean n_cycles",
    ),
    *(
        Mistake(f"cycle_curve {name}", lambda m, call=call: call(), name.split()[0], *words)
        for name, call, words in [
            (
                "cv",
                lambda: cycle_curve(new(module=Mlp, n_chains=1), X, Y),
                ("cv=None", "leaves no rows out", "cv=5"),
            ),
            (
                "cv a word",
                lambda: cycle_curve(new(), X, Y, cv="five"),
                ("cv='five'", "expected a number of folds", "such as cv=5"),
            ),
            (
                "cv 1",
                lambda: cycle_curve(new(), X, Y, cv=1),
                ("cv=1,", "expected a number of folds of at least 2", "such as cv=5"),
            ),
            (
                "scoring without cv",
                lambda: cycle_curve(new(), X, Y, scoring="accuracy"),
                ("='accuracy'", "expected cv=", "such as cv=5"),
            ),
            (
                "scoring unknown",
                lambda: cycle_curve(new(), X, Y, cv=2, scoring="accuracyy"),
                ("='accuracyy'", "expected the name of a scorer", "mean 'accuracy'"),
            ),
            (
                "scoring of votes",
                lambda: cycle_curve(new(voting="hard"), X, Y, cv=2),
                ("=None with voting='hard'", "expected scoring=", "'accuracy'"),
            ),
            (
                "estimator",
                lambda: cycle_curve(LogisticRegression(), X, Y),
                ("=LogisticRegression", "expected a Snapshot", "Make an instance"),
            ),
            (
                "y",
                lambda: cycle_curve(new(), X, Y[:5], cv=2),
                (r"\[60, 5\]", "Expected one label", "as many as X has rows"),
            ),
        ]
    ),
]

MISTAKES = [
    *(_of_parameter(*row) for row in _PARAMETERS),
    *(_of_name(*row) for row in _NAMES),
    *(_of_rate(*row) for row in _RATES),
    *(_of_attribute(*row) for row in _ATTRIBUTES),
    *_DATA,
    *_FIT,
    *_LATER,
    *_NETS,
    *_CALLABLES,
    *_TOOLS,
]


def message_of(mistake, models):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises((ValueError, TypeError, AttributeError)) as told:
            mistake.call(models)
    return str(told.value)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_message_names_argument_value_rule_and_remedy(models, mistake):
    said = message_of(mistake, models)
    parts = {part: getattr(mistake, part) for part in ("argument", "value", "rule", "remedy")}
    missing = [part for part, words in parts.items() if not re.search(words, said, re.DOTALL)]
    assert not missing, said
    assert len(said) < 1000


def test_all_choices_of_a_name_stand_in_order():
    """A set would show them in another order in each process."""
    for name, value in [("schedule", "x"), ("members", "x"), ("optimizer", "x"), ("device", "x")]:
        with pytest.raises(ValueError, match=f"Got {name}=") as told:
            classify(**{name: value})
        listed = re.search(r"one of ('[a-z_0-9]+'(?:, '[a-z_0-9]+')*)", str(told.value))
        choices = listed[1].split(", ")
        assert choices == sorted(choices)


def test_what_newcomers_type_and_is_right_works():
    for right in ({"optimizer": "adam"}, {"device": "auto"}, {"criterion": "cross_entropy"}):
        assert classify(**right).predict(X).shape == (60,)
    assert regress(criterion="l1", optimizer="sgd").predict(X).shape == (60,)
    assert classify(tuple(map(tuple, X))).predict(X).shape == (60,)
