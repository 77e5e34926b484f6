"""A killed fit goes on to the same bits, and what it had written predicts."""

import errno
import functools
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Mlp, same
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from test_state import assert_same

import skensemble
from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._persistence.checkpoints import Checkpoint
from skensemble._persistence.foreign import name_of
from skensemble._persistence.saving import Prepared
from skensemble._training.run import Run


class Killed(Exception):
    """Stands for the end of the process."""


def kill_after(patch, n_cycles):
    """End fits after the file of so many cycles was written."""
    write = Checkpoint.write
    left = [n_cycles]

    def write_and_die(self, *args):
        write(self, *args)
        self.wait()
        left[0] -= 1
        if not left[0]:
            raise Killed

    patch.setattr(Checkpoint, "write", write_and_die)


def killed(monkeypatch, model, *rows, after=2, **more):
    with monkeypatch.context() as patch:
        kill_after(patch, after)
        with pytest.raises(Killed):
            model.fit(*rows, **more)
    return model


def no_training(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("it trains")

    monkeypatch.setattr(Run, "train", refuse)


def files(folder):
    return sorted(Path(folder).iterdir())


OPTIONS = {
    "built-in": {},
    "one chain": {"n_chains": 1, "module__dropout": 0.2},
    "small": {"n_rows": 30},
    "cold": {"restart": "cold"},
    "star": {"restart": "star"},
    "own": {"module": Mlp, "optimizer": "SGD", "lr": 0.05},
    "own, in turn": {"module": Mlp, "n_chains": 2, "optimizer": "LBFGS", "lr": 0.01},
    "weights": {"class_weight": "balanced"},
    "time": {"time_limit": 600},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_killed_fit_goes_on_to_the_same_bits(digits, tmp_path, monkeypatch, options):
    options = dict(options)
    n_rows = options.pop("n_rows", 200)
    X, y = digits[0][:n_rows], digits[1][:n_rows]
    model = SnapshotEnsembleClassifier(
        max_epochs=6, n_cycles=4, n_iter_no_change=3, random_state=1, **options
    )
    whole = clone(model).fit(X, y)
    model.set_params(checkpoint_dir=tmp_path)
    killed(monkeypatch, clone(model), X, y, after=1)
    killed(monkeypatch, clone(model), X, y, after=2)
    (file,) = files(tmp_path)
    partial = skensemble.load(file, module=options.get("module"))
    assert np.isfinite(partial.predict_proba(X)).all()
    assert partial.n_cycles_ <= whole.n_cycles_
    model.fit(X, y)
    assert_same(model, whole)
    assert files(tmp_path) == [file]
    assert_same(skensemble.load(file, module=options.get("module")), whole)


def test_a_finished_fit_returns_at_once(diabetes, tmp_path, monkeypatch):
    model = SnapshotEnsembleRegressor(max_epochs=6, random_state=0, checkpoint_dir=tmp_path)
    whole = clone(model).fit(*diabetes)
    with monkeypatch.context() as patch:
        no_training(patch)
        found = clone(model).fit(*diabetes)
    assert found.oof_prediction_.tobytes() == whole.oof_prediction_.tobytes()
    assert found.predict(diabetes[0]).tobytes() == whole.predict(diabetes[0]).tobytes()
    assert found.history_ == whole.history_
    # It goes on as the other does.
    for fitted in (found, whole):
        fitted.set_params(checkpoint_dir=None).partial_fit(*diabetes)
    assert found.predict(diabetes[0]).tobytes() == whole.predict(diabetes[0]).tobytes()


def test_a_found_fit_warns_as_the_first_did(digits, tmp_path):
    model = SnapshotEnsembleClassifier(
        Mlp, lr=1e4, max_epochs=4, n_cycles=4, random_state=0, checkpoint_dir=tmp_path
    )
    texts = []
    for _ in range(2):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            clone(model).fit(*digits)
        texts.append([(str(w.message), w.category) for w in told])
    assert texts[0] == texts[1] != []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"lr": 0.005}, "parameter lr"),
        ({"module__hidden": (8,)}, "parameter module__hidden"),
        ({"random_state": 5}, "seed from random_state"),
        ({"column": 3}, "column 3 of X"),
        ({"y": True}, "y"),
        ({"sample_weight": True}, "sample_weight"),
    ],
)
def test_a_file_of_another_fit_is_not_used(iris, tmp_path, change, word):
    X, y = iris[0].copy(), iris[1].copy()
    model = SnapshotEnsembleClassifier(
        max_epochs=2, n_cycles=2, random_state=0, checkpoint_dir=tmp_path
    )
    model.fit(X, y)
    (file,) = files(tmp_path)
    weight = np.arange(1.0, 151.0) if change.pop("sample_weight", False) else None
    if (column := change.pop("column", None)) is not None:
        X[0, column] += 1
    if change.pop("y", False):
        y[0] = 1
    other = clone(model).set_params(**change)
    with pytest.raises(ValueError, match=f"written with another {word}"):
        other.fit(X, y, sample_weight=weight, resume_from=file)
    other.fit(X, y, sample_weight=weight)
    assert len(files(tmp_path)) == 2


def test_columns_of_a_frame_are_named(tmp_path):
    X = pd.DataFrame({"age": np.arange(100.0) % 7, "town": ["a", "b"] * 50})
    y = np.arange(100) % 3
    model = SnapshotEnsembleClassifier(
        max_epochs=2, n_cycles=2, random_state=0, checkpoint_dir=tmp_path
    )
    model.fit(X, y)
    (file,) = files(tmp_path)
    other = X.assign(town=["b", "a"] * 50)
    with pytest.raises(ValueError, match="another column 'town' of X"):
        clone(model).fit(other, y, resume_from=file)
    found = clone(model).set_params(checkpoint_dir=None).fit(X, y, resume_from=file)
    assert_same(found, model)


def doubled(self, X):
    return 2 * Mlp_forward(self, X)


Mlp_forward = Mlp.forward


def falling(factor, at):
    return factor * (1 - at.progress)


def test_code_of_ones_own_is_part_of_what_a_fit_is(iris, tmp_path, monkeypatch):
    model = SnapshotEnsembleClassifier(
        Mlp, n_cycles=2, max_epochs=2, random_state=0, checkpoint_dir=tmp_path
    )
    for factor in (1.0, 0.5, 1.0):
        clone(model).set_params(schedule=functools.partial(falling, factor)).fit(*iris)
    assert len(files(tmp_path)) == 2
    monkeypatch.setattr(Mlp, "forward", doubled)
    clone(model).set_params(schedule=functools.partial(falling, 1.0)).fit(*iris)
    assert len(files(tmp_path)) == 3


def test_what_no_file_can_keep_is_refused_before_training(iris, tmp_path, monkeypatch):
    no_training(monkeypatch)
    model = SnapshotEnsembleClassifier(
        Mlp, schedule=lambda at: 1 - at.progress, random_state=0, checkpoint_dir=tmp_path
    )
    with pytest.raises(ValueError, match=r"Got schedule=.*define it with def"):
        model.fit(*iris)
    assert files(tmp_path) == []


def test_verbosity_is_not_part_of_it_and_tells(iris, tmp_path, capsys):
    model = SnapshotEnsembleClassifier(
        max_epochs=2, n_cycles=2, random_state=0, checkpoint_dir=tmp_path
    )
    clone(model).fit(*iris)
    clone(model).set_params(verbose=1).fit(*iris)
    (file,) = files(tmp_path)
    assert f"found {file}" in capsys.readouterr().out


def test_the_count_of_cycles_goes_on(iris, tmp_path, monkeypatch, capsys):
    model = SnapshotEnsembleClassifier(
        max_epochs=4, n_cycles=4, random_state=0, checkpoint_dir=tmp_path, verbose=1
    )
    killed(monkeypatch, clone(model), *iris, after=2)
    capsys.readouterr()
    model.fit(*iris)
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("cycle")]
    n_found = skensemble.load(*files(tmp_path)).n_cycles_ - len(told)
    assert n_found >= 1
    assert [line.split()[1] for line in told] == [f"{k}/4" for k in range(n_found + 1, 5)]


def test_a_damaged_file_is_told_and_replaced(iris, tmp_path):
    model = SnapshotEnsembleClassifier(
        max_epochs=2, n_cycles=2, random_state=0, checkpoint_dir=tmp_path
    )
    clone(model).fit(*iris)
    (file,) = files(tmp_path)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.warns(RuntimeWarning, match=r"which cannot be read.*begins anew"):
        clone(model).fit(*iris)
    assert skensemble.load(file).n_cycles_ == 2


def test_a_folder_that_cannot_be_written_to_is_refused_before_training(iris, tmp_path, monkeypatch):
    no_training(monkeypatch)
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(OSError, match=r"Got checkpoint_dir=.*expected a folder") as told:
        SnapshotEnsembleClassifier(checkpoint_dir=file / "folder", random_state=0).fit(*iris)
    assert told.value.errno == errno.ENOTDIR
    with pytest.raises(ValueError, match=r"Got checkpoint_dir=.*expected a folder"):
        SnapshotEnsembleClassifier(checkpoint_dir="a\ud800b", random_state=0).fit(*iris)


def test_an_empty_name_is_not_the_working_directory(iris, tmp_path, monkeypatch):
    """It is what a variable of the environment that is not set gives."""
    monkeypatch.chdir(tmp_path)
    no_training(monkeypatch)
    with pytest.raises(ValueError, match="Got checkpoint_dir='', but expected the path of a fold"):
        SnapshotEnsembleClassifier(checkpoint_dir="", random_state=0).fit(*iris)
    for wrong in ("", tmp_path / "nothing"):
        with pytest.raises(NotADirectoryError, match=r"Got checkpoint_dir=.*expected a folder"):
            skensemble.prune_checkpoints(wrong)
    assert files(tmp_path) == []


def test_a_named_file_that_is_none_is_called_as_the_argument(iris, tmp_path):
    file = tmp_path / "text"
    file.write_text("hello world")
    with pytest.raises(ValueError, match=r"Got resume_from='.*a file with no header"):
        SnapshotEnsembleClassifier(random_state=0).fit(*iris, resume_from=file)


def test_a_full_disk_loses_no_snapshot(iris, tmp_path, monkeypatch):
    model = SnapshotEnsembleClassifier(
        max_epochs=12, n_cycles=6, random_state=0, checkpoint_dir=tmp_path
    )
    killed(monkeypatch, clone(model), *iris, after=2)
    (file,) = files(tmp_path)
    before = file.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    whole = clone(model).set_params(checkpoint_dir=None).fit(*iris)
    with monkeypatch.context() as patch:
        patch.setattr(Prepared, "write", full)
        # It shows at the end of the next cycle: training does not wait for the disk.
        with pytest.raises(OSError, match=r"No space left.*keeps the 4 cycles"):
            model.fit(*iris)
    assert model.n_cycles_ == 4
    staged = list(whole.staged_predict_proba(iris[0]))
    np.testing.assert_allclose(model.predict_proba(iris[0]), staged[3], rtol=1e-12)
    assert files(tmp_path) == [file]
    assert file.read_bytes() == before
    assert_same(model.fit(*iris), whole)


class OpensLate(Callback):
    def on_epoch_end(self, net, **_):
        if len(net.history) == 4:
            self.file = iter([])


class RecordsLate(Callback):
    def on_epoch_end(self, net, **_):
        if len(net.history) == 4:
            net.history.record("what", iter([]))


@pytest.mark.parametrize("callback", [OpensLate, RecordsLate])
def test_what_cannot_be_kept_any_more_loses_no_snapshot(iris, tmp_path, callback):
    model = SnapshotEnsembleClassifier(
        Mlp, max_epochs=8, n_cycles=4, random_state=0, callbacks=[callback()]
    )
    whole = clone(model).set_params(callbacks=None).fit(*iris)
    model.set_params(checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match=r"expected a run that a file can keep.*keeps the \d cycl"):
        model.fit(*iris)
    assert 2 <= model.n_cycles_ < 4
    kept = len(model.snapshots_)
    assert same(model.snapshots_, whole.snapshots_[:kept])
    assert skensemble.load(*files(tmp_path), module=Mlp, trusted=[name_of(callback)]).n_cycles_


class CountsCalls(Mlp):
    def forward(self, X):
        self.n_calls = getattr(self, "n_calls", 0) + 1
        return super().forward(X) / (1 + (self.n_calls % 7 if self.training else 0))


def test_writing_and_reading_make_no_call_that_a_module_counts(iris, tmp_path, monkeypatch):
    model = SnapshotEnsembleClassifier(CountsCalls, max_epochs=6, n_cycles=4, random_state=0)
    whole = clone(model).fit(*iris)
    model.set_params(checkpoint_dir=tmp_path)
    killed(monkeypatch, clone(model), *iris)
    for _ in range(2):  # goes on, and is found
        found = clone(model).fit(*iris)
        assert_same(found, whole)
        assert found.net_.module_.n_calls == whole.net_.module_.n_calls


def test_a_run_may_go_to_another_folder(iris, tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "one")
    write = Checkpoint.write

    def write_and_go(self, *args):
        write(self, *args)
        os.chdir(tmp_path / "two")

    monkeypatch.setattr(Checkpoint, "write", write_and_go)
    SnapshotEnsembleClassifier(
        max_epochs=4, n_cycles=3, random_state=0, checkpoint_dir="files"
    ).fit(*iris)
    assert len(files(tmp_path / "one" / "files")) == 1
    assert files(tmp_path / "two") == []


def test_two_processes_that_fit_the_same_undo_nothing(iris, tmp_path, monkeypatch):
    """The slower one is killed after the other has finished."""
    model = SnapshotEnsembleClassifier(
        max_epochs=4, n_cycles=4, random_state=0, checkpoint_dir=tmp_path
    )
    write = Checkpoint.write

    def write_late(self, *args):
        with monkeypatch.context() as patch:
            patch.setattr(Checkpoint, "write", write)
            clone(model).fit(*iris)
        write(self, *args)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "write", write_late)
        with pytest.raises(Killed):
            clone(model).fit(*iris)
    no_training(monkeypatch)
    assert model.fit(*iris).n_cycles_ == 4


def test_a_folder_in_the_place_of_a_file_is_told(iris, tmp_path):
    model = SnapshotEnsembleClassifier(
        max_epochs=2, n_cycles=2, random_state=0, checkpoint_dir=tmp_path
    )
    clone(model).fit(*iris)
    (file,) = files(tmp_path)
    file.unlink()
    file.mkdir()
    with pytest.raises(OSError, match=r"Got checkpoint_dir=.*expected files of fits that can be"):
        clone(model).fit(*iris)
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(
            OSError, match=r"Got resume_from=.*expected a file of a fit that can be"
        ):
            clone(model).fit(*iris, resume_from=path)
    with pytest.raises(TypeError, match="Got resume_from=3, but expected the path"):
        clone(model).fit(*iris, resume_from=3)
    assert skensemble.prune_checkpoints(tmp_path) == []


def test_a_seed_of_the_global_generator_is_warned_of(iris, tmp_path):
    model = SnapshotEnsembleClassifier(max_epochs=1, n_cycles=2, checkpoint_dir=tmp_path)
    for n_files in (1, 2):
        with pytest.warns(UserWarning, match="Got random_state=None with checkpoint_dir"):
            clone(model).fit(*iris)
        assert len(files(tmp_path)) == n_files
    # Where only a file is named, its own seed would be needed: the refusal says so.
    model.set_params(checkpoint_dir=None)
    with pytest.raises(ValueError, match="written with another seed from random_state"):
        model.fit(*iris, resume_from=files(tmp_path)[0])


def test_an_instance_is_found_where_it_stands_at_the_same_place(iris, tmp_path, monkeypatch):
    """No warning: a script that is started again makes the same draws."""
    model = SnapshotEnsembleClassifier(max_epochs=2, n_cycles=2, checkpoint_dir=tmp_path)
    first = clone(model).set_params(random_state=np.random.RandomState(0))
    whole = clone(first).fit(*iris)
    first.fit(*iris)
    assert len(files(tmp_path)) == 1
    first.fit(*iris)  # the instance has moved on
    assert len(files(tmp_path)) == 2
    no_training(monkeypatch)
    again = model.set_params(random_state=np.random.RandomState(0))
    assert_same(clone(again).fit(*iris), whole)
    again.fit(*iris)
    again.fit(*iris)


def test_later_calls_are_found_too(iris, tmp_path, monkeypatch):
    model = SnapshotEnsembleClassifier(
        max_epochs=4, n_cycles=2, random_state=0, checkpoint_dir=tmp_path, warm_start=True
    )
    whole = clone(model)
    for _ in range(2):
        whole.partial_fit(*iris, classes=[0, 1, 2])
    whole.fit(*iris)
    assert len(files(tmp_path)) == 3
    found = clone(model)
    with monkeypatch.context() as patch:
        no_training(patch)
        for _ in range(2):
            found.partial_fit(*iris, classes=[0, 1, 2])
        found.fit(*iris)
    assert_same(found, whole)
    assert_same(found.fit(*iris), whole.fit(*iris))


def test_files_of_finished_fits_are_pruned_with_one_call(iris, tmp_path, monkeypatch):
    model = SnapshotEnsembleClassifier(
        max_epochs=4, n_cycles=3, random_state=0, checkpoint_dir=tmp_path
    )
    clone(model).fit(*iris)
    killed(monkeypatch, clone(model).set_params(lr=0.001), *iris)
    (tmp_path / "notes.txt").write_text("mine")
    assert len(files(tmp_path)) == 3
    assert len(skensemble.prune_checkpoints(tmp_path)) == 1
    assert len(files(tmp_path)) == 2
    assert len(skensemble.prune_checkpoints(tmp_path, unfinished=True)) == 1
    assert [file.name for file in files(tmp_path)] == ["notes.txt"]


SCRIPT = """
import os, signal, sys
from sklearn.datasets import load_iris
from skensemble import SnapshotEnsembleClassifier
from skensemble._persistence.checkpoints import Checkpoint
from skensemble._persistence.saving import Prepared
write = Checkpoint.write
def write_and_die(self, *args):
    write(self, *args)
    self.wait()
    os.kill(os.getpid(), getattr(signal, sys.argv[2]))
Checkpoint.write = write_and_die
SnapshotEnsembleClassifier(max_epochs=6, random_state=0, checkpoint_dir=sys.argv[1]).fit(
    *load_iris(return_X_y=True)
)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs its signals")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_a_process_that_ends_leaves_its_last_cycle(iris, tmp_path, name):
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path), name]
    ended = subprocess.run(command, check=False)
    assert ended.returncode == -getattr(signal, name)
    (file,) = files(tmp_path)
    assert skensemble.load(file).n_cycles_ == 1
    model = SnapshotEnsembleClassifier(max_epochs=6, random_state=0)
    whole = clone(model).fit(*iris)
    assert_same(model.set_params(checkpoint_dir=tmp_path).fit(*iris), whole)


def test_ctrl_c_leaves_the_file_of_the_last_cycle(iris, tmp_path, monkeypatch):
    model = SnapshotEnsembleClassifier(max_epochs=6, random_state=0, checkpoint_dir=tmp_path)
    write = Checkpoint.write

    def write_and_interrupt(self, *args):
        write(self, *args)
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "write", write_and_interrupt)
        with pytest.warns(RuntimeWarning, match="keeps the 1 of 8 cycles"):
            model.fit(*iris)
    assert skensemble.load(*files(tmp_path)).n_cycles_ == 1
    assert_same(model.fit(*iris), clone(model).set_params(checkpoint_dir=None).fit(*iris))


def test_a_search_finds_its_finished_fits(iris, tmp_path, monkeypatch):
    model = SnapshotEnsembleClassifier(max_epochs=4, random_state=0, checkpoint_dir=tmp_path)
    grid = {"n_cycles": [2, 4], "lr": [0.01, 0.002]}
    search = GridSearchCV(model, grid, cv=3, scoring="neg_log_loss")
    with monkeypatch.context() as patch:
        kill_after(patch, 8)
        with pytest.raises(Killed):
            clone(search).set_params(error_score="raise").fit(*iris)
    n_before = len(files(tmp_path))
    trained = []
    train = Run.train
    monkeypatch.setattr(Run, "train", lambda self, **k: (trained.append(1), train(self, **k))[1])
    search.fit(*iris)
    assert len(files(tmp_path)) == 13
    assert len(trained) == 13 - n_before + 1  # the one that was in work goes on
    without = GridSearchCV(clone(model).set_params(checkpoint_dir=None), grid, cv=3)
    without.set_params(scoring="neg_log_loss").fit(*iris)
    for name, values in search.cv_results_.items():
        if "score" in name and "time" not in name:
            np.testing.assert_array_equal(values, without.cv_results_[name])
