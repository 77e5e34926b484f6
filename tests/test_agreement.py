"""Agreement of members, against loops over pairs."""

import numpy as np
import pytest
from conftest import QUICK, Mlp
from sklearn.metrics import matthews_corrcoef
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble.display import MembersDisplay

RNG = np.random.default_rng(0)
RUN = {"n_cycles": 2, "n_chains": 3, "max_epochs": 3, "early_stopping": False, "random_state": 0}


def by_pairs(members, function):
    return np.array([[function(one, other) for other in members] for one in members])


def shown(display):
    return np.asarray(display.im_.get_array())


@pytest.fixture(scope="module")
def model(digits):
    return SnapshotEnsembleClassifier(**RUN).fit(*digits)


def test_a_pair_has_the_share_of_rows_of_the_same_class(digits, model):
    X, _ = digits
    labels = model.predict_members(X).argmax(axis=2)
    expected = by_pairs(labels, lambda one, other: (one == other).mean())
    display = MembersDisplay.from_estimator(model, X, by="cycle")
    np.testing.assert_allclose(shown(display), expected)
    np.testing.assert_allclose(display.agreement, expected)
    assert display.colorbar_.ax.get_ylabel() == "Same class"
    # Members of one chain side by side: cycle * n_chains + chain.
    order = [0, 3, 1, 4, 2, 5]
    np.testing.assert_allclose(
        shown(MembersDisplay.from_estimator(model, X)), expected[np.ix_(order, order)]
    )
    # The colours span the pairs of different members.
    apart = expected[~np.eye(6, dtype=bool)]
    assert display.im_.get_clim() == pytest.approx((apart.min(), apart.max()))


def test_with_the_truth_a_pair_has_the_correlation_of_mistakes(digits, model):
    X, y = digits
    labels = model.predict_members(X).argmax(axis=2)
    expected = by_pairs(labels == y, matthews_corrcoef)
    display = MembersDisplay.from_estimator(model, X, y, by="cycle")
    np.testing.assert_allclose(shown(display), expected, atol=1e-12)


def test_a_pair_of_values_has_the_correlation_of_predictions_or_of_residuals(diabetes):
    X, y = diabetes
    pipeline = make_pipeline(StandardScaler(), SnapshotEnsembleRegressor(**RUN)).fit(X, y)
    members = pipeline[-1].predict_members(pipeline[:-1].transform(X))
    display = MembersDisplay.from_estimator(pipeline, X, by="cycle")
    np.testing.assert_allclose(shown(display), np.corrcoef(members), atol=1e-9)
    display = MembersDisplay.from_estimator(pipeline, X, y, by="cycle", colorbar=False)
    np.testing.assert_allclose(shown(display), np.corrcoef(members - y), atol=1e-9)
    assert display.colorbar_ is None


def test_several_outputs_and_labels_are_averaged(diabetes):
    X, y = diabetes
    values = np.column_stack([y, X[:, 0]])
    model = SnapshotEnsembleRegressor(**RUN).fit(X, values)
    members = model.predict_members(X)
    expected = np.mean([np.corrcoef(members[:, :, k] - values[:, k]) for k in (0, 1)], axis=0)
    display = MembersDisplay.from_estimator(model, X, values, by="cycle")
    np.testing.assert_allclose(shown(display), expected, atol=1e-9)

    labels = (values > np.median(values, axis=0)).astype(int)
    model = SnapshotEnsembleClassifier(**RUN).fit(X, labels)
    decided = model.predict_members(X) > 0.5
    expected = by_pairs(decided, lambda one, other: (one == other).mean())
    np.testing.assert_allclose(shown(MembersDisplay.from_estimator(model, X, by="cycle")), expected)
    expected = by_pairs((decided == labels).reshape(6, -1), matthews_corrcoef)
    display = MembersDisplay.from_estimator(model, X, labels, by="cycle")
    np.testing.assert_allclose(shown(display), expected, atol=1e-12)


def test_names_along_the_axes_are_those_of_chains_or_cycles(digits, model):
    display = MembersDisplay.from_estimator(model, digits[0])
    assert [text.get_text() for text in display.ax_.get_xticklabels()] == ["1", "2", "3"]
    np.testing.assert_array_equal(display.ax_.get_xticks(), [0.5, 2.5, 4.5])
    assert display.ax_.get_xlabel() == "Chain (within: cycles 1 to 2)"
    display = MembersDisplay.from_estimator(model, digits[0], by="cycle")
    assert [text.get_text() for text in display.ax_.get_xticklabels()] == ["1", "2"]
    assert display.ax_.get_xlabel() == "Cycle (within: chains 1 to 3)"
    for by in ("chain", "cycle"):  # of one chain there are cycles alone
        one = MembersDisplay(agreement=np.eye(5), n_chains=1).plot(by=by)
        assert one.ax_.get_xlabel() == "Cycle"
        assert len(one.ax_.get_xticks()) == 5
        one = MembersDisplay(agreement=np.eye(5), n_chains=5).plot(by=by)
        assert one.ax_.get_xlabel() == "Chain"


def test_what_cannot_be_compared_is_refused(iris):
    model = SnapshotEnsembleClassifier(Mlp, **{**QUICK, "n_cycles": 1}).fit(*iris)
    with pytest.raises(ValueError, match="expected at least two members to compare: set more n_"):
        MembersDisplay.from_estimator(model, iris[0])
    with pytest.raises(ValueError, match=r"Got by='fold', but expected one of \('chain', 'cycle'"):
        MembersDisplay(agreement=np.eye(4)).plot(by="fold")
    for given in ({"agreement": np.eye(4), "n_chains": 3}, {"agreement": np.ones((2, 3))}):
        with pytest.raises(ValueError, match=r"Got agreement of shape .* but expected a value for"):
            MembersDisplay(**given).plot()


def test_a_member_that_has_no_correlation_leaves_a_gap():
    y = np.arange(6.0)
    members = np.array([y, y + RNG.normal(size=6), y + RNG.normal(size=6)])
    display = MembersDisplay.from_predictions(members, y)
    assert np.isnan(np.asarray(display.agreement)[0, 1])
    assert np.ma.getmaskarray(display.im_.get_array())[0, 1]
