"""What a run starts with."""

from types import SimpleNamespace

from skensemble._training import starting
from skensemble._training.planning import Timetable, plan_run
from skensemble._training.progress import Progress
from skensemble._training.starting import make_run, start_stopwatch
from skensemble._training.threads import Threads


def test_seconds_are_counted_only_where_they_are_limited():
    assert start_stopwatch(None) is None
    assert start_stopwatch(7).left <= 7


def test_a_run_has_a_limit_where_there_is_a_stopwatch(monkeypatch):
    plan = plan_run(Timetable(2, 1.0, "cosine", 4, 0.1, {}), 10, None)
    recorder = SimpleNamespace(on_taken=None, n_per_cycle=1)
    lane = SimpleNamespace(recorder=recorder, n_chains=3)
    monkeypatch.setattr(starting, "make_lanes", lambda *_, **__: [lane])
    ready = SimpleNamespace(nets=[SimpleNamespace(batch_size=8)], rows=range(100))
    progress = Progress(2, 10, 40, 0)
    arguments = (ready, [], plan, [None] * 3, None, None)
    options = {"cold": False, "progress": progress, "threads": Threads(1, 1)}
    assert make_run(*arguments, **options).limit is None
    run = make_run(*arguments, **options, stopwatch=start_stopwatch(5), n_judged=240)
    assert run.limit.stopwatch.seconds == 5
    assert not run.is_shorter
    run.limit.on_shorter(plan_run(Timetable(1, 1.0, "cosine", 2, 0.1, {}), 10, None))
    assert (progress.total, progress.n_steps) == (1, 20)
