"""Ways to make intervals, rank by rank."""

import numpy as np
import pytest
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.model_selection import KFold

from skensemble import SnapshotEnsembleRegressor
from skensemble._uncertainty.spread import late_cycles, scales_of
from skensemble.intervals import choose_method, make_intervals

X, Y = load_diabetes(return_X_y=True)
LEVELS = (0.05, 0.5, 0.95)


@pytest.fixture(scope="module", params=[None, "quantiles"])
def fitted(request):
    """Return an ensemble judged by rows that all of its chains left out."""
    options = {"criterion__levels": LEVELS} if request.param else {}
    model = SnapshotEnsembleRegressor(
        distribution=request.param, n_chains=2, n_cycles=4, max_epochs=6, random_state=0, **options
    )
    return model.fit(X[:300], Y[:300], X_val=X[300:400], y_val=Y[300:400])


def spread_of_cycles(model, rows):
    """Return the standard deviation of the mean over chains, of late cycles (in each quantile)."""
    fitted, source = model._read(rows)
    values = fitted.each_member(source).reshape(4, 2, len(rows), -1).mean(axis=1)
    return fitted.targets.means(values[late_cycles(4) :].std(axis=0))[:, 0]


def ends_of(model, rows):
    """Return two quantiles of each row, or its mean twice."""
    if model.distribution is None:
        return np.tile(model.predict(rows), (2, 1))
    return model.predict_quantiles(rows, [0.05, 0.95], conformalize=False).T


def test_normalized_intervals_move_in_proportion_to_the_spread(fitted):
    judged, new = X[300:400], X[400:]
    residuals = np.abs(Y[300:400] - fitted.predict(judged))
    known = spread_of_cycles(fitted, judged)
    low, high = ends_of(fitted, judged)
    moves = np.maximum(low - Y[300:400], Y[300:400] - high)
    moves /= scales_of(known, residuals, None, known)
    rank = int(np.ceil(0.9 * 101))
    move = np.sort(moves)[rank - 1] * scales_of(
        known, residuals, None, spread_of_cycles(fitted, new)
    )
    low, high = ends_of(fitted, new)
    expected = np.sort(np.column_stack([low - move, high + move]), axis=1)
    found = fitted.predict_interval(new, method="normalized")
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-4)


def test_normalized_intervals_of_chains_lie_around_their_mean():
    """Each chain's errors, less what their mean saves at a row."""
    X, Y = make_friedman1(400, random_state=0)  # without noise, chains err by themselves
    model = SnapshotEnsembleRegressor(
        n_chains=3, n_cycles=4, max_epochs=40, validation=KFold(3), random_state=0
    ).fit(X[:300], Y[:300])

    def chains_and_spreads(rows):
        members = model.predict_members(rows).reshape(model.n_cycles_, 3, len(rows))
        weights = model.member_weights_.reshape(model.n_cycles_, 3).sum(axis=1)
        late = members[late_cycles(model.n_cycles_) :].std(axis=0)
        return np.tensordot(weights, members, axes=1), late

    _, spreads = chains_and_spreads(X[:300])
    known = spreads[np.arange(300) // 100, np.arange(300)]
    residuals = np.abs(Y[:300] - model.oof_prediction_)
    own = scales_of(known, residuals, None, known)
    chains, spreads = chains_and_spreads(X[300:])
    scale = scales_of(known, residuals, None, spreads).mean(axis=0)
    of_one = scale**2 * np.mean(residuals**2) / np.mean(own**2)
    saved = chains.var(axis=0) / of_one
    assert saved.min() < 0.5 < saved.max()
    scale *= np.sqrt(1 - np.minimum(saved, 0.5))
    width = np.sort(residuals / own)[int(np.ceil(0.9 * 301)) - 1] * scale
    expected = model.predict(X[300:])[:, None] + [[-1, 1]] * width[:, None]
    found = model.predict_interval(X[300:], method="normalized")
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_several_coverages_are_made_at_once(fitted):
    inside, source = fitted._read(X[400:])
    conformity = inside.verdict.conformity
    for method in ("cv+", "normalized"):
        both = make_intervals(inside, source, conformity, [0.5, 0.9], method)
        for share, one in zip([0.5, 0.9], both, strict=True):
            expected = fitted.predict_interval(X[400:], share, method=method)
            np.testing.assert_array_equal(one[:, :, 0], expected)


def test_none_stands_for_what_the_targets_allow(fitted):
    targets = fitted._fitted_.targets
    assert choose_method(None, targets) == ("cqr" if targets.levels else "cv+")
    with pytest.raises(ValueError, match="Got method='jackknife', but expected one of"):
        choose_method("jackknife", targets)
