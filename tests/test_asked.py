"""Checks that the functions of averaging share."""

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skensemble import SnapshotEnsembleClassifier
from skensemble.averaging import average_weights, distill, fge, prune, swag
from skensemble.averaging._asked import opened, with_members

FUNCTIONS = [
    average_weights,
    swag,
    lambda model: prune(model, 2),
    lambda model: distill(model, np.zeros((2, 2))),
]


@pytest.mark.parametrize("function", [*FUNCTIONS, lambda model: fge(model, 20)])
def test_what_is_no_ensemble_is_refused(function):
    for other in (LogisticRegression(), make_pipeline(LogisticRegression()), "mlp"):
        with pytest.raises((ValueError, TypeError), match="estimator"):
            function(other)


@pytest.mark.parametrize(
    "function",
    [
        average_weights,
        lambda model, X: swag(model, X, n_samples=2),
        lambda model, X: prune(model, 1),
        lambda model, X: distill(model, X),
    ],
)
def test_a_pipeline_gives_a_pipeline(iris, function):
    X, y = iris
    made = make_pipeline(
        StandardScaler(), SnapshotEnsembleClassifier(max_epochs=2, n_cycles=2, random_state=0)
    ).fit(X, y)
    snapshots = len(made[-1].snapshots_)
    other = function(made, X)
    assert other[0] is made[0]
    assert other[-1] is not made[-1]
    assert other.predict(X).shape == y.shape
    assert len(made[-1].snapshots_) == snapshots
    assert [name for name, _ in other.steps] == [name for name, _ in made.steps]


def test_the_parameters_of_a_pipeline_are_set():
    made = make_pipeline(StandardScaler(), SnapshotEnsembleClassifier(lr=0.1))
    asked = fge(made, 100)
    assert (asked[-1].n_cycles, asked[-1].schedule__min_lr) == (5, 0.001)
    assert made[-1].n_cycles == 8


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_is_not_fitted_is_refused(function):
    with pytest.raises(NotFittedError):
        function(SnapshotEnsembleClassifier())


def test_other_members_leave_the_estimator_as_it_is(iris):
    model = SnapshotEnsembleClassifier(max_epochs=2, n_cycles=2, random_state=0).fit(*iris)
    assert opened(model, None) == (model, None)
    before = dict(vars(model))
    made = with_members(model, model._fitted_.as_made_of({"other": 1}))
    assert made._fitted_.resume.made_of == {"other": 1, "snapshots_per_cycle": 1}
    assert vars(model) == before
    assert made.get_params() == model.get_params()
