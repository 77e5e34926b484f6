"""What the user's objects note as they run."""

import copy
import random
from collections import deque

import numpy as np
import pytest
import torch

from skensemble._training.notes import copied, load_optimizer, put_back, take_notes


class Part:
    def __init__(self, count=0):
        self.count = count


class Owner:
    def __init__(self, start=0):
        self.count, self.rate, self.name = start, 0.5 * start, "a" * start
        self.values, self.by_name, self.last = [start], {"x": start}, deque([start])
        self.array, self.tensor = np.full(3, start), torch.full((2,), float(start))
        self.numpy = np.random.default_rng(start)
        self.python, self.torch = random.Random(start), torch.Generator().manual_seed(start)
        self.part, self.shared = Part(start), self.values


def drawn(owner):
    return [
        owner.numpy.random(),
        owner.python.random(),
        float(torch.rand((), generator=owner.torch)),
    ]


def test_what_was_noted_is_put_back_in_place():
    owner, other = Owner(3), Owner(0)
    notes, strays = take_notes(owner)
    assert strays == []
    kept = copy.deepcopy(notes)
    owner.values.append(9)  # notes are copies
    there = other.values
    put_back(other, kept)
    assert (other.count, other.rate, other.name, other.part.count) == (3, 1.5, "aaa", 3)
    assert other.values == [3]
    assert other.values is there is other.shared
    assert (other.by_name, other.last) == ({"x": 3}, deque([3]))
    assert other.array.tolist() == [3, 3, 3]
    assert other.tensor.tolist() == [3, 3]
    assert drawn(other) == drawn(Owner(3))


def test_what_no_file_can_keep_is_named():
    owner = Owner()
    owner.file = iter([])
    assert take_notes(owner)[1] == ["file of type list_iterator"]
    assert take_notes(owner, without={"file"})[1] == []


def test_data_that_was_given_is_left_out_of_short_notes():
    notes, _ = take_notes(Owner(2), is_short=True)
    assert notes["values"] == {"count": 2, "rate": 1.0, "name": "aa"}


def test_objects_that_refer_to_each_other_come_to_an_end():
    owner = Owner()
    owner.part.owner = owner
    notes, _ = take_notes(owner)
    put_back(owner, notes)
    assert owner.part.owner is owner


@pytest.mark.parametrize("kind", ["SGD", "AdamW", "RMSprop", "LBFGS"])
def test_an_optimizer_goes_on_where_another_stood(kind):
    def made():
        torch.manual_seed(0)
        numbers = torch.randn(3, 4)  # LBFGS takes no transposed ones
        weight = torch.nn.Parameter(numbers if kind == "LBFGS" else numbers.mT)
        options = {"momentum": 0.9} if kind == "SGD" else {}
        return weight, getattr(torch.optim, kind)([weight], lr=0.1, **options)

    def step(weight, optimizer):
        def closure():
            optimizer.zero_grad()
            loss = weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)

    (one, first), (two, second) = made(), made()
    for _ in range(3):
        step(one, first)
    with torch.no_grad():
        two.copy_(one)
    load_optimizer(second, copied(first.state_dict()))
    for tensors in second.state.values():
        for value in tensors.values():
            if torch.is_tensor(value) and value.shape == two.shape:
                assert value.stride() == two.stride()
    for pair in ((one, first), (two, second)):
        step(*pair)
    assert torch.equal(one, two)
