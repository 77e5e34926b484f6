"""Metrics of each cycle for trackers of experiments."""

import numpy as np
import pytest
from conftest import Mlp
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble.callbacks import CycleLogger

pytest.importorskip("sklearn.callback", reason="scikit-learn >= 1.9")

GIVEN = {"max_epochs": 30, "n_cycles": 3, "cycle_mult": 1, "random_state": 0, "lr": 0.01}


def logged(model, X, y):
    seen = []
    model.set_callbacks(CycleLogger(lambda metrics, step: seen.append((step, metrics))))
    model.fit(X, y)
    return [step for step, _ in seen], [metrics for _, metrics in seen]


def test_the_metrics_are_those_of_the_fit(iris):
    model = SnapshotEnsembleClassifier(early_stopping=False, **GIVEN)
    steps, metrics = logged(model, *iris)
    assert steps == [1, 2, 3]
    assert [m["cycle"] for m in metrics] == [1.0, 2.0, 3.0]
    assert [m["epoch"] for m in metrics] == [10.0, 20.0, 30.0]
    assert [m["lr"] for m in metrics] == pytest.approx([0.01] * 3, rel=1e-6)
    assert [m["unseen_score"] for m in metrics] == list(model.cycle_scores_)
    best = np.maximum.accumulate(model.cycle_scores_)
    assert [m["best_unseen_score"] for m in metrics] == list(best)
    losses = np.reshape(model.history_[:, "train_loss"], (3, 10)).mean(axis=1)
    np.testing.assert_allclose([m["train_loss"] for m in metrics], losses, rtol=0.01)
    assert all(m["seconds"] > 0 for m in metrics)
    assert all(type(value) is float for m in metrics for value in m.values())


def test_a_score_of_the_users_is_as_in_cycle_scores(iris):
    model = SnapshotEnsembleClassifier(scoring="accuracy", **GIVEN)
    metrics = logged(model, *iris)[1]
    assert [m["unseen_score"] for m in metrics] == list(model.cycle_scores_)
    assert metrics[-1]["unseen_score"] == accuracy_score(
        iris[1], model.classes_[model.oof_decision_function_.argmax(axis=1)]
    )


def test_what_is_not_known_is_left_out(iris, diabetes):
    for model, rows in (
        (SnapshotEnsembleClassifier(Mlp, **GIVEN), iris),
        (SnapshotEnsembleRegressor(validation=None, **GIVEN), diabetes),
    ):
        _, metrics = logged(model, *rows)
        assert len(metrics) == 3
        assert [*metrics[0]] == ["cycle", "epoch", "lr", "train_loss", "seconds"]


def test_the_peak_of_a_triangle_is_its_highest_rate(iris):
    model = SnapshotEnsembleClassifier(Mlp, schedule="triangular2", **GIVEN)
    _, metrics = logged(model, *iris)
    np.testing.assert_allclose([m["lr"] for m in metrics], [0.01, 0.005, 0.0025], rtol=0.1)


def test_only_a_function_is_taken():
    with pytest.raises(TypeError, match="Got log='runs', but expected a function"):
        CycleLogger("runs")


def test_other_estimators_have_no_cycles(iris):
    seen = []
    logger = CycleLogger(lambda *given: seen.append(given))
    LogisticRegression(max_iter=500).set_callbacks(logger).fit(*iris)
    assert seen == []
