"""Modules from files are tried before anything hangs on them: their sizes, and on rows of zeros."""

import functools
import inspect
import itertools
import math
from typing import Any

import numpy as np
import torch
from skorch.utils import to_device
from torch import nn
from torch.nn.modules.lazy import LazyModuleMixin

from skensemble._nets.inference import first_view, member_outputs
from skensemble._nets.modules import constructor_of
from skensemble._nets.snapshots import named_tensors
from skensemble._training.making import N_PROBE_ROWS, Recipe
from skensemble._training.state import noting_nothing
from skensemble._types import Batch, Options, Views
from skensemble._warnings import short
from skensemble.fitted import Fitted, Intake
from skensemble.networks import TableNetwork

from .container import Fault
from .foreign import is_free
from .stored import Stack

#: Numbers in the rows of zeros: of larger rows there is one. A row has no more than the second.
_MANY, _MOST = 1 << 20, 1 << 26


def try_sizes(recipe: Recipe, stacks: dict[str, Stack]) -> None:
    """Refuse sizes that do not lead to the tensors of the snapshots, before they take memory."""
    made = recipe.arguments()
    given = {k.removeprefix("module__"): v for k, v in made.items() if k.startswith("module__")}
    if isinstance(made["module"], nn.Module) and not given:
        return  # it is copied
    constructor = constructor_of(made["module"])
    inner: Any = constructor.func if isinstance(constructor, functools.partial) else constructor
    if not is_free(inner):
        return
    n_numbers = sum(math.prod(stack.shape) for stack in stacks.values())
    if inner is TableNetwork:
        _count_units(given, n_numbers, len(stacks))
        return
    if any(isinstance(value, int) and abs(value) > n_numbers for value in given.values()):
        raise Fault(f"arguments of a module that are larger than its tensors: {short(given)}")
    if issubclass(inner, LazyModuleMixin):
        return  # its tensors are made by rows
    names = inspect.signature(constructor).parameters
    with torch.device("meta"):
        probe = constructor(**{name: value for name, value in given.items() if name in names})
    check_tensors(probe, stacks)


def _count_units(given: Options, n_numbers: int, n_tensors: int) -> None:
    """Refuse units of the built-in network that have more weights than there are."""
    units = [given["n_inputs"], *given.get("hidden", (128, 128)), given["n_outputs"]]
    are_sizes = all(isinstance(n, int | np.integer) and n >= 0 for n in units)
    n_weights = sum(int(n) * int(m) for n, m in itertools.pairwise(units)) if are_sizes else 0
    if not are_sizes or n_weights > n_numbers or len(units) > n_tensors:
        raise Fault(f"hidden={short(given.get('hidden'))} for tensors of other sizes")


def check_tensors(module: nn.Module, stacks: dict[str, Stack]) -> None:
    """Refuse a module whose tensors are not those of the snapshots."""
    if odd := odd_tensors(module, stacks):
        raise Fault(f"other tensors than the module has: {short(odd)}")


def odd_tensors(module: nn.Module, stacks: dict[str, Stack]) -> list[str]:
    """Return the names of the tensors that differ from those of the snapshots in kind."""
    found = {name: (t.dtype, tuple(t.shape)) for name, t in named_tensors(module)}
    told = {name: (s.dtype, s.shape) for name, s in stacks.items()}
    return sorted(name for name in {*found, *told} if found.get(name) != told.get(name))


def zeros_for(intake: Intake, views: Views | None = None) -> Batch:
    """Return rows as the module takes them, in the first of several views."""
    if intake.encoder is not None:
        return torch.zeros(N_PROBE_ROWS, intake.encoder.n_outputs_, dtype=intake.dtype)
    n_numbers = _count_numbers(intake.row_shape)
    if n_numbers > _MOST:
        raise Fault(f"rows of {n_numbers} numbers")
    n = N_PROBE_ROWS if n_numbers * N_PROBE_ROWS <= _MANY else 1
    return first_view(views, _zeros_of(n, intake.row_shape, intake.kinds, intake.dtype))


def _count_numbers(shape: Any) -> int:
    if isinstance(shape, dict):
        return sum(map(_count_numbers, shape.values()))
    return math.prod(shape)


def _zeros_of(n: int, shape: Any, kinds: Any, dtype: torch.dtype) -> Any:
    if isinstance(shape, dict):
        return {
            name: _zeros_of(n, part, kinds[name] if isinstance(kinds, dict) else kinds, dtype)
            for name, part in shape.items()
        }
    types = {"whole": torch.int64, "truth": torch.bool}
    return torch.zeros(n, *shape, dtype=types.get(kinds, dtype))


def runs_on_zeros(fitted: Fitted) -> bool:
    """Tell whether a module takes rows of zeros: one of the user's may refuse them."""
    alone = fitted.nets[0].of_one_chain()
    try:
        with noting_nothing(alone.module_):  # it may count its calls
            zeros = zeros_for(fitted.intake, fitted.views)
            alone.probe(to_device(zeros, alone.device))
    except Exception:  # whatever a module of the user's raises
        return False
    return True


def try_out(fitted: Fitted) -> None:
    """Refuse members that cannot predict, by rows of zeros."""
    net, k = fitted.nets[0], fitted.targets.n_outputs
    members = np.flatnonzero(fitted.member_weights)
    device = torch.device(net.device or "cpu")
    zeros = zeros_for(fitted.intake, fitted.views)
    n = len(next(iter(zeros.values())) if isinstance(zeros, dict) else zeros)
    rows = to_device(zeros, device)
    with noting_nothing(net.module_):
        outputs = next(member_outputs(net, fitted.snapshots.to(device), members, [rows]))
    shape = (len(members), n)
    is_flat = k == 1 and fitted.targets.default_criterion is nn.MSELoss
    if outputs.shape != (*shape, k) and not (is_flat and outputs.shape == shape):
        raise Fault(f"a module of {tuple(outputs.shape[2:])} outputs, where {k} are to be")
    fitted.targets.values(outputs.cpu())
