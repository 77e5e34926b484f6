"""A search on a real Dask cluster: two worker processes, one of them killed."""

import os
import pickle
import signal
import threading
import time

import joblib
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from skensemble import SnapshotEnsembleClassifier

distributed = pytest.importorskip("distributed")
dask = pytest.importorskip("dask")

pytestmark = pytest.mark.filterwarnings("default")  # distributed's and joblib's own


@pytest.fixture(scope="module")
def client():
    # Its memory manager soon drops copies of what has been scattered to all workers, and a worker
    # that is killed then takes the last one with it.
    keep_copies = {"distributed.scheduler.active-memory-manager.start": False}
    with (
        dask.config.set(keep_copies),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def search():
    model = SnapshotEnsembleClassifier(
        module__hidden=(8,), module__dropout=0.2, n_chains=2, max_epochs=4, random_state=0
    )
    grid = {"n_cycles": [1, 3], "lr": [0.002, 0.008]}
    return GridSearchCV(model, grid, cv=3, scoring="neg_log_loss", error_score="raise", refit=False)


@pytest.fixture(scope="module")
def alone(digits):
    """The scores of one process."""
    return scores(search.__wrapped__().fit(*digits))


def scores(search):
    results = search.cv_results_
    return np.array([results[f"split{i}_test_score"] for i in range(3)])


def kill_a_busy_worker(client, killed):
    """Wait until a worker computes, and end its process."""
    pids = client.run(os.getpid)
    while not killed:
        busy = [address for address, tasks in client.processing().items() if tasks]
        if busy:
            os.kill(pids[busy[0]], signal.SIGKILL)
            killed.append(pids[busy[0]])
        time.sleep(0.01)


def test_a_cluster_gives_the_scores_of_one_process(client, search, alone, digits):
    search.set_params(n_jobs=2)
    with joblib.parallel_config("dask"):
        np.testing.assert_array_equal(scores(search.fit(*digits)), alone)


def test_a_killed_worker_changes_no_score(client, search, alone, digits):
    killed = []
    killer = threading.Thread(target=kill_a_busy_worker, args=(client, killed))
    killer.start()
    # joblib puts arrays on one worker, whose death loses them: those that are scattered by name
    # are on both, and lists (of the folds' rows) go with each task.
    folds = [(train.tolist(), test.tolist()) for train, test in StratifiedKFold(3).split(*digits)]
    with joblib.parallel_config("dask", scatter=list(digits)):
        search.set_params(cv=folds, n_jobs=2).fit(*digits)
    killer.join()
    assert killed
    np.testing.assert_array_equal(scores(search), alone)


def test_an_unfitted_estimator_travels_light():
    assert len(pickle.dumps(SnapshotEnsembleClassifier(module__hidden=(256, 256)))) < 10_000
