"""An ensemble by itself, or at the end of a pipeline."""

import numpy as np
import pytest
from conftest import QUICK
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skensemble import SnapshotEnsembleClassifier
from skensemble.pipelines import fit_last, last_step, seen_by_last


def test_the_last_step_is_the_ensemble():
    model = SnapshotEnsembleClassifier()
    assert last_step(model) is model
    assert last_step(make_pipeline(StandardScaler(), model)) is model


@pytest.mark.parametrize(
    "other",
    [
        LogisticRegression(),
        make_pipeline(SnapshotEnsembleClassifier(), LogisticRegression()),
        SnapshotEnsembleClassifier,
    ],
)
def test_what_does_not_end_in_an_ensemble_is_refused(other):
    with pytest.raises(ValueError, match=r"Got estimator=.*, but expected a SnapshotEnsembleC"):
        last_step(other)


def test_the_ensemble_sees_what_the_first_steps_make(iris):
    X, y = iris
    model = SnapshotEnsembleClassifier(**QUICK)
    pipeline = make_pipeline(StandardScaler(), model).fit(X, y)
    np.testing.assert_array_equal(seen_by_last(pipeline, X), StandardScaler().fit_transform(X))
    assert seen_by_last(model, X) is X
    assert seen_by_last(make_pipeline(model), X) is X


def test_arguments_reach_the_ensemble_alone(iris):
    X, y = iris
    weight = np.linspace(0, 2, len(y))
    alone = SnapshotEnsembleClassifier(**QUICK)
    fit_last(alone, X, y, sample_weight=weight, groups=None)
    within = make_pipeline("passthrough", SnapshotEnsembleClassifier(**QUICK))
    fit_last(within, X, y, sample_weight=weight, groups=None)
    np.testing.assert_array_equal(alone.predict_proba(X), within.predict_proba(X))
    plain = SnapshotEnsembleClassifier(**QUICK).fit(X, y)
    assert not np.array_equal(alone.predict_proba(X), plain.predict_proba(X))
