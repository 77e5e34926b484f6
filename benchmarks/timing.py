"""Interleaved measurements and their paired ratios."""

import gc
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch


def interleaved(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of each call, made in turns: A B C A B C.

    What the machine does meanwhile hits all of them alike.
    """
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            seconds[name].append(seconds_of(call))
    return seconds


def seconds_of(call: Callable[[], Any]) -> float:
    """Return the seconds of one call."""
    gc.collect()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def repeated(call: Callable[[], Any], times: int) -> Callable[[], None]:
    """Return a function that makes a call so many times."""

    def calls() -> None:
        for _ in range(times):
            call()

    return calls


def ratios(seconds: dict[str, list[float]], base: str) -> dict[str, float]:
    """Return the median, over the rounds, of each call's seconds divided by the base's."""
    return {
        name: median(a / b for a, b in zip(times, seconds[base], strict=True))
        for name, times in seconds.items()
    }


def use_threads(threads: int | None) -> int:
    """Make all libraries use so many threads, as far as one can tell them for all calls at once."""
    threads = threads or torch.get_num_threads()
    torch.set_num_threads(threads)
    os.environ["NPROC"] = str(threads)  # read by jax when it is imported
    return threads


def machine() -> dict[str, Any]:
    """Describe where the figures come from."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows as a Markdown table."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "| " + " | ".join("---" for _ in names) + " |"]
    for row in rows:
        cells = [f"{row[n]:.3g}" if isinstance(row[n], float) else str(row[n]) for n in names]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def save(name: str, rows: Any, folder: Path | None) -> None:
    """Write what was measured as JSON, if a folder is given."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"machine": machine(), "rows": rows}, indent=1)
        (folder / f"{name}.json").write_text(text + "\n")
