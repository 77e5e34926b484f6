"""``python -m benchmarks`` and a command: fit, predict, ... as ``--help`` lists them."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import (
    busy,
    by_hand,
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
}


def main(given: Sequence[str] | None = None) -> None:
    """Run one benchmark, print its tables, and write them as JSON if asked to."""
    arguments = parser().parse_args(given)
    if arguments.command in COMMANDS:
        results = {"": measured(COMMANDS[arguments.command], arguments)}
    else:
        results = ON_TABLES[arguments.command](arguments)
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
    real = parser.add_argument_group("outoffold, accuracy, search, limit, intervals, importance")
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
    both = parser.add_argument_group("accuracy, search, limit, intervals, importance")
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


def run_outoffold(arguments: argparse.Namespace) -> dict[str, Rows]:
    """Return the rows of the summaries by their titles."""
    from . import outoffold  # here, since it needs pandas and those above do not

    return outoffold.run(
        smallest=arguments.smallest,
        data=arguments.data,
        splits=arguments.splits,
        cache=arguments.cache,
        bootstrap=arguments.bootstrap,
    )


def run_accuracy(arguments: argparse.Namespace) -> dict[str, Rows]:
    """Return the rows of the summaries by their titles."""
    from . import accuracy  # needs pandas as well

    return accuracy.run(
        smallest=arguments.smallest,
        data=arguments.data,
        splits=arguments.splits,
        sizes=arguments.rows,
        methods=arguments.methods or tuple(accuracy.METHODS),
        only=arguments.tables,
        cache=arguments.cache,
        threads=arguments.threads,
        times=not arguments.no_times,
        picture=arguments.picture,
    )


def run_search(arguments: argparse.Namespace) -> dict[str, Rows]:
    """Return the rows of its only table, which has no title."""
    from . import search  # needs pandas as well

    rows = search.run(
        smallest=arguments.smallest,
        data=arguments.data,
        splits=arguments.splits,
        settings=arguments.settings,
        only=arguments.tables,
        cache=arguments.cache,
        threads=arguments.threads,
    )
    return {"": rows}


def run_intervals(arguments: argparse.Namespace) -> dict[str, Rows]:
    """Return the rows of the summaries by their titles."""
    from . import intervals  # needs pandas as well

    return intervals.run(
        smallest=arguments.smallest,
        data=arguments.data,
        splits=arguments.splits,
        only=arguments.tables,
        cache=arguments.cache,
        threads=arguments.threads,
        repeats=2 if arguments.smallest else arguments.repeats,
    )


def run_onnx(arguments: argparse.Namespace) -> dict[str, Rows]:
    """Return the rows of its only table, which has no title."""
    from . import onnx  # needs pandas and onnxruntime

    return {"": measured(onnx.run, arguments)}


def run_limit(arguments: argparse.Namespace) -> dict[str, Rows]:
    """Return the rows of its only table, which has no title."""
    from . import limit  # needs pandas as well

    rows = limit.run(
        smallest=arguments.smallest,
        data=arguments.data,
        splits=arguments.splits,
        limits=arguments.limits,
        only=arguments.tables,
        threads=arguments.threads,
    )
    return {"": rows}


def run_importance(arguments: argparse.Namespace) -> dict[str, Rows]:
    """Return the rows of its only table, which has no title."""
    from . import importance  # needs pandas as well

    rows = importance.run(
        smallest=arguments.smallest,
        data=arguments.data,
        splits=arguments.splits,
        only=arguments.tables,
        threads=arguments.threads,
    )
    return {"": rows}


#: Those that take tables, and so need pandas.
ON_TABLES = {
    "onnx": run_onnx,
    "outoffold": run_outoffold,
    "accuracy": run_accuracy,
    "search": run_search,
    "limit": run_limit,
    "intervals": run_intervals,
    "importance": run_importance,
}


if __name__ == "__main__":
    main()
