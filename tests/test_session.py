"""A session ends with its budget, or when it is stopped."""

import numpy as np
import torch

from skensemble import SnapshotEnsembleClassifier
from skensemble._data.batches import Budgeted
from skensemble._training.interrupts import Interrupts
from skensemble._training.session import Session
from skensemble.schedules import Plan


def test_an_epoch_that_early_stopping_cuts_short_is_told(digits):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((400, 5)), rng.integers(0, 2, 400)
    model = SnapshotEnsembleClassifier(n_chains=2, max_epochs=40, random_state=0).fit(X, y)
    assert model.n_cycles_ < 8
    assert np.isfinite(model.history_[-1, "train_loss"])
    assert model.n_iter_ == len(model.history_) < 40


def make_session(n_steps, n_cycles):
    plan, rows = Plan.of(n_steps, n_cycles), torch.zeros(1)
    return Session(plan, Interrupts(), [], rows, None, cold=False, progress=None)


def test_a_session_has_the_rates_ends_and_budget_of_its_plan():
    session, plan = make_session(10, 3), Plan.of(10, 3)
    assert list(session.rate.fractions) == list(plan.fractions)
    assert session.recorder.ends == plan.ends.tolist() == [3, 7, 10]
    batches = [(k,) for k in range(4)]
    passes = [list(Budgeted(batches, session.budget)) for _ in range(4)]
    assert [len(each) for each in passes] == [4, 4, 2, 0]


def test_a_session_that_is_stopped_hands_out_no_further_batch():
    session = make_session(10, 3)
    taken = []
    for (batch,) in Budgeted([(k,) for k in range(4)], session.budget):
        taken.append(batch)
        if batch == 1:
            session.stop()
    assert taken == [0, 1]
    assert session.is_stopped
    assert list(Budgeted([(5,)], session.budget)) == []
