"""Which members count, and their combination."""

from itertools import combinations_with_replacement

import numpy as np
import pytest
import torch
from conftest import QUICK, Mlp
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.metrics import log_loss, mean_squared_error

from skensemble import SnapshotEnsembleClassifier
from skensemble.members import (
    Unseen,
    average,
    best_subset,
    cycle_weights,
    greedy,
    majority,
    majority_of_labels,
    stacked,
)


@pytest.mark.parametrize(
    ("members", "expected"),
    [("all", [0.25] * 4), (2, [0, 0, 0.5, 0.5]), (9, [0.25] * 4), (1, [0, 0, 0, 1])],
)
def test_weights_of_cycles(members, expected):
    np.testing.assert_array_equal(cycle_weights(members, 4), expected)


def test_average_is_numpy_average():
    outputs = np.random.default_rng(0).random((3, 5, 2))
    weights = np.array([0.2, 0.3, 0.5])
    expected = np.average(outputs, axis=0, weights=weights)
    averaged = average(torch.from_numpy(outputs), torch.from_numpy(weights[None]))
    np.testing.assert_allclose(averaged[0], expected)


def test_majority_counts_votes_and_a_tie_goes_to_the_first_class():
    votes = [[2, 0, 1], [2, 1, 0], [1, 0, 2], [0, 1, 1]]  # member, row
    probabilities = torch.eye(3, dtype=torch.float64)[torch.tensor(votes)]
    counted = majority(probabilities, torch.full((1, 4), 0.25, dtype=torch.float64))[0].numpy()
    np.testing.assert_allclose(counted[0], [0.25, 0.25, 0.5])
    np.testing.assert_array_equal(counted.argmax(axis=1), [2, 0, 1])


def test_labels_are_voted_on_one_by_one():
    votes = torch.tensor([[[0.9, 0.2]], [[0.6, 0.4]], [[0.1, 0.5]], [[0.2, 0.8]]]).double()
    counted = majority_of_labels(votes, torch.full((1, 4), 0.25).double())[0]
    np.testing.assert_array_equal(counted, [[0.5, 0.25]])


def test_equal_sums_of_weights_tie_whatever_their_order():
    """0.1 + 0.2 is not 0.3 in floating point, but three tenths are three tenths."""
    weights = torch.tensor([[0.3, 0.1, 0.2]], dtype=torch.float64)
    probabilities = torch.eye(2, dtype=torch.float64)[torch.tensor([[0], [1], [1]])]
    counted = majority(probabilities, weights)[0]
    assert counted[0, 0] == counted[0, 1]
    assert counted.argmax(dim=1).tolist() == [0]


def unseen_rows(task, n_cycles, seed=0):
    """Predictions of cycles that grow better and then overfit, with weights of rows."""
    rng = np.random.default_rng(seed)
    n, k = 300, 3
    weight = rng.random(n)
    noise = np.linspace(1.5, 1.0, n_cycles) * rng.uniform(0.8, 1.4, n_cycles)
    if task == "classes":
        y = rng.integers(0, k, n)
        scores = np.eye(k)[y] * 1.5 + noise[:, None, None] * rng.standard_normal((n_cycles, n, k))
        p = np.exp(scores)
        return p / p.sum(axis=2, keepdims=True), y, weight
    y = 1e4 + 1e2 * rng.standard_normal((n, 2))
    return y + 60 * noise[:, None, None] * rng.standard_normal((n_cycles, n, 2)), y, weight


def loss_of(predictions, y, weight):
    def loss(a):
        combined = np.tensordot(a, predictions, axes=1)
        if y.ndim == 1:
            return log_loss(y, combined / combined.sum(axis=1, keepdims=True), sample_weight=weight)
        return mean_squared_error(y, combined, sample_weight=weight)

    return loss


@pytest.mark.parametrize("n_cycles", [2, 4, 8])
@pytest.mark.parametrize("task", ["classes", "values"])
def test_stacked_is_the_optimum_that_scipy_finds_by_another_way(task, n_cycles):
    """Over the simplex as a softmax, by a quasi-Newton method."""
    predictions, y, weight = unseen_rows(task, n_cycles)
    loss = loss_of(predictions, y, weight)
    scale = loss(np.full(n_cycles, 1 / n_cycles))
    found = minimize(lambda z: loss(softmax(z)) / scale, np.zeros(n_cycles), tol=1e-12)
    weights = stacked(predictions, y, weight)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)
    np.testing.assert_allclose(weights, softmax(found.x), atol=2e-3)
    assert loss(weights) == pytest.approx(found.fun * scale, rel=1e-4)
    assert loss(weights) <= found.fun * scale * (1 + 1e-7)


@pytest.mark.parametrize("task", ["classes", "values"])
def test_stacked_finds_a_corner(task):
    predictions, y, weight = unseen_rows(task, 3)
    if task == "classes":
        predictions[1] = 0.02 + 0.94 * np.eye(3)[y]
    else:
        predictions[1] = y + 1e-3
    np.testing.assert_allclose(stacked(predictions, y, weight), [0, 1, 0], atol=1e-4)


@pytest.mark.parametrize("scale", [1, 20, 1000])
@pytest.mark.parametrize("n_cycles", [2, 3, 8, 20])
@pytest.mark.parametrize("rule", [stacked, greedy])
def test_sure_cycles_are_never_worse_than_their_mean_or_the_best_of_them(rule, n_cycles, scale):
    """From a cycle that is sure of a mistake the slope of the log-loss leads nowhere."""
    rng = np.random.default_rng(n_cycles)
    y = rng.integers(0, 3, 300)
    chosen = np.where(rng.random((n_cycles, 300)) < 0.3, rng.integers(0, 3, 300), y)
    predictions = softmax(scale * np.eye(3)[chosen] * rng.gamma(2, 2, (n_cycles, 300, 1)), axis=2)
    weight = rng.random(300)

    def loss(weights):
        p = np.tensordot(weights, predictions, axes=1)[np.arange(300), y].clip(1e-15)
        return np.average(-np.log(p), weights=weight)

    found = loss(rule(predictions, y, weight))
    assert found <= loss(np.full(n_cycles, 1 / n_cycles)) + 1e-9
    assert found <= min(map(loss, np.eye(n_cycles))) + 1e-9
    if rule is stacked:  # and it is the minimum, by expectation maximisation
        true, share = predictions[:, np.arange(300), y], weight / weight.sum()
        weights = np.full(n_cycles, 1 / n_cycles)
        for _ in range(3000):
            weights = weights * (true @ (share / (weights @ true).clip(1e-300)))
            weights /= weights.sum()
        assert found <= loss(weights) + 1e-4


@pytest.mark.parametrize("n_cycles", [1, 2, 3, 4])
@pytest.mark.parametrize("task", ["classes", "values"])
def test_greedy_is_as_good_as_all_multisets(task, n_cycles):
    """Exhaustively: no mean of up to six cycles with replacement is much better."""
    predictions, y, weight = unseen_rows(task, n_cycles)
    loss = loss_of(predictions, y, weight)
    best = min(
        loss(np.bincount(chosen, minlength=n_cycles) / size)
        for size in range(1, 7)
        for chosen in combinations_with_replacement(range(n_cycles), size)
    )
    weights = greedy(predictions, y, weight)
    assert loss(weights) <= best * (1 + 1e-4)
    assert loss(weights) >= loss(stacked(predictions, y, weight)) * (1 - 1e-6)


def test_greedy_is_the_selection_of_caruana_step_by_step():
    predictions, y, weight = unseen_rows("classes", 4)
    loss = loss_of(predictions, y, weight)
    chosen, path = [], []
    for _ in range(100):
        losses = [
            loss(np.bincount([*chosen, m], minlength=4) / (len(chosen) + 1)) for m in range(4)
        ]
        chosen.append(int(np.argmin(losses)))
        path.append((min(losses), np.bincount(chosen, minlength=4) / len(chosen)))
    expected = min(path, key=lambda item: item[0])[1]
    np.testing.assert_allclose(greedy(predictions, y, weight), expected)


@pytest.mark.parametrize("rule", [stacked, greedy])
def test_rules_heed_weights_of_rows(rule):
    predictions, y, _ = unseen_rows("classes", 3)
    counts = np.random.default_rng(1).integers(0, 3, len(y))
    repeated = np.repeat(np.arange(len(y)), counts)
    got = rule(predictions, y, counts.astype(float))
    expected = rule(predictions[:, repeated], y[repeated], np.ones(len(repeated)))
    np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.parametrize("task", ["classes", "values"])
def test_scores_are_those_of_scikit_learn(task):
    predictions, y, weight = unseen_rows(task, 3)
    a = np.array([0.2, 0.5, 0.3])
    score = Unseen(predictions, y, weight).score(a)
    assert score == pytest.approx(-loss_of(predictions, y, weight)(a), rel=1e-9)


@pytest.mark.parametrize("wrong", [[1.0], [-1, 2], [0, 0], [np.nan, 1], "no"])
def test_what_a_rule_returns_is_checked(digits, wrong):
    model = SnapshotEnsembleClassifier(Mlp, n_chains=2, members=lambda p, y, w: wrong, **QUICK)
    with pytest.raises(ValueError, match=r"weights|convert"):
        model.fit(*digits)
    assert not hasattr(model, "net_")


@pytest.mark.parametrize("is_classes", [True, False])
def test_weights_that_share_one_number_change_no_bit(is_classes):
    """They are kept as one number, since there may be a million rows."""
    rng = np.random.default_rng(0)
    predictions = rng.dirichlet(np.ones(3), size=(4, 50))
    y = rng.integers(0, 3, 50) if is_classes else rng.standard_normal((50, 3))
    one = np.broadcast_to(1.0, 50)
    found = stacked(predictions, y, one)
    np.testing.assert_array_equal(found, stacked(predictions, y, np.ones(50)))
    assert Unseen(predictions, y, one).score(found) == Unseen(predictions, y, np.ones(50)).score(
        found
    )


def test_the_best_subset_is_found_one_by_one():
    """The second is not the second best alone, but the one that errs otherwise."""
    y = np.zeros((4, 1))
    errors = np.array([[1.0, 1, 1, 1], [1.1, 1.1, 1.1, 1.1], [-1.5, -1.5, -1.5, -1.5]])
    unseen = Unseen(errors[:, :, None], y, np.ones(4))
    assert best_subset(unseen, 1) == [0]
    assert best_subset(unseen, 2) == [0, 2]
    assert best_subset(unseen, 3) == [0, 1, 2]
