"""Which modules and optimizers serve all chains at once."""

import copy
import warnings

import torch
from torch import nn

from skensemble._compat import Dropout, is_compiled
from skensemble._types import Batch
from skensemble._warnings import own_filters

from .chains import Chains, batchable_attention
from .generators import forked
from .modules import call_module, computes_members, first_output
from .snapshots import named_tensors

#: Optimizers that treat each number of a parameter by itself, so that a step on stacked parameters
#: is a step on each of them.
BY_ELEMENTS = (
    torch.optim.SGD,
    torch.optim.ASGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.Adamax,
    torch.optim.NAdam,
    torch.optim.RAdam,
    torch.optim.Adagrad,
    torch.optim.Adadelta,
    torch.optim.RMSprop,
    torch.optim.Rprop,
)


def can_train_as_one(modules: list[nn.Module], X: Batch) -> bool:
    """Tell whether :class:`Chains` of these modules train as each of them does by itself.

    Copies are tried on the few rows `X`, which lie on the modules' device. ``torch.func`` refuses
    some modules, takes others in a loop with a warning, and computes something else for a few; all
    of these train chain by chain.
    """
    if computes_members(modules[0]):
        return True
    if any(map(is_compiled, modules)):
        return False
    # vmap heeds a padding row in the first chain alone.
    if any(getattr(part, "padding_idx", None) is not None for part in modules[0].modules()):
        return False
    device = next((tensor.device for _, tensor in named_tensors(modules[0])), None)
    try:
        with own_filters(), forked(device), batchable_attention():
            warnings.simplefilter("error")
            alone, together = _without_dropout(modules[:2]), _without_dropout(modules[:2])
            chains = Chains(together)
            for training in (False, True):
                for module in (*alone, chains):
                    module.train(training)
                if training and _is_random(alone[0], X):
                    chains.each(chains.shared(X)).sum().backward()  # only that it works
                elif not _are_alike(alone, chains, X):
                    return False
            chains.single()
    except Exception:  # whatever vmap or deepcopy refuses, the chains can train one by one
        return False
    return True


def _without_dropout(modules: list[nn.Module]) -> list[nn.Module]:
    """Copy modules without their dropout: random masks would leave nothing to compare."""
    modules = copy.deepcopy(modules)
    for module in modules:
        for part in module.modules():
            if isinstance(part, Dropout):
                part.p = 0.0
    return modules


def _is_random(module: nn.Module, X: Batch) -> bool:
    """Tell whether a module's output differs from call to call, as with dropout."""
    # Two copies, since a call may change buffers on which the next one depends.
    one, other = copy.deepcopy(module), copy.deepcopy(module)
    with torch.no_grad():
        return not torch.equal(*(first_output(call_module(made, X)) for made in (one, other)))


def _are_alike(modules: list[nn.Module], chains: Chains, X: Batch) -> bool:
    """Tell whether outputs, gradients and buffers are those of each module alone."""
    expected = torch.stack([first_output(call_module(module, X)) for module in modules])
    got = chains.each(chains.shared(X))
    pairs = [(got.detach(), expected.detach())]
    for outputs in (got, expected):
        outputs.square().sum().backward()
    for name, stack in named_tensors(chains):
        own = [dict(named_tensors(module))[name] for module in modules]
        if not isinstance(stack, nn.Parameter):
            pairs.append((stack, torch.stack(own)))
            continue
        gradients = [part.grad for part in own if part.grad is not None]
        if (stack.grad is None) != (own[0].grad is None):
            return False
        if stack.grad is not None:
            pairs.append((stack.grad, torch.stack(gradients)))
    return all(
        torch.allclose(one, other, rtol=1e-3, atol=1e-5 * (1 + float(other.abs().max())))
        for one, other in pairs
        if one.is_floating_point()
    )
