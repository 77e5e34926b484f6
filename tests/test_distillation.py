"""One network that learns what an ensemble says, against plain torch."""

import numpy as np
import pytest
import torch
from conftest import Items, Mlp, Normalised
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from skorch.callbacks import EpochScoring
from torch import nn

import skensemble
from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble.averaging import distill

QUICK = {"max_epochs": 6, "n_cycles": 3, "random_state": 0, "early_stopping": False}


@pytest.fixture(scope="module")
def rows(digits):
    return digits[0][:150].astype(np.float32) / 16, digits[1][:150]


def trained_by_hand(make, X, targets, loss, n_steps, lr, weight=None):
    """Plain training on soft targets: one cycle of one batch a step."""
    torch.manual_seed(0)
    module = make()
    optimizer = torch.optim.SGD(module.parameters(), lr=lr)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    for _ in range(n_steps):
        optimizer.zero_grad()
        losses = loss(module(X), targets)
        (losses if weight is None else losses * weight).mean().backward()
        optimizer.step()
        scheduler.step()
    return module.eval()


@pytest.mark.parametrize("is_weighted", [False, True])
@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_the_student_is_plain_training_on_probabilities(rows, kind, is_weighted):
    X, y = rows
    y = y if kind == "classes" else np.c_[y % 2, y > 4]
    n_outputs = 10 if kind == "classes" else 2
    sgd = {"optimizer": torch.optim.SGD, "lr": 0.5, "batch_size": 150, "module__dropout": 0.0}
    teacher = SnapshotEnsembleClassifier(Mlp, **sgd, **{**QUICK, "max_epochs": 12}).fit(X, y)
    weight = np.linspace(0.5, 1.5, 150) if is_weighted else None
    student = distill(teacher, X, weight, max_epochs=20)
    p = torch.from_numpy(teacher.predict_proba(X)).float()
    kind = nn.CrossEntropyLoss if kind == "classes" else nn.BCEWithLogitsLoss
    w = None if weight is None else torch.from_numpy(weight / weight.mean()).float()
    if w is not None and n_outputs == 2:
        w = w[:, None]
    module = trained_by_hand(
        lambda: Mlp(64, n_outputs, dropout=0.0),
        torch.from_numpy(X),
        p,
        kind(reduction="none"),
        20,
        0.5,
        w,
    )
    with torch.no_grad():
        scores = module(torch.from_numpy(X)).double()
    by_hand = torch.softmax(scores, 1) if n_outputs == 10 else torch.sigmoid(scores)
    np.testing.assert_allclose(student.predict_proba(X), by_hand, atol=1e-6)
    assert (student.n_chains_, student.n_cycles_) == (1, 1)


def test_a_regressor_fits_predictions_by_its_own_criterion():
    X, y = load_diabetes(return_X_y=True)
    for criterion in (None, "huber", "poisson"):
        teacher = SnapshotEnsembleRegressor(criterion=criterion, lr=0.004, **QUICK).fit(X, y)
        student = distill(teacher, X, max_epochs=30)
        single = {"n_chains": 1, "validation": None, "members": "all", "n_cycles": 1}
        same = clone(teacher).set_params(**single, max_epochs=30).fit(X, teacher.predict(X))
        np.testing.assert_array_equal(student.predict(X), same.predict(X))
        assert np.corrcoef(student.predict(X), teacher.predict(X))[0, 1] > 0.95


def test_a_small_network_learns_a_large_ensemble(digits, tmp_path):
    X, y = digits
    names = np.array([f"digit {k}" for k in range(10)])
    teacher = SnapshotEnsembleClassifier(n_chains=2, random_state=0, max_epochs=30)
    teacher.fit(X[:400], names[y[:400]])
    student = distill(teacher, X, module__hidden=(32,), max_epochs=60)
    assert (student.predict(X) == teacher.predict(X)).mean() > 0.95
    assert student.classes_.tolist() == teacher.classes_.tolist()
    assert student.module__hidden == (32,)
    assert not hasattr(student, "validation_score_")
    student.save(tmp_path / "a.model", include="training")
    read = skensemble.load(tmp_path / "a.model")
    np.testing.assert_array_equal(read.predict_proba(X), student.predict_proba(X))
    # Labels of later calls are plain ones again.
    assert read.partial_fit(X, names[y]).n_cycles_ == 2
    student.refit_members(X, names[y])
    assert student.validation_score_ < 0


def test_what_judges_a_fit_is_left_out_of_the_student(rows):
    X, y = rows
    teacher = SnapshotEnsembleClassifier(
        Normalised,
        criterion=nn.MultiMarginLoss,
        criterion__margin=0.5,
        class_weight="balanced",
        validation=0.3,
        scoring="accuracy",
        calibrate=True,
        callbacks=[EpochScoring("accuracy")],
        callbacks__EpochScoring__name="acc",
        **QUICK,
    )
    teacher.fit(X, y)
    student = distill(teacher, X)
    assert type(student.net_.criterion_) is nn.CrossEntropyLoss
    assert student.temperature_ == 1.0
    assert (student.calibrate, student.class_weight, student.callbacks) == (False, None, None)
    assert teacher.criterion is nn.MultiMarginLoss
    assert distill(teacher, X, n_cycles=2, callbacks=[]).n_cycles_ == 2


def test_votes_are_learned_as_probabilities(rows):
    X, y = rows
    teacher = SnapshotEnsembleClassifier(voting="hard", n_chains=2, **QUICK).fit(X, y)
    assert distill(teacher, X).score(X, y) > 0.5


def test_a_dataset_is_learned_without_its_targets(rows):
    X, y = rows
    sizes = {"module__n_inputs": 64, "module__n_outputs": 10}
    teacher = SnapshotEnsembleClassifier(Mlp, **sizes, **QUICK).fit(Items(X, y))
    wrong = Items(X, np.roll(y, 1))
    np.testing.assert_allclose(
        distill(teacher, wrong).predict_proba(wrong),
        distill(teacher, Items(X, y)).predict_proba(wrong),
    )


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"n_chains": 2}, "Got n_chains=2 for a network that learns of an ensemble"),
        ({"scoring": "accuracy"}, "Got scoring='accuracy' for a network"),
        ({"hidden": (3,)}, "Got an unexpected parameter hidden="),
    ],
)
def test_what_a_student_cannot_have_is_refused(rows, parameters, text):
    teacher = SnapshotEnsembleClassifier(n_chains=1, **QUICK).fit(*rows)
    with pytest.raises(ValueError, match=text):
        distill(teacher, rows[0], **parameters)


def test_callbacks_of_the_teacher_hear_nothing(rows):
    callback = pytest.importorskip("sklearn.callback")
    monitor = callback.ScoringMonitor(scoring="accuracy")
    X, y = rows
    teacher = SnapshotEnsembleClassifier(Mlp, max_epochs=3, n_cycles=2, random_state=0)
    teacher.set_callbacks(monitor).fit(X, y)
    n_rows = len(monitor.get_logs().data_as_pandas)
    distill(teacher, X)
    assert len(monitor.get_logs().data_as_pandas) == n_rows


def test_a_student_of_a_quantile_lies_at_it_and_not_beyond():
    X, y = load_diabetes(return_X_y=True)
    teacher = SnapshotEnsembleRegressor(
        criterion="quantile", criterion__quantile=0.9, max_epochs=40, random_state=0
    ).fit(X[:300], y[:300])
    student = distill(teacher, X[:300], module__hidden=(4,))
    assert student.criterion == "absolute_error"
    assert 0.3 < (student.predict(X[300:]) > teacher.predict(X[300:])).mean() < 0.7


def test_quantiles_are_refused():
    X, y = load_diabetes(return_X_y=True)
    teacher = SnapshotEnsembleRegressor(distribution="quantiles", **QUICK).fit(X, y)
    with pytest.raises(ValueError, match="Got distribution='quantiles' with distill"):
        distill(teacher, X)
