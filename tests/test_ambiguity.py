"""The parts of an ensemble's loss, against the losses of scikit-learn and the means of scipy."""

import numpy as np
import pytest
from scipy.special import rel_entr
from scipy.stats import gmean, hmean
from sklearn.metrics import (
    log_loss,
    mean_gamma_deviance,
    mean_poisson_deviance,
    mean_squared_error,
    zero_one_loss,
)

from skensemble.metrics import ambiguity_decomposition

RNG = np.random.default_rng(0)
VALUES = {
    "squared_error": (mean_squared_error, lambda m, w: np.average(m, axis=0, weights=w)),
    "poisson": (mean_poisson_deviance, lambda m, w: gmean(m, axis=0, weights=w[:, None] + 0 * m)),
    "gamma": (mean_gamma_deviance, lambda m, w: hmean(m, axis=0, weights=w[:, None] + 0 * m)),
}
NAMES = np.array(["a", "b", "c"])


def classes(n_members=4, n=50, k=3):
    p = RNG.dirichlet(np.ones(k), (n_members, n))
    return NAMES[RNG.permutation(np.arange(n) % k)], p


def assert_adds_up(parts):
    assert parts.ensemble_loss == pytest.approx(parts.average_loss - parts.diversity, rel=1e-9)


@pytest.mark.parametrize("loss", VALUES)
@pytest.mark.parametrize("combiner", ["centroid", "mean"])
def test_values_have_the_losses_of_scikit_learn(loss, combiner):
    y, members = RNG.gamma(2, size=40), RNG.gamma(2, size=(4, 40))
    weights, rows = RNG.random(4), RNG.random(40)
    metric, centroid = VALUES[loss]
    combined = (centroid if combiner == "centroid" else VALUES["squared_error"][1])(
        members, weights
    )
    parts = ambiguity_decomposition(
        y, members, loss=loss, combiner=combiner, weights=weights, sample_weight=rows
    )
    each = [metric(y, member, sample_weight=rows) for member in members]
    assert parts.ensemble_loss == pytest.approx(metric(y, combined, sample_weight=rows))
    assert parts.average_loss == pytest.approx(np.average(each, weights=weights))
    assert_adds_up(parts)
    if combiner == "centroid":
        apart = [metric(combined, member, sample_weight=rows) for member in members]
        assert parts.diversity == pytest.approx(np.average(apart, weights=weights))


def test_squared_error_has_the_variance_of_members():
    y, members = RNG.normal(size=30), RNG.normal(size=(5, 30))
    parts = ambiguity_decomposition(y, members)
    assert parts.diversity == pytest.approx(members.var(axis=0).mean())


@pytest.mark.parametrize("combiner", ["centroid", "mean"])
def test_log_loss_is_that_of_scikit_learn(combiner):
    y, p = classes()
    weights, rows = RNG.random(4), RNG.random(50)
    combined = np.average(p, axis=0, weights=weights)
    if combiner == "centroid":
        combined = gmean(p, axis=0, weights=weights[:, None, None] + 0 * p)
        combined /= combined.sum(axis=1, keepdims=True)
    parts = ambiguity_decomposition(
        y, p, loss="log_loss", combiner=combiner, weights=weights, sample_weight=rows
    )
    each = [log_loss(y, member, sample_weight=rows) for member in p]
    assert parts.ensemble_loss == pytest.approx(log_loss(y, combined, sample_weight=rows))
    assert parts.average_loss == pytest.approx(np.average(each, weights=weights))
    assert_adds_up(parts)
    if combiner == "centroid":
        apart = [np.average(rel_entr(combined, q).sum(axis=1), weights=rows) for q in p]
        assert parts.diversity == pytest.approx(np.average(apart, weights=weights))


def test_diversity_of_a_centroid_does_not_look_at_the_truth():
    y, p = classes()
    shuffled = RNG.permutation(y)
    for loss, is_same in {"log_loss": True, "zero_one": False}.items():
        one, other = (ambiguity_decomposition(t, p, loss=loss) for t in (y, shuffled))
        assert (one.diversity == other.diversity) == is_same
    one, other = (
        ambiguity_decomposition(t, p, loss="log_loss", combiner="mean") for t in (y, shuffled)
    )
    assert one.diversity != other.diversity
    assert min(one.diversity, other.diversity) > 0


def test_certain_members_that_are_wrong_have_a_finite_loss():
    parts = ambiguity_decomposition([0, 1], [np.eye(2), 1 - np.eye(2)], loss="log_loss")
    assert parts.ensemble_loss == pytest.approx(np.log(2))
    assert_adds_up(parts)


def test_majority_votes_and_ties_go_to_the_first_class():
    y = ["a", "b", "b", "c"]
    members = [
        ["a", "b", "c", "c"],
        ["a", "c", "a", "b"],
        ["b", "b", "a", "b"],
        ["c", "a", "c", "c"],
    ]
    votes = ["a", "b", "a", "b"]
    parts = ambiguity_decomposition(y, members, loss="zero_one")
    assert parts.ensemble_loss == zero_one_loss(y, votes) == 0.5
    assert parts.average_loss == np.mean([zero_one_loss(y, member) for member in members])
    assert_adds_up(parts)
    weighted = ambiguity_decomposition(y, members, loss="zero_one", weights=[0, 0, 0, 2])
    assert weighted.ensemble_loss == weighted.average_loss == zero_one_loss(y, members[3])


def test_weights_tie_whatever_they_sum_up_to():
    """In floats, two members of 0.1 and 1.3 weigh more than one of 1.4."""
    for one, other in [(1, 13), (1, 22), (1, 27), (14, 27), (16, 25), (21, 27)]:
        weights = [one / 10, other / 10, (one + other) / 10]
        votes = ambiguity_decomposition(
            ["a"], [["b"], ["b"], ["a"]], loss="zero_one", weights=weights
        )
        assert votes.ensemble_loss == 0


def test_diversity_of_votes_may_do_harm():
    """Of three members two are wrong in each row, and the third is outvoted."""
    members = 1 - np.eye(3, dtype=int)
    parts = ambiguity_decomposition(np.zeros(3, int), members, loss="zero_one")
    assert parts.ensemble_loss == 1
    assert parts.diversity == pytest.approx(-1 / 3)


def test_soft_votes_go_by_the_mean_probability():
    y, p = classes()
    parts = ambiguity_decomposition(y, p, loss="zero_one", combiner="mean")
    assert parts.ensemble_loss == pytest.approx(zero_one_loss(y, NAMES[p.mean(axis=0).argmax(1)]))
    labels = NAMES[p.argmax(axis=2)]
    assert parts.average_loss == pytest.approx(np.mean([zero_one_loss(y, m) for m in labels]))
    votes = ambiguity_decomposition(y, p, loss="zero_one")
    assert votes == ambiguity_decomposition(y, labels, loss="zero_one")
    with pytest.raises(ValueError, match=r"Got members of shape \(4, 50\) with combiner='mean'"):
        ambiguity_decomposition(y, labels, loss="zero_one", combiner="mean")


@pytest.mark.parametrize("loss", [*VALUES, "log_loss", "zero_one"])
def test_one_member_and_members_that_are_alike_have_no_diversity(loss):
    y, members = classes() if loss in ("log_loss", "zero_one") else (
        RNG.gamma(2, size=40), RNG.gamma(2, size=(4, 40))
    )  # fmt: skip
    for alike in (members[:1], members[:1].repeat(3, axis=0)):
        parts = ambiguity_decomposition(y, alike, loss=loss)
        assert parts.ensemble_loss == pytest.approx(parts.average_loss)
        assert 0 <= parts.diversity < 1e-12


@pytest.mark.parametrize("loss", [*VALUES, "log_loss", "zero_one"])
@pytest.mark.parametrize("combiner", ["centroid", "mean"])
def test_weights_are_as_repeated_rows_and_members(loss, combiner):
    y, members = classes() if loss in ("log_loss", "zero_one") else (
        RNG.gamma(2, size=50), RNG.gamma(2, size=(4, 50))
    )  # fmt: skip
    rows, weights = RNG.integers(0, 3, 50), np.array([1, 0, 2, 3])
    again = np.repeat(np.repeat(members, rows, axis=1), weights, axis=0)
    expected = ambiguity_decomposition(
        np.repeat(y, rows), again, loss=loss, combiner=combiner, labels=NAMES
    )
    parts = ambiguity_decomposition(
        y, members, loss=loss, combiner=combiner, weights=weights, sample_weight=rows
    )
    assert parts == pytest.approx(expected)


def test_outputs_and_several_labels():
    y, members = RNG.normal(size=(20, 2)), RNG.normal(size=(3, 20, 2))
    raw = ambiguity_decomposition(y, members, multioutput="raw_values")
    for q in (0, 1):
        one = ambiguity_decomposition(y[:, q], members[:, :, q])
        assert [part[q] for part in raw] == pytest.approx(one)
    Y, p = RNG.integers(0, 2, (20, 3)), RNG.random((3, 20, 3))
    pairs = np.stack([1 - p, p], axis=3).reshape(3, 60, 2)
    rows = RNG.random(20)
    for loss in ("log_loss", "zero_one"):
        for combiner in ("centroid", "mean"):
            expected = ambiguity_decomposition(
                Y.ravel(), pairs, loss=loss, combiner=combiner, sample_weight=rows.repeat(3)
            )
            parts = ambiguity_decomposition(Y, p, loss=loss, combiner=combiner, sample_weight=rows)
            assert parts == pytest.approx(expected)


def test_values_out_of_range_are_named():
    with pytest.raises(ValueError, match="Got loss='hinge', but expected one of 'squared_error'"):
        ambiguity_decomposition([1.0], [[1.0]], loss="hinge")
    with pytest.raises(ValueError, match=r"Got y_true=-1.0, but expected numbers of at least 0"):
        ambiguity_decomposition([-1.0], [[1.0]], loss="poisson")
    with pytest.raises(ValueError, match=r"Got y_true=0.0, but expected numbers above 0"):
        ambiguity_decomposition([0.0], [[1.0]], loss="gamma")
    with pytest.raises(ValueError, match=r"Got members with 0.0, but expected numbers above 0"):
        ambiguity_decomposition([0.0], [[0.0]], loss="poisson")
    with pytest.raises(ValueError, match="Got members beyond 0 and 1, but expected probabilities"):
        ambiguity_decomposition([[0, 1]], [[[0.5, 1.5]]], loss="log_loss")
