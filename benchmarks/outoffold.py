"""What out-of-fold weights of the cycles are worth, and how honest the out-of-fold score is.

One fit a table and split. Its unseen predictions come through the callable that ``members`` may
be, its test predictions from ``predict_members``: all rules are judged on the same snapshots.
"""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from statistics import geometric_mean, mean, median
from typing import Any, NamedTuple

import numpy as np

from skensemble.members import all_cycles, greedy, last_cycles, stacked
from skensemble.schedules import cycle_ends

from .cache import Cache
from .estimators import ESTIMATORS
from .scores import log_loss, relative, rmse
from .tables import Table, encode, split, tables

#: Rules that choose no weights by unseen rows, which those that do have to beat.
PLAIN = ("last", "all", "last half", "best cycle")

#: Rules for early stopping: cycles in a row without progress, and the least relative progress.
STOPPING = list(itertools.product((1, 2, 3), (0.0, 0.001, 0.005)))


class Recorder:
    """A rule for members that keeps what it is shown, and weights all cycles alike."""

    seen: tuple[np.ndarray, np.ndarray, np.ndarray]

    def __call__(self, *seen: np.ndarray) -> np.ndarray:
        self.seen = seen
        return all_cycles(len(seen[0]))


class Outputs(NamedTuple):
    """What the cycles of one fit predicted for rows that they have not seen."""

    #: Left-out training rows: (n_cycles, n, k), each row by the chain that left it out.
    unseen: np.ndarray
    y_unseen: np.ndarray
    weight: np.ndarray
    #: Test rows: (n_cycles, n_chains, n, k).
    test: np.ndarray
    y_test: np.ndarray
    #: Of outputs (n, k) and truth: a figure to compare across tables, lower is better.
    loss: Callable[[np.ndarray, np.ndarray], float]

    def first(self, n_cycles: int) -> "Outputs":
        """Return the outputs of the first so many cycles alone."""
        return self._replace(unseen=self.unseen[:n_cycles], test=self.test[:n_cycles])

    def weights(self, rule: Callable[..., np.ndarray]) -> np.ndarray:
        """Return the weights that a rule chooses by the unseen rows."""
        return rule(self.unseen, self.y_unseen, self.weight)

    def unseen_loss(self, weights: np.ndarray) -> float:
        """Return the loss on left-out rows, by which `weights` may have been chosen."""
        return self.loss(np.tensordot(weights, self.unseen, axes=1), self.y_unseen)

    def test_loss(self, weights: np.ndarray) -> float:
        """Return the loss of the ensemble of all chains on test rows."""
        return self.loss(np.tensordot(weights, self.test.mean(axis=1), axes=1), self.y_test)

    def chain_losses(self, weights: np.ndarray) -> list[float]:
        """Return the loss of each chain alone on test rows."""
        chains = np.tensordot(weights, self.test, axes=1)
        return [self.loss(chain, self.y_test) for chain in chains]


def estimator(table: Table, **options: Any) -> Any:
    """Return the built-in network and its chains at their defaults, for a whole run."""
    # Rules for stopping are judged by what they would have done to whole runs.
    return ESTIMATORS[table.task](early_stopping=False, **options)


def measure(table: Table, seed: int, bootstrap: bool, options: dict[str, Any]) -> dict[str, Any]:
    """Fit on one split, and return all figures of that fit."""
    train, test = split(table, seed)
    X, X_test = encode(train, test)
    y = train.y
    if bootstrap:
        rows = np.random.default_rng(seed).integers(len(y), size=len(y))
        X, y = X[rows], y[rows]
    recorder = Recorder()
    model = estimator(table, members=recorder, random_state=seed, **options)
    start = time.perf_counter()
    model.fit(X, y)
    seconds = time.perf_counter() - start
    if model.n_cycles_ < model.n_cycles:
        # Ctrl-C ends a fit with the cycles there are; such a fit is no result.
        raise KeyboardInterrupt
    outputs = outputs_of(model, recorder, X_test, test)
    ends = (
        cycle_ends(
            1_000_000, model.n_cycles_, model._timetable((len(X), 1), is_one_cycle=False).cycle_mult
        )
        / 1_000_000
    )
    return {
        "ends": ends.tolist(),
        "seconds": seconds,
        "twins": twins(X, X_test),
        **by_rule(outputs),
        **honesty(outputs),
        "stages": stages(outputs),
    }


def outputs_of(model: Any, recorder: Recorder, X_test: np.ndarray, test: Table) -> Outputs:
    """Return what the cycles of a fit predicted for left-out and for test rows."""
    if test.task == "classification":
        loss, y_test = log_loss, np.searchsorted(model.classes_, test.y)
    else:
        loss, y_test = rmse(test.y.std()), test.y
    members = model.predict_members(X_test)
    members = members.reshape(model.n_cycles_, model.n_chains_, len(y_test), -1)
    return Outputs(*recorder.seen, members, y_test, loss)


def fit(
    known: Cache, table: Table, seed: int, bootstrap: bool, options: dict[str, Any]
) -> dict[str, Any]:
    """Return the figures of one split, and measure them if they are not known.

    The key holds the estimator's parameters, so that other defaults are other results. It does
    not hold the code: a change of the code behind the same parameters needs a new file.
    """
    parameters = estimator(table, **options).get_params()
    settings = {"bootstrap": bootstrap, "rows": len(table.y), **parameters}
    return known.get(
        [table.name, seed, settings],
        lambda: measure(table, seed, bootstrap, options),
        f"{table.name} {seed}{' bootstrap' * bootstrap}",
    )


def twins(X: np.ndarray, X_test: np.ndarray) -> float:
    """Return the share of the test rows that stand in the training part as well.

    A chain has seen those, but never the twins of an unseen row. Where there are many twins, it
    is the test loss that flatters.
    """
    known = {row.tobytes() for row in X}
    return float(np.mean([row.tobytes() in known for row in X_test]))


def by_rule(outputs: Outputs) -> dict[str, Any]:
    """Return the test loss of each rule for members, of each cycle, and of one chain."""
    n_cycles = len(outputs.unseen)
    single = np.eye(n_cycles)
    unseen = [outputs.unseen_loss(cycle) for cycle in single]
    weights = {
        "last": single[-1],
        "all": all_cycles(n_cycles),
        "last half": last_cycles(n_cycles, (n_cycles + 1) // 2),
        "best cycle": single[np.argmin(unseen)],
        "stacked": outputs.weights(stacked),
        "greedy": outputs.weights(greedy),
    }
    return {
        "losses": {
            **{rule: outputs.test_loss(a) for rule, a in weights.items()},
            "one chain, last": outputs.chain_losses(weights["last"])[0],
            "one chain, all": outputs.chain_losses(weights["all"])[0],
        },
        "weights": {rule: weights[rule].tolist() for rule in ("stacked", "greedy")},
        "unseen losses of cycles": unseen,
        "test losses of cycles": [outputs.test_loss(cycle) for cycle in single],
    }


def honesty(outputs: Outputs) -> dict[str, float]:
    """Compare the loss on unseen rows with that of single chains on test rows.

    Unseen rows are predicted by single chains, too: what the ensemble of chains gains is not in
    it. Below 1 the unseen loss flatters.
    """
    weights = outputs.weights(stacked)
    unseen, chain = outputs.unseen_loss(weights), mean(outputs.chain_losses(weights))
    return {
        "unseen loss": unseen,
        "chain loss": chain,
        "unseen / chain": unseen / chain,
        "ensemble / chain": outputs.test_loss(weights) / chain,
    }


def stages(outputs: Outputs) -> dict[str, list[float]]:
    """Return the losses on unseen and on test rows after each cycle, with those so far stacked."""
    firsts = [outputs.first(m + 1) for m in range(len(outputs.unseen))]
    weights = [first.weights(stacked) for first in firsts]
    pairs = list(zip(firsts, weights, strict=True))
    return {
        "unseen": [first.unseen_loss(a) for first, a in pairs],
        "test": [first.test_loss(a) for first, a in pairs],
    }


Results = dict[str, list[dict[str, Any]]]


def run(
    smallest: bool,
    data: Path | None = None,
    splits: int = 5,
    cache: Path | None = None,
    bootstrap: bool = False,
) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the three summaries; `bootstrap` adds fits on resampled rows."""
    known, options = Cache(cache), {}
    todo = tables(data)
    if smallest:
        todo, splits, options = [next(tables())], 1, {"max_epochs": 4, "n_cycles": 3}
    plain: Results = {}
    resampled: Results = {}
    for table in todo:
        plain[table.name] = [fit(known, table, i, False, options) for i in range(splits)]
        if bootstrap:
            resampled[table.name] = [fit(known, table, i, True, options) for i in range(splits)]
    return {
        "By table: log-loss, or RMSE / standard deviation": summary(plain, resampled),
        "Stacked against other rules": comparison(plain),
        "Early stopping": stopping(plain),
    }


def losses_by_table(results: Results) -> dict[str, dict[str, float]]:
    """Return each rule's loss, in the geometric mean over splits."""
    return {
        name: {
            rule: geometric_mean(fit["losses"][rule] for fit in fits) for rule in fits[0]["losses"]
        }
        for name, fits in results.items()
    }


def summary(results: Results, resampled: Results) -> list[dict[str, Any]]:
    """Return a row for each table, and one of geometric means over them."""
    rows = []
    for name, losses in losses_by_table(results).items():
        row = {"table": name, **losses}
        for figure in ("unseen / chain", "ensemble / chain"):
            row[figure] = geometric_mean(fit[figure] for fit in results[name])
        if name in resampled:
            ratios = [fit["unseen / chain"] for fit in resampled[name]]
            row["unseen / chain, bootstrap"] = geometric_mean(ratios)
        rows.append(row)
    figures = list(rows[0])[1:]
    overall = {figure: geometric_mean(row[figure] for row in rows) for figure in figures}
    for row, fits in zip(rows, results.values(), strict=True):
        row["twins, %"] = 100 * mean(fit["twins"] for fit in fits)
        row["fit, s"] = median(fit["seconds"] for fit in fits)
    return [*rows, {"table": "geometric mean", **overall, "twins, %": "", "fit, s": ""}]


def comparison(results: Results) -> list[dict[str, Any]]:
    """Return a row for each rule, and one for the best plain rule on each table.

    It holds the loss of stacked weights relative to that of the rule.
    """
    losses = losses_by_table(results)
    for row in losses.values():
        row["best of " + ", ".join(PLAIN)] = min(row[rule] for rule in PLAIN)
    others = [rule for rule in next(iter(losses.values())) if rule != "stacked"]
    return [
        {
            "stacked against": rule,
            **relative({name: row["stacked"] / row[rule] for name, row in losses.items()}),
        }
        for rule in others
    ]


def stop(losses: list[float], n_iter_no_change: int, tol: float) -> int:
    """Return the number of cycles after which a rule stops.

    It stops after so many cycles in a row that did not improve on the best by a fraction `tol`.
    """
    best, in_vain = np.inf, 0
    for n_cycles, loss in enumerate(losses, start=1):
        in_vain = 0 if loss < best * (1 - tol) else in_vain + 1
        best = min(best, loss)
        if in_vain == n_iter_no_change:
            return n_cycles
    return len(losses)


def stopped(fit: dict[str, Any], n_iter_no_change: int, tol: float) -> dict[str, float]:
    """Return what a rule for stopping saves of the steps of a fit, and what it costs."""
    test = fit["stages"]["test"]
    n_cycles = stop(fit["stages"]["unseen"], n_iter_no_change, tol)
    return {
        "cycles": n_cycles,
        "saved": 1 - fit["ends"][n_cycles - 1],
        "loss / full loss": test[n_cycles - 1] / test[-1],
    }


def stopping(results: Results) -> list[dict[str, Any]]:
    """Return a row for each rule for stopping.

    It compares stacking the cycles up to the stop with stacking the whole run.
    """
    rows = []
    for rule in STOPPING:
        fits = {name: [stopped(fit, *rule) for fit in results[name]] for name in results}
        every = list(itertools.chain(*fits.values()))
        paid = {
            name: geometric_mean(fit["loss / full loss"] for fit in fits[name]) for name in fits
        }
        rows.append(
            {
                "n_iter_no_change": rule[0],
                "tol": rule[1],
                "cycles": mean(fit["cycles"] for fit in every),
                "steps saved, %": 100 * mean(fit["saved"] for fit in every),
                **relative(paid),
            }
        )
    return rows
