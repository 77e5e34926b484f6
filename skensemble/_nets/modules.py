"""A user's module: what it is given, whether it fits the data, and fresh parameters."""

import contextlib
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn


def constructor_of(module: Any) -> Any:
    """What makes a new module: the class or factory given, or an instance's class."""
    return type(module) if isinstance(module, nn.Module) else module


def takes(constructor: Any) -> set[str] | None:
    """Names of the keyword arguments that a callable takes; None where it takes any."""
    try:
        parameters = inspect.signature(constructor).parameters.values()
    except (TypeError, ValueError):  # a builtin or a C extension tells no signature
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def data_arguments(module: Any, given: set[str], sizes: dict[str, Any]) -> dict[str, Any]:
    """Those of the sizes that a module's constructor names and the user did not set.

    An instance keeps the sizes it was made with, unless arguments are given to make it anew.
    """
    if isinstance(module, nn.Module) and not given:
        return {}
    names = takes(constructor_of(module)) or set()
    return {name: size for name, size in sizes.items() if name in names - given}


def float_type(module: Any) -> torch.dtype:
    """Type of the floats that a module takes: its parameters', or torch's default to come."""
    if isinstance(module, nn.Module):
        lazy = nn.parameter.UninitializedParameter
        for parameter in module.parameters():
            if parameter.is_floating_point() and not isinstance(parameter, lazy):
                return parameter.dtype
    return torch.get_default_dtype()


def called(module: nn.Module, X: Any) -> Any:
    """A module's output for a batch, whose parts are passed by name where it is a dict."""
    return module(**X) if isinstance(X, dict) else module(X)


def first_output(out: Any) -> Any:
    """A module's scores; the first output where there are several, as in skorch."""
    return out[0] if isinstance(out, tuple) else out


def is_lazy(module: nn.Module) -> bool:
    """Whether there are layers whose shape the first forward pass decides."""
    lazy = (nn.parameter.UninitializedParameter, nn.parameter.UninitializedBuffer)
    return any(isinstance(t, lazy) for t in [*module.parameters(), *module.buffers()])


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module in eval mode, each part back in its own mode after."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def check_scores(scores: Any, name: str, n_samples: int, n_classes: int) -> None:
    """Refuse a classifier's module that does not return one raw score a class.

    Raises
    ------
    ValueError
        If the shape is wrong, or if each row is a set of probabilities: the softmax of
        probabilities is another, flatter distribution.
    """
    shape = tuple(getattr(scores, "shape", ()))
    if shape != (n_samples, n_classes):
        raise ValueError(
            f"Got module={name}, which returns shape {shape} for {n_samples} rows, but expected "
            f"one raw score for each of {n_classes} classes: shape {(n_samples, n_classes)}. "
            "A constructor's parameter named n_outputs is given the number of classes."
        )
    total = scores.sum(dim=1)
    if bool((scores >= 0).all()) and torch.allclose(total, torch.ones_like(total), atol=1e-4):
        raise ValueError(
            f"Got module={name}, which returns probabilities (every row sums to 1), but expected "
            "raw scores (logits): leave out the final softmax, the criterion applies it."
        )


def check_outputs(outputs: Any, name: str, n_samples: int, n_outputs: int) -> None:
    """Refuse a regressor's module whose outputs would have to be broadcast to the targets."""
    shape = tuple(getattr(outputs, "shape", ()))
    allowed = [(n_samples, n_outputs)] + ([(n_samples,)] if n_outputs == 1 else [])
    if shape not in allowed:
        raise ValueError(
            f"Got module={name}, which returns shape {shape} for {n_samples} rows, but expected "
            f"{' or '.join(map(str, allowed))}: one value for each of {n_outputs} outputs. "
            "A constructor's parameter named n_outputs is given the number of outputs."
        )


def reset_parameters(module: nn.Module) -> None:
    """Draw new parameters in place.

    Raises
    ------
    ValueError
        If a part has parameters but no ``reset_parameters``.
    """
    check_can_reset(module)
    for part in module.modules():
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()


def check_can_reset(module: nn.Module, why: str = "restart='cold'") -> None:
    """Refuse a module that cannot draw new parameters, as `why` needs it to.

    Raises
    ------
    ValueError
        With the part that has parameters but no ``reset_parameters``.
    """
    for name, part in module.named_modules():
        has_own = next(part.parameters(recurse=False), None) is not None
        if has_own and not callable(getattr(part, "reset_parameters", None)):
            raise ValueError(
                f"Got {why} with a module whose part {name or type(part).__name__!r} has "
                "parameters but no reset_parameters(), but expected one to draw them anew: add "
                "it, or pass the module's class instead of an instance."
            )
