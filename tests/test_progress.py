"""What a fit prints."""

from conftest import Mlp

from skensemble import SnapshotEnsembleClassifier
from skensemble._training.progress import Progress


def test_verbose_prints_a_line_a_cycle_and_silence_is_silent(digits, capfd):
    model = SnapshotEnsembleClassifier(Mlp, n_cycles=3, max_epochs=3, random_state=0)
    model.fit(*digits)
    assert capfd.readouterr() == ("", "")
    model.set_params(verbose=1).fit(*digits)
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert len(lines) == 3
    for cycle, line in enumerate(lines, 1):
        assert line.startswith(f"cycle {cycle}/3  epochs")
        assert all(word in line for word in ("lr", "loss", " s"))
    assert "epoch" in err
    model.partial_fit(*digits)
    assert capfd.readouterr().out.startswith("cycle 4/4  epochs")


def test_a_line_says_which_cycle_of_all_has_ended(capfd):
    progress = Progress(n_cycles=3, steps_per_epoch=4, n_steps=10, first_cycle=8)
    progress.on_train_begin(None)
    assert progress.bar_.total == 3  # epochs, the last of them cut short
    progress.cycle_finished(6, 0.0125, 0.5)
    progress.on_epoch_end(None)
    progress.close()
    line = capfd.readouterr().out
    assert line.startswith("cycle  9/11  epochs    1.5  lr 1.25e-02  loss 0.5000  ")


def test_a_shorter_plan_is_told_once(capfd):
    progress = Progress(n_cycles=3, steps_per_epoch=4, n_steps=40, first_cycle=8)
    progress.on_train_begin(None)
    progress.plan_shorter(1, 14, time_limit=2.5)
    progress.plan_shorter(2, 12, time_limit=2.5)
    assert progress.bar_.total == 3
    progress.cycle_finished(6, 0.0125, 0.5)
    progress.close()
    told, ended = capfd.readouterr().out.splitlines()
    assert told == "time_limit=2.5: 1 cycle in 3.5 epochs, of a budget of 10"
    assert ended.startswith("cycle  9/10 ")


def test_a_run_that_never_began_has_no_bar_to_close(capfd):
    Progress(n_cycles=3, steps_per_epoch=4, n_steps=10, first_cycle=0).close()
    assert capfd.readouterr() == ("", "")
