"""What each column is worth: the loss of unseen rows without it."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import QUICK
from scipy.sparse import csr_matrix
from scipy.stats import spearmanr
from sklearn.datasets import load_diabetes, load_iris, make_classification, make_friedman1
from sklearn.inspection import permutation_importance
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold, KFold, TimeSeriesSplit
from sklearn.utils import shuffle
from torch import nn

import skensemble
from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor

SHORT = {"max_epochs": 30, "n_cycles": 3, "random_state": 0}


@pytest.fixture(scope="module")
def friedman():
    """Five columns that count, the first ones, and five of noise."""
    X, y = make_friedman1(1000, n_features=10, noise=1.0, random_state=0)
    return SnapshotEnsembleRegressor(**SHORT, n_chains=4).fit(X[:600], y[:600]), X, y


@pytest.fixture(scope="module")
def classes():
    X, y = make_classification(
        1200, n_features=10, n_informative=4, n_redundant=0, shuffle=False, random_state=1
    )
    X, y = shuffle(X, y, random_state=0)
    return SnapshotEnsembleClassifier(**SHORT, n_chains=4).fit(X[:600], y[:600]), X, y


def within(found, columns):
    """Return the share of columns that are within two standard errors of 0."""
    far = np.abs(found.importances_mean[columns]) > 2 * found.importances_std[columns]
    return 1 - far.mean()


@pytest.mark.parametrize("fixture", ["friedman", "classes"])
def test_columns_that_count_come_first(request, fixture):
    model, X, y = request.getfixturevalue(fixture)
    n_counting = 5 if fixture == "friedman" else 4
    found = model.unseen_importance(X[:600], y[:600])
    order = np.argsort(-found.importances_mean)
    assert set(order[:n_counting]) == set(range(n_counting))
    counting = found.importances_mean[:n_counting] / found.importances_std[:n_counting]
    assert counting.min() > 2
    assert found.columns == tuple(f"x{i}" for i in range(10))


@pytest.mark.parametrize("kind", ["classes", "values"])
def test_noise_is_worth_nothing(kind):
    shares = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        X, y = rng.normal(size=(400, 15)), rng.normal(size=400)
        options = {**SHORT, "random_state": seed, "n_chains": 4}
        if kind == "classes":
            model, y = SnapshotEnsembleClassifier(**options), y > 0
        else:
            model = SnapshotEnsembleRegressor(**options)
        shares.append(within(model.fit(X, y).unseen_importance(X, y), slice(None)))
    assert np.mean(shares) >= 0.9


@pytest.mark.parametrize(
    "options",
    [
        {"n_chains": 4},
        {"validation": KFold(4)},
        {"validation": KFold(4, shuffle=True, random_state=0)},
        {"validation": 0.3, "n_chains": 2},
        {"validation": "last", "n_chains": 2},
        {"validation": "cross", "n_chains": 1},
        {"validation": TimeSeriesSplit(3), "n_chains": 2},
    ],
)
@pytest.mark.parametrize("kind", [SnapshotEnsembleClassifier, SnapshotEnsembleRegressor])
def test_the_loss_is_that_of_the_rows_left_out(kind, options):
    """Their folds are found again."""
    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    X, y = X[order], y[order]
    model = kind(**QUICK, **options).fit(X, y)
    found = model.unseen_importance(X, y)
    assert found.loss == pytest.approx(-model.validation_score_, rel=1e-5)
    assert found.importances_mean.shape == found.importances_std.shape == (4,)


def test_groups_and_weights_are_those_of_fit():
    X, y = load_diabetes(return_X_y=True)
    rng = np.random.default_rng(0)
    groups, weight = rng.integers(40, size=len(y)), rng.uniform(0, 2, len(y))
    for options in ({"n_chains": 3}, {"validation": GroupKFold(3)}):
        model = SnapshotEnsembleRegressor(**QUICK, **options)
        model.fit(X, y, sample_weight=weight, groups=groups)
        found = model.unseen_importance(X, y, sample_weight=weight, groups=groups)
        assert found.loss == pytest.approx(-model.validation_score_, rel=1e-5)
        with pytest.raises(ValueError, match="expected groups= as in fit"):
            model.unseen_importance(X, y)
        if "n_chains" in options:  # the groups' folds are found in any order, and their errors too
            order = rng.permutation(len(y))
            other = model.unseen_importance(
                X[order], y[order], sample_weight=weight[order], groups=groups[order]
            )
            np.testing.assert_allclose(other.importances_mean, found.importances_mean, rtol=1e-3)
            np.testing.assert_allclose(other.importances_std, found.importances_std, rtol=1e-3)


def test_class_weights_count():
    X, y = load_iris(return_X_y=True)
    model = SnapshotEnsembleClassifier(**QUICK, n_chains=3, class_weight={0: 1, 1: 5, 2: 1})
    model.fit(X, y)
    assert model.unseen_importance(X, y).loss == pytest.approx(-model.validation_score_, rel=1e-5)


def test_folds_are_found_for_some_of_the_rows(friedman):
    """They go by the values of a row, so its neighbours do not matter."""
    model, X, y = friedman
    errors = (model.oof_prediction_ - y[:600]) ** 2
    rows = np.arange(600)[::-3]
    assert model.unseen_importance(X[rows], y[rows]).loss == pytest.approx(errors[rows].mean())


def test_new_rows_are_judged_by_the_ensemble(classes):
    model, X, y = classes
    found = model.unseen_importance(X[600:], y[600:], rows="new")
    assert found.loss == pytest.approx(log_loss(y[600:], model.predict_proba(X[600:])), rel=1e-6)
    held = SnapshotEnsembleClassifier(**QUICK)
    held.fit(X[:300], y[:300], X_val=X[300:600], y_val=y[300:600])
    found = held.unseen_importance(X[300:600], y[300:600], rows="new")
    assert found.loss == pytest.approx(-held.validation_score_, rel=1e-5)
    with pytest.raises(ValueError, match="rows='new'"):
        held.unseen_importance(X[:300], y[:300])


@pytest.mark.parametrize("fixture", ["friedman", "classes"])
def test_a_column_is_dropped_as_in_training_or_at_the_mean_of_its_inputs(request, fixture):
    """Those of fresh networks are, whose products are all made again."""
    model, X, y = request.getfixturevalue(fixture)
    X, y = X[600:], y[600:]
    found = model.unseen_importance(X, y, rows="new")
    encoder = model._fitted_.intake.encoder
    inputs = torch.from_numpy(encoder.transform(X, np.float32))
    networks = [model.snapshot_module(i) for i in range(len(model.snapshots_))]
    scale = 1.0 if fixture == "classes" else float(model._fitted_.targets.line[0][0])

    def predict(inputs):
        with torch.no_grad():
            outputs = torch.stack([network(inputs).double() for network in networks])
        values = torch.softmax(outputs, -1) if fixture == "classes" else outputs * scale
        return np.tensordot(model.member_weights_, values.numpy(), 1)

    def losses(predictions):
        if fixture == "classes":
            return -np.log(predictions[np.arange(len(y)), y])
        return (predictions[:, 0] + model._fitted_.targets.center - y) ** 2

    for j in range(X.shape[1]):
        without = inputs.clone()
        without[:, encoder.origin_ == j] = (
            0 if fixture == "classes" else inputs[:, encoder.origin_ == j].mean(0)
        )
        rises = losses(predict(without)) - losses(predict(inputs))
        assert found.importances_mean[j] == pytest.approx(rises.mean(), rel=1e-3, abs=1e-5)
        error = rises.std(ddof=1) / len(y) ** 0.5
        assert found.importances_std[j] == pytest.approx(error, rel=1e-3)


@pytest.mark.parametrize("fixture", ["friedman", "classes"])
def test_ranks_are_those_of_permutations(request, fixture):
    model, X, y = request.getfixturevalue(fixture)
    score = "neg_mean_squared_error" if fixture == "friedman" else "neg_log_loss"
    permuted = permutation_importance(
        model, X[600:], y[600:], scoring=score, n_repeats=5, random_state=0
    )
    n_counting = 5 if fixture == "friedman" else 4
    found = model.unseen_importance(X[:600], y[:600])
    counting = [values.importances_mean[:n_counting] for values in (found, permuted)]
    assert spearmanr(*counting).statistic > 0.7
    assert np.corrcoef(found.importances_mean, permuted.importances_mean)[0, 1] > 0.95


@pytest.mark.parametrize("kind", [SnapshotEnsembleClassifier, SnapshotEnsembleRegressor])
def test_all_parts_of_a_column_go_together(kind):
    """Categories, places of missing values, and the parts of a date."""
    rng = np.random.default_rng(0)
    n = 500
    color, sold = rng.choice(list("abc"), n), pd.Timestamp("2020-01-01")
    sold = sold + pd.to_timedelta(rng.integers(0, 700, n), unit="D")
    hole = rng.normal(size=n)
    hole[rng.uniform(size=n) < 0.3] = np.nan
    frame = pd.DataFrame({"color": color, "sold": sold, "hole": hole, "noise": rng.normal(size=n)})
    y = 2.0 * (color == "a") + 2 * np.isnan(hole) + 2.0 * (sold.month > 6)
    y = y + rng.normal(scale=0.3, size=n)
    y = y > np.median(y) if kind is SnapshotEnsembleClassifier else y
    model = kind(**SHORT, n_chains=4).fit(frame, y)
    found = model.unseen_importance(frame, y)
    assert found.columns == ("color", "sold", "hole", "noise")
    assert found.loss == pytest.approx(-model.validation_score_, rel=1e-5)
    t = found.importances_mean / found.importances_std
    assert t[0] > 4
    assert t[1] > 4
    assert np.argmin(found.importances_mean) == 3
    if kind is SnapshotEnsembleClassifier:
        assert t[2] > 4
    some = model.unseen_importance(frame, y, columns=["noise", 0])
    assert some.columns == ("noise", "color")
    np.testing.assert_allclose(some.importances_mean, found.importances_mean[[3, 0]], rtol=1e-3)


def test_rows_count_by_their_weight(friedman):
    model, X, y = friedman
    X, y = X[600:], y[600:]
    twice = np.r_[np.arange(400), np.arange(200)]
    weight = np.bincount(twice, minlength=400)
    one = model.unseen_importance(X, y, sample_weight=weight, rows="new")
    other = model.unseen_importance(X[twice], y[twice], rows="new")
    np.testing.assert_allclose(one.importances_mean, other.importances_mean, rtol=1e-4, atol=1e-5)
    # Of copies in a group each row is one observation, as a row of weight two is.
    grouped = model.unseen_importance(X[twice], y[twice], groups=twice, rows="new")
    np.testing.assert_allclose(one.importances_std, grouped.importances_std, rtol=1e-4)
    weight[200:] = 0
    absent = model.unseen_importance(X, y, sample_weight=weight, rows="new")
    alone = model.unseen_importance(X[:200], y[:200], rows="new")
    np.testing.assert_allclose(absent.importances_std, alone.importances_std, rtol=1e-4)


@pytest.mark.parametrize("is_sparse", [False, True])
@pytest.mark.parametrize("module", [None, nn.LazyLinear])
def test_own_modules_and_sparse_matrices(module, is_sparse):
    X, y = load_iris(return_X_y=True)
    X[X < 1] = 0
    options = {} if module is None else {"module": module, "module__out_features": 3}
    model = SnapshotEnsembleClassifier(**QUICK, **options, validation=KFold(3, shuffle=True))
    model.set_params(validation=KFold(3, shuffle=True, random_state=0))
    model.fit(csr_matrix(X) if is_sparse else X, y)
    dense = model.unseen_importance(csr_matrix(X) if is_sparse else X, y)
    assert dense.loss == pytest.approx(-model.validation_score_, rel=1e-5)
    assert np.isfinite(dense.importances_mean).all()
    assert (dense.importances_std > 0).any()


def test_blocks_of_columns_say_the_same(friedman, monkeypatch):
    model, X, y = friedman
    whole = model.unseen_importance(X[:600], y[:600])
    monkeypatch.setattr("skensemble.removal._AT_ONCE", 1800)
    blocks = model.unseen_importance(X[:600], y[:600])
    np.testing.assert_array_equal(whole.importances_mean, blocks.importances_mean)


def test_several_outputs_share_a_loss():
    X, y = load_diabetes(return_X_y=True)
    model = SnapshotEnsembleRegressor(**QUICK, n_chains=3).fit(X, np.column_stack([y, -2 * y]))
    found = model.unseen_importance(X, np.column_stack([y, -2 * y]))
    assert found.loss == pytest.approx(-model.validation_score_, rel=1e-5)


@pytest.mark.parametrize("criterion", ["absolute_error", "huber", "quantile"])
def test_the_loss_is_that_by_which_cycles_are_weighed(criterion):
    X, y = load_diabetes(return_X_y=True)
    model = SnapshotEnsembleRegressor(**QUICK, n_chains=3, criterion=criterion).fit(X, y)
    found = model.unseen_importance(X, y)
    assert found.loss == pytest.approx(-model.validation_score_, rel=1e-5)


def test_a_metric_has_no_loss_so_the_log_loss_counts():
    X, y = load_diabetes(return_X_y=True)
    model = SnapshotEnsembleClassifier(**QUICK, n_chains=3, scoring="roc_auc").fit(X, y > 140)
    expected = log_loss(y > 140, model.oof_decision_function_)
    assert model.unseen_importance(X, y > 140).loss == pytest.approx(expected, rel=1e-5)


def test_labels_share_a_loss():
    X, y = load_diabetes(return_X_y=True)
    Y = np.column_stack([y > 140, X[:, 0] > 0]).astype(int)
    model = SnapshotEnsembleClassifier(**QUICK, n_chains=3).fit(X, Y)
    found = model.unseen_importance(X, Y)
    assert found.loss == pytest.approx(-model.validation_score_, rel=1e-5)


def test_a_file_that_was_read_says_the_same(classes, tmp_path):
    model, X, y = classes
    model.save(tmp_path / "model")
    loaded = skensemble.load(tmp_path / "model")
    one = model.unseen_importance(X[:600], y[:600])
    other = loaded.unseen_importance(X[:600], y[:600])
    np.testing.assert_allclose(one.importances_mean, other.importances_mean, rtol=1e-6)


def test_later_calls_find_the_folds_of_the_first():
    X, y = load_diabetes(return_X_y=True)
    model = SnapshotEnsembleRegressor(**QUICK, n_chains=3).fit(X[:200], y[:200])
    model.partial_fit(X[200:], y[200:])
    found = model.unseen_importance(X[200:], y[200:])
    assert found.loss == pytest.approx(-model.validation_score_, rel=1e-5)
    model.refit_members(X[:50], y[:50])
    assert model.unseen_importance(X, y).loss > 0


def test_rows_that_were_dealt_out_by_place_are_compared():
    """Copies over all folds: in another order they would be judged by chains that saw them."""
    rng = np.random.default_rng(0)
    X = rng.integers(2, size=(400, 3)).astype(float)
    y = X[:, 0] + rng.normal(size=400)
    model = SnapshotEnsembleRegressor(**QUICK, n_chains=3).fit(X, y)
    assert model.unseen_importance(X, y).loss == pytest.approx(-model.validation_score_, rel=1e-5)
    for rows in (np.arange(399), rng.permutation(400)):
        with pytest.raises(ValueError, match="all rows of the last call in their order"):
            model.unseen_importance(X[rows], y[rows])


class Pixels(nn.Module):
    def __init__(self):
        super().__init__()
        self.last = nn.Linear(4, 3)

    def forward(self, X):
        return self.last(X.flatten(1))


class Named(Pixels):
    def forward(self, one):
        return self.last(one)


def test_what_has_no_columns_is_refused():
    X, y = load_iris(return_X_y=True)
    X = X.astype(np.float32)
    options = {**QUICK, "validation": 0.2}
    pixels = SnapshotEnsembleClassifier(Pixels, **options).fit(X.reshape(-1, 2, 2), y)
    with pytest.raises(ValueError, match=r"rows of shape \(2, 2\), but expected a table"):
        pixels.unseen_importance(X.reshape(-1, 2, 2), y)
    named = SnapshotEnsembleClassifier(Named, **options).fit({"one": X}, y)
    with pytest.raises(ValueError, match="Got X as a dict, but expected a table"):
        named.unseen_importance({"one": X}, y)


def test_what_cannot_be_told_is_refused(classes):
    model, X, y = classes
    X, y = X[:600], y[:600]
    with pytest.raises(ValueError, match="keeps none"):
        model.unseen_importance(None)
    with pytest.raises(ValueError, match="y=None"):
        model.unseen_importance(X)
    with pytest.raises(ValueError, match="rows='test', but expected one of"):
        model.unseen_importance(X, y, rows="test")
    with pytest.raises(ValueError, match=r"'x12' is none\. Did you mean 'x"):
        model.unseen_importance(X, y, columns=["x12"])
    with pytest.raises(ValueError, match="10 is none"):
        model.unseen_importance(X, y, columns=[10])
    with pytest.raises(ValueError, match="expected values of float64 as in fit"):
        model.unseen_importance(X.astype(np.float32), y)
    held = SnapshotEnsembleClassifier(**QUICK, validation="last", n_chains=2).fit(X, y)
    with pytest.raises(ValueError, match="sample_weight of 0 for all rows"):
        held.unseen_importance(X, y, np.r_[np.ones(300), np.zeros(300)])
    with pytest.raises(ValueError, match="all of whose chains saw all rows"):
        SnapshotEnsembleClassifier(**QUICK, n_chains=1).fit(X, y).unseen_importance(X, y)


def test_outputs_on_another_scale_have_no_loss():
    X, y = load_diabetes(return_X_y=True)
    model = SnapshotEnsembleRegressor(
        criterion=nn.PoissonNLLLoss, **QUICK, n_chains=2, members="all", lr=1e-3
    ).fit(X, y / 100)
    with pytest.raises(ValueError, match="not on the scale of y"):
        model.unseen_importance(X, y / 100)
