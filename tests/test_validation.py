"""Rows that chains leave out: which, and what comes of them."""

import os
import signal
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from conftest import Mlp
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    LeaveOneGroupOut,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
)
from skorch.callbacks import Checkpoint, EarlyStopping, EpochScoring
from torch import nn
from torch.utils.data import Dataset

import skensemble
from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._data.folds import folds, row_hashes
from skensemble._data.sources import ArrayInput, DictInput, SparseInput
from skensemble.defaults import auto_column_dropout, auto_hidden, auto_n_chains

QUICK = {"max_epochs": 4, "n_cycles": 2, "random_state": 0}


@pytest.fixture
def classifier():
    return SnapshotEnsembleClassifier(module__hidden=(16,), n_chains=4, **QUICK)


# ------------------------------------------------------------------------- rule 2: hashes


def test_equal_rows_have_equal_hashes_whatever_holds_them():
    rng = np.random.default_rng(0)
    X = rng.integers(-3, 3, (200, 6)).astype(np.float64)
    X[5] = X[77]
    X[6, 2], X[78] = -0.0, X[6]
    X[78, 2] = 0.0
    hashes = row_hashes(ArrayInput(X), 3)
    assert hashes[5] == hashes[77]
    assert hashes[6] == hashes[78]
    for same in (
        ArrayInput(X.astype(np.float32)),
        ArrayInput(X.astype(int)),
        ArrayInput(np.asfortranarray(X)),
        SparseInput(sp.csr_matrix(X)),
        SparseInput(sp.csr_array(X)),
        ArrayInput(X.reshape(200, 2, 3)),
    ):
        np.testing.assert_array_equal(row_hashes(same, 3), hashes)
    assert (row_hashes(ArrayInput(X), 4) != hashes).all()
    distinct = len(np.unique(X, axis=0))
    assert len(np.unique(hashes)) == distinct
    swapped = row_hashes(ArrayInput(X[:, ::-1].copy()), 3)
    palindromes = (X[:, ::-1] == X).all(axis=1)
    assert (swapped == hashes).sum() == palindromes.sum()
    named = DictInput({"a": X[:, :3], "b": X[:, 3:]})
    assert len(np.unique(row_hashes(named, 3))) == distinct


def test_nan_is_one_value():
    X = np.array([[np.nan, 1.0], [-np.nan, 1.0], [np.nan, 2.0]])
    one, two, three = row_hashes(ArrayInput(X), 0)
    assert one == two != three


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
    half = folds("cross", 5, ArrayInput(X[300:]), None, None, 9)
    for all_rows, later in zip(whole.left_out, half.left_out, strict=True):
        np.testing.assert_array_equal(all_rows[all_rows >= 300] - 300, later)


# --------------------------------------------------- promise 9: out of fold is out of fold


@pytest.mark.parametrize("module", [None, Mlp])
def test_poisoned_targets_of_a_fold_move_none_of_its_predictions(digits, module):
    X, y = digits
    seen = []

    def watching(predictions, y, sample_weight):
        seen.append(predictions)
        return np.ones(len(predictions))

    model = SnapshotEnsembleClassifier(module, n_chains=3, members=watching, **QUICK)
    clone(model).fit(X, y)
    fold = folds("cross", 3, ArrayInput(X), None, None, 0).left_out[1]
    poisoned = y.copy()
    poisoned[fold] = np.random.default_rng(0).permutation(y[fold])
    before = seen[-1]
    clone(model).fit(X, poisoned)
    after = seen[-1]
    np.testing.assert_array_equal(after[:, fold], before[:, fold])
    others = np.setdiff1d(np.arange(len(y)), fold)
    assert np.abs(after[:, others] - before[:, others]).max() > 0.01


@pytest.mark.parametrize("repeats", [1, 3])
def test_random_labels_are_predicted_at_chance(repeats):
    """Also where every row stands three times, with a label of its own copy."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((400, 5)), rng.integers(0, 2, 400)
    X, y = np.repeat(X, repeats, axis=0), np.repeat(y, repeats)
    model = SnapshotEnsembleClassifier(
        max_epochs=80, n_cycles=2, members=1, module__dropout=0.0, random_state=0
    )
    assert model.fit(X, y).score(X, y) > 0.75  # it learned them by heart
    right = (model.oof_decision_function_.argmax(axis=1) == y).mean()
    assert 0.4 < right < 0.6
    assert model.validation_score_ < -0.65


def test_unseen_predictions_come_from_the_chain_that_left_the_row_out(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(n_chains=3, members="all", **QUICK).fit(X, y)
    members = model.predict_members(X).reshape(2, 3, len(X), 10).mean(axis=0)
    left = folds("cross", 3, ArrayInput(X), None, None, 0).left_out
    for k, rows in enumerate(left):
        np.testing.assert_allclose(model.oof_decision_function_[rows], members[k][rows], atol=1e-6)
    np.testing.assert_allclose(model.oof_decision_function_.sum(axis=1), 1, atol=1e-12)
    score = -log_loss(y, model.oof_decision_function_)
    assert model.validation_score_ == pytest.approx(score, rel=1e-5)
    assert model.validation_score_ == model.cycle_scores_[-1]


def test_scores_of_regression_are_those_of_scikit_learn(diabetes):
    X, y = diabetes
    weight = np.random.default_rng(0).random(len(y))
    model = SnapshotEnsembleRegressor(n_chains=4, **QUICK).fit(X, y, sample_weight=weight)
    expected = -mean_squared_error(y, model.oof_prediction_, sample_weight=weight)
    assert model.oof_prediction_.shape == y.shape
    assert model.validation_score_ == pytest.approx(expected, rel=1e-9)
    Y = np.stack([y, 1e6 + 1e3 * y], axis=1)
    several = clone(model).fit(X, Y)
    assert several.oof_prediction_.shape == Y.shape
    expected = -mean_squared_error(Y, several.oof_prediction_)
    assert several.validation_score_ == pytest.approx(expected, rel=1e-9)


# ------------------------------------------------------------------------ kinds of validation


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
        (TimeSeriesSplit(3), "leaves out each row exactly once"),
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


@pytest.mark.parametrize("n_chains", [1, 3])
@pytest.mark.parametrize("how", ["fraction", "X_val"])
def test_rows_that_all_chains_leave_out(digits, how, n_chains):
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, n_chains=n_chains, members="stacked", **QUICK)
    if how == "fraction":
        model.set_params(validation=0.3).fit(X, y)
        rows = folds(0.3, 1, ArrayInput(X), None, None, 0).left_out[0]
        X_val, y_val, weight = X[rows], y[rows], None
    else:
        X_val, y_val, weight = X[:200], y[:200], np.arange(200.0)
        model.fit(X[200:], y[200:], X_val=X_val, y_val=y_val, sample_weight_val=weight)
    expected = -log_loss(y_val, model.predict_proba(X_val), sample_weight=weight, labels=range(10))
    assert model.validation_score_ == pytest.approx(expected, rel=1e-4)
    stages = [
        -log_loss(y_val, p, sample_weight=weight, labels=range(10))
        for p in model.staged_predict_proba(X_val)
    ]
    np.testing.assert_allclose(model.cycle_scores_, stages, rtol=1e-4)
    if how == "X_val":
        assert not hasattr(model, "oof_decision_function_")


def test_held_out_rows_are_checked(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, **QUICK)
    with pytest.raises(ValueError, match="Got X_val without y_val"):
        model.fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="without X_val"):
        model.fit(X, y, y_val=y)
    with pytest.raises(ValueError, match="features"):
        model.fit(X, y, X_val=X[:, 1:], y_val=y)
    with pytest.raises(ValueError, match="classes"):
        model.fit(X, y, X_val=X, y_val=y + 100)


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


class Items(Dataset):
    def __init__(self, X, y):
        self.X, self.y = X, y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return torch.from_numpy(self.X[i]).float(), int(self.y[i])


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


# ------------------------------------------------------------------- few rows, rare classes


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


def test_rules_of_auto_by_the_number_of_rows():
    rows = [32, 33, 127, 128, 255, 256, 9_999, 10_000, 199_999, 200_000]
    assert [auto_n_chains(n, True) for n in rows] == [1, 2, 7, 8, 8, 8, 8, 8, 8, 4]
    assert [auto_n_chains(n, False) for n in rows] == [1, 2, 7, 8, 15, 16, 16, 8, 8, 4]
    assert [auto_hidden(n, 8, True)[1] for n in (9_999, 10_000)] == [64, 128]
    assert [auto_column_dropout(n, True) for n in (199_999, 200_000)] == [0.1, 0]
    assert auto_column_dropout(400, False) == 0


@pytest.mark.parametrize(
    ("estimator", "n", "n_chains", "units"),
    [
        (SnapshotEnsembleClassifier(), 400, 8, (128, 64)),
        (SnapshotEnsembleClassifier(n_chains=9), 400, 9, (128, 64)),
        (SnapshotEnsembleRegressor(), 400, 16, (64, 64)),
        (SnapshotEnsembleRegressor(), 150, 9, (64, 64)),
        (SnapshotEnsembleRegressor(), 130, 8, (128, 128)),
        (SnapshotEnsembleRegressor(n_chains=2), 400, 2, (128, 128)),
        (SnapshotEnsembleRegressor(module__hidden=(32, 48)), 400, 16, (32, 48)),
    ],
)
def test_sizes_of_the_built_in_network(estimator, n, n_chains, units):
    X = np.random.default_rng(0).normal(size=(n, 2)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    model = estimator.set_params(max_epochs=1, n_cycles=1).fit(X, y)
    assert model.n_chains_ == n_chains
    state = model.snapshots_[0]
    assert (len(state["layers.0.bias"]), len(state["layers.3.bias"])) == units


def test_more_chains_than_rows_are_clipped(iris):
    X, y = iris
    model = SnapshotEnsembleClassifier(Mlp, n_chains=9, **QUICK)
    with pytest.warns(UserWarning, match="Got n_chains=9 for 4 rows"):
        model.set_params(n_cycles=1).fit(X[48:52], y[48:52])
    assert model.n_chains_ == 4
    same = np.ones((40, 4))
    with pytest.warns(UserWarning, match="nothing is left out"):  # one fold holds all rows
        model.set_params(n_chains=3).fit(same, np.arange(40) % 2)
    assert not hasattr(model, "validation_score_")


def test_a_class_of_one_row_is_predicted(cancer):
    X, y = cancer
    y = y.copy()
    y[0] = 2
    model = SnapshotEnsembleClassifier(module__hidden=(16,), **QUICK).fit(X, y)
    assert model.predict_proba(X).shape == (569, 3)
    assert np.isfinite(model.validation_score_)


def test_an_empty_fold_has_no_say():
    X = np.repeat(np.arange(3.0)[:, None], 20, axis=0)
    y = np.repeat([0, 1, 1], 20)
    model = SnapshotEnsembleClassifier(n_chains=8, **QUICK).fit(X, y)
    assert model.n_chains_ == 8
    assert np.isfinite(model.validation_score_)
    assert np.isfinite(model.oof_decision_function_).all()


def test_a_call_of_one_row_trains_all_chains(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, n_chains=3, **QUICK).fit(X, y)
    model.partial_fit(X[:1], y[:1])
    assert model.n_cycles_ == 3


# ---------------------------------------------------------------------------- what comes of it


def test_members_of_no_weight_are_not_predicted(digits, monkeypatch):
    X, y = digits
    model = SnapshotEnsembleClassifier(
        n_chains=3, members=lambda p, y, w: np.eye(len(p))[0], **QUICK
    ).fit(X, y)
    np.testing.assert_allclose(model.member_weights_, [1 / 3] * 3 + [0] * 3)
    first = model.predict_members(X)[:3].mean(axis=0)
    np.testing.assert_allclose(model.predict_proba(X), first, atol=1e-6)
    asked = []
    whole = skensemble.fitted.member_outputs
    monkeypatch.setattr(
        "skensemble.fitted.member_outputs",
        lambda net, snapshots, members, chunks: (
            asked.append(list(members)) or whole(net, snapshots, members, chunks)
        ),
    )
    model.predict(X)
    assert asked == [[0, 1, 2]]
    stacks = model._fitted_.snapshots.stacks([0, 1, 2])
    assert all(
        part.data_ptr() == model._fitted_.snapshots._stacks[name].data_ptr()
        for name, part in stacks.items()
    )


def test_weights_of_rows_move_the_choice():
    """Rows of weight zero have no say; a weight counts as repeats."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((300, 4)), rng.integers(0, 2, 300)
    weight = np.where(np.arange(300) < 150, 1.0, 0.0)
    scores = []

    def watching(predictions, y, sample_weight):
        scores.append(sample_weight)
        return np.ones(len(predictions))

    model = SnapshotEnsembleClassifier(n_chains=2, members=watching, **QUICK)
    model.fit(X, y, sample_weight=weight)
    np.testing.assert_allclose(scores[-1], 2 * weight)
    expected = -log_loss(y, model.oof_decision_function_, sample_weight=weight)
    assert model.validation_score_ == pytest.approx(expected, rel=1e-5)


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


@pytest.mark.parametrize("wrong", [[1.0], [-1, 2], [0, 0], [np.nan, 1], "no"])
def test_what_a_rule_returns_is_checked(digits, wrong):
    model = SnapshotEnsembleClassifier(Mlp, n_chains=2, members=lambda p, y, w: wrong, **QUICK)
    with pytest.raises(ValueError, match=r"weights|convert"):
        model.fit(*digits)
    assert not hasattr(model, "net_")


def test_early_stopping_is_a_prefix():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 5))
    y = (X[:, 0] + rng.standard_normal(300) > 0).astype(int)  # soon overfitted
    model = SnapshotEnsembleClassifier(
        n_chains=2, n_cycles=6, max_epochs=60, random_state=0, early_stopping=False
    )
    whole = clone(model).fit(X, y)
    short = clone(model).set_params(early_stopping=True, n_iter_no_change=1).fit(X, y)
    assert short.n_cycles_ < 6
    np.testing.assert_array_equal(short.cycle_scores_, whole.cycle_scores_[: short.n_cycles_])
    for got, expected in zip(short.snapshots_, whole.snapshots_, strict=False):
        assert all(torch.equal(got[name], expected[name]) for name in got)
    textbook = SnapshotEnsembleClassifier(Mlp, early_stopping=True, **QUICK).fit(X, y)
    assert textbook.n_cycles_ == 2  # without unseen rows it does nothing


def test_callbacks_of_skorch_find_unseen_rows(digits, tmp_path):
    X, y = digits
    checkpoint = Checkpoint(dirname=str(tmp_path))
    scoring = EpochScoring("accuracy", on_train=False, name="valid_acc", lower_is_better=False)
    model = SnapshotEnsembleClassifier(
        Mlp, validation=0.25, callbacks=[EarlyStopping(patience=50), scoring, checkpoint],
        **QUICK,
    ).fit(X / 16, y)  # fmt: skip
    rows = folds(0.25, 1, ArrayInput(X / 16), None, None, 0).left_out[0]
    accuracy = (model.net_.predict((X / 16)[rows].astype(np.float32)) == y[rows]).mean()
    assert model.history_[-1, "valid_acc"] == pytest.approx(accuracy)
    loss = nn.functional.cross_entropy(
        model.net_.forward((X / 16)[rows].astype(np.float32)), torch.from_numpy(y[rows])
    )
    assert model.history_[-1, "valid_loss"] == pytest.approx(float(loss), rel=1e-4)
    assert list(tmp_path.iterdir())
    quiet = SnapshotEnsembleClassifier(Mlp, validation=0.25, **QUICK).fit(X, y)
    assert "valid_loss" not in quiet.history_[-1]
    with pytest.raises(ValueError, match="validation="):
        SnapshotEnsembleClassifier(Mlp, callbacks=[EarlyStopping()], **QUICK).fit(X, y)


def test_values_of_another_criterion_are_not_compared_with_the_targets(diabetes):
    """Logarithms of rates are no predictions of counts."""
    X, y = diabetes
    model = SnapshotEnsembleRegressor(n_chains=2, criterion=nn.PoissonNLLLoss, **QUICK)
    model.fit(X, y / 100)
    np.testing.assert_allclose(model.member_weights_, np.full(4, 1 / 4))


def test_unseen_rows_that_weigh_nothing_say_nothing(digits):
    X, y = digits
    rows = folds("cross", 1, ArrayInput(X), None, None, 0).left_out[0]
    weight = np.ones(len(y))
    weight[rows] = 0
    model = SnapshotEnsembleClassifier(Mlp, validation="cross", **QUICK)
    model.fit(X, y, sample_weight=weight)
    assert not hasattr(model, "validation_score_")


def test_precisions_are_told_apart(digits):
    """A number in single precision may be another, in another fold."""
    X, y = digits[0] / 7, digits[1]
    model = SnapshotEnsembleClassifier(module__hidden=(8,), n_chains=2, **QUICK)
    model.fit(X.astype(np.float32), y)
    with pytest.warns(UserWarning, match="left out in another way"):
        model.partial_fit(X, y)


def test_time_stamps_of_one_minute_have_folds_of_their_own():
    X = 1.7e9 + np.linspace(0, 60, 500)[:, None]
    chosen = folds("cross", 4, ArrayInput(X), None, None, 0)
    assert min(len(rows) for rows in chosen.left_out) > 80


# --------------------------------------------------------------------- interruptions, going on


def test_ctrl_c_while_unseen_rows_are_predicted(digits, monkeypatch):
    """Promise 7: the cycles before count, with weights of their own."""
    X, y = digits
    whole = skensemble.unseen.UnseenRows._predict

    def interrupted(self, snapshots):
        if len(self.cycles) == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return whole(self, snapshots)

    monkeypatch.setattr("skensemble.unseen.UnseenRows._predict", interrupted)
    model = SnapshotEnsembleClassifier(n_chains=2, n_cycles=3, max_epochs=3, random_state=0)
    with pytest.warns(RuntimeWarning, match="keeps the 1 of 3 cycles"):
        model.fit(X, y)
    np.testing.assert_allclose(model.member_weights_, [0.5, 0.5])
    assert model.cycle_scores_.shape == (1,)
    for name, value in model.net_.module_.state_dict().items():
        assert torch.equal(value, model.snapshots_[0][name])


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


def test_an_epoch_that_early_stopping_cuts_short_is_told(digits):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((400, 5)), rng.integers(0, 2, 400)
    model = SnapshotEnsembleClassifier(n_chains=2, max_epochs=40, random_state=0).fit(X, y)
    assert model.n_cycles_ < 8
    assert np.isfinite(model.history_[-1, "train_loss"])
    assert model.n_iter_ == len(model.history_) < 40


def test_regressors_and_monitors_bear_an_empty_fold(diabetes):
    X, y = diabetes
    groups = np.arange(len(y)) % 4
    model = SnapshotEnsembleRegressor(max_epochs=4, n_cycles=2, random_state=0)
    assert np.isfinite(model.fit(X, y, groups=groups).validation_score_)
    weight = np.random.default_rng(0).random(len(y))
    model.set_params(callbacks=[EarlyStopping(patience=9)])
    model.fit(X, y, groups=groups, sample_weight=weight)
    assert np.isfinite(model.history_[-1, "valid_loss"])


def test_dicts_and_monitors(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(
        Mlp, module__n_inputs=64, validation=0.3, callbacks=[EarlyStopping(patience=9)], **QUICK
    )
    assert np.isfinite(model.fit({"X": X / 16}, y).history_[-1, "valid_loss"])
    sampler = torch.utils.data.RandomSampler(range(600))
    with pytest.raises(ValueError, match="sampler by iterator_train__"):
        model.set_params(iterator_train__sampler=sampler, callbacks=None).fit({"X": X}, y)


def test_weights_of_classes_are_those_of_the_fit(digits):
    """Also for rows whose classes are balanced otherwise."""
    X, y = digits
    y = (y == 3).astype(int)
    held = np.concatenate([np.flatnonzero(y)[:20], np.flatnonzero(1 - y)[:20]])
    model = SnapshotEnsembleClassifier(Mlp, class_weight="balanced", members="all", **QUICK)
    model.fit(X, y, X_val=X[held], y_val=y[held])
    weight = len(y) / (2 * np.bincount(y))
    expected = -log_loss(y[held], model.predict_proba(X[held]), sample_weight=weight[y[held]])
    assert model.validation_score_ == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="Of X_val, y_val and sample_weight_val: "):
        model.fit(X, y, X_val=X[held], y_val=y[held], sample_weight_val=np.zeros(40))


@pytest.mark.parametrize("groups", [[None, "a", 3] * 200, np.arange(600), ["x", "y"] * 300])
def test_groups_of_any_kind(digits, groups):
    model = SnapshotEnsembleClassifier(Mlp, n_chains=2, **QUICK)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two groups may have one fold
        model.fit(*digits, groups=groups)
    with pytest.raises(ValueError, match="Got groups of shape"):
        model.fit(*digits, groups=np.zeros((600, 2)))
