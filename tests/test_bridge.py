"""Scikit-learn's callbacks: a task for the fit, and in it one for each cycle."""

import signal
import threading

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import QUICK, Mlp, same
from sklearn.base import clone
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import GridSearchCV, ParameterGrid, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_checkpoints import killed

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._training.bridge import metrics_of

sklearn_callback = pytest.importorskip("sklearn.callback", reason="scikit-learn >= 1.9")
ScoringMonitor = sklearn_callback.ScoringMonitor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

#: Three cycles that are all trained.
THREE = {"max_epochs": 6, "n_cycles": 3, "early_stopping": False, "random_state": 0}


class Noting:
    """Notes the hooks that are called, and does something at the end of each cycle."""

    def __init__(self, do=lambda context, estimator: None):
        self.do, self.told, self.given = do, [], []

    def setup(self, estimator, context):
        self.told.append(("setup", context.task_name, context.max_subtasks))

    def teardown(self, estimator, context):
        self.told.append(("teardown", context.task_name, context.max_subtasks))

    def on_fit_task_begin(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        self._note("begin", context, fitted_estimator)

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, metadata=None, fitted_estimator=None
    ):
        self._note("end", context, fitted_estimator)
        self.given.append((X, y, metadata))
        return self.do(context, fitted_estimator) if context.task_name == "cycle" else None

    def _note(self, what, context, fitted):
        n_cycles = None if fitted is None else fitted.n_cycles_
        self.told.append((what, context.task_name, context.task_id, n_cycles))


def after(number):
    return lambda context, fitted: context.task_id == number


def scores(model, X, y):
    return [-log_loss(y, p) for p in model.staged_predict_proba(X)]


def test_a_task_for_the_fit_and_one_for_each_cycle(iris):
    noting, weight = Noting(), np.ones(len(iris[1]))
    model = SnapshotEnsembleClassifier(**THREE).set_callbacks(noting)
    model.fit(*iris, sample_weight=weight)
    assert noting.told == [
        ("setup", "fit", 3),
        ("begin", "fit", 0, None),
        ("begin", "cycle", 0, None), ("end", "cycle", 0, 1),
        ("begin", "cycle", 1, 1), ("end", "cycle", 1, 2),
        ("begin", "cycle", 2, 2), ("end", "cycle", 2, 3),
        ("end", "fit", 0, None),
        ("teardown", "fit", 3),
    ]  # fmt: skip
    X, y, metadata = noting.given[0]
    assert X is iris[0]
    assert y is iris[1]
    assert metadata["sample_weight"] is weight
    assert not {"_callback_fit_ctx", "_skl_callbacks_to_teardown"} & vars(model).keys()


def test_a_row_a_cycle_and_the_fit_keeps_its_bits(path, iris, diabetes):
    monitor = ScoringMonitor(scoring="neg_log_loss")
    plain = SnapshotEnsembleClassifier(**THREE).fit(*iris)
    model = SnapshotEnsembleClassifier(**THREE).set_callbacks(monitor).fit(*iris)
    assert same(plain.snapshots_, model.snapshots_)
    rows = monitor.get_logs().data_as_pandas
    np.testing.assert_allclose(rows["neg_log_loss"], scores(plain, *iris))
    monitor = ScoringMonitor(scoring="neg_mean_squared_error")
    model = SnapshotEnsembleRegressor(**THREE).set_callbacks(monitor).fit(*diabetes)
    found = [row["neg_mean_squared_error"] for row in monitor.get_logs().data]
    expected = [-mean_squared_error(diabetes[1], p) for p in model.staged_predict(diabetes[0])]
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_a_search_gives_a_row_for_each_candidate_fold_and_cycle(iris, n_jobs):
    """They are the scores that one computes by hand."""
    X, y = iris
    monitor = ScoringMonitor(scoring="neg_log_loss")
    given = {**THREE, "n_cycles": 8, "n_chains": 2}
    model = SnapshotEnsembleClassifier(**given).set_callbacks(monitor)
    pipeline = make_pipeline(StandardScaler(), model)
    name = type(model).__name__.lower()
    grid = {f"{name}__lr": [0.01, 0.02, 0.03], f"{name}__module__hidden": [(4,), (6,), (8,)]}
    folds = StratifiedKFold(3)
    GridSearchCV(pipeline, grid, cv=folds, n_jobs=n_jobs, refit=False).fit(X, y)
    rows = monitor.get_logs().data_as_pandas
    assert len(rows) == 9 * 3 * 8
    assert set(rows["task_name"]) == {"cycle"}
    # The place of a fit in the search: candidates outside, folds inside.
    by_fit = [part["neg_log_loss"].tolist() for _, part in rows.groupby("parent_task_id_path")]
    for candidate in (0, 4, 8):
        given = ParameterGrid(grid)[candidate]
        for k, (train, _) in enumerate(folds.split(X, y)):
            fitted = clone(pipeline).set_params(**given)
            fitted[-1].set_callbacks()
            fitted.fit(X[train], y[train])
            expected = scores(fitted[-1], fitted[0].transform(X[train]), y[train])
            np.testing.assert_allclose(by_fit[3 * candidate + k], expected, rtol=1e-6)


def test_workers_of_one_fit_are_told_of_here(digits):
    """Cycles end within epochs and with them, so that sums are carried on and begun anew."""
    rows, metrics = [], []
    for n_jobs in (1, 2):
        seen: list = []
        noting = Noting(lambda context, _, seen=seen: seen.append(metrics_of(context)[1]))
        monitor = ScoringMonitor(scoring="neg_log_loss")
        given = {**THREE, "batch_size": 100, "n_cycles": 4, "cycle_mult": 1}
        model = SnapshotEnsembleClassifier(**given, n_jobs=n_jobs)
        with joblib.parallel_backend("loky"):
            model.set_callbacks(monitor, noting).fit(*digits)
        rows.append([row["neg_log_loss"] for row in monitor.get_logs().data])
        assert len(noting.told) == 2 + 2 * (4 + 1)
        np.testing.assert_allclose(rows[-1], scores(model, *digits))
        metrics.append([[m["epoch"], m["lr"], m["train_loss"]] for m in seen])
    assert rows[0] == rows[1]
    np.testing.assert_allclose(metrics[0], metrics[1], rtol=1e-4)
    assert [m[0] for m in metrics[0]] == [1.5, 3, 4.5, 6]


@pytest.mark.parametrize("given", [{}, {"n_chains": 2, "module": Mlp}, {"net__iterator_valid": 0}])
def test_a_callback_ends_the_run_after_a_cycle(iris, given):
    if "net__iterator_valid" in given:  # lanes in turn
        given = {"n_chains": 2, "module": Alone}
    noting = Noting(after(1))
    whole = SnapshotEnsembleClassifier(**THREE, **given).fit(*iris)
    model = SnapshotEnsembleClassifier(**THREE, **given).set_callbacks(noting).fit(*iris)
    assert model.n_cycles_ == 2
    assert same(model.snapshots_, whole.snapshots_[: 2 * whole.n_chains_])
    assert noting.told[-2:] == [("end", "fit", 0, None), ("teardown", "fit", 3)]
    assert ("begin", "cycle", 2, 2) not in noting.told


class Alone(Mlp):
    """Chains of it train one after another: vmap cannot follow it."""

    def forward(self, X):
        return super().forward(X) + 0 * float(X.sum().item() > 0)


def test_the_fitted_estimator_is_a_copy_that_predicts(iris, tmp_path):
    """And stays what it was when the training has gone on."""
    X = pd.DataFrame(iris[0], columns=list("abcd"))
    kept = []
    model = SnapshotEnsembleClassifier(**THREE)
    before = clone(model).fit(X, iris[1])
    model.set_callbacks(Noting(lambda _, fitted: kept.append(fitted)))
    model.fit(X, iris[1])
    stages = list(model.staged_predict_proba(X))
    for k, (one, stage) in enumerate(zip(kept, stages, strict=True), 1):
        np.testing.assert_allclose(one.predict_proba(X), stage, atol=1e-6)
        assert one is not model
        assert type(one.net_.module_) is type(model.net_.module_)  # one chain's
        assert not [name for name in vars(one) if "callback_" in name or "skl" in name]
        assert (one.n_cycles_, len(one.snapshots_)) == (k, k * model.n_chains_)
        assert list(one.feature_names_in_) == list("abcd")
        assert one.validation_score_ == model.cycle_scores_[k - 1]
    kept[0].save(tmp_path / "first")
    joblib.dump(kept[0], tmp_path / "pickle")
    loaded = joblib.load(tmp_path / "pickle")
    assert (loaded.predict_proba(X) == kept[0].predict_proba(X)).all()
    assert same(before.snapshots_, model.snapshots_)


def test_nothing_of_an_earlier_fit_is_left_on_the_copy(iris):
    kept = []
    model = SnapshotEnsembleClassifier(**THREE).fit(*iris)
    assert hasattr(model, "validation_score_")
    model.set_callbacks(Noting(lambda _, fitted: kept.append(fitted)))
    model.set_params(module=Mlp).fit(*iris)
    assert not hasattr(kept[0], "validation_score_")
    assert not hasattr(kept[0], "columns_")


def test_what_callbacks_draw_does_not_change_the_fit(iris):
    def draw(context, fitted):
        np.random.rand(3)
        torch.rand(3)

    for module in (None, Mlp):
        plain = SnapshotEnsembleClassifier(module, **THREE).fit(*iris)
        model = SnapshotEnsembleClassifier(module, **THREE).set_callbacks(Noting(draw)).fit(*iris)
        assert same(plain.snapshots_, model.snapshots_)


def test_an_error_of_a_callback_leaves_the_estimator_as_before(iris):
    model = SnapshotEnsembleClassifier(**QUICK).fit(*iris)
    before = dict(vars(model))

    def fail(context, fitted):
        raise RuntimeError("mine")

    noting = Noting(fail)
    with pytest.raises(RuntimeError, match="mine"):
        model.set_callbacks(noting).fit(*iris)
    assert noting.told[-1][0] == "teardown"
    model.set_callbacks()
    assert vars(model) == before


def test_partial_fit_and_warm_start_are_fits_with_cycles_of_their_own(iris):
    noting, seen = Noting(), []
    noting.do = lambda context, fitted: seen.append(metrics_of(context)[0])
    model = SnapshotEnsembleClassifier(**THREE).set_callbacks(noting)
    model.partial_fit(*iris).partial_fit(*iris)
    model.set_params(warm_start=True).fit(*iris)
    assert seen == [1, 2, 3, 4, 5]
    begun = [told[2:] for told in noting.told if told[:2] == ("begin", "cycle")]
    assert begun == [(0, None), (0, 1), (0, 2), (1, 3), (2, 4)]


def test_a_fit_that_goes_on_tells_of_all_cycles(iris, tmp_path, monkeypatch):
    model = SnapshotEnsembleClassifier(**THREE, checkpoint_dir=tmp_path)
    killed(monkeypatch, clone(model), *iris, after=2)
    monitor, noting = ScoringMonitor(scoring="neg_log_loss"), Noting()
    model.set_callbacks(monitor, noting).fit(*iris)
    rows = [row["neg_log_loss"] for row in monitor.get_logs().data]
    np.testing.assert_allclose(rows, scores(model, *iris))
    assert [told[:3] for told in noting.told[1:-1]] == [
        ("begin", "fit", 0),
        *((what, "cycle", k) for k in range(3) for what in ("begin", "end")),
        ("end", "fit", 0),
    ]
    found = Noting()
    clone(model).set_callbacks(found).fit(*iris)  # the file has all of it
    assert [told[0] for told in found.told] == ["setup", "begin", "end", "teardown"]


def test_a_cycle_that_is_cut_short_ends(iris):
    """Skorch's own way to stop, in the middle of a cycle, and a run that stops by itself."""
    from skorch.callbacks import Callback

    class Stop(Callback):
        def on_epoch_end(self, net, **_):
            if len(net.history) == 3:
                raise KeyboardInterrupt

    noting = Noting()
    SnapshotEnsembleClassifier(**{**THREE, "cycle_mult": 1}, callbacks=[Stop()]).set_callbacks(
        noting
    ).fit(*iris)
    ends = [told for told in noting.told if told[:2] == ("end", "cycle")]
    assert ends == [("end", "cycle", 0, 1), ("end", "cycle", 1, 2)]
    noting = Noting()
    X, y = np.random.rand(300, 4), np.random.randint(0, 2, 300)
    model = SnapshotEnsembleClassifier(max_epochs=40, random_state=0).set_callbacks(noting)
    model.fit(X, y)
    assert model.n_cycles_ < 8
    begun = [told for told in noting.told if told[:2] == ("begin", "cycle")]
    assert len(begun) == model.n_cycles_


def test_a_cycle_that_ctrl_c_ends_has_an_end_too(iris):
    from skorch.callbacks import Callback

    class Press(Callback):
        def on_epoch_end(self, net, **_):
            if len(net.history) == 3:
                signal.raise_signal(signal.SIGINT)

    noting = Noting()
    model = SnapshotEnsembleClassifier(**{**THREE, "cycle_mult": 1}, callbacks=[Press()])
    with pytest.warns(RuntimeWarning, match="keeps the 1 of 3"):
        model.set_callbacks(noting).fit(*iris)
    assert noting.told[-4:] == [
        ("begin", "cycle", 1, 1),
        ("end", "cycle", 1, None),
        ("end", "fit", 0, None),
        ("teardown", "fit", 3),
    ]


def test_a_diverged_cycle_has_no_fitted_estimator():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((80, 3)), rng.integers(0, 2, 80)
    noting = Noting()
    model = SnapshotEnsembleClassifier(
        Exploding, restart="cold", n_chains=1, cycle_mult=1, **THREE
    ).set_callbacks(noting)
    Exploding.n_made = 0
    with pytest.warns(RuntimeWarning, match="diverged in 1 of 3"):
        model.fit(X, y)
    ends = [told[3] for told in noting.told if told[:2] == ("end", "cycle")]
    assert ends == [1, None, 2]


class Exploding(Mlp):
    """The second that is made in a run predicts what is not finite."""

    n_made = 0

    def __init__(self, n_inputs, n_outputs):
        super().__init__(n_inputs, n_outputs)
        type(self).n_made += 1
        self.is_bad = type(self).n_made == 2

    def forward(self, X):
        return super().forward(X) * (float("inf") if self.is_bad and not self.training else 1)


def test_without_callbacks_there_are_no_tasks(iris, monkeypatch):
    from skensemble import hearers

    monkeypatch.setattr(hearers, "Bridge", lambda *_: pytest.fail("a task was made"))
    SnapshotEnsembleClassifier(**QUICK).fit(*iris)


def test_fits_in_threads_tell_their_own_callbacks(iris):
    seen = {}

    def fit(k):
        noting = Noting(lambda context, _: seen.setdefault(k, []).append(metrics_of(context)))
        SnapshotEnsembleClassifier(**{**THREE, "random_state": k}).set_callbacks(noting).fit(*iris)

    threads = [threading.Thread(target=fit, args=[k]) for k in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [[number for number, _ in seen[k]] for k in range(2)] == [[1, 2, 3]] * 2
    assert seen[0][0][1]["train_loss"] != seen[1][0][1]["train_loss"]


def test_a_progress_bar_of_scikit_learn_runs_to_its_end(iris):
    pytest.importorskip("rich")
    pipeline = make_pipeline(StandardScaler(), SnapshotEnsembleClassifier(**QUICK))
    pipeline.set_callbacks(sklearn_callback.ProgressBar(max_propagation_depth=None)).fit(*iris)
    assert not hasattr(pipeline[-1], "_skl_callbacks")
