"""How long a fit has taken, and what a step of it takes."""

import pytest

from skensemble._training import clock
from skensemble._training.clock import Pace, Stopwatch


class Hands:
    """A clock that a test moves."""

    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def hands(monkeypatch):
    hands = Hands()
    monkeypatch.setattr(clock, "now", hands)
    return hands


def test_a_stopwatch_counts_from_its_start(hands):
    watch = Stopwatch(10)
    hands.seconds += 4
    assert (watch.spent, watch.left) == (4, 6)
    watch.set_spent(9)  # as an earlier process had
    hands.seconds += 2
    assert (watch.spent, watch.left) == (11, -1)


def take(pace, hands, seconds, n_epochs=1, n_steps=5, between=0.0):
    for _ in range(n_epochs):
        for _ in range(n_steps):
            hands.seconds += seconds
            pace.step()
        hands.seconds += between
        pace.end_epoch()


def test_the_first_steps_are_slow_and_do_not_count(hands):
    pace = Pace(1.0)
    hands.seconds += 50
    pace.step()
    assert pace.seconds_a_step() == 50  # there is nothing else yet
    hands.seconds += 2
    pace.step()
    assert pace.seconds_a_step() == 26
    for _ in range(3):
        hands.seconds += 0.5
        pace.step()
    assert pace.seconds_a_step() == pace.mean_seconds_a_step() == 0.5


def test_what_an_epoch_takes_beside_its_steps_counts(hands):
    pace = Pace(1.0)
    take(pace, hands, 0.1, n_epochs=20, between=0.5)
    assert pace.seconds_a_step() == pytest.approx(0.2)


def test_the_pace_is_that_of_late(hands):
    pace = Pace(2.0)
    take(pace, hands, 0.1, n_epochs=40)
    take(pace, hands, 0.3, n_epochs=2)
    assert pace.seconds_a_step() == pytest.approx(0.3)  # 3 of the latest seconds
    assert pace.mean_seconds_a_step() == pytest.approx((198 * 0.1 + 10 * 0.3) / 208)
    take(pace, hands, 0.1, n_epochs=2)
    assert 0.1 < pace.seconds_a_step() < 0.3


def test_what_is_no_training_is_left_out(hands):
    pace = Pace(2.0)
    take(pace, hands, 0.1, n_epochs=3)
    hands.seconds += 7
    pace.leave_out(7)
    assert pace.seconds_a_step() == pytest.approx(0.1)
    take(pace, hands, 0.1, n_epochs=1)
    assert pace.seconds_a_step() == pytest.approx(0.1)
