"""One network of the snapshots of a chain, and draws around it, against plain torch."""

import pickle

import numpy as np
import pytest
import torch
from conftest import Items, Mlp, Normalised, same, serve
from sklearn.datasets import load_diabetes
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.optim.swa_utils import AveragedModel, update_bn

import skensemble
from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble.averaging import average_weights, prune, swag

QUICK = {"max_epochs": 6, "n_cycles": 3, "random_state": 0, "early_stopping": False}


@pytest.fixture(scope="module")
def rows(digits):
    return digits[0][:200].astype(np.float32), digits[1][:200]


@pytest.fixture(scope="module")
def folded(rows):
    """Three chains, each with its fold."""
    return SnapshotEnsembleClassifier(n_chains=3, **QUICK).fit(*rows)


@pytest.fixture(scope="module")
def plain(rows):
    """What a user writes: one chain, all rows, batch normalisation."""
    return SnapshotEnsembleClassifier(Normalised, batch_size=256, **QUICK).fit(*rows)


def loaded(state, make=lambda: Normalised(64, 10)):
    module = make()
    module.load_state_dict(state)
    return module


def probabilities(module, X):
    module.eval()
    with torch.no_grad():
        return torch.softmax(module(torch.from_numpy(X)).double(), dim=1).numpy()


def test_one_network_is_that_of_plain_torch(plain, rows):
    X, _ = rows
    averaged = AveragedModel(loaded(plain.snapshots_[0]))
    for snapshot in plain.snapshots_:
        averaged.update_parameters(loaded(snapshot))
    update_bn([torch.from_numpy(X)], averaged)
    model = average_weights(plain, X)
    np.testing.assert_allclose(model.predict_proba(X), probabilities(averaged, X), atol=1e-6)
    assert type(model) is type(plain)
    assert (model.n_cycles_, model.member_weights_.tolist()) == (1, [1.0])
    held = loaded(model.snapshots_[0])
    np.testing.assert_allclose(probabilities(held, X), probabilities(averaged, X), atol=1e-6)
    np.testing.assert_allclose(model.net_.predict_proba(X), model.predict_proba(X), atol=1e-6)
    assert not hasattr(model, "validation_score_")
    assert plain.n_cycles_ == 3


@pytest.mark.parametrize(
    ("members", "weights", "shares"),
    [
        (2, None, [0, 1 / 2, 1 / 2]),
        (9, None, [1 / 3] * 3),
        ([0, -1], None, [1 / 2, 0, 1 / 2]),
        (np.array([1]), None, [0, 1, 0]),
        (None, [1, 0, 3], [1 / 4, 0, 3 / 4]),
        ([2, 0], np.array([1.0, 3.0]), [1 / 4, 0, 3 / 4]),  # in order of time
    ],
)
def test_members_and_weights_say_what_is_averaged(rows, members, weights, shares):
    model = SnapshotEnsembleClassifier(Mlp, **QUICK).fit(*rows)
    state = average_weights(model, members=members, weights=weights).snapshots_[0]
    for name, tensor in state.items():
        by_hand = sum(w * s[name].double() for w, s in zip(shares, model.snapshots_, strict=True))
        torch.testing.assert_close(tensor, by_hand.float(), atol=1e-6, rtol=0)


def test_chains_are_never_averaged_into_one(folded):
    model = average_weights(folded, weights="fitted")
    assert (model.n_chains_, model.n_cycles_, len(model.snapshots_)) == (3, 1, 3)
    by_cycle = folded.member_weights_[::3] * 3
    for chain, state in enumerate(model.snapshots_):
        for name, tensor in state.items():
            own = [s[name].double() for s in folded.snapshots_[chain::3]]
            by_hand = sum(w * t for w, t in zip(by_cycle, own, strict=True)).to(tensor.dtype)
            torch.testing.assert_close(tensor, by_hand, atol=1e-6, rtol=0)


def test_each_chain_is_judged_by_the_rows_that_it_left_out(folded, rows):
    """One cycle named is that cycle: its scores are those of the fit."""
    X, y = rows
    one = average_weights(folded, X, y, members=[0])
    np.testing.assert_allclose(one.validation_score_, folded.cycle_scores_[0], rtol=1e-6)
    model = average_weights(folded, X, y)
    np.testing.assert_allclose(model.validation_score_, -log_loss(y, model.oof_decision_function_))
    assert model.predict_set(X, 0.8).shape == (200, 10)
    # A row of its own fold is predicted by the chain that left it out.
    members = model.predict_members(X)
    gap = np.abs(members - model.oof_decision_function_).max(axis=2).min(axis=0)
    assert gap.max() < 1e-6


def test_new_rows_judge_as_refit_members_lets_them(folded, digits):
    X, y = digits[0][200:400], digits[1][200:400]
    model = average_weights(folded, X, y, rows="new")
    again = average_weights(folded).refit_members(X, y)
    assert model.validation_score_ == again.validation_score_
    np.testing.assert_allclose(model.validation_score_, -log_loss(y, model.predict_proba(X)))


def test_statistics_of_a_chain_are_of_the_rows_that_it_was_trained_on(rows):
    X, y = rows
    groups = np.arange(200) % 5
    model = SnapshotEnsembleClassifier(
        Normalised, validation=GroupKFold(2), n_chains=2, batch_size=256, **QUICK
    ).fit(X, y, groups=groups)
    averaged = average_weights(model, X, y, groups=groups)
    splits = list(GroupKFold(2).split(X, y, groups))
    for chain, (train, _) in enumerate(splits):
        by_hand = loaded(averaged.snapshots_[chain])
        update_bn([torch.from_numpy(X[train])], by_hand)
        for name, buffer in by_hand.named_buffers():
            torch.testing.assert_close(averaged.snapshots_[chain][name], buffer)


def test_a_regressor_averages_what_it_has_scaled():
    X, y = load_diabetes(return_X_y=True)
    model = SnapshotEnsembleRegressor(n_chains=2, **QUICK).fit(X, y)
    averaged = average_weights(model, X, y)
    assert averaged.validation_score_ > -y.var()
    np.testing.assert_allclose(
        averaged.validation_score_, -np.mean((averaged.oof_prediction_ - y) ** 2)
    )
    assert averaged.predict_interval(X).shape == (442, 2)


@pytest.mark.parametrize("make", [average_weights, lambda *args: swag(*args, n_samples=2)])
def test_the_result_is_an_estimator_as_any_other(folded, rows, tmp_path, make):
    X, y = rows
    model = make(folded, X, y)
    expected = model.predict_proba(X)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(X), expected)
    model.save(tmp_path / "a.model", include="training")
    read = skensemble.load(tmp_path / "a.model")
    np.testing.assert_array_equal(read.predict_proba(X), expected)
    served = serve(model, X.astype(np.float64), tmp_path / "a.onnx")["probabilities"]
    np.testing.assert_allclose(served, expected, atol=1e-5)
    n_cycles = model.n_cycles_
    assert same(read.partial_fit(X, y).snapshots_, model.partial_fit(X, y).snapshots_)
    assert model.n_cycles_ == n_cycles + 1


def test_a_model_of_a_file_without_training_is_averaged_too(folded, rows, tmp_path):
    folded.save(tmp_path / "a.model")
    read = skensemble.load(tmp_path / "a.model")
    assert same(average_weights(read).snapshots_, average_weights(folded).snapshots_)


def test_draws_are_those_of_the_paper(rows):
    """Its own test holds the formula; here, what is predicted of a draw and its statistics."""
    X, y = rows
    model = SnapshotEnsembleClassifier(Normalised, batch_size=256, **QUICK).fit(X, y)
    drawn = swag(model, X, n_samples=4, random_state=3)
    generator = torch.Generator().manual_seed(3)
    theta = [{n: t.double() for n, t in s.items()} for s in model.snapshots_]
    names = [name for name, _ in model.net_.module_.named_parameters()]
    by_hand = []
    for _ in range(4):
        shared = torch.randn(3, dtype=torch.float64, generator=generator)
        state = dict(model.snapshots_[-1])
        for name in names:
            stack = torch.stack([s[name] for s in theta])
            own = torch.randn(stack.shape[1:], dtype=torch.float64, generator=generator)
            low_rank = torch.einsum("k,k...->...", shared, stack - stack.mean(0)) / 2**0.5
            state[name] = stack.mean(0) + (stack.std(0, correction=0) * own + low_rank) / 2**0.5
        module = loaded(state)
        update_bn([torch.from_numpy(X)], module)
        by_hand.append(probabilities(module, X))
    np.testing.assert_allclose(drawn.predict_members(X), by_hand, atol=1e-6)
    np.testing.assert_allclose(drawn.predict_proba(X), np.mean(by_hand, axis=0), atol=1e-6)
    again = swag(model, X, n_samples=4, random_state=3)
    np.testing.assert_array_equal(again.predict_proba(X), drawn.predict_proba(X))


def test_no_scale_draws_the_mean(folded, rows):
    X, _ = rows
    drawn, mean = swag(folded, n_samples=2, scale=0), average_weights(folded)
    np.testing.assert_allclose(drawn.predict_proba(X), mean.predict_proba(X), atol=1e-6)
    assert drawn.n_cycles_ == 2
    # Draws of a chain are the same whichever stand beside it, and chains draw apart.
    one, other = swag(folded, n_samples=1, random_state=1).snapshots_[:2]
    assert not torch.equal(one["layers.0.weight"], other["layers.0.weight"])


def test_draws_keep_equal_weights_where_rows_judge(folded, rows):
    drawn = swag(folded, *rows, n_samples=4, random_state=0)
    np.testing.assert_allclose(drawn.member_weights_, np.full(12, 1 / 12))
    assert len(drawn.cycle_scores_) == 4


def test_global_generators_are_left_as_found(plain, rows):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    swag(plain, rows[0], n_samples=2, random_state=0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("make", [average_weights, lambda *args: swag(*args, n_samples=1), prune])
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_the_mode_of_the_caller_does_not_matter(plain, rows, make, mode):
    X, y = rows
    given = (plain, 1) if make is prune else (plain, X)
    with mode():
        made = make(*given)
    assert made.partial_fit(X, y).n_cycles_ == 2


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"members": 0}, "Got members=0, but expected an integer of at least 1"),
        ({"members": [0, 3]}, r"Got members=\[0, 3\], but expected how many .* from 0 to 2"),
        ({"members": []}, "Got members="),
        ({"members": "all"}, "Got members='all'"),
        ({"members": True}, "Got members=True"),
        ({"members": [0.5]}, "Got members="),
        ({"members": [2, -1]}, "expected each cycle once"),
        ({"weights": [1.0]}, r"Got weights=\[1.0\], but expected 3 numbers"),
        ({"weights": [0, 0, 0]}, "expected 3 numbers of at least 0, not all of them 0"),
        ({"weights": [-1, 1, 1]}, "Got weights="),
        ({"weights": [1, 1, np.nan]}, "Got weights="),
        ({"weights": "stacked"}, "Got weights='stacked'"),
        ({"y": [0]}, "Got y without X"),
        ({"groups": [0]}, "Got sample_weight or groups without y"),
        ({"X": np.zeros((3, 64)), "y": [0, 1, 2], "rows": "old"}, "Got rows='old'"),
    ],
)
def test_what_cannot_be_meant_is_refused(folded, arguments, text):
    with pytest.raises(ValueError, match=text):
        average_weights(folded, **arguments)


def test_what_has_no_mean_is_refused(rows, plain, folded):
    with pytest.raises(ValueError, match="Got X=None with a module that has batch normal"):
        average_weights(plain)
    with pytest.raises(ValueError, match="Got rows='training' and an ensemble all of whose"):
        average_weights(plain, *rows)
    cold = SnapshotEnsembleClassifier(Mlp, restart="cold", **QUICK).fit(*rows)
    with pytest.raises(ValueError, match="Got restart='cold' with average_weights of 3 cycles"):
        average_weights(cold)
    assert same(average_weights(cold, members=1).snapshots_, cold.snapshots_[-1:])
    with pytest.raises(ValueError, match="are 1 of the 3 cycles, but expected two"):
        swag(folded, members=1)
    for value in (-1, np.inf, np.nan, "0.5", True):
        with pytest.raises(ValueError, match="Got scale="):
            swag(folded, scale=value)
    with pytest.raises(ValueError, match="Got n_samples=0, but expected an integer"):
        swag(folded, n_samples=0)


def test_the_ensemble_of_a_pipeline_is_averaged(rows):
    X, y = rows
    scaler = StandardScaler()
    whole = make_pipeline(scaler, SnapshotEnsembleClassifier(Normalised, **QUICK)).fit(X, y)
    averaged = average_weights(whole, X)
    assert averaged[0] is whole[0]
    by_itself = average_weights(whole[-1], scaler.transform(X))
    np.testing.assert_array_equal(
        averaged.predict_proba(X), by_itself.predict_proba(scaler.transform(X))
    )
    assert whole[-1].n_cycles_ == 3
    assert len(swag(whole, X, n_samples=2)[-1].snapshots_) == 2


def test_new_rows_do_not_give_statistics(rows):
    model = SnapshotEnsembleClassifier(Normalised, max_epochs=2, n_cycles=2, random_state=0)
    model.fit(*rows)
    with pytest.raises(ValueError, match="Got rows='new' with a module that has batch normalis"):
        average_weights(model, *rows, rows="new")


def test_datasets_judge_by_their_own_targets(rows):
    X, y = rows
    model = SnapshotEnsembleClassifier(Mlp, module__n_inputs=64, module__n_outputs=10, **QUICK)
    model.set_params(validation=0.3).fit(Items(X, y))
    averaged = average_weights(model, Items(X, y), y)
    assert averaged.validation_score_ < 0
