"""What the user's objects note as they run: captured as plain data, and put back in place.

A module may count its steps, a callback may keep a list, a dataset may draw from a generator of its
own. Each is made anew by a run that goes on, and is given then what it had noted.
"""

import copy
import logging
import random
from collections import deque
from collections.abc import Collection, Iterable
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from types import ModuleType
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from torch import nn

from skensemble._nets.origins import is_of_library
from skensemble._types import Options

#: What a note may hold beside tensors, arrays and containers.
_PLAIN = (
    *(bool, int, float, complex, str, bytes, type(None), np.generic),
    *(date, time, timedelta, Decimal),
)

#: Containers that are put back in place: others may hold the same one.
_CONTAINERS = (list, dict, set, deque)

_GENERATORS = (np.random.Generator, np.random.RandomState, random.Random, torch.Generator)

#: What does not change as it runs.
_CONSTANT = (Enum, PurePath, ModuleType, logging.Logger, torch.dtype, torch.device)

#: What is kept in ways of its own.
_KEPT_ELSEWHERE = (nn.Module, NeuralNet)


def take_notes(
    owner: object, *, without: Iterable[str] = (), is_short: bool = False
) -> tuple[Options, list[str]]:
    """Copy what an object has noted in its attributes, and name those that no file can keep.

    Objects of the user's classes among them are looked into. With `is_short` containers, arrays and
    tensors are left out: they are data that was given.
    """
    taker = _Taker(is_short)
    return taker.take(owner, {*without}), taker.strays


def put_back(owner: Any, notes: Options, *, without: Collection[str] = ()) -> None:
    """Give an object what another one of its kind had noted."""
    held = vars(owner)
    for name, value in notes["values"].items():
        if name not in without:
            held[name] = _in_place(held.get(name), copied(value))
    for name, state in notes["generators"].items():
        if name in held:
            _set_generator(held[name], state)
    for name, state in notes["optimizers"].items():
        if name in held:
            load_optimizer(held[name], state)
    for name, of_object in notes["objects"].items():
        if name in held:
            put_back(held[name], of_object)


class _Taker:
    """Takes notes of objects that may refer to each other."""

    def __init__(self, is_short: bool):
        self.is_short = is_short
        self.strays: list[str] = []
        self._seen: dict[int, object] = {}

    def take(self, owner: object, without: set[str]) -> Options:
        self._seen[id(owner)] = owner
        notes: Options = {"values": {}, "generators": {}, "optimizers": {}, "objects": {}}
        for name, value in vars(owner).items():
            if name not in without and not name.startswith("__"):
                self._note(notes, name, value)
        return notes

    def _note(self, notes: Options, name: str, value: Any) -> None:
        if isinstance(value, _GENERATORS):
            notes["generators"][name] = _state_of_generator(value)
        elif isinstance(value, torch.optim.Optimizer):
            notes["optimizers"][name] = copied(value.state_dict())
        elif is_plain(value):
            if not self.is_short or isinstance(value, _PLAIN):
                notes["values"][name] = copied(value)
        elif (callable(value) and not hasattr(value, "__dict__")) or _is_constant(value):
            pass
        elif _is_looked_into(value):
            if id(value) not in self._seen:
                notes["objects"][name] = self.take(value, set())
        else:
            self.strays.append(f"{name} of type {type(value).__name__}")


def is_plain(value: object) -> bool:
    """Tell whether a value is plain data, in which no tensor is in training."""
    if isinstance(value, dict):
        return all(map(is_plain, value)) and all(map(is_plain, value.values()))
    if isinstance(value, list | set | frozenset | deque) or type(value) is tuple:
        return all(map(is_plain, value))
    if isinstance(value, torch.Tensor):
        return not isinstance(value, nn.Parameter) and not value.requires_grad
    return isinstance(value, (*_PLAIN, np.ndarray))


def copied(value: Any) -> Any:
    """Copy containers and tensors; an optimizer's state dict refers to its tensors."""
    if isinstance(value, dict):
        return {k: copied(v) for k, v in value.items()}
    if isinstance(value, list | deque):
        return [copied(part) for part in value]
    if type(value) is tuple:
        return tuple(map(copied, value))
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    return value if callable(value) else copy.deepcopy(value)


def load_optimizer(optimizer: torch.optim.Optimizer, state: Options) -> None:
    """Let an optimizer go on where another stood.

    Torch turns its tensors into the type of their parameters, which they need not have had. They
    are to lie in memory as their parameters do, which steps are fast for: a file keeps the numbers
    and no strides.
    """
    optimizer.load_state_dict(copied(state))
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for index, parameter in enumerate(parameters):
        there = optimizer.state.get(parameter, {})
        for name, was in state.get("state", {}).get(index, {}).items():
            if isinstance(was, torch.Tensor) and isinstance(there.get(name), torch.Tensor):
                is_like = was.shape == parameter.shape
                like = torch.empty_like(parameter if is_like else was, dtype=was.dtype)
                there[name] = like.detach().to(there[name].device).copy_(was)


def _is_constant(value: object) -> bool:
    is_code = isinstance(value, type) or hasattr(value, "__code__") or hasattr(value, "func")
    return is_code or isinstance(value, (_CONSTANT, _KEPT_ELSEWHERE))


def _is_looked_into(value: object) -> bool:
    is_data = isinstance(value, torch.utils.data.Dataset)
    return hasattr(value, "__dict__") and (is_data or not is_of_library(type(value)))


def _in_place(there: Any, value: Any) -> Any:
    """Return a container that holds a value: the one that is there, if it is of the kind."""
    if isinstance(there, dict) and isinstance(value, dict):
        there.clear()
        there.update(value)
    elif isinstance(there, list | deque) and isinstance(value, list):
        there.clear()
        there.extend(value)
    elif isinstance(there, set) and isinstance(value, set):
        there.clear()
        there.update(value)
    else:
        return value
    return there


def _state_of_generator(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return copy.deepcopy(generator.bit_generator.state)
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.get_state()


def _set_generator(generator: Any, state: Any) -> None:
    if isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    elif isinstance(generator, random.Random):
        generator.setstate(state)
    else:
        generator.set_state(state)
