"""K copies of a module as one batched module."""

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.func import vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from .modules import Batch, Pullback, call_module, computes_members, first_output
from .snapshots import Place, State, named_tensors, places


class Chains(nn.Module):
    """Copies of one module that take a step together, each with parameters of its own.

    Parameters and buffers keep their names and get the chains as their first axis. A
    :class:`~skensemble._nets.modules.MemberModule` multiplies all chains at once; any other
    module goes through ``torch.func.vmap``.

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
        made: dict[int, torch.Tensor] = {}  # by identity, so that tied parameters stay one
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
        """Stacked parameters and buffers by name."""
        return {name: holder[key] for holder, key, name in self._places}

    @functools.cached_property
    def _places(self) -> list[Place]:
        return list(places(self.one))

    @functools.cached_property
    def _in_place(self) -> list[torch.Tensor]:
        return list(self.tensors.values())

    @functools.cached_property
    def _batched(self) -> Callable[..., torch.Tensor]:
        # Made once: making it anew takes a twentieth of a small step.
        return vmap(self._output, randomness="different")

    def each(self, X: Batch) -> torch.Tensor:
        """Return the output of each chain for a batch of its own, both along the first axis."""
        if computes_members(self.one):
            return self.one.forward_members(self.tensors, X, training=self.training)
        return self._batched(X, *self._in_place)

    def each_and_pullback(self, X: Batch) -> tuple[torch.Tensor, Pullback]:
        """Return the outputs in training, and what sets the gradients from those of the outputs.

        Every step of chains goes through here. Outputs and loss are differentiated apart, so that
        either may have a gradient written by hand.
        """
        if computes_members(self.one):
            return self.one.members_and_pullback(self.tensors, X)
        outputs = self.each(X)
        return outputs.detach(), outputs.backward

    def forward(self, X: Batch) -> torch.Tensor:
        """Return the mean of the chains' outputs for one batch."""
        return self.each(self.shared(X)).mean(dim=0)

    def of_chain(self, k: int, X: Batch) -> torch.Tensor:
        """Return the output of one chain."""
        return self._output(X, *(stack[k] for stack in self._in_place))

    def shared(self, X: Any) -> Any:
        """Hand the same batch to every chain."""
        if isinstance(X, dict):
            return {name: self.shared(part) for name, part in X.items()}
        return X.expand(self.n_chains, *X.shape)

    def single(self, k: int = 0) -> nn.Module:
        """Return a module of the given kind with copies of one chain's tensors."""
        memo: dict[int, Any] = {}
        for _, tensor in named_tensors(self):
            value = tensor[k].detach().clone()
            is_parameter = isinstance(tensor, nn.Parameter)
            memo[id(tensor)] = nn.Parameter(value, tensor.requires_grad) if is_parameter else value
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
            for (holder, key, _), tensor in zip(self._places, self._in_place, strict=True):
                holder[key] = tensor

    def __getattr__(self, name: str) -> Any:
        """Find parts of the one module, for callbacks that look at them."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "one":
                raise
            return getattr(self.one, name)

    # The names are those of the one module: parameter groups and callbacks look for them.

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
    """Compute attention by its single products: vmap has no rule for the fused kernels."""
    is_fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(is_fast)


def split_chains(state: State, n_chains: int) -> list[State]:
    """Split a state of :class:`Chains` into states of single modules, without copying."""
    return [{name: stack[k] for name, stack in state.items()} for k in range(n_chains)]
