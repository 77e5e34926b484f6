"""From X and y to fitted members, in one call and in the next."""

import numpy as np
import pytest
import torch
from conftest import QUICK, Mlp
from conftest import same as states_equal
from sklearn.base import clone
from sklearn.metrics import log_loss

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor


def test_refit_members_chooses_again_without_training(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(n_chains=3, **QUICK).fit(X[:300], y[:300])
    before = [{k: v.clone() for k, v in state.items()} for state in model.snapshots_]
    model.set_params(members="stacked").refit_members(X[300:], y[300:])
    expected = -log_loss(y[300:], model.predict_proba(X[300:]), labels=range(10))
    assert model.validation_score_ == pytest.approx(expected, rel=1e-4)
    for old, new in zip(before, model.snapshots_, strict=True):
        assert all(torch.equal(old[name], new[name]) for name in old)
    model.set_params(members=1).refit_members(X[300:], y[300:])
    np.testing.assert_allclose(model.member_weights_, [0] * 3 + [1 / 3] * 3)
    with pytest.raises(ValueError, match="members"):
        model.set_params(members="best").refit_members(X, y)
    np.testing.assert_allclose(model.member_weights_, [0] * 3 + [1 / 3] * 3)


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


def test_fit_then_partial_fit_is_one_run_of_equal_cycles(digits):
    """With rates that are the same in both, the generators and the optimizer go on."""
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, cycle_mult=1, random_state=0)
    one = clone(model).set_params(n_cycles=2, max_epochs=4).fit(X, y).partial_fit(X, y)
    two = clone(model).set_params(n_cycles=3, max_epochs=6).fit(X, y)
    assert states_equal(one.snapshots_, two.snapshots_)


def test_cold_restarts_draw_anew_between_calls_too(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, restart="cold", lr=1e-9, max_epochs=1, n_cycles=1)
    model.fit(X, y).partial_fit(X, y)
    model.set_params(warm_start=True).fit(X, y)
    one, two, three = (s["hidden.weight"] for s in model.snapshots_)
    assert (one - two).abs().max() > 0.01
    assert (two - three).abs().max() > 0.01


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_fit_within_one_of_torchs_modes(digits, mode):
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, random_state=0)
    expected = model.fit(*digits).snapshots_
    with mode():
        assert states_equal(model.fit(*digits).snapshots_, expected)


def test_refit_members_checks_weights_and_targets_as_fit_does(iris, diabetes):
    X, y = iris
    model = SnapshotEnsembleClassifier(Mlp, **QUICK).fit(X, y)
    weight = np.ones(len(y))
    weight[3] = np.nan
    labels = y.astype(object)
    labels[3] = None
    for call in (model.fit, model.refit_members):
        with pytest.raises(ValueError, match="sample_weight"):
            call(X, y, weight)
        with pytest.raises(ValueError, match=r"\by\b"):
            call(X, labels)
    X, y = diabetes
    y = y.astype(object)
    y[3] = None
    model = SnapshotEnsembleRegressor(**QUICK).fit(X, diabetes[1])
    for call in (model.fit, model.refit_members):
        with pytest.raises(ValueError, match=r"\by\b"):
            call(X, y)
