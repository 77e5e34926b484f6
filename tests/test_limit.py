"""A run that is to end in time, on a machine whose clock the tests move."""

import json
import time

import numpy as np
import pytest
from conftest import Mlp, is_one, same
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._training import clock, starting
from skensemble._training.hooks import CyclicRate
from skensemble._training.limit import TimeLimit
from skensemble.unseen import UnseenRows


class Machine:
    """Takes so many seconds for a step and for judging a cycle, and for nothing else."""

    def __init__(self):
        self.seconds, self.step, self.judge = 0.0, 0.01, 0.0
        #: Steps, and the rate of each.
        self.rates = []
        #: From so many steps on a step takes so many times as long.
        self.slower = (np.inf, 1.0)

    def take_step(self, groups):
        after, factor = self.slower
        self.seconds += self.step * (factor if len(self.rates) >= after else 1)
        self.rates.append(groups[0]["lr"])


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()
    monkeypatch.setattr(clock, "now", lambda: machine.seconds)
    set_rate, add = CyclicRate.set_rate, UnseenRows.add

    def slow_set_rate(self, groups):
        set_rate(self, groups)
        machine.take_step(groups)

    def slow_add(self, states):
        machine.seconds += machine.judge
        return add(self, states)

    monkeypatch.setattr(CyclicRate, "set_rate", slow_set_rate)
    monkeypatch.setattr(UnseenRows, "add", slow_add)
    return machine


X, Y = make_classification(200, 6, random_state=0)

#: 12 steps an epoch, 480 in all: 4.8 seconds of the machine. Chains that leave out half have 6.
BASE = {
    "max_epochs": 40, "batch_size": 17, "n_cycles": 4, "cycle_mult": 1.5, "random_state": 0,
    "early_stopping": False,
}  # fmt: skip


class Listening(Callback):
    """Makes chains train in turn, by the loop of skorch's."""

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        pass


class Own(NeuralNetClassifier):
    """Trains by the loop of skorch's."""

    def train_step(self, batch, **fit_params):
        return super().train_step(batch, **fit_params)


WAYS = {
    "built-in": {"n_chains": 2, "module__hidden": (8,)},
    "own": {"module": Mlp},
    "own in chains": {"module": Mlp, "n_chains": 2},
    "in turn": {"module": Mlp, "n_chains": 2, "callbacks": [Listening()]},
    "net": {"module": Mlp, "net": Own},
    "cold": {"module": Mlp, "restart": "cold"},
    "loader": {"module": Mlp, "iterator_train__num_workers": 0},
    "callable": {"module": Mlp, "schedule": lambda at: 1 - at.progress},
    "triangular2": {"module": Mlp, "schedule": "triangular2"},
}


def new(way="own", **parameters):
    return SnapshotEnsembleClassifier(**{**BASE, **WAYS[way], **parameters})


@pytest.mark.parametrize("way", ["built-in", "own", "in turn", "cold"])
def test_a_limit_that_does_not_bind_changes_no_bit(machine, way):
    steps = new(way).fit(X, Y)
    needed = machine.seconds
    assert needed > 2
    model = new(way, time_limit=1.1 * needed).fit(X, Y)
    assert not model.is_time_limited_
    assert same(model.snapshots_, steps.snapshots_)


@pytest.mark.parametrize("part", [0.1, 0.6])
@pytest.mark.parametrize("way", WAYS)
def test_a_run_ends_in_time_with_a_whole_cycle(machine, way, part):
    new(way).fit(X, Y)
    limit, machine.seconds, machine.rates[:] = part * machine.seconds, 0.0, []
    model = new(way, time_limit=limit).fit(X, Y)
    assert model.is_time_limited_
    assert (0.93 if part > 0.1 else 0.7) * limit < machine.seconds < 1.01 * limit
    assert 1 <= model.n_cycles_ <= 4
    assert model.n_cycles_ == 4 or part < 0.6
    assert model.predict_proba(X).shape == (200, 2)
    assert max(machine.rates) > 20 * machine.rates[-1]  # it fell to its lowest
    assert model.n_iter_ == len(model.history_) <= 40 * part + 2


def test_a_short_run_is_nearly_as_one_of_that_budget(machine):
    """Its first steps are taken before the machine is known, at a rate that is a little high."""
    model = new(time_limit=2.6).fit(X, Y)
    rates, machine.rates = np.array(machine.rates), []
    plain = new(max_epochs=21).fit(X, Y)
    assert len(rates) == pytest.approx(252, rel=0.03)
    assert model.n_cycles_ == plain.n_cycles_
    ours, theirs = (np.flatnonzero(np.diff(r) > 0) for r in (rates, machine.rates))
    np.testing.assert_allclose(ours, theirs, atol=6)  # where a cycle follows another


@pytest.mark.parametrize("way", ["own", "in turn"])
@pytest.mark.parametrize("slower", [(60, 3.0), (200, 2.0), (60, 0.3)])
def test_a_machine_that_changes_its_speed_is_followed(machine, way, slower):
    machine.slower = slower
    model = new(way, time_limit=5.0, max_epochs=80).fit(X, Y)
    whole = 80 * 12
    assert model.is_time_limited_ == (len(machine.rates) < 0.99 * whole)
    if model.is_time_limited_ and len(machine.rates) < 0.9 * whole:
        assert 0.9 * 5 < machine.seconds < 1.05 * 5
    else:
        assert machine.seconds < 5


def test_no_chain_has_the_time_of_the_others(machine, monkeypatch):
    """Cycles that are given up while some chains have ended theirs leave it to the last chain."""
    steps, set_rate = {}, CyclicRate.set_rate

    def counted(self, groups):
        steps[id(self)] = steps.get(id(self), 0) + 1
        return set_rate(self, groups)

    monkeypatch.setattr(CyclicRate, "set_rate", counted)
    machine.slower = (60, 3.0)
    new("in turn", n_chains=3, time_limit=4.0, max_epochs=80).fit(X, Y)
    assert len(steps) == 3
    assert max(steps.values()) < 2 * min(steps.values())


def test_judging_the_cycles_counts(machine):
    machine.judge = 0.2
    model = new("built-in", time_limit=3.0).fit(X, Y)
    assert 2.6 < machine.seconds < 3.1
    assert model.n_cycles_ == 4
    machine.seconds, machine.judge = 0.0, 0.9
    assert new("built-in", time_limit=3.0).fit(X, Y).n_cycles_ == 2
    assert machine.seconds < 3.1


def test_the_clock_starts_with_the_call(machine):
    class Slow(Mlp):
        def __init__(self, n_inputs, n_outputs):
            super().__init__(n_inputs, n_outputs)
            machine.seconds += 2

    new(module=Slow, time_limit=3.0).fit(X, Y)
    assert len(machine.rates) == pytest.approx(100, abs=5)
    assert machine.seconds < 3.05


@pytest.mark.parametrize("way", ["own", "built-in", "in turn", "cold"])
def test_one_cycle_there_is_always_with_a_warning(machine, way):
    machine.step = 1.0
    with pytest.warns(ConvergenceWarning, match="Got time_limit=0.5, but expected time for at"):
        model = new(way, time_limit=0.5).fit(X, Y)
    assert model.n_cycles_ == model.n_iter_ == 1
    assert len(machine.rates) <= 2 * model.n_chains_


def test_a_slow_first_step_does_not_bind(machine):
    machine.slower = (1, 0.01)
    machine.step = 1.0
    assert not new(time_limit=20.0).fit(X, Y).is_time_limited_


@pytest.mark.parametrize("way", ["own", "in turn"])
def test_a_moment_of_something_else_does_not_bind(machine, way, monkeypatch):
    new(way).fit(X, Y)
    needed, n_steps, machine.rates = machine.seconds, len(machine.rates), []
    machine.seconds, take_step = 0.0, machine.take_step

    def take_step_or_wait(groups):
        machine.slower = (0, 5.0 if 0.5 < len(machine.rates) / n_steps < 0.53 else 1.0)
        take_step(groups)

    monkeypatch.setattr(machine, "take_step", take_step_or_wait)
    assert not new(way, time_limit=1.4 * needed).fit(X, Y).is_time_limited_
    assert machine.seconds > 1.1 * needed


def test_a_burn_in_is_shortened_with_the_cycles(machine):
    new(schedule__burn_in_epochs=20, time_limit=2.4).fit(X, Y)
    assert len(machine.rates) == pytest.approx(240, rel=0.03)
    assert np.sum(np.array(machine.rates) == 0.008) == pytest.approx(120, rel=0.1)
    machine.rates.clear()
    model = new(schedule__burn_in_epochs=20, time_limit=2.4).fit(X, Y)
    in_cycles = model._fitted_.resume.n_steps  # where the schedule of a later call goes on
    assert len(machine.rates) - in_cycles == pytest.approx(120, rel=0.1)


def test_partial_fit_and_warm_start_have_the_limit_for_each_call(machine):
    model = new(time_limit=1.0, cycle_mult=1.0, warm_start=True)
    model.partial_fit(X, Y)  # one cycle: 120 steps
    assert (machine.seconds < 1.01, model.n_cycles_, model.is_time_limited_) == (True, 1, True)
    model.set_params(time_limit=None).partial_fit(X, Y)
    assert model.is_time_limited_  # as long as it goes on with what was
    machine.seconds = 0.0
    model.set_params(time_limit=2.0).fit(X, Y)
    assert 1.9 < machine.seconds < 2.02
    assert model.n_cycles_ == 6
    model.set_params(time_limit=None, warm_start=False).fit(X, Y)
    assert not model.is_time_limited_


def test_early_stopping_and_callbacks_end_a_limited_run(machine):
    slow = {"validation": 0.3, "lr": 1e-12, "n_cycles": 8, "early_stopping": True}
    model = new(time_limit=2.4, **slow, cycle_mult=1.0, n_iter_no_change=2).fit(X, Y)
    assert model.is_time_limited_
    assert model.n_cycles_ == 3
    assert machine.seconds < 1.2

    class Stop(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 9:
                raise KeyboardInterrupt

    for way in ("own", "in turn", "built-in"):
        model = new(way, time_limit=2.4, callbacks=[Stop()]).fit(X, Y)
        assert model.is_time_limited_
        assert model.n_iter_ <= 9


def test_a_regressor_is_limited_too(machine, diabetes):
    model = SnapshotEnsembleRegressor(time_limit=1.0, n_chains=2, random_state=0).fit(*diabetes)
    assert model.is_time_limited_
    assert machine.seconds < 1.01


def test_no_unseen_score_says_that_a_limited_run_was_too_short(machine):
    """It is known; more `max_epochs` would change nothing."""
    new("built-in", time_limit=0.8, lr=1e-4, max_epochs=200).fit(X, Y)  # warnings are errors


def test_verbose_tells_the_shorter_plan_in_one_line(machine, capsys):
    new(time_limit=2.4, verbose=1).fit(X, Y)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("time_limit=2.4: 4 cycles in ")
    assert lines[0].endswith(" epochs, of a budget of 40")
    assert [line[:9] for line in lines[1:-1]] == [f"cycle {k}/4" for k in (1, 2, 3, 4)]
    assert lines[-1].startswith("shortened by time_limit=2.4: 4 cycles; ")
    new(time_limit=24, verbose=1).fit(X, Y)
    assert "time_limit" not in capsys.readouterr().out


@pytest.mark.parametrize("way", ["own", "in turn"])
def test_where_a_run_stands_is_plain_numbers(machine, way, monkeypatch):
    """It comes back from a file with the same plan and the time that was spent."""
    limits = []

    class Kept(TimeLimit):
        def begin(self):
            super().begin()
            limits.append(self)

    monkeypatch.setattr(starting, "TimeLimit", Kept)
    new(way, time_limit=2.4).fit(X, Y)
    limit = limits[0]
    state = json.loads(json.dumps(limit.state()))
    other = Kept(clock.Stopwatch(2.4), limit.full, limit.lanes)
    other.restore(state)
    assert other.is_binding
    assert other.state() == state
    for one, two in zip(limit.plans, other.plans, strict=True):
        np.testing.assert_array_equal(one.plan.fractions, two.plan.fractions)


def test_a_real_clock_is_kept():
    model = SnapshotEnsembleClassifier(time_limit=0.7, max_epochs=10**5, early_stopping=False)
    begun = time.perf_counter()
    clone(model).fit(X, Y)
    assert 0.2 < time.perf_counter() - begun < 7


def test_chains_that_step_together_are_limited_as_one(machine):
    assert is_one(new("built-in", time_limit=1.0).fit(X, Y))
