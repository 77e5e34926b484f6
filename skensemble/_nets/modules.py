"""A user's module: what it is given, whether it fits the data, how it is reset and copied."""

import contextlib
import copy
import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeGuard, TypeVar

import torch
from torch import nn

from skensemble._compat import is_reparametrized
from skensemble._types import Batch, ModuleLike, Options, State

_T = TypeVar("_T")

#: Adds to the gradients of parameters what follows from the gradients of outputs.
Pullback = Callable[[torch.Tensor], None]


class MemberModule(Protocol):
    """A module that computes many networks of its kind at once, such as the built-in one.

    Any module with these two methods is taken for one. CONTRIBUTING says how to write them.
    `stacks` has the parameters and buffers by name, the networks along the first axis.
    """

    def forward_members(self, stacks: State, X: Batch, *, training: bool = False) -> torch.Tensor:
        """Return the outputs of all networks, (members, batch, n_outputs)."""

    def members_and_pullback(self, stacks: State, X: Batch) -> tuple[torch.Tensor, Pullback]:
        """Return the outputs in training, and the function that sets the gradients of `stacks`."""


def computes_members(module: object) -> TypeGuard[MemberModule]:
    """Tell whether a module is a :class:`MemberModule`."""
    return hasattr(module, "forward_members")


class PartlyBlindModule(MemberModule, Protocol):
    """One that also computes, in little more time, what its outputs are without some inputs."""

    def forward_without(
        self,
        stacks: State,
        X: torch.Tensor,
        parts: Sequence[torch.Tensor],
        values: torch.Tensor,
    ) -> Iterator[torch.Tensor]:
        """Yield the outputs, then those with each part of the inputs at `values`."""


def computes_without(module: object) -> TypeGuard[PartlyBlindModule]:
    """Tell whether a module is a :class:`PartlyBlindModule`."""
    return computes_members(module) and hasattr(module, "forward_without")


def constructor_of(module: ModuleLike) -> Callable[..., nn.Module]:
    """Return what makes a new module: the class or factory given, or the class of an instance."""
    return type(module) if isinstance(module, nn.Module) else module


def keyword_names(constructor: Callable[..., object]) -> set[str] | None:
    """Return the names of a callable's keyword arguments; None where it takes any."""
    try:
        parameters = inspect.signature(constructor).parameters.values()
    except (TypeError, ValueError):  # a builtin or a C extension tells no signature
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


#: Names that others give to what is called `n_inputs` and `n_outputs` here.
_OTHER_NAMES = {
    "n_inputs": (
        "in_features", "input_dim", "in_dim", "input_size", "in_size", "n_features", "num_features",
        "n_in", "d_in", "dim_in", "num_inputs", "in_channels", "n_input", "input_features",
    ),
    "n_outputs": (
        "out_features", "output_dim", "out_dim", "output_size", "out_size", "num_classes",
        "n_classes", "n_out", "d_out", "dim_out", "num_outputs", "num_labels", "n_labels",
        "out_channels", "n_output", "output_features",
    ),
}  # fmt: skip


def word_missing(module: ModuleLike, given: set[str]) -> str | None:
    """Word the error for a constructor that requires more than what it is given.

    None: it requires nothing more, or cannot be asked.
    """
    constructor = constructor_of(module)
    try:
        parameters = inspect.signature(constructor).parameters.values()
    except (TypeError, ValueError):
        return None
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    missing = [p.name for p in parameters if p.default is p.empty and p.kind in kinds]
    missing = [name for name in missing if name not in given]
    if not missing:
        return None
    renamed = [
        f"{other} to {name}" for name, others in _OTHER_NAMES.items() for other in missing
        if other in others
    ]  # fmt: skip
    rename = f"rename {' and '.join(renamed)}, which the data decide, or " if renamed else ""
    return (
        f"Got module={getattr(constructor, '__name__', repr(constructor))}, whose constructor "
        f"requires {' and '.join(missing)}, but expected a value for each: {rename}pass "
        f"{' and '.join(f'module__{name}=' for name in missing)}."
    )


def data_arguments(module: ModuleLike, given: set[str], sizes: Options) -> Options:
    """Select the sizes that a module's constructor names and the user did not set.

    An instance keeps the sizes it was made with, unless arguments are given to make it anew.
    """
    if isinstance(module, nn.Module) and not given:
        return {}
    names = keyword_names(constructor_of(module)) or set()
    return {name: size for name, size in sizes.items() if name in names - given}


def float_type(module: object) -> torch.dtype:
    """Return the type of a module's floats: that of its parameters, or torch's default."""
    if isinstance(module, nn.Module):
        for parameter in module.parameters():
            if parameter.is_floating_point() and not nn.parameter.is_lazy(parameter):
                return parameter.dtype
    return torch.get_default_dtype()


def call_module(module: nn.Module, X: Batch) -> Any:
    """Return a module's output for a batch; the parts of a dict are passed by name."""
    return module(**X) if isinstance(X, dict) else module(X)


def first_output(output: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Return a module's scores: as in skorch, the first output where there are several."""
    return output[0] if isinstance(output, tuple) else output


def is_lazy(module: nn.Module) -> bool:
    """Tell whether there are layers whose shape the first forward pass decides."""
    return any(map(nn.parameter.is_lazy, [*module.parameters(), *module.buffers()]))


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module in eval mode, and each part back in its own mode afterwards."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def check_scores(scores: torch.Tensor, name: str, n_samples: int, n_classes: int) -> None:
    """Refuse a classifier's module that does not return one raw score a class.

    Refuse probabilities too: their softmax is another, flatter distribution.
    """
    if getattr(scores, "shape", None) != (n_samples, n_classes):
        raise ValueError(
            f"Got module={name}, which returns {_shape_or_type(scores)} for {n_samples} rows, but "
            f"expected one raw score for each of {n_classes} classes: shape "
            f"{(n_samples, n_classes)}. {_word_remedy(scores, 'classes')}"
        )
    total = scores.sum(dim=1)
    if bool((scores >= 0).all()) and torch.allclose(total, torch.ones_like(total), atol=1e-4):
        raise ValueError(
            f"Got module={name}, which returns probabilities (every row sums to 1), but expected "
            "raw scores (logits): leave out the final softmax, the criterion applies it."
        )


def check_outputs(outputs: torch.Tensor, name: str, n_samples: int, n_outputs: int) -> None:
    """Refuse a regressor's module whose outputs would have to be broadcast to the targets."""
    shape = getattr(outputs, "shape", None)
    allowed = [(n_samples, n_outputs)] + ([(n_samples,)] if n_outputs == 1 else [])
    if shape not in allowed:
        raise ValueError(
            f"Got module={name}, which returns {_shape_or_type(outputs)} for {n_samples} rows, but "
            f"expected {' or '.join(map(str, allowed))}: one value for each of {n_outputs} "
            f"outputs. {_word_remedy(outputs, 'outputs')}"
        )


def _shape_or_type(outputs: object) -> str:
    shape = getattr(outputs, "shape", None)
    return f"a {type(outputs).__name__}" if shape is None else f"shape {tuple(shape)}"


def _word_remedy(outputs: object, what: str) -> str:
    if not isinstance(outputs, torch.Tensor):
        return "Its forward must return a tensor."
    return f"A constructor's parameter named n_outputs is given the number of {what}."


def reset_parameters(module: nn.Module) -> None:
    """Draw new parameters in place; refuse a module with a part that cannot."""
    check_can_reset(module)
    for part in module.modules():
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()


def check_can_reset(module: nn.Module, why: str = "restart='cold'") -> None:
    """Refuse a module with a part that cannot draw new parameters, as `why` needs it to."""
    for name, part in module.named_modules():
        has_own = next(part.parameters(recurse=False), None) is not None
        if has_own and not callable(getattr(part, "reset_parameters", None)):
            raise ValueError(
                f"Got {why} with a module whose part {name or type(part).__name__!r} has "
                "parameters but no reset_parameters(), but expected one to draw them anew: add "
                "it, or pass the module's class instead of an instance."
            )
        if is_reparametrized(part):
            raise ValueError(
                f"Got {why} with a module whose part {name or type(part).__name__!r} computes its "
                "weight from others, as weight_norm does, but expected one whose "
                "reset_parameters() draws all of them anew: pass the module's class instead of an "
                "instance."
            )


def copy_of(value: _T, replaced: Mapping[int, object] | None = None) -> _T:
    """Return a deep copy of a module, or of what holds some.

    `replaced` has, by the identity of a part, what takes its place. :func:`copy.deepcopy` refuses
    a tensor that was computed from parameters, such as the ``weight`` of
    ``torch.nn.utils.weight_norm``: it is detached, since the next forward pass computes it anew. It
    refuses locks, files and generators too: they are shared between the copies.
    """
    try:
        return copy.deepcopy(value, dict(replaced or {}))
    except Exception:  # whatever a part raises, the others can be copied
        return _copy_part(value, dict(replaced or {}))


def _copy_part(part: Any, memo: dict[int, Any]) -> Any:
    """Copy modules and containers part by part, the rest as deepcopy does where it can."""
    if id(part) in memo:
        return memo[id(part)]
    kind = type(part)
    if isinstance(part, torch.Tensor) and not part.is_leaf:
        memo[id(part)] = part.detach().clone()
    elif isinstance(part, nn.Module):
        memo[id(part)] = made = object.__new__(kind)
        made.__dict__.update({name: _copy_part(value, memo) for name, value in vars(part).items()})
    elif kind in (dict, OrderedDict):
        memo[id(part)] = made = kind()
        made.update((_copy_part(key, memo), _copy_part(part[key], memo)) for key in part)
    elif kind is list:
        memo[id(part)] = made = []
        made += [_copy_part(value, memo) for value in part]
    elif kind is tuple:
        memo[id(part)] = tuple(_copy_part(value, memo) for value in part)
    else:
        memo[id(part)] = _copy_or_share(part, memo)
    return memo[id(part)]


def _copy_or_share(part: Any, memo: dict[int, Any]) -> Any:
    """Copy as deepcopy does, or return the part itself."""
    # Deepcopy notes half of what it was at when it fails: only a whole copy is believed.
    own = dict(memo)
    try:
        made = copy.deepcopy(part, own)
    except Exception:
        return part
    # Deepcopy keeps alive what it has seen, under the memo's own identity.
    memo.setdefault(id(memo), []).extend(own.pop(id(own), []))
    memo.update(own)
    return made
