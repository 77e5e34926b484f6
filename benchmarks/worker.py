"""One side of a comparison of versions: a process with one source, which works when it is told to.

Only public names of the package are used here and in :mod:`benchmarks.workloads`: the source may
be an old one.
"""

import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from sklearn.datasets import make_classification, make_regression

import skensemble
from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor

from .timing import repeated, seconds_of
from .workloads import SMALLEST, WORKLOADS, ours

Call = Callable[[], Any]

#: A quarter of the 167 epochs that 3,000 rows take by default. Whole budgets would take minutes.
QUARTER = 42


def fit_network(name: str, smallest: bool) -> Call:
    """Return a fit of a user's network on one of the workloads."""
    work = (SMALLEST if smallest else WORKLOADS)[name]
    X, y = work.data()
    return lambda: ours(work, X, y)


def fit_defaults(kind: Any, make_table: Any, smallest: bool) -> Call:
    """Return a fit of the defaults on 3,000 rows, except that it always ends after QUARTER."""
    X, y = make_table(200 if smallest else 3_000, 20, random_state=0)
    epochs = 2 if smallest else QUARTER
    return lambda: kind(max_epochs=epochs, early_stopping=False, random_state=0).fit(X, y)


def predict_rows(smallest: bool) -> Call:
    """Return the prediction of all rows of the first workload by ten members."""
    work = (SMALLEST if smallest else WORKLOADS)["W1"]._replace(epochs=2)
    X, y = work.data()
    model = ours(work, X, y, n_cycles=10)
    return lambda: model.predict_proba(X)


def predict_row(smallest: bool) -> Call:
    """Return 500 predictions of one row by the ensemble of the defaults."""
    X, y = (SMALLEST if smallest else WORKLOADS)["W1"].data()
    brief = {"max_epochs": 1} if smallest else {}
    model = SnapshotEnsembleClassifier(**brief, random_state=0).fit(X[:2000], y[:2000])
    return repeated(lambda: model.predict_proba(X[:1]), 20 if smallest else 500)


#: Each makes data and models once, and returns the call that is timed.
PREPARE: dict[str, Callable[[bool], Call]] = {
    **{name: partial(fit_network, name) for name in WORKLOADS},
    "classifier": partial(fit_defaults, SnapshotEnsembleClassifier, make_classification),
    "regressor": partial(fit_defaults, SnapshotEnsembleRegressor, make_regression),
    "predict": predict_rows,
    "row": predict_row,
}


def work() -> None:
    """Answer the commands on standard input, each a line of JSON, until there are no more."""
    # What the package prints is no answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    call: Call | None = None
    for line in sys.stdin:
        command, *arguments = json.loads(line)
        answer: Any = None
        if command == "where":
            answer = [skensemble.__file__, __file__]
        elif command == "prepare":
            call = None  # frees what the last workload holds
            call = prepared(*arguments)
        elif command == "run":
            assert call is not None
            answer = seconds_of(call)
        print(json.dumps(answer), file=answers, flush=True)


def prepared(name: str, smallest: bool) -> Call:
    """Return the call of a workload, made once already to warm up."""
    call = PREPARE[name](smallest)
    call()
    return call
