"""Random numbers of a fit: private, repeatable, and the global generators left as found."""

import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager

import numpy as np
import torch
from sklearn.utils import check_random_state

from skensemble._locks import Turn
from skensemble._types import Options, RandomState

from .heap import keeping_heap

#: Torch draws initialisation and dropout from one global generator, so fits that draw from it take
#: turns.
_turn = Turn()


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


class _Drawing(threading.local):
    """The generator that a fit in this thread draws from; None: torch's global one."""

    generator: torch.Generator | None = None


_drawing = _Drawing()


def drawing_from(device: torch.device) -> torch.Generator | None:
    """Return the generator that the built-in network is to draw from; None: torch's global one."""
    return _drawing.generator if device.type == "cpu" else None


class Generators:
    """The generators of one chain, whose network draws its dropout on `device`.

    `start` is a seed to begin with, or what :meth:`state` returned, to go on from there. Code of
    the user's can only draw from global generators, which are lent to it :meth:`within` a block.
    With `is_private` they are left alone, and :func:`drawing_from` gives the same numbers, which no
    other thread can move.
    """

    def __init__(self, device: torch.device, start: int | Options, *, is_private: bool = False):
        self.device, self.is_private = device, is_private
        #: Draws the permutations of the rows, on the CPU.
        self.batches = torch.Generator()
        #: Draws initialisation, and dropout on the CPU.
        self._network = torch.Generator()
        #: Of a DataLoader, where there is one.
        self._loader: torch.Generator | None = None
        #: States of numpy's generator, and of torch's on another device.
        self._others: Options = {}
        self._is_within = False
        if isinstance(start, dict):
            self.restore(start)
        else:
            self._seed(start)

    @contextlib.contextmanager
    def within(self) -> Iterator[None]:
        """Draw from this chain's generators; global ones are put back on leaving."""
        if self._is_within:
            yield
            return
        enter = self._privately if self.is_private else self._globally
        self._is_within = True
        try:
            with enter():
                yield
        finally:
            self._is_within = False

    def of_loader(self) -> torch.Generator:
        """Return the generator from which a DataLoader draws, such as seeds for its workers.

        It is a copy: the permutations stay those of the same rows in memory.
        """
        if self._loader is None:
            self._loader = self.batches.clone_state()
        return self._loader

    def state(self) -> Options:
        """Return the place that each generator has come to, as arrays."""
        if self._is_within and not self.is_private:
            self._take_globals()
        own = {"cpu": self._network, "batches": self.batches, "loader": self._loader}
        there = {name: g.get_state().numpy().copy() for name, g in own.items() if g is not None}
        return {**there, **self._others}

    def _seed(self, seed: int) -> None:
        """Begin: the network's generators at `seed`, the batches' at another derived from it."""
        self._network.manual_seed(seed)
        # For a module that draws its start from numpy.
        self._others = {"numpy": np.random.RandomState(seed % 2**32).get_state()}
        if self.device.type != "cpu":
            there = torch.Generator(self.device).manual_seed(seed).get_state()
            self._others["device"] = there.cpu().numpy().copy()
        derived = np.random.SeedSequence([seed, 1]).generate_state(1, np.uint64)
        self.batches.manual_seed(int(derived[0] >> np.uint64(1)))

    def restore(self, state: Options) -> None:
        """Go on where :meth:`state` was taken."""
        self.batches.set_state(torch.from_numpy(state["batches"].copy()))
        self._network.set_state(torch.from_numpy(state["cpu"].copy()))
        self._others = {name: state[name] for name in ("numpy", "device") if name in state}
        if "loader" in state:
            self.of_loader().set_state(torch.from_numpy(state["loader"].copy()))
        if self._is_within and not self.is_private:
            self._set_globals()

    @contextlib.contextmanager
    def _privately(self) -> Iterator[None]:
        before, _drawing.generator = _drawing.generator, self._network
        try:
            yield
        finally:
            _drawing.generator = before

    @contextlib.contextmanager
    def _globally(self) -> Iterator[None]:
        before = Generators(self.device, 0)
        before._take_globals()
        self._set_globals()
        try:
            yield
        finally:
            self._take_globals()
            before._set_globals()

    def _take_globals(self) -> None:
        """Move to where the global generators are."""
        self._network.set_state(torch.default_generator.get_state())
        self._others = {"numpy": np.random.get_state()}
        if self.device.type != "cpu":
            module = torch.get_device_module(self.device)
            self._others["device"] = module.get_rng_state().cpu().numpy().copy()

    def _set_globals(self) -> None:
        """Move the global generators to where these are."""
        torch.default_generator.set_state(self._network.get_state())
        np.random.set_state(self._others["numpy"])
        if self.device.type != "cpu" and "device" in self._others:
            module = torch.get_device_module(self.device)
            module.set_rng_state(torch.from_numpy(self._others["device"].copy()))


def on_named_device(device: str | torch.device | None) -> AbstractContextManager[object]:
    """Make tensors of no named device on the CPU, where torch's default is a third device.

    Torch makes some itself, and so may a module of the user's. A default that is the net's own
    device stays.
    """
    default = torch.get_default_device().type
    if default == "cpu" or default == str(device).split(":")[0]:
        return contextlib.nullcontext()
    return torch.device("cpu")


@contextlib.contextmanager
def forked(device: torch.device | None) -> Iterator[None]:
    """Restore the generators that the network draws from, of the CPU and of the device."""
    own = _drawing.generator
    if own is not None:
        before = own.get_state()
        try:
            yield
        finally:
            own.set_state(before)
        return
    device = device or torch.device("cpu")
    is_cpu = device.type in ("cpu", "meta")
    options: Options = {} if is_cpu else {"device_type": device.type}
    with torch.random.fork_rng([] if is_cpu else [device.index or 0], **options):
        yield


@contextlib.contextmanager
def left_as_found(device: torch.device | None) -> Iterator[None]:
    """Restore what the network and code of the user's draw from, numpy's generator too."""
    with forked(device):
        state = np.random.get_state()
        try:
            yield
        finally:
            np.random.set_state(state)


@contextlib.contextmanager
def as_in_a_fit(device: torch.device, *, is_private: bool) -> Iterator[None]:
    """Take turns, and leave torch's modes: a user may call from within one of them.

    Memory is kept for the next step.
    """
    with (
        keeping_heap(),
        taking_turns(device, is_private=is_private),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        yield


@contextlib.contextmanager
def taking_turns(device: torch.device, *, is_private: bool = False) -> Iterator[None]:
    """Let one fit at a time go on; global generators are as before on leaving.

    With `is_private` nothing draws from them: they are not touched, and nobody need wait.
    """
    if is_private:
        yield
        return
    with _turn.taken(), left_as_found(device):
        yield
