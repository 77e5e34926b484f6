"""Who hears of the cycles of a run."""

import pytest
from conftest import QUICK, Mlp

from skensemble import SnapshotEnsembleClassifier
from skensemble._training.telling import Telling


@pytest.fixture
def tellings(monkeypatch):
    made, begin = [], Telling.__init__

    def note(self, *args, **kwargs):
        begin(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(Telling, "__init__", note)
    return made


def test_nobody_hears_where_nobody_asked_and_nothing_is_summed_up(iris, tellings):
    SnapshotEnsembleClassifier(**QUICK).fit(*iris)
    assert tellings[0].hearers == []
    assert tellings[0].judge is not None  # the history has the scores


def test_the_screen_hears_first_then_callbacks(iris, tellings, capsys):
    pytest.importorskip("sklearn.callback", reason="scikit-learn >= 1.9")
    from skensemble.callbacks import CycleLogger

    model = SnapshotEnsembleClassifier(verbose=1, **QUICK)
    model.set_callbacks(CycleLogger(lambda metrics, step: print("logged", step))).fit(*iris)
    assert [type(h).__name__ for h in tellings[0].hearers] == ["Progress", "Bridge"]
    words = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert words == ["cycle", "logged", "cycle", "logged", "finished:"]


def test_a_run_that_cannot_end_early_says_so(iris, tellings):
    for given in ({}, {"early_stopping": False}, {"module": Mlp}):
        SnapshotEnsembleClassifier(**given, **QUICK).fit(*iris)
    assert [telling.may_stop for telling in tellings] == [True, False, False]


def test_cycles_of_earlier_calls_are_the_best_to_beat(iris, tellings):
    model = SnapshotEnsembleClassifier(**QUICK).fit(*iris)
    first = model.cycle_scores_
    model.partial_fit(*iris)
    assert tellings[1].n_before == 2
    assert tellings[1].best[0].score == max(model.cycle_scores_) >= first.max() - 1e-6
