"""K copies of a module as one batched module."""

import contextlib
import copy
import functools
import itertools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, Self

import torch
from torch import nn
from torch.func import vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from skensemble._types import Batch, State

from .modules import Pullback, call_module, computes_members, first_output
from .snapshots import Place, named_tensors, places


class Chains(nn.Module):
    """Copies of one module that take a step together, each with parameters of its own.

    Parameters and buffers keep their names and get the chains as their first axis. A
    :class:`~skensemble._nets.modules.MemberModule` multiplies all chains at once; any other
    module goes through ``torch.func.vmap``.

    The modules are of one kind and on one device. The first is taken over.
    """

    def __init__(self, modules: list[nn.Module]):
        super().__init__()
        self.n_chains = len(modules)
        self.one = modules[0]
        tensors = [dict(named_tensors(module)) for module in modules]
        stacks: dict[int, torch.Tensor] = {}  # by identity, so that tied parameters stay one
        for holder, key, name in list(places(self.one)):
            first = tensors[0][name]
            if id(first) not in stacks:
                stack = torch.stack([state[name].detach() for state in tensors])
                stacks[id(first)] = _as_kind_of(first, stack)
            holder[key] = stacks[id(first)]

    @functools.cached_property
    def tensors(self) -> State:
        """Stacked parameters and buffers by name."""
        return {name: holder[key] for holder, key, name in self._places}

    @functools.cached_property
    def _places(self) -> list[Place]:
        return list(places(self.one))

    @functools.cached_property
    def _batched(self) -> Callable[..., torch.Tensor]:
        # Made once: making it anew takes a twentieth of a small step.
        return vmap(self._output, randomness="different")

    def each(self, X: Batch) -> torch.Tensor:
        """Return the output of each chain for a batch of its own, both along the first axis."""
        if computes_members(self.one):
            return self.one.forward_members(self.tensors, X, training=self.training)
        return self._batched(X, *self.tensors.values())

    def each_and_pullback(self, X: Batch) -> tuple[torch.Tensor, Pullback]:
        """Return the outputs in training, and the function that takes their gradients back.

        Every step of chains goes through here. Outputs and loss are differentiated apart, so that
        either may have a gradient written by hand.
        """
        if computes_members(self.one):
            return self.one.members_and_pullback(self.tensors, X)
        outputs = self.each(X)
        return outputs.detach(), outputs.backward

    def attention(self) -> AbstractContextManager[None]:
        """Compute attention as this module needs it; the setting is that of all threads."""
        return contextlib.nullcontext() if computes_members(self.one) else batchable_attention()

    def forward(self, X: Batch) -> torch.Tensor:
        """Return the mean of the chains' outputs for one batch."""
        return self.each(self.shared(X)).mean(dim=0)

    def of_chain(self, k: int, X: Batch) -> torch.Tensor:
        """Return the output of one chain."""
        return self._output(X, *(stack[k] for stack in self.tensors.values()))

    def shared(self, X: Batch) -> Batch:
        """Hand the same batch to every chain."""
        if isinstance(X, dict):
            return {name: part.expand(self.n_chains, *part.shape) for name, part in X.items()}
        return X.expand(self.n_chains, *X.shape)

    def single(self, k: int = 0) -> nn.Module:
        """Return a module of the given kind with copies of one chain's tensors."""
        memo: dict[int, object] = {  # for deepcopy: what takes the place of each tensor
            id(tensor): _as_kind_of(tensor, tensor[k].detach().clone())
            for _, tensor in named_tensors(self)
        }
        return copy.deepcopy(self.one, memo)

    def _output(self, X: Batch, *tensors: torch.Tensor) -> torch.Tensor:
        """Return the module's output with these tensors in place of its own.

        ``torch.func.functional_call`` does the same, and takes a third of a small step.
        """
        for (holder, key, _), tensor in zip(self._places, tensors, strict=True):
            holder[key] = tensor
        try:
            return first_output(call_module(self.one, X))
        finally:
            for (holder, key, _), tensor in zip(self._places, self.tensors.values(), strict=True):
                holder[key] = tensor

    def __getattr__(self, name: str) -> Any:
        """Find parts of the one module, for callbacks that look at them."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "one":
                raise
            return getattr(self.one, name)

    # Parameter groups and callbacks look for the names of the one module, without "one." before.

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield the stacked parameters by name."""
        return self.one.named_parameters(*args, **kwargs)

    def named_buffers(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the stacked buffers by name."""
        return self.one.named_buffers(*args, **kwargs)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the stacked parameters and persistent buffers by name."""
        return self.one.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> object:
        """Load what :meth:`state_dict` returned."""
        self._forget()
        return self.one.load_state_dict(*args, **kwargs)

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        self._forget()  # buffers are replaced when they are moved
        return super()._apply(*args, **kwargs)

    def _forget(self) -> None:
        for name in ("tensors", "_places", "_batched"):
            self.__dict__.pop(name, None)

    def __deepcopy__(self, memo: dict[int, object]) -> "Chains":
        self._forget()
        made = object.__new__(type(self))
        memo[id(self)] = made
        made.__dict__ = copy.deepcopy(self.__dict__, memo)
        return made


def _as_kind_of(tensor: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """Make a parameter of `value` where `tensor` is one."""
    return nn.Parameter(value, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else value


@contextlib.contextmanager
def batchable_attention() -> Iterator[None]:
    """Compute attention by its single products: vmap has no rule for the fused kernels."""
    is_fast = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(is_fast)


def slices_of(n_chains: int, n_groups: int) -> list[slice]:
    """Return the chains of each group: neighbours, and as even as can be."""
    edges = [round(n_chains * k / n_groups) for k in range(n_groups + 1)]
    return [slice(*pair) for pair in itertools.pairwise(edges)]


def split_chains(state: State, n_chains: int) -> list[State]:
    """Split a state of :class:`Chains` into states of single modules, without copying."""
    return [{name: stack[k] for name, stack in state.items()} for k in range(n_chains)]


def join_chains(states: list[State]) -> State:
    """Stack states of single modules to one of :class:`Chains`."""
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}
