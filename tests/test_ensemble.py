"""From X and y to fitted members: the promises of the ensemble."""

import copy
import pickle
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import Mlp, Normalised
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score
from skorch.callbacks import Callback
from torch import nn

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor, learning_rates
from skensemble._data.encoder import TableEncoder


def states_equal(one, other):
    return len(one) == len(other) and all(
        torch.equal(a[name], b[name]) for a, b in zip(one, other, strict=True) for name in a
    )


def outputs_of_snapshots(model, rows):
    """What fresh modules say that are each loaded with one snapshot, in float64."""
    outputs = []
    for snapshot in model.snapshots_:
        fresh = copy.deepcopy(model.net_.module_)
        fresh.load_state_dict(snapshot)
        fresh.eval()
        with torch.no_grad():
            outputs.append(fresh(rows).double())
    return outputs


# ------------------------------------------------------------------ promise 2: the average


@pytest.mark.parametrize("members", ["all", 2])
@pytest.mark.parametrize("module", [Mlp, Normalised])
def test_the_average_is_the_average(digits, module, members):
    X, y = digits
    model = SnapshotEnsembleClassifier(module, n_cycles=4, max_epochs=4, members=members).fit(X, y)
    probabilities = []
    for snapshot in model.snapshots_:
        fresh = module(64, 10)
        fresh.load_state_dict(snapshot)
        fresh.eval()
        with torch.no_grad():
            scores = fresh(torch.from_numpy(X).float())
        probabilities.append(torch.softmax(scores.double(), dim=1).numpy())
    np.testing.assert_allclose(model.predict_members(X), probabilities, atol=1e-6)
    for stage, got in enumerate(model.staged_predict_proba(X), 1):
        last = probabilities[:stage] if members == "all" else probabilities[:stage][-members:]
        np.testing.assert_allclose(got, np.mean(last, axis=0), atol=1e-6)
    np.testing.assert_array_equal(got, model.predict_proba(X))
    np.testing.assert_allclose(
        model.predict_proba(X),
        np.average(probabilities, axis=0, weights=model.member_weights_),
        atol=1e-6,
    )
    assert model.predict_proba(X).dtype == np.float64
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1, rtol=1e-15)


def test_the_average_of_regression_is_of_outputs_scaled_back(diabetes):
    X, y = diabetes
    model = SnapshotEnsembleRegressor(
        module__hidden=(16,), n_cycles=3, max_epochs=3, n_chains=2, members="all"
    ).fit(X, y)
    Z = torch.from_numpy(TableEncoder().fit(X).transform(X, np.float32))
    outputs = [
        output[:, 0].numpy() * y.std() + y.mean() for output in outputs_of_snapshots(model, Z)
    ]
    np.testing.assert_allclose(model.predict_members(X), outputs, rtol=1e-5)
    stages = list(model.staged_predict(X))
    for stage, got in enumerate(stages, 1):
        np.testing.assert_allclose(got, np.mean(outputs[: 2 * stage], axis=0), rtol=1e-5)
    np.testing.assert_array_equal(stages[-1], model.predict(X))


def test_chunks_change_no_prediction(monkeypatch, digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, n_cycles=3).fit(X, y)
    whole = model.predict_proba(X)
    monkeypatch.setattr("skensemble._nets.inference.CHUNK", 70)
    np.testing.assert_allclose(model.predict_proba(X), whole, atol=1e-6)


class Kept(nn.Module):
    """Recurrent layers keep their tensors in a second place, and some modules their last batch."""

    def __init__(self, n_outputs):
        super().__init__()
        self.layer = nn.GRU(8, 6, batch_first=True)
        self.output = nn.Linear(6, n_outputs)

    def forward(self, X):
        self.last = X.reshape(len(X), 8, 8)
        return self.output(self.layer(self.last)[0][:, -1])


@pytest.mark.parametrize("module", [Kept, None])
def test_members_are_their_snapshots_whatever_way_they_predict(digits, module):
    """Through copies of a module that holds tensors twice, and through batched products."""
    X, y = digits
    model = SnapshotEnsembleClassifier(module, n_cycles=3, max_epochs=3, members=2).fit(X, y)
    scores = outputs_of_snapshots(model, model._fitted_.intake.tensor(X))
    expected = [torch.softmax(output, dim=1).numpy() for output in scores]
    # Scores are sums of hundreds of float32 pieces, each in another order.
    np.testing.assert_allclose(model.predict_members(X), expected, atol=3e-6)
    last = expected[-2 * model.n_chains_ :]
    np.testing.assert_allclose(model.predict_proba(X), np.mean(last, axis=0), atol=1e-6)


class Residual(nn.Sequential):
    """Activations whose input is read again, or kept by a hook."""

    def __init__(self, n_inputs, n_outputs):
        act = nn.ReLU()
        super().__init__(
            nn.Linear(n_inputs, 16), act, Skip(16), nn.Linear(16, 16), nn.Mish(),
            nn.Dropout(0.5), act, nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, n_outputs),
        )  # fmt: skip
        self[7].register_forward_hook(_doubled)


class Skip(nn.Module):
    def __init__(self, n_units):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_units, n_units), nn.SiLU())

    def forward(self, X):
        h = self.layers[0](X)
        return self.layers(X) + h + self.layers[1](h)


def _doubled(module, args, output):
    return 2 * output


def test_activations_in_place_change_no_member(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(Residual, n_cycles=2, max_epochs=2, random_state=0)
    model.fit(X, y)
    outputs = outputs_of_snapshots(model, torch.from_numpy(X).float())
    expected = [torch.softmax(output, dim=1).numpy() for output in outputs]
    np.testing.assert_allclose(model.predict_members(X), expected, atol=1e-6)
    assert model.net_.module_[1].inplace is False


def test_threads_may_predict_at_once(digits):
    X, y = digits
    for module in (Mlp, Kept, None):
        model = SnapshotEnsembleClassifier(module, n_cycles=3, max_epochs=2).fit(X, y)
        expected = model.predict_proba(X)
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(model.predict_proba, [X] * 8))
        for result in results:
            np.testing.assert_allclose(result, expected, atol=1e-6)


def test_dropout_is_off_at_prediction(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, module__dropout=0.9, max_epochs=1).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(X))


def test_batch_norm_with_one_row_more_than_a_batch(digits):
    """Rule 4; buffers are in the snapshot."""
    X, y = digits
    model = SnapshotEnsembleClassifier(
        Normalised, batch_size=299, max_epochs=40, n_cycles=2, lr=0.02, random_state=0
    ).fit(X[:300], y[:300])
    assert model.score(X[300:], y[300:]) > 0.8
    one, two = model.snapshots_
    assert not torch.equal(one["norm.running_mean"], two["norm.running_mean"])
    assert int(two["norm.num_batches_tracked"]) == 2 * 40


# ------------------------------------------------------------------ promise 3: the budget


class CountSteps(Callback):
    def __init__(self, sizes):
        self.sizes = sizes

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        self.sizes.append(len(batch[0]))


@given(
    n=st.integers(33, 150),
    batch_size=st.integers(1, 160),
    epochs=st.integers(1, 3),
    n_cycles=st.integers(1, 40),
    cycle_mult=st.sampled_from([0.5, 1.0, 1.5, 3.0]),
)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_budget_is_exact(n, batch_size, epochs, n_cycles, cycle_mult):
    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(150)[:n]
    sizes = []
    model = SnapshotEnsembleClassifier(
        nn.Linear(4, 3),
        n_cycles=n_cycles,
        cycle_mult=cycle_mult,
        max_epochs=epochs,
        batch_size=batch_size,
        callbacks=[CountSteps(sizes)],
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # cycles that are clipped
        model.fit(X[order], y[order])
    n_steps = epochs * -(-n // batch_size)
    assert len(sizes) == n_steps
    assert sum(sizes) == n * epochs
    assert max(sizes) - min(sizes) <= 1
    assert len(model.snapshots_) == model.n_cycles_ == min(n_cycles, n_steps)
    assert model.n_iter_ == epochs


def test_more_cycles_than_steps_are_clipped_with_a_warning(iris):
    """Rule 11."""
    model = SnapshotEnsembleClassifier(
        n_cycles=9, max_epochs=2, batch_size=150, members=50, n_chains=1
    )
    with pytest.warns(UserWarning, match="Got n_cycles=9 for 2 steps"):
        model.fit(*iris)
    assert model.n_cycles_ == 2
    np.testing.assert_array_equal(model.member_weights_, [0.5, 0.5])


def test_rates_of_a_run_are_those_told_without_training(digits):
    rates = []

    class Watch(Callback):
        def on_batch_begin(self, net, batch=None, training=None, **kwargs):
            rates.append(net.optimizer_.param_groups[0]["lr"])

    SnapshotEnsembleClassifier(
        Mlp,
        n_cycles=3,
        cycle_mult=2.0,
        max_epochs=3,
        lr=0.1,
        schedule="triangular2",
        schedule__min_lr=0.01,
        schedule__burn_in_epochs=1,
        callbacks=[Watch()],
    ).fit(*digits)
    expected = learning_rates(
        57,
        lr=0.1,
        n_cycles=3,
        cycle_mult=2.0,
        schedule="triangular2",
        min_lr=0.01,
        burn_in_steps=19,
    )
    np.testing.assert_allclose(rates, expected, rtol=1e-12)


# --------------------------------------------------------- promise 4: snapshots never change


def test_partial_fit_and_warm_start_add_cycles_and_touch_none(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, n_cycles=4, max_epochs=6, random_state=0).fit(X, y)
    first = model.snapshots_
    model.partial_fit(X, y)
    assert (model.n_cycles_, len(model.snapshots_)) == (5, 5)
    model.set_params(warm_start=True).fit(X, y)
    assert (model.n_cycles_, len(model.snapshots_)) == (9, 9)
    assert states_equal(first, model.snapshots_[:4])
    np.testing.assert_allclose(model.member_weights_, np.full(9, 1 / 9))
    model.set_params(warm_start=False).fit(X, y)
    assert states_equal(first, model.snapshots_)


def test_partial_fit_is_one_cycle_of_its_share_of_the_budget(digits):
    X, y = digits
    sizes = []
    model = SnapshotEnsembleClassifier(
        Mlp, n_cycles=4, max_epochs=6, batch_size=100, callbacks=[CountSteps(sizes)]
    )
    model.partial_fit(X[:300], y[:300], classes=np.arange(12))
    assert model.predict_proba(X).shape == (600, 12)
    assert len(sizes) == round(6 * 3 / 4)
    model.partial_fit(X, y)
    assert len(sizes) == round(6 * 3 / 4) + 9
    with pytest.raises(ValueError, match=r"Got y with the classes \[99\]"):
        model.partial_fit(X, np.where(y == 0, 99, y))
    with pytest.raises(ValueError, match="class_weight='balanced' with partial_fit"):
        model.set_params(class_weight="balanced").partial_fit(X, y)
    assert model.n_cycles_ == 2


def test_partial_fit_goes_on_after_unpickling(digits):
    """Rule 12: the net and its optimizer are in the pickle."""
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, n_cycles=2, max_epochs=2, random_state=0).fit(X, y)
    for other in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        np.testing.assert_array_equal(other.predict_proba(X), model.predict_proba(X))
        assert other.history_[:, "train_loss"] == model.history_[:, "train_loss"]
        other.partial_fit(X, y)
        again = copy.deepcopy(model).partial_fit(X, y)
        assert states_equal(other.snapshots_, again.snapshots_)


def test_fit_then_partial_fit_is_one_run_of_equal_cycles(digits):
    """With rates that are the same in both, the generators and the optimizer go on."""
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, cycle_mult=1, random_state=0)
    one = clone(model).set_params(n_cycles=2, max_epochs=4).fit(X, y).partial_fit(X, y)
    two = clone(model).set_params(n_cycles=3, max_epochs=6).fit(X, y)
    assert states_equal(one.snapshots_, two.snapshots_)


@pytest.mark.parametrize("schedule", ["triangular2", "exp_range"])
def test_the_schedule_goes_on_where_the_run_goes_on(digits, schedule):
    """Burn-in is no part of it and comes once."""
    X, y = digits
    rates = []

    class Watch(Callback):
        def on_batch_begin(self, net, batch=None, training=None, **kwargs):
            rates.append(net.optimizer_.param_groups[0]["lr"])

    model = SnapshotEnsembleClassifier(
        Mlp,
        n_cycles=2,
        cycle_mult=1.0,
        max_epochs=4,
        batch_size=100,
        schedule=schedule,
        lr=0.008,
        schedule__gamma=0.9,
        schedule__burn_in_epochs=1,
        callbacks=[Watch()],
    )
    model.fit(X, y).partial_fit(X, y)
    steps, options = 6, {"lr": 0.008, "schedule": schedule, "gamma": 0.9}
    first = learning_rates(4 * steps, n_cycles=2, burn_in_steps=steps, **options)
    np.testing.assert_allclose(rates[: 4 * steps], first, rtol=1e-12)
    # the third cycle: two epochs long, after two of one and a half
    if schedule == "triangular2":
        length = 2 * steps
        triangle = 1 - np.abs(2 * (np.arange(length) + 0.5) / length - 1)
        expected = 0.008 * triangle / 4
    else:
        length = 2 * steps
        triangle = 1 - np.abs(2 * (np.arange(length) + 0.5) / length - 1)
        expected = 0.008 * triangle * 0.9 ** (3 * steps + np.arange(length))
    np.testing.assert_allclose(rates[4 * steps :], expected, rtol=1e-12)


def test_what_a_net_is_made_of_cannot_change_while_it_goes_on(digits):
    model = SnapshotEnsembleClassifier(Mlp, module__n_hidden=8, max_epochs=2, n_cycles=2)
    model.fit(*digits)
    for name, value in [
        ("module", Normalised),
        ("module__n_hidden", 9),
        ("optimizer", torch.optim.SGD),
        ("optimizer__weight_decay", 0.5),
        ("criterion", nn.MultiMarginLoss),
    ]:
        with pytest.raises(ValueError, match=rf"Got {name}=.* for an ensemble that goes on"):
            copy.deepcopy(model).set_params(**{name: value}).partial_fit(*digits)
    model.set_params(schedule="triangular", batch_size=50, members=1, max_epochs=4)
    assert copy.deepcopy(model).partial_fit(*digits).n_cycles_ == 3


def test_optimizer_lr_counts_before_lr(digits):
    rates = []

    class Watch(Callback):
        def on_batch_begin(self, net, batch=None, training=None, **kwargs):
            rates.append(net.optimizer_.param_groups[0]["lr"])

    model = SnapshotEnsembleClassifier(
        Mlp, max_epochs=1, n_cycles=1, optimizer__lr=0.1, callbacks=[Watch()]
    ).fit(*digits)
    model.set_params(lr=0.5).partial_fit(*digits)
    assert max(rates) == 0.1
    model.set_params(optimizer__lr=0.2).partial_fit(*digits)
    assert max(rates) == 0.2


def test_cold_restarts_draw_anew_between_calls_too(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, restart="cold", lr=1e-9, max_epochs=1, n_cycles=1)
    model.fit(X, y).partial_fit(X, y)
    model.set_params(warm_start=True).fit(X, y)
    one, two, three = (s["hidden.weight"] for s in model.snapshots_)
    assert (one - two).abs().max() > 0.01
    assert (two - three).abs().max() > 0.01


def test_instances_among_the_modules_arguments_are_copied(digits):
    """They are trained as the rest; a refit starts from them, a cold restart resets them."""
    X, y = digits

    class Headed(nn.Module):
        def __init__(self, backbone, n_outputs):
            super().__init__()
            self.backbone, self.head = backbone, nn.Linear(8, n_outputs)

        def forward(self, X):
            return self.head(self.backbone(X))

    backbone = nn.Linear(64, 8)
    before = backbone.weight.clone()
    model = SnapshotEnsembleClassifier(
        Headed, module__backbone=backbone, max_epochs=2, n_cycles=2, random_state=0
    )
    one, two = model.fit(X, y).snapshots_, model.fit(X, y).snapshots_
    assert states_equal(one, two)
    assert torch.equal(backbone.weight, before)
    assert not torch.equal(one[0]["backbone.weight"], before)
    cold = model.set_params(restart="cold", lr=1e-9).fit(X, y).snapshots_
    assert (cold[0]["backbone.weight"] - cold[1]["backbone.weight"]).abs().max() > 0.01


def test_buffers_that_are_not_persistent_belong_to_a_snapshot_too(digits):
    X, y = digits

    class Centred(nn.Linear):
        def __init__(self, n_inputs, n_outputs):
            super().__init__(n_inputs, n_outputs)
            self.register_buffer("mean", torch.zeros(n_inputs), persistent=False)

        def forward(self, X):
            if self.training:
                self.mean += 1
            return super().forward(X - self.mean)

    model = SnapshotEnsembleClassifier(Centred, max_epochs=2, n_cycles=2, lr=1e-9, random_state=0)
    one, two = model.fit(X, y).predict_members(X)
    assert np.abs(one - two).max() > 0.01
    fresh = Centred(64, 10)
    fresh.load_state_dict(model.snapshots_[0])


def test_a_pickle_does_not_grow_with_the_rows(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, random_state=0)
    small = len(pickle.dumps(model.fit(X[:100], y[:100])))
    large = len(pickle.dumps(model.fit(np.repeat(X, 5, axis=0), np.repeat(y, 5))))
    assert large < small + 200


def test_lr_of_now_is_used_when_going_on(digits):
    rates = []

    class Watch(Callback):
        def on_batch_begin(self, net, batch=None, training=None, **kwargs):
            rates.append(net.optimizer_.param_groups[0]["lr"])

    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, lr=0.01, callbacks=[Watch()])
    model.fit(*digits)
    rates.clear()
    model.set_params(lr=0.02).partial_fit(*digits)
    assert max(rates) == pytest.approx(0.02)


# ------------------------------------------------------------------ promise 5: same bits


SCRIPT = """
import hashlib, torch
from sklearn.datasets import load_digits
from skensemble import SnapshotEnsembleClassifier
X, y = load_digits(return_X_y=True)
model = SnapshotEnsembleClassifier(module__dropout=0.3, max_epochs=2, random_state=5)
print(hashlib.sha256(model.fit(X[:600], y[:600]).predict_proba(X).tobytes()).hexdigest())
"""


def test_same_seed_same_bits_in_another_process(digits):
    import hashlib

    from sklearn.datasets import load_digits

    X, _ = load_digits(return_X_y=True)
    model = SnapshotEnsembleClassifier(module__dropout=0.3, max_epochs=2, random_state=5)
    here = hashlib.sha256(model.fit(*digits).predict_proba(X).tobytes()).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == here


@pytest.mark.filterwarnings("default")  # joblib's workers
def test_same_seed_same_scores_with_two_jobs(digits):
    model = SnapshotEnsembleClassifier(
        module__dropout=0.3, max_epochs=3, random_state=5, module__hidden=(32,)
    )
    one = cross_val_score(model, *digits, cv=3, scoring="neg_log_loss", n_jobs=1)
    two = cross_val_score(model, *digits, cv=3, scoring="neg_log_loss", n_jobs=2)
    np.testing.assert_array_equal(one, two)


def test_fits_in_threads_take_turns(digits):
    """Rule 9."""
    X, y = digits
    models = [SnapshotEnsembleClassifier(Mlp, max_epochs=3, random_state=seed) for seed in range(4)]
    threads = [threading.Thread(target=model.fit, args=(X, y)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, model in enumerate(models):
        alone = SnapshotEnsembleClassifier(Mlp, max_epochs=3, random_state=seed).fit(X, y)
        assert states_equal(model.snapshots_, alone.snapshots_)


@pytest.mark.parametrize("failing", [False, True])
def test_global_generators_are_left_as_found(digits, failing):
    X, y = digits
    module = nn.Linear(3, 3) if failing else Mlp
    model = SnapshotEnsembleClassifier(module, max_epochs=1, random_state=0)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    if failing:
        with pytest.raises(ValueError, match="a batch of shape"):
            model.fit(X, y)
    else:
        model.fit(X, y).predict(X)
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)


def test_numpys_generator_is_forked_as_torchs(digits):
    class Drawn(nn.Linear):
        def __init__(self, n_inputs, n_outputs):
            super().__init__(n_inputs, n_outputs)
            with torch.no_grad():
                self.weight.copy_(torch.from_numpy(np.random.normal(size=self.weight.shape)))

    model = SnapshotEnsembleClassifier(Drawn, max_epochs=1, random_state=0)
    before = np.random.get_state()[1].copy()
    one, two = model.fit(*digits).snapshots_, model.fit(*digits).snapshots_
    assert states_equal(one, two)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    model.set_params(random_state=None)
    assert not states_equal(model.fit(*digits).snapshots_, model.fit(*digits).snapshots_)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_fit_within_one_of_torchs_modes(digits, mode):
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, random_state=0)
    expected = model.fit(*digits).snapshots_
    with mode():
        assert states_equal(model.fit(*digits).snapshots_, expected)


def test_a_probe_moves_no_generator_and_no_buffer(digits):
    class Restless(Normalised):
        def forward(self, X):
            return super().forward(X) + torch.rand(1) * 0

    model = SnapshotEnsembleClassifier(Restless, n_cycles=1, max_epochs=1).fit(*digits)
    module = model.net_.module_.train()
    before, state = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    model.net_.probe(torch.ones(8, 64))
    assert states_equal([before], [module.state_dict()])
    assert torch.equal(torch.get_rng_state(), state)
    assert module.training


def test_predict_writes_nothing(iris):
    """Rule 9."""
    X, y = iris
    model = SnapshotEnsembleClassifier(max_epochs=2).fit(X, y)
    before = {name: id(value) for name, value in vars(model).items()}
    payload = pickle.dumps(model)
    model.predict(X)
    list(model.staged_predict_proba(X))
    assert {name: id(value) for name, value in vars(model).items()} == before
    assert pickle.dumps(model) == payload


def test_a_generator_object_is_drawn_from(iris):
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, random_state=np.random.RandomState(0))
    one, two = model.fit(*iris).snapshots_, model.fit(*iris).snapshots_
    assert not states_equal(one, two)


def test_read_only_input_is_left_alone(digits):
    """Rule 9."""
    X = digits[0].astype(np.float32)
    before = X.copy()
    X.flags.writeable = False
    SnapshotEnsembleClassifier(Mlp, max_epochs=1).fit(X, digits[1]).predict(X)
    np.testing.assert_array_equal(X, before)


def test_the_import_brings_nothing_that_is_optional():
    script = (
        "import sys, skorch\n"  # which brings pandas itself, where that is installed
        "before = set(sys.modules)\n"
        "import skensemble\n"
        "heavy = {'matplotlib', 'sphinx', 'pandas', 'polars', 'dask', 'distributed'}\n"
        "print(sorted(heavy & set(sys.modules) - before))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


# ------------------------------------------------------------------ rules 1 and 3: weights


def test_the_small_regime_is_float64_without_dropout(iris):
    """Rule 1."""
    X, y = iris
    order = np.random.default_rng(0).permutation(150)
    small = SnapshotEnsembleClassifier(module__dropout=0.5, random_state=0)
    assert (
        small.fit(X[order[:32]], y[order[:32]]).net_.module_.layers[0].weight.dtype == torch.float64
    )
    assert all(part.p == 0 for part in small.net_.module_.layers if isinstance(part, nn.Dropout))
    assert (
        small.fit(X[order[:33]], y[order[:33]]).net_.module_.layers[0].weight.dtype == torch.float32
    )
    batches = small.set_params(batch_size=8).fit(X[order[:32]], y[order[:32]])
    assert batches.net_.module_.layers[0].weight.dtype == torch.float32


def test_auto_is_the_same_for_every_small_n(iris):
    """Rule 1."""
    X, y = iris
    order = np.random.default_rng(0).permutation(150)
    n_iter = set()
    for n in (5, 12, 31, 32):
        model = SnapshotEnsembleClassifier(module__hidden=(4,), random_state=0)
        model.fit(X[order[:n]], y[order[:n]])
        n_iter.add((model.n_iter_, len(model.net_.get_iterator(range(n)))))
        assert sum(model.history_[:, "train_batch_count"]) == model.n_iter_
    assert len(n_iter) == 1


def test_weights_are_repeats_in_the_small_regime(diabetes):
    X, y = diabetes
    X, y = X[:12], y[:12]
    weight = np.array([0, 1, 2, 3] * 3)
    model = SnapshotEnsembleRegressor(random_state=0)
    weighted = model.fit(X, y, sample_weight=weight).predict(X)
    repeated = model.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight)).predict(X)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-7)


@pytest.mark.parametrize("rows", [20, 150])
def test_weights_of_one_change_no_bit(iris, rows):
    """Rule 3."""
    X, y = iris
    order = np.random.default_rng(0).permutation(150)[:rows]
    model = SnapshotEnsembleClassifier(max_epochs=5, n_cycles=5, random_state=0)
    plain = model.fit(X[order], y[order]).predict_proba(X)
    for value in (1.0, 3.0, 1 / 49):  # AdaBoost's sum to 1
        weighted = model.fit(X[order], y[order], sample_weight=np.full(rows, value))
        np.testing.assert_array_equal(weighted.predict_proba(X), plain)


def test_the_weighted_loss_is_the_mean_of_w_times_l(digits):
    """Rule 3, against one step of plain torch; a batch that weighs nothing takes no step."""
    X, y = digits
    weight = np.random.default_rng(0).random(len(X))
    module = nn.Linear(64, 10)
    model = SnapshotEnsembleClassifier(
        module, n_cycles=1, max_epochs=1, batch_size=600, optimizer=torch.optim.SGD, lr=0.1
    ).fit(X, y, sample_weight=weight)
    scores = module(torch.from_numpy(X).float())
    loss = nn.functional.cross_entropy(scores, torch.from_numpy(y), reduction="none")
    (loss * torch.from_numpy(weight / weight.mean()).float()).mean().backward()
    expected = module.weight - 0.1 * module.weight.grad
    torch.testing.assert_close(model.snapshots_[0]["weight"], expected.detach())

    model.set_params(criterion=nn.CrossEntropyLoss(reduction="sum"), lr=1e-3)
    model.fit(X, y, sample_weight=weight)
    expected = module.weight.detach() - 1e-3 * len(X) * module.weight.grad
    torch.testing.assert_close(model.snapshots_[0]["weight"], expected)
    model.set_params(criterion=None, lr=0.1)

    zero = np.zeros(len(X))
    zero[:2] = 1.0
    model.set_params(batch_size=100, callbacks=None).fit(X, y, sample_weight=zero)
    assert np.isfinite(model.predict_proba(X)).all()


def test_weights_of_extreme_size_are_weights(digits):
    X, y = digits
    weight = 1.0 + np.arange(len(y)) % 3
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, random_state=0)
    expected = model.fit(X, y, sample_weight=weight).predict_proba(X)
    huge = model.fit(X, y, sample_weight=weight * 2.0**1020).predict_proba(X)
    np.testing.assert_allclose(huge, expected, rtol=1e-6)


def test_rows_without_weights_after_rows_with_them_train_on_the_criterion_itself(digits):
    """A mean over class weights is no mean of w * l."""
    X, y = digits
    model = SnapshotEnsembleClassifier(
        Mlp,
        criterion__weight=torch.arange(1.0, 11.0),
        n_cycles=1,
        max_epochs=1,
        batch_size=600,
        module__dropout=0.0,
        random_state=0,
    )
    model.fit(X, y, sample_weight=np.arange(len(y)))
    module = model.net_.module_
    with torch.no_grad():
        scores = module(torch.from_numpy(X).float())
    expected = nn.functional.cross_entropy(
        scores, torch.from_numpy(y), weight=torch.arange(1.0, 11.0)
    )
    model.partial_fit(X, y)
    assert model.history_[-1, "train_loss"] == pytest.approx(float(expected), rel=1e-5)


# ------------------------------------------------------------------ threads


def test_a_small_fit_leaves_the_number_of_threads_as_it_was(iris):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    seen = []

    class Watch(Callback):
        def on_epoch_end(self, net, **kwargs):
            seen.append(torch.get_num_threads())

    try:
        SnapshotEnsembleClassifier(max_epochs=1, n_cycles=4, callbacks=[Watch()]).fit(*iris)
        assert (seen, torch.get_num_threads()) == ([1], 2)
    finally:
        torch.set_num_threads(before)
