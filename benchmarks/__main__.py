"""``python -m benchmarks fit|predict|latency|memory|scaling``."""

import argparse
from pathlib import Path

from . import fit, latency, memory, predict, scaling
from .timing import machine, save, table

COMMANDS = {
    "fit": fit.run,
    "predict": predict.run,
    "latency": latency.run,
    "memory": memory.run,
    "scaling": scaling.run,
}


def main() -> None:
    """Run one benchmark, print its table, and write it as JSON where asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--repeats", type=int, default=7, help="rounds of each measurement")
    parser.add_argument("--smallest", action="store_true", help="tiny data, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="DIR", help="folder for the JSON file")
    parser.add_argument("--peers", action="store_true", help="also the packages of extra 'bench'")
    arguments = parser.parse_args()
    rows = COMMANDS[arguments.command](
        repeats=2 if arguments.smallest else arguments.repeats,
        smallest=arguments.smallest,
        peers=arguments.peers,
    )
    print(machine())
    print(table(rows))
    save(arguments.command, rows, arguments.json)


if __name__ == "__main__":
    main()
