"""The history as a table."""

import numpy as np
import pytest
from conftest import Mlp

from skensemble import SnapshotEnsembleClassifier, learning_rates, load
from skensemble._training.fit_history import FitHistory


@pytest.mark.parametrize("restart", ["warm", "cold", "star"])
def test_a_row_for_each_epoch_with_rate_and_unseen_score(iris, restart):
    model = SnapshotEnsembleClassifier(
        n_cycles=3, cycle_mult=1, max_epochs=30, lr=0.01, random_state=0, early_stopping=False,
        restart=restart,
    ).fit(*iris)  # fmt: skip
    history = model.history_
    assert history[:, "cycle"] == [1, 2, 3]
    assert history[:, "unseen_score"] == list(model.cycle_scores_)
    assert [k for k, row in enumerate(history, 1) if "cycle" in row] == [10, 20, 30]
    steps = history[0, "train_batch_count"]
    rates = learning_rates(30 * steps, lr=0.01, n_cycles=3)
    np.testing.assert_allclose(history[:, "lr"], rates[steps - 1 :: steps])
    assert list(history) == list(model.net_.history_)


def test_without_unseen_rows_there_is_no_score(iris):
    model = SnapshotEnsembleClassifier(Mlp, n_cycles=2, max_epochs=4, random_state=0).fit(*iris)
    assert model.history_[:, "cycle"] == [1, 2]
    assert "unseen_score" not in repr(model.history_)
    with pytest.raises(KeyError):
        model.history_[:, "unseen_score"]
    model.partial_fit(*iris)
    assert model.history_[:, "cycle"] == [1, 2, 3]


def test_it_comes_back_from_a_file(iris, tmp_path):
    model = SnapshotEnsembleClassifier(n_cycles=2, max_epochs=40, random_state=0).fit(*iris)
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").history_ == model.history_


def test_it_prints_as_a_table():
    history = FitHistory(
        {"batches": [], "epoch": k, "dur": 0.25, "train_loss": 1 / k, "train_loss_best": True}
        for k in range(1, 81)
    )
    history[3].update(cycle=1, unseen_score=-0.5, what="a" * 30, event_cp=False)
    lines = repr(history).splitlines()
    assert lines[0].split() == [
        "epoch", "cycle", "train_loss", "unseen_score", "dur", "what", "event_cp"
    ]  # fmt: skip
    assert lines[4].split() == ["4", "1", "0.25", "-0.5", "0.25", "a" * 20, "False"]
    assert (len(lines), lines[31].split()) == (62, ["…"] * 7)
    assert lines[-1].split() == ["80", "0.0125", "0.25"]
    html = history._repr_html_()
    assert html.count("<tr>") == 62
    assert "<td>-0.5</td>" in html
    assert repr(FitHistory()) == "FitHistory([])"


def test_what_a_callback_wrote_is_shown_as_text():
    html = FitHistory([{"epoch": 1, "<b>": "<i>", "batches": []}])._repr_html_()
    assert "<b>" not in html
    assert "<i>" not in html
