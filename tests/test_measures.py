"""Losses of weighted means, against scikit-learn and finite differences."""

import numpy as np
import pytest
from scipy.optimize import check_grad
from sklearn.metrics import log_loss, mean_squared_error

from skensemble.measures import LabelLogLoss, LogLoss, SquaredError, measure_of


def label_log_loss(Y, P, sample_weight):
    """Return the mean over labels of scikit-learn's."""
    each = zip(Y.T, P.T, strict=True)
    return np.mean([log_loss(y, p, sample_weight=sample_weight) for y, p in each])


def rows(kind, n=60):
    """Return predictions of three cycles, y, weights of rows, and scikit-learn's loss."""
    random = np.random.default_rng(0)
    weight = random.uniform(0.5, 2, n)
    if kind is LogLoss:
        return random.dirichlet(np.ones(3), (3, n)), random.integers(3, size=n), weight, log_loss
    if kind is LabelLogLoss:
        return random.random((3, n, 4)), random.integers(2, size=(n, 4)), weight, label_log_loss
    return random.normal(size=(3, n, 2)), random.normal(size=(n, 2)), weight, mean_squared_error


@pytest.mark.parametrize("kind", [LogLoss, SquaredError, LabelLogLoss])
def test_scores_are_scikit_learns(kind):
    predictions, y, weight, reference = rows(kind)
    a = np.array([0.2, 0.5, 0.3])
    expected = reference(y, np.tensordot(a, predictions, 1), sample_weight=weight)
    assert kind().score(predictions, y, weight, a) == pytest.approx(-expected)
    losses = kind().losses(np.tensordot(a, predictions, 1), y)
    assert np.average(losses, weights=weight) == pytest.approx(expected)


@pytest.mark.parametrize("kind", [LogLoss, SquaredError, LabelLogLoss])
def test_gradients_are_those_of_the_loss(kind):
    predictions, y, weight, _ = rows(kind)
    loss = kind().loss_of_weights(predictions, y, weight / weight.sum())
    a = np.array([0.2, 0.5, 0.3])
    assert check_grad(lambda w: loss(w)[0], lambda w: loss(w)[1], a) < 1e-5


@pytest.mark.parametrize("kind", [LogLoss, SquaredError, LabelLogLoss])
def test_the_loss_of_weights_orders_them_as_the_score_does(kind):
    predictions, y, weight, _ = rows(kind)
    loss = kind().loss_of_weights(predictions, y, weight / weight.sum())
    tried = np.random.default_rng(1).dirichlet(np.ones(3), 20)
    scores = [kind().score(predictions, y, weight, a) for a in tried]
    assert (np.argsort([loss(a)[0] for a in tried]) == np.argsort(scores)[::-1]).all()


@pytest.mark.parametrize("kind", [LogLoss, SquaredError, LabelLogLoss])
def test_losses_of_rows_have_the_score_as_their_mean(kind):
    predictions, y, weight, _ = rows(kind)
    losses = kind().losses(predictions[1], y)
    expected = kind().score(predictions, y, weight, np.array([0, 1, 0]))
    assert np.average(losses, weights=weight) == pytest.approx(-expected)


def test_classes_and_values_have_their_own():
    assert isinstance(measure_of(np.zeros(3, int)), LogLoss)
    assert isinstance(measure_of(np.zeros((3, 1))), SquaredError)
