"""Where code comes from."""

import collections
import importlib
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Mlp

from skensemble._nets.origins import is_of_library, origin_of, package_of


@pytest.mark.parametrize("value", [np.mean, torch.nn.Linear, pd.DataFrame, collections.deque, len])
def test_code_of_packages_is_of_a_library(value):
    assert is_of_library(value)


@pytest.mark.parametrize("value", [Mlp, Mlp.forward, sys.modules[__name__]])
def test_code_of_ones_own_is_not(value):
    assert not is_of_library(value)


def test_the_script_has_one_name_in_all_processes():
    for name in ("__main__", "__mp_main__"):
        made = type("Made", (), {"__module__": name})
        assert package_of(made) == "__main__"
        assert not is_of_library(made)


def test_a_module_of_ones_own_is_told_by_its_source(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    origins = []
    for text in ("def rule(x): return x", "def rule(x): return -x", "def rule(x): return x"):
        (tmp_path / "rules_of_mine.py").write_text(text)
        sys.modules.pop("rules_of_mine", None)
        origins.append(origin_of(importlib.import_module("rules_of_mine").rule))
    monkeypatch.delitem(sys.modules, "rules_of_mine")
    assert origins[0] == origins[2] != origins[1]


def test_known_packages_are_told_by_the_versions_of_a_fit():
    assert origin_of(torch.nn.Linear) == origin_of(np.mean) == ""
    assert origin_of(pytest.raises).startswith(pytest.__version__)
