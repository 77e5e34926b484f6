"""Plain values come back from JSON and arrays as they were."""

import json
import math
import threading
from collections import OrderedDict
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
import torch

from skensemble._persistence.container import Fault
from skensemble._persistence.tree import DEEPEST, Decoder, Encoder, Foreign, Record


def refuse(encoder, value):
    raise ValueError(f"an instance of {type(value).__name__}")


def there_and_back(value):
    encoder = Encoder(refuse)
    text = json.dumps(encoder.encode(value), allow_nan=False)
    return Decoder(encoder.arrays).decode(json.loads(text))


VALUES = [
    None, True, 0, -1, 1 << 62, 1 << 63, -(1 << 200), 0.1, -0.0, 5e-324, math.inf, -math.inf, "",
    "ünï \ud800 \x00", b"", b"\x00\xff", (), (1, (2, [3])), [], {}, {"a": {"b": [1]}}, {"$": 1},
    {1: "a", None: 2, (1, 2): 3, True and 2.5: 4}, OrderedDict(b=1, a=2), {1, 2, "a"},
    frozenset("ab"),
    complex(1, -2), range(3, 9, 2), slice(None, 3), ..., datetime(2024, 2, 29, 1, 2, 3, 4, fold=1),
    datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=ZoneInfo("Europe/Berlin")),
    datetime(2024, 7, 1, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2), "mine")), date(1, 1, 1), time(1, 2, 3, 4),
    time(1, tzinfo=UTC), timedelta(-3, 4, 5), Decimal("1.10"), Decimal("-Infinity"), Fraction(-3,
    7),
    UUID(int=5), Path("a/b"), torch.Size([2, 3]), torch.bfloat16, torch.device("cuda:1"),
    np.float32(0.1),
    np.int8(-3), np.str_("a"), np.bool_(True), np.bytes_(b"ab"), np.datetime64("2024-01-01T03",
    "ns"),
    np.timedelta64(3, "D"), np.float64(math.inf), np.longdouble(1) / 3, np.str_(""),
    pd.Timestamp("2024-01-01 03:04:05.123456789"), pd.Timestamp("2024-07-01", tz="Europe/Berlin"),
    pd.Timedelta("3 days 4 ns"), pd.Period("2024-03", "M"), pd.Interval(1, 2.5, "left"),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back(value):
    found = there_and_back(value)
    assert type(found) is type(value)
    assert found == value
    if not isinstance(value, set | frozenset):
        assert repr(found) == repr(value)  # -0.0, and the order of dicts
    if isinstance(value, datetime):
        assert found.utcoffset() == value.utcoffset()
        assert (found.fold, found.tzname()) == (value.fold, value.tzname())


@pytest.mark.parametrize(
    "value", [math.nan, pd.NaT, pd.NA, np.datetime64("NaT"), np.float32("nan")]
)
def test_missing_values_come_back(value):
    assert repr(there_and_back(value)) == repr(value)


ARRAYS = [
    np.arange(6.0).reshape(2, 3), np.array(2), np.zeros((0, 3)), np.array(["a", "üb", ""]),
    np.array(["a"], dtype="<U30"), np.array([b"a", b"bc"]), np.array([True, False]),
    np.array(["2024-01-01", "NaT"], dtype="M8[D]"), np.array([1, 2], dtype="m8[25us]"),
    np.array([1 + 2j]), np.arange(3, dtype=">i4"), np.arange(3, dtype=np.longdouble),
    np.array([1, "a", None, Decimal("1.0"), (1, 2), date(2024, 1, 1)], dtype=object),
    np.array(["a", "üb"], dtype=np.dtypes.StringDType()), np.array(["", ""]),
    np.asfortranarray(np.arange(6).reshape(2, 3)), np.float16([1, 2]), np.arange(9)[::2],
]  # fmt: skip


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_arrays_come_back(array):
    found = there_and_back(array)
    assert found.dtype == array.dtype
    assert found.shape == array.shape
    assert all(repr(a) == repr(b) for a, b in zip(found.ravel(), array.ravel(), strict=True))


TENSORS = [
    torch.arange(6.0).reshape(2, 3), torch.tensor(3), torch.zeros(0, 2, dtype=torch.int16),
    torch.tensor([1.5, 2], dtype=torch.bfloat16), torch.tensor([True]), torch.tensor(1 + 2j),
    torch.arange(6.0).reshape(2, 3).T, torch.tensor([1.0], dtype=torch.float8_e4m3fn),
]  # fmt: skip


@pytest.mark.parametrize("tensor", TENSORS, ids=lambda t: f"{t.dtype}{tuple(t.shape)}")
def test_tensors_come_back(tensor):
    found = there_and_back(tensor)
    assert (found.dtype, found.shape, type(found)) == (tensor.dtype, tensor.shape, torch.Tensor)
    assert torch.equal(found.to(torch.complex64), tensor.to(torch.complex64))


def test_tensors_that_are_one_stay_one():
    parameter = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    found = there_and_back([parameter, parameter, torch.ones(2)])
    assert found[0] is found[1]
    assert found[0] is not found[2]
    assert isinstance(found[0], torch.nn.Parameter)
    assert not found[0].requires_grad


def test_generators_and_columns_of_pandas_come_back():
    state = np.random.RandomState(3)
    state.normal()
    assert there_and_back(state).normal() == state.normal()
    for made in (pd.Index(["a", "b"]), pd.Series([1, 2])):
        found = there_and_back(made)
        assert type(found) is type(made)
        assert found.tolist() == made.tolist()


def test_sets_are_written_alike_in_every_process():
    """Their order differs from process to process, as the order of these differs in one."""
    values = [8, 0, 16, "a", "b", None, ("x", 2), 1.5, frozenset([1, 9]), date(2024, 1, 1)]
    orders = [values, values[::-1], values[3:] + values[:3]]
    # Those of integers that collide stand in the order in which they came.
    assert len({tuple(set(order[:3])) for order in ([0, 8, 16], [16, 8, 0])}) == 2
    assert len({json.dumps(Encoder(refuse).encode(set(order))) for order in orders}) == 1


def test_what_no_file_can_keep_is_refused():
    lock = threading.Lock()
    for value in (lock, [{"a": lock}], np.array([lock], object), torch.eye(2).to_sparse()):
        with pytest.raises(ValueError, match=r"an instance of|a tensor of"):
            there_and_back(value)
    with pytest.raises(ValueError, match=r"Got x=.* with a range of more than .*, but expected"):
        Encoder(None).encode_named("x", range(1 << 30))


def test_nothing_is_looked_up():
    found = Decoder({}).decode({"$": "name", "name": "os.system", "source": None})
    assert found == Foreign("name", "os.system", None)
    assert Decoder({}).decode({"$": "Os", "a": [1]}) == Record("Os", {"a": [1]})


BAD = [
    {"$": 3}, {"$": "nothing"}, {"$": "array", "at": "b"}, {"$": "array", "at": 3},
    {"$": "array", "at": "a", "dtype": "O", "shape": [1]},
    {"$": "array", "at": "a", "dtype": "V8", "shape": [1]},
    {"$": "array", "at": "a", "dtype": "<U1", "shape": [1 << 40]},
    {"$": "array", "at": "a", "dtype": "<U0", "shape": [1 << 40]},
    {"$": "array", "at": "a", "dtype": "<U1", "shape": [1]},  # no letters
    {"$": "array", "at": "a", "dtype": "<f8", "shape": [-1]},
    {"$": "objects", "dtype": "O", "shape": [1 << 40], "of": []},
    {"$": "objects", "dtype": "T", "shape": [1], "of": [3]},
    {"$": "objects", "dtype": "O", "shape": [1], "of": [{"$": "name", "name": "a",
    "source": None}]},
    {"$": "scalar", "dtype": "<f8", "hex": "00"}, {"$": "tensor", "at": "a", "dtype": "system"},
    {"$": "tensor", "at": "a", "dtype": "float32"},
    {"$": "tensor", "at": "a", "dtype": "bfloat16", "shape": [1 << 40]},
    {"$": "tensor", "at": "a", "dtype": "uint8", "parameter": True},
    {"$": "dict", "of": [[[], 1]]}, {"$": "dict", "of": [[1, 1], [1, 2]]}, {"$": "set", "of": [{}]},
    {"$": "fraction", "of": "1e999999999"}, {"$": "decimal", "of": "1" * 5000},
    {"$": "zone", "of": {"$": "zone", "key": "../../etc/passwd"}}, {"$": "torch type",
    "of": "system"},
    {"$": "pandas", "kind": "read_pickle"}, {"$": "pandas", "kind": "Timestamp", "of": 1,
    "unit": "x"},
    {"$": "range", "of": [0, 1 << 50, 1]},
    {"$": "name", "name": 3}, {"$": "name", "name": "a", "number": "b", "source": None},
]  # fmt: skip


@pytest.mark.parametrize("tree", BAD, ids=lambda tree: json.dumps(tree)[:60])
def test_wrong_trees_are_faults(tree):
    with pytest.raises(Fault):
        Decoder({"a": np.full(4, 255, np.uint8)}).decode(tree)


def test_nesting_has_an_end():
    tree = []
    for _ in range(DEEPEST + 1):
        tree = {"$": "tuple", "of": [tree]}
    with pytest.raises(Fault, match="nest deeper"):
        Decoder({}).decode(tree)
