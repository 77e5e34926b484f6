"""Losses by scikit-learn's names: what they train, predict, and compare cycles by."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_diabetes
from sklearn.linear_model import GammaRegressor, PoissonRegressor
from sklearn.metrics import (
    mean_absolute_error,
    mean_gamma_deviance,
    mean_pinball_loss,
    mean_poisson_deviance,
    mean_squared_error,
)
from torch import nn

import skensemble
from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._data.named_targets import CRITERIA, NamedTargets, RateTargets, targets_of
from skensemble._data.targets import RealTargets

QUICK = {"n_cycles": 3, "max_epochs": 6, "random_state": 0}
X, Y = load_diabetes(return_X_y=True)
COUNTS = np.random.default_rng(0).poisson(Y / 50).astype(float)


def regress(X=X[:300], y=Y[:300], **parameters):
    return SnapshotEnsembleRegressor(**{**QUICK, **parameters}).fit(X, y)


def huber(y, p, delta=1.0, unit=1.0):
    """Return Huber's loss whose bound counts in units, in squared units of y."""
    p, y = torch.tensor(p / unit), torch.tensor(y / unit)
    return float(nn.functional.huber_loss(p, y, delta=delta)) * unit**2


#: Criterion, target, further parameters, and the loss in units of y.
CASES = {
    "squared_error": (Y, {}, mean_squared_error),
    "absolute_error": (Y, {}, mean_absolute_error),
    "huber": (
        Y, {"criterion__delta": 0.5}, lambda y, p: huber(y, p, 0.5, Y[:300].std()),
    ),
    "quantile": (
        Y, {"criterion__quantile": 0.8}, lambda y, p: mean_pinball_loss(y, p, alpha=0.8),
    ),
    "poisson": (COUNTS, {}, mean_poisson_deviance),
    "gamma": (Y, {}, mean_gamma_deviance),
}  # fmt: skip
every = pytest.mark.parametrize("name", CASES)


@every
def test_cycles_are_compared_by_the_loss_that_is_named(name):
    target, parameters, metric = CASES[name]
    model = regress(y=target[:300], criterion=name, **parameters)
    expected = -metric(target[:300], model.oof_prediction_)
    assert model.validation_score_ == pytest.approx(expected, rel=1e-9)
    assert model.cycle_scores_[-1] == model.validation_score_
    assert model.score(X[300:], target[300:]) > (-1 if name == "quantile" else 0.05)
    assert model.validation_r2_ > (-1 if name == "quantile" else 0.1)


@every
def test_it_comes_back_from_files(name, tmp_path):
    target, parameters, _ = CASES[name]
    model = regress(y=target[:300], criterion=name, n_chains=2, **parameters)
    model.save(tmp_path / "a.model", include="training")
    for loaded in (skensemble.load(tmp_path / "a.model"), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
        np.testing.assert_array_equal(loaded.predict_interval(X), model.predict_interval(X))
        np.testing.assert_array_equal(
            loaded.partial_fit(X[:300], target[:300]).predict(X),
            pickle.loads(pickle.dumps(model)).partial_fit(X[:300], target[:300]).predict(X),
        )


@every
def test_onnx_predicts_the_same(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    target, parameters, _ = CASES[name]
    model = regress(y=target[:300], criterion=name, n_chains=2, **parameters)
    model.to_onnx(tmp_path / "a.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    (found,) = session.run(None, {"X": X[300:]})
    np.testing.assert_allclose(found[:, 0], model.predict(X[300:]), rtol=1e-5)


@every
def test_several_outputs_and_importances(name):
    target, parameters, metric = CASES[name]
    two = np.column_stack([target, 1000 * target[::-1]])
    model = regress(y=two[:300], criterion=name, n_chains=2, **parameters)
    assert model.predict(X).shape == (442, 2)
    if name != "huber":
        each = [metric(two[:300, j], model.oof_prediction_[:, j]) for j in range(2)]
        assert model.validation_score_ == pytest.approx(-np.mean(each))
    found = model.unseen_importance(X[:300], two[:300])
    assert found.loss == pytest.approx(-model.validation_score_, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("squared_error", nn.MSELoss), ("absolute_error", nn.L1Loss), ("huber", nn.HuberLoss)],
)
def test_networks_are_those_of_torchs_loss(name, kind):
    one, other = (regress(criterion=given, n_chains=2).snapshots_ for given in (name, kind))
    for a, b in zip(one, other, strict=True):
        assert all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("given", ["l1", "L1Loss", nn.L1Loss, "HuberLoss", "mse", nn.MSELoss, None])
def test_other_names_and_classes_keep_the_squared_error(given):
    model = regress(criterion=given, n_chains=2)
    expected = -mean_squared_error(Y[:300], model.oof_prediction_)
    assert model.validation_score_ == pytest.approx(expected)


@pytest.mark.parametrize("level", [0.1, 0.9])
def test_a_quantile_lies_above_its_share(level):
    model = regress(criterion="quantile", criterion__quantile=level, max_epochs=30)
    assert np.mean(Y[300:] <= model.predict(X[300:])) == pytest.approx(level, abs=0.12)


@pytest.mark.parametrize(
    ("name", "linear", "target"),
    [("poisson", PoissonRegressor, COUNTS), ("gamma", GammaRegressor, Y)],
)
def test_a_linear_module_is_the_linear_model(name, linear, target):
    """One layer, and many steps: the minimum is that of scikit-learn's model without penalty."""
    rows = 20 * X
    expected = linear(alpha=0, max_iter=1000).fit(rows, target).predict(rows)
    model = SnapshotEnsembleRegressor(
        nn.Linear, module__in_features=10, module__out_features=1, criterion=name, n_cycles=1,
        max_epochs=300, batch_size=442, lr=0.1, random_state=0,
    ).fit(rows, target)  # fmt: skip
    np.testing.assert_allclose(model.predict(rows), expected, rtol=0.02)


def test_units_of_amounts_change_nothing():
    one = regress(criterion="gamma", n_chains=2)
    far = regress(y=2.0**40 * Y[:300], criterion="gamma", n_chains=2)
    np.testing.assert_allclose(far.predict(X), 2.0**40 * one.predict(X), rtol=1e-5)
    assert far.validation_score_ == pytest.approx(one.validation_score_, rel=1e-5)


@pytest.mark.filterwarnings("ignore:Got lr")  # there is nothing to learn
@pytest.mark.parametrize("name", ["poisson", "gamma"])
def test_a_constant_target_is_predicted_as_it_is(name):
    found = regress(y=np.full(300, 7.0), criterion=name, n_chains=2).predict(X[300:])
    np.testing.assert_allclose(found, 7.0, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "y", "text"),
    [
        ("poisson", COUNTS - 1, "Got y whose least value is -1 .*values of at least 0"),
        ("poisson", 0 * COUNTS, "Got y whose least value is 0 .*not all of them 0"),
        ("gamma", COUNTS, "Got y whose least value is 0 with criterion='gamma', but .* above 0"),
    ],
)
def test_values_that_a_loss_is_not_for_are_refused(name, y, text):
    with pytest.raises(ValueError, match=text):
        regress(X, y, criterion=name)


def test_values_to_judge_by_are_looked_at_too():
    model = SnapshotEnsembleRegressor(**QUICK, criterion="gamma")
    with pytest.raises(ValueError, match=r"Of X_val, .*Got y whose least value is -1"):
        model.fit(X, Y, X_val=X[:9], y_val=-np.ones(9))


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"criterion": "quantile", "criterion__quantile": 1.5}, r"Got criterion__quantile=1\.5"),
        ({"criterion": "poisson", "criterion__scale_target": True}, "but expected none: y is div"),
        ({"criterion": "quantil"}, "mean 'quantile'"),
        ({"criterion": "gamma", "criterion__quantile": 0.5}, "unexpected parameter criterion__qua"),
    ],
)
def test_what_cannot_be_meant_is_refused(parameters, text):
    with pytest.raises(ValueError, match=text):
        regress(**parameters)


def test_a_classifier_knows_none_of_these_names():
    for name in CRITERIA.keys() - {"huber"}:
        with pytest.raises(ValueError, match=f"Got criterion='{name}', but expected"):
            SnapshotEnsembleClassifier(criterion=name).fit(X, Y > 100)


def test_a_scale_that_is_not_wanted_is_none():
    made = targets_of("huber", nn.HuberLoss, {"scale_target": False, "delta": 2.0}, None)
    assert isinstance(made, NamedTargets)
    learned, encoded = made.learn(Y / Y.std(), None)
    np.testing.assert_array_equal(encoded[:, 0], Y / Y.std())
    assert learned.measure.delta == [2.0]


def test_kinds_of_targets_by_name():
    kinds = {name: type(targets_of(name, CRITERIA[name], {}, None)) for name in CRITERIA}
    assert kinds == {
        "squared_error": RealTargets, "absolute_error": NamedTargets, "huber": NamedTargets,
        "quantile": NamedTargets, "poisson": RateTargets, "gamma": RateTargets,
    }  # fmt: skip
