"""What classifier and regressor share."""

import pickle

import joblib
import numpy as np
import pytest
import torch
from conftest import Mlp, Normalised, is_one, outputs_of_snapshots
from sklearn.base import clone
from sklearn.exceptions import InconsistentVersionWarning, NotFittedError
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor, base


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


def test_read_only_input_is_left_alone(digits):
    """Rule 9."""
    X = digits[0].astype(np.float32)
    before = X.copy()
    X.flags.writeable = False
    SnapshotEnsembleClassifier(Mlp, max_epochs=1).fit(X, digits[1]).predict(X)
    np.testing.assert_array_equal(X, before)


@pytest.mark.filterwarnings("default")  # the checks provoke warnings of their own
@parametrize_with_checks([SnapshotEnsembleClassifier(), SnapshotEnsembleRegressor()])
def test_scikit_learns_own_checks(estimator, check):
    """Promise 6."""
    check(estimator)


def test_a_subclass_keeps_its_own_fitted_attributes(iris):
    class Scaled(SnapshotEnsembleClassifier):
        def fit(self, X, y):
            self.scale_ = X.max()
            return super().fit(X / self.scale_, y)

        def predict(self, X):
            return super().predict(X / self.scale_)

    model = Scaled(max_epochs=30, random_state=0)
    assert model.fit(*iris).fit(*iris).score(*iris) > 0.9


def test_an_unfitted_estimator_hashes_and_pickles_small(iris):
    """Rule 12."""
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, random_state=0)
    before = joblib.hash(clone(model))
    assert joblib.hash(clone(model.fit(*iris))) == before
    assert len(pickle.dumps(clone(model))) < 10_000


def test_an_unfitted_estimator_says_so(iris):
    for method in ("predict", "predict_proba", "predict_members", "predict_log_proba"):
        with pytest.raises(NotFittedError):
            getattr(SnapshotEnsembleClassifier(), method)(iris[0])
    assert not hasattr(SnapshotEnsembleClassifier(), "snapshots_")
    with pytest.raises(NotFittedError):
        next(iter(SnapshotEnsembleRegressor().staged_predict(iris[0])))


def test_a_pickle_tells_which_version_wrote_it(iris, monkeypatch):
    model = SnapshotEnsembleClassifier(max_epochs=2, n_cycles=2, random_state=0)
    before = joblib.hash(clone(model))
    payload = pickle.dumps(model.fit(*iris))
    assert joblib.hash(clone(model)) == before
    loaded = pickle.loads(payload)  # warnings are errors here
    assert vars(loaded).keys() == vars(model).keys()
    monkeypatch.setattr("skensemble.__version__", "99.0")
    with pytest.warns(InconsistentVersionWarning, match="expected one of skensemble 99"):
        other = pickle.loads(payload)
    np.testing.assert_array_equal(other.predict_proba(iris[0]), model.predict_proba(iris[0]))
    state = {name: value for name, value in vars(model).items() if "version" not in name}
    with pytest.warns(InconsistentVersionWarning, match="that an older skensemble wrote"):
        SnapshotEnsembleClassifier().__setstate__(state)


def test_an_attribute_of_unseen_rows_says_why_it_is_missing(iris, diabetes):
    both = ["validation_score_", "cycle_scores_"]
    own = {
        SnapshotEnsembleClassifier: ([*both, "oof_decision_function_"], "a classifier"),
        SnapshotEnsembleRegressor: ([*both, "oof_prediction_", "validation_r2_"], "a regressor"),
    }
    for kind, data in zip(own, (iris, diabetes), strict=True):
        unfitted = kind(max_epochs=2, n_cycles=2, n_chains=1, random_state=0)
        model = kind(**unfitted.get_params()).fit(*data)
        here, _ = own[kind]
        for name in here:
            with pytest.raises(AttributeError, match=rf"attribute '{name}': call fit before"):
                getattr(unfitted, name)
            with pytest.raises(AttributeError, match="there where rows are left out, by valid"):
                getattr(model, name)
        for other, name_of_other in own.values():
            for name in set(other) - set(here):
                for estimator in (unfitted, model):
                    with pytest.raises(AttributeError, match=f"only {name_of_other} has it"):
                        getattr(estimator, name)
        with_chains = model.set_params(n_chains=2).fit(*data)
        assert all(hasattr(with_chains, name) for name in here)


def test_auto_stands_for_the_device_that_is_found(iris, monkeypatch):
    """Its name was compared with torch's default device, which no device called "auto" is."""
    named = []

    def note(device):
        named.append(str(device))
        return on_named_device(device)

    on_named_device = base.on_named_device
    monkeypatch.setattr(base, "on_named_device", note)
    model = SnapshotEnsembleClassifier(device="auto", max_epochs=2, n_cycles=2).fit(*iris)
    model.refit_members(*iris).predict(iris[0].tolist())
    assert named == [str(model.net_.device)] * 3


class TiedAndFrozen(nn.Module):
    """Tied weights, a frozen layer, and a buffer that no state dict has."""

    def __init__(self, n_inputs, n_outputs):
        super().__init__()
        self.one = nn.Linear(n_inputs, n_inputs)
        self.two = nn.Linear(n_inputs, n_inputs)
        self.two.weight = self.one.weight
        self.norm = nn.BatchNorm1d(n_inputs)
        self.output = nn.Linear(n_inputs, n_outputs)
        self.output.bias.requires_grad_(False)
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def forward(self, X):
        if self.training:
            self.calls += 1
        shift = self.calls / 100  # what is no part of a state dict counts too
        return self.output(self.norm(torch.relu(self.two(self.one(X))))) + shift


def weight_normed(n_inputs, n_outputs):
    with pytest.warns(FutureWarning):
        return nn.utils.weight_norm(nn.Linear(n_inputs, n_outputs))


def compiled(n_inputs, n_outputs):
    return torch.compile(Mlp(n_inputs, n_outputs), backend="eager")


OWN_MODULES = [
    (Normalised, {}),
    (Mlp, {"n_chains": 3}),
    (TiedAndFrozen, {}),
    (TiedAndFrozen, {"n_chains": 2}),
    (weight_normed, {}),
    (lambda: nn.LazyLinear(3), {}),
    (Mlp(4, 3), {}),
    (compiled, {}),
]


@pytest.mark.parametrize(("module", "parameters"), OWN_MODULES)
def test_snapshot_module_predicts_as_the_member(iris, module, parameters):
    X, y = iris
    model = SnapshotEnsembleClassifier(module, max_epochs=4, n_cycles=2, **parameters)
    members = model.fit(X, y).predict_members(X)
    rows = torch.tensor(X, dtype=torch.float32)
    for k in range(-len(members), len(members)):
        made = model.snapshot_module(k)
        assert not any(part.training for part in made.modules())
        weight = made.weight.clone() if module is weight_normed else None
        with torch.no_grad():
            got = torch.softmax(made(rows).double(), dim=1)
        np.testing.assert_allclose(got, members[k], atol=1e-6)
        if weight is not None:  # right before the first forward pass, too
            assert torch.equal(made.weight, weight)


def test_snapshot_module_is_a_copy_as_it_was_trained(iris):
    X, y = iris
    model = SnapshotEnsembleClassifier(
        TiedAndFrozen, max_epochs=4, n_cycles=2, n_chains=2, random_state=0
    )
    before = model.fit(X, y).predict_proba(X)
    assert is_one(model)
    made = model.snapshot_module(1)
    assert made.one.weight is made.two.weight
    assert [n for n, p in made.named_parameters() if not p.requires_grad] == ["output.bias"]
    snapshot = model.snapshots_[1]
    assert made.state_dict().keys() == snapshot.keys()
    assert all(torch.equal(made.state_dict()[name], snapshot[name]) for name in snapshot)
    assert all(tensor.is_contiguous() for tensor in made.state_dict().values())
    with torch.no_grad():
        for tensor in [*made.parameters(), *made.buffers()]:
            tensor.zero_()
    np.testing.assert_array_equal(model.predict_proba(X), before)
    assert bool(model.snapshot_module(1).output.weight.any())
    loss = model.snapshot_module(1)(torch.tensor(X, dtype=torch.float32)).sum()
    loss.backward()  # it can be trained further


@pytest.mark.parametrize("n_samples", [30, 150])
def test_snapshot_module_of_the_built_in_network(iris, n_samples):
    X, y = (values[:: 150 // n_samples] for values in iris)
    model = SnapshotEnsembleClassifier(max_epochs=4, n_cycles=2, random_state=0).fit(X, y)
    members, table = (
        model.predict_members(X),
        torch.cat(list(model._fitted_.intake.chunks(model._read(X)[1], 1000))),
    )
    outputs = outputs_of_snapshots(model, table)
    for k in (0, len(members) - 1):
        made = model.snapshot_module(k)
        with torch.no_grad():
            np.testing.assert_allclose(made(table), outputs[k], rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(torch.softmax(made(table), 1), members[k], atol=1e-5)


@pytest.mark.parametrize(
    ("index", "error", "rule"),
    [
        (4, IndexError, "an integer from -4 to 3: there are 4 snapshots"),
        (-5, IndexError, "an integer from -4 to 3: there are 4 snapshots"),
        (10**400, IndexError, "an integer from -4 to 3"),
        (1.0, TypeError, "an integer from -4 to 3"),
        ("last", TypeError, "an integer from -4 to 3"),
        (True, TypeError, "an integer from -4 to 3"),
        (slice(2), TypeError, "an integer from -4 to 3"),
    ],
)
def test_snapshot_module_names_a_wrong_index(iris, index, error, rule):
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, n_cycles=2, n_chains=2).fit(*iris)
    with pytest.raises(error, match=rf"Got index=.*, but expected {rule}"):
        model.snapshot_module(index)
    with pytest.raises(NotFittedError):
        SnapshotEnsembleClassifier().snapshot_module(0)
    assert torch.equal(
        model.snapshot_module(np.int64(2)).output.bias, model.snapshot_module(-2).output.bias
    )
