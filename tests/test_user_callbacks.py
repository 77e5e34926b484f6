"""Callbacks of skorch: what they see, and which are refused."""

import numpy as np
import pytest
import torch
from conftest import QUICK, Mlp, same
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    GradientNormClipping,
    LRScheduler,
)
from torch import nn

from skensemble import SnapshotEnsembleClassifier
from skensemble._data.folds import folds
from skensemble._data.sources import ArrayInput


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


def test_dicts_and_monitors(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(
        Mlp, module__n_inputs=64, validation=0.3, callbacks=[EarlyStopping(patience=9)], **QUICK
    )
    assert np.isfinite(model.fit({"X": X / 16}, y).history_[-1, "valid_loss"])
    sampler = torch.utils.data.RandomSampler(range(600))
    with pytest.raises(ValueError, match="sampler by iterator_train__"):
        model.set_params(iterator_train__sampler=sampler, callbacks=None).fit({"X": X}, y)


def test_checkpoint_writes_where_it_is_asked_to(digits, tmp_path):
    saver = Checkpoint(monitor="train_loss_best", dirname=str(tmp_path))
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=5, callbacks=[saver], random_state=0)
    model.fit(*digits)
    assert {p.name for p in tmp_path.iterdir()} >= {"params.pt", "optimizer.pt", "history.json"}
    assert any(model.history_[:, "event_cp"])


def test_epoch_scoring_scores_the_training_rows(digits):
    scoring = [
        EpochScoring("accuracy", on_train=True, lower_is_better=False, name="train_acc"),
        EpochScoring("neg_log_loss", on_train=True, lower_is_better=False, name="nll"),
        EpochScoring("accuracy", on_train=True, use_caching=False, name="later_acc"),
    ]
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=8, callbacks=scoring, random_state=0)
    model.fit(*digits)
    accuracy, nll = model.history_[:, "train_acc"], model.history_[:, "nll"]
    assert accuracy[-1] > accuracy[0]
    last = model.predict_members(digits[0])[-1].argmax(axis=1)
    assert model.history_[-1, "later_acc"] == pytest.approx((last == digits[1]).mean())
    np.testing.assert_allclose(-np.array(nll), model.history_[:, "train_loss"], rtol=1e-4)


def test_gradient_clipping_is_heeded(digits):
    free = SnapshotEnsembleClassifier(Mlp, max_epochs=2, random_state=0)
    clipped = SnapshotEnsembleClassifier(
        Mlp,
        max_epochs=2,
        random_state=0,
        callbacks=[GradientNormClipping(1e-12)],
        optimizer=torch.optim.SGD,
    )
    assert clipped.fit(*digits).history_[-1, "train_loss"] > 10 * 0.1
    assert free.fit(*digits).history_[-1, "train_loss"] < clipped.history_[-1, "train_loss"]


def test_callbacks_of_skorchs_prefix(digits):
    class Noting(Callback):
        def __init__(self, word="none"):
            self.word = word

        def on_epoch_end(self, net, **kwargs):
            net.history.record("word", self.word)

    model = SnapshotEnsembleClassifier(
        Mlp, max_epochs=1, callbacks=[("note", Noting)], callbacks__note__word="well"
    ).fit(*digits)
    assert model.history_[:, "word"] == ["well"]
    model.set_params(callbacks__other__word=1)
    with pytest.raises(ValueError, match="Got callbacks__other__word, but expected the name of"):
        model.fit(*digits)


def test_a_callback_that_predicts_changes_no_bit(digits):
    """A DataLoader draws from the global generator, from which dropout is drawn too."""

    class Predicting(Callback):
        def on_epoch_end(self, net, **kwargs):
            net.predict(digits[0].astype(np.float32))

    model = SnapshotEnsembleClassifier(Mlp, max_epochs=3, random_state=0)
    plain = model.fit(*digits).snapshots_
    assert same(plain, model.set_params(callbacks=[Predicting()]).fit(*digits).snapshots_)


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (EarlyStopping(), r"Got EarlyStopping\(monitor='valid_loss'\)"),
        (Checkpoint(), r"Got Checkpoint\(monitor='valid_loss_best'\)"),
        (LRScheduler(), r"Got callback LRScheduler"),
        (EpochScoring("accuracy"), r"Got EpochScoring\(on_train=False\)"),
    ],
)
def test_callbacks_that_cannot_work_are_refused(digits, callback, message):
    with pytest.raises(ValueError, match=message):
        SnapshotEnsembleClassifier(Mlp, callbacks=[callback]).fit(*digits)


def test_callbacks_that_know_each_other_still_do(digits, tmp_path):
    from skorch.callbacks import LoadInitState, TrainEndCheckpoint

    saver = TrainEndCheckpoint(dirname=str(tmp_path))
    model = SnapshotEnsembleClassifier(
        Mlp, max_epochs=1, n_cycles=1, callbacks=[saver, LoadInitState(saver)], random_state=0
    )
    one = model.fit(*digits).snapshots_
    two = model.fit(*digits).snapshots_  # from the weights of the first
    assert not same(one, two)
