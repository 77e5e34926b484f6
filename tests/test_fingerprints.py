"""Fingerprints tell apart what differs, and nothing else, in any process."""

import functools
import subprocess
import sys

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
    ],
)
def test_equal_things_have_one(one, other):
    assert fingerprint(one) == fingerprint(other)


def test_a_function_is_its_code_and_what_it_names(monkeypatch):
    before = fingerprint(falls)
    monkeypatch.setattr(sys.modules[__name__], "FACTOR", 2.0)
    assert fingerprint(falls) != before


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
