"""How many chains there are, and which rows each leaves out."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from conftest import QUICK, Items, Mlp
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    PredefinedSplit,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
)
from torch.utils.data import Dataset

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._data.folds import folds
from skensemble._data.sources import ArrayInput


@pytest.fixture
def classifier():
    return SnapshotEnsembleClassifier(module__hidden=(16,), n_chains=4, **QUICK)


def test_a_hash_is_a_fair_die():
    X = np.random.default_rng(0).standard_normal((40_000, 3))
    chosen = folds("cross", 8, ArrayInput(X), None, None, 0)
    sizes = [len(rows) for rows in chosen.left_out]
    assert max(abs(np.array(sizes) - 5000)) < 5 * np.sqrt(5000 * 7 / 8)
    np.testing.assert_array_equal(np.sort(np.concatenate(chosen.left_out)), np.arange(40_000))
    for trained, out in zip(chosen.trained, chosen.left_out, strict=True):
        assert len(np.intersect1d(trained, out)) == 0
        assert len(trained) + len(out) == 40_000
    part = folds(0.3, 3, ArrayInput(X), None, None, 0)
    assert len(part.left_out[0]) == pytest.approx(12_000, rel=0.05)
    for out in part.left_out:
        np.testing.assert_array_equal(out, part.left_out[0])
    lone = folds("cross", 1, ArrayInput(X), None, None, 0)
    assert len(lone.left_out[0]) == pytest.approx(8000, rel=0.05)


def test_rows_keep_their_folds_in_later_calls(digits):
    X, _ = digits
    whole = folds("cross", 5, ArrayInput(X), None, None, 9)
    half = folds("cross", 5, ArrayInput(X[300:]), None, None, 9, whole.assignment)
    for all_rows, later in zip(whole.left_out, half.left_out, strict=True):
        np.testing.assert_array_equal(all_rows[all_rows >= 300] - 300, later)


@pytest.mark.parametrize("splitter", [KFold(3), StratifiedKFold(3), GroupKFold(3)])
def test_a_splitters_folds_are_the_chains(digits, splitter):
    X, y = digits
    groups = np.arange(len(y)) // 10 if isinstance(splitter, GroupKFold) else None
    model = SnapshotEnsembleClassifier(module__hidden=(16,), validation=splitter, **QUICK)
    model.fit(X, y, groups=groups)
    assert model.n_chains_ == 3
    members = model.predict_members(X).reshape(2, 3, len(X), 10)
    weights = model.member_weights_.reshape(2, 3).sum(axis=1)
    for k, (_, test) in enumerate(splitter.split(X, y, groups)):
        expected = np.tensordot(weights, members[:, k, test], axes=1)
        np.testing.assert_allclose(model.oof_decision_function_[test], expected, atol=1e-6)


def test_groups_share_a_fold_and_are_routed(digits):
    X, y = digits
    groups = np.array([f"patient {i // 6}" for i in range(len(y))])
    chosen = folds("cross", 4, ArrayInput(X), y, groups, 0)
    for out in chosen.left_out:
        assert not set(groups[out]) & set(np.delete(groups, out))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        SnapshotEnsembleClassifier(**QUICK).fit(X, y, groups=groups[:5])
    import sklearn
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    splitter = LeaveOneGroupOut()
    coarse = np.arange(len(y)) % 3
    with sklearn.config_context(enable_metadata_routing=True):
        model = SnapshotEnsembleClassifier(
            Mlp, validation=splitter, n_chains=3, **QUICK
        ).set_fit_request(groups=True)
        pipeline = make_pipeline(StandardScaler(), model)
        fitted = pipeline.fit(X, y, groups=coarse)[-1]
    assert fitted.n_chains_ == 3


@pytest.mark.parametrize(
    ("validation", "message"),
    [
        (ShuffleSplit(4), "leaves out each row exactly once"),
        (ShuffleSplit(3, random_state=0), "leaves out each row exactly once"),
        (1.5, "Got validation=1.5, but expected"),
        (0, "Got validation=0, but expected"),
        ("folds", "Got validation='folds', but expected"),
    ],
)
def test_wrong_validation_is_named(digits, validation, message):
    with pytest.raises(ValueError, match=message):
        SnapshotEnsembleClassifier(Mlp, validation=validation, **QUICK).fit(*digits)


def test_chains_and_splits_must_be_as_many(digits):
    with pytest.raises(ValueError, match=r"n_chains=2 and validation=KFold.* with 3 splits"):
        SnapshotEnsembleClassifier(Mlp, n_chains=2, validation=KFold(3), **QUICK).fit(*digits)


@pytest.mark.parametrize("members", ["stacked", "greedy", lambda p, y, w: np.ones(len(p))])
def test_rules_that_need_unseen_rows_say_so(digits, members):
    model = SnapshotEnsembleClassifier(Mlp, members=members, **QUICK)
    with pytest.raises(ValueError, match="validation='cross'"):
        model.fit(*digits)
    model.set_params(validation="cross").fit(*digits)
    assert model.n_chains_ == 1
    assert np.isfinite(model.validation_score_)


def test_frames_tensors_and_sparse_rows_have_the_folds_of_the_array(digits, classifier):
    X, y = digits
    expected = classifier.fit(X, y).oof_decision_function_
    frame = pd.DataFrame(X).add_prefix("c")
    for same in (frame, pl.from_pandas(frame), torch.from_numpy(X), sp.csr_matrix(X)):
        got = clone(classifier).fit(same, y).oof_decision_function_
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_datasets_and_dicts_leave_rows_out_too(digits):
    X, y = digits[0][:200] / 16, digits[1][:200]
    for data, module in ((Items(X, y), Mlp(64, 10)), ({"X": X}, Mlp)):
        model = SnapshotEnsembleClassifier(
            module, n_chains=3, lr=0.01, **({"module__n_inputs": 64} if module is Mlp else {}),
            **QUICK,
        )  # fmt: skip
        model.fit(data, None if isinstance(data, Dataset) else y)
        assert model.oof_decision_function_.shape == (200, 10)
        assert np.isfinite(model.oof_decision_function_).all()


@pytest.mark.parametrize("n", [2, 5, 20, 33, 40, 64])
def test_tiny_tables_get_fewer_chains(n):
    X, y = make_classification(n, random_state=0)
    y[:2] = [0, 1]
    model = SnapshotEnsembleClassifier(max_epochs=8, n_cycles=2, random_state=0).fit(X, y)
    assert model.n_chains_ == (1 if n <= 32 else n // 16)
    assert model.predict(X).shape == (n,)
    assert hasattr(model, "validation_score_") == (n > 32)
    for members in ("stacked", "greedy"):  # a grid must not break
        clone(model).set_params(members=members).fit(X, y)


def test_more_chains_than_rows_are_clipped(iris):
    X, y = iris
    model = SnapshotEnsembleClassifier(Mlp, n_chains=9, **QUICK)
    with pytest.warns(UserWarning, match="Got n_chains=9 for 4 rows"):
        model.set_params(n_cycles=1).fit(X[48:52], y[48:52])
    assert model.n_chains_ == 4
    same = np.ones((40, 4))
    with pytest.warns(UserWarning, match="nothing is left out"):  # one fold holds all rows
        model.set_params(n_chains=3).fit(same, np.arange(40) % 2, groups=np.ones(40))
    assert not hasattr(model, "validation_score_")
    model.fit(same, np.arange(40) % 2)  # copies are spread over the folds
    assert model.validation_score_ == pytest.approx(np.log(0.5), rel=0.2)


def test_a_call_of_one_row_trains_all_chains(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, n_chains=3, **QUICK).fit(X, y)
    model.partial_fit(X[:1], y[:1])
    assert model.n_cycles_ == 3


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"X_val": True}, {}),
        ({"validation": None}, {"validation": "cross"}),
        ({"groups": True}, {}),
        ({"validation": KFold(2)}, {}),
        ({"validation": 0.3}, {"validation": 0.4}),
    ],
)
def test_what_earlier_calls_may_have_seen_is_never_called_unseen(digits, first, then):
    """Promise 9, where a fit goes on with rows left out in another way."""
    X, y = digits
    data = {}
    if first.pop("X_val", False):
        data = {"X_val": X[:50] + 1, "y_val": y[:50]}
    if first.pop("groups", False):
        data = {"groups": np.arange(len(y)) // 5}
    model = SnapshotEnsembleClassifier(module__hidden=(8,), n_chains=2, **QUICK, **first)
    model.fit(X, y, **data)
    with pytest.warns(UserWarning, match="left out in another way"):
        model.set_params(**then).partial_fit(X, y)
    assert not hasattr(model, "validation_score_")
    np.testing.assert_allclose(model.member_weights_, np.full(6, 1 / 6))
    held = clone(model).set_params(warm_start=True, validation="auto").fit(X, y)
    held.fit(X[:500], y[:500], X_val=X[500:], y_val=y[500:])
    assert held.cycle_scores_.shape == (4,)


@pytest.mark.parametrize("groups", [[None, "a", 3] * 200, np.arange(600), ["x", "y"] * 300])
def test_groups_of_any_kind(digits, groups):
    model = SnapshotEnsembleClassifier(Mlp, n_chains=2, **QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two groups may have one fold
        model.fit(*digits, groups=groups)
    with pytest.raises(ValueError, match="Got groups of shape"):
        model.fit(*digits, groups=np.zeros((600, 2)))


# ------------------------------------------------------------------------ one part for all


@pytest.mark.parametrize("n_chains", [1, 4])
@pytest.mark.parametrize(
    ("validation", "train", "test"),
    [
        ("last", slice(0, 80), slice(80, 100)),
        (TimeSeriesSplit(4), slice(0, 80), slice(80, 100)),
        (TimeSeriesSplit(3, test_size=10, gap=5), slice(0, 85), slice(90, 100)),
        (TimeSeriesSplit(3, max_train_size=30), slice(45, 75), slice(75, 100)),
        (PredefinedSplit([-1] * 60 + [0] * 40), slice(0, 60), slice(60, 100)),
    ],
    ids=str,
)
def test_all_chains_leave_out_an_unseen_tail(validation, train, test, n_chains):
    """Rows of neither part have no weight anywhere: the fit is that of the training part."""
    X = np.random.default_rng(0).normal(size=(100, 3))
    y = X[:, 0] + 0.1 * X[:, 1]
    parameters = {"max_epochs": 3, "n_cycles": 2, "n_chains": n_chains, "random_state": 0}
    model = SnapshotEnsembleRegressor(validation=validation, **parameters).fit(X, y)
    assert model.n_chains_ == n_chains
    expected = -mean_squared_error(y[test], model.predict(X[test]))
    assert model.validation_score_ == pytest.approx(expected, rel=1e-5)
    rows = np.arange(100)
    folds_now = folds(validation, n_chains, ArrayInput(X), y, None, 0)
    for k in range(n_chains):
        np.testing.assert_array_equal(folds_now.trained[k], rows[train])
        np.testing.assert_array_equal(folds_now.left_out[k], rows[test])


def test_the_tail_tells_the_score_of_the_future():
    """Where a level rises, folds of all times flatter; the tail does not."""
    rng = np.random.default_rng(0)
    day = np.arange(800.0)
    X = np.c_[day / 7, rng.normal(size=800)]
    y = day / 50 + X[:, 1]
    future = slice(600, 800)
    score = {}
    for validation in ("cross", "last"):
        model = SnapshotEnsembleRegressor(validation=validation, max_epochs=20, random_state=0)
        model.fit(X[:600], y[:600])
        true = mean_squared_error(y[future], model.predict(X[future]))
        score[validation] = -model.validation_score_ / true
    assert score["cross"] < 0.01
    assert 0.03 < score["last"] < 2


def test_a_tail_and_groups_are_not_asked_for_together(iris):
    X, y = iris
    with pytest.raises(ValueError, match="Got groups with validation='last'"):
        SnapshotEnsembleClassifier(validation="last").fit(X, y, groups=y)
    with pytest.raises(ValueError, match="a single split, or a TimeSeriesSplit"):
        SnapshotEnsembleClassifier(validation=ShuffleSplit(3)).fit(X, y)
    splitter = ShuffleSplit(1, random_state=0)
    once = SnapshotEnsembleClassifier(validation=splitter, max_epochs=1, n_cycles=2)
    assert once.fit(X, y).n_chains_ == 8
