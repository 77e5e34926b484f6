"""Networks made of the snapshots of one run: their mean, draws around it, statistics anew."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from skensemble._compat import BatchNorm
from skensemble._types import Batch, Floats, State

from .snapshots import named_tensors


def parameters_of(module: nn.Module) -> dict[str, str]:
    """Return the names of all parameters with numbers that can be averaged.

    Each has the first name of the same tensor: tied parameters have several.
    """
    first: dict[int, str] = {}
    found = {}
    for name, tensor in named_tensors(module):
        is_real = tensor.is_floating_point() or tensor.is_complex()
        if isinstance(tensor, nn.Parameter) and is_real:
            found[name] = first.setdefault(id(tensor), name)
    return found


def mean_state(states: Sequence[State], weights: Floats, module: nn.Module) -> State:
    """Return the weighted mean of the parameters; all other tensors are those of the last state.

    That is stochastic weight averaging ([1]_), with torch's ``AveragedModel`` as the example: its
    buffers are those of the last model too.

    Parameters
    ----------
    states : sequence of dict of Tensor
        Snapshots of one run of the module.
    weights : ndarray of float64
        One for each state, of sum 1.
    module : nn.Module
        Tells parameters from buffers.

    Returns
    -------
    state : dict of Tensor

    References
    ----------
    .. [1] P. Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization",
       UAI 2018.
    """
    names = parameters_of(module)
    made = State()
    for name, last in states[-1].items():
        if name not in names:
            made[name] = last.clone()
            continue
        total = torch.zeros_like(_wide(last))
        for state, weight in zip(states, weights.tolist(), strict=True):
            total.add_(_wide(state[name]), alpha=weight)
        made[name] = total.to(last.device, last.dtype)
    return made


def draw_state(
    states: Sequence[State], module: nn.Module, scale: float, generator: torch.Generator
) -> State:
    """Draw parameters from the normal distribution that snapshots of one run suggest ([1]_, eq. 1).

    It has their mean, and as covariance `scale` times the sum of the diagonal of their covariance
    and of its low-rank form, whose rank is the number of states. Other tensors are those of the
    last state. Numbers are drawn in float64 on the CPU: first one for each state, then those of
    each parameter.

    Parameters
    ----------
    states : sequence of dict of Tensor
        Two at least.
    module : nn.Module
        Tells parameters from buffers.
    scale : float
    generator : torch.Generator
        Of the CPU.

    Returns
    -------
    state : dict of Tensor

    References
    ----------
    .. [1] W. Maddox et al., "A Simple Baseline for Bayesian Uncertainty in Deep Learning", NeurIPS
       2019, section 3.2 and algorithm 1.
    """
    factors = torch.randn(len(states), dtype=torch.float64, generator=generator)
    factors /= math.sqrt(len(states) - 1)
    made, last = State(), states[-1]
    for name, first in parameters_of(module).items():
        if name != first:
            made[name] = made[first].clone()
            continue
        stack = torch.stack([_wide(state[name]) for state in states])
        mean = stack.mean(dim=0)
        apart = stack - mean
        own = torch.randn(mean.shape, dtype=torch.float64, generator=generator)
        spread = apart.abs().square().mean(dim=0).sqrt() * own
        shared = torch.tensordot(factors.to(apart.dtype), apart, dims=1)
        drawn = mean + math.sqrt(scale) * (spread + shared)
        made[name] = drawn.to(last[name].device, last[name].dtype)
    return {name: made[name] if name in made else tensor.clone() for name, tensor in last.items()}


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor in double precision on the CPU: not every device has it."""
    return tensor.cpu().to(torch.promote_types(tensor.dtype, torch.float64))


def has_statistics(module: nn.Module) -> bool:
    """Tell whether a module keeps statistics of batches, which hang on its parameters."""
    norms = [part for part in module.modules() if isinstance(part, BatchNorm)]
    return any(part.track_running_stats for part in norms)


class _Called(nn.Module):
    """A module that is called by a function, for what calls modules with one tensor."""

    def __init__(self, module: nn.Module, call: Callable[[Batch], Any]):
        super().__init__()
        self.module, self.call = module, call

    def forward(self, X: Batch) -> Any:
        """Return what the function makes of a batch."""
        return self.call(X)


def renew_statistics(
    module: nn.Module, batches: Iterable[Batch], call: Callable[[Batch], Any]
) -> None:
    """Compute the statistics of batch normalisation anew, as torch's ``update_bn`` does.

    The module is in training mode for it, dropout included; `call` calls it with a batch.
    """
    update_bn(batches, _Called(module, call))
