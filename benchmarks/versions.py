"""Speed of a revision and of the present source, in pairs.

``python benchmarks/versions.py --against REVISION`` starts two processes, one with the source of
the revision and one with the present source. They take turns at the same workloads: old, new,
new, old, and so on. While one works the other waits. What the machine does meanwhile hits both
alike, and so the ratio of two neighbours says more than seconds do.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # a script has only its own folder

from benchmarks import worker
from benchmarks.bits import ROOT, source_of
from benchmarks.timing import machine, save, table

#: The package is imported first, so that a checkout's own benchmarks, which may be old ones, do
#: not take the place of the present ones.
START = """
import sys
import skensemble
sys.path.insert(0, sys.argv[1])
from benchmarks.worker import work
work()
"""


class Worker:
    """A process that imports the package from a source, and waits for commands."""

    def __init__(self, source: Path):
        self.source = source
        self.process = subprocess.Popen(
            # With -P the folder that this runs in is no place to import from.
            [sys.executable, "-P", "-c", START, str(ROOT)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(source)},
            # Ctrl-C is for the parent: the package would end a fit early and go on.
            start_new_session=True,
        )

    def ask(self, *command: Any) -> Any:
        """Send a command and return the answer, for which it waits."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(json.dumps(command).encode() + b"\n")
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"The process with the source {self.source} ended at {command}.")
        return json.loads(answer)

    def check(self) -> None:
        """Raise an error if the process imports another source than its own."""
        expected = [self.source / "skensemble" / "__init__.py", Path(worker.__file__)]
        found = self.ask("where")
        if [Path(file).resolve() for file in found] != [file.resolve() for file in expected]:
            raise RuntimeError(f"Got modules from {found}, but expected {expected}.")


@contextlib.contextmanager
def worker_with(source: Path) -> Iterator[Worker]:
    """Start a worker, check where its modules come from, and end it at last."""
    started = Worker(source)
    with started.process:
        try:
            started.check()
            yield started
        finally:
            started.process.kill()


def seconds_in_turns(
    old: Worker, new: Worker, name: str, repeats: int, smallest: bool
) -> tuple[list[float], list[float]]:
    """Return the seconds of both in each round; they take turns at being the first."""
    seconds: dict[Worker, list[float]] = {old: [], new: []}
    for one in seconds:
        one.ask("prepare", name, smallest)
    for i in range(repeats):
        for one in (old, new) if i % 2 == 0 else (new, old):
            seconds[one].append(one.ask("run"))
    return seconds[old], seconds[new]


def row(name: str, old: Sequence[float], new: Sequence[float]) -> dict[str, Any]:
    """Return the figures of a workload."""
    ratios = [b / a for a, b in zip(old, new, strict=True)]
    low, middle, high = (float(q) for q in np.quantile(ratios, [0.25, 0.5, 0.75]))
    return {
        "workload": name,
        "old, s": median(old),
        "new / old": middle,
        "lower quartile": low,
        "upper quartile": high,
    }


def compare(source: Path, names: Sequence[str], repeats: int, smallest: bool) -> Iterator[Any]:
    """Yield the row of each workload."""
    with worker_with(source) as old, worker_with(ROOT) as new:
        for name in names:
            print(f"{name} ...", file=sys.stderr, flush=True)
            yield row(name, *seconds_in_turns(old, new, name, repeats, smallest))


def commit_of(source: Path) -> str:
    """Return the hash of a checkout's commit."""
    command = ["git", "-C", str(source), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Compare, print the table, and write it as JSON if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", required=True, metavar="REVISION", help="the old version")
    parser.add_argument("--repeats", type=int, default=9, help="rounds of each workload")
    parser.add_argument("--only", nargs="+", choices=worker.PREPARE, metavar="NAME")
    parser.add_argument("--smallest", action="store_true", help="tiny data, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="DIR", help="folder for the JSON file")
    arguments = parser.parse_args()
    names = arguments.only or list(worker.PREPARE)
    with source_of(arguments.against) as source:
        commit = commit_of(source)
        rows = list(compare(source, names, arguments.repeats, arguments.smallest))
    print(machine() | {"old": commit})
    print(table(rows))
    save("versions", {"old": commit, "workloads": rows}, arguments.json)


if __name__ == "__main__":
    main()
