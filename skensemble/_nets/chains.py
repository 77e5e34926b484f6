"""K copies of a module as one batched module."""

import contextlib
import copy
import functools
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.func import vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from .generators import forked
from .modules import called, first_output
from .snapshots import State, named_tensors, places


class Chains(nn.Module):
    """Copies of one module that take a step together, each with parameters of its own.

    Parameters and buffers keep their names and get the chains as their first axis. A module that
    has ``forward_members`` multiplies all chains at once; any other goes through
    ``torch.func.vmap``.

    Parameters
    ----------
    modules : list of nn.Module
        Of one kind, on one device. The first is taken over.
    """

    def __init__(self, modules: list[nn.Module]):
        super().__init__()
        self.n_chains = len(modules)
        self.one = modules[0]
        tensors = [dict(named_tensors(module)) for module in modules]
        made: dict[int, torch.Tensor] = {}  # tied parameters stay one
        for holder, key, name in list(places(self.one)):
            first = tensors[0][name]
            if id(first) not in made:
                stack = torch.stack([state[name].detach() for state in tensors])
                is_parameter = isinstance(first, nn.Parameter)
                made[id(first)] = (
                    nn.Parameter(stack, first.requires_grad) if is_parameter else stack
                )
            holder[key] = made[id(first)]

    @functools.cached_property
    def tensors(self) -> State:
        """The stacked parameters and buffers by name."""
        return {name: holder[key] for holder, key, name in self._places}

    @functools.cached_property
    def _places(self) -> list[tuple[dict[str, Any], str, str]]:
        return list(places(self.one))

    @functools.cached_property
    def _in_place(self) -> list[torch.Tensor]:
        return list(self.tensors.values())

    @functools.cached_property
    def _batched(self) -> Callable[..., torch.Tensor]:
        # Made once: making it anew takes a twentieth of a small step.
        return vmap(self._output, randomness="different")

    def each(self, X: Any) -> torch.Tensor:
        """Output of each chain for a batch of its own, both stacked along the first axis."""
        if hasattr(self.one, "forward_members"):
            forward: Any = self.one.forward_members
            return forward(self.tensors, X, training=self.training)
        return self._batched(X, *self._in_place)

    def each_and_pullback(self, X: Any) -> tuple[torch.Tensor, Callable[[torch.Tensor], None]]:
        """Outputs in training, and what sets the gradients from those of the outputs."""
        pullback: Any = self.one.members_and_pullback
        return pullback(self.tensors, X)

    def forward(self, X: Any) -> torch.Tensor:
        """Mean of the chains' outputs for one batch."""
        return self.each(self.shared(X)).mean(dim=0)

    def of_chain(self, k: int, X: Any) -> torch.Tensor:
        """Output of one chain."""
        return self._output(X, *(stack[k] for stack in self._in_place))

    def shared(self, X: Any) -> Any:
        """One batch as that of every chain."""
        if isinstance(X, dict):
            return {name: self.shared(part) for name, part in X.items()}
        return X.expand(self.n_chains, *X.shape)

    def single(self, k: int = 0) -> nn.Module:
        """A module of the kind that was given, with copies of one chain's tensors."""
        memo: dict[int, Any] = {}
        for _, tensor in named_tensors(self):
            value = tensor[k].detach().clone()
            is_parameter = isinstance(tensor, nn.Parameter)
            memo[id(tensor)] = nn.Parameter(value, tensor.requires_grad) if is_parameter else value
        return copy.deepcopy(self.one, memo)

    def _output(self, X: Any, *tensors: torch.Tensor) -> torch.Tensor:
        """Output of the one module with these tensors in place of its own for the moment.

        By hand: ``torch.func.functional_call`` takes a third of a small step.
        """
        for (holder, key, _), tensor in zip(self._places, tensors, strict=True):
            holder[key] = tensor
        try:
            return first_output(called(self.one, X))
        finally:
            for (holder, key, _), tensor in zip(self._places, self._in_place, strict=True):
                holder[key] = tensor

    def __getattr__(self, name: str) -> Any:
        """Parts of the one module, for callbacks that look at them."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "one":
                raise
            return getattr(self.one, name)

    # Names are those of the one module, so that parameter groups and callbacks find them.

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        return self.one.named_parameters(*args, **kwargs)

    def named_buffers(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, torch.Tensor]]:
        return self.one.named_buffers(*args, **kwargs)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.one.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        self._forget()
        return self.one.load_state_dict(*args, **kwargs)

    def _apply(self, *args: Any, **kwargs: Any) -> Any:
        self._forget()  # buffers are replaced when they are moved
        return super()._apply(*args, **kwargs)

    def _forget(self) -> None:
        for name in ("tensors", "_places", "_in_place", "_batched"):
            self.__dict__.pop(name, None)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Chains":
        self._forget()
        made = object.__new__(type(self))
        memo[id(self)] = made
        made.__dict__ = copy.deepcopy(self.__dict__, memo)
        return made


@contextlib.contextmanager
def batchable_attention() -> Iterator[None]:
    """Attention by the products that it is made of: vmap has no rule for its fused kernels."""
    is_fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(is_fast)


def split(state: State, n_chains: int) -> list[State]:
    """A state of :class:`Chains` as states of single modules, without copying."""
    return [{name: stack[k] for name, stack in state.items()} for k in range(n_chains)]


def can_train_as_one(modules: list[nn.Module], X: Any) -> bool:
    """Whether :class:`Chains` of such modules train as each of them does by itself.

    Tried out on copies with a few rows: what ``torch.func`` cannot take, or takes by a loop and a
    warning, or takes for something else, trains one chain after another.

    Parameters
    ----------
    modules : list of nn.Module
    X : Tensor or dict of Tensor
        A batch, on the modules' device.
    """
    if hasattr(modules[0], "forward_members"):
        return True
    if any(hasattr(module, "_orig_mod") for module in modules):
        return False
    # vmap heeds a padding row in the first chain alone.
    if any(getattr(part, "padding_idx", None) is not None for part in modules[0].modules()):
        return False
    modules = copy.deepcopy(modules[:2])
    for module in modules:
        for part in module.modules():
            if isinstance(part, nn.modules.dropout._DropoutNd):
                part.p = 0.0  # so that there is something to compare
    alone, together = copy.deepcopy(modules), copy.deepcopy(modules)
    try:
        with warnings.catch_warnings(), forked(_device_of(modules[0])), batchable_attention():
            warnings.simplefilter("error")
            chains = Chains(together)
            for training in (False, True):
                for module in (*alone, chains):
                    module.train(training)
                if training and _is_random(alone[0], X):
                    chains.each(chains.shared(X)).sum().backward()  # at least it can be done
                elif not _are_alike(alone, chains, X):
                    return False
            chains.single()
    except Exception:  # whatever it is, the chains can go one by one
        return False
    return True


def _is_random(module: nn.Module, X: Any) -> bool:
    """Whether a module says something else each time, as with dropout."""
    module = copy.deepcopy(module)
    other = copy.deepcopy(module)
    with torch.no_grad():
        return not torch.equal(called(module, X), called(other, X))


def _are_alike(modules: list[nn.Module], chains: Chains, X: Any) -> bool:
    """Whether outputs, gradients and buffers are those of each module alone."""
    outputs = [called(module, X) for module in modules]
    got = chains.each(chains.shared(X))
    pairs = [(got, torch.stack(outputs))]
    for loss in (got.square().sum(), torch.stack(outputs).square().sum()):
        loss.backward()
    for name, stack in named_tensors(chains):
        own = [dict(named_tensors(module))[name] for module in modules]
        if isinstance(stack, nn.Parameter):
            if (stack.grad is None) != (own[0].grad is None):
                return False
            gradients = [part.grad for part in own if part.grad is not None]
            if stack.grad is not None:
                pairs.append((stack.grad, torch.stack(gradients)))
        else:
            pairs.append((stack, torch.stack(own)))
    return all(
        torch.allclose(one, other, rtol=1e-3, atol=1e-5 * (1 + float(other.abs().max())))
        for one, other in ((got.detach(), expected.detach()) for got, expected in pairs)
        if one.is_floating_point()
    )


def _device_of(module: nn.Module) -> torch.device | None:
    return next((tensor.device for _, tensor in named_tensors(module)), None)
