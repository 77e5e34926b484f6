"""The losses of unseen rows, whole and without a column."""

import numpy as np
import pytest
import torch
from conftest import QUICK
from sklearn.datasets import load_diabetes, load_iris
from sklearn.model_selection import KFold

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._data.absent import switch_off
from skensemble._data.reading import read_later
from skensemble.removal import (
    Removal,
    losses_then,
    mean_and_error,
    parts_left_out,
    parts_of_new,
)


def test_a_standard_error_is_that_of_a_mean():
    values = np.random.default_rng(0).normal(size=(2, 50))
    mean, error = mean_and_error(values, np.full(50, 3.0))
    np.testing.assert_allclose(mean, values.mean(axis=1))
    np.testing.assert_allclose(error, values.std(axis=1, ddof=1) / 50**0.5)


def test_a_standard_error_is_what_weighted_means_scatter_by():
    rng = np.random.default_rng(0)
    weight = rng.uniform(0, 2, size=100)
    draws = rng.normal(size=(4000, 100))
    mean, error = mean_and_error(draws, weight)
    assert mean.std() == pytest.approx(error.mean(), rel=0.05)
    together = draws + np.repeat(rng.normal(size=(4000, 20)), 5, axis=1)
    mean, error = mean_and_error(together, weight, np.repeat(np.arange(20), 5))
    assert mean.std() == pytest.approx(error.mean(), rel=0.1)


def test_the_error_of_one_row_is_not_known():
    mean, error = mean_and_error(np.ones((2, 3)), np.array([1.0, 0, 0]))
    np.testing.assert_array_equal(mean, [1, 1])
    assert np.isnan(error).all()


def test_each_chain_judges_the_rows_that_it_left_out():
    X, y = load_diabetes(return_X_y=True)
    model = SnapshotEnsembleRegressor(**QUICK, validation=KFold(4)).fit(X, y)
    fitted = model._fitted_
    data = read_later(model, X, y, None, fitted.known)
    parts, weight = parts_left_out(fitted, data, None)
    assert (weight == 1).all()
    for k, (part, (_, test)) in enumerate(zip(parts, KFold(4).split(X), strict=True)):
        np.testing.assert_array_equal(part.rows, test)
        by_chain = part.weights.reshape(-1, 4)
        assert not by_chain[:, np.arange(4) != k].any()
        np.testing.assert_allclose(by_chain[:, k], fitted.stage_weights[-1])
    np.testing.assert_allclose(losses_then(fitted, data), (model.oof_prediction_ - y) ** 2)
    (whole,) = parts_of_new(fitted, 10)
    np.testing.assert_array_equal(whole.weights, model.member_weights_)


def test_losses_are_of_the_rows_judged_alone():
    X, y = load_iris(return_X_y=True)
    model = SnapshotEnsembleClassifier(**QUICK, n_chains=2, validation=0.3).fit(X, y)
    fitted = model._fitted_
    data = read_later(model, X, y, None, fitted.known)
    parts, _ = parts_left_out(fitted, data, None)
    absent = switch_off(fitted.intake, data.source, None, [0, 1], is_dropped=True)
    (losses,) = Removal(fitted, data, parts, absent).blocks()
    is_judged = np.isin(np.arange(len(X)), parts[0].rows)
    assert (np.isnan(losses) == ~is_judged).all()
    expected = -np.log(model.predict_proba(X)[np.arange(len(X)), y])
    np.testing.assert_allclose(losses[0, is_judged], expected[is_judged], rtol=1e-5)
    nothing = absent._replace(inputs=[torch.arange(0)])
    (losses,) = Removal(fitted, data, parts, nothing).blocks()
    np.testing.assert_allclose(losses[0], losses[1])
