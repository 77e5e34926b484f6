"""Why a run has ended."""

from types import SimpleNamespace

import pytest

from skensemble._training.ending import word_end


def run(n_cycles=3, **changes):
    given = {
        "states": [()] * n_cycles,
        "n_planned": 5,
        "limit": None,
        "interrupts": SimpleNamespace(marked=False),
        "failure": None,
        "telling": SimpleNamespace(is_asked=False),
        "lanes": [SimpleNamespace(is_stopped=False)],
        "is_judged_enough": False,
        "is_shorter": False,
        "n_diverged": 0,
    }
    return SimpleNamespace(**{**given, **changes})


LIMIT = SimpleNamespace(full=SimpleNamespace(n_cycles=5), stopwatch=SimpleNamespace(seconds=7.5))


@pytest.mark.parametrize(
    ("ended", "reason"),
    [
        (run(), "finished"),
        (run(interrupts=SimpleNamespace(marked=True), is_judged_enough=True), "interrupted"),
        (run(failure=OSError()), "stopped, the run could not be kept"),
        (run(telling=SimpleNamespace(is_asked=True)), "stopped by a callback"),
        (run(lanes=[SimpleNamespace(is_stopped=True)]), "stopped by a callback"),
        (run(is_judged_enough=True), "stopped, no gain in 2 cycles"),
        (run(is_shorter=True, limit=LIMIT, n_planned=3), "shortened by time_limit=7.5"),
        (run(limit=LIMIT), "finished"),
        (run(n_diverged=2), "ended, training diverged"),
    ],
)
def test_the_reason_and_the_cycles(ended, reason):
    said = word_end(ended, 0, 2, [0.25, 0, 0.75])
    assert said == f"{reason}: 3 of 5 cycles; weights of cycles 0.25 0 0.75"


def test_earlier_calls_count_and_one_is_one():
    assert word_end(run(5), 2, 1, [1]).startswith("finished: 7 cycles; ")
    one = run(1, n_planned=1, is_judged_enough=True)
    assert word_end(one, 0, 1, [1]) == "stopped, no gain in 1 cycle: 1 cycle; weight 1"
