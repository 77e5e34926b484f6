"""What y means, and the way from outputs back to predictions."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from conftest import QUICK, Flat, Mlp
from scipy.special import softmax
from sklearn.base import clone
from sklearn.metrics import mean_squared_error, r2_score
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._data.targets import ClassTargets, RealTargets


@pytest.fixture(scope="module")
def of_zeros_and_ones(cancer):
    """What the other labels are to give as well, and the score of scikit-learn's network."""
    model = SnapshotEnsembleClassifier(module__hidden=(32,), max_epochs=5, random_state=0)
    return model.fit(*cancer), MLPClassifier(random_state=0).fit(*cancer).score(*cancer)


@pytest.mark.parametrize(
    "labels",
    [
        lambda y: y.astype(bool),
        lambda y: np.where(y, "good", "bad"),
        lambda y: np.where(y, "good", "bad").astype(object),
        lambda y: 2 * y - 1,
        lambda y: (2 * y - 1).astype(float),
        lambda y: y + 2**53 - 2,
        lambda y: y.astype(np.int8),
        lambda y: pd.Series(np.where(y, "good", "bad"), dtype="category", index=y.size - y),
        lambda y: pd.Series(np.where(y, "good", "bad"), dtype="string"),
        lambda y: pd.Series(y, dtype="Int64"),
        lambda y: pl.Series(np.where(y, "good", "bad")),
        lambda y: torch.from_numpy(y),
        lambda y: y.tolist(),
    ],
    ids=[
        "bool",
        "str",
        "object",
        "pm1",
        "float",
        "large",
        "int8",
        "categorical",
        "string",
        "nullable",
        "polars",
        "tensor",
        "list",
    ],
)
def test_labels_of_any_kind(cancer, of_zeros_and_ones, labels):
    X, y = cancer
    plain, theirs = of_zeros_and_ones
    model = clone(plain).fit(X, labels(y))
    predicted = model.predict(X)
    flipped = model.classes_[0] in ("good",)
    expected = plain.predict_proba(X)[:, ::-1] if flipped else plain.predict_proba(X)
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    assert predicted.dtype == model.classes_.dtype
    assert (predicted == np.asarray(labels(y))).mean() > 0.95
    assert model.score(X, labels(y)) >= theirs


@pytest.mark.filterwarnings("ignore:Got lr=0.012")  # with some versions the loss rises in between
def test_values_of_another_criterion_are_not_compared_with_the_targets(diabetes):
    """Logarithms of rates are no predictions of counts."""
    X, y = diabetes
    model = SnapshotEnsembleRegressor(n_chains=2, criterion=nn.PoissonNLLLoss, lr=0.01, **QUICK)
    model.fit(X, y / 100)
    np.testing.assert_allclose(model.member_weights_, np.full(4, 1 / 4))


@pytest.mark.parametrize(
    "labels",
    [
        ["versicolor", "setosa", "virginica"],
        [10.0, -1.0, 3.0],
        [2**53 - 1, 0, 7],
        [True, False, True],
    ],
    ids=["str", "float", "large", "bool"],
)
def test_any_label_type_comes_back(iris, labels):
    X, y = iris
    y = np.array(labels)[y]
    model = SnapshotEnsembleClassifier(max_epochs=20, random_state=0).fit(X, y)
    predicted = model.predict(X)
    assert predicted.dtype == y.dtype
    assert set(predicted) == set(y)
    assert model.score(X, y) > 0.9


@pytest.mark.filterwarnings("ignore:Got X with columns of very different scale")
def test_class_weight_is_sample_weight(cancer):
    X, y = cancer
    base = {"max_epochs": 3, "random_state": 0}
    by_class = SnapshotEnsembleClassifier(Mlp, class_weight={0: 3.0}, **base).fit(X, y)
    by_row = SnapshotEnsembleClassifier(Mlp, **base).fit(X, y, sample_weight=np.where(y, 1.0, 3.0))
    np.testing.assert_array_equal(by_class.predict_proba(X), by_row.predict_proba(X))
    balanced = SnapshotEnsembleClassifier(Mlp, class_weight="balanced", **base).fit(X, y)
    weight = len(y) / (2 * np.bincount(y))
    expected = SnapshotEnsembleClassifier(Mlp, **base).fit(X, y, sample_weight=weight[y])
    np.testing.assert_array_equal(balanced.predict_proba(X), expected.predict_proba(X))


def test_class_weight_and_sample_weight_together(iris):
    X, y = iris
    order = np.random.default_rng(0).permutation(150)[:12]
    X, y, weight = X[order], y[order], np.array([1, 2, 3] * 4)
    model = SnapshotEnsembleClassifier(random_state=0)
    for class_weight in ("balanced", {0: 2.0, 1: 0.5}):
        model.set_params(class_weight=class_weight)
        weighted = model.fit(X, y, sample_weight=weight).predict_proba(X)
        repeated = model.fit(X.repeat(weight, axis=0), y.repeat(weight)).predict_proba(X)
        np.testing.assert_allclose(weighted, repeated, rtol=1e-6)
    by_hand = weight * np.array([2.0, 0.5, 1.0])[y]
    model.set_params(max_epochs=8, lr=0.005)  # later both losses vanish
    both = model.fit(X, y, sample_weight=weight)
    loss = both.history_[-1, "train_loss"]
    plain = SnapshotEnsembleClassifier(max_epochs=8, lr=0.005, random_state=0)
    plain.fit(X, y, sample_weight=by_hand)
    assert loss == pytest.approx(plain.history_[-1, "train_loss"], rel=0.5)
    for wrong in ({0: -1.0}, {0: 0, 1: 0, 2: 0}):
        with pytest.raises(ValueError, match=r"Got class_weight=.*weights of at least 0"):
            model.set_params(class_weight=wrong).fit(X, y)


def test_class_weight_in_partial_fit_with_a_part_of_the_classes(iris):
    X, y = iris
    model = SnapshotEnsembleClassifier(class_weight={2: 5.0}, max_epochs=5)
    model.partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X[y < 2], y[y < 2])
    assert model.n_cycles_ == 2
    with pytest.raises(ValueError, match=r"Got classes=\[0, 1\], but expected .*\[0, 1, 2\]"):
        model.partial_fit(X, y, classes=[0, 1])


def test_rows_without_weight_count_for_no_class(iris):
    X, y = iris
    with pytest.raises(ValueError, match="Got y with 1 class"):
        SnapshotEnsembleClassifier().fit(X, y, sample_weight=(y == 1).astype(float))


@pytest.mark.parametrize("criterion", [None, nn.MSELoss, nn.L1Loss, nn.MSELoss()])
def test_targets_are_scaled_where_the_loss_scales_with_them(diabetes, criterion):
    """Rule 5: predictions of c * y + d are c times predictions of y, plus d."""
    X, y = diabetes
    model = SnapshotEnsembleRegressor(Mlp, criterion=criterion, max_epochs=3, random_state=0)
    one, two = model.fit(X, y).predict(X), model.fit(X, 8 * y + 4096).predict(X)
    np.testing.assert_allclose(8 * one + 4096, two, rtol=1e-6)


@pytest.mark.parametrize("factor", [1e200, 1e-200])
def test_targets_of_extreme_size(diabetes, factor):
    X, y = diabetes
    model = SnapshotEnsembleRegressor(Mlp, max_epochs=3, random_state=0)
    expected = model.fit(X, y).predict(X)
    np.testing.assert_allclose(model.fit(X, y * factor).predict(X) / factor, expected, rtol=1e-5)


@pytest.mark.parametrize("make", [lambda c: c, lambda c: c()])
def test_a_loss_of_ones_own_sees_targets_as_they_are(diabetes, make):
    class Own(nn.MSELoss):
        pass

    X, y = diabetes
    model = SnapshotEnsembleRegressor(Flat, criterion=make(Own), max_epochs=1).fit(X, y)
    assert model.history_[0, "train_loss"] > 1000


def test_another_criterion_sees_targets_as_they_are(diabetes):
    X, y = diabetes
    seen = []

    class Watching(nn.PoissonNLLLoss):
        def forward(self, y_pred, y_true):
            if self.training:  # and not when it is tried with a few rows
                seen.append(y_true)
            return super().forward(y_pred, y_true)

    SnapshotEnsembleRegressor(Flat, criterion=Watching, max_epochs=1, lr=1e-4).fit(X, y)
    assert sorted(torch.cat(seen).tolist()) == sorted(y.tolist())


@pytest.mark.parametrize("labels", [["b", "a", "c"], [2.0, -1.0, 7.0], [2**53 - 1, 0, 7]])
def test_labels_there_and_back(iris, labels):
    y = np.array(labels)[iris[1]]
    targets, codes = ClassTargets().learn(y, None)
    np.testing.assert_array_equal(codes, np.unique(y, return_inverse=True)[1])
    np.testing.assert_array_equal(targets.decode(np.eye(3)[codes]), y)
    np.testing.assert_array_equal(targets.encode(y[::-1]), codes[::-1])
    assert targets.n_outputs == 3


@pytest.mark.parametrize("class_weight", ["balanced", {0: 3.0, 2: 0.5}])
def test_weights_of_classes_are_those_of_scikit_learn(iris, class_weight):
    y = iris[1][20:]
    targets, codes = ClassTargets(class_weight=class_weight).learn(y, None)
    expected = compute_class_weight(class_weight, classes=np.unique(y), y=y)[codes]
    np.testing.assert_allclose(targets.weigh(codes, None), expected)
    own = np.arange(1.0, 131.0)
    repeated = np.repeat(y, own.astype(int))
    weighted, _ = ClassTargets(class_weight=class_weight).learn(y, own)
    expected = compute_class_weight(class_weight, classes=np.unique(y), y=repeated)[codes] * own
    np.testing.assert_allclose(weighted.weigh(codes, own), expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_values_are_scaled_as_by_standard_scaler(diabetes, weighted):
    X, y = diabetes
    Y = np.stack([y, 1e6 - y**2], axis=1)
    weight = X[:, 0] - X[:, 0].min() if weighted else None
    targets, scaled = RealTargets.of(None).learn(Y, weight)
    expected = StandardScaler().fit(Y, sample_weight=weight).transform(Y)
    np.testing.assert_allclose(scaled, expected, rtol=1e-9, atol=1e-9)
    back = targets.values(torch.from_numpy(scaled)[None])[0].numpy()
    np.testing.assert_allclose(targets.decode(back), Y, rtol=1e-12)
    np.testing.assert_allclose(targets.truth(scaled), Y, rtol=1e-12)
    with pytest.warns(UserWarning, match="criterion=PoissonNLLLoss, which sees y as it is"):
        _, as_they_are = RealTargets.of(nn.PoissonNLLLoss).learn(Y, weight)
    np.testing.assert_array_equal(as_they_are, Y)


def test_scores_become_probabilities_in_float64():
    scores = torch.randn(2, 5, 3) * 100
    got = ClassTargets().values(scores)
    assert got.dtype == torch.float64
    np.testing.assert_allclose(got, softmax(scores.double().numpy(), axis=2), rtol=1e-12)


# --------------------------------------------------------------------------------- units


class Pinball(nn.Module):
    """The loss of a quantile, as a user writes it."""

    def forward(self, y_pred, y_true):
        error = y_true - y_pred
        return (0.9 * error).maximum(-0.1 * error).mean()


@pytest.mark.parametrize("unit", [2.0**-20, 2.0**20])
@pytest.mark.parametrize("criterion", [None, nn.L1Loss, nn.HuberLoss, nn.SmoothL1Loss(), Pinball])
def test_the_unit_of_y_changes_nothing(diabetes, criterion, unit):
    X, y = diabetes
    make = SnapshotEnsembleRegressor(criterion=criterion, max_epochs=4, n_cycles=2, random_state=0)
    expected = make.fit(X, y).predict(X)
    np.testing.assert_allclose(make.fit(X, y * unit).predict(X) / unit, expected, rtol=1e-6)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_the_unit_of_one_output_changes_nothing(diabetes, unit):
    """Cycles are weighted, and the run is ended, by all outputs alike."""
    X, y = diabetes
    noise = np.random.default_rng(0).normal(size=len(y))
    make = SnapshotEnsembleRegressor(max_epochs=12, n_cycles=4, random_state=0)
    expected = make.fit(X, np.c_[noise, y])
    weights, predictions = expected.member_weights_, expected.predict(X)
    again = make.fit(X, np.c_[noise * unit, y])
    np.testing.assert_allclose(again.member_weights_, weights, atol=1e-5)
    np.testing.assert_allclose(again.predict(X)[:, 1], predictions[:, 1], rtol=1e-4)
    np.testing.assert_allclose(again.predict(X)[:, 0] / unit, predictions[:, 0], atol=1e-3)


def test_a_criterion_that_sees_y_as_it_is_warns_of_its_size(diabetes):
    class LogCosh(nn.Module):
        def forward(self, y_pred, y_true):
            return (y_pred - y_true).cosh().log().mean()

    X, y = diabetes
    make = SnapshotEnsembleRegressor(criterion=LogCosh, max_epochs=1, n_cycles=1, lr=1e-9)
    for far in (y / 1e6, y * 1e-2 / 1e6):
        with pytest.warns(UserWarning, match="LogCosh.*criterion__scale_target=True"):
            make.fit(X, far)
    make.set_params(criterion__scale_target=True).fit(X, y / 1e6)
    with pytest.raises(ValueError, match=r"criterion__scale_target='yes'.*True or False"):
        make.set_params(criterion__scale_target="yes").fit(X, y)
    with pytest.raises(ValueError, match="criterion__scale_target"):
        SnapshotEnsembleClassifier(criterion__scale_target=True).fit(X, y > 100)


def test_targets_are_left_as_they_are_where_that_is_asked_for(diabetes):
    X, y = diabetes
    make = SnapshotEnsembleRegressor(max_epochs=1, n_cycles=1, random_state=0)
    scaled = make.fit(X, y / 10).history_[0, "train_loss"]
    plain = make.set_params(criterion__scale_target=False).fit(X, y / 10)
    assert scaled < 2 < plain.history_[0, "train_loss"]


@pytest.mark.parametrize("value", [0.0, 1e-6, 3.0, -1e6])
def test_a_constant_target_is_predicted(diabetes, value):
    X, y = diabetes
    model = SnapshotEnsembleRegressor(max_epochs=2, n_cycles=1, random_state=0)
    model.fit(X, np.full(len(y), value))
    np.testing.assert_allclose(model.predict(X), value, rtol=1e-12)
    assert model.validation_score_ == pytest.approx(0)
    two = model.fit(X, np.c_[y, np.full(len(y), value)]).predict(X)
    np.testing.assert_allclose(two[:, 1], value, rtol=1e-12)


def test_a_target_that_was_constant_in_the_first_call_is_learned_later(diabetes):
    X, y = diabetes
    model = SnapshotEnsembleRegressor(max_epochs=60, n_cycles=2, random_state=0)
    model.partial_fit(X[:50], np.full(50, 150.0))
    model.partial_fit(X, y).partial_fit(X, y)
    assert model.score(X, y) > 0.4


@pytest.mark.parametrize("factor", [1e200, 1e-200])
def test_cycles_are_weighted_by_ratios_at_any_size(diabetes, factor):
    X, y = diabetes
    make = SnapshotEnsembleRegressor(max_epochs=4, n_cycles=3, random_state=0)
    expected = make.fit(X, y).member_weights_
    r2 = make.validation_r2_
    again = make.fit(X, y * factor)
    np.testing.assert_allclose(again.member_weights_, expected, atol=1e-5)
    assert again.validation_r2_ == pytest.approx(r2, rel=1e-5)
    assert np.isfinite(again.cycle_scores_).all()


def test_r2_of_unseen_rows_stands_beside_their_score(diabetes):
    X, y = diabetes
    model = SnapshotEnsembleRegressor(max_epochs=4, n_cycles=2, random_state=0).fit(X, y)
    assert model.validation_r2_ == pytest.approx(r2_score(y, model.oof_prediction_))
    expected = -mean_squared_error(y, model.oof_prediction_)
    assert model.validation_score_ == pytest.approx(expected)  # in squared units of y
    two = np.c_[y, 1e3 * X[:, 2]]
    model.fit(X, two)
    assert model.validation_r2_ == pytest.approx(r2_score(two, model.oof_prediction_))
    assert model.validation_score_ == pytest.approx(-mean_squared_error(two, model.oof_prediction_))
    assert not hasattr(SnapshotEnsembleClassifier(max_epochs=1).fit(X, y > 100), "validation_r2_")
