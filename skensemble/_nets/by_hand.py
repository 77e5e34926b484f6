"""What torch does too, written out where its way costs too much.

A batch of a table is so small that calls, autograd's bookkeeping and new memory cost more than the
arithmetic. Everything written for speed alone stands in this file, beside its plain spelling, the
test that holds the two together, and its gain: time of the plain spelling divided by that of ours,
eight chains of 54-128-128-7 with a batch of 128 on one core (``python -m benchmarks by_hand``).

======================== =============================================== ====================
here                     plain spelling, and the test of equality        gain
======================== =============================================== ====================
mish_and_slope           ``nn.functional.mish`` and its derivative by    see `benchmarks`
                         autograd; tests/test_by_hand.py
unit_masks               ``nn.functional.dropout`` of ones;              see `benchmarks`
                         tests/test_by_hand.py
perceptrons, pull_back   ``TableNetwork.forward`` under autograd;        see `benchmarks`
                         tests/test_chains.py
gradient_by_hand         ``nn.MSELoss``, ``nn.CrossEntropyLoss`` under   see `benchmarks`
                         autograd; tests/test_by_hand.py
bare_step                ``optimizer.step``; tests/test_by_hand.py       see `benchmarks`
shorten_sequences        ``nn.Sequential.forward``; tests/test_by_hand   see `benchmarks`
======================== =============================================== ====================
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from skensemble._compat import is_hooked, tensor_holders, unwrapped_step

from .losses import NO_IGNORED_CLASS

# ------------------------------------------------------------ the built-in network's chains


class Kept(NamedTuple):
    """What the backward pass needs of the forward pass."""

    #: Of each layer.
    inputs: list[torch.Tensor]
    #: Between the layers.
    slopes: list[torch.Tensor]
    #: What the first weights are multiplied with, and how much of it is no parameter.
    factor: torch.Tensor
    constant: torch.Tensor | float


def perceptrons(
    X: torch.Tensor,
    parameters: Sequence[torch.Tensor],
    constant: torch.Tensor | float,
    dropout: float,
) -> tuple[torch.Tensor, Kept]:
    """Compute the outputs of many perceptrons, and what their gradients need.

    In few passes over memory: what stands between the products costs more than they do.

    Parameters
    ----------
    X : Tensor of shape (members, batch, n_inputs)
    parameters : sequence of Tensor
        The factors of the inputs, then weight and bias of each layer, members first.
    constant : Tensor of shape (members, n_inputs) or float
        What the factors are multiplied with.
    dropout : float
        Share of hidden units to be dropped.
    """
    scale, *parameters = parameters
    weights, biases = parameters[::2], parameters[1::2]
    inputs, slopes = [X], []
    masks: Sequence[torch.Tensor | None] = [None] * len(weights)
    if dropout > 0 and len(weights) > 1:
        masks = unit_masks(X, [bias.shape[1] for bias in biases[:-1]], dropout)
    factor = (scale * constant).unsqueeze(1)
    # The weights are scaled here and not the rows: there are fewer of them than of all batches.
    h = torch.baddbmm(biases[0].unsqueeze(1), X, (weights[0] * factor).mT)
    for weight, bias, mask in zip(weights[1:], biases[1:], masks, strict=False):
        slope = mish_and_slope(h)
        if mask is not None:
            h *= mask
            slope *= mask
        inputs.append(h)
        slopes.append(slope)
        h = torch.baddbmm(bias.unsqueeze(1), h, weight.mT)
    return h, Kept(inputs, slopes, factor, constant)


def pull_back(kept: Kept, parameters: Sequence[torch.Tensor], gradient: torch.Tensor) -> None:
    """Add to the parameters' gradients what follows from the gradient of the outputs."""
    scale, *parameters = parameters
    g = gradient
    with torch.no_grad():
        for i in reversed(range(len(kept.inputs))):
            weight, bias = parameters[2 * i : 2 * i + 2]
            # This order gives gradients contiguous as the weights are. The fused optimizer
            # copies all others.
            of_weight = torch.bmm(g.mT, kept.inputs[i])
            _accumulate(bias, g.sum(dim=1))
            if i:
                g = torch.bmm(g, weight)
                g *= kept.slopes[i - 1]
            else:
                _accumulate(scale, (of_weight * weight).sum(dim=1).mul_(kept.constant))
                of_weight *= kept.factor
            _accumulate(weight, of_weight)


def _accumulate(parameter: torch.Tensor, gradient: torch.Tensor) -> None:
    if parameter.requires_grad:  # a callback may have frozen it
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def mish_and_slope(h: torch.Tensor) -> torch.Tensor:
    """Overwrite `h` with ``h * tanh(softplus(h))``, and return the derivative.

    One exponential is enough: with ``n = exp(h) * (exp(h) + 2)``, the hyperbolic tangent is
    ``n / (n + 2)``. Most operations are in place, since new memory takes the time.
    """
    clamped = h.clamp(max=20)  # beyond 20 the tangent is 1, and the exponential may overflow
    e = clamped.exp()
    tangent = (e + 2).mul_(e)
    inverse = (tangent + 2).reciprocal_()
    tangent *= inverse
    h *= tangent
    # e * (e + 1), squared out
    slope = e.add_(0.5).square_().sub_(0.25).mul_(inverse).mul_(inverse).mul_(clamped)
    return slope.mul_(4).add_(tangent)


def unit_masks(X: torch.Tensor, units: list[int], dropout: float) -> list[torch.Tensor]:
    """Draw what dropout multiplies each layer with: 0, or 1 divided by the share that is kept.

    Four units share one random number of 64 bits: drawing is what dropout costs.
    """
    n_rows = X.shape[0] * X.shape[1]
    sizes = [n_rows * n for n in units]
    n = -(-sum(sizes) // 4)
    bits = torch.empty(n, dtype=torch.int64, device=X.device).random_(-(2**63), None)
    mask = torch.empty(4 * n, dtype=X.dtype, device=X.device)
    torch.ge(bits.view(torch.int16), round(dropout * 2**16) - 2**15, out=mask)
    parts = mask.mul_(1 / (1 - dropout))[: sum(sizes)].split(sizes)
    return [part.view(*X.shape[:2], n) for part, n in zip(parts, units, strict=True)]


# ------------------------------------------------------------------------ gradients of losses

LossAndGradient = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


def gradient_by_hand(criterion: nn.Module) -> LossAndGradient | None:
    """Find the summed loss of all chains with its gradient, for the two losses of most fits."""
    if type(criterion) is nn.MSELoss and criterion.reduction == "mean":
        return _squared_error
    if (
        type(criterion) is nn.CrossEntropyLoss
        and criterion.reduction == "mean"
        and criterion.weight is None
        and criterion.label_smoothing == 0
        and criterion.ignore_index == NO_IGNORED_CLASS
    ):
        return _cross_entropy
    return None


def _squared_error(y_pred: torch.Tensor, y_true: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    error = y_pred - y_true
    share = len(y_pred) / y_pred.numel()
    return error.square().sum() * share, error.mul_(2 * share)


def _cross_entropy(y_pred: torch.Tensor, y_true: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    # Across the classes and not along them: along so short an axis a softmax is slow.
    log_p = torch.log_softmax(y_pred.flatten(0, 1).T.contiguous(), dim=0)
    true = y_true.flatten()[None]
    share = 1 / y_true.shape[1]
    loss = log_p.gather(0, true).sum() * -share
    gradient = log_p.exp_().mul_(share)
    gradient.scatter_add_(0, true, gradient.new_full((), -share).expand_as(true))
    return loss, gradient.T.contiguous().view_as(y_pred)


# ---------------------------------------------------------------------------- optimizer steps


def bare_step(optimizer: torch.optim.Optimizer) -> Callable[[], Any]:
    """Return the optimizer's step without torch's wrappers for its profiler and for hooks.

    Where hooks are set, for this optimizer or for all, or where torch wraps the step otherwise,
    return the step as it is.
    """
    bare = unwrapped_step(optimizer)
    differs = any(group.get("differentiable") for group in optimizer.param_groups)
    if bare is None or differs or "step" in vars(optimizer):
        return optimizer.step

    def step() -> None:
        with torch.no_grad():
            bare(optimizer)

    return step


# ---------------------------------------------------------------------------------- inference

#: Activations without parameters, and what overwrites their input.
_IN_PLACE: dict[type[nn.Module], Callable[[torch.Tensor], torch.Tensor]] = {
    nn.ReLU: torch.relu_,
    nn.SiLU: functools.partial(nn.functional.silu, inplace=True),
    nn.Mish: functools.partial(nn.functional.mish, inplace=True),
    nn.Tanh: torch.tanh_,
    nn.Sigmoid: torch.sigmoid_,
}


def shorten_sequences(module: nn.Module) -> None:
    """Let the plain sequences of a module call their layers without detours.

    The module must be our own copy, and serve inference alone.
    """
    for part in module.modules():
        if type(part).forward is nn.Sequential.forward and "forward" not in vars(part):
            part.forward = functools.partial(_in_turn, list(_calls(part)))  # type: ignore[arg-type]


def _calls(layers: Iterable[nn.Module]) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
    """Yield what ``nn.Sequential`` calls, the plainest layers without ``nn.Module.__call__``.

    An activation overwrites what a linear layer hands it: nobody else reads that, and a second
    array costs a tenth of a prediction.
    """
    is_fresh = False
    for layer in layers:
        is_plain = not is_hooked(layer)
        if is_plain and is_fresh and type(layer) in _IN_PLACE:
            yield _IN_PLACE[type(layer)]
        elif is_plain and type(layer) is nn.Linear:
            yield functools.partial(_linear, tensor_holders(layer)[0])
        else:
            yield layer
        is_fresh = is_plain and type(layer) is nn.Linear


def _linear(parameters: dict[str, torch.Tensor], X: torch.Tensor) -> torch.Tensor:
    return nn.functional.linear(X, parameters["weight"], parameters["bias"])


def _in_turn(calls: list[Callable[[torch.Tensor], torch.Tensor]], X: torch.Tensor) -> torch.Tensor:
    for call in calls:
        X = call(X)
    return X
