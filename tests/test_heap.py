"""Memory that stays with the process between steps."""

import ctypes
import os
import subprocess
import sys

import pytest

from skensemble._nets import heap
from skensemble._nets.heap import keeping_heap

#: Allocates and frees 8 MB, as often as a fit of 32 steps, and counts the pages that are touched.
FAULTS = """
import resource, sys
import numpy as np
from skensemble._nets.heap import keeping_heap
import contextlib
block = keeping_heap if sys.argv[1] == "keeping" else contextlib.nullcontext
def steps():
    for _ in range(32):
        np.ones(1_000_000)
with block():
    steps()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    steps()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(heap._libc() is None, reason="the allocator is not glibc's")
def test_memory_is_kept_where_the_environment_gives_it_back():
    faults = {}
    for kind in ("plain", "keeping"):
        env = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"}
        ran = subprocess.run(
            [sys.executable, "-c", FAULTS, kind],
            env=env,
            capture_output=True,
            text=True,
            check=True,
        )
        faults[kind] = int(ran.stdout)
    assert faults["plain"] > 1_000
    assert faults["keeping"] < 0.1 * faults["plain"]


def test_settings_are_put_back(monkeypatch):
    asked = []
    libc = type("Libc", (), {"mallopt": lambda self, n, v: asked.append((n, v))})()
    libc.malloc_trim = lambda pad: asked.append("trim")
    monkeypatch.setattr(heap, "_libc", lambda: libc)
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    with keeping_heap(), keeping_heap():
        assert asked == [(-3, 1 << 25), (-1, 1 << 26)] * 2
        del asked[:]
    assert asked == [(-3, 1 << 17), (-1, 65536), "trim"]


def test_nothing_is_set_without_need(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: pytest.fail("looked at the allocator"))
    for name in heap._SETTINGS:
        monkeypatch.delenv(name, raising=False)
    with keeping_heap():
        pass
