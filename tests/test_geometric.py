"""Fast geometric ensembling: the parameters, and the rates that they make."""

import numpy as np
import pytest
from conftest import Mlp
from sklearn.linear_model import LogisticRegression

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor, learning_rates
from skensemble.averaging import average_weights, fge


def rates_of_the_paper(length, n_cycles, high, low):
    """Section 4 of Garipov et al. (2018); iterations are counted from 1, a cycle has `length`."""
    i = np.arange(1, length * n_cycles + 1)
    t = ((i - 1) % length + 1) / length
    falling = (1 - 2 * t) * high + 2 * t * low
    return np.where(t <= 0.5, falling, (2 - 2 * t) * low + (2 * t - 1) * high)


def test_rates_are_those_of_the_paper_half_a_cycle_later():
    model = fge(SnapshotEnsembleClassifier(lr=0.05), 10, burn_in=0.6, cycle_epochs=2)
    steps = 100  # an epoch
    rates = learning_rates(
        10 * steps,
        lr=model.lr,
        n_cycles=model.n_cycles,
        schedule=model.schedule,
        cycle_mult=model.cycle_mult,
        min_lr=model.schedule__min_lr,
        burn_in_steps=model.schedule__burn_in_epochs * steps,
    )
    assert (rates[: 6 * steps] == 0.05).all()
    expected = rates_of_the_paper(2 * steps, 3, 0.05, 5e-4)[steps : 5 * steps]
    step = 0.05 / steps  # by which neighbours differ: ours are sampled in the middle of a step
    np.testing.assert_allclose(rates[6 * steps :], expected, atol=step)


def test_it_trains(digits):
    X, y = digits
    base = SnapshotEnsembleClassifier(Mlp, restart="cold", cycle_mult=3.0, random_state=0)
    model = fge(base, 12, burn_in=0.5, cycle_epochs=1.5).fit(X, y)
    assert base.restart == "cold"
    assert not hasattr(base, "n_cycles_")
    assert (model.n_cycles_, model.restart) == (4, "warm")
    np.testing.assert_allclose(model.member_weights_, np.full(4, 1 / 4))
    assert average_weights(model).score(X, y) > 0.8


@pytest.mark.parametrize(
    ("arguments", "n_cycles", "before"),
    [
        ((100,), 5, 80),
        ((50, {"burn_in": 0.75, "cycle_epochs": 4}), 3, 38),  # what is left over is burnt in
        ((7, {"burn_in": 0, "cycle_epochs": 2}), 3, 1),
        ((10, {"burn_in": 0.7, "cycle_epochs": 0.5}), 6, 7),
        ((20,), 1, 16),
    ],
)
def test_cycles_fill_what_is_left(arguments, n_cycles, before):
    epochs, *given = arguments
    model = fge(SnapshotEnsembleRegressor(), epochs, **(given[0] if given else {}))
    assert (model.n_cycles, model.schedule__burn_in_epochs) == (n_cycles, before)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"max_epochs": 0}, "Got max_epochs=0, but expected an integer of at least 1"),
        ({"max_epochs": "auto"}, "Got max_epochs='auto'"),
        ({"burn_in": 1}, "Got burn_in=1, but expected a number from 0 to below 1"),
        ({"burn_in": "all"}, "Got burn_in='all'"),
        ({"cycle_epochs": 0}, "Got cycle_epochs=0, but expected a number above 0, and at most 4"),
        ({"cycle_epochs": 5}, "Got cycle_epochs=5, .*at most 4: so many epochs are left"),
        ({"cycle_epochs": True}, "Got cycle_epochs=True"),
    ],
)
def test_what_makes_no_cycle_is_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        fge(SnapshotEnsembleClassifier(), **{"max_epochs": 20, **arguments})


def test_what_is_no_estimator_of_ours_is_refused():
    with pytest.raises(ValueError, match="Got estimator=LogisticRegression"):
        fge(LogisticRegression(), 20)
