"""``python -m benchmarks`` and a command: fit, predict, ... as ``--help`` lists them."""

import argparse
from pathlib import Path
from typing import Any

from . import chains, fit, large, latency, memory, predict, scaling
from .timing import machine, save, table

COMMANDS = {
    "fit": fit.run,
    "predict": predict.run,
    "latency": latency.run,
    "memory": memory.run,
    "scaling": scaling.run,
    "chains": chains.run,
    "large": large.run,
}


def main() -> None:
    """Run one benchmark, print its tables, and write them as JSON where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("command", choices=[*COMMANDS, "outoffold", "accuracy", "search"])
    parser.add_argument("--repeats", type=int, default=7, help="rounds of each measurement")
    parser.add_argument("--smallest", action="store_true", help="tiny data, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="DIR", help="folder for the JSON file")
    parser.add_argument("--peers", action="store_true", help="also the packages of extra 'bench'")
    real = parser.add_argument_group("outoffold, accuracy, search")
    real.add_argument("--data", type=Path, metavar="DIR", help="tables with an index.json")
    real.add_argument("--splits", type=int, default=5, help="fits of each table")
    real.add_argument("--cache", type=Path, metavar="FILE", help="JSON file to go on from")
    outoffold = parser.add_argument_group("outoffold")
    outoffold.add_argument("--bootstrap", action="store_true", help="also rows drawn with repeats")
    accuracy = parser.add_argument_group("accuracy")
    accuracy.add_argument("--rows", type=int, nargs="+", default=[3_000], help="to train on")
    accuracy.add_argument("--methods", nargs="+", metavar="NAME", help="these alone")
    both = parser.add_argument_group("accuracy, search")
    both.add_argument("--tables", nargs="+", metavar="NAME", help="these alone")
    both.add_argument("--threads", type=int, help="of every method")
    search = parser.add_argument_group("search")
    search.add_argument("--settings", nargs="+", metavar="NAME", help="these alone")
    accuracy.add_argument(
        "--no-times", action="store_true", help="keep no seconds, as something else is running"
    )
    accuracy.add_argument("--picture", type=Path, metavar="FILE", help="loss over fit time")
    arguments = parser.parse_args()
    results = tables_of(arguments)
    print(machine())
    for title, rows in results.items():
        print(f"\n### {title}\n\n{table(rows)}" if title else table(rows))
    save(arguments.command, results.get("", results), arguments.json)


def tables_of(arguments: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """What a benchmark found, by the titles of its tables; a single one has none."""
    if arguments.command == "outoffold":
        from . import outoffold  # here, since it needs pandas and the others do not

        return outoffold.run(
            smallest=arguments.smallest,
            data=arguments.data,
            splits=arguments.splits,
            cache=arguments.cache,
            bootstrap=arguments.bootstrap,
        )
    if arguments.command == "search":
        from . import search

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
    if arguments.command == "accuracy":
        from . import accuracy

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
    rows = COMMANDS[arguments.command](
        repeats=2 if arguments.smallest else arguments.repeats,
        smallest=arguments.smallest,
        peers=arguments.peers,
    )
    return {"": rows}


if __name__ == "__main__":
    main()
