"""X, y and weights of one call, checked together."""

import numpy as np
import pytest
import torch
from conftest import QUICK, Mlp
from sklearn.metrics import log_loss
from torch import nn

from skensemble import SnapshotEnsembleClassifier
from skensemble._data.reading import read_training


def test_held_out_rows_are_checked(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, **QUICK)
    with pytest.raises(ValueError, match="Got X_val without y_val"):
        model.fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="without X_val"):
        model.fit(X, y, y_val=y)
    with pytest.raises(ValueError, match="features"):
        model.fit(X, y, X_val=X[:, 1:], y_val=y)
    with pytest.raises(ValueError, match="classes"):
        model.fit(X, y, X_val=X, y_val=y + 100)


def test_weights_of_classes_are_those_of_the_fit(digits):
    """Also for rows whose classes are balanced otherwise."""
    X, y = digits
    y = (y == 3).astype(int)
    held = np.concatenate([np.flatnonzero(y)[:20], np.flatnonzero(1 - y)[:20]])
    model = SnapshotEnsembleClassifier(Mlp, class_weight="balanced", members="all", **QUICK)
    model.fit(X, y, X_val=X[held], y_val=y[held])
    weight = len(y) / (2 * np.bincount(y))
    expected = -log_loss(y[held], model.predict_proba(X[held]), sample_weight=weight[y[held]])
    assert model.validation_score_ == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="Of X_val, y_val and sample_weight_val: "):
        model.fit(X, y, X_val=X[held], y_val=y[held], sample_weight_val=np.zeros(40))


@pytest.mark.parametrize("rows", [20, 150])
def test_weights_of_one_change_no_bit(iris, rows):
    """Rule 3."""
    X, y = iris
    order = np.random.default_rng(0).permutation(150)[:rows]
    model = SnapshotEnsembleClassifier(max_epochs=5, n_cycles=5, random_state=0)
    plain = model.fit(X[order], y[order]).predict_proba(X)
    for value in (1.0, 3.0, 1 / 49):  # AdaBoost's sum to 1
        weighted = model.fit(X[order], y[order], sample_weight=np.full(rows, value))
        np.testing.assert_array_equal(weighted.predict_proba(X), plain)


def test_weights_of_extreme_size_are_weights(digits):
    X, y = digits
    weight = 1.0 + np.arange(len(y)) % 3
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, random_state=0)
    expected = model.fit(X, y, sample_weight=weight).predict_proba(X)
    huge = model.fit(X, y, sample_weight=weight * 2.0**1020).predict_proba(X)
    np.testing.assert_allclose(huge, expected, rtol=1e-6)


class Probabilities(Mlp):
    def forward(self, X):
        return torch.softmax(super().forward(X), dim=1)


class TooMany(Mlp):
    def __init__(self, n_inputs):
        super().__init__(n_inputs, 7)


def _with(X, value):
    X = X.copy()
    X[3, 1] = value
    return X


WRONG_DATA = [
    (lambda X, y: (_with(X, np.nan), y), {}, "Input X contains NaN"),
    (lambda X, y: (_with(X, np.inf), y), {}, "Input X contains infinity"),
    (lambda X, y: (X.astype(complex), y), {}, "Complex data not supported"),
    (lambda X, y: (X[:0], y[:0]), {}, "0 sample"),
    (lambda X, y: (X, np.zeros_like(y)), {}, "Got y with 1 class"),
    (lambda X, y: (X, np.stack([y, y], axis=1)), {}, "Got y of type 'multiclass-multioutput'"),
    (lambda X, y: (X, y[:-1]), {}, "inconsistent numbers of samples"),
    (lambda X, y: (X, y + 0.5), {}, "Unknown label type"),
    (lambda X, y: (X, np.where(y == 0, np.nan, y)), {}, "contains NaN"),
    (lambda X, y: (X, y), {"module": Probabilities}, "returns probabilities"),
    (lambda X, y: (X, y), {"module": TooMany}, r"returns shape \(8, 7\).* one raw score for each"),
    (lambda X, y: (X, y), {"module": nn.Linear(9, 3)}, r"a batch of shape \(8, 4\)"),
]


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # scikit-learn's, of NaN
@pytest.mark.parametrize(("change", "parameters", "message"), WRONG_DATA)
def test_wrong_data_are_named_and_harm_nothing(iris, change, parameters, message):
    X, y = iris
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=3, n_cycles=2, random_state=0).fit(X, y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match=message):
        model.set_params(**parameters).fit(*change(X, y))
    np.testing.assert_array_equal(model.predict_proba(X), before)


def read(model, X, y, weight):
    targets = model._targets()
    return read_training(model, X, y, weight, targets=targets, classes=None, before=None)[0]


@pytest.mark.parametrize("value", [1.0, 3, 1e-300, 2.0**1023])
def test_equal_weights_count_as_none(iris, value):
    examples = read(SnapshotEnsembleClassifier(), *iris, np.full(150, value))
    assert examples.sample_weight is None
    assert examples.loss_weight is None


def test_weights_in_the_loss_have_mean_one(iris):
    X, y = iris
    weight = np.random.default_rng(0).random(150)
    plain = read(SnapshotEnsembleClassifier(), X, y, weight)
    np.testing.assert_array_equal(plain.sample_weight, weight)
    np.testing.assert_allclose(plain.loss_weight, weight / weight.mean(), rtol=1e-12)
    by_class = read(SnapshotEnsembleClassifier(class_weight={0: 5.0}), X, y, None)
    expected = np.where(y == 0, 5.0, 1.0)
    assert by_class.sample_weight is None
    np.testing.assert_allclose(by_class.loss_weight, expected / expected.mean(), rtol=1e-12)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (np.zeros(150), "[zZ]ero"),
        (-np.ones(150), "Negative values"),
        (np.ones(149), "shape"),
        (np.full(150, np.nan), "NaN"),
    ],
)
def test_weights_that_cannot_be_are_refused(iris, weight, message):
    with pytest.raises(ValueError, match=message):
        read(SnapshotEnsembleClassifier(), *iris, weight)
