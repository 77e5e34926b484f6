"""How a run ends."""

import contextlib
import gc
import warnings
import weakref

import numpy as np
import pytest
import torch
from conftest import Mlp, same
from sklearn.base import clone
from skorch.callbacks import Callback

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._nets.snapshots import Room
from skensemble._training.hooks import SnapshotRecorder


class Listening(Callback):
    """Makes chains train in turn, by the loop of skorch's."""

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        pass


def test_divergence_of_one_chain_in_turn_keeps_what_all_have_finished(digits):
    X, y = digits

    class Explode(Callback):
        def on_batch_begin(self, net, batch=None, training=None, **kwargs):
            self.steps = getattr(self, "steps", 0) + 1
            if self.steps == 9:
                with torch.no_grad():
                    next(net.module_.parameters()).fill_(float("inf"))

    model = SnapshotEnsembleClassifier(
        Mlp, n_chains=2, n_cycles=4, cycle_mult=1, max_epochs=1, batch_size=30, validation=None,
        callbacks=[Explode()], random_state=0,
    )  # fmt: skip
    with pytest.warns(RuntimeWarning, match="diverged in 3 of 4 cycles"):
        model.fit(X, y)
    assert len(model.snapshots_) == 2
    assert np.isfinite(model.predict_proba(X)).all()


class Explode(Callback):
    """Makes the weights infinite at one epoch, and again at each later one if asked to."""

    def __init__(self, at):
        self.at = at

    def on_epoch_begin(self, net, **kwargs):
        if len(net.history) == self.at:
            with torch.no_grad():
                next(net.module_.parameters()).fill_(float("inf"))


def test_a_diverged_cycle_never_becomes_a_member(digits):
    """Promise 7."""
    base = {"n_cycles": 4, "cycle_mult": 1, "max_epochs": 8, "random_state": 0}
    model = SnapshotEnsembleClassifier(Mlp, callbacks=[Explode(4)], **base)
    with pytest.warns(RuntimeWarning, match="diverged in 3 of 4 cycles"):
        model.fit(*digits)
    full = SnapshotEnsembleClassifier(Mlp, **base).fit(*digits)
    assert same(model.snapshots_, full.snapshots_[:1])
    assert np.isfinite(model.predict_proba(digits[0])).all()

    cold = SnapshotEnsembleClassifier(Mlp, restart="cold", callbacks=[Explode(4)], **base)
    with pytest.warns(RuntimeWarning, match="diverged in 1 of 4 cycles"):
        cold.fit(*digits)
    assert cold.n_cycles_ == 3

    first = SnapshotEnsembleClassifier(Mlp, callbacks=[Explode(1)], **base)
    with pytest.raises(ValueError, match="Training diverged in the first cycle"):
        first.fit(*digits)


def test_a_quiet_stop_on_diverged_weights_keeps_what_was_before(digits):
    class Stop(Explode):
        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == self.at:
                raise KeyboardInterrupt

    model = SnapshotEnsembleClassifier(
        Mlp, n_cycles=2, max_epochs=8, callbacks=[Stop(5)], random_state=0
    )
    with pytest.warns(RuntimeWarning, match="diverged in 1 of 2 cycles"):
        model.fit(*digits)
    assert np.isfinite(model.predict_proba(digits[0])).all()


def test_what_a_callback_loads_at_the_end_does_not_stay_in_the_net(digits):
    class Loading(Callback):
        def on_train_end(self, net, X=None, y=None, **kwargs):
            net.module_.load_state_dict({k: 0 * v for k, v in net.module_.state_dict().items()})
            net.history = net.history[:2]

    model = SnapshotEnsembleClassifier(
        Mlp, max_epochs=8, n_cycles=3, callbacks=[Loading()], random_state=0
    ).fit(*digits)
    assert same([model.net_.module_.state_dict()], model.snapshots_[-1:])
    assert model.n_iter_ == len(model.history_) == 8


@pytest.mark.parametrize("module", [None, Mlp])
@pytest.mark.parametrize("callbacks", [None, [Listening()]])
def test_a_finite_explosion_is_told(cancer, module, callbacks):
    X, y = cancer
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    model = SnapshotEnsembleClassifier(
        module, max_epochs=6, n_cycles=3, n_chains=2, callbacks=callbacks, random_state=0
    )
    with pytest.warns(RuntimeWarning, match=r"Got lr=100, but expected .* rose to .* lower lr"):
        clone(model).set_params(lr=100.0).fit(X, y)
    clone(model).set_params(lr=0.05).fit(X, y)  # a bad beginning that is made good is not told


def test_an_explosion_is_told_to_regressors_too(diabetes):
    with pytest.warns(RuntimeWarning, match="Got lr=10, but expected"):
        SnapshotEnsembleRegressor(max_epochs=6, n_cycles=3, lr=10.0, random_state=0).fit(*diabetes)


@pytest.mark.parametrize("noise", ["classes", "values"])
def test_noise_is_no_explosion(noise):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, 5)), rng.standard_normal(300)
    if noise == "classes":
        SnapshotEnsembleClassifier(max_epochs=10, random_state=0).fit(X, y > 0)
    else:
        SnapshotEnsembleRegressor(max_epochs=10, random_state=0).fit(X, y)


@pytest.mark.parametrize("n_chains", [1, 2])
def test_a_stop_before_the_first_step_is_an_error(digits, n_chains):
    class Stop(Callback):
        def on_batch_begin(self, net, batch=None, training=None, **kwargs):
            raise KeyboardInterrupt

    model = SnapshotEnsembleClassifier(Mlp, n_chains=n_chains, callbacks=[Stop()], max_epochs=1)
    with pytest.raises(ValueError, match="stopped the run before its first step"):
        model.fit(*digits)


@pytest.mark.parametrize("parameters", [{"batch_size": 1}, {"batch_size": 2, "n_chains": 1}])
def test_a_first_batch_of_few_rows_or_little_weight_tells_no_explosion(diabetes, parameters):
    X, y = diabetes[0][:60], diabetes[1][:60]
    quick = {"max_epochs": 2, "n_cycles": 2, "n_chains": 2}
    weight = np.where(np.arange(60) < 50, 1e-6, 1.0)
    for seed in range(5):
        model = SnapshotEnsembleRegressor(**{**quick, **parameters}, random_state=seed)
        model.fit(X, y)  # warnings are errors
        model.set_params(batch_size=16).fit(X, y, sample_weight=weight)


def _bytes_of_tensors():
    """Count the memory of all tensors that are alive, each storage once."""
    gc.collect()
    storages = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # objects of other packages warn where they are looked at
        tensors = [t for t in gc.get_objects() if type(t) in (torch.Tensor, torch.nn.Parameter)]
    for tensor in tensors:
        with contextlib.suppress(NotImplementedError):  # of vmap, which has none
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
    return sum(storages.values())


@pytest.mark.parametrize("module", [None, Mlp])
def test_snapshots_are_in_memory_once(iris, monkeypatch, module):
    """Of a wide table they may be larger than the data."""
    taken, sizes = [], []
    take, put, hand_over = SnapshotRecorder.take, Room.put, Room.handed_over

    def watched_take(self, net):
        take(self, net)
        taken.append([weakref.ref(tensor) for tensor in self.states[-1][0].values()])

    def watched_put(self, index, states):
        there = put(self, index, states)
        sizes.append(_bytes_of_tensors())
        return there

    def watched_hand_over(self, n_taken, first=()):
        n_before = _bytes_of_tensors()
        made = hand_over(self, n_taken, first)
        assert _bytes_of_tensors() <= n_before
        return made

    monkeypatch.setattr(SnapshotRecorder, "take", watched_take)
    monkeypatch.setattr(Room, "put", watched_put)
    monkeypatch.setattr(Room, "handed_over", watched_hand_over)
    model = SnapshotEnsembleClassifier(
        module, n_chains=3, n_cycles=3, max_epochs=3, early_stopping=False, random_state=0
    ).fit(*iris)
    assert len(model.snapshots_) == 9
    assert len(taken) == 3
    assert all(ref() is None for cycle in taken[:-1] for ref in cycle)
    # The room is there from the first cycle on, and nothing grows with their number beside it.
    assert max(sizes) - min(sizes) < sum(v.nbytes for v in model.snapshots_[0].values())
