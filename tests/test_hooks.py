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


class StopAt(Callback):
    """Ends the run quietly after so many epochs."""

    def __init__(self, n_epochs):
        self.n_epochs = n_epochs

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == self.n_epochs:
            raise KeyboardInterrupt


def test_early_stopping_at_the_end_of_a_cycle_adds_no_second_snapshot(digits):
    model = SnapshotEnsembleClassifier(
        Mlp, n_cycles=4, cycle_mult=1, max_epochs=8, callbacks=[StopAt(4)], random_state=0
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
    assert [state["weight"][0, 0].item() for [state] in recorder.states] == [2, 3, 7]
    recorder.finish(net)
    assert len(recorder.states) == 3
    stopped = SnapshotRecorder([2, 9], torch.ones(1, 2), cold=False)
    count_to(5, stopped, net)
    stopped.finish(net)  # a quiet stop within the second cycle
    assert [state["weight"][0, 0].item() for [state] in stopped.states] == [2, 5]


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


#: Forty steps of full batches, in cycles of ten.
TAIL = {"module": Mlp, "n_cycles": 4, "max_epochs": 40, "cycle_mult": 1, "batch_size": 10**6}


def test_several_snapshots_of_a_cycle_are_those_of_plain_torch(digits):
    """Zhang et al. 2020, section 3: samples at the tail, where the rate is low."""
    X, y = digits
    given = {**TAIL, "optimizer": "SGD", "lr": 0.05, "validation": None, "random_state": 0}
    given["module__dropout"] = 0.0
    model = SnapshotEnsembleClassifier(**given, snapshots_per_cycle=3).fit(X, y)
    single = SnapshotEnsembleClassifier(**given).fit(X, y)
    assert same(model.snapshots_[2::3], single.snapshots_)
    module = single.set_params(max_epochs=1, n_cycles=1, lr=1e-30).fit(X, y).net_.module_
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    rate = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 10)
    taken = []
    for step in range(1, 41):
        optimizer.zero_grad()
        scores = module(torch.from_numpy(X).float())
        nn.functional.cross_entropy(scores, torch.from_numpy(y)).backward()
        optimizer.step()
        rate.step()
        # The last fifth of a cycle of 10 steps: two steps, of which no two snapshots share one.
        if step % 10 in (8, 9, 0):
            taken.append([p.detach().clone() for p in module.parameters()])
    assert len(taken) == len(model.snapshots_) == 12
    for own, theirs in zip(model.snapshots_, taken, strict=True):
        for ours, plain in zip(own.values(), theirs, strict=True):
            torch.testing.assert_close(ours, plain, atol=1e-6, rtol=0)


def test_several_snapshots_of_a_cycle_are_evenly_spaced_in_its_last_fifth():
    net = Net(nn.Linear(2, 2))
    recorder = SnapshotRecorder([60, 120], torch.ones(1, 2), cold=False, n_per_cycle=4, burn_in=20)
    taken = []
    for step in range(1, 121):
        n_before = len(recorder.early), len(recorder.states)
        recorder.after_step(net, torch.zeros(()))
        if (len(recorder.early), len(recorder.states)) != n_before:
            taken.append(step)
    assert taken == [54, 56, 58, 60, 111, 114, 117, 120]
    assert [len(states) for states in recorder.states] == [4, 4]


def test_a_cycle_that_is_cut_short_has_its_last_snapshot_in_place_of_others(digits):
    model = SnapshotEnsembleClassifier(
        **TAIL, snapshots_per_cycle=3, callbacks=[StopAt(15)], random_state=0
    ).fit(*digits)
    assert (model.n_cycles_, len(model.snapshots_)) == (2, 6)
    assert same(model.snapshots_[3:4], model.snapshots_[5:])
    assert not same(model.snapshots_[1:2], model.snapshots_[2:3])


def test_snapshots_of_a_cycle_share_its_weight_and_are_judged_together(digits):
    """The values of unseen rows are means over the snapshots of a cycle, by hand."""
    X, y = digits[0][:300], digits[1][:300]
    model = SnapshotEnsembleClassifier(
        Mlp, n_cycles=3, max_epochs=12, n_chains=3, snapshots_per_cycle=2, random_state=0
    ).fit(X, y)
    weights = model.member_weights_.reshape(model.n_cycles_, 2, 3)
    assert (weights == weights[:, :1, :1]).all()
    members = model.predict_members(X)
    stages = [*model.staged_predict_proba(X)]
    assert len(stages) == model.n_cycles_
    np.testing.assert_allclose(stages[0], members[:6].mean(axis=0), atol=1e-12)
    of_chains = members.reshape(model.n_cycles_, 2, 3, *members.shape[1:]).mean(axis=1)
    by_cycle = weights.sum(axis=(1, 2))
    values = np.einsum("c,cknj->knj", by_cycle, of_chains)
    distance = np.abs(values - model.oof_decision_function_).max(axis=2).min(axis=0)
    assert distance.max() < 1e-6  # each row by the chain that left it out


def test_a_later_call_takes_as_many_snapshots_a_cycle(digits):
    model = SnapshotEnsembleClassifier(**TAIL, snapshots_per_cycle=2, random_state=0)
    model.partial_fit(*digits).partial_fit(*digits)
    assert (model.n_cycles_, len(model.snapshots_)) == (2, 4)
    with pytest.raises(ValueError, match=r"Got snapshots_per_cycle=3 .*, but expected 2 as at"):
        model.set_params(snapshots_per_cycle=3).partial_fit(*digits)
