"""Random numbers of a fit: private, repeatable, and the global generators left as found."""

import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager

import numpy as np
import torch
from sklearn.utils import check_random_state

from skensemble._types import Options, RandomState

#: Torch draws initialisation and dropout from one global generator, so fits take turns.
_turn = threading.RLock()


def _renew_lock() -> None:
    """Make the lock anew in a forked child, where nobody is left to release the old one."""
    global _turn
    _turn = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


def seed_of(random_state: RandomState | None) -> int:
    """Return a seed: an integer is its own, anything else draws one."""
    if isinstance(random_state, int | np.integer):
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def chain_seed(seed: int, chain: int) -> int:
    """Return a chain's seed, whatever others stand beside it; the first has the fit's own."""
    if chain == 0:
        return seed
    return int(np.random.SeedSequence([seed % 2**32, 2, chain]).generate_state(1)[0] >> 1)


class Generators:
    """The generators of one chain, whose network draws its dropout on `device`.

    `start` is a seed to begin with, or what :meth:`state` returned, to go on from there.
    """

    def __init__(self, device: torch.device, start: int | Options):
        self.device = device
        #: Draws the permutations of the rows, on the CPU.
        self.batches = torch.Generator()
        self._is_within = False
        before = self._current()
        if isinstance(start, dict):
            self.restore(start)
        else:
            self.seed(start)
        self._kept = self._current()
        self._set(before)

    @contextlib.contextmanager
    def within(self) -> Iterator[None]:
        """Make torch's and numpy's global generators this chain's; put them back on leaving."""
        if self._is_within:
            yield
            return
        before = self._current()
        self._set(self._kept)
        self._is_within = True
        try:
            yield
        finally:
            self._is_within = False
            self._kept = self._current()
            self._set(before)

    def seed(self, seed: int) -> None:
        """Begin: torch's own generators at `seed`, the batches' at another derived from it."""
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed % 2**32)  # for a module that draws its start from numpy
        if self.device.type != "cpu":
            torch.get_device_module(self.device).manual_seed(seed)
        derived = np.random.SeedSequence([seed, 1]).generate_state(1, np.uint64)
        self.batches.manual_seed(int(derived[0] >> np.uint64(1)))

    def state(self) -> Options:
        """Return the place that each generator has come to, as arrays."""
        current = self._current() if self._is_within else self._kept
        return {**current, "batches": self.batches.get_state().numpy().copy()}

    def restore(self, state: Options) -> None:
        """Go on where :meth:`state` was taken."""
        self.batches.set_state(torch.from_numpy(state["batches"].copy()))
        self._set(state)

    def _current(self) -> Options:
        """Return where the global generators are."""
        torchs = torch.default_generator.get_state().numpy().copy()
        state = {"cpu": torchs, "numpy": np.random.get_state()}
        if self.device.type != "cpu":
            module = torch.get_device_module(self.device)
            state["device"] = module.get_rng_state().cpu().numpy().copy()
        return state

    def _set(self, state: Options) -> None:
        torch.default_generator.set_state(torch.from_numpy(state["cpu"].copy()))
        np.random.set_state(state["numpy"])
        if self.device.type != "cpu" and "device" in state:
            module = torch.get_device_module(self.device)
            module.set_rng_state(torch.from_numpy(state["device"].copy()))


def on_named_device(device: str | torch.device | None) -> AbstractContextManager[object]:
    """Make tensors of no named device on the CPU, where torch's default is a third device.

    Torch makes some itself, and so may a module of the user's. A default that is the net's own
    device stays.
    """
    default = torch.get_default_device().type
    if default == "cpu" or default == str(device).split(":")[0]:
        return contextlib.nullcontext()
    return torch.device("cpu")


def forked(device: torch.device | None) -> AbstractContextManager[None]:
    """Restore torch's global generators, of the CPU and of the device, on leaving."""
    if device is None or device.type in ("cpu", "meta"):
        return torch.random.fork_rng(devices=[])
    return torch.random.fork_rng(devices=[device.index or 0], device_type=device.type)


@contextlib.contextmanager
def private_generators(device: torch.device) -> Iterator[None]:
    """Give one fit at a time the global generators; they are as before on leaving."""
    with _turn, forked(device):
        state = np.random.get_state()
        try:
            yield
        finally:
            np.random.set_state(state)
