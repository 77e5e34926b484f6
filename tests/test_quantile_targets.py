"""``distribution="quantiles"``: what is trained, predicted, judged and kept."""

import pickle

import numpy as np
import pytest
import torch
from conftest import Mlp
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.metrics import mean_pinball_loss, r2_score
from sklearn.model_selection import KFold
from torch import nn

import skensemble
from skensemble import SnapshotEnsembleRegressor
from skensemble._data.quantile_targets import QuantileTargets, mass_of
from skensemble._nets.criteria import LEVELS, GridLoss
from skensemble.metrics import crps_quantile_loss, interval_coverage_score, multi_quantile_loss

QUICK = {"distribution": "quantiles", "n_cycles": 3, "max_epochs": 6, "random_state": 0}
X, Y = load_diabetes(return_X_y=True)
TWO = np.column_stack([Y, 1000 * X[:, 0] + 3])
COARSE = (0.1, 0.25, 0.5, 0.75, 0.9)


def regress(X=X[:300], y=Y[:300], **parameters):
    return SnapshotEnsembleRegressor(**{**QUICK, **parameters}).fit(X, y)


@pytest.fixture(scope="module")
def model():
    return regress(validation=KFold(5))


@pytest.fixture(scope="module")
def several():
    return regress(y=TWO[:300], validation=KFold(5), criterion__levels=COARSE)


def of_targets(levels=COARSE, center=(0.0,), scale=(1.0,)):
    learned = np.array(center), np.array(scale)
    return QuantileTargets(
        center=learned[0], scale=learned[1], spread=learned[1], levels=tuple(levels)
    )


def grids_of_chains(model, X):
    """Return the grid of each chain under the weights of its cycles, by plain torch."""
    rows = model._fitted_.intake.rows(model._fitted_.intake.read(model, X)[0])
    outputs = (
        np.stack([torch_outputs(model, state, rows) for state in model.snapshots_]) * Y[:300].std()
        + Y[:300].mean()
    )
    grids = np.sort(outputs, axis=2).reshape(model.n_cycles_, model.n_chains_, len(X), -1)
    weights = model.member_weights_.reshape(model.n_cycles_, -1)[:, 0] * model.n_chains_
    return np.tensordot(weights, grids, 1)


def torch_outputs(model, state, rows):
    module = pickle.loads(pickle.dumps(model.net_.module_))
    module.load_state_dict(state)
    module.eval()
    with torch.no_grad():
        return module(rows).double().numpy()


def fold_of(n, k):
    fold = np.empty(n, int)
    for i, (_, test) in enumerate(KFold(k).split(np.empty(n))):
        fold[test] = i
    return fold


# ------------------------------------------------------------------------------------ prediction


def test_quantiles_are_the_weighted_mean_of_the_members_sorted_outputs(model):
    expected = grids_of_chains(model, X[300:]).mean(axis=0)
    np.testing.assert_allclose(
        model.predict_quantiles(X[300:], conformalize=False), expected, rtol=1e-5, atol=1e-3
    )
    np.testing.assert_array_equal(model.quantile_levels_, LEVELS)


def test_quantiles_are_moved_by_unseen_rows(model):
    """Each level so far that enough values of unseen rows lie below it, or above."""
    known, unseen = np.arange(300), fold_of(300, 5)
    raw = grids_of_chains(model, X[:300])[unseen, known]
    moved = model.predict_quantiles(X[300:], conformalize=False)
    for i, level in enumerate(LEVELS):
        above = np.sort(Y[:300] - raw[:, i])
        rank = np.ceil(level * 301) if level >= 0.5 else 301 - np.ceil((1 - level) * 301)
        moved[:, i] += above[int(rank) - 1]
    found = model.predict_quantiles(X[300:])
    np.testing.assert_allclose(found, np.sort(moved, axis=1), rtol=1e-5, atol=1e-3)
    np.testing.assert_array_equal(model.predict_quantiles(X[300:], conformalize=True), found)
    assert np.abs(found - model.predict_quantiles(X[300:], conformalize=False)).max() > 1


def test_without_unseen_rows_quantiles_stay():
    model = regress(validation=None, n_chains=2)
    raw = model.predict_quantiles(X, conformalize=False)
    np.testing.assert_array_equal(model.predict_quantiles(X), raw)
    with pytest.raises(ValueError, match="Got an ensemble without rows that were left out"):
        model.predict_quantiles(X, conformalize=True)
    with pytest.raises(ValueError, match="Got conformalize='yes', but expected True, False"):
        model.predict_quantiles(X, conformalize="yes")


def test_quantiles_never_cross(model, several):
    for found in (
        model.predict_quantiles(X),
        model.predict_quantiles(X, np.linspace(0.001, 0.999, 99)),
    ):
        assert (np.diff(found, axis=1) >= 0).all()
    assert (np.diff(several.predict_quantiles(X), axis=1) >= 0).all()


def test_they_say_more_than_the_quantiles_of_all_rows(model):
    found = crps_quantile_loss(Y[300:], model.predict_quantiles(X[300:]), LEVELS)
    marginal = np.broadcast_to(np.quantile(Y[:300], LEVELS), (142, len(LEVELS)))
    assert found < 0.9 * crps_quantile_loss(Y[300:], marginal, LEVELS)


def test_other_levels_lie_on_lines_between_and_are_held_outside(model):
    grid = model.predict_quantiles(X[300:])
    asked = [0.5, 0.005, 0.999, 0.12, 0.025]
    expected = np.array([np.interp(asked, LEVELS, row) for row in grid])
    np.testing.assert_allclose(model.predict_quantiles(X[300:], asked), expected, rtol=1e-12)
    median = model.predict_quantiles(X[300:], 0.5)
    np.testing.assert_array_equal(median, grid[:, LEVELS.index(0.5)])


@pytest.mark.parametrize("q", [0, 1, -0.1, [0.5, 1.5], [], "a", np.nan, [[0.5]]])
def test_other_shares_are_refused(model, q):
    with pytest.raises(ValueError, match=r"Got q=.*, but expected shares between 0 and 1"):
        model.predict_quantiles(X, q)


def test_a_prediction_is_the_integral_of_the_quantiles(model):
    grid = model.predict_quantiles(X[300:], conformalize=False)
    at = np.concatenate([[0.0], LEVELS, [1.0]])
    held = np.concatenate([grid[:, :1], grid, grid[:, -1:]], axis=1)
    expected = np.trapezoid(held, at, axis=1)
    np.testing.assert_allclose(model.predict(X[300:]), expected, rtol=1e-10)
    assert r2_score(Y[300:], model.predict(X[300:])) > 0.3


def test_stages_and_members_are_means(model):
    stages = list(model.staged_predict(X[300:]))
    np.testing.assert_allclose(stages[-1], model.predict(X[300:]))
    members = model.predict_members(X[300:])
    assert members.shape == (len(model.snapshots_), 142)
    np.testing.assert_allclose(model.member_weights_ @ members, model.predict(X[300:]))


def test_several_outputs_have_quantiles_each(several):
    found = several.predict_quantiles(X[300:])
    assert found.shape == (142, 5, 2)
    assert several.predict_quantiles(X[300:], 0.3).shape == (142, 2)
    assert several.predict(X[300:]).shape == (142, 2)
    assert several.oof_prediction_.shape == (300, 2)
    assert several.predict_members(X[:3]).shape == (len(several.snapshots_), 3, 2)
    losses = multi_quantile_loss(TWO[300:], found, COARSE, multioutput="raw_values")
    marginal = np.broadcast_to(np.quantile(TWO[:300], COARSE, axis=0), found.shape)
    assert (
        losses < multi_quantile_loss(TWO[300:], marginal, COARSE, multioutput="raw_values")
    ).all()
    intervals = several.predict_interval(X[300:], [0.5, 0.8])
    assert intervals.shape == (2, 142, 2, 2)
    assert (interval_coverage_score(TWO[300:], intervals[1], multioutput="raw_values") > 0.7).all()


def test_units_of_y_change_nothing(model):
    far = regress(y=1e6 * Y[:300] - 3e9, validation=KFold(5))
    expected = 1e6 * model.predict_quantiles(X[300:]) - 3e9
    np.testing.assert_allclose(far.predict_quantiles(X[300:]), expected, rtol=1e-3)
    np.testing.assert_allclose(far.validation_score_, 1e6 * model.validation_score_, rtol=1e-2)


def test_a_constant_target_is_predicted_as_it_is():
    found = regress(y=np.full(300, 7.0)).predict_quantiles(X[300:])
    np.testing.assert_array_equal(found, np.full_like(found, 7.0))


# ------------------------------------------------------------------------------------- the scores


def test_the_score_is_the_mean_pinball_loss_of_unseen_rows(model):
    grids, fold = grids_of_chains(model, X[:300]), fold_of(300, 5)
    own = grids[fold, np.arange(300)]
    expected = np.mean(
        [mean_pinball_loss(Y[:300], q, alpha=a) for q, a in zip(own.T, LEVELS, strict=True)]
    )
    assert model.validation_score_ == pytest.approx(-expected, rel=1e-5)
    means = own @ mass_of(LEVELS)
    np.testing.assert_allclose(model.oof_prediction_, means, rtol=1e-5)
    assert model.validation_r2_ == pytest.approx(r2_score(Y[:300], means), rel=1e-4)


def test_weights_of_rows_count_in_the_loss_and_the_score():
    weight, twice = np.r_[[2.0] * 8, [1.0] * 8], np.r_[np.arange(16), np.arange(8)]
    few = SnapshotEnsembleRegressor(**QUICK).fit(X[:16], Y[:16], sample_weight=weight)
    many = SnapshotEnsembleRegressor(**QUICK).fit(X[twice], Y[twice])
    np.testing.assert_allclose(few.predict_quantiles(X), many.predict_quantiles(X), rtol=1e-6)
    model = SnapshotEnsembleRegressor(**QUICK, n_chains=2)
    weight = np.linspace(0.1, 3, 142)
    model.fit(X[:300], Y[:300], X_val=X[300:], y_val=Y[300:], sample_weight_val=weight)
    grid = model.predict_quantiles(X[300:], conformalize=False)
    found = multi_quantile_loss(Y[300:], grid, LEVELS, sample_weight=weight)
    assert model.validation_score_ == pytest.approx(-found)


def test_a_scorer_judges_the_means(model):
    scored = regress(validation=KFold(5), scoring="r2")
    assert scored.validation_score_ == pytest.approx(scored.validation_r2_)


def test_one_cycle_of_one_chain_is_plain_training():
    """Promise 1, with the pinball loss of a grid."""
    model = SnapshotEnsembleRegressor(
        nn.Linear, module__in_features=10, module__out_features=5, distribution="quantiles",
        criterion__levels=COARSE, n_cycles=1, max_epochs=2, batch_size=1000, lr=0.05,
        optimizer="sgd", schedule=lambda at: 1.0, n_chains=1, random_state=0,
    ).fit(X, Y)  # fmt: skip
    torch.manual_seed(0)
    module = nn.Linear(10, 5)
    module.load_state_dict(start_of(model))
    scaled = torch.tensor((Y - Y.mean()) / Y.std(), dtype=torch.float32)[:, None]
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    for _ in range(2):
        optimizer.zero_grad()
        GridLoss(COARSE)(module(torch.tensor(X, dtype=torch.float32)), scaled).backward()
        optimizer.step()
    expected = module(torch.tensor(X, dtype=torch.float32)).detach().double().numpy()
    expected = np.sort(expected, axis=1) * Y.std() + Y.mean()
    np.testing.assert_allclose(model.predict_quantiles(X, conformalize=False), expected, rtol=1e-4)


def start_of(model):
    """Return the parameters from which a fit begins: of the same fit at a rate of almost 0."""
    still = clone(model).set_params(lr=1e-30).fit(X, Y)
    return still.snapshots_[0]


# -------------------------------------------------------------------------------------- intervals


def cqr_by_hand(own, new, y, fold, coverage):
    """Return CQR in its cross form, rank by rank (Romano et al. 2019; Barber et al. 2021)."""
    ends = (1 - coverage) / 2, (1 + coverage) / 2
    low, high = (np.array([np.interp(e, LEVELS, g) for g in own]) for e in ends)
    scores = np.maximum(low - y, y - high)
    lows, highs = (
        np.array([[np.interp(e, LEVELS, g) for g in of_chain] for of_chain in new]) for e in ends
    )
    n = len(y)
    rank = int(np.ceil(coverage * (n + 1) - 1e-9))
    below = np.sort(lows[fold] - scores[:, None], axis=0)[n - rank]
    above = np.sort(highs[fold] + scores[:, None], axis=0)[rank - 1]
    return np.sort(np.column_stack([below, above]), axis=1)


@pytest.mark.parametrize("coverage", [0.1, 0.5, 0.9, 0.97])
def test_intervals_are_cross_conformal_quantiles(model, coverage):
    fold = fold_of(300, 5)
    own = grids_of_chains(model, X[:300])[fold, np.arange(300)]
    new = grids_of_chains(model, X[300:])
    expected = cqr_by_hand(own, new, Y[:300], fold, coverage)
    found = model.predict_interval(X[300:], coverage)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)
    np.testing.assert_array_equal(found, model.predict_interval(X[300:], coverage, method="cqr"))
    assert (found[:, 0] <= found[:, 1]).all()


def test_rows_given_to_judge_by_make_split_conformal_quantiles():
    model = SnapshotEnsembleRegressor(**QUICK, n_chains=2)
    model.fit(X[:300], Y[:300], X_val=X[300:400], y_val=Y[300:400])
    own, new = (
        model.predict_quantiles(X[300:400], conformalize=False),
        model.predict_quantiles(X[400:], conformalize=False),
    )
    expected = cqr_by_hand(own, new[None], Y[300:400], np.zeros(100, int), 0.9)
    np.testing.assert_allclose(model.predict_interval(X[400:]), expected, rtol=1e-6)


def test_other_ways_take_the_mean(model):
    residuals = np.abs(Y[:300] - model.oof_prediction_)
    by_chain = grids_of_chains(model, X[300:]) @ mass_of(LEVELS)
    high = np.sort(by_chain[fold_of(300, 5)] + residuals[:, None], axis=0)[
        int(np.ceil(0.9 * 301)) - 1
    ]
    np.testing.assert_allclose(model.predict_interval(X[300:], method="cv+")[:, 1], high, rtol=1e-4)
    found = model.predict_interval(X[300:], method="normalized")
    assert 0.8 < interval_coverage_score(Y[300:], found) <= 1


def test_noise_that_grows_is_seen():
    random = np.random.default_rng(0)
    X = random.uniform(size=(600, 2))
    y = X[:, 0] * random.normal(size=600)
    model = SnapshotEnsembleRegressor(distribution="quantiles", max_epochs=30, random_state=0)
    model.fit(X[:400], y[:400])
    width = np.diff(model.predict_interval(X[400:]), axis=1)[:, 0]
    assert np.corrcoef(width, X[400:, 0])[0, 1] > 0.8
    assert interval_coverage_score(y[400:], model.predict_interval(X[400:])) > 0.85
    doubt = model.predict_uncertainty(X[400:])
    assert np.corrcoef(np.sqrt(doubt.aleatoric), X[400:, 0])[0, 1] > 0.8
    np.testing.assert_allclose(doubt.total, doubt.aleatoric + doubt.epistemic)
    assert np.average(doubt.aleatoric) == pytest.approx(np.mean(X[400:, 0] ** 2), rel=0.35)


def test_only_quantiles_make_cqr():
    plain = SnapshotEnsembleRegressor(n_cycles=2, max_epochs=2, random_state=0).fit(X, Y)
    with pytest.raises(
        ValueError, match="Got method='cqr' with an ensemble that predicts no quant"
    ):
        plain.predict_interval(X, method="cqr")
    assert not hasattr(plain, "predict_quantiles")
    assert not hasattr(plain, "quantile_levels_")
    with pytest.raises(AttributeError, match="predict_quantiles needs distribution='quantiles'"):
        plain.predict_quantiles(X)
    plain.set_params(distribution="quantiles")
    with pytest.raises(ValueError, match="predicts no quantiles"):
        plain.predict_quantiles(X)


# -------------------------------------------------------------------------------- the distribution


def test_means_and_noise_are_those_of_a_piecewise_linear_quantile_function():
    targets, random = of_targets(), np.random.default_rng(0)
    values = np.sort(random.normal(size=(4, 5)), axis=1) + 1e3
    u = (np.arange(200_000) + 0.5) / 200_000
    draws = np.array([np.interp(u, COARSE, row) for row in values])
    np.testing.assert_allclose(targets.means(values)[:, 0], draws.mean(axis=1), atol=1e-4)
    np.testing.assert_allclose(targets.noise(values)[:, 0], draws.var(axis=1), atol=1e-4)
    assert mass_of(COARSE).sum() == pytest.approx(1)


def test_values_are_sorted_within_each_output():
    outputs = torch.tensor([[[3.0, 1, 2, 5, 4, 30, 10, 20, 50, 40]]])
    found = of_targets(center=(0.0, 1.0), scale=(1.0, 2.0)).values(outputs)
    assert found.tolist() == [[[1, 2, 3, 4, 5, 21, 41, 61, 81, 101]]]


# ------------------------------------------------------------------------- modules, files, calls


def test_a_module_of_the_users_gets_the_number_of_levels():
    model = regress(module=Mlp, criterion__levels=COARSE, n_chains=2)
    assert model.predict_quantiles(X).shape == (442, 5)
    assert model.snapshots_[0][list(model.snapshots_[0])[-1]].shape[0] == 5
    with pytest.raises(
        ValueError, match=r"returns shape \(8, 2\) for 8 rows, but expected \(8, 5\)"
    ):
        regress(
            module=nn.Linear,
            module__in_features=10,
            module__out_features=2,
            criterion__levels=COARSE,
        )


@pytest.mark.parametrize("kind", ["pickle", "file"])
def test_it_comes_back_from_files(several, kind, tmp_path):
    if kind == "pickle":
        loaded = pickle.loads(pickle.dumps(several))
    else:
        several.save(tmp_path / "a.model", include=("unseen", "training"))
        loaded = skensemble.load(
            tmp_path / "a.model", trusted=["sklearn.model_selection._split.KFold"]
        )
    for call in (
        lambda m: m.predict(X), lambda m: m.predict_quantiles(X, [0.2, 0.6]),
        lambda m: m.predict_interval(X), lambda m: m.predict_interval(X, method="normalized"),
        lambda m: m.oof_prediction_, lambda m: m.quantile_levels_,
    ):  # fmt: skip
        np.testing.assert_array_equal(call(loaded), call(several))


def test_training_goes_on():
    model = regress(warm_start=True, n_chains=2)
    assert model.fit(X[:300], Y[:300]).n_cycles_ == 6
    assert model.partial_fit(X[:300], Y[:300]).n_cycles_ == 7
    assert np.isfinite(model.predict_quantiles(X)).all()
    with pytest.raises(ValueError, match="Got distribution=None for an ensemble that goes on"):
        model.set_params(distribution=None).fit(X[:300], Y[:300])


def test_members_are_chosen_again_by_the_pinball_loss():
    model = regress(n_chains=2).refit_members(X[300:], Y[300:])
    quantiles = model.predict_quantiles(X[300:], conformalize=False)
    found = multi_quantile_loss(Y[300:], quantiles, LEVELS)
    assert model.validation_score_ == pytest.approx(-found)


@pytest.mark.parametrize("parameters", [{"distribution": None}, {"criterion__levels": (0.2, 0.5)}])
def test_members_are_not_chosen_by_what_their_outputs_are_not(model, parameters):
    other = pickle.loads(pickle.dumps(model)).set_params(**parameters)
    with pytest.raises(
        ValueError, match="Got another criterion or distribution than that of the f"
    ):
        other.refit_members(X[300:], Y[300:])


def test_importances_are_in_pinball_loss(several):
    model = regress()
    found = model.unseen_importance(X[:300], Y[:300])
    assert found.loss == pytest.approx(-model.validation_score_, rel=1e-5)
    assert found.importances_mean.argmax() in (2, 8)  # bmi, s5


def test_a_refit_without_leaves_nothing_of_quantiles():
    model = regress(n_chains=2)
    model.set_params(distribution=None).fit(X, Y)
    assert not hasattr(model, "quantile_levels_")


@pytest.mark.parametrize("fixture", ["model", "several"])
def test_onnx_has_the_mean_and_the_quantiles(fixture, request, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = request.getfixturevalue(fixture)
    model.to_onnx(tmp_path / "a.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    mean, quantiles = session.run(["variable", "quantiles"], {"X": X[300:]})
    expected = model.predict(X[300:]).reshape(142, -1)
    np.testing.assert_allclose(mean, expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(quantiles, model.predict_quantiles(X[300:]), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        (
            {"criterion": nn.L1Loss},
            "Got criterion=.*with distribution='quantiles', but expected None",
        ),
        ({"criterion": "huber"}, "Got criterion='huber' with distribution='quantiles'"),
        ({"distribution": "normal"}, "Got distribution='normal', but expected 'quantiles' or None"),
        ({"criterion__levels": [0.5]}, "Got criterion__levels=.*at least 2 numbers that increase"),
        ({"criterion__levels": [0.9, 0.1]}, "Got criterion__levels="),
        ({"criterion__alpha": 0.5}, "Got an unexpected parameter criterion__alpha"),
        ({"criterion__scale_target": "no"}, "Got criterion__scale_target='no'"),
    ],
)
def test_what_cannot_be_meant_is_refused(parameters, text):
    with pytest.raises(ValueError, match=text):
        regress(**parameters)
