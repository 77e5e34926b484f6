"""Cycles and rates, against closed forms and torch's own schedulers."""

import math
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from skensemble import learning_rates
from skensemble.schedules import SHAPES, At, Fractions, Plan, cycle_ends


@given(
    n_steps=st.integers(1, 3000),
    n_cycles=st.integers(1, 60),
    cycle_mult=st.floats(0.05, 20),
)
def test_cycles_fill_the_budget_and_none_is_empty(n_steps, n_cycles, cycle_mult):
    n_cycles = min(n_cycles, n_steps)
    ends = cycle_ends(n_steps, n_cycles, cycle_mult)
    lengths = np.diff(ends, prepend=0)
    assert len(ends) == n_cycles
    assert ends[-1] == n_steps
    assert lengths.min() >= 1


@given(n_cycles=st.integers(1, 8), length=st.integers(1, 50), mult=st.sampled_from([1, 2, 3]))
def test_cycle_lengths_are_those_of_sgdr_where_they_are_whole(n_cycles, length, mult):
    """SGDR, section 3: each period is T_mult times as long as the one before."""
    expected = length * mult ** np.arange(n_cycles)
    ends = cycle_ends(int(expected.sum()), n_cycles, mult)
    np.testing.assert_array_equal(np.diff(ends, prepend=0), expected)


@pytest.mark.parametrize("name", SHAPES)
def test_a_cycle_goes_on_at_another_speed_from_its_rate(name):
    plain = Fractions(100, 2, schedule=name, burn_in_steps=20, first_step=7, first_cycle=3)
    for end in (40, 50, 59, 61, 80):
        turned = plain.turned(20, [end, end + 30], (38, 18 / 40))
        assert turned[:].min() > 0  # no step trains at rate zero
        assert len(turned) == end + 30
        # Triangles are sampled in the middle of a step, whose length changes.
        assert turned[38] == pytest.approx(plain[38], abs=1 / (end - 38))
        later = Fractions(30, 1, schedule=name, first_step=7 + end - 20, first_cycle=4)
        np.testing.assert_allclose(turned[end:], later[:])
    np.testing.assert_array_equal(plain.turned(20, [60, 100], (20, 0.0))[:], plain[:])


def test_a_callable_gets_plain_numbers_where_the_speed_changed():
    seen = []
    plain = Fractions(40, 2, schedule=lambda at: seen.append(at) or 1 - at.progress)
    turned = plain.turned(0, [15, 30], (10, 0.5))
    assert list(turned.after(12)) == pytest.approx(
        [1 - (0.5 + 0.1 * k) for k in (2, 3, 4)] + [1 - k / 15 for k in range(15)]
    )
    assert {type(field) for at in seen for field in at} == {int, float}
    assert [at.length for at in seen[:4]] == [10, 10, 10, 15]


def test_a_huge_cycle_mult_does_not_overflow():
    assert cycle_ends(1000, 900, 1e6)[-1] == 1000


def test_cosine_equals_torch_warm_restarts():
    """The rates of CosineAnnealingWarmRestarts, which implements SGDR, eq. 5."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
        optimizer, T_0=7, T_mult=2, eta_min=0.01
    )
    expected = []
    for _ in range(7 + 14 + 28):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    rates = learning_rates(7 + 14 + 28, lr=0.1, n_cycles=3, cycle_mult=2.0, min_lr=0.01)
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


def test_cosine_is_the_formula_of_huang_et_al():
    """Eq. 2: a0 / 2 (cos(pi mod(t - 1, T / M) / (T / M)) + 1), t from 1."""
    T, M = 60, 5
    t = np.arange(1, T + 1)
    expected = 0.1 / 2 * (np.cos(np.pi * np.mod(t - 1, T / M) / (T / M)) + 1)
    np.testing.assert_allclose(learning_rates(T, lr=0.1, n_cycles=M), expected, atol=1e-15)


@pytest.mark.parametrize("schedule", ["triangular", "triangular2", "exp_range"])
def test_triangles_equal_torch_cyclic_lr_at_the_middle_of_each_step(schedule):
    """CyclicLR has Smith's formulas at whole steps; twice as fine, its odd steps are ours."""
    length, n_cycles, gamma = 10, 4, 0.99
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.CyclicLR(
        optimizer,
        base_lr=0.02,
        max_lr=0.1,
        step_size_up=length,
        mode=schedule,
        gamma=math.sqrt(gamma),
        cycle_momentum=False,
    )
    fine = []
    for _ in range(2 * length * n_cycles):
        fine.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    rates = learning_rates(
        length * n_cycles, lr=0.1, n_cycles=n_cycles, schedule=schedule, min_lr=0.02, gamma=gamma
    )
    expected = np.array(fine[1::2])
    if schedule == "exp_range":  # torch decays by its half step more
        expected = 0.02 + (expected - 0.02) / math.sqrt(gamma)
    np.testing.assert_allclose(rates, expected, rtol=1e-9)


@pytest.mark.parametrize(("decay", "lowest"), [(0.5, 0.0), (0.5, 0.02), (0.1, 0.03), (1.0, 0.02)])
def test_cycles_decay_as_those_of_timm(decay, lowest):
    """``lr_min + (lr_max * cycle_decay**i - lr_min) / 2 * (1 + cos(pi * t / T))``."""
    T, n_cycles, lr = 10, 4, 0.1
    i, t = np.divmod(np.arange(T * n_cycles), T)
    height = np.maximum(lr * decay**i, lowest)  # timm's would rise within a cycle then
    expected = lowest + (height - lowest) / 2 * (1 + np.cos(np.pi * t / T))
    rates = learning_rates(T * n_cycles, lr=lr, n_cycles=n_cycles, min_lr=lowest, cycle_decay=decay)
    np.testing.assert_allclose(rates, expected, atol=1e-15)
    assert rates.min() >= lowest


def test_decay_is_of_any_named_shape_and_counts_cycles_of_earlier_runs():
    plain = Fractions(40, 4, schedule="triangular")[:]
    decayed = Fractions(40, 4, schedule="triangular", cycle_decay=0.5)[:]
    np.testing.assert_allclose(decayed, plain * np.repeat([1, 0.5, 0.25, 0.125], 10), rtol=1e-12)
    twice = Fractions(40, 4, schedule="triangular2", cycle_decay=0.5, first_cycle=2)[:]
    halves = np.repeat(0.5 ** np.arange(4, 12, 2), 10)
    np.testing.assert_allclose(twice, plain * halves, rtol=1e-12)
    # Burn-in is at the highest rate of all.
    burnt = Fractions(50, 4, burn_in_steps=10, cycle_decay=0.5)[:]
    assert (burnt[:11] == 1).all()


@pytest.mark.parametrize("schedule", ["triangular", "triangular2", "exp_range"])
@pytest.mark.parametrize("length", [1, 2, 3, 8])
def test_triangles_never_train_at_rate_zero(schedule, length):
    rates = learning_rates(4 * length, lr=1.0, n_cycles=4, schedule=schedule)
    assert rates.min() > 0
    if length == 1:
        assert rates[0] == 1.0


def test_burn_in_holds_the_rate_before_the_first_cycle():
    rates = learning_rates(25, lr=0.1, n_cycles=2, burn_in_steps=5)
    np.testing.assert_array_equal(rates[:5], 0.1)
    np.testing.assert_array_equal(rates[5:], learning_rates(20, lr=0.1, n_cycles=2))


def test_a_callable_is_asked_with_the_place_in_the_run():
    seen = []

    def schedule(at):
        seen.append(at)
        return 0.5

    rates = learning_rates(6, lr=0.2, n_cycles=2, schedule=schedule)
    np.testing.assert_allclose(rates, 0.1)
    assert seen == [At(s, s // 3, (s % 3) / 3, 3) for s in range(6)]
    assert all(isinstance(value, int | float) for at in seen for value in at)


def test_a_schedule_goes_on_where_a_run_goes_on():
    whole = Fractions(30, 3, schedule="triangular2")
    rest = Fractions(10, 1, schedule="triangular2", first_step=20, first_cycle=2)
    np.testing.assert_array_equal(whole[20:], rest)


@pytest.mark.parametrize("schedule", [*SHAPES, lambda at: 1 - at.progress**2])
def test_rates_asked_for_a_few_at_a_time_are_those_of_all_at_once(schedule):
    """To the bit: a run asks for a thousand, `learning_rates` for all."""
    options = {"cycle_mult": 1.5, "floor": 0.01, "burn_in_steps": 30, "gamma": 0.999}
    rates = Fractions(5000, 7, schedule=schedule, first_step=11, first_cycle=2, **options)
    whole = rates[:]
    assert len(rates) == len(whole) == 5000
    assert list(rates) == whole.tolist()
    assert [rates[k] for k in range(0, 5000, 97)] == whole[::97].tolist()
    assert rates[-1] == whole[-1]
    assert rates[25:45].tolist() == whole[25:45].tolist()


def test_a_schedule_of_any_length_costs_nothing_before_it_is_asked():
    asked = []

    def schedule(at):
        asked.append(at)
        return 1.0

    tracemalloc.start()
    plan = Plan.of(10**9, 8, schedule=schedule, cycle_mult=1.5)
    plan.fractions.check()
    assert next(iter(plan.fractions)) == plan.fractions[10**9 - 1] == 1.0
    assert tracemalloc.get_traced_memory()[1] < 5e6
    tracemalloc.stop()
    assert len(asked) < 2000


def test_a_mistake_at_either_end_or_in_the_middle_of_a_cycle_shows_at_once():
    for wrong in (0, 0.5, 0.9):
        rates = Fractions(20, 2, schedule=lambda at, w=wrong: -1.0 if at.progress == w else 1.0)
        with pytest.raises(ValueError, match=r"Got -1\.0 from schedule\(at\)"):
            rates.check()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_steps": 0}, r"Got n_steps=0, but expected an integer of at least 1\."),
        ({"n_cycles": 0}, r"Got n_cycles=0, but expected an integer of at least 1\."),
        ({"n_cycles": 11}, r"Got n_cycles=11, but expected at most 10"),
        ({"schedule": "linear"}, r"Got schedule='linear', but expected one of"),
        ({"lr": 0.0}, r"Got lr=0\.0, but expected a number above 0\."),
        ({"min_lr": 2.0}, r"Got min_lr=2\.0, but expected a number from 0 to lr=1\.0\."),
        ({"lr": math.inf}, r"Got lr=inf, but expected a number above 0\."),
        ({"lr": "1"}, r"Got lr='1', but expected a number above 0\."),
        ({"gamma": math.nan}, r"Got gamma=nan, but expected a number above 0, at most 1\."),
        ({"gamma": 2}, r"Got gamma=2, but expected a number above 0, at most 1\."),
        ({"cycle_decay": 0}, r"Got cycle_decay=0, but expected a number above 0, at most 1\."),
        ({"cycle_decay": 1.5}, r"Got cycle_decay=1\.5, but expected a number above 0, at most 1"),
        (
            {"schedule": lambda at: 1.0, "cycle_decay": 0.5},
            r"Got cycle_decay=0\.5 with a callable schedule, but expected the callable",
        ),
        ({"schedule": 3}, r"Got schedule=3, but expected one of"),
        ({"schedule": lambda at: 1.0, "min_lr": 0.1}, r"Got min_lr=0\.1 with a callable"),
        ({"schedule": lambda at: None}, r"Got None from schedule\(at\)"),
        ({"cycle_mult": -1}, r"Got cycle_mult=-1, but expected a number above 0\."),
        ({"schedule": lambda at: -1.0}, r"Got -1\.0 from schedule\(at\)"),
        ({"schedule": lambda at: math.nan}, r"Got nan from schedule\(at\)"),
    ],
)
def test_bad_arguments_are_named(wrong, message):
    arguments = {"n_steps": 10, "lr": 1.0, "n_cycles": 2, **wrong}
    with pytest.raises(ValueError, match=message):
        learning_rates(arguments.pop("n_steps"), **arguments)
