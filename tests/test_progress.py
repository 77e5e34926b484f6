"""What a fit prints."""

import os
import re
import struct
import sys

import numpy as np
import pytest
from conftest import Mlp
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from skensemble import SnapshotEnsembleClassifier
from skensemble._training import progress as module
from skensemble._training.cycle_end import CycleEnd, Judged
from skensemble._training.progress import Progress, word_cycle, word_seconds, word_weights

#: Of a cycle that is the best one so far.
END = CycleEnd(
    number=5,
    n_planned=8,
    epoch=12.5,
    lr=0.008,
    last_lr=1e-9,
    train_loss=0.18,
    judged=Judged(0.312, -0.312, 0.312),
    best=(Judged(0.309, -0.309, 0.309), 3),
    seconds=11,
    spent=44,
    left=61,
    may_stop=True,
)


def test_verbose_prints_a_line_a_cycle_and_silence_is_silent(digits, capfd):
    model = SnapshotEnsembleClassifier(Mlp, n_cycles=3, max_epochs=3, random_state=0)
    model.fit(*digits)
    assert capfd.readouterr() == ("", "")
    model.set_params(verbose=1).fit(*digits)
    out, err = capfd.readouterr()
    *lines, last = out.splitlines()
    assert err == ""  # and no bar where nothing can move
    assert len(lines) == 3
    for cycle, line in enumerate(lines, 1):
        assert line.startswith(f"cycle {cycle}/3 · ")
        assert ("left" in line) == (cycle < 3)
        assert re.search(r"train [\d.]+ · lr 0\.\d+ → ", line)
        assert "unseen" not in line
    assert last == "finished: 3 cycles; weights of cycles 0.33 0.33 0.33"
    model.partial_fit(*digits)
    assert capfd.readouterr().out.startswith("cycle 4/4 · ")


def test_what_is_printed_is_what_was_trained(digits, capsys):
    """Losses of all chains, in lanes of one chain each too, and the score of all cycles so far."""
    for given in ({}, {"validation": None}):
        lines = []
        for n_chains_together in (True, False):
            model = SnapshotEnsembleClassifier(
                Mlp, n_chains=3, n_cycles=2, max_epochs=4, random_state=0, verbose=1, **given
            )
            if not n_chains_together:
                model.set_params(module=Alone)
            model.fit(*digits)
            lines.append(
                [
                    re.sub(r" · [^·]*", "", line, count=1)
                    for line in capsys.readouterr().out.splitlines()[:2]
                ]
            )
            scores = [] if given else -model.cycle_scores_
            for line, score in zip(lines[-1], scores, strict=False):
                assert f"unseen {score:.3g} (best)" in line
        assert len(lines[0]) == len(lines[1]) == 2


class Alone(Mlp):
    """Chains of it train one after another: vmap does not know what it does."""

    def forward(self, X):
        return super().forward(X) + 0 * float(X.sum().item() > 0)


def test_the_mean_loss_of_a_cycle_is_that_of_its_epochs(digits, capsys):
    given = {"n_cycles": 2, "cycle_mult": 1, "max_epochs": 4, "random_state": 0, "verbose": 1}
    given["schedule__min_lr"] = 1e-4
    model = SnapshotEnsembleClassifier(Mlp, **given).fit(*digits)
    lines = capsys.readouterr().out.splitlines()
    losses = np.reshape(model.history_[:, "train_loss"], (2, 2)).mean(axis=1)
    for line, loss in zip(lines, losses, strict=False):
        shown = float(re.search(r"train ([\d.]+)", line)[1])
        assert shown == pytest.approx(loss, rel=0.005)
    rates = model.history_[:, "lr"]
    assert f"→ {rates[1]:.2g}" in lines[0]


def test_a_cycle_in_a_line():
    assert word_cycle(END) == (
        "cycle 5/8 · 44 s, at most 61 s left · train 0.18 · unseen 0.312 (best 0.309 at 3) · "
        "lr 0.008 → 0"
    )
    best = END._replace(best=(END.judged, 5), may_stop=False, last_lr=1e-4)
    assert word_cycle(best) == (
        "cycle 5/8 · 44 s, 61 s left · train 0.18 · unseen 0.312 (best) · lr 0.008 → 0.0001"
    )
    last = END._replace(number=8, n_planned=10, judged=None, train_loss=1234.5, left=None)
    assert word_cycle(last) == "cycle  8/10 · 44 s · train 1234 · lr 0.008 → 0"
    lost = END._replace(is_kept=False, judged=None, train_loss=None, lr=None)
    assert word_cycle(lost) == "cycle 5/8 · 44 s, at most 61 s left · diverged, left out"


def test_seconds_and_weights_in_words():
    assert [word_seconds(s) for s in (0, 9.94, 9.96, 119.4, 119.6, 7199, 7201)] == [
        "0.0 s", "9.9 s", "10 s", "119 s", "2 min 0 s", "119 min 59 s", "2 h 0 min",
    ]  # fmt: skip
    assert word_weights([1.0]) == "1"
    many = np.zeros(40)
    many[[3, 39]] = 0.25, 0.75
    assert word_weights(many) == "0.25 at 4, 0.75 at 40"
    assert word_weights(np.full(40, 1 / 40)).endswith("0.025 at 10 and 30 more")


def test_a_scorer_is_printed_as_it_is_read(iris, capsys):
    model = SnapshotEnsembleClassifier(
        scoring="accuracy", n_cycles=2, max_epochs=20, random_state=0, verbose=1
    ).fit(*iris)
    (line, *_) = capsys.readouterr().out.splitlines()
    assert f"unseen {model.cycle_scores_[0]:.3g} " in line


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_the_end_says_why(iris, capsys):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((400, 5)), rng.integers(0, 2, 400)
    model = SnapshotEnsembleClassifier(n_chains=2, max_epochs=40, random_state=0, verbose=1)
    model.fit(X, y)
    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) == model.n_cycles_ < 8
    assert "at most" in lines[0]
    by_cycle = model.member_weights_.reshape(-1, 2).sum(axis=1)
    assert last == (
        f"stopped, no gain in 1 cycle: {model.n_cycles_} of 8 cycles; "
        f"weights of cycles {word_weights(by_cycle)}"
    )


def test_a_shorter_plan_is_told_once(capfd):
    progress = Progress(n_cycles=3, steps_per_epoch=4, n_steps=40, first_cycle=8)
    progress.on_train_begin(None)
    progress.plan_shorter(1, 14, time_limit=2.5)
    progress.plan_shorter(2, 12, time_limit=2.5)
    progress.close()
    (told,) = capfd.readouterr().out.splitlines()
    assert told == "time_limit=2.5: 1 cycle in 3.5 epochs, of a budget of 10"
    assert (progress.total, progress.n_epochs) == (10, 3)


def test_a_cycle_of_an_earlier_process_is_not_told(capfd):
    progress = Progress(n_cycles=3, steps_per_epoch=4, n_steps=10, first_cycle=0)
    assert not progress.cycle_ended(END._replace(is_recalled=True))
    progress.close()  # of a run that never began
    assert capfd.readouterr() == ("", "")


class Terminal:
    """Stdout that says that it is one."""

    def __init__(self):
        self.parts = []

    def write(self, text):
        self.parts.append(text)

    def flush(self):
        pass

    def isatty(self):
        return True


def rendered(text):
    """Return the lines of a screen on which text was written."""
    rows, row, column = [[]], 0, 0
    for token in re.findall(r"\x1b\[\d*A|\r|\n|[^\x1b\r\n]", text):
        if token == "\r":
            column = 0
        elif token == "\n":
            row += 1
        elif token.endswith("A") and token[0] == "\x1b":
            row -= 1
        else:
            while len(rows) <= row:
                rows.append([])
            rows[row] += [" "] * (column + 1 - len(rows[row]))
            rows[row][column] = token
            column += 1
    return ["".join(row).rstrip() for row in rows]


def test_bar_and_lines_share_a_terminal(digits, monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "100")
    model = SnapshotEnsembleClassifier(Mlp, n_cycles=2, max_epochs=8, random_state=0, verbose=1)
    model.fit(*digits)
    monkeypatch.undo()
    text = "".join(screen.parts)
    assert "0/8" in text
    assert "epoch" in text
    lines = [line for line in rendered(text) if line]
    assert [line[:9] for line in lines] == ["cycle 1/2", "cycle 2/2", "finished:"]
    # In the middle of the run the bar is below the lines.
    middle = rendered(text[: text.index("cycle 2/2")])
    assert middle[0].startswith("cycle 1/2")


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_a_real_terminal_has_a_bar(monkeypatch):
    import fcntl
    import pty
    import termios

    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with open(child, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        progress = Progress(n_cycles=3, steps_per_epoch=4, n_steps=10, first_cycle=8)
        progress.on_train_begin(None)
        assert progress.bar_.total == 3  # epochs, the last of them cut short
        progress.reach(2)
        progress.cycle_ended(END)
        progress.on_epoch_end(None)
        assert progress.bar_.n == 3
        progress.plan_shorter(2, 8, time_limit=9)
        assert progress.bar_.total == 2
        progress.close()
        assert progress.bar_ is None
        monkeypatch.undo()
        text = b""
        while b"time_limit" not in text:
            text += os.read(parent, 1 << 16)
    os.close(parent)
    text = text.decode(errors="ignore").replace("\r\n", "\n")
    shown = [line for line in rendered(text) if line]
    assert [line[:9] for line in shown if "epoch/s" not in line] == ["cycle 5/8", "time_limi"]


def test_a_notebook_has_a_bar_though_its_stream_is_no_terminal(monkeypatch):
    import tqdm.auto

    made = []

    class Widget:
        __module__ = "tqdm.notebook"

        def __init__(self, **given):
            made.append(given)

    monkeypatch.setattr(tqdm.auto, "tqdm", Widget)
    assert isinstance(module._make_bar(7), Widget)
    assert made[0]["total"] == 7


def test_printing_changes_no_bit(digits):
    model = SnapshotEnsembleClassifier(max_epochs=4, n_cycles=2, random_state=0)
    one, other = (clone(model).set_params(verbose=verbose).fit(*digits) for verbose in (0, 1))
    assert (one.predict_proba(digits[0]) == other.predict_proba(digits[0])).all()


def test_a_callback_that_stops_and_a_limit_are_named(iris, capsys):
    with pytest.warns(ConvergenceWarning, match="time_limit"):
        SnapshotEnsembleClassifier(max_epochs=4000, time_limit=0.01, random_state=0, verbose=1).fit(
            *iris
        )
    assert (
        capsys.readouterr().out.splitlines()[-1].startswith("shortened by time_limit=0.01: 1 of 8")
    )
