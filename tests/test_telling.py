"""Telling of cycles."""

from types import SimpleNamespace

import pytest
from skorch.history import History

from skensemble._training import telling as module
from skensemble._training.cycle_end import Judged
from skensemble._training.hooks import Ended
from skensemble._training.planning import Timetable, plan_run
from skensemble._training.telling import Telling


class Hearing:
    """Notes what it hears, and asks to end the run after a cycle of a number."""

    def __init__(self, last=None):
        self.heard, self.last = [], last

    def cycle_begins(self):
        self.heard.append("begins")

    def cycle_ended(self, end):
        self.heard.append(end)
        return end.number == self.last


@pytest.fixture
def clock(monkeypatch):
    at = [100.0]
    monkeypatch.setattr(module, "now", lambda: at[0])
    return at


def plan(n_cycles=4):
    return plan_run(Timetable(n_cycles, 1.0, "cosine", 4, 0.1, {}), 10, None)


def lane(n_chains, step, *ended):
    recorder = SimpleNamespace(step=step, ended=dict(enumerate(ended)))
    net = SimpleNamespace(history_=History([{"batches": []}]))
    return SimpleNamespace(n_chains=n_chains, recorder=recorder, net=net)


def test_time_counts_from_the_begin_and_the_pace_from_the_first_end(clock):
    telling, hearing = Telling(plan()), Hearing()
    telling.hearers.append(hearing)
    telling.begin(0)
    clock[0] = 110
    telling.cycle_ended([lane(1, 10)], 1, 4, None)
    clock[0] = 112
    telling.cycle_ended([lane(1, 20)], 2, 4, None)
    first, second = hearing.heard
    assert (first.spent, first.seconds, first.left) == (10, 10, 30)
    assert (second.spent, second.seconds, second.left) == (12, 2, 4)


def test_workers_that_begin_are_no_pace(clock):
    telling, hearing = Telling(plan()), Hearing()
    telling.hearers.append(hearing)
    telling.is_slow_to_begin = True
    telling.begin(0)
    for k in (1, 2):
        clock[0] += 10
        telling.cycle_ended([lane(1, 10 * k)], k, 4, None)
    assert [end.left for end in hearing.heard] == [None, 20]


def test_a_limit_bounds_what_is_left(clock):
    full = plan()
    limit = SimpleNamespace(n_cycles=3, plans=[full], stopwatch=SimpleNamespace(left=7.0))
    telling, hearing = Telling(full, n_before=2), Hearing()
    telling.hearers.append(hearing)
    telling.begin(0)
    clock[0] += 10
    telling.cycle_ended([lane(1, 10)], 1, 4, limit)
    assert (hearing.heard[0].left, hearing.heard[0].n_planned) == (7, 5)


def test_losses_are_means_over_chains_and_known_of_all_or_none(clock):
    telling, hearing = Telling(plan()), Hearing()
    telling.hearers.append(hearing)
    one, other = Ended(8, 0.1, 0.01, 3.0), Ended(8, 0.1, 0.01, 0.0)
    telling.cycle_ended([lane(2, 10, one), lane(1, 10, other)], 1, 4, None)
    telling.cycle_ended([lane(2, 10, one), lane(1, 10)], 1, 4, None)
    first, second = hearing.heard
    assert first.train_loss == 2.0
    assert (first.lr, first.last_lr, first.epoch) == (0.1, 0.01, 0.8)
    assert second.train_loss is None


def test_the_best_counts_earlier_calls_and_goes_by_the_loss(clock):
    losses = iter([0.5, 0.2, 0.4])
    telling, hearing = Telling(plan(), n_before=2), Hearing()
    telling.hearers.append(hearing)
    before = [Judged(0.6, -0.6, 0.6), Judged(0.3, -0.3, 0.3)]
    telling.judge_by(lambda: (lambda x: Judged(x, -x, x))(next(losses)), before, may_stop=True)
    lanes = [lane(1, 10)]
    for k in (1, 2, 3):
        telling.cycle_ended(lanes, k, 4, None)
    assert [(end.number, end.best[1], end.best[0].score) for end in hearing.heard] == [
        (3, 2, -0.3), (4, 4, -0.2), (5, 4, -0.2)
    ]  # fmt: skip
    assert lanes[0].net.history_[-1, "unseen_score"] == -0.4
    assert lanes[0].net.history_[-1, "cycle"] == 5


def test_a_cycle_that_does_not_count_is_not_judged(clock):
    telling, hearing = Telling(plan()), Hearing()
    telling.hearers.append(hearing)
    telling.judge_by(lambda: pytest.fail("it was judged"), [], may_stop=False)
    telling.cycle_ended([lane(1, 10)], 1, 4, None, is_kept=False)
    assert (hearing.heard[0].judged, hearing.heard[0].is_kept) == (None, False)


def test_all_hear_though_the_first_asks_to_end_the_run(clock):
    telling, one, other = Telling(plan()), Hearing(last=1), Hearing()
    telling.hearers += [one, other]
    telling.cycle_begins()
    assert telling.cycle_ended([lane(1, 10)], 1, 4, None)
    assert telling.is_asked
    assert [len(hearer.heard) for hearer in (one, other)] == [2, 2]


def test_a_recalled_cycle_is_told_and_takes_no_time(clock):
    telling, hearing = Telling(plan(), n_before=1), Hearing()
    telling.hearers.append(hearing)
    telling.judge_by(lambda: Judged(0.1, -0.1, 0.1), [], may_stop=False)
    telling.recall([lane(1, 0)], 2, 4)
    (end,) = hearing.heard
    assert (end.number, end.epoch, end.seconds, end.is_recalled) == (3, 2.0, 0.0, True)
    assert end.judged.loss == 0.1
