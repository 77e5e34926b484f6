"""The scikit-learn face: scikit-learn's own checks, parameters, input and its errors."""

import copy
import pickle

import joblib
import numpy as np
import pytest
import torch
from conftest import Flat, Mlp, Normalised
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss, r2_score
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor


@pytest.mark.filterwarnings("default")  # the checks provoke warnings of their own
@parametrize_with_checks([SnapshotEnsembleClassifier(), SnapshotEnsembleRegressor()])
def test_scikit_learns_own_checks(estimator, check):
    """Promise 6."""
    check(estimator)


# ------------------------------------------------------------------------- parameters


def test_keywords_are_parameters():
    model = SnapshotEnsembleClassifier(module__hidden=(8,), optimizer__weight_decay=0.1)
    assert model.get_params()["module__hidden"] == (8,)
    assert model.module__hidden == (8,)
    assert clone(model).get_params() == model.get_params()
    model.set_params(module__hidden=(4,), schedule__gamma=0.9, n_cycles=2)
    assert (model.module__hidden, model.schedule__gamma, model.n_cycles) == ((4,), 0.9, 2)
    assert "module__hidden=(4,)" in repr(model)
    assert "module__hidden" in model._repr_html_()
    with pytest.raises(ValueError, match=r"unexpected parameter n_cycle,.* Did you mean n_cycles"):
        model.set_params(n_cycle=3)


def test_a_subclass_may_hand_on_keywords(iris):
    class Mine(SnapshotEnsembleClassifier):
        def __init__(self, alpha=1.0, **kwargs):
            super().__init__(**kwargs)
            self.alpha = alpha

    model = clone(Mine(alpha=2.0, n_cycles=2, max_epochs=2, module__hidden=(4,)))
    assert (model.alpha, model.n_cycles, model.module__hidden) == (2.0, 2, (4,))
    assert model.fit(*iris).n_cycles_ == 2


def test_keywords_of_any_name_are_kept(iris):
    """Names that end in an underscore are ordinary arguments of modules."""

    class Damped(nn.Linear):
        def __init__(self, n_inputs, n_outputs, lambda_=0.0):
            super().__init__(n_inputs, n_outputs)
            self.lambda_ = lambda_

    model = clone(SnapshotEnsembleClassifier(Damped, module__lambda_=7.0, max_epochs=2))
    assert model.get_params()["module__lambda_"] == 7.0
    assert model.fit(*iris).net_.module_.lambda_ == 7.0
    model.module__lambda_ = 3.0
    assert model.fit(*iris).net_.module_.lambda_ == 3.0
    for wrong in ("hidden_", "_hidden"):
        with pytest.raises(ValueError, match=f"unexpected parameter {wrong}"):
            SnapshotEnsembleClassifier(**{wrong: 3}).fit(*iris)
    model.note = "an attribute of the user's is none of ours"
    assert model.fit(*iris).note


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


WRONG_PARAMETERS = [
    ({"n_cycles": 0}, r"Got n_cycles=0, but expected an integer of at least 1\."),
    ({"n_cycles": 2.5}, r"Got n_cycles=2\.5, but expected an integer of at least 1\."),
    ({"cycle_mult": 0}, r"Got cycle_mult=0, but expected a number above 0\."),
    ({"lr": -1.0}, r"Got lr=-1\.0, but expected a number above 0\."),
    ({"max_epochs": 0}, r"Got max_epochs=0, but expected an integer of at least 1 or"),
    ({"batch_size": "big"}, r"Got batch_size='big', but expected an integer of at least 1"),
    ({"schedule": "linear"}, r"Got schedule='linear', but expected one of .*cosine"),
    ({"restart": "hot"}, r"Got restart='hot', but expected one of .*warm"),
    ({"members": 0}, r"Got members=0, but expected"),
    ({"members": "best"}, r"Got members='best', but expected"),
    ({"voting": "loud"}, r"Got voting='loud', but expected one of .*hard"),
    ({"class_weight": "fair"}, r"Got class_weight='fair', but expected"),
    ({"device": "gpu"}, r"Got device='gpu', but expected a device of torch"),
    ({"net": int}, r"Got net=<class 'int'>, but expected a subclass of skorch\.NeuralNet"),
    ({"module": "mlp"}, r"Got module='mlp', but expected a callable or None"),
    ({"schedule__min_lr": 9.0}, r"Got min_lr=9\.0, but expected a number from 0 to lr="),
    ({"schedule__gamma": 0}, r"Got gamma=0, but expected a number above 0"),
    ({"schedule__burn_in_epochs": -1}, r"Got schedule__burn_in_epochs=-1, but expected"),
    ({"schedule__burn_in_epochs": 99}, r"Got schedule__burn_in_epochs=99, which are \d+ steps"),
    (
        {"schedule": lambda at: 1.0, "schedule__min_lr": 0.001},
        r"Got min_lr=0\.001 with a callable schedule",
    ),
    ({"schedule": lambda at: -1.0}, r"Got -1\.0 from schedule\(at\)"),
    ({"module_hidden": (3,)}, r"parameter module_hidden,.* Did you mean module__hidden\?"),
    ({"module__hiden": (3,)}, r"parameter module__hiden,.* Did you mean module__hidden\?"),
    ({"optimizer__momentun": 1}, r"parameter optimizer__momentun,"),
    ({"criterion__label_smooth": 1}, r"Did you mean criterion__label_smoothing\?"),
    ({"schedule__min_rate": 1}, r"parameter schedule__min_rate,"),
    ({"net__compiled": True}, r"Did you mean net__compile\?"),
    ({"net__lr": 1}, r"Got net__lr, but expected it as lr=\."),
    ({"net__module__hidden": 1}, r"Got net__module__hidden, but expected it as module__hidden=\."),
    ({"hidden_": 3}, r"unexpected parameter hidden_,"),
    ({"n_cycles": True}, r"Got n_cycles=True, but expected an integer of at least 1\."),
    ({"optimizer__lr": 0}, r"Got lr=0, but expected a number above 0"),
    ({"module__hidden": 5}, r"The net could not be made.*'int' object is not iterable"),
    ({"callbacks": [3]}, r"Got callbacks with 3, but expected callbacks of skorch"),
    ({"schedule": lambda at: None}, r"Got None from schedule\(at\)"),
    (
        {"iterator_train__drop_last": True, "iterator_train__batch_size": 500},
        r"Got an iterator with no batch for 150 rows",
    ),
    ({"net__train_split": 1}, r"Got net__train_split, but expected none"),
    ({"kwargs": 1}, r"Got an unexpected parameter kwargs,"),
    ({"iterator_train__shufle": True}, r"Did you mean iterator_train__shuffle\?"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG_PARAMETERS)
def test_wrong_parameters_are_named_and_harm_nothing(iris, wrong, message):
    """Rule 6: after an error all is as before."""
    X, y = iris
    model = SnapshotEnsembleClassifier(max_epochs=3, n_cycles=2, random_state=0).fit(X, y)
    before, fitted = model.predict_proba(X), {k for k in vars(model) if k.endswith("_")}
    broken = copy.copy(model)
    broken.__init__(**{**model.get_params(), **wrong})
    with pytest.raises(ValueError, match=message):
        broken.fit(X, y)
    assert {k for k in vars(broken) if k.endswith("_")} == fitted
    if "voting" not in wrong:
        np.testing.assert_array_equal(broken.predict_proba(X), before)


class Probabilities(Mlp):
    def forward(self, X):
        return torch.softmax(super().forward(X), dim=1)


class TooMany(Mlp):
    def __init__(self, n_inputs):
        super().__init__(n_inputs, 7)


def _with(X, value):
    X = X.copy()
    X[3, 1] = value
    return X


WRONG_DATA = [
    (lambda X, y: (_with(X, np.nan), y), {}, "Input X contains NaN"),
    (lambda X, y: (_with(X, np.inf), y), {}, "Input X contains infinity"),
    (lambda X, y: (X.astype(complex), y), {}, "Complex data not supported"),
    (lambda X, y: (X[:0], y[:0]), {}, "0 sample"),
    (lambda X, y: (X, np.zeros_like(y)), {}, "Got y with 1 class"),
    (lambda X, y: (X, np.eye(3)[y]), {}, "multilabel targets are not supported"),
    (lambda X, y: (X, y[:-1]), {}, "inconsistent numbers of samples"),
    (lambda X, y: (X, y + 0.5), {}, "Unknown label type"),
    (lambda X, y: (X, np.where(y == 0, np.nan, y)), {}, "contains NaN"),
    (lambda X, y: (X, y), {"module": Probabilities}, "returns probabilities"),
    (lambda X, y: (X, y), {"module": TooMany}, r"returns shape \(8, 7\).* one raw score for each"),
    (lambda X, y: (X, y), {"module": nn.Linear(9, 3)}, r"a batch of shape \(8, 4\)"),
]


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # scikit-learn's, of NaN
@pytest.mark.parametrize(("change", "parameters", "message"), WRONG_DATA)
def test_wrong_data_are_named_and_harm_nothing(iris, change, parameters, message):
    X, y = iris
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=3, n_cycles=2, random_state=0).fit(X, y)
    before = model.predict_proba(X)
    with pytest.raises(ValueError, match=message):
        model.set_params(**parameters).fit(*change(X, y))
    np.testing.assert_array_equal(model.predict_proba(X), before)


def test_wrong_targets_of_regression_are_refused(diabetes):
    X, y = diabetes
    model = SnapshotEnsembleRegressor(max_epochs=1)
    with pytest.raises(ValueError, match="contains infinity"):
        model.fit(X, np.where(y == y[0], np.inf, y))
    with pytest.raises(ValueError, match=r"expected \(8, 2\): one value for each of 2 outputs"):
        model.set_params(module=Flat).fit(X, np.stack([y, y], axis=1))


def test_unseen_shapes_are_refused_at_predict(iris):
    X, y = iris
    model = SnapshotEnsembleClassifier(max_epochs=2, n_chains=1).fit(X, y)
    with pytest.raises(ValueError, match="X has 3 features"):
        model.predict(X[:, :3])

    images = np.zeros((40, 1, 4, 4), dtype=np.float32)
    labels = np.arange(40) % 2
    module = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    model = SnapshotEnsembleClassifier(module, n_cycles=2, max_epochs=1).fit(images, labels)
    with pytest.raises(ValueError, match=r"rows of shape \(1, 4, 5\), but expected \(1, 4, 4\)"):
        model.predict(np.zeros((3, 1, 4, 5), dtype=np.float32))


def test_an_unfitted_estimator_says_so(iris):
    for method in ("predict", "predict_proba", "predict_members", "predict_log_proba"):
        with pytest.raises(NotFittedError):
            getattr(SnapshotEnsembleClassifier(), method)(iris[0])
    assert not hasattr(SnapshotEnsembleClassifier(), "snapshots_")
    with pytest.raises(NotFittedError):
        next(iter(SnapshotEnsembleRegressor().staged_predict(iris[0])))


# ------------------------------------------------------------------------- classification


@pytest.mark.parametrize(
    "labels",
    [
        ["versicolor", "setosa", "virginica"],
        [10.0, -1.0, 3.0],
        [2**53 - 1, 0, 7],
        [True, False, True],
    ],
    ids=["str", "float", "large", "bool"],
)
def test_any_label_type_comes_back(iris, labels):
    X, y = iris
    y = np.array(labels)[y]
    model = SnapshotEnsembleClassifier(max_epochs=20, random_state=0).fit(X, y)
    predicted = model.predict(X)
    assert predicted.dtype == y.dtype
    assert set(predicted) == set(y)
    assert model.score(X, y) > 0.9


def test_hard_voting_counts_votes(cancer):
    X, y = cancer
    soft = SnapshotEnsembleClassifier(
        n_cycles=4, max_epochs=2, random_state=0, schedule="triangular", n_chains=1
    ).fit(X, y)
    hard = clone(soft).set_params(voting="hard").fit(X, y)
    votes = soft.predict_members(X).argmax(axis=2)
    ones = votes.sum(axis=0)
    assert (ones == 2).any(), "no tie to be tested"
    np.testing.assert_array_equal(hard.predict(X), (ones > 2).astype(int))
    for method in ("predict_proba", "predict_log_proba", "staged_predict_proba"):
        assert not hasattr(hard, method)
    np.testing.assert_array_equal(list(hard.staged_predict(X))[-1], hard.predict(X))
    np.testing.assert_array_equal(next(iter(hard.staged_predict(X))), votes[0])


def test_class_weight_is_sample_weight(cancer):
    X, y = cancer
    base = {"max_epochs": 3, "random_state": 0}
    by_class = SnapshotEnsembleClassifier(Mlp, class_weight={0: 3.0}, **base).fit(X, y)
    by_row = SnapshotEnsembleClassifier(Mlp, **base).fit(X, y, sample_weight=np.where(y, 1.0, 3.0))
    np.testing.assert_array_equal(by_class.predict_proba(X), by_row.predict_proba(X))
    balanced = SnapshotEnsembleClassifier(Mlp, class_weight="balanced", **base).fit(X, y)
    weight = len(y) / (2 * np.bincount(y))
    expected = SnapshotEnsembleClassifier(Mlp, **base).fit(X, y, sample_weight=weight[y])
    np.testing.assert_array_equal(balanced.predict_proba(X), expected.predict_proba(X))


def test_class_weight_and_sample_weight_together(iris):
    X, y = iris
    order = np.random.default_rng(0).permutation(150)[:12]
    X, y, weight = X[order], y[order], np.array([1, 2, 3] * 4)
    model = SnapshotEnsembleClassifier(random_state=0)
    for class_weight in ("balanced", {0: 2.0, 1: 0.5}):
        model.set_params(class_weight=class_weight)
        weighted = model.fit(X, y, sample_weight=weight).predict_proba(X)
        repeated = model.fit(X.repeat(weight, axis=0), y.repeat(weight)).predict_proba(X)
        np.testing.assert_allclose(weighted, repeated, rtol=1e-6)
    by_hand = weight * np.array([2.0, 0.5, 1.0])[y]
    model.set_params(max_epochs=8, lr=0.005)  # later both losses vanish
    both = model.fit(X, y, sample_weight=weight)
    loss = both.history_[-1, "train_loss"]
    plain = SnapshotEnsembleClassifier(max_epochs=8, lr=0.005, random_state=0)
    plain.fit(X, y, sample_weight=by_hand)
    assert loss == pytest.approx(plain.history_[-1, "train_loss"], rel=0.5)
    for wrong in ({0: -1.0}, {0: 0, 1: 0, 2: 0}):
        with pytest.raises(ValueError, match=r"Got class_weight=.*weights of at least 0"):
            model.set_params(class_weight=wrong).fit(X, y)


def test_class_weight_in_partial_fit_with_a_part_of_the_classes(iris):
    X, y = iris
    model = SnapshotEnsembleClassifier(class_weight={2: 5.0}, max_epochs=5)
    model.partial_fit(X, y, classes=[0, 1, 2]).partial_fit(X[y < 2], y[y < 2])
    assert model.n_cycles_ == 2
    with pytest.raises(ValueError, match=r"Got classes=\[0, 1\], but expected .*\[0, 1, 2\]"):
        model.partial_fit(X, y, classes=[0, 1])


def test_rows_without_weight_count_for_no_class(iris):
    X, y = iris
    with pytest.raises(ValueError, match="Got y with 1 class"):
        SnapshotEnsembleClassifier().fit(X, y, sample_weight=(y == 1).astype(float))


def test_a_binary_problem_has_two_outputs(cancer):
    model = SnapshotEnsembleClassifier(max_epochs=1).fit(*cancer)
    assert model.net_.module_.layers[-1].out_features == 2
    np.testing.assert_allclose(
        model.predict_log_proba(cancer[0]), np.log(model.predict_proba(cancer[0]))
    )


# ------------------------------------------------------------------------- regression


@pytest.mark.parametrize("module", [None, Mlp, Flat])
def test_one_output_is_a_vector(diabetes, module):
    X, y = diabetes
    model = SnapshotEnsembleRegressor(module, max_epochs=30, random_state=0, lr=0.05)
    assert model.fit(X, y).predict(X).shape == (442,)
    assert model.predict(X).dtype == np.float64
    assert model.predict_members(X).shape == (model.n_cycles_ * model.n_chains_, 442)
    assert model.score(X, y) > 0.3  # a broadcast loss predicts the mean: 0
    np.testing.assert_array_equal(
        clone(model).fit(X, y.reshape(-1, 1)).predict(X), model.predict(X)
    )


def test_several_outputs(diabetes):
    X, y = diabetes
    Y = np.stack([y, -10 * y + 3, np.full_like(y, 7.0)], axis=1)
    model = SnapshotEnsembleRegressor(max_epochs=20, random_state=0).fit(X, Y)
    assert model.predict(X).shape == Y.shape
    assert model.predict_members(X).shape == (model.n_cycles_ * model.n_chains_, *Y.shape)
    assert r2_score(Y[:, :2], model.predict(X)[:, :2]) > 0.5
    np.testing.assert_allclose(model.predict(X)[:, 2], 7, atol=0.5)


@pytest.mark.parametrize("criterion", [None, nn.MSELoss, nn.L1Loss, nn.MSELoss()])
def test_targets_are_scaled_where_the_loss_scales_with_them(diabetes, criterion):
    """Rule 5: predictions of c * y + d are c times predictions of y, plus d."""
    X, y = diabetes
    model = SnapshotEnsembleRegressor(Mlp, criterion=criterion, max_epochs=3, random_state=0)
    one, two = model.fit(X, y).predict(X), model.fit(X, 8 * y + 4096).predict(X)
    np.testing.assert_allclose(8 * one + 4096, two, rtol=1e-6)


@pytest.mark.parametrize("factor", [1e200, 1e-200])
def test_targets_of_extreme_size(diabetes, factor):
    X, y = diabetes
    model = SnapshotEnsembleRegressor(Mlp, max_epochs=3, random_state=0)
    expected = model.fit(X, y).predict(X)
    np.testing.assert_allclose(model.fit(X, y * factor).predict(X) / factor, expected, rtol=1e-5)


@pytest.mark.parametrize("make", [lambda c: c, lambda c: c()])
def test_a_loss_of_ones_own_sees_targets_as_they_are(diabetes, make):
    class Own(nn.MSELoss):
        pass

    X, y = diabetes
    model = SnapshotEnsembleRegressor(Flat, criterion=make(Own), max_epochs=1).fit(X, y)
    assert model.history_[0, "train_loss"] > 1000


def test_another_criterion_sees_targets_as_they_are(diabetes):
    X, y = diabetes
    seen = []

    class Watching(nn.PoissonNLLLoss):
        def forward(self, y_pred, y_true):
            seen.append(y_true)
            return super().forward(y_pred, y_true)

    SnapshotEnsembleRegressor(Flat, criterion=Watching, max_epochs=1, lr=1e-4).fit(X, y)
    assert sorted(torch.cat(seen).tolist()) == sorted(y.tolist())


# ------------------------------------------------------------------------- modules


def test_an_instance_is_the_start_and_stays_as_it_is(iris):
    X, y = iris
    module = Normalised(4, 3)
    before = copy.deepcopy(module.state_dict())
    model = SnapshotEnsembleClassifier(module, lr=1e-30, max_epochs=1, n_cycles=1)
    (snapshot,) = model.fit(X, y).snapshots_
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])
    assert torch.equal(snapshot["hidden.weight"], before["hidden.weight"])


def test_lazy_layers_factories_and_sizes_of_ones_own(iris):
    X, y = iris
    modules = [
        nn.Sequential(nn.LazyLinear(8), nn.BatchNorm1d(8), nn.ReLU(), nn.LazyLinear(3)),
        lambda: nn.Linear(4, 3),
        lambda n_inputs, n_outputs: nn.Linear(n_inputs, n_outputs),
    ]
    for module in modules:
        model = SnapshotEnsembleClassifier(module, max_epochs=30, lr=0.05, random_state=0)
        assert model.fit(X, y).score(X, y) > 0.8
    model = SnapshotEnsembleClassifier(Mlp, module__n_outputs=4, max_epochs=1)
    with pytest.raises(ValueError, match=r"one raw score for each of 3 classes"):
        model.fit(X, y)


def test_integers_reach_embeddings():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 5, size=(200, 2)).astype(np.int16)
    y = (X[:, 0] + X[:, 1]) % 2

    class Embedded(nn.Module):
        def __init__(self, n_outputs):
            super().__init__()
            self.table = nn.Embedding(5, 4)
            self.layers = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, n_outputs))

        def forward(self, X):
            return self.layers(self.table(X).flatten(1))

    model = SnapshotEnsembleClassifier(Embedded, max_epochs=40, random_state=0).fit(X, y)
    assert model.score(X, y) > 0.9


def test_weights_need_a_criterion_of_single_rows(iris):
    """Rule 3."""

    class Own(nn.Module):
        def forward(self, y_pred, y_true):
            return nn.functional.cross_entropy(y_pred, y_true)

    model = SnapshotEnsembleClassifier(Mlp, criterion=Own, max_epochs=2)
    assert model.fit(*iris).score(*iris) > 0
    with pytest.raises(ValueError, match="Got weights with criterion=Own"):
        model.fit(*iris, sample_weight=np.arange(150))


def test_probabilities_are_at_most_one(iris):
    """A mean by weights of sum 1 + 1e-16 was above 1, which scikit-learn's log_loss refuses."""
    X, y = iris
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, random_state=0).fit(X, y)
    model.member_weights_ = model.member_weights_ * (1 + 1e-15)
    sure = X * 1e6
    assert model.predict_members(sure).max() == 1
    assert model.predict_proba(sure).max() == 1
    assert np.isfinite(log_loss(y, model.predict_proba(sure)))
    assert max(stage.max() for stage in model.staged_predict_proba(sure)) <= 1
