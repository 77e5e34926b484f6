"""One fit of a large table on Dask clusters of one and of two workers, one of which is killed.

Each worker is a process with one thread. The cluster of one is what `joblib` takes for no cluster:
the fit trains in the process that calls it, with one thread.
"""

import contextlib
import hashlib
import logging
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.base import clone
from sklearn.datasets import make_classification

from skensemble import SnapshotEnsembleClassifier

#: The part of an undisturbed fit after which a worker is killed.
WHEN = 0.5

KINDS = {"one worker": 1, "two workers": 2, "two workers, one killed": 2}


def run(repeats: int, smallest: bool, peers: bool) -> list[dict[str, Any]]:
    """Return a row for each cluster: seconds, relative to one worker, and whether bits are equal.

    The kinds are measured in turns.
    """
    torch.set_num_threads(1)
    n = 2_000 if smallest else 200_000
    X, y = make_classification(n, 30, n_informative=12, n_classes=4, random_state=0)
    X = X.astype(np.float32)
    model = SnapshotEnsembleClassifier(max_epochs=6, early_stopping=False, random_state=0)
    if smallest:  # steps that are large enough for two groups of chains
        model.set_params(batch_size=256)
    # At its smallest with threads for workers: the tests have processes, and kill one.
    kinds = {name: n for name, n in KINDS.items() if not smallest or "killed" not in name}
    times: dict[str, list[float]] = {name: [] for name in kinds}
    digests: dict[str, set[str]] = {name: set() for name in kinds}
    expected = 0.0
    for _ in range(1 if smallest else repeats):
        for name, n_workers in kinds.items():
            kill_after = WHEN * expected if "killed" in name else None
            seconds, digest = fit_on(n_workers, model, X, y, kill_after, processes=not smallest)
            times[name].append(seconds)
            digests[name].add(digest)
            expected = seconds
    return [row(name, times, digests) for name in kinds]


def row(name: str, times: dict[str, list[float]], digests: dict[str, set[str]]) -> dict[str, Any]:
    """Return the figures of one cluster."""
    one = times["one worker"]
    ratio = median(a / b for a, b in zip(times[name], one, strict=True))
    is_same = len(digests[name] | digests["one worker"]) == 1
    return {
        "cluster": name,
        "fit, s": round(median(times[name]), 1),
        "/ one worker": ratio,
        "same bits": "yes" if is_same else "no",
    }


def fit_on(
    n_workers: int,
    model: SnapshotEnsembleClassifier,
    X: np.ndarray,
    y: np.ndarray,
    kill_after: float | None,
    *,
    processes: bool,
) -> tuple[float, str]:
    """Return the seconds of a fit on a cluster that has fitted before, and a digest of it."""
    with (
        warnings.catch_warnings(action="ignore"),
        cluster(n_workers, processes=processes) as client,
        joblib.parallel_config("dask"),
    ):
        clone(model).set_params(max_epochs=1, n_cycles=1).fit(X, y)  # imports everything
        with killing(client, kill_after):
            start = time.perf_counter()
            fitted = clone(model).fit(X, y)
            seconds = time.perf_counter() - start
    return seconds, digest_of(fitted)


def digest_of(model: SnapshotEnsembleClassifier) -> str:
    """Return a digest of all snapshots and weights."""
    told = hashlib.sha256(model.member_weights_.tobytes())
    for snapshot in model.snapshots_:
        for value in snapshot.values():
            told.update(value.contiguous().numpy().tobytes())
    return told.hexdigest()


@contextlib.contextmanager
def cluster(n_workers: int, *, processes: bool) -> Iterator[Any]:
    """Start a cluster on this machine."""
    import distributed  # an extra

    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    options = {"threads_per_worker": 1, "processes": processes, "dashboard_address": None}
    with (
        distributed.LocalCluster(n_workers=n_workers, **options) as workers,
        distributed.Client(workers) as client,
    ):
        yield client


@contextlib.contextmanager
def killing(client: Any, after: float | None) -> Iterator[None]:
    """Kill a worker so many seconds after the beginning of the block; None: none."""
    if after is None:
        yield
        return
    pids: list[int] = [*client.run(os.getpid).values()]
    killer = threading.Timer(after, kill_of(pids[0]))
    killer.start()
    try:
        yield
    finally:
        killer.cancel()
        killer.join()


def kill_of(pid: int) -> Callable[[], None]:
    """Return a function that kills a process."""

    def kill() -> None:
        os.kill(pid, signal.SIGKILL)

    return kill
