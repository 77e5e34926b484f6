"""Steps, cycles and rates of a run."""

import json
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
from skensemble._training.planning import (
    Costs,
    Done,
    Timetable,
    plan_run,
    share_in_time,
    shortened,
    steps_to_come,
)
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


def test_cycles_decay_through_all_calls():
    options = {"cycle_decay": 0.5, "min_lr": 0.001}
    run = plan_run(timetable(options=options), 10, None)
    np.testing.assert_allclose(run.plan.fractions[:][[0, 15, 30, 45]], [1, 0.5, 0.25, 0.125])
    later = plan_run(timetable(options=options, is_one_cycle=True), 10, Done(4, 60))
    assert later.plan.fractions[0] == 0.5**4


def test_a_later_run_counts_on():
    later = timetable(schedule="exp_range", options={"gamma": 0.9}, n_cycles=1, max_epochs=1)
    first, then = plan_run(later, 10, Done()), plan_run(later, 10, Done(2, 7))
    np.testing.assert_allclose(then.plan.fractions, first.plan.fractions[:] * 0.9**7, rtol=1e-12)


def limited(full, plan, step, seconds, a_step, an_end=0.0, may_stop=False):
    """Return the plan of one net that has so many seconds left after a step."""
    to_come = steps_to_come(full, plan, step)
    costs = Costs(seconds, a_step, an_end, grace=0.02)
    left = full.n_steps - step
    shares = share_in_time(to_come, full, plan.n_cycles, left, costs, may_stop=may_stop)
    return None if shares.last < plan.place(step)[0] else shortened(full, plan, step, shares)


def test_cycles_are_shortened_by_the_same_share():
    full = plan_run(timetable(cycle_mult=2.0, max_epochs=150), 10, None)
    np.testing.assert_array_equal(full.plan.ends, [100, 300, 700, 1500])
    half = limited(full, full, 0, seconds=7.5, a_step=0.01)
    np.testing.assert_array_equal(half.plan.ends, [50, 150, 350, 750])
    assert half.plan.fractions[0] == 1
    np.testing.assert_allclose(half.plan.fractions, Fractions(750, 4, cycle_mult=2.0))
    ends = limited(full, full, 0, seconds=7.5 + 4 * 0.3, a_step=0.01, an_end=0.3)
    np.testing.assert_array_equal(ends.plan.ends, half.plan.ends)


def test_time_enough_leaves_the_plan():
    full = plan_run(timetable(cycle_mult=1.5), 10, None)
    same = limited(full, full, 0, seconds=0.61, a_step=0.01)
    np.testing.assert_array_equal(same.plan.ends, full.plan.ends)
    np.testing.assert_array_equal(same.plan.fractions, full.plan.fractions)


def test_there_are_fewer_cycles_where_they_would_be_short():
    """Or shorter than what judging them takes."""
    full = plan_run(timetable(cycle_mult=2.0, max_epochs=150), 10, None)
    few = limited(full, full, 0, seconds=1.4, a_step=0.01)
    np.testing.assert_array_equal(few.plan.ends, [20, 60, 140])  # four: the first of 9 steps
    judged = limited(full, full, 0, seconds=2.0, a_step=0.01, an_end=0.5)
    np.testing.assert_array_equal(judged.plan.ends, [150])
    short = plan_run(timetable(cycle_mult=1.0), 10, None)  # by the user's will: 15 steps each
    np.testing.assert_array_equal(
        limited(short, short, 0, seconds=0.4, a_step=0.01).plan.ends, [10, 20, 30, 40]
    )


def test_what_has_begun_goes_on_from_its_rate():
    full = plan_run(timetable(cycle_mult=1.0, max_epochs=40), 10, None)
    half = limited(full, full, 50, seconds=1.75, a_step=0.01)
    np.testing.assert_array_equal(half.plan.ends, [75, 125, 175, 225])
    progress = np.r_[0.5 + np.arange(25) / 50, np.tile(np.arange(50) / 50, 3)]
    expected = (1 + np.cos(np.pi * progress)) / 2
    np.testing.assert_allclose(half.plan.fractions[50:], expected, atol=1e-12)
    assert half.place(50) == (1, 0.5)
    assert half.place(60) == (1, 0.7)
    assert half.place(75) == (2, 0.0)
    assert half.place(225) == (5, 0.0)
    again = limited(full, half, 60, seconds=3.3, a_step=0.01)  # as fast as at first again
    np.testing.assert_array_equal(again.plan.ends, [90, 190, 290, 390])
    first = (1 + np.cos(np.pi * (0.7 + np.arange(30) / 100))) / 2
    np.testing.assert_allclose(again.plan.fractions[60:90], first)


def test_a_burn_in_is_shortened_too():
    full = plan_run(timetable(n_cycles=2, max_epochs=30, options={"burn_in_epochs": 10}), 10, None)
    half = limited(full, full, 20, seconds=1.4, a_step=0.01)
    assert (half.burn_in, half.plan.ends.tolist()) == (60, [110, 160])
    np.testing.assert_array_equal(half.plan.fractions[:60], 1)
    np.testing.assert_allclose(half.plan.fractions[60:], Fractions(100, 2))
    assert half.place(40) == (0, pytest.approx(0.6))


def test_a_cycle_is_finished_where_no_time_is_left():
    full = plan_run(timetable(cycle_mult=1.0, max_epochs=40), 10, None)
    assert limited(full, full, 30, seconds=-5.0, a_step=0.01).plan.ends.tolist() == [32]
    assert limited(full, full, 100, seconds=-5.0, a_step=0.01).plan.ends.tolist() == [100, 102]
    assert limited(full, full, 100, seconds=0.1, a_step=0.01, may_stop=True) is None
    assert limited(full, full, 0, seconds=-5.0, a_step=9.0).plan.ends.tolist() == [1]


def test_cycles_that_were_given_up_do_not_come_back_as_short_ones():
    full = plan_run(timetable(cycle_mult=2.0, max_epochs=150), 10, None)
    few = limited(full, full, 0, seconds=1.4, a_step=0.01)
    more = limited(full, few, 100, seconds=2.0, a_step=0.01)
    np.testing.assert_array_equal(more.plan.ends, [20, 60, 300])
    assert limited(full, few, 100, seconds=99.0, a_step=0.01).n_cycles == 4


@given(
    epochs=st.integers(1, 30),
    per_epoch=st.integers(1, 40),
    n_cycles=st.integers(1, 12),
    cycle_mult=st.sampled_from([0.5, 1.0, 1.5, 3.0]),
    burn_in=st.sampled_from([0, 0.5]),
    looks=st.lists(st.tuples(st.floats(0, 1), st.floats(-0.2, 1.5)), max_size=6),
)
@settings(max_examples=200, deadline=None)
def test_any_plan_made_anew_is_whole(epochs, per_epoch, n_cycles, cycle_mult, burn_in, looks):
    """It goes on from where it was, has steps in every cycle, and never more than the budget."""
    asked = timetable(
        n_cycles=n_cycles, cycle_mult=cycle_mult, max_epochs=epochs,
        options={"burn_in_epochs": burn_in},
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        try:
            full = plan_run(asked, per_epoch, None)
        except ValueError:
            return  # the burn-in is all of the budget
    plan, step = full, 0
    for part, seconds in looks:
        step += int(part * (plan.n_steps - 1 - step))
        before, plan = plan, limited(full, plan, step, seconds * full.n_steps, a_step=1.0)
        assert step < plan.n_steps <= full.n_steps
        assert (np.diff(plan.plan.ends, prepend=plan.burn_in) >= 1).all()
        np.testing.assert_allclose(plan.plan.fractions[step], before.plan.fractions[step])
        leg, behind = before.place(step)
        assert plan.place(step) == (leg, pytest.approx(behind))
        data = json.loads(json.dumps(plan.as_data()))
        np.testing.assert_array_equal(full.from_data(data).plan.fractions, plan.plan.fractions)
    assert list(plan.plan.fractions.after(step)) == plan.plan.fractions[step:].tolist()


def test_a_plan_as_data_is_of_plain_numbers():
    full = plan_run(timetable(), 10, None)
    assert full.as_data() == {"burn_in": 0, "ends": [15, 30, 45, 60], "turn": None}
    assert full.from_data(full.as_data()) is full
