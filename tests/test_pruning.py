"""The cycles that predict unseen rows best together."""

import numpy as np
import pytest
from conftest import Items, Mlp, same
from sklearn.datasets import load_diabetes
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold

import skensemble
from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble.averaging import prune

QUICK = {"max_epochs": 10, "n_cycles": 5, "random_state": 0, "early_stopping": False, "lr": 0.02}


@pytest.fixture(scope="module")
def rows(digits):
    return digits[0][:200], digits[1][:200]


@pytest.fixture(scope="module")
def model(rows):
    return SnapshotEnsembleClassifier(n_chains=2, cycle_mult=1.0, **QUICK).fit(*rows)


def found_by_hand(predictions, loss, n):
    """Greedy forward selection, written out."""
    chosen = []
    for _ in range(n):
        left = [m for m in range(len(predictions)) if m not in chosen]
        chosen.append(min(left, key=lambda m: loss(predictions[[*chosen, m]].mean(axis=0))))
    return sorted(chosen)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_cycles_are_found_one_by_one_by_new_rows(model, digits, n):
    X, y = digits[0][200:500], digits[1][200:500]
    by_cycle = model.predict_members(X).reshape(5, 2, 300, 10).mean(axis=1)
    chosen = found_by_hand(by_cycle, lambda p: log_loss(y, p), n)
    pruned = prune(model, n, X, y, rows="new")
    kept = [state for m in chosen for state in model._fitted_.states(m)]
    assert same(pruned._fitted_.all_states(), kept)
    # They are weighed by the rule of the estimator, as by refit_members.
    loss = log_loss(y, pruned.predict_proba(X))
    np.testing.assert_allclose(pruned.validation_score_, -loss)
    assert loss <= log_loss(y, by_cycle[chosen].mean(axis=0)) + 1e-9


def test_training_rows_are_judged_by_the_chain_that_left_them_out(model, rows):
    X, y = rows
    pruned = prune(model, 5, X, y)
    assert same(pruned.snapshots_, model.snapshots_)
    np.testing.assert_allclose(pruned.member_weights_, model.member_weights_, atol=1e-5)
    np.testing.assert_allclose(pruned.cycle_scores_, model.cycle_scores_, rtol=1e-4)
    np.testing.assert_allclose(
        pruned.oof_decision_function_, model.oof_decision_function_, atol=1e-4
    )
    one = prune(model, 1, X, y)
    alone = [prune(model, 1, X, y).validation_score_]
    scores = []
    for m in range(5):
        weigh = np.eye(5)[m]
        other = SnapshotEnsembleClassifier(
            n_chains=2,
            cycle_mult=1.0,
            members=lambda p, y, w, by=weigh: by[: len(p)] + 1e-12,
            **QUICK,
        ).fit(X, y)
        scores.append(other.validation_score_)
    np.testing.assert_allclose(alone[0], max(scores), rtol=1e-6)
    assert one.n_cycles_ == 1


@pytest.mark.parametrize("validation", [KFold(3), KFold(3, shuffle=True)])
def test_rows_of_other_folds_are_refused(rows, validation):
    """By rows that it has seen, a chain would be judged far too well."""
    X, y = rows
    y = np.random.default_rng(0).permutation(y)  # noise, which a chain can only have seen
    model = SnapshotEnsembleClassifier(Mlp, validation=validation, **QUICK).fit(X, y)
    order = np.random.default_rng(1).permutation(len(X))
    with pytest.raises(ValueError, match="predict something else than in fit, but expected all"):
        prune(model, 2, X[order], y[order])
    if validation.shuffle:  # it draws anew
        with pytest.raises(ValueError, match="give random_state= of it an integer"):
            prune(model, 2, X, y)
    else:
        assert prune(model, 99, X, y).validation_score_ == pytest.approx(model.validation_score_)


def test_a_file_without_predictions_cannot_tell_folds_by_place(rows, tmp_path):
    X, y = rows
    model = SnapshotEnsembleClassifier(Mlp, validation=KFold(3), **QUICK).fit(X, y)
    loaded = [
        skensemble.load(model.save(tmp_path / "model", include=include) or tmp_path / "model",
                        module=Mlp)
        for include in ((), ("unseen",))
    ]  # fmt: skip
    with pytest.raises(
        ValueError, match=r"Got an ensemble without what it predicted .* rows='new'"
    ):
        prune(loaded[0], 2, X, y)
    assert prune(loaded[1], 2, X, y).n_cycles_ == 2


def test_several_outputs_count_alike():
    """Each in its own unit, as where cycles are weighed."""
    X, y = load_diabetes(return_X_y=True)
    y = np.c_[y, 1e4 * X[:, 0]]
    model = SnapshotEnsembleRegressor(n_chains=1, validation=None, **QUICK).fit(X[:300], y[:300])
    X, y, unit = X[300:], y[300:], y[:300].std(axis=0)
    members = model.predict_members(X)
    chosen = found_by_hand(members, lambda p: (((p - y) / unit) ** 2).mean(), 2)
    pruned = prune(model, 2, X, y, rows="new")
    assert same(pruned.snapshots_, [model.snapshots_[m] for m in chosen])


def test_without_rows_the_weights_of_the_fit_count(rows):
    weights = np.array([0.1, 0.4, 0.0, 0.3, 0.2])
    model = SnapshotEnsembleClassifier(
        n_chains=2, cycle_mult=1.0, members=lambda p, y, w: weights[: len(p)] + 1e-300, **QUICK
    ).fit(*rows)
    pruned = prune(model, 2)
    assert same(pruned.snapshots_, model.snapshots_[2:4] + model.snapshots_[6:8])
    np.testing.assert_allclose(pruned.member_weights_, np.array([4, 4, 3, 3]) / 14)
    assert not hasattr(pruned, "validation_score_")
    assert same([pruned.net_.module_.state_dict()], pruned.snapshots_[2:3])


def test_what_is_dropped_leaves_memory(model, rows):
    pruned = prune(model, 1, *rows)
    sizes = [
        sum(stack.nbytes for stack in m._fitted_.snapshots.whole[0].values())
        for m in (pruned, model)
    ]
    assert sizes[0] * 5 == sizes[1]
    storage = {t.untyped_storage().nbytes() for t in pruned._fitted_.snapshots.whole[0].values()}
    assert max(storage) * 5 <= sum(sizes)


def test_more_than_there_are_are_all(model):
    assert prune(model, 99).n_cycles_ == 5
    assert model.n_cycles_ == 5


def test_a_dataset_brings_its_own_targets(rows):
    X, y = rows[0].astype(np.float32), rows[1]
    model = SnapshotEnsembleClassifier(
        Mlp, module__n_inputs=64, module__n_outputs=10, validation=0.3, **QUICK
    ).fit(Items(X, y))
    pruned = prune(model, 2, Items(X, y))
    assert pruned.n_cycles_ == 2
    assert pruned.validation_score_ < 0


def test_what_cannot_be_meant_is_refused(model, rows):
    with pytest.raises(ValueError, match="Got X without y, but expected both"):
        prune(model, 2, rows[0])
    with pytest.raises(ValueError, match="Got y, sample_weight or groups without X"):
        prune(model, 2, None, rows[1])
    for value in (0, 1.5, True, "2"):
        with pytest.raises(ValueError, match=r"Got n_cycles=.*, but expected an integer of"):
            prune(model, value)
    with pytest.raises(ValueError, match="Got X whose rows are told apart by groups="):
        prune(model, 2, *rows, groups=np.arange(200) % 7)
