"""Training, against plain skorch and plain torch."""

import contextlib
import os
import signal
import threading
import warnings

import numpy as np
import pytest
import torch
from conftest import Mlp, Normalised
from sklearn.base import clone
from skorch import NeuralNet, NeuralNetClassifier
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    GradientNormClipping,
    LRScheduler,
)
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._data.batches import BatchIterator
from skensemble._data.rows import TensorRows, to_tensor
from skensemble._nets.generators import Generators
from skensemble.schedules import fractions


def same(one, other):
    """Whether two lists of snapshots are equal to the bit."""
    return len(one) == len(other) and all(
        torch.equal(a[name], b[name]) for a, b in zip(one, other, strict=True) for name in a
    )


def plain_skorch(rows, net_class, batch_size, seed, policy, policy_arguments, **arguments):
    """The same network trained by skorch and torch's scheduler alone, on the same batches."""
    generators = Generators(torch.device("cpu"), seed)

    def iterator(dataset, batch_size):
        return BatchIterator(rows, batch_size, generators.batches)

    torch.manual_seed(seed)
    net = net_class(
        iterator_train=iterator,
        batch_size=batch_size,
        train_split=None,
        verbose=0,
        callbacks=[LRScheduler(policy, step_every="batch", **policy_arguments)],
        **arguments,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as small fits of ours do
    try:
        net.fit(rows, y=None)
    finally:
        torch.set_num_threads(threads)
    return net.module_.state_dict()


@pytest.mark.parametrize("policy", ["lambda", "cosine"])
@pytest.mark.parametrize(
    "optimizer",
    [
        (torch.optim.AdamW, {"weight_decay": 0.1}),
        (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
        (torch.optim.RMSprop, {}),
    ],
    ids=lambda pair: pair[0].__name__,
)
@pytest.mark.parametrize("module", [Mlp, Normalised])
def test_one_cycle_equals_plain_training(digits, policy, optimizer, module):
    """Promise 1."""
    X, y = digits
    optimizer, flags = optimizer
    epochs, batch_size, lr, seed = 4, 64, 0.01, 7
    model = SnapshotEnsembleClassifier(
        module,
        n_cycles=1,
        max_epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        optimizer=optimizer,
        random_state=seed,
        **{f"optimizer__{name}": value for name, value in flags.items()},
    ).fit(X, y)

    n_steps = epochs * -(-len(X) // batch_size)
    if policy == "lambda":
        rates = fractions(n_steps, 1)
        policies = LambdaLR, {"lr_lambda": lambda step: rates[min(step, n_steps - 1)]}
    else:
        policies = CosineAnnealingLR, {"T_max": n_steps}
    if optimizer is not torch.optim.RMSprop:  # which has no fused step
        flags = {**flags, "fused": True}
    expected = plain_skorch(
        TensorRows(to_tensor(X), torch.from_numpy(y)),
        NeuralNet,
        batch_size,
        seed,
        *policies,
        module=module,
        criterion=nn.CrossEntropyLoss,
        optimizer=optimizer,
        lr=lr,
        max_epochs=epochs,
        module__n_inputs=X.shape[1],
        module__n_outputs=10,
        **{f"optimizer__{name}": value for name, value in flags.items()},
    )
    assert same(model.snapshots_, [expected])


def test_the_automatic_optimizer_is_adamw_and_keywords_change_it(iris):
    changed = SnapshotEnsembleClassifier(
        max_epochs=2, n_chains=1, optimizer__betas=(0.8, 0.9), optimizer__eps=1e-6, random_state=0
    ).fit(*iris)
    optimizer = changed.net_.optimizer_
    assert type(optimizer) is torch.optim.AdamW
    group = optimizer.param_groups[0]
    assert (group["betas"], group["weight_decay"], group["eps"]) == ((0.8, 0.9), 0, 1e-6)
    named = SnapshotEnsembleClassifier(
        optimizer=torch.optim.AdamW, max_epochs=2, n_chains=1, random_state=0
    ).fit(*iris)
    group, own = named.net_.optimizer_.param_groups[0], torch.optim.AdamW([torch.zeros(1)])
    assert group["betas"] == own.defaults["betas"]
    assert group["weight_decay"] == own.defaults["weight_decay"]


def test_one_cycle_of_regression_equals_plain_training_on_scaled_targets(diabetes):
    """Promise 1."""
    X, y = diabetes
    model = SnapshotEnsembleRegressor(
        Mlp, n_cycles=1, max_epochs=3, batch_size=50, lr=0.01, random_state=3
    ).fit(X, y)
    scaled = ((y - y.mean()) / y.std()).astype(np.float32)[:, None]
    n_steps = 3 * -(-len(X) // 50)
    expected = plain_skorch(
        TensorRows(to_tensor(X), torch.from_numpy(scaled)),
        NeuralNet,
        50,
        3,
        CosineAnnealingLR,
        {"T_max": n_steps},
        module=Mlp,
        criterion=nn.MSELoss,
        optimizer=torch.optim.AdamW,
        optimizer__betas=(0.9, 0.99),
        optimizer__weight_decay=0.0,
        optimizer__fused=True,
        lr=0.01,
        max_epochs=3,
        module__n_inputs=10,
        module__n_outputs=1,
    )
    assert same(model.snapshots_, [expected])


# ------------------------------------------------------------------ rule 8: one place for speed


class Listener(Callback):
    """Looks at batches, which takes training off the lean path."""

    def __init__(self):
        self.n_batches = []

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        self.n_batches.append(len(batch[0]))


class ByStep(NeuralNetClassifier):
    """A net of the user's that overrides what the lean path replaces."""

    def train_step_single(self, batch, **fit_params):
        self.n_steps_seen = getattr(self, "n_steps_seen", 0) + 1
        return super().train_step_single(batch, **fit_params)


@pytest.mark.parametrize("weighted", [False, True])
def test_lean_and_generic_path_give_the_same_bits(digits, weighted):
    X, y = digits
    weight = np.random.default_rng(0).random(len(X)) if weighted else None
    model = SnapshotEnsembleClassifier(Mlp, n_cycles=3, max_epochs=4, random_state=0)
    lean = model.fit(X, y, sample_weight=weight)
    lean_snapshots, lean_losses = lean.snapshots_, lean.history_[:, "train_loss"]
    assert [len(row["batches"]) for row in lean.history_] == [1] * 4

    listener = Listener()
    generic = model.set_params(callbacks=[listener]).fit(X, y, sample_weight=weight)
    assert same(lean_snapshots, generic.snapshots_)
    np.testing.assert_array_equal(lean_losses, generic.history_[:, "train_loss"])
    assert sum(listener.n_batches) == 4 * len(X)

    by_step = model.set_params(callbacks=None, net=ByStep).fit(X, y, sample_weight=weight)
    assert same(lean_snapshots, by_step.snapshots_)
    assert by_step.net_.n_steps_seen == 4 * -(-len(X) // 32)


def test_a_callback_of_epochs_keeps_the_lean_path(digits, monkeypatch):
    from skensemble._training.net import SnapshotNet

    def fail(*args, **kwargs):
        raise AssertionError("the generic path was taken")

    class Epochs(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.history.record("seen", True)

    monkeypatch.setattr(NeuralNet, "train_step", fail)
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, callbacks=[Epochs()], random_state=0)
    model.fit(*digits)
    assert model.history_[:, "seen"] == [True, True]
    assert SnapshotNet.train_step is NeuralNet.train_step


# -------------------------------------------------------------------- skorch's own callbacks


def test_early_stopping_stops_quietly_and_its_weights_are_the_last_snapshot(digits):
    """Rule 7, and promise 3: a run stopped early is a prefix of the full one."""
    stop = EarlyStopping("train_loss", patience=1, threshold=0.6, sink=lambda *args: None)
    model = SnapshotEnsembleClassifier(
        Mlp, n_cycles=2, max_epochs=20, callbacks=[stop], random_state=0
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        stopped = model.fit(*digits)
    assert 1 < stopped.n_iter_ < 20
    assert same([stopped.net_.module_.state_dict()], stopped.snapshots_[-1:])
    assert stop.__dict__.keys() == EarlyStopping("train_loss").__dict__.keys()  # a copy ran

    full = SnapshotEnsembleClassifier(Mlp, n_cycles=2, max_epochs=20, random_state=0).fit(*digits)
    losses = full.history_[:, "train_loss"]
    assert losses[: stopped.n_iter_] == stopped.history_[:, "train_loss"]


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


def test_checkpoint_writes_where_it_is_asked_to(digits, tmp_path):
    saver = Checkpoint(monitor="train_loss_best", dirname=str(tmp_path))
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=5, callbacks=[saver], random_state=0)
    model.fit(*digits)
    assert {p.name for p in tmp_path.iterdir()} >= {"params.pt", "optimizer.pt", "history.json"}
    assert any(model.history_[:, "event_cp"])


def test_epoch_scoring_scores_the_training_rows(digits):
    scoring = [
        EpochScoring("accuracy", on_train=True, lower_is_better=False, name="train_acc"),
        EpochScoring("neg_log_loss", on_train=True, lower_is_better=False, name="nll"),
        EpochScoring("accuracy", on_train=True, use_caching=False, name="later_acc"),
    ]
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=8, callbacks=scoring, random_state=0)
    model.fit(*digits)
    accuracy, nll = model.history_[:, "train_acc"], model.history_[:, "nll"]
    assert accuracy[-1] > accuracy[0]
    last = model.predict_members(digits[0])[-1].argmax(axis=1)
    assert model.history_[-1, "later_acc"] == pytest.approx((last == digits[1]).mean())
    np.testing.assert_allclose(-np.array(nll), model.history_[:, "train_loss"], rtol=1e-4)


def test_gradient_clipping_is_heeded(digits):
    free = SnapshotEnsembleClassifier(Mlp, max_epochs=2, random_state=0)
    clipped = SnapshotEnsembleClassifier(
        Mlp,
        max_epochs=2,
        random_state=0,
        callbacks=[GradientNormClipping(1e-12)],
        optimizer=torch.optim.SGD,
    )
    assert clipped.fit(*digits).history_[-1, "train_loss"] > 10 * 0.1
    assert free.fit(*digits).history_[-1, "train_loss"] < clipped.history_[-1, "train_loss"]


def test_callbacks_of_skorchs_prefix(digits):
    class Noting(Callback):
        def __init__(self, word="none"):
            self.word = word

        def on_epoch_end(self, net, **kwargs):
            net.history.record("word", self.word)

    model = SnapshotEnsembleClassifier(
        Mlp, max_epochs=1, callbacks=[("note", Noting)], callbacks__note__word="well"
    ).fit(*digits)
    assert model.history_[:, "word"] == ["well"]
    model.set_params(callbacks__other__word=1)
    with pytest.raises(ValueError, match="Got callbacks__other__word, but expected the name of"):
        model.fit(*digits)


def test_a_callback_that_predicts_changes_no_bit(digits):
    """A DataLoader draws from the global generator, from which dropout is drawn too."""

    class Predicting(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.predict(digits[0].astype(np.float32))

    model = SnapshotEnsembleClassifier(Mlp, max_epochs=3, random_state=0)
    plain = model.fit(*digits).snapshots_
    assert same(plain, model.set_params(callbacks=[Predicting()]).fit(*digits).snapshots_)


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (EarlyStopping(), r"Got EarlyStopping\(monitor='valid_loss'\)"),
        (Checkpoint(), r"Got Checkpoint\(monitor='valid_loss_best'\)"),
        (LRScheduler(), r"Got callback LRScheduler"),
        (EpochScoring("accuracy"), r"Got EpochScoring\(on_train=False\)"),
    ],
)
def test_callbacks_that_cannot_work_are_refused(digits, callback, message):
    with pytest.raises(ValueError, match=message):
        SnapshotEnsembleClassifier(Mlp, callbacks=[callback]).fit(*digits)


# ------------------------------------------------------------------------- a user's own net


class Penalised(NeuralNetClassifier):
    """The classic reason for a net of one's own: a penalty in ``get_loss``."""

    def __init__(self, *args, penalty=0.0, **kwargs):
        super().__init__(*args, **kwargs)
        self.penalty = penalty

    def get_loss(self, y_pred, y_true, X=None, training=False):
        loss = super().get_loss(y_pred, y_true, X=X, training=training)
        return loss + self.penalty * self.module_.output.weight.abs().sum()


def test_a_net_with_its_own_loss_is_used(digits):
    X, y = digits

    def size(model):
        return model.snapshots_[-1]["output.weight"].abs().sum()

    base = {"max_epochs": 5, "random_state": 0}
    plain = SnapshotEnsembleClassifier(Mlp, **base).fit(X, y)
    free = SnapshotEnsembleClassifier(Mlp, net=Penalised, **base).fit(X, y)
    held = SnapshotEnsembleClassifier(Mlp, net=Penalised, net__penalty=1.0, **base).fit(X, y)
    assert same(plain.snapshots_, free.snapshots_)
    assert size(held) < 0.5 * size(free)
    assert isinstance(held.net_, Penalised)
    weighted = held.fit(X, y, sample_weight=np.arange(len(X)))
    assert size(weighted) < 0.5 * size(free)


def test_skorchs_own_nets_are_nets(digits):
    X, y = digits
    plain = SnapshotEnsembleClassifier(Mlp, max_epochs=2, random_state=0).fit(X, y)
    for net in (NeuralNet, NeuralNetClassifier):
        model = SnapshotEnsembleClassifier(Mlp, net=net, max_epochs=2, random_state=0).fit(X, y)
        assert same(model.snapshots_, plain.snapshots_)


def test_a_net_with_its_own_inference_predicts_by_it(digits):
    X, y = digits

    class Halved(NeuralNet):
        def infer(self, x, **fit_params):
            return super().infer(x / 2, **fit_params)

    class HalvedLater(NeuralNet):
        def evaluation_step(self, batch, training=False):
            return super().evaluation_step((batch[0] / 2, batch[1]), training=training)

    parameters = {"max_epochs": 3, "n_cycles": 2, "random_state": 0}
    plain = SnapshotEnsembleClassifier(Mlp, **parameters)
    halved = SnapshotEnsembleClassifier(Mlp, net=Halved, **parameters).fit(X, y)
    expected = plain.fit(X / 2, y).predict_proba(X / 2)
    np.testing.assert_allclose(halved.predict_proba(X), expected, atol=1e-6)
    later = SnapshotEnsembleClassifier(Mlp, net=HalvedLater, **parameters).fit(X, y)
    expected = plain.fit(X, y).predict_proba(X / 2)
    np.testing.assert_allclose(later.predict_proba(X), expected, atol=1e-6)


def test_a_net_of_two_modules_is_refused(digits):
    class Two(NeuralNet):
        def initialize_module(self):
            super().initialize_module()
            self.head_ = nn.Linear(2, 2)
            return self

    with pytest.raises(ValueError, match=r"Got net=Two with the modules \['module', 'head'\]"):
        SnapshotEnsembleClassifier(Mlp, net=Two, max_epochs=1).fit(*digits)


def test_a_nets_own_hooks_of_batches_are_called(digits):
    class Counting(NeuralNet):
        def on_batch_begin(self, *args, **kwargs):
            super().on_batch_begin(*args, **kwargs)
            self.n_seen = getattr(self, "n_seen", 0) + 1

    model = SnapshotEnsembleClassifier(Mlp, net=Counting, max_epochs=1, random_state=0)
    assert model.fit(*digits).net_.n_seen == 19
    seen, callback = [], Callback()
    callback.on_batch_end = lambda net, **kwargs: seen.append(1)
    model.set_params(net=None, callbacks=[callback]).fit(*digits)
    assert len(seen) == 19


class OwnLoader(NeuralNet):
    def get_iterator(self, dataset, training=False):
        return torch.utils.data.DataLoader(dataset, batch_size=100)


class OwnLoss(NeuralNet):
    def get_loss(self, y_pred, y_true, X=None, training=False):
        return nn.functional.cross_entropy(y_pred, y_true)


class Heedless(nn.CrossEntropyLoss):
    def forward(self, y_pred, y_true):
        return nn.functional.cross_entropy(y_pred, y_true)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"net": OwnLoader}, "Got weights with net=OwnLoader, whose get_iterator"),
        ({"net": OwnLoss}, "Got weights with a net whose get_loss makes no use of criterion_"),
        ({"criterion": Heedless}, "Got weights with criterion=Heedless"),
        ({"net__iterator_train": BatchIterator}, "Got weights with net__iterator_train="),
    ],
)
def test_weights_are_never_dropped_in_silence(digits, parameters, message):
    """Rule 3."""
    X, y = digits
    if "net__iterator_train" in parameters:
        parameters = {
            "net__iterator_train": lambda dataset, batch_size: BatchIterator(dataset, batch_size)
        }
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=1, n_cycles=2, **parameters)
    model.fit(X, y)
    with pytest.raises(ValueError, match=message):
        model.fit(X, y, sample_weight=np.arange(len(y)))


def test_an_iterator_of_ones_own_keeps_to_the_budget(digits):
    """Promise 3: two and a half epochs are fifteen steps."""
    model = SnapshotEnsembleClassifier(Mlp, net=OwnLoader, n_cycles=2, max_epochs=5)
    model.partial_fit(*digits)
    assert sum(model.history_[:, "train_batch_count"]) == 15


# ------------------------------------------------------------------------- rule 7: Ctrl-C


@pytest.fixture(autouse=True)
def _python_handles_ctrl_c():
    """Where the tests are started in the background, SIGINT is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


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
            os.kill(os.getpid(), signal.SIGINT)


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
            os.kill(os.getpid(), signal.SIGINT)

    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, callbacks=[AtTheEnd()])
    with pytest.warns(RuntimeWarning, match="keeps the 8 of 8 cycles"):
        model.fit(*digits)
    assert model.n_cycles_ == 8


def test_ctrl_c_while_results_are_put_away_is_told(digits, monkeypatch):
    from skensemble import fitted

    def interrupted(states, **order):
        os.kill(os.getpid(), signal.SIGINT)
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


# ------------------------------------------------------------------------- divergence


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


# ------------------------------------------------------------------------- other parts


def test_lbfgs_records_the_loss_before_its_step(digits):
    """It calls its closure many times; skorch records the first loss, and so do we."""

    class Seen(Callback):
        def on_batch_end(self, net, batch=None, training=None, **kwargs):
            pass

    parameters = {"optimizer": torch.optim.LBFGS, "lr": 0.1, "max_epochs": 2, "n_cycles": 1}
    parameters |= {"module__dropout": 0.0, "batch_size": 600, "random_state": 0}
    lean = SnapshotEnsembleClassifier(Mlp, **parameters).fit(*digits)
    generic = SnapshotEnsembleClassifier(Mlp, callbacks=[Seen()], **parameters).fit(*digits)
    assert lean.history_[:, "train_loss"] == generic.history_[:, "train_loss"]
    assert same(lean.snapshots_, generic.snapshots_)


def test_sparse_gradients_take_no_fused_step():
    X = np.random.default_rng(0).integers(0, 9, (100, 3))
    module = nn.Sequential(nn.EmbeddingBag(9, 2, sparse=True))
    model = SnapshotEnsembleClassifier(module, optimizer=torch.optim.SGD, max_epochs=2)
    assert not model.fit(X, X[:, 0] > 4).net_.optimizer_.defaults["fused"]


def test_callbacks_that_know_each_other_still_do(digits, tmp_path):
    from skorch.callbacks import LoadInitState, TrainEndCheckpoint

    saver = TrainEndCheckpoint(dirname=str(tmp_path))
    model = SnapshotEnsembleClassifier(
        Mlp, max_epochs=1, n_cycles=1, callbacks=[saver, LoadInitState(saver)], random_state=0
    )
    one = model.fit(*digits).snapshots_
    two = model.fit(*digits).snapshots_  # from the weights of the first
    assert not same(one, two)


@pytest.mark.parametrize("kind", ["stopping", "checkpoint"])
def test_what_a_callback_loads_at_the_end_does_not_stay_in_the_net(digits, kind, tmp_path):
    callback = EarlyStopping("train_loss", patience=99, load_best=True, sink=lambda *args: None)
    if kind == "checkpoint":
        callback = Checkpoint("train_loss_best", dirname=str(tmp_path), load_best=True)
    model = SnapshotEnsembleClassifier(
        Mlp, max_epochs=8, n_cycles=3, lr=0.1, callbacks=[callback], random_state=0
    ).fit(*digits)
    assert same([model.net_.module_.state_dict()], model.snapshots_[-1:])
    assert model.n_iter_ == len(model.history_) == 8


# --------------------------------------------------------------------------------------


@pytest.mark.parametrize("restart", ["warm", "cold"])
def test_restarts(digits, restart):
    """Rule 10: a warm one keeps weights and optimizer, a cold one draws anew."""
    X, y = digits

    class Watch(Callback):
        def __init__(self, steps):
            self.steps = steps

        def on_batch_end(self, net, batch=None, training=None, **kwargs):
            state = net.optimizer_.state[next(iter(net.module_.parameters()))]
            self.steps.append(int(state["step"]))

    steps = []
    model = SnapshotEnsembleClassifier(
        Mlp,
        n_cycles=2,
        cycle_mult=1,
        max_epochs=2,
        restart=restart,
        callbacks=[Watch(steps)],
        random_state=0,
    ).fit(X, y)
    n = len(steps) // 2
    assert steps[n] == (n + 1 if restart == "warm" else 1)
    one, two = (s["hidden.weight"] for s in model.snapshots_)
    correlation = np.corrcoef(one.ravel(), two.ravel())[0, 1]
    assert (correlation > 0.8) if restart == "warm" else (abs(correlation) < 0.5)


def test_cold_restarts_of_an_instance_reset_its_parameters(digits):
    X, y = digits
    module = Mlp(64, 10)
    before = [p.clone() for p in module.parameters()]
    model = SnapshotEnsembleClassifier(
        module, n_cycles=2, max_epochs=2, restart="cold", random_state=0
    ).fit(X, y)
    one, two = (s["hidden.weight"] for s in model.snapshots_)
    assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.5
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))

    module.extra = nn.Module()
    module.extra.weight = nn.Parameter(torch.ones(1))
    with pytest.raises(ValueError, match=r"part 'extra' has parameters but no reset_parameters"):
        model.fit(X, y)


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
    np.testing.assert_allclose(rates[:, 1], 0.1 * fractions(len(rates), 2))


def test_an_iterator_of_skorchs_prefix_replaces_ours(digits):
    sizes = []

    class Watch(Callback):
        def on_batch_end(self, net, batch=None, training=None, **kwargs):
            sizes.append(len(batch[0]))

    X, y = digits
    model = SnapshotEnsembleClassifier(
        Mlp,
        n_cycles=2,
        max_epochs=1,
        callbacks=[Watch()],
        iterator_train__batch_size=250,
        random_state=0,
    )
    plain = model.fit(X, y).snapshots_
    assert sizes == [250, 250, 100]
    assert model.net_.criterion_.reduction == "mean"
    weighted = model.fit(X, y, sample_weight=np.arange(len(X)))
    assert not same(weighted.snapshots_, plain)
    assert weighted.net_.criterion_.weight is None
    in_order = model.set_params(iterator_train__shuffle=False).fit(X, y).snapshots_
    assert not same(in_order, plain)


def test_verbose_prints_a_line_a_cycle_and_silence_is_silent(digits, capfd):
    model = SnapshotEnsembleClassifier(Mlp, n_cycles=3, max_epochs=3, random_state=0)
    model.fit(*digits)
    assert capfd.readouterr() == ("", "")
    model.set_params(verbose=1).fit(*digits)
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert len(lines) == 3
    for cycle, line in enumerate(lines, 1):
        assert line.startswith(f"cycle {cycle}/3  epochs")
        assert all(word in line for word in ("lr", "loss", " s"))
    assert "epoch" in err
    model.partial_fit(*digits)
    assert capfd.readouterr().out.startswith("cycle 4/4  epochs")
