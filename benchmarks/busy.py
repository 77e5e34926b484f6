"""Fits, predictions and a search beside processes that burn CPU, relative to the same calls alone.

Every call is made in pairs, alone and then beside the others. Needs a system with SIGSTOP, and as
many cores as there are burners: two. ``taskset -c 0,1`` takes two of a larger machine.
"""

import contextlib
import gc
import math
import os
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import median
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from skorch import NeuralNetClassifier
from torch import nn

from skensemble import SnapshotEnsembleClassifier

from .timing import ratios, repeated, seconds_of
from .worker import QUARTER
from .workloads import SMALLEST, WORKLOADS, Perceptron, mlp, ours, skorch

Call = Callable[[], Any]
Burners = Sequence[subprocess.Popen[str]]

#: Two stand beside fits and predictions. A search with two jobs has one beside it.
N_BURNERS = 2

#: What a burner does until it is killed or its parent is gone.
BURN = """
import os, sys
nice, parent = map(int, sys.argv[1:])
os.nice(nice)
print("burns", flush=True)
while os.getppid() == parent:
    for _ in range(1_000_000):
        pass
"""

#: Seconds that burners run before a call, so that none is still waking up.
SETTLED = 0.1

#: Seconds that a timing takes at least: by then each process has had its turn many times.
LASTING = 0.2


def run(repeats: int, smallest: bool, peers: bool, nice: int = 0) -> list[dict[str, Any]]:
    """Return a row for each kind of call and each method; burners are nicer by `nice`."""
    rows = []
    lasting = 0 if smallest else LASTING
    gc.freeze()  # each timing collects garbage first, and would look through all libraries
    with warnings.catch_warnings(action="ignore"), standing(N_BURNERS, nice) as burners:
        for what, n_burners, calls in kinds(smallest, peers):
            found = in_pairs(calls, burners[:n_burners], repeats, lasting)
            rows += [row(what, method, seconds) for method, seconds in found.items()]
    gc.unfreeze()
    return rows


def row(what: str, method: str, seconds: dict[str, list[float]]) -> dict[str, Any]:
    """Return the figures of one method."""
    return {
        "what": what,
        "method": method,
        "idle, s": median(seconds["idle"]),
        "busy, s": median(seconds["busy"]),
        "busy / idle": ratios(seconds, "idle")["busy"],
    }


# What is called


class Model(NamedTuple):
    """An estimator for the table of 3,000 rows, and how to search for its rate."""

    estimator: Any
    #: Name of the parameter that is the learning rate.
    rate: str
    #: What is changed for the search, where a fit takes long.
    searched: Mapping[str, Any] = MappingProxyType({})


def models(smallest: bool, peers: bool) -> dict[str, Model]:
    """Return the estimators at their defaults, but boosting with few trees.

    Each tree is many short loops over all threads, and each loop waits for a thread that is not
    scheduled.
    """
    brief = {"max_epochs": 2} if smallest else {}
    shorter = {"max_epochs": 2 if smallest else QUARTER, "early_stopping": False}
    net = NeuralNetClassifier(
        Perceptron,
        module__n_inputs=20,
        module__n_outputs=2,
        module__hidden=(128, 64),
        criterion=nn.CrossEntropyLoss,
        verbose=0,
    )
    found = {
        "skensemble": Model(SnapshotEnsembleClassifier(random_state=0, **brief), "lr", shorter),
        "HistGradientBoosting, 10 trees": Model(
            HistGradientBoostingClassifier(max_iter=10, random_state=0), "learning_rate"
        ),
        "MLPClassifier": Model(
            MLPClassifier(max_iter=2 if smallest else 200, random_state=0), "learning_rate_init"
        ),
        "skorch": Model(net, "lr"),
    }
    if peers:
        from catboost import CatBoostClassifier  # of the extra "bench"

        trees = CatBoostClassifier(random_seed=0, verbose=False, allow_writing_files=False)
        if smallest:
            trees.set_params(iterations=5)
        # Not its own rate, which depends on the rows.
        found["CatBoost"] = Model(trees, "learning_rate")
    return found


def kinds(smallest: bool, peers: bool) -> Iterator[tuple[str, int, dict[str, Call]]]:
    """Yield each kind of call, the number of burners beside it, and the call of each method."""
    n_train, n_test = (200, 600) if smallest else (3_000, 20_000)
    X, y = make_classification(n_train + n_test, 20, random_state=0)
    X, y, rows = X[:n_train].astype(np.float32), y[:n_train], X[n_train:].astype(np.float32)
    methods = models(smallest, peers)

    def calls(of: Callable[[Model], Call]) -> dict[str, Call]:
        return {name: of(model) for name, model in methods.items()}

    yield f"fit, {n_train:,} × 20", N_BURNERS, calls(lambda m: partial(m.estimator.fit, X, y))
    # Of what has been fitted just now.
    predictions = calls(lambda m: partial(m.estimator.predict_proba, rows))
    yield f"predict_proba, {n_test:,} rows", N_BURNERS, predictions
    for name in ("W1", "W3"):
        work = (SMALLEST if smallest else WORKLOADS)[name]
        work = work._replace(epochs=math.ceil(work.epochs / 4))  # the ratio needs no whole fits
        ways = {"skensemble": ours, "skorch": skorch, "MLPClassifier": mlp}
        fits = {method: partial(way, work, *work.data()) for method, way in ways.items()}
        yield f"fit, {name}", N_BURNERS, fits
    # One burner and two jobs are three for two cores: the fair share is 1.5.
    searches = calls(lambda m: partial(search, m, X, y))
    yield "GridSearchCV(n_jobs=2), one burner", N_BURNERS // 2, searches


def search(model: Model, X: np.ndarray, y: np.ndarray) -> GridSearchCV:
    """Search two rates over two folds, two fits at a time."""
    estimator = clone(model.estimator).set_params(**model.searched)
    grid = {model.rate: [0.005, 0.01]}
    found = GridSearchCV(estimator, grid, cv=2, n_jobs=2, refit=False, error_score="raise")
    return found.fit(X, y)


# Pairs


def in_pairs(
    calls: dict[str, Call], burners: Burners, repeats: int, lasting: float
) -> dict[str, dict[str, list[float]]]:
    """Return the seconds of each call, idle and busy in turns, and all calls in turns.

    A timing is of as many calls as last so many seconds when the machine is idle.
    """
    times = {name: n_lasting(call, lasting) for name, call in calls.items()}
    seconds: dict[str, dict[str, list[float]]] = {name: {"idle": [], "busy": []} for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            timed = repeated(call, times[name])
            seconds[name]["idle"].append(seconds_of(timed) / times[name])
            with burning(burners):
                seconds[name]["busy"].append(seconds_of(timed) / times[name])
    return seconds


def n_lasting(call: Call, seconds: float) -> int:
    """Return how often to make a call so that it lasts so many seconds, and warm it up."""
    if seconds_of(call) >= seconds:  # the first call is the slowest
        return 1
    return max(1, math.ceil(seconds / seconds_of(call)))


# Burners


@contextlib.contextmanager
def standing(n: int, nice: int) -> Iterator[Burners]:
    """Start processes that stand still until :func:`burning` lets them go, and kill them after."""
    burners: list[subprocess.Popen[str]] = []
    try:
        for _ in range(n):
            burners.append(start(nice))
        yield burners
    finally:
        for burner in burners:
            with burner:  # closes its output, and waits for it
                burner.kill()


def start(nice: int) -> subprocess.Popen[str]:
    """Return a burner that stands still.

    In a group of its own it gets no Ctrl-C from the terminal; in a session of its own, the system
    might share out the CPU by session, and not by priority.
    """
    told = [sys.executable, "-c", BURN, str(nice), str(os.getpid())]
    burner = subprocess.Popen(told, stdout=subprocess.PIPE, text=True, process_group=0)
    try:
        assert burner.stdout is not None
        if not burner.stdout.readline():
            raise RuntimeError(f"A burner did not start with nice={nice}.")
        burner.send_signal(signal.SIGSTOP)
    except BaseException:
        with burner:
            burner.kill()
        raise
    return burner


@contextlib.contextmanager
def burning(burners: Burners) -> Iterator[None]:
    """Let processes burn CPU."""
    try:
        for burner in burners:
            burner.send_signal(signal.SIGCONT)
        time.sleep(SETTLED)
        yield
        if any(burner.poll() is not None for burner in burners):
            raise RuntimeError("A burner ended, so that the machine was not busy.")
    finally:
        for burner in burners:
            burner.send_signal(signal.SIGSTOP)
