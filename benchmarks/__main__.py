"""``python -m benchmarks`` and a command: fit, predict, ... as ``--help`` lists them."""

import argparse
import importlib
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import (
    busy,
    by_hand,
    callbacks,
    chains,
    cluster,
    files,
    fit,
    kills,
    large,
    latency,
    memory,
    predict,
    scaling,
)
from .timing import machine, save, table

Rows = list[dict[str, Any]]

#: Those that measure speed or memory.
COMMANDS = {
    "fit": fit.run,
    "predict": predict.run,
    "latency": latency.run,
    "memory": memory.run,
    "scaling": scaling.run,
    "chains": chains.run,
    "large": large.run,
    "by_hand": by_hand.run,
    "busy": busy.run,
    "kills": kills.run,
    "cluster": cluster.run,
    "files": files.run,
    "callbacks": callbacks.run,
}

#: Those that take tables, and so need pandas.
ON_TABLES = (
    "onnx",
    "outoffold",
    "accuracy",
    "search",
    "limit",
    "intervals",
    "importance",
    "quantiles",
    "scoring",
    "images",
    "convolution",
    "augmentation",
    "blobs",
)


def main(given: Sequence[str] | None = None) -> None:
    """Run one benchmark, print its tables, and write them as JSON if asked to."""
    arguments = parser().parse_args(given)
    if arguments.command in COMMANDS:
        results = {"": measured(COMMANDS[arguments.command], arguments)}
    else:
        results = on_tables(arguments)
    print(machine())
    for title, rows in results.items():
        print(f"\n### {title}\n\n{table(rows)}" if title else table(rows))
    save(arguments.command, results.get("", results), arguments.json)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("command", choices=[*COMMANDS, *ON_TABLES])
    parser.add_argument("--repeats", type=int, default=7, help="rounds of each measurement")
    parser.add_argument("--smallest", action="store_true", help="tiny data, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="DIR", help="folder for the JSON file")
    parser.add_argument("--peers", action="store_true", help="also the packages of extra 'bench'")
    beside = parser.add_argument_group("busy")
    beside.add_argument("--nice", type=int, default=0, metavar="N", help="of what burns CPU")
    real = parser.add_argument_group(
        "outoffold, accuracy, search, limit, intervals, importance, quantiles, scoring, images"
    )
    real.add_argument("--data", type=Path, metavar="DIR", help="tables with an index.json")
    real.add_argument("--splits", type=int, default=5, help="fits of each table")
    real.add_argument("--cache", type=Path, metavar="FILE", help="JSON file to go on from")
    outoffold = parser.add_argument_group("outoffold")
    outoffold.add_argument("--bootstrap", action="store_true", help="also rows drawn with repeats")
    accuracy = parser.add_argument_group("accuracy")
    accuracy.add_argument("--rows", type=int, nargs="+", default=[3_000], help="to train on")
    accuracy.add_argument("--methods", nargs="+", metavar="NAME", help="these alone")
    accuracy.add_argument("--no-times", action="store_true", help="keep no seconds")
    accuracy.add_argument("--picture", type=Path, metavar="FILE", help="loss over fit time")
    both = parser.add_argument_group(
        "accuracy, search, limit, intervals, importance, quantiles, scoring, images"
    )
    both.add_argument("--tables", nargs="+", metavar="NAME", help="these alone")
    both.add_argument("--threads", type=int, help="of every method")
    search = parser.add_argument_group("search")
    search.add_argument("--settings", nargs="+", metavar="NAME", help="these alone")
    limit = parser.add_argument_group("limit")
    limit.add_argument("--limits", type=float, nargs="+", default=[5, 10, 20], help="seconds")
    return parser


def measured(run: Callable[..., Rows], arguments: argparse.Namespace) -> Rows:
    """Return the rows of a benchmark of speed or memory."""
    return run(
        repeats=2 if arguments.smallest else arguments.repeats,
        smallest=arguments.smallest,
        peers=arguments.peers,
        **({"nice": arguments.nice} if run is busy.run else {}),
    )


def on_tables(arguments: argparse.Namespace) -> dict[str, Rows]:
    """Return the rows of the summaries by their titles; an only table has none."""
    # Imported here: they need pandas, and those above do not.
    run = importlib.import_module(f".{arguments.command}", __package__).run
    given = {
        **vars(arguments),
        "only": arguments.tables,
        "sizes": arguments.rows,
        "times": not arguments.no_times,
        "repeats": 2 if arguments.smallest else arguments.repeats,
    }
    asked = inspect.signature(run).parameters
    found = run(
        **{name: value for name, value in given.items() if name in asked and value is not None}
    )
    return found if isinstance(found, dict) else {"": found}


if __name__ == "__main__":
    main()
