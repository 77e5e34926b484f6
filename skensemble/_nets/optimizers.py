"""What is known of torch's optimizers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

#: Optimizers that treat each number of a parameter by itself.
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

#: Optimizers with a step that is one call for all parameters (torch >= 2.4).
FUSABLE = (torch.optim.Adagrad, torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)


def needs_no_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a step after the backward pass is the same as one with a closure around it.

    So it is for torch's own optimizers but LBFGS; of another's one cannot know.
    """
    ours = type(optimizer).__module__.startswith("torch.optim.")
    return ours and not isinstance(optimizer, torch.optim.LBFGS)


def bare_step(optimizer: torch.optim.Optimizer) -> Callable[[], Any]:
    """The optimizer's step without what torch wraps around it for its profiler and for hooks.

    Where hooks are set, or where torch wraps it otherwise, the step as it is.
    """
    bare: Any = type(optimizer).step
    while hasattr(bare, "__wrapped__"):
        bare = bare.__wrapped__
    hooks = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")
    is_hooked = any(getattr(optimizer, name, True) for name in hooks)
    differs = any(group.get("differentiable") for group in optimizer.param_groups)
    if is_hooked or differs or "step" in vars(optimizer):
        return optimizer.step

    def step() -> None:
        with torch.no_grad():
            bare(optimizer)

    return step


def can_fuse(module: nn.Module, parameters: list[torch.Tensor]) -> bool:
    """Whether torch's fused step takes such parameters; it takes no sparse gradients."""
    if any(getattr(part, "sparse", False) for part in module.modules()):
        return False
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
