"""The learning-rate range test, against plain torch and by its promises."""

import copy
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Mlp, Recurrent
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, GradientNormClipping
from torch import nn

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._compat import sklearn_callback
from skensemble._nets.generators import chain_seed
from skensemble.callbacks import CycleLogger
from skensemble.model_selection import LRRange, lr_range_test
from skensemble.rate_range import smooth

#: All rows are one batch, so that the order of rows does not matter.
WHOLE = {"batch_size": 600, "validation": None, "random_state": 7}
RANGE = {"min_lr": 1e-3, "max_lr": 0.3, "n_steps": 25}

#: What is said of a range in which the loss still falls at the end, or falls nowhere.
TOLD = pytest.mark.filterwarnings("ignore:Got m.._lr")


def make_mlp(n_inputs, n_outputs):
    return Mlp(n_inputs, n_outputs, dropout=0)


def plain(X, y, make, chain=0, optimizer=torch.optim.SGD, weight=None, seed=7, **options):
    """The losses of a loop in plain torch, over rates that rise."""
    torch.manual_seed(chain_seed(seed, chain))
    module = make()
    steps = optimizer(module.parameters(), lr=1.0, **options)
    X, y = torch.tensor(X, dtype=torch.float32), torch.tensor(y)
    losses = []
    for lr in np.geomspace(1e-3, 0.3, 25):
        steps.param_groups[0]["lr"] = lr
        steps.zero_grad()
        by_row = nn.functional.cross_entropy(module(X), y, reduction="none")
        loss = by_row.mean() if weight is None else (by_row * torch.tensor(weight)).mean()
        loss.backward()
        steps.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    ("optimizer", "options"),
    [(torch.optim.SGD, {"momentum": 0.9}), (torch.optim.AdamW, {"weight_decay": 0.1})],
)
def test_the_losses_are_those_of_a_loop_in_plain_torch(digits, optimizer, options):
    X, y = digits
    given = {f"optimizer__{name}": value for name, value in options.items()}
    model = SnapshotEnsembleClassifier(make_mlp, optimizer=optimizer, **given, **WHOLE)
    found = lr_range_test(model, X, y, **RANGE)
    expected = plain(X, y, lambda: make_mlp(64, 10), optimizer=optimizer, **options)
    np.testing.assert_allclose(found.losses, expected, rtol=2e-4)
    np.testing.assert_array_equal(found.lrs, np.geomspace(1e-3, 0.3, 25))
    assert isinstance(found, LRRange)


@TOLD
@pytest.mark.parametrize(
    ("module", "make"),
    [(make_mlp, lambda: make_mlp(64, 10)), (Recurrent, lambda: Recurrent(10))],
    ids=["as one", "in turn"],
)
def test_the_loss_of_chains_is_the_mean_of_theirs(digits, module, make):
    X, y = digits
    model = SnapshotEnsembleClassifier(module, n_chains=3, optimizer="sgd", **WHOLE)
    found = lr_range_test(model, X, y, **RANGE)
    expected = np.mean([plain(X, y, make, chain) for chain in range(3)], axis=0)
    np.testing.assert_allclose(found.losses, expected, rtol=2e-4)


def test_weights_of_rows_count(digits):
    X, y = digits
    weight = np.random.default_rng(0).uniform(0, 3, len(y))
    model = SnapshotEnsembleClassifier(make_mlp, optimizer="sgd", **WHOLE)
    found = lr_range_test(model, X, y, sample_weight=weight, **RANGE)
    expected = plain(X, y, lambda: make_mlp(64, 10), weight=weight / weight.mean())
    np.testing.assert_allclose(found.losses, expected, rtol=2e-4)


class OwnLoop(NeuralNetClassifier):
    """A net with a step of its own: twice the loss."""

    def get_loss(self, y_pred, y_true, *args, **kwargs):
        return 2 * nn.functional.cross_entropy(y_pred, y_true)


def test_a_net_of_the_users_trains_by_its_own_steps(digits):
    X, y = digits
    base = {"optimizer": "sgd", "n_chains": 2, **WHOLE}
    rates = {**RANGE, "min_lr": 1e-3, "max_lr": 0.05}  # at which nothing grows, rounding included
    own = lr_range_test(SnapshotEnsembleClassifier(make_mlp, net=OwnLoop, **base), X, y, **rates)
    rates |= {"min_lr": 2e-3, "max_lr": 0.1}
    twice = lr_range_test(SnapshotEnsembleClassifier(make_mlp, **base), X, y, **rates)
    np.testing.assert_allclose(own.losses, 2 * twice.losses, rtol=1e-3)


def test_a_range_is_the_beginning_of_a_fit_but_for_its_rates(cancer):
    """The built-in network, its chains and their folds: the first loss is that of a fit."""
    noted = []

    class Note(Callback):
        def on_epoch_begin(self, net, **kwargs):
            net.session_.recorder.on_step = lambda loss: noted.append(float(loss))

    model = SnapshotEnsembleClassifier(n_chains=4, max_epochs=1, n_cycles=1, random_state=3)
    clone(model).set_params(callbacks=[Note()]).fit(*cancer)
    assert lr_range_test(model, *cancer, n_steps=5).losses[0] == noted[0]


@TOLD
@pytest.mark.parametrize("seed", [0, None, np.random.RandomState(5)])
def test_nothing_is_moved_and_two_calls_give_one_answer(digits, seed):
    X, y = digits
    callbacks = [GradientNormClipping(1.0)]
    model = SnapshotEnsembleClassifier(
        Mlp, random_state=seed, callbacks=callbacks, schedule="triangular2", schedule__min_lr=1e-4
    )
    before = joblib.hash(model), np.random.get_state()[1].copy(), torch.get_rng_state()
    first = lr_range_test(model, X, y, n_steps=20)
    after = joblib.hash(model), np.random.get_state()[1], torch.get_rng_state()
    assert before[0] == after[0]
    np.testing.assert_array_equal(before[1], after[1])
    assert torch.equal(before[2], after[2])
    assert not hasattr(model, "net_")
    np.random.random()
    torch.rand(1)
    again = lr_range_test(model, X, y, n_steps=20)
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_fitted_estimator_stays_as_it_is(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(make_mlp, max_epochs=2, n_cycles=2, random_state=0)
    model.fit(X, y)
    expected = model.predict_proba(X)
    lr_range_test(model.set_params(warm_start=True), X, y, n_steps=10)
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    assert model.n_cycles_ == 2


@pytest.mark.parametrize("module", [make_mlp, Recurrent])
def test_losses_that_are_not_finite_are_left_out_and_all_that_follow(digits, module):
    X, y = digits
    model = SnapshotEnsembleClassifier(module, n_chains=2, optimizer="sgd", **WHOLE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = lr_range_test(model, 100 * X, y, min_lr=1e-4, max_lr=1e60, n_steps=40)
    n = len(found.lrs)
    assert 5 <= n < 40
    assert len(found.losses) == len(found.smoothed) == n
    assert np.isfinite(found.losses).all()
    np.testing.assert_array_equal(found.lrs, np.geomspace(1e-4, 1e60, 40)[:n])


def test_the_average_is_that_of_pandas():
    losses = np.random.default_rng(0).normal(2, 1, 50)
    expected = pd.Series(losses).ewm(alpha=0.1, adjust=True).mean()
    np.testing.assert_allclose(smooth(losses), expected, rtol=1e-12)


def test_the_suggestion_follows_its_rule(digits):
    found = lr_range_test(SnapshotEnsembleClassifier(make_mlp, **WHOLE), *digits, n_steps=60)
    least = found.lrs[np.argmin(found.smoothed)]
    assert found.suggestion == pytest.approx(least / SHARE)
    assert found.lrs[0] < found.suggestion < found.lrs[-1]


SHARE = 10


def test_a_range_that_is_too_low_or_too_high_is_told(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(make_mlp, optimizer="sgd", **WHOLE)
    with pytest.warns(UserWarning, match="Got max_lr=0.001, but expected a rate at which"):
        found = lr_range_test(model, X, y, min_lr=1e-4, max_lr=1e-3, n_steps=30)
    assert found.suggestion == pytest.approx(max(1e-4, 1e-3 / SHARE))
    with pytest.warns(UserWarning, match="Got min_lr=10, but expected a range of rates in which"):
        found = lr_range_test(model, X, y, min_lr=10, max_lr=1e3, n_steps=10)
    assert np.isnan(found.suggestion)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"min_lr": 0}, "Got min_lr=0, but expected a number above 0."),
        ({"min_lr": True}, "Got min_lr=True, but expected a number above 0."),
        ({"max_lr": np.inf}, "Got max_lr=inf, but expected a number above 0."),
        ({"max_lr": "high"}, "Got max_lr='high', but expected a number above 0."),
        ({"max_lr": 1e-5}, "Got max_lr=1e-05, but expected a rate above min_lr=1e-05."),
        ({"n_steps": 4}, "Got n_steps=4, but expected an integer of at least 5."),
        ({"n_steps": 9.5}, "Got n_steps=9.5, but expected an integer of at least 5."),
    ],
)
def test_a_range_that_is_none_is_refused(iris, given, said):
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # the whole text
        lr_range_test(SnapshotEnsembleClassifier(), *iris, **given)
    assert str(caught.value) == said


def test_a_loss_that_is_never_finite_is_refused(digits):
    class Huge(nn.Module):
        def __init__(self, n_inputs, n_outputs):
            super().__init__()
            self.layer = nn.Linear(n_inputs, n_outputs)
            self.n_calls = 0

        def forward(self, X):
            self.n_calls += self.training
            return self.layer(X) * (float("inf") if self.n_calls > 2 else 1)

    model = SnapshotEnsembleClassifier(Huge, optimizer="sgd", **WHOLE)
    with pytest.raises(ValueError, match="stays finite for 5 steps: there were 2"):
        lr_range_test(model, *digits, n_steps=8)


def test_errors_of_a_fit_are_not_passed_over(digits):
    X, y = digits
    with pytest.raises(ValueError, match=r"inconsistent|rows"):
        lr_range_test(SnapshotEnsembleClassifier(), X, y[:-1])

    class Failing(Callback):
        def on_epoch_end(self, net, **kwargs):
            raise ValueError("no room on the disk")

    with pytest.raises(ValueError, match="no room on the disk"):
        lr_range_test(SnapshotEnsembleClassifier(callbacks=[Failing()]), X, y, n_steps=50)


@TOLD
def test_a_callback_that_ends_the_run_leaves_what_there_was(digits):
    class Ending(Callback):
        def __init__(self, after):
            self.after = after

        def on_epoch_end(self, net, **kwargs):
            if len(net.history) == self.after:
                raise KeyboardInterrupt

    model = SnapshotEnsembleClassifier(make_mlp, callbacks=[Ending(8)], **WHOLE)
    assert len(lr_range_test(model, *digits, n_steps=50).lrs) == 8
    model.set_params(callbacks=[Ending(4)])
    with pytest.raises(ValueError, match=r"Got callbacks=.* ended the run after 4 steps, but exp"):
        lr_range_test(model, *digits, n_steps=50)


@pytest.mark.skipif(sklearn_callback is None, reason="scikit-learn 1.9 calls callbacks")
def test_callbacks_of_scikit_learn_are_told_nothing(digits):
    told = []

    class Told(CycleLogger):
        def on_fit_task_begin(self, estimator, context):
            told.append(context)

    logger = Told(lambda metrics, step: None)
    model = SnapshotEnsembleClassifier(make_mlp, **WHOLE).set_callbacks(logger)
    lr_range_test(model, *digits, n_steps=60)
    assert not told
    model.set_params(max_epochs=2, n_cycles=1).fit(*digits)
    assert told


@TOLD
def test_values_pipelines_and_datasets_work(diabetes, tmp_path):
    X, y = diabetes
    no_folder = tmp_path / "file"
    no_folder.write_text("")
    model = SnapshotEnsembleRegressor(
        lambda n_inputs: nn.Linear(n_inputs, 1), checkpoint_dir=no_folder, time_limit=60, **WHOLE
    )
    within = lr_range_test(make_pipeline(StandardScaler(), model), X, y, n_steps=30)
    alone = lr_range_test(model, StandardScaler().fit_transform(X), y, n_steps=30)
    np.testing.assert_array_equal(within.losses, alone.losses)
    # The scaled target has variance 1, and the start is near 0.
    assert 0.5 < alone.losses[0] < 3

    rows = torch.tensor(X, dtype=torch.float32), torch.tensor(y, dtype=torch.float32)
    own = SnapshotEnsembleRegressor(nn.Linear(10, 1), random_state=0)
    found = lr_range_test(own, torch.utils.data.TensorDataset(*rows), n_steps=12)
    assert len(found.lrs) == 12


def test_the_suggestion_trains(cancer):
    """A fit at the suggested rate is better than one at both ends of the range."""
    X, y = cancer
    model = SnapshotEnsembleClassifier(n_chains=2, max_epochs=12, n_cycles=2, random_state=0)
    found = lr_range_test(model, X, y, n_steps=100)

    def score(lr):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return copy.deepcopy(model).set_params(lr=lr).fit(X, y).validation_score_

    assert score(found.suggestion) > max(score(1e-5), score(1.0))
