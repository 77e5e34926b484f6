"""What a fit leaves: an average of its snapshots."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch
from conftest import QUICK, Mlp, Normalised, outputs_of_snapshots

import skensemble
from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._data.encoder import TableEncoder


def test_members_of_no_weight_are_not_predicted(digits, monkeypatch):
    X, y = digits
    model = SnapshotEnsembleClassifier(
        n_chains=3, members=lambda p, y, w: np.eye(len(p))[0], **QUICK
    ).fit(X, y)
    np.testing.assert_allclose(model.member_weights_, [1 / 3] * 3 + [0] * 3)
    first = model.predict_members(X)[:3].mean(axis=0)
    np.testing.assert_allclose(model.predict_proba(X), first, atol=1e-6)
    asked = []
    whole = skensemble._nets.inference.member_outputs
    monkeypatch.setattr(
        "skensemble._nets.inference.member_outputs",
        lambda net, snapshots, members, chunks: (
            asked.append(list(members)) or whole(net, snapshots, members, chunks)
        ),
    )
    model.predict(X)
    assert {tuple(members) for members in asked} == {(0, 1, 2)}
    stacks = model._fitted_.snapshots.stacks([0, 1, 2])
    assert all(
        part.data_ptr() == model._fitted_.snapshots._stacks[name].data_ptr()
        for name, part in stacks.items()
    )


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
        module__hidden=(16,), n_cycles=3, max_epochs=3, n_chains=2, members="all", random_state=0
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


def test_all_fitted_attributes_come_from_one_that_cannot_change(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(n_chains=2, **QUICK)
    before = set(vars(model))
    fitted = model.fit(X, y)._fitted_
    left = {name: value for name, value in vars(model).items() if name not in before}
    assert {name for name in left if name.startswith("_")} == {"_fitted_"}
    there = {name for name, value in fitted.attributes().items() if value is not None}
    assert set(left) == {"_fitted_", *there}
    for field in dataclasses.fields(fitted):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(fitted, field.name, None)


def test_a_further_fit_makes_another_and_leaves_the_old_as_it_was(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(n_chains=2, **QUICK).fit(X, y)
    old = model._fitted_
    source, _ = old.intake.read(model, X)
    before, members = old.ensemble(source), pickle.dumps(old)
    np.testing.assert_array_equal(before, model.predict_proba(X))
    model.partial_fit(X, y)
    model.refit_members(X, y)
    assert model.set_params(max_epochs=1).fit(X, y)._fitted_ is not old
    np.testing.assert_array_equal(old.ensemble(source), before)
    assert pickle.dumps(old) == members


def test_a_stage_is_the_mean_by_the_weights_of_its_cycles(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(
        n_chains=2, members=lambda p, y, w: 1 + 2 * np.arange(len(p)), **QUICK
    )
    fitted = model.fit(X, y)._fitted_
    source, _ = fitted.intake.read(model, X)
    members = fitted.each_member(source)
    assert members.shape == (4, 600, 10)
    first, both = fitted.stages(source)
    np.testing.assert_allclose(first, members[:2].mean(axis=0))
    np.testing.assert_allclose(both, np.average(members, axis=0, weights=[1, 1, 3, 3]))
    np.testing.assert_allclose(fitted.ensemble(source), both)
    np.testing.assert_allclose(fitted.member_weights, [1 / 8, 1 / 8, 3 / 8, 3 / 8])


def test_nothing_that_is_not_finite_leaves_the_estimator(iris):
    """A row so large that the module overflows on its way is refused by its number."""

    class Squares(Mlp):
        def forward(self, X):
            return super().forward(X * X)

    X, y = iris
    classifier = SnapshotEnsembleClassifier(Squares, **QUICK).fit(X, y)
    regressor = SnapshotEnsembleRegressor(Squares, **QUICK).fit(X, y)
    rows = X.copy()
    rows[7] = 1e30
    calls = [classifier.predict, classifier.predict_proba, classifier.predict_members]
    for call in (*calls, regressor.predict, lambda X: list(regressor.staged_predict(X))):
        with pytest.raises(ValueError, match="Got X with the row 7, for which the network"):
            call(rows)
        call(X)
