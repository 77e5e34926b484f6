"""Chains of one fit in real workers: loky's processes, and a Dask cluster of two.

Tests that end workers stand last: new ones take seconds to start.
"""

import os
import re
import signal
import threading
import time

import joblib
import numpy as np
import pytest
import torch
from conftest import Recurrent, noisy, same
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch.callbacks import Callback
from test_checkpoints import killed
from torch import nn

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._data import sources
from skensemble._training import elsewhere
from skensemble._training.elsewhere import Elsewhere
from skensemble._training.threads import Threads, choose_threads

#: Two groups of chains train apart: see test_threads.
QUICK = {"max_epochs": 3, "n_cycles": 3, "batch_size": 100, "random_state": 0}


class Dropping(Recurrent):
    """Chains of it train one after another, and draw from torch's global generator."""

    def __init__(self, n_outputs):
        super().__init__(n_outputs)
        self.dropout = nn.Dropout(0.3)
        self.n_batches = 0

    def forward(self, X):
        self.n_batches += self.training
        return super().forward(self.dropout(X)) / (1 + self.n_batches % 3)


class Making(Recurrent):
    """It makes a tensor of torch's default type."""

    def forward(self, X):
        return super().forward(X) * torch.tensor([1 / 3])


class Failing(Dropping):
    """It fails in its second cycle."""

    def forward(self, X):
        if self.n_batches > 6:
            raise ValueError("Got 3, but expected 4.")
        return super().forward(X)


class Ending(Recurrent):
    """In a worker, in the second cycle, it sends signals to this process and to the one at home."""

    def __init__(self, n_outputs, home_pid, done, here, home):
        super().__init__(n_outputs)
        self.home_pid, self.done, self.here, self.home = home_pid, done, here, home
        self.n_batches = 0

    def forward(self, X):
        self.n_batches += self.training
        if self.n_batches == 6 and os.getpid() != self.home_pid and not self.done.exists():
            self.done.write_text(str(os.getpid()))
            for number in self.home:
                os.kill(self.home_pid, number)
            for number in self.here:
                os.kill(os.getpid(), number)
        return super().forward(X)


def ending(done, here, home=(), **parameters):
    given = {"home_pid": os.getpid(), "done": done, "here": list(here), "home": list(home)}
    given = {f"module__{name}": value for name, value in given.items()}
    return SnapshotEnsembleClassifier(Ending, **{"n_chains": 2, **QUICK, **given, **parameters})


class Locked(Recurrent):
    def __init__(self, n_outputs):
        super().__init__(n_outputs)
        self.lock = threading.Lock()


@pytest.fixture
def cycles(monkeypatch):
    """The cycles that workers are asked for, and how many lanes each time."""
    asked, results = [], Elsewhere._results

    def note(self, lanes, n_epochs, until):
        asked.append((until, len(lanes)))
        return results(self, lanes, n_epochs, until)

    monkeypatch.setattr(Elsewhere, "_results", note)
    return asked


def fit(model, rows, *, weight=None, **parameters):
    return clone(model).set_params(**parameters).fit(*rows, sample_weight=weight)


def assert_same(one, other):
    assert same(one.snapshots_, other.snapshots_)
    assert one.member_weights_.tolist() == other.member_weights_.tolist()
    assert one.history_[:, "train_loss"] == other.history_[:, "train_loss"]
    assert one.n_iter_ == other.n_iter_


CASES = {
    "default": {},
    "cold": {"restart": "cold"},
    "burn-in, class weights": {"class_weight": {0: 2.0}, "schedule__burn_in_epochs": 1},
    "stopped": {"early_stopping": True, "n_iter_no_change": 1, "max_epochs": 12, "lr": 0.05},
    "several snapshots a cycle": {"snapshots_per_cycle": 2, "max_epochs": 12},
    "no row left out": {"validation": None, "n_chains": 16, "module__dropout": 0.2},
    "in turn": {"module": Dropping, "n_chains": 2},
    "in turn, augmented": {"module": Dropping, "n_chains": 2, "transform": noisy},
    "in turn, cold": {"module": Dropping, "n_chains": 2, "restart": "cold"},
    "in turn, of another optimizer": {
        "module": Dropping,
        "n_chains": 2,
        "optimizer": "LBFGS",
        "lr": 0.01,
        "iterator_train__shuffle": True,
        "validation": None,
    },
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_workers_move_no_bit(digits, cycles, options):
    """Promise 5."""
    rows = np.float32(digits[0]), digits[1]
    model = SnapshotEnsembleClassifier(**{**QUICK, **options})
    weight = np.linspace(0.5, 2, len(rows[1])) if not options else None
    alone = fit(model, rows, weight=weight)
    assert not cycles
    assert_same(fit(model, rows, weight=weight, n_jobs=1), alone)
    assert not cycles
    two = fit(model, rows, weight=weight, n_jobs=2)
    assert cycles == [(k + 1, len(two._fitted_.nets)) for k in range(two.n_cycles_)]
    assert_same(two, alone)
    assert_same(two.partial_fit(*rows), alone.partial_fit(*rows))  # n_jobs counts for it too
    assert len(cycles) == two.n_cycles_


def test_workers_get_rows_of_all_kinds(digits, cycles, monkeypatch):
    class ByName(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.unlike = nn.GRU(8, 6, batch_first=True), nn.Linear(70, 10)

        def forward(self, top, rest):
            seen = self.layer(torch.cat([top, rest], 1).reshape(-1, 8, 8))[0].flatten(1)
            return self.unlike(torch.cat([seen, top[:, :22]], 1))

    X, y = np.float32(digits[0]), digits[1]
    monkeypatch.setattr(sources, "_AHEAD", 0)  # sparse and wide rows are converted in the worker
    model = SnapshotEnsembleClassifier(**QUICK)
    for n, (module, rows) in enumerate(
        [(None, csr_matrix(X)), (None, X), (ByName, {"top": X[:, :32], "rest": X[:, 32:]})]
    ):
        given = {"module": module, "n_chains": 2 if module else "auto", "max_epochs": 2}
        alone = fit(model, (rows, y), **given)
        assert_same(fit(model, (rows, y), n_jobs=2, **given), alone)
        assert len(cycles) == 3 * (n + 1)


def test_what_is_shown_is_shown_here(digits, cycles, capsys):
    shown = []
    for n_jobs in (1, 2):
        fit(SnapshotEnsembleClassifier(verbose=1, **QUICK), digits, n_jobs=n_jobs)
        lines = capsys.readouterr().out.splitlines()
        shown.append([re.sub(r" · [^·]*", "", line, count=1) for line in lines])  # without seconds
    assert len(shown[0]) == 4
    assert all("train" in line for line in shown[0][:3])
    assert shown[0] == shown[1]
    assert cycles


def test_torchs_default_type_is_that_of_home(digits, cycles):
    model = SnapshotEnsembleClassifier(Making, n_chains=2, **QUICK)
    torch.set_default_dtype(torch.float64)
    try:
        alone, two = (fit(model, digits, n_jobs=n) for n in (1, 2))
    finally:
        torch.set_default_dtype(torch.float32)
    assert cycles
    assert two.snapshots_[0]["output.weight"].dtype == torch.float64
    assert_same(two, alone)


def test_a_regressor_with_several_groups(digits, cycles):
    X, y = digits[0], digits[0][:, 20:22] + digits[1][:, None]
    model = SnapshotEnsembleRegressor(**QUICK)
    alone, two = (fit(model, (X, y), n_jobs=n) for n in (None, 2))
    assert cycles
    assert_same(two, alone)


def test_nested_in_a_parallel_search_it_does_nothing(digits):
    model = SnapshotEnsembleClassifier(**QUICK, n_jobs=2)
    searches = [
        GridSearchCV(model, {"lr": [0.004, 0.008]}, cv=2, n_jobs=n, refit=False) for n in (None, 2)
    ]
    one, two = (search.fit(*digits).cv_results_["mean_test_score"] for search in searches)
    np.testing.assert_array_equal(one, two)
    asked = joblib.Parallel(n_jobs=2)([joblib.delayed(_asked_there)()] * 2)
    assert asked == [Threads(1, 1)] * 2


def _asked_there():
    return choose_threads(1e8, 4, is_private=True, n_jobs=2, may_leave=True)


def test_the_active_configuration_counts(digits, cycles, monkeypatch):
    model = SnapshotEnsembleClassifier(**QUICK)
    alone = fit(model, digits)
    with joblib.parallel_config("threading", n_jobs=2):
        assert choose_threads(1e8, 4, is_private=True, may_leave=True) == Threads(2, 1)
        assert choose_threads(1e8, 4, is_private=False, may_leave=True).n_lanes == 1
        assert_same(fit(model, digits), alone)
    assert not cycles
    with joblib.parallel_config("loky", n_jobs=2):
        assert_same(fit(model, digits), alone)
        assert len(cycles) == 3
        assert_same(fit(model, digits, n_jobs=1), alone)  # what is given counts more
    with joblib.parallel_config("loky"):  # which joblib takes for one job
        assert_same(fit(model, digits), alone)
    assert len(cycles) == 3
    monkeypatch.setattr(joblib, "effective_n_jobs", lambda n: {-1: 8, 3: 3}[n])
    for n_jobs, n_tasks in ((-1, 4), (3, 3)):
        there = choose_threads(1e8, 4, is_private=True, n_jobs=n_jobs, may_leave=True)
        assert there == Threads(1, 1, n_tasks)


class Watching(Callback):
    def on_epoch_end(self, net, **_):
        self.seen = os.getpid()


@pytest.mark.parametrize(
    "options",
    [{"callbacks": [Watching()]}, {"time_limit": 1e6}, {"iterator_train__sampler": [1] * 99}],
    ids=["callbacks", "limit", "sampler"],
)
def test_what_stays_in_this_process(digits, cycles, options):
    module = None if "time_limit" in options else Dropping
    model = SnapshotEnsembleClassifier(module, **QUICK, n_chains=4, validation=None, **options)
    fit(model, digits, n_jobs=2)
    assert not cycles


def test_a_net_that_cannot_travel_is_refused(digits):
    model = SnapshotEnsembleClassifier(Locked, n_chains=2, n_jobs=2, **QUICK)
    with pytest.raises(ValueError, match=r"Got a net that workers .*cannot pickle.* Set n_jobs=1"):
        model.fit(*digits)


def test_a_killed_fit_goes_on_in_workers(digits, tmp_path, monkeypatch, cycles):
    """Promise 12, with n_jobs other than before."""
    model = SnapshotEnsembleClassifier(**QUICK)
    whole = fit(model, digits)
    model.set_params(checkpoint_dir=tmp_path)
    killed(monkeypatch, clone(model).set_params(n_jobs=2), *digits, after=2)
    n_before = len(cycles)
    again = fit(model, digits, n_jobs=2)
    assert same(again.snapshots_, whole.snapshots_)
    assert 0 < len(cycles) - n_before < 3
    (file,) = tmp_path.iterdir()
    assert file.exists()


@pytest.mark.filterwarnings("default")  # distributed's and joblib's own
def test_dask_gives_the_same_bits_also_where_a_worker_is_killed(digits, cycles, tmp_path):
    distributed = pytest.importorskip("distributed")
    model = SnapshotEnsembleClassifier(**QUICK)
    dying = ending(tmp_path / "done", [signal.SIGKILL])
    alone = [fit(either, digits) for either in (model, dying)]
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
        joblib.parallel_config("dask"),
    ):
        assert_same(fit(model, digits), alone[0])
        assert [until for until, _ in cycles] == [1, 2, 3]
        search = GridSearchCV(model, {"n_cycles": [3]}, cv=2, refit=False, error_score="raise")
        search.fit(*digits)
        assert len(cycles) == 3  # nested
        assert_same(fit(dying, digits), alone[1])
    assert (tmp_path / "done").exists()


@pytest.mark.filterwarnings("default")
def test_a_cluster_within_this_process_is_threads(digits, cycles):
    """Its workers would wait for the generators that the fit holds."""
    distributed = pytest.importorskip("distributed")
    model = SnapshotEnsembleClassifier(Dropping, n_chains=2, **QUICK)
    options = {"processes": False, "n_workers": 1, "threads_per_worker": 2}
    with (
        distributed.Client(**options, dashboard_address=None),
        joblib.parallel_config("dask"),
    ):
        assert choose_threads(1e8, 4, is_private=True, may_leave=True) == Threads(2, 1)
        assert_same(fit(model, digits), fit(model, digits, n_jobs=1))
    assert not cycles


# ------------------------------------------------------------------------- ends of loky's workers


def test_an_error_in_a_worker_reaches_the_caller(digits, cycles):
    model = SnapshotEnsembleClassifier(Failing, n_chains=2, n_jobs=2, **QUICK)
    with pytest.raises(ValueError, match=r"^Got 3, but expected 4\.$"):
        model.fit(*digits)
    assert len(cycles) > 1
    assert not hasattr(model, "classes_")


def test_a_killed_worker_moves_no_bit(digits, cycles, tmp_path):
    model = ending(tmp_path / "done", [signal.SIGKILL], n_chains=3)
    assert_same(fit(model, digits, n_jobs=2), fit(model, digits))
    assert [until for until, _ in cycles] == [1, 2, 2, 3]
    assert cycles[2][1] <= cycles[1][1]


def test_workers_that_are_always_lost_end_the_fit(digits, cycles, monkeypatch):
    def lose(self, lanes, n_epochs, until):
        cycles.append((until, len(lanes)))
        raise elsewhere.WorkersLost("gone")
        yield

    monkeypatch.setattr(Elsewhere, "_results", lose)
    with pytest.raises(elsewhere.WorkersLost):
        fit(SnapshotEnsembleClassifier(**QUICK), digits, n_jobs=2)
    assert cycles == [(1, 2)] * 4


def test_ctrl_c_here_alone_keeps_finished_cycles(digits, tmp_path):
    model = ending(tmp_path / "done", [], home=[signal.SIGINT], n_jobs=2)
    with pytest.warns(RuntimeWarning, match="Interrupted: the ensemble keeps the 1 of 3"):
        model.fit(*digits)
    assert model.n_cycles_ == 1


def test_ctrl_c_in_a_terminal_reaches_workers_too_and_ends_them(digits, tmp_path):
    model = ending(tmp_path / "done", [signal.SIGINT], home=[signal.SIGINT], n_jobs=2)
    with pytest.warns(RuntimeWarning, match="Interrupted: the ensemble keeps the 1 of 3"):
        model.fit(*digits)
    assert model.n_cycles_ == 1
    pid, deadline = int((tmp_path / "done").read_text()), time.monotonic() + 30
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_alive(pid)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
