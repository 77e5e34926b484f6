"""What torch does too, written out where its way costs too much.

A batch of a table is so small that calls, autograd's bookkeeping and new memory cost more than the
arithmetic. Everything written for speed alone stands in this file. The table names the plain
spelling of each and the gain: the time of the plain spelling divided by that of ours, for eight
chains of 54-128-128-7 with a batch of 128 on one core (``python -m benchmarks by_hand``).

======================== ============================================== ====
here                     plain spelling                                 gain
======================== ============================================== ====
mish_and_slope           ``nn.functional.mish`` with autograd           2.8
mish                     ``nn.functional.mish``                         2.7
unit_masks               ``nn.functional.dropout`` of ones              4.6
perceptrons, pull_back   ``TableNetwork.forward`` with autograd         1.7
gradient_by_hand         ``nn.CrossEntropyLoss`` with autograd          3.6
bare_step                ``torch.optim.AdamW.step``, fused              1.2
shorten_sequences        ``nn.Sequential.forward``                      1.03
======================== ============================================== ====

``tests/test_by_hand.py`` holds each pair together, and ``tests/test_networks.py`` the perceptrons.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from skensemble._compat import add_one, fused_adam, is_hooked, tensor_holders, unwrapped_step
from skensemble._types import Options

from .generators import drawing_from
from .losses import NO_IGNORED_CLASS

LossAndGradient = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]

#: Shares of dropped units above this one leave so few that their number must be drawn finely.
COARSE_DROPOUT = 63 / 64

#: Activations without parameters, and what overwrites their input.
_IN_PLACE: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.ReLU: torch.relu_,
    nn.SiLU: functools.partial(nn.functional.silu, inplace=True),
    nn.Mish: functools.partial(nn.functional.mish, inplace=True),
    nn.Tanh: torch.tanh_,
    nn.Sigmoid: torch.sigmoid_,
}


class Kept(NamedTuple):
    """What the backward pass needs of the forward pass."""

    #: Of each layer.
    inputs: list[Tensor]
    #: Of the activations between the layers.
    slopes: list[Tensor]
    #: Of the first weights, and the part of it that is no parameter.
    factor: Tensor
    constant: Tensor | float


def perceptrons(
    X: Tensor, parameters: Sequence[Tensor], constant: Tensor | float, dropout: float
) -> tuple[Tensor, Kept]:
    """Compute the outputs of many perceptrons, and what their gradients need.

    `X` is of shape (members, batch, n_inputs). `parameters` are the factors of the inputs, then
    weight and bias of each layer, members first; `constant`, a float or of shape (members,
    n_inputs), multiplies the factors. `dropout` is the share of hidden units to be dropped.

    Passes over memory are few: what stands between the products costs more than they do.
    """
    scale, *parameters = parameters
    weights, biases = parameters[::2], parameters[1::2]
    inputs, slopes = [X], []
    masks: Sequence[Tensor | None] = [None] * len(weights)
    if dropout > 0 and len(weights) > 1:
        masks = unit_masks(X, [bias.shape[1] for bias in biases[:-1]], dropout)
    factor = (scale * constant).unsqueeze(1)
    # The weights are scaled and not the rows: there are fewer of them than of all batches' rows.
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


def pull_back(kept: Kept, parameters: Sequence[Tensor], gradient: Tensor) -> None:
    """Add to the parameters' gradients what follows from the gradient of the outputs."""
    scale, *parameters = parameters
    g = gradient  # of the layer's outputs, from the last layer to the first
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
            else:  # the weights that met the inputs were multiplied by scale * constant
                _accumulate(scale, (of_weight * weight).sum(dim=1).mul_(kept.constant))
                of_weight *= kept.factor
            _accumulate(weight, of_weight)


def _accumulate(parameter: Tensor, gradient: Tensor) -> None:
    if parameter.requires_grad:  # a callback may have frozen it
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def mish_and_slope(h: Tensor) -> Tensor:
    """Overwrite `h` with ``h * tanh(softplus(h))``, and return the derivative.

    One exponential is enough: with ``e = exp(h)`` and ``n = e + e ** 2 / 2``, the hyperbolic
    tangent is ``n / (n + 1)``, and the derivative adds ``h * e * (e + 1) / (n + 1) ** 2`` to it.
    Most operations are in place, since new memory takes the time.
    """
    clamped = h.clamp(max=20)  # beyond 20 the tangent is 1, and the exponential may overflow
    e = clamped.exp()
    n = torch.addcmul(e, e, e, value=0.5)
    inverse = (n + 1).reciprocal_()
    slope = e.addcmul_(e, e).mul_(inverse).mul_(inverse).mul_(clamped)
    tangent = n.mul_(inverse)
    h *= tangent
    return slope.add_(tangent)


def mish(h: Tensor) -> Tensor:
    """Overwrite `h` with ``h * tanh(softplus(h))``; see :func:`mish_and_slope`."""
    h.clamp_(min=-40)  # below, it is 0, and squares are no normal numbers, which take their time
    e = h.clamp(max=20).exp_()
    n = e.addcmul_(e, e, value=0.5)
    return h.mul_(n.div_(n + 1))


def unit_masks(X: Tensor, units: list[int], dropout: float) -> list[Tensor]:
    """Draw the factors of dropout for each layer: 0, or 1 divided by the share that is kept.

    Four units share one random number of 64 bits: drawing is what dropout costs. Where hardly any
    is kept, 16 bits each would be too coarse.
    """
    n_rows = X.shape[0] * X.shape[1]
    sizes = [n_rows * n_units for n_units in units]
    own, device = drawing_from(X.device), X.device
    if dropout > COARSE_DROPOUT:
        draws = torch.rand(sum(sizes), dtype=torch.float64, device=device, generator=own)
        mask = (draws >= dropout).to(X.dtype).mul_(1 / (1 - dropout))
        return _as_masks(mask, X, sizes, units)
    n_draws = -(-sum(sizes) // 4)
    bits = torch.empty(n_draws, dtype=torch.int64, device=device)
    bits.random_(-(2**63), None, generator=own)
    mask = torch.empty(4 * n_draws, dtype=X.dtype, device=device)
    # Each 16 bits are an integer that lies below the bound with the probability `dropout`.
    torch.ge(bits.view(torch.int16), round(dropout * 2**16) - 2**15, out=mask)
    return _as_masks(mask.mul_(1 / (1 - dropout))[: sum(sizes)], X, sizes, units)


def _as_masks(mask: Tensor, X: Tensor, sizes: list[int], units: list[int]) -> list[Tensor]:
    """Cut a mask of all layers into those of each."""
    parts = mask.split(sizes)
    return [part.view(*X.shape[:2], n) for part, n in zip(parts, units, strict=True)]


def gradient_by_hand(criterion: nn.Module) -> LossAndGradient | None:
    """Return the function for loss and gradient of all chains, for the losses of most fits."""
    if type(criterion) is nn.MSELoss and criterion.reduction == "mean":
        return _differentiate_mse
    if (
        type(criterion) is nn.CrossEntropyLoss
        and criterion.reduction == "mean"
        and criterion.weight is None
        and criterion.label_smoothing == 0
        and criterion.ignore_index == NO_IGNORED_CLASS
    ):
        return _differentiate_cross_entropy
    if (
        type(criterion) is nn.BCEWithLogitsLoss
        and criterion.reduction == "mean"
        and criterion.weight is None
        and criterion.pos_weight is None
    ):
        return _differentiate_bce
    return None


def _differentiate_mse(y_pred: Tensor, y_true: Tensor) -> tuple[Tensor, Tensor]:
    error = y_pred - y_true
    share = len(y_pred) / y_pred.numel()
    return error.square().sum() * share, error.mul_(2 * share)


def _differentiate_cross_entropy(y_pred: Tensor, y_true: Tensor) -> tuple[Tensor, Tensor]:
    # Across the classes and not along them: along so short an axis a softmax is slow.
    log_p = torch.log_softmax(y_pred.flatten(0, 1).T.contiguous(), dim=0)
    true = y_true.flatten()[None]
    share = 1 / y_true.shape[1]
    loss = log_p.gather(0, true).sum() * -share
    gradient = log_p.exp_().mul_(share)
    gradient.scatter_add_(0, true, gradient.new_full((), -share).expand_as(true))
    return loss, gradient.T.contiguous().view_as(y_pred)


def _differentiate_bce(y_pred: Tensor, y_true: Tensor) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        loss = nn.functional.binary_cross_entropy_with_logits(y_pred, y_true) * len(y_pred)
        error = torch.sigmoid(y_pred).sub_(y_true)
        return loss, error.mul_(len(y_pred)).div_(y_pred.numel())


def bare_step(optimizer: torch.optim.Optimizer) -> Callable[[], object]:
    """Return the optimizer's step without torch's wrappers for its profiler and for hooks.

    Return the step as it is where hooks are set, for this optimizer or for all, where it is to be
    differentiated, or where it has been replaced, as torch's learning rate schedulers do.
    """
    bare = unwrapped_step(optimizer)
    differs = any(group.get("differentiable") for group in optimizer.param_groups)
    if bare is None or differs or "step" in vars(optimizer):
        return optimizer.step

    def step() -> None:
        with torch.no_grad():
            bare(optimizer)

    kernel = fused_adam(optimizer)
    return step if kernel is None else _adam_step(optimizer, kernel, step)


class _Group(NamedTuple):
    """A group of parameters, and what Adam knows of each."""

    options: Options
    parameters: list[Tensor]
    means: list[Tensor]
    squares: list[Tensor]
    steps: list[Tensor]


def _adam_step(
    optimizer: torch.optim.Optimizer, kernel: Callable[..., None], step: Callable[[], None]
) -> Callable[[], None]:
    """Return a step of Adam that looks up its state once; the first is torch's, which makes it.

    A parameter that is frozen has no gradient, and may have no state.
    """
    known: list[_Group] = []

    def quick_step() -> None:
        gradients = [[p.grad for p in group.parameters] for group in known]
        if not known or any(gradient is None for own in gradients for gradient in own):
            step()
            known[:] = _groups_of(optimizer)
            return
        with torch.no_grad():
            for group, own in zip(known, gradients, strict=True):
                options = group.options
                beta1, beta2 = options["betas"]
                settings = {name: options[name] for name in ("lr", "eps", "weight_decay")}
                add_one(group.steps)
                kernel(
                    *(group.parameters, own, group.means, group.squares, [], group.steps),
                    **settings,
                    beta1=beta1,
                    beta2=beta2,
                    maximize=options["maximize"],
                    amsgrad=False,
                    grad_scale=None,
                    found_inf=None,
                )

    return quick_step


def _groups_of(optimizer: torch.optim.Optimizer) -> list[_Group]:
    """Return the groups of parameters; none where one of them has no state."""
    groups = []
    for options in optimizer.param_groups:
        states = [optimizer.state[p] for p in options["params"]]
        if not all(states):
            return []
        means, squares, steps = (
            [state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step")
        )
        groups.append(_Group(options, options["params"], means, squares, steps))
    return groups


def shorten_sequences(module: nn.Module) -> None:
    """Let the plain sequences of a module call their layers without detours.

    The module must be our own copy, and serve inference alone.
    """
    for part in module.modules():
        if type(part).forward is nn.Sequential.forward and "forward" not in vars(part):
            part.forward = functools.partial(_call_in_turn, list(_plain_calls(part)))  # type: ignore[arg-type]


def _plain_calls(layers: Iterable[nn.Module]) -> Iterator[Callable[[Tensor], Tensor]]:
    """Yield the calls of ``nn.Sequential``, the plainest layers without ``nn.Module.__call__``.

    An activation overwrites what a linear layer hands it: nobody else reads that, and a second
    array costs a tenth of a prediction.
    """
    is_fresh = False
    for layer in layers:
        is_plain = not is_hooked(layer)
        if is_plain and is_fresh and type(layer) in _IN_PLACE:
            yield _IN_PLACE[type(layer)]
        elif is_plain and type(layer) is nn.Linear:
            # The layer's own dict, into which inference puts one member after the other.
            yield functools.partial(_apply_linear, tensor_holders(layer)[0])
        else:
            yield layer
        is_fresh = is_plain and type(layer) is nn.Linear


def _apply_linear(parameters: dict[str, Tensor], X: Tensor) -> Tensor:
    return nn.functional.linear(X, parameters["weight"], parameters["bias"])


def _call_in_turn(calls: list[Callable[[Tensor], Tensor]], X: Tensor) -> Tensor:
    for call in calls:
        X = call(X)
    return X
