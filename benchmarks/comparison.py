"""Methods compared in pairs, over the tables and seeds that both have."""

from collections.abc import Callable
from statistics import geometric_mean, mean, median
from typing import Any

import numpy as np

from .measured import SECONDS, seconds_of
from .methods import METHODS
from .scores import ERROR, LOSS, TEMPERED, percent, relative, wins

Rows = list[dict[str, Any]]
#: Result of each seed, by table.
Fits = dict[str, dict[int, dict[str, Any]]]
#: Those by method.
Results = dict[str, Fits]


class Comparison:
    """Results of all methods, compared in pairs over the tables and the seeds that both have."""

    def __init__(self, results: Results, threads: int):
        self.results = {label: fits for label, fits in results.items() if fits}
        self.threads = threads
        self.tables = list(next(iter(self.results.values())))
        self.methods = {method.label: method for method in METHODS.values()}
        self.ours = METHODS["ours"].label if METHODS["ours"].label in self.results else None
        favourites = [METHODS[name].label for name in ("catboost", "hist")]
        #: What the others are relative to: CatBoost where there is one.
        self.base = next(
            (name for name in favourites if name in self.results), next(iter(self.results))
        )

    def summaries(self) -> dict[str, Rows]:
        """Return the rows of each summary, by its title."""
        summaries = {
            "Methods": [self.row(label) for label in self.results],
            "Loss by table": [self.losses_row(name) for name in self.tables],
        }
        if self.ours is not None and len(self.results) > 1:
            others = [label for label in self.results if label != self.ours]
            summaries["Ours against others"] = [self.against(label) for label in others]
        return summaries

    def row(self, label: str) -> dict[str, Any]:
        """Return all figures of a method."""
        base, low, high = self.base, *self.interval(label, self.base)
        loss = self.ratios(label, base)
        row: dict[str, Any] = {
            "method": label,
            "version": self.methods[label].version(),
            "splits": min(len(fits) for fits in self.results[label].values()),
            "failed": sum("failure" in fit for fit in self.fits(label)),
            "mean rank": mean(self.rank(label, table) for table in self.tables),
            f"loss / {base}, %": percent(loss.values()),
            "low": low,
            "high": high,
            f"lower than {base}": wins(loss),
            "ours lower": "",
            f"tempered log-loss / {base}, %": "",
            f"error / {base}, %": "",
            **{figure: self.seconds(label, figure) for figure in SECONDS},
        }
        if self.ours not in (None, label):
            row["ours lower"] = wins(self.ratios(self.ours, label))
        if tempered := self.ratios(label, base, TEMPERED):
            row[f"tempered log-loss / {base}, %"] = percent(tempered.values())
            row[f"error / {base}, %"] = percent(self.ratios(label, base, ERROR, mean).values())
        return row

    def losses_row(self, table: str) -> dict[str, Any]:
        """Return the loss of each method on one table, over all seeds that it has."""
        row: dict[str, Any] = {"table": table}
        most = max(len(fits[table]) for fits in self.results.values())
        for label, fits in self.results.items():
            seeds = list(fits[table])
            note = "" if len(seeds) == most else f" ({len(seeds)} of {most} splits)"
            row[label + note] = self.value(label, table, seeds, LOSS)
        return row

    def against(self, label: str) -> dict[str, Any]:
        """Return our figures relative to those of another method."""
        assert self.ours is not None
        ratios = self.ratios(self.ours, label)
        low, high = self.interval(self.ours, label)
        figures = relative(ratios)
        return {
            "ours against": label,
            "splits": min(len(self.seeds(self.ours, label, table)) for table in self.tables),
            "loss, %": figures.pop("loss, %"),
            "low": low,
            "high": high,
            "lower on": wins(ratios),
            **figures,
        }

    def ratios(
        self,
        label: str,
        other: str,
        figure: str = LOSS,
        average: Callable[..., float] = geometric_mean,
    ) -> dict[str, float]:
        """Return a method's figure relative to another's, for each table that has the figure."""
        ratios = {}
        for table in self.tables:
            seeds = self.seeds(label, other, table)
            values = [self.value(name, table, seeds, figure, average) for name in (label, other)]
            if None not in values:
                # Few test rows may hold no error at all.
                numerator, denominator = (max(value, 1e-4) for value in values)
                ratios[table] = numerator / denominator
        return ratios

    def interval(self, label: str, other: str) -> tuple[float, float]:
        """Return the ends of a 95 % interval of the relative loss, in per cent.

        The interval is that of the bootstrap: as many tables are drawn with repeats.
        """
        logs = np.log(list(self.ratios(label, other).values()))
        drawn = np.random.default_rng(0).integers(len(logs), size=(10_000, len(logs)))
        low, high = np.quantile(logs[drawn].mean(axis=1), [0.025, 0.975])
        return 100 * float(np.expm1(low)), 100 * float(np.expm1(high))

    def rank(self, label: str, table: str) -> float:
        """Return the rank on a table, 1 for the best.

        Each pair of methods is compared over the seeds that both have.
        """
        rank = 1.0
        for other in self.results:
            seeds = self.seeds(label, other, table)
            mine, others = (self.value(name, table, seeds, LOSS) for name in (label, other))
            if other != label:
                rank += 0.5 if mine == others else float(mine > others)
        return rank

    def value(
        self,
        label: str,
        table: str,
        seeds: list[int],
        figure: str,
        average: Callable[..., float] = geometric_mean,
    ) -> Any:
        """Return the average of a figure over seeds, or None if the table has no such figure."""
        values = [self.of_fit(label, table, seed, figure) for seed in seeds]
        return None if None in values else average(values)

    def of_fit(self, label: str, table: str, seed: int, figure: str) -> float | None:
        """Return a figure of one fit; that of a failed fit is just behind the worst."""
        fit = self.results[label][table][seed]
        if "failure" not in fit:
            return fit.get(figure)
        others = [fits[table][seed] for fits in self.results.values() if seed in fits[table]]
        known = [other[figure] for other in others if figure in other]
        return max(known) * (1 + 1e-9) if known else None

    def seeds(self, label: str, other: str, table: str) -> list[int]:
        """Return the seeds that both methods have."""
        return sorted(self.results[label][table].keys() & self.results[other][table].keys())

    def fits(self, label: str) -> Rows:
        """Return all fits of a method."""
        return [fit for fits in self.results[label].values() for fit in fits.values()]

    def seconds(self, label: str, figure: str) -> float | str:
        """Return the median over tables of one of the seconds; empty if none were measured."""
        timed: list[float] = []
        for fits in self.results[label].values():
            known = [seconds_of(fit, self.threads, figure) for fit in fits.values()]
            if seconds := [value for value in known if value is not None]:
                timed.append(median(seconds))
        return median(timed) if timed else ""
