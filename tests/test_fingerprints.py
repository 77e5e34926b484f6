"""Fingerprints tell apart what differs, and nothing else, in any process."""

import copy
import dataclasses
import datetime
import functools
import math
import pickle
import random
import subprocess
import sys
import threading
import types

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Mlp
from sklearn.model_selection import KFold, StratifiedKFold
from skorch.callbacks import EarlyStopping
from torch import nn

from skensemble._persistence.fingerprints import fingerprint

FACTOR = 1.0

DAY = datetime.date(2020, 1, 1)

#: A column whose values lie apart in memory.
COLUMN = pd.DataFrame(np.ones((2, 3)))[1]


def falls(at):
    return FACTOR * (1 - at.progress)


def times(factor):
    return lambda at: factor * at.progress


def frozen(module):
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


def linear(seed=0):
    torch.manual_seed(seed)
    return nn.Linear(3, 2)


def of_module(source, **held):
    """Return the function `f` of a module of the user's that holds some other things."""
    there = {"__name__": "mine", **held}
    exec(source, there)
    return there["f"]


def package(helper):
    made = types.ModuleType("helpers_of_mine")
    made.helper = helper
    return made


def hooked(factor):
    layer = nn.ReLU()
    layer.register_forward_hook(lambda *given: factor * given[2])
    return layer


def pair_of_layers(*, tied):
    layers = nn.Sequential(linear(), linear())
    if tied:
        layers[1].weight = layers[0].weight
    return layers


def twice(layer):
    return nn.Sequential(layer, nn.Tanh(), layer)


class Slotted:
    __slots__ = ("factor",)

    def __init__(self, factor):
        self.factor = factor


class Derived(Slotted):
    pass


@dataclasses.dataclass
class Settings:
    factor: float


class Listed(list):
    pass


def listed(name):
    made = Listed()
    made.name = name
    return made


def counting(n):
    def count():
        return count.n

    count.n = n
    return count


NAMES = "def f(x): return x * held"
CALLS = "def f(x): return held(x)"
ACTS = "def f(x): return [(lambda z: held(z))(z) for z in x]"
REACHES = "def f(x): return helpers.helper(x)"

#: What a function may name of its module, in two versions.
HELD = {
    "an array": (NAMES, np.ones(2), np.zeros(2)),
    "a list": (NAMES, [1], [2]),
    "a dict": (NAMES, {"a": 1}, {"a": 2}),
    "a tensor": (NAMES, torch.ones(2), torch.zeros(2)),
    "an object": (NAMES, types.SimpleNamespace(a=1), types.SimpleNamespace(a=2)),
    "an object of ones own": (NAMES, Slotted(1), Slotted(2)),
    "a layer": (CALLS, nn.ReLU(), nn.Tanh()),
    "a builtin": (CALLS, math.sin, math.cos),
    "a ufunc": (CALLS, np.sin, np.cos),
    "a partial": (CALLS, functools.partial(pow, 2), functools.partial(pow, 3)),
    "a function within another": (ACTS, times(1), times(2)),
}


#: Pairs of values that are two things.
DIFFERENT = {
    "types": (1, 1.0),
    "truth": (True, 1),
    "text": ("1", 1),
    "bytes": (b"1", "1"),
    "order": ([1, 2], [2, 1]),
    "containers": ([1, 2], (1, 2)),
    "nested": ([[1], 2], [[1, 2]]),
    "signs": (0.0, -0.0),
    "keys": ({"a": 1}, {"b": 1}),
    "order of keys": ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "dtypes": (np.float32(1), np.float64(1)),
    "shapes": (np.zeros((2, 3)), np.zeros((3, 2))),
    "objects": (np.array([1, "a"], object), np.array([1, "b"], object)),
    "tensors": (torch.zeros(3), torch.zeros(3, dtype=torch.float64)),
    "defaults": (lambda x, a=1: x + a, lambda x, a=2: x + a),
    "code": (lambda x: x + 1, lambda x: x + 2),
    "closures": (times(1), times(2)),
    "partials": (functools.partial(pow, 2), functools.partial(pow, 3)),
    "classes": (KFold, StratifiedKFold),
    "arguments": (KFold(3), KFold(4)),
    "callbacks": (EarlyStopping(patience=3), EarlyStopping(patience=4)),
    "weights": (linear(0), linear(1)),
    "frozen": (linear(), frozen(linear())),
    "layers": (nn.Sequential(nn.ReLU()), nn.Sequential(nn.Tanh())),
    "dropout": (nn.Dropout(0.1), nn.Dropout(0.2)),
    "frames": (pd.DataFrame({"a": [1, 2]}), pd.DataFrame({"a": [1, 3]})),
    "generators": (np.random.RandomState(0), np.random.RandomState(1)),
    "optimizers": (torch.optim.Adam, torch.optim.AdamW),
    "hooks": (hooked(1), hooked(2)),
    "tied weights": (pair_of_layers(tied=True), pair_of_layers(tied=False)),
    "a layer twice": (twice(nn.ReLU()), nn.Sequential(nn.ReLU(), nn.Tanh())),
    "slots": (Slotted(1), Slotted(2)),
    "slots of a base": (Derived(1), Derived(2)),
    "dataclasses": (Settings(1), Settings(2)),
    "lists that hold more": (listed("a"), listed("b")),
    "attributes of functions": (counting(1), counting(2)),
    "bound builtins": ([1].index, [2].index),
    "masks": (np.ma.array([1, 2], mask=[0, 1]), np.ma.array([1, 2], mask=[0, 0])),
    "fields": (np.zeros(2, [("a", "i4")]), np.zeros(2, [("b", "i4")])),
    "random": (random.Random(0), random.Random(1)),
    "deleters": (property(fdel=times(1)), property(fdel=times(2))),
    "names through a module": tuple(
        of_module(REACHES, helpers=package(times(factor))) for factor in (1, 2)
    ),
    **{f"held: {k}": tuple(of_module(s, held=v) for v in pair) for k, (s, *pair) in HELD.items()},
}


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT)
def test_things_that_differ_have_two(pair):
    one, other = map(fingerprint, pair)
    assert one != other
    assert [one, other] == list(map(fingerprint, pair))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 1, "b": [2]}, {"a": 1, "b": [2]}),
        ({3, 1, 2}, {1, 2, 3}),
        (float("nan"), float("nan")),
        (np.asfortranarray(np.ones((3, 2))), np.ones((3, 2))),
        (torch.ones(3, 2).mT.contiguous().mT, torch.ones(3, 2)),
        (times(1), times(1)),
        (linear(), linear()),
        (EarlyStopping(), EarlyStopping()),
        (pd.DataFrame({"a": ["x", None]}), pd.DataFrame({"a": ["x", None]})),
        ([(1, 2)] * 2, [(1, 2), tuple(range(1, 3))]),
        ([DAY] * 2, [DAY, DAY.replace()]),
        (np.array([DAY] * 2, object), np.array([DAY, DAY.replace()], object)),
        (COLUMN, COLUMN.copy()),
        (COLUMN, COLUMN.set_axis(["a", "b"])),
        (pair_of_layers(tied=True), pickle.loads(pickle.dumps(pair_of_layers(tied=True)))),
        (hooked(1), hooked(1)),
        (Settings(1), Settings(1)),
        (threading.Lock(), threading.Lock()),
        (list[int], list[int]),
    ],
)
def test_equal_things_have_one(one, other):
    assert fingerprint(one) == fingerprint(other)


def test_a_function_is_its_code_and_what_it_names(monkeypatch):
    before = fingerprint(falls)
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 2.0)
    assert fingerprint(falls) != before


def test_a_class_is_the_same_after_it_was_copied():
    """To copy or pickle an object leaves a mark on its class."""

    class Held:
        pass

    before = fingerprint(Held)
    copy.copy(Held())
    assert "__slotnames__" in vars(Held)
    assert fingerprint(Held) == before


def test_a_function_may_close_over_nothing_yet():
    def early():
        return late()

    before = fingerprint(early)

    def late():
        return 1

    assert fingerprint(early) != before


def test_a_class_is_its_methods():
    class Doubled(Mlp):
        def forward(self, X):
            return 2 * super().forward(X)

    one, name = Doubled, Doubled.__qualname__

    class Doubled(Mlp):
        def forward(self, X):
            return 3 * super().forward(X)

    assert Doubled.__qualname__ == name
    assert fingerprint(one) != fingerprint(Doubled)


def test_what_holds_itself_comes_to_an_end():
    held = [1]
    held.append(held)
    assert fingerprint(held) == fingerprint(held)


def test_another_process_finds_the_same():
    values = "[{'b', 'a', 'c'}, KFold(3), nn.Linear, {'x': 1.5, (1, 'y'): None}]"
    imports = "from sklearn.model_selection import KFold; from torch import nn"
    script = f"{imports}; from skensemble._persistence.fingerprints import fingerprint"
    command = [sys.executable, "-c", f"{script}; print(fingerprint({values}))"]
    there = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert there == fingerprint([{"a", "b", "c"}, KFold(3), nn.Linear, {"x": 1.5, (1, "y"): None}])
