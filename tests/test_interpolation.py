"""The loss along lines between snapshots, against modules of plain torch."""

import copy

import numpy as np
import pytest
import torch
from conftest import QUICK, Mlp, Normalised, Recurrent
from sklearn.metrics import log_loss, mean_squared_error, zero_one_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.optim.swa_utils import update_bn

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble.display import InterpolationDisplay

POINTS = np.linspace(0, 1, 5)


def mixed(one, other, t):
    """The state dict at a point of a line."""
    return {
        name: (1 - t) * tensor + t * other[name] if tensor.is_floating_point() else tensor
        for name, tensor in one.items()
    }


def probabilities(model, state, X, train=None):
    """What a module says that is loaded with a state, statistics anew if there are rows for it."""
    module = copy.deepcopy(model.net_.module_)
    module.load_state_dict(state)
    if train is not None:
        update_bn([torch.tensor(train, dtype=torch.float32)], module)
    with torch.no_grad():
        outputs = module.eval()(torch.tensor(X, dtype=torch.float32))
    return torch.softmax(outputs.double(), dim=1).numpy()


@pytest.mark.parametrize("module", [Mlp, Recurrent])
def test_the_loss_along_a_line_is_that_of_plain_modules(digits, module):
    X, y = digits
    model = SnapshotEnsembleClassifier(
        module, n_chains=2, n_cycles=3, max_epochs=3, random_state=0
    ).fit(X[:300], y[:300])
    display = InterpolationDisplay.from_estimator(model, X[300:], y[300:], n_points=5)
    snapshots = model.snapshots_
    assert display.labels == ["0 to 4", "2 to 4"]  # of the first chain
    for line, first in zip(display.lines_, (0, 2), strict=True):
        expected = [
            log_loss(
                y[300:], probabilities(model, mixed(snapshots[first], snapshots[4], t), X[300:])
            )
            for t in POINTS
        ]
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-5)
        np.testing.assert_allclose(line.get_xdata(), POINTS)


def test_ends_are_the_snapshots_of_the_built_in_network(cancer):
    X, y = cancer
    model = make_pipeline(
        StandardScaler(), SnapshotEnsembleClassifier(n_chains=3, early_stopping=False, **QUICK)
    ).fit(X, y)
    display = InterpolationDisplay.from_estimator(model, X, y, pairs=[(-1, 0), (2, 4)])
    members = model[-1].predict_members(model[0].transform(X))
    for (first, last), losses in zip([(5, 0), (2, 4)], display.losses, strict=True):
        assert losses[0] == pytest.approx(log_loss(y, members[first]), rel=1e-6)
        assert losses[-1] == pytest.approx(log_loss(y, members[last]), rel=1e-6)
    assert display.losses.shape == (2, 21)
    assert display.ax_.get_ylabel() == "Log loss"


def test_values_are_in_their_own_units(diabetes):
    X, y = diabetes
    model = SnapshotEnsembleRegressor(n_chains=2, early_stopping=False, **QUICK).fit(X, y)
    display = InterpolationDisplay.from_estimator(model, X, y)
    members = model.predict_members(X)
    assert display.losses[0, 0] == pytest.approx(mean_squared_error(y, members[0]))
    assert display.losses[0, -1] == pytest.approx(mean_squared_error(y, members[2]))
    assert display.ax_.get_ylabel() == "Mean squared error"


def test_a_metric_of_the_users_is_drawn(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, **QUICK).fit(X, y)

    def error(y_true, p):
        return zero_one_loss(y_true, p.argmax(axis=1))

    display = InterpolationDisplay.from_estimator(model, X, y, metric=error, n_points=3)
    expected = error(y, model.predict_members(X)[0])
    assert display.losses[0, 0] == pytest.approx(expected)
    assert display.ax_.get_ylabel() == "Error"
    counts = SnapshotEnsembleRegressor(
        lambda n_inputs: nn.Linear(n_inputs, 1), criterion=nn.PoissonNLLLoss, **QUICK
    ).fit(X, y)
    with pytest.raises(ValueError, match="outputs are not on the scale of y, but expected metric="):
        InterpolationDisplay.from_estimator(counts, X, y)
    display = InterpolationDisplay.from_estimator(counts, X, y, metric=mean_squared_error)
    expected = mean_squared_error(y, counts.predict_members(X)[0])
    assert display.losses[0, 0] == pytest.approx(expected)


def test_a_line_with_a_bend_is_a_polygonal_chain(digits):
    """Garipov et al. 2018, section 3.3, by their formula."""
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, n_cycles=3, max_epochs=3, random_state=0).fit(X, y)
    one, bend, other = model.snapshots_

    def path(t):
        def mix(a, b, c):
            if t <= 0.5:
                return 2 * (t * b + (0.5 - t) * a)
            return 2 * ((t - 0.5) * c + (1 - t) * b)

        return {name: mix(one[name], bend[name], other[name]) for name in one}

    expected = [log_loss(y, probabilities(model, path(t), X)) for t in POINTS]
    for given, label in ((1, "0 via 1 to 2"), (bend, "0 via the bend to 2")):
        display = InterpolationDisplay.from_estimator(
            model, X, y, pairs=[(0, 2)], bend=given, n_points=5
        )
        assert display.labels == ["0 to 2", label]
        np.testing.assert_allclose(display.losses[1], expected, rtol=1e-5)
        assert display.losses[0, 2] != pytest.approx(expected[2])


def test_statistics_of_batch_normalisation_are_computed_anew(digits):
    """By torch's update_bn; those of the ends do not belong to what lies between."""
    X, y = digits
    X = X / 16
    model = SnapshotEnsembleClassifier(
        Normalised, n_cycles=2, max_epochs=4, batch_size=400, random_state=0
    ).fit(X[:400], y[:400])
    one, other = model.snapshots_
    rest = X[400:], y[400:]
    display = InterpolationDisplay.from_estimator(model, *rest, X_train=X[:400], n_points=5)
    expected = [
        log_loss(rest[1], probabilities(model, mixed(one, other, t), rest[0], X[:400]))
        for t in POINTS
    ]
    np.testing.assert_allclose(display.losses[0], expected, rtol=1e-4)
    by_test = InterpolationDisplay.from_estimator(model, *rest, n_points=5)
    expected = [
        log_loss(rest[1], probabilities(model, mixed(one, other, t), rest[0], rest[0]))
        for t in POINTS
    ]
    np.testing.assert_allclose(by_test.losses[0], expected, rtol=1e-4)
    stale = [log_loss(rest[1], probabilities(model, mixed(one, other, t), rest[0])) for t in POINTS]
    assert np.abs(np.array(stale) / display.losses[0] - 1).max() > 1e-3


def test_the_estimator_stays_as_it_is(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(Normalised, **QUICK).fit(X, y)
    before, state = model.snapshots_, torch.get_rng_state()
    expected = model.predict_proba(X)
    first = InterpolationDisplay.from_estimator(model, X, y, n_points=3)
    again = InterpolationDisplay.from_estimator(model, X, y, n_points=3)
    np.testing.assert_array_equal(first.losses, again.losses)
    np.testing.assert_array_equal(model.predict_proba(X), expected)
    assert all(
        torch.equal(a[k], b[k]) for a, b in zip(before, model.snapshots_, strict=True) for k in a
    )
    assert torch.equal(state, torch.get_rng_state())


def test_chains_of_one_cycle_are_compared_with_the_first(iris):
    model = SnapshotEnsembleClassifier(n_chains=3, n_cycles=1, max_epochs=2).fit(*iris)
    display = InterpolationDisplay.from_estimator(model, *iris, n_points=3)
    assert display.labels == ["0 to 1", "0 to 2"]


def test_what_has_no_line_is_refused(iris):
    X, y = iris
    one = SnapshotEnsembleClassifier(Mlp, n_cycles=1, max_epochs=2, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="Got an ensemble of one snapshot, but expected at least"):
        InterpolationDisplay.from_estimator(one, X, y)
    model = SnapshotEnsembleClassifier(Mlp, **QUICK).fit(X, y)
    state = model.snapshots_[0]
    for given, said in (
        ({"pairs": [(0, 2)]}, "Got pairs with 2, but expected places in snapshots_, from -2 to 1"),
        ({"pairs": [(0, 1, 1)]}, r"Got pairs with \(0, 1, 1\), but expected two places"),
        ({"pairs": []}, r"Got pairs=\[\], but expected two places"),
        ({"bend": 5}, "Got bend with 5, but expected places in snapshots_"),
        ({"bend": {"other": state["hidden.weight"]}}, "Got bend=.*but expected a place in snap"),
        ({"bend": {"hidden.weight": torch.zeros(2)}}, "Got bend=.*but expected a place in snap"),
        ({"bend": "middle"}, "Got bend='middle', but expected a place in snapshots_, or a state"),
        ({"n_points": 2}, "Got n_points=2, but expected an integer of at least 3"),
    ):
        with pytest.raises(ValueError, match=said):
            InterpolationDisplay.from_estimator(model, X, y, **given)
    with pytest.raises(ValueError, match=r"Got losses of shape \(1, 2\), but expected"):
        InterpolationDisplay(positions=[0, 0.5, 1], losses=[[1, 2]]).plot()
