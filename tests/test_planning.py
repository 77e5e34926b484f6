"""Steps, cycles and rates of a run."""

import warnings

import numpy as np
import pytest
from conftest import Mlp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_iris
from skorch.callbacks import Callback
from torch import nn

from skensemble import SnapshotEnsembleClassifier, learning_rates
from skensemble._training.planning import Done, Timetable, plan_run
from skensemble.schedules import Fractions


class CountSteps(Callback):
    def __init__(self, sizes):
        self.sizes = sizes

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        self.sizes.append(len(batch[0]))


@given(
    n=st.integers(33, 150),
    batch_size=st.integers(1, 160),
    epochs=st.integers(1, 3),
    n_cycles=st.integers(1, 40),
    cycle_mult=st.sampled_from([0.5, 1.0, 1.5, 3.0]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_budget_is_exact(n, batch_size, epochs, n_cycles, cycle_mult):
    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(150)[:n]
    sizes = []
    model = SnapshotEnsembleClassifier(
        nn.Linear(4, 3),
        n_cycles=n_cycles,
        cycle_mult=cycle_mult,
        max_epochs=epochs,
        batch_size=batch_size,
        callbacks=[CountSteps(sizes)],
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # cycles that are clipped
        model.fit(X[order], y[order])
    n_steps = epochs * -(-n // batch_size)
    assert len(sizes) == n_steps
    assert sum(sizes) == n * epochs
    assert max(sizes) - min(sizes) <= 1
    assert len(model.snapshots_) == model.n_cycles_ == min(n_cycles, n_steps)
    assert model.n_iter_ == epochs


def test_more_cycles_than_steps_are_clipped_with_a_warning(iris):
    """Rule 11."""
    model = SnapshotEnsembleClassifier(
        n_cycles=9, max_epochs=2, batch_size=150, members=50, n_chains=1
    )
    with pytest.warns(UserWarning, match="Got n_cycles=9 for 2 steps"):
        model.fit(*iris)
    assert model.n_cycles_ == 2
    np.testing.assert_array_equal(model.member_weights_, [0.5, 0.5])


def test_rates_of_a_run_are_those_told_without_training(digits):
    rates = []

    class Watch(Callback):
        def on_batch_begin(self, net, batch=None, training=None, **kwargs):
            rates.append(net.optimizer_.param_groups[0]["lr"])

    SnapshotEnsembleClassifier(
        Mlp,
        n_cycles=3,
        cycle_mult=2.0,
        max_epochs=3,
        lr=0.1,
        schedule="triangular2",
        schedule__min_lr=0.01,
        schedule__burn_in_epochs=1,
        callbacks=[Watch()],
    ).fit(*digits)
    expected = learning_rates(
        57,
        lr=0.1,
        n_cycles=3,
        cycle_mult=2.0,
        schedule="triangular2",
        min_lr=0.01,
        burn_in_steps=19,
    )
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_partial_fit_is_one_cycle_of_its_share_of_the_budget(digits):
    X, y = digits
    sizes = []
    model = SnapshotEnsembleClassifier(
        Mlp, n_cycles=4, max_epochs=6, batch_size=100, callbacks=[CountSteps(sizes)]
    )
    model.partial_fit(X[:300], y[:300], classes=np.arange(12))
    assert model.predict_proba(X).shape == (600, 12)
    assert len(sizes) == round(6 * 3 / 4)
    model.partial_fit(X, y)
    assert len(sizes) == round(6 * 3 / 4) + 9
    with pytest.raises(ValueError, match=r"Got y with the classes \[99\]"):
        model.partial_fit(X, np.where(y == 0, 99, y))
    with pytest.raises(ValueError, match="class_weight='balanced' with partial_fit"):
        model.set_params(class_weight="balanced").partial_fit(X, y)
    assert model.n_cycles_ == 2


@pytest.mark.parametrize("schedule", ["triangular2", "exp_range"])
def test_the_schedule_goes_on_where_the_run_goes_on(digits, schedule):
    """Burn-in is no part of it and comes once."""
    X, y = digits
    rates = []

    class Watch(Callback):
        def on_batch_begin(self, net, batch=None, training=None, **kwargs):
            rates.append(net.optimizer_.param_groups[0]["lr"])

    model = SnapshotEnsembleClassifier(
        Mlp,
        n_cycles=2,
        cycle_mult=1.0,
        max_epochs=4,
        batch_size=100,
        schedule=schedule,
        lr=0.008,
        schedule__gamma=0.9,
        schedule__burn_in_epochs=1,
        callbacks=[Watch()],
    )
    model.fit(X, y).partial_fit(X, y)
    steps, options = 6, {"lr": 0.008, "schedule": schedule, "gamma": 0.9}
    first = learning_rates(4 * steps, n_cycles=2, burn_in_steps=steps, **options)
    np.testing.assert_allclose(rates[: 4 * steps], first, rtol=1e-12)
    # the third cycle: two epochs long, after two of one and a half
    if schedule == "triangular2":
        length = 2 * steps
        triangle = 1 - np.abs(2 * (np.arange(length) + 0.5) / length - 1)
        expected = 0.008 * triangle / 4
    else:
        length = 2 * steps
        triangle = 1 - np.abs(2 * (np.arange(length) + 0.5) / length - 1)
        expected = 0.008 * triangle * 0.9 ** (3 * steps + np.arange(length))
    np.testing.assert_allclose(rates[4 * steps :], expected, rtol=1e-12)


def timetable(**changes):
    parameters = {"n_cycles": 4, "cycle_mult": 1.0, "schedule": "cosine", "max_epochs": 6}
    return Timetable(**{**parameters, "lr": 0.1, "options": {}, **changes})


def test_a_run_has_the_steps_of_its_epochs_in_equal_cycles():
    run = plan_run(timetable(), 10, None)
    assert (run.n_steps, run.n_cycles, run.burn_in) == (60, 4, 0)
    np.testing.assert_array_equal(run.plan.ends, [15, 30, 45, 60])
    one = (1 + np.cos(np.pi * np.arange(15) / 15)) / 2
    np.testing.assert_allclose(run.plan.fractions, np.tile(one, 4), rtol=1e-12)
    doubled = plan_run(timetable(cycle_mult=2.0), 10, None)
    np.testing.assert_array_equal(doubled.plan.ends, [4, 12, 28, 60])


def test_one_cycle_alone_has_its_share_of_the_epochs():
    run = plan_run(timetable(is_one_cycle=True), 10, Done(4, 60))
    assert (run.n_steps, run.n_cycles) == (15, 1)
    assert plan_run(timetable(is_one_cycle=True, n_cycles=999), 10, None).n_steps == 1


def test_burn_in_comes_first_and_once():
    options = {"burn_in_epochs": 1.5, "min_lr": 0.01}
    run = plan_run(timetable(n_cycles=3, options=options), 10, None)
    assert run.burn_in == 15
    np.testing.assert_array_equal(run.plan.fractions[:15], 1)
    np.testing.assert_array_equal(run.plan.ends, [30, 45, 60])
    np.testing.assert_allclose(run.plan.fractions[15:], Fractions(45, 3, floor=0.1))
    assert plan_run(timetable(options=options), 10, Done(4, 45)).burn_in == 0
    with pytest.raises(ValueError, match="which are 60 steps, but expected fewer than the 60"):
        plan_run(timetable(options={"burn_in_epochs": 6}), 10, None)


def test_a_later_run_counts_on():
    later = timetable(schedule="exp_range", options={"gamma": 0.9}, n_cycles=1, max_epochs=1)
    first, then = plan_run(later, 10, Done()), plan_run(later, 10, Done(2, 7))
    np.testing.assert_allclose(then.plan.fractions, first.plan.fractions[:] * 0.9**7, rtol=1e-12)
