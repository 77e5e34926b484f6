"""What a value of a file may be."""

import numpy as np
import pytest
import torch

from skensemble._persistence import checks
from skensemble._persistence.checks import expect
from skensemble._persistence.container import Fault
from skensemble._persistence.tree import Foreign, Record

NAN, INF = np.nan, np.inf

#: A check, values that it takes, and values that it refuses.
CASES = [
    (checks.anything, [None, 1, object()], []),
    (checks.plain, [None, [1, {"a": (2,)}]], [Foreign("name", "a", None), [{1: Record("A", {})}]]),
    (checks.integer(0, 3), [0, 3, np.int64(2)], [-1, 4, 1.0, True, "1", None, np.bool_(True)]),
    (checks.real(0), [0, 1.5, np.float32(2)], [-0.1, NAN, INF, True, "1", None, 1j]),
    (checks.real(finite=False), [INF], [NAN]),
    (checks.boolean, [True], [1, None, np.bool_(True)]),
    (checks.text(), ["", "a"], [b"a", None, 1]),
    (checks.text("a", "b"), ["a"], ["c", ""]),
    (checks.torch_float, [torch.float64], [torch.int64, "float64", None]),
    (checks.maybe(checks.boolean), [None, True], [0]),
    (checks.either(checks.boolean, checks.text()), [True, "a"], [1, None]),
    (checks.list_of(checks.integer()), [[], [1]], [(1,), ["a"], None, 1]),
    (checks.tuple_of(checks.integer()), [(), (1,)], [[1], ("a",)]),
    (checks.pair(checks.integer(), checks.text()), [(1, "a")], [(1,), (1, 2), [1, "a"], None]),
    (checks.by_name(checks.integer()), [{}, {"a": 1}], [{1: 1}, {"a": "b"}, [], None]),
    (checks.floats(1, 0), [np.array([0.0])], [np.array([-1.0]), np.array([NAN]), np.array([1]), 1]),
    (checks.floats(2), [np.zeros((1, 1))], [np.zeros(1), np.full((1, 1), INF), np.float32([[1]])]),
    (checks.floats(1, 0, above=True), [np.array([5e-324])], [np.array([0.0])]),
    (checks.floats(1, nan=True), [np.array([NAN, 1])], [np.array([INF])]),
    (checks.integers(1, 0), [np.array([0])], [np.array([-1]), np.array([0.0]), np.int32([1]), [1]]),
    (checks.truths, [np.array([True])], [np.array([1]), [True]]),
    (checks.labels, [np.array(["a", 1], object)], [["a"], np.zeros((1, 1)), np.array("a")]),
    (checks.texts, [np.array(["a"], object), np.array(["a"])], [np.array([1]), np.array([["a"]])]),
    (checks.hashable, [1, "a", (1, 2)], [[1], {}, Foreign("name", "a", None)]),
    (checks.record("A", "B"), [Record("A", {})], [Record("C", {}), {}, None]),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_checks_take_and_refuse(case):
    check, good, bad = CASES[case]
    for value in good:
        check(value, "it")
    for value in bad:
        with pytest.raises(Fault, match=r"it|in it"):
            check(value, "it")


def test_expectations_are_faults():
    expect(True, "nothing")
    with pytest.raises(Fault, match="a lie"):
        expect(np.bool_(False), "a lie")
