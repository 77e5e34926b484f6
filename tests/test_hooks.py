"""When the rate is set, and when a snapshot is taken."""

import pickle

import numpy as np
import pytest
import torch
from conftest import Mlp, same
from sklearn.base import clone
from skorch.callbacks import Callback, Checkpoint
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from skensemble import SnapshotEnsembleClassifier
from skensemble._training.hooks import CyclicRate, Diverged, SnapshotRecorder
from skensemble._training.interrupts import Interrupts
from skensemble.schedules import Fractions


def test_early_stopping_at_the_end_of_a_cycle_adds_no_second_snapshot(digits):
    class StopAt(Callback):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == 4:
                raise KeyboardInterrupt

    model = SnapshotEnsembleClassifier(
        Mlp, n_cycles=4, cycle_mult=1, max_epochs=8, callbacks=[StopAt()], random_state=0
    )
    model.fit(*digits)
    assert (model.n_iter_, model.n_cycles_) == (4, 2)
    full = clone(model).set_params(callbacks=None).fit(*digits)
    assert same(model.snapshots_, full.snapshots_[:2])


def test_outputs_that_are_not_finite_make_no_member_either(digits):
    """Finite weights whose scores overflow."""

    class Overflow(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 3:
                with torch.no_grad():
                    net.module_.hidden.weight.fill_(1e30)
                    net.module_.output.weight.fill_(1e30)

    model = SnapshotEnsembleClassifier(
        Mlp, n_cycles=4, max_epochs=4, callbacks=[Overflow()], lr=1e-9, random_state=0
    )
    with pytest.warns(RuntimeWarning, match="diverged in 2 of 4 cycles"):
        model.fit(*digits)
    assert model.n_cycles_ == 2


def test_each_parameter_group_keeps_its_own_rate(digits):
    """Rule 10."""
    rates = []

    class Watch(Callback):
        def on_batch_begin(self, net, batch=None, training=None, **kwargs):
            rates.append([group["lr"] for group in net.optimizer_.param_groups])

    SnapshotEnsembleClassifier(
        Mlp,
        n_cycles=2,
        cycle_mult=1,
        max_epochs=2,
        lr=0.1,
        optimizer=torch.optim.SGD,
        optimizer__param_groups=[("output.*", {"lr": 0.01})],
        callbacks=[Watch()],
    ).fit(*digits)
    rates = np.array(rates)
    np.testing.assert_allclose(rates[:, 0] * 10, rates[:, 1])
    np.testing.assert_allclose(rates[:, 1], 0.1 * Fractions(len(rates), 2)[:])


class Net:
    """What hooks look at of a net."""

    _optimizers = ("optimizer",)

    def __init__(self, module):
        self.module_ = module
        self.n_redraws = 0
        self.optimizer_ = torch.optim.SGD(
            [{"params": [module.weight], "lr": 0.3}, {"params": [module.bias]}], lr=0.1
        )

    def probe(self, X):
        with torch.no_grad():
            return self.module_(X)

    def redraw(self):
        self.n_redraws += 1


def test_rates_are_those_of_lambda_lr_to_the_bit():
    shares = [1.0, 0.7, 1 / 3, 0.0]
    ours, theirs = Net(nn.Linear(2, 2)), Net(nn.Linear(2, 2)).optimizer_
    scheduler = LambdaLR(theirs, lambda step: shares[min(step, 3)])
    rate = CyclicRate(shares, Interrupts())
    for _ in shares:
        rate.on_batch_begin(ours, training=False)  # of rows that are not trained on
        rate.on_batch_begin(ours, training=True)
        got, expected = ours.optimizer_.param_groups, theirs.param_groups
        assert [group["lr"] for group in got] == [group["lr"] for group in expected]
        theirs.step()
        scheduler.step()
    with pytest.raises(ValueError, match="Got a batch after the 4 steps of the budget"):
        rate.on_batch_begin(ours, training=True)


def test_a_marked_interrupt_ends_the_run_before_the_next_step():
    interrupts = Interrupts()
    net, rate = Net(nn.Linear(2, 2)), CyclicRate([0.5, 0.5], interrupts)
    rate.set_rate(rate.groups_of(net))
    interrupts.marked = True
    with pytest.raises(KeyboardInterrupt):
        rate.set_rate(rate.groups_of(net))
    assert rate.step == 1


def count_to(n_steps, recorder, net):
    """Let the weights tell the steps done."""
    for step in range(1, n_steps + 1):
        nn.init.constant_(net.module_.weight, step)
        recorder.after_step(net, torch.zeros(()))


def test_a_snapshot_is_taken_after_the_last_step_of_each_cycle():
    net = Net(nn.Linear(2, 2))
    recorder = SnapshotRecorder([2, 3, 7], torch.ones(1, 2), cold=False)
    count_to(7, recorder, net)
    assert [state["weight"][0, 0].item() for state in recorder.states] == [2, 3, 7]
    recorder.finish(net)
    assert len(recorder.states) == 3
    stopped = SnapshotRecorder([2, 9], torch.ones(1, 2), cold=False)
    count_to(5, stopped, net)
    stopped.finish(net)  # a quiet stop within the second cycle
    assert [state["weight"][0, 0].item() for state in stopped.states] == [2, 5]


@pytest.mark.parametrize("wrong", [float("inf"), 3e38])
def test_a_snapshot_predicts_finite_numbers(wrong):
    """Of finite weights, too."""
    net = Net(nn.Linear(2, 2))
    nn.init.constant_(net.module_.weight, wrong)
    recorder = SnapshotRecorder([1, 2], torch.ones(1, 2), cold=False)
    with pytest.raises(Diverged):
        recorder.after_step(net, torch.zeros(()))
    cold = SnapshotRecorder([1, 2], torch.ones(1, 2), cold=True)
    for _ in range(2):
        cold.after_step(net, torch.zeros(()))
    assert cold.states == [None, None]
    assert net.n_redraws == cold.n_redraws == 1  # and none after the last


@pytest.mark.parametrize("verbose", [0, 1])
def test_a_net_that_is_pickled_in_the_middle_of_a_run_takes_nothing_of_the_run(
    iris, tmp_path, verbose
):
    """What the callbacks of a run know leads to the rows, the schedule and the screen."""
    checkpoint = Checkpoint(monitor=None, f_pickle="net.pickle", dirname=tmp_path)
    SnapshotEnsembleClassifier(
        Mlp,
        max_epochs=2,
        n_cycles=2,
        schedule=lambda at: 1 - at.progress,
        callbacks=[checkpoint],
        verbose=verbose,
    ).fit(*iris)
    path = tmp_path / "net.pickle"
    assert pickle.loads(path.read_bytes()).module_.hidden.in_features == 4
    assert path.stat().st_size < 50_000
