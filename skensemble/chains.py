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
from .snapshots import State, named_tensors, places, stacked


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
        # As gradients come, lest they be copied.
        join = stacked if hasattr(self.one, "forward_members") else torch.stack
        made: dict[int, torch.Tensor] = {}  # tied parameters stay one
        for holder, key, name in list(places(self.one)):
            first = tensors[0][name]
            if id(first) not in made:
                stack = join([state[name].detach() for state in tensors])
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

    def each(self, X: Any) -> torch.Tensor:
        """Output of each chain for a batch of its own, both stacked along the first axis."""
        if hasattr(self.one, "forward_members"):
            forward: Any = self.one.forward_members
            return forward(self.tensors, X, training=self.training)
        return vmap(self._output, randomness="different")(X, *self._in_place)

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
        for name in ("tensors", "_places", "_in_place"):
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
    """Whether :class:`Chains` of such modules can train, and says what each of them says.

    Tried out on copies with a few rows: what ``torch.func`` cannot take, or takes by a loop and a
    warning, trains one chain after another.

    Parameters
    ----------
    modules : list of nn.Module
    X : Tensor or dict of Tensor
        A batch, on the modules' device.
    """
    if any(hasattr(module, "_orig_mod") for module in modules):
        return False
    modules = copy.deepcopy(modules[:2])
    try:
        with warnings.catch_warnings(), forked(_device_of(modules[0])), batchable_attention():
            warnings.simplefilter("error")
            expected = []
            for module in modules:
                with torch.no_grad():
                    expected.append(first_output(called(module.eval(), X)))
            chains = Chains(modules)
            chains.eval()
            with torch.no_grad():
                got = chains.each(chains.shared(X))
            chains.train()
            chains.each(chains.shared(X)).sum().backward()
    except Exception:  # whatever it is, the chains can go one by one
        return False
    return torch.allclose(got, torch.stack(expected), rtol=1e-4, atol=1e-5)


def _device_of(module: nn.Module) -> torch.device | None:
    return next((tensor.device for _, tensor in named_tensors(module)), None)
