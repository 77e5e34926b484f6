"""Ctrl-C keeps what is finished."""

import contextlib
import copy
import os
import signal
import sys
import threading
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Mlp, same
from sklearn.datasets import load_iris
from skorch.callbacks import Callback

import skensemble
from skensemble import SnapshotEnsembleClassifier
from skensemble._nets import generators
from skensemble._training.interrupts import Interrupts


def test_ctrl_c_while_unseen_rows_are_predicted(digits, monkeypatch):
    """Promise 7: the cycles before count, with weights of their own."""
    X, y = digits
    whole = skensemble.unseen.UnseenRows._predict

    def interrupted(self, *args):
        if len(self.cycles) == 1:
            signal.raise_signal(signal.SIGINT)
        return whole(self, *args)

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
    from skensemble import outcome

    def interrupted(*args):
        signal.raise_signal(signal.SIGINT)
        return weigh_cycles(*args)

    weigh_cycles = outcome.weigh_cycles
    monkeypatch.setattr(outcome, "weigh_cycles", interrupted)
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


def test_an_interrupt_is_marked_and_raised_at_the_next_check():
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        interrupts.check()
        signal.raise_signal(signal.SIGINT)
        assert interrupts.marked
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_interrupt_is_raised_at_once():
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        with interrupts.held():  # unless something has to be done whole
            signal.raise_signal(signal.SIGINT)
            interrupts.check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_the_handler_that_was_set_is_called_once():
    handled = []
    before = signal.signal(signal.SIGINT, lambda *_: handled.append(1))
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGINT)
            assert handled == []
            for _ in range(2):
                with pytest.raises(KeyboardInterrupt):
                    interrupts.check()
            interrupts.deferred = True
            signal.raise_signal(signal.SIGINT)
            interrupts.check()
    finally:
        signal.signal(signal.SIGINT, before)
    assert handled == [1]


def test_an_interrupt_after_the_last_check_is_told():
    with pytest.warns(RuntimeWarning, match="Interrupted: the fit was finished"), Interrupts():
        signal.raise_signal(signal.SIGINT)


def test_a_fit_that_ends_in_an_error_is_interrupted_all_the_same():
    def fail():
        with Interrupts():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("wrong data")

    with pytest.raises(KeyboardInterrupt):
        fail()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_is_interrupted_as_any_other():
    with Interrupts():
        child = os.fork()
        if child == 0:
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_an_error_that_follows_ctrl_c_does_not_cost_the_finished_cycles(digits):
    """A DataLoader's processes hear Ctrl-C too; whoever waits for them then fails."""

    class Failing(Interrupting):
        def on_batch_end(self, *args, **kwargs):
            super().on_batch_end(*args, **kwargs)
            if self.step == self.at:
                raise RuntimeError("DataLoader worker exited unexpectedly")

    model = SnapshotEnsembleClassifier(
        Mlp, n_cycles=4, cycle_mult=1, max_epochs=4, callbacks=[Failing(45)]
    )
    with pytest.warns(RuntimeWarning, match="keeps the 2 of 4 cycles"):
        model.fit(*digits)
    model.set_params(callbacks=[Failing(5)])
    with pytest.raises(KeyboardInterrupt):
        model.fit(*digits)


def test_where_interrupts_are_ignored_they_stay_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(signal.SIGINT)
            assert not interrupts.marked
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


class Lines:
    """Runs a function and calls another at a line of the package, before it is executed."""

    here = str(Path(skensemble.__file__).parent)

    def __init__(self):
        #: How often each line was executed.
        self.seen = Counter()

    def run(self, function, at=None, nth=1, press=None):
        left = nth

        def local(frame, event, _):
            nonlocal left
            line = (frame.f_code.co_filename, frame.f_lineno)
            if event == "line" and at is None:
                self.seen[line] += 1
            elif event == "line" and line == at:
                left -= 1
                if left == 0:
                    sys.settrace(None)
                    press()
            return local

        def follow(frame, event, _):
            code = frame.f_code
            if code.co_filename.startswith(self.here):
                is_near = at is None or (
                    code.co_filename == at[0] and at[1] in {line for *_, line in code.co_lines()}
                )
                return local if is_near else None
            return None

        before = sys.gettrace()
        sys.settrace(follow)
        try:
            return function()
        finally:
            sys.settrace(before)


def settings_of_torch_and_numpy():
    cuda = torch.backends.cuda
    names = ("flash_sdp", "math_sdp", "mem_efficient_sdp", "cudnn_sdp")
    return {
        "threads": torch.get_num_threads(),
        "fast attention": torch.backends.mha.get_fastpath_enabled(),
        "attention": [getattr(cuda, name + "_enabled")() for name in names],
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),
        "errors": np.geterr(),
        "warnings": list(warnings.filters),
        "handler": signal.getsignal(signal.SIGINT),
        "modes": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
    }


def is_free(lock):
    """Whether another thread can take a lock."""
    taken = []

    def take():
        taken.append(lock.acquire(timeout=1))
        if taken[0]:
            lock.release()

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    return taken[0]


class Listening(Callback):
    """Makes chains train in turn, by the loop of skorch's."""

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        pass


SMALL = {"max_epochs": 2, "n_cycles": 2, "batch_size": 16, "random_state": 0}
KINDS = {
    "warm": {"n_chains": 2, "module__hidden": (4,)},
    "cold": {"module": Mlp, "n_chains": 2, "restart": "cold"},
    "in turn": {"module": Mlp, "n_chains": 2, "restart": "cold", "callbacks": [Listening()]},
    "alone": {"module": Mlp, "validation": 0.2, "verbose": 1},
    "again": {"module": Mlp, "n_chains": 2, "warm_start": True},
}

#: How many lines are tried; SKENSEMBLE_EVERY_LINE=1 tries all, at their first execution.
N_LINES = 25


@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_at_any_line_keeps_cycles_or_changes_nothing(kind, capsys):
    """Promise 7, and every setting of torch and numpy is as it was."""
    X, y = load_iris(return_X_y=True)
    X, y = X[::3], y[::3]
    fresh = SnapshotEnsembleClassifier(**KINDS[kind], **SMALL)
    if kind == "again":
        fresh.fit(X, y)
    lines, threads, recorded = Lines(), torch.get_num_threads(), copy.deepcopy(fresh)
    torch.set_num_threads(2)
    lines.run(lambda: recorded.fit(X, y))
    chosen = [(line, 1) for line in lines.seen]
    if not os.environ.get("SKENSEMBLE_EVERY_LINE"):
        rng, times = np.random.default_rng(0), list(lines.seen.items())
        picked = [times[k] for k in rng.choice(len(times), N_LINES, replace=False)]
        chosen = [(line, int(rng.integers(1, n, endpoint=True))) for line, n in picked]
    failed, outcomes = [], set()
    try:
        before = settings_of_torch_and_numpy()
        for at in chosen:
            wrong, outcome = interrupt(lines, at, copy.deepcopy(fresh), X, y)
            outcomes.add(outcome)
            after = settings_of_torch_and_numpy()
            wrong += [name for name in before if before[name] != after[name]]
            if wrong:
                failed.append((at, outcome, wrong))
            torch.set_num_threads(2)
    finally:
        torch.set_num_threads(threads)
    assert not failed, failed
    assert outcomes == {"raised", "kept"}


def interrupt(lines, at, model, X, y):
    """Press Ctrl-C at a line of a fit; return what is wrong then, and how it ended."""
    before, wrong, outcome = dict(vars(model)), [], "kept"
    n_before = getattr(model, "n_cycles_", 0)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            lines.run(lambda: model.fit(X, y), *at, lambda: signal.raise_signal(signal.SIGINT))
        if not any("Interrupted" in str(one.message) for one in caught):
            wrong.append("not told")
        if not n_before < model.n_cycles_ <= n_before + 2:
            wrong.append("cycles")
        if not np.isfinite(model.predict_proba(X)).all():
            wrong.append("predictions")
        if not same([model.net_.module_.state_dict()], [model.snapshots_[-model.n_chains_]]):
            wrong.append("net_")
    except KeyboardInterrupt:
        outcome = "raised"
        if vars(model) != before:
            wrong.append("estimator")
    except Exception as error:
        outcome = repr(error)
        wrong.append("error")
    if not is_free(generators._turn.lock):
        wrong.append("lock")
    return wrong, outcome
