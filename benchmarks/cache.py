"""Results that a run has already, in a file that it goes on from."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Result = dict[str, Any]


class Cache:
    """Results by what they depend on, in a JSON file if one is given."""

    def __init__(self, path: Path | None):
        self.path = path
        self.results: dict[str, Result] = self._written()
        self._new: dict[str, Result] = {}

    def get(
        self,
        parts: Any,
        measure: Callable[[], Result],
        label: str,
        is_enough: Callable[[Result], bool] = lambda result: True,
    ) -> Result:
        """Return the known result if it is enough, or measure a new one and write it at once."""
        key = json.dumps(parts, default=str)
        if key not in self.results or not is_enough(self.results[key]):
            start = time.perf_counter()
            self.results[key] = self._new[key] = measure()
            seconds = time.perf_counter() - start
            print(f"{label}: {seconds:.1f} s", file=sys.stderr, flush=True)
            self._write()
        return self.results[key]

    def _written(self) -> dict[str, Result]:
        return json.loads(self.path.read_text()) if self.path and self.path.exists() else {}

    def _write(self) -> None:
        if self.path is not None:
            # What other runs have written meanwhile stays.
            results = {**self._written(), **self._new}
            # Replaced as a whole, so that a run stopped here leaves the old file or the new.
            new = self.path.with_name(f"{self.path.name}.{os.getpid()}")
            new.write_text(json.dumps(results, indent=1) + "\n")
            new.replace(self.path)
