"""Ctrl-C keeps what is finished."""

import contextlib
import signal
import threading

import numpy as np
import pytest
import torch
from conftest import Mlp, same
from skorch.callbacks import Callback

import skensemble
from skensemble import SnapshotEnsembleClassifier
from skensemble._training.interrupts import Interrupts


def test_ctrl_c_while_unseen_rows_are_predicted(digits, monkeypatch):
    """Promise 7: the cycles before count, with weights of their own."""
    X, y = digits
    whole = skensemble.unseen.UnseenRows._predict

    def interrupted(self, snapshots):
        if len(self.cycles) == 1:
            signal.raise_signal(signal.SIGINT)
        return whole(self, snapshots)

    monkeypatch.setattr("skensemble.unseen.UnseenRows._predict", interrupted)
    model = SnapshotEnsembleClassifier(n_chains=2, n_cycles=3, max_epochs=3, random_state=0)
    with pytest.warns(RuntimeWarning, match="keeps the 1 of 3 cycles"):
        model.fit(X, y)
    np.testing.assert_allclose(model.member_weights_, [0.5, 0.5])
    assert model.cycle_scores_.shape == (1,)
    for name, value in model.net_.module_.state_dict().items():
        assert torch.equal(value, model.snapshots_[0][name])


class Interrupting(Callback):
    """Presses Ctrl-C at one step."""

    def __init__(self, at):
        self.at = at
        self.step = 0

    def initialize(self):
        self.step = 0
        return self

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        self.step += 1
        if self.step == self.at:
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_keeps_the_finished_cycles(digits):
    handler = signal.getsignal(signal.SIGINT)
    steps = 19  # of 600 rows in batches of 32
    base = {"n_cycles": 4, "max_epochs": 4, "random_state": 0}
    model = SnapshotEnsembleClassifier(Mlp, callbacks=[Interrupting(2 * steps + 3)], **base)
    with pytest.warns(RuntimeWarning, match="keeps the 2 of 4 cycles"):
        model.fit(*digits)
    full = SnapshotEnsembleClassifier(Mlp, **base).fit(*digits)
    assert same(model.snapshots_, full.snapshots_[:2])
    assert same([model.net_.module_.state_dict()], model.snapshots_[-1:])
    assert signal.getsignal(signal.SIGINT) is handler


def test_ctrl_c_before_a_cycle_is_finished_leaves_all_as_it_was(digits):
    """Promise 7, rule 6."""
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=4, random_state=0).fit(X, y)
    before, state = model.predict_proba(X), torch.get_rng_state()
    model.set_params(callbacks=[Interrupting(2)])
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), before)
    assert torch.equal(torch.get_rng_state(), state)


def test_ctrl_c_that_a_callback_swallows_is_raised_at_the_next_step(digits):
    class Swallowing(Interrupting):
        def on_batch_end(self, *args, **kwargs):
            with contextlib.suppress(KeyboardInterrupt):
                super().on_batch_end(*args, **kwargs)

    model = SnapshotEnsembleClassifier(
        Mlp, n_cycles=2, cycle_mult=1, max_epochs=4, callbacks=[Swallowing(2)]
    )
    with pytest.raises(KeyboardInterrupt):
        model.fit(*digits)


def test_ctrl_c_after_the_last_cycle_loses_nothing(digits):
    class AtTheEnd(Callback):
        def on_train_end(self, net, X=None, y=None, **kwargs):
            signal.raise_signal(signal.SIGINT)

    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, callbacks=[AtTheEnd()])
    with pytest.warns(RuntimeWarning, match="keeps the 8 of 8 cycles"):
        model.fit(*digits)
    assert model.n_cycles_ == 8


def test_ctrl_c_while_results_are_put_away_is_told(digits, monkeypatch):
    from skensemble import fitted

    def interrupted(states, **order):
        signal.raise_signal(signal.SIGINT)
        return snapshots(states, **order)

    snapshots = fitted.Snapshots
    monkeypatch.setattr(fitted, "Snapshots", interrupted)
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2)
    with pytest.warns(RuntimeWarning, match="keeps the 8 of 8 cycles"):
        model.fit(*digits)


def test_a_fit_in_another_thread_needs_no_signal_handler(digits):
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=1, random_state=0)
    thread = threading.Thread(target=model.fit, args=digits)
    thread.start()
    thread.join()
    here = SnapshotEnsembleClassifier(Mlp, max_epochs=1, random_state=0).fit(*digits)
    assert same(model.snapshots_, here.snapshots_)


def test_an_interrupt_is_marked_and_handed_to_the_handler_that_was_set():
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        assert not interrupts.marked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert interrupts.marked
    assert signal.getsignal(signal.SIGINT) is before


def test_a_deferred_interrupt_is_marked_alone():
    handled = []
    before = signal.signal(signal.SIGINT, lambda *_: handled.append(1))
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGINT)
            interrupts.deferred = True
            signal.raise_signal(signal.SIGINT)
            assert interrupts.marked
    finally:
        signal.signal(signal.SIGINT, before)
    assert handled == [1]


def test_where_interrupts_are_ignored_they_stay_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGINT)
            assert not interrupts.marked
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
