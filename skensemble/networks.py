"""The built-in network for tables."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

#: How much faster than a weight the factor of a column moves, under an optimizer whose steps do not
#: depend on the gradient's size.
_FASTER = 6.0


class Dense(nn.Linear):
    """A linear layer whose weights start with a variance of one divided by the number of inputs.

    So outputs start with the variance of the inputs ([1]_, section 4.6), where torch's own start
    has a third of it; biases start as torch's do.

    References
    ----------
    .. [1] Y. LeCun, L. Bottou, G. B. Orr and K.-R. Müller, "Efficient BackProp", in Neural
       Networks: Tricks of the Trade, 1998.
    """

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        super().reset_parameters()
        nn.init.normal_(self.weight, std=max(1, self.in_features) ** -0.5)


class ScaledLinear(Dense):
    """A linear layer after a factor for each input, which is learned with it.

    With it the network finds out soon which columns count: a factor moves the weights of all units
    at once. It starts at 1, and is kept divided by 6, so that it learns six times as fast as the
    weights do ([1]_, section 3).

    In training, columns may be dropped as dropout does with units ([2]_), each with all of its
    inputs: so no prediction hangs on one of them. They are drawn once a batch, which is as good as
    once a row here, and costs next to nothing.

    Parameters
    ----------
    n_inputs, n_units : int
    dtype : torch.dtype, default=torch.float32
        Type of the parameters.
    columns : array-like of int of shape (n_inputs,), default=None
        The column that each input is made of, counted from 0. None: each is one.
    dropout : float, default=0.0
        Probability with which a column is dropped, below 1.

    References
    ----------
    .. [1] D. Holzmüller, L. Grinsztajn and I. Steinwart, "Better by Default: Strong Pre-Tuned
       MLPs and Boosted Trees on Tabular Data", NeurIPS 2024.
    .. [2] N. Srivastava, G. Hinton, A. Krizhevsky, I. Sutskever and R. Salakhutdinov, "Dropout:
       A Simple Way to Prevent Neural Networks from Overfitting", JMLR 15, 2014, section 10.

    Examples
    --------
    >>> import torch
    >>> from skensemble.networks import ScaledLinear
    >>> ScaledLinear(4, 8)(torch.zeros(2, 4)).shape
    torch.Size([2, 8])
    """

    #: The column of each input, where columns are dropped.
    columns: torch.Tensor

    def __init__(
        self,
        n_inputs: int,
        n_units: int,
        dtype: torch.dtype = torch.float32,
        columns: Any = None,
        dropout: float = 0.0,
    ):
        if not 0 <= dropout < 1:
            raise ValueError(f"Got column_dropout={dropout}, but expected from 0 to below 1.")
        super().__init__(n_inputs, n_units, dtype=dtype)
        self.scale = nn.Parameter(torch.full((n_inputs,), 1 / _FASTER, dtype=dtype))
        self.dropout = dropout
        if dropout > 0:
            columns = np.arange(n_inputs) if columns is None else np.asarray(columns)
            own = torch.tensor(columns, dtype=torch.int64)
            self.register_buffer("columns", own, persistent=False)
            self.n_columns = int(columns.max(initial=-1)) + 1

    def reset_parameters(self) -> None:
        """Draw the parameters anew, and set the factors to 1."""
        super().reset_parameters()
        if hasattr(self, "scale"):  # the parent's constructor calls this before
            nn.init.constant_(self.scale, 1 / _FASTER)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Outputs of a batch of rows."""
        factor = self.scale * _FASTER
        if self.training and self.dropout > 0:
            factor = factor * self.drawn(self.columns)
        return nn.functional.linear(X, self.weight * factor, self.bias)

    def drawn(self, columns: torch.Tensor) -> torch.Tensor:
        """What dropout multiplies the inputs with, for each layer whose columns are given."""
        shape = (*columns.shape[:-1], self.n_columns)
        # Of float32 whatever torch's default type is: each type draws other numbers.
        is_kept = torch.rand(shape, dtype=torch.float32, device=columns.device) >= self.dropout
        mask = is_kept.to(self.scale.dtype).div_(1 - self.dropout)
        return mask.gather(-1, columns)


class TableNetwork(nn.Module):
    """A multi-layer perceptron for centred and scaled columns, with a learned factor for each.

    Parameters
    ----------
    n_inputs : int
        Number of columns.
    n_outputs : int
        Number of raw scores (classes) or of regression outputs.
    hidden : sequence of int, default=(128, 128)
        Units of each hidden layer.
    dropout : float, default=0.0
        Probability with which a hidden unit is dropped in training.
    dtype : torch.dtype, default=torch.float32
        Type of the parameters.
    columns : array-like of int of shape (n_inputs,), default=None
        See :class:`ScaledLinear`.
    column_dropout : float, default=0.0
        Probability with which a column is dropped in training, for a whole batch. Below 1.

    Notes
    -----
    **Shape**: ``(batch, n_inputs)`` to ``(batch, n_outputs)``.

    Examples
    --------
    >>> import torch
    >>> from skensemble.networks import TableNetwork
    >>> TableNetwork(4, 3, hidden=(8,))(torch.zeros(2, 4)).shape
    torch.Size([2, 3])
    """

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        hidden: Sequence[int] = (128, 128),
        dropout: float = 0.0,
        dtype: torch.dtype = torch.float32,
        columns: Any = None,
        column_dropout: float = 0.0,
    ):
        super().__init__()
        units = [*tuple(hidden), n_outputs]
        layers: list[nn.Module] = [ScaledLinear(n_inputs, units[0], dtype, columns, column_dropout)]
        for before, after in itertools.pairwise(units):
            layers += [nn.Mish(), nn.Dropout(dropout), Dense(before, after, dtype=dtype)]
        self.layers = nn.Sequential(*layers)
        self._dropout = dropout
        linear = [name for name, part in self.named_modules() if isinstance(part, Dense)]
        parts = [name + part for name in linear for part in (".weight", ".bias")]
        self._names = [f"{linear[0]}.scale", *parts]

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Raw scores or outputs of a batch of rows."""
        return self.layers(X)

    def forward_members(
        self, stacks: dict[str, torch.Tensor], X: torch.Tensor, *, training: bool = False
    ) -> torch.Tensor:
        """Outputs of many such networks, one batched product a layer.

        Parameters
        ----------
        stacks : dict of Tensor
            This network's parameters by name, those of all members along the first axis.
        X : Tensor of shape (batch, n_inputs) or (members, batch, n_inputs)
            The same rows for all members, or some for each.
        training : bool, default=False
            Whether hidden units are dropped, whatever the module's own mode.

        Returns
        -------
        outputs : Tensor of shape (members, batch, n_outputs)
        """
        parameters = self._parameters_of(stacks)
        h = X.expand(len(parameters[0]), -1, -1)
        if torch.is_grad_enabled():
            dropped = self._drawn(stacks) if training else None
            return _Members.apply(h, self._dropout if training else 0.0, dropped, *parameters)
        scale, *parameters = parameters
        # The rows and not the weights: that costs little for many rows, and nothing for one.
        h = h * scale.unsqueeze(1)
        weight, bias, *parameters = parameters
        h = torch.baddbmm(bias.unsqueeze(1), h, weight.mT, alpha=_FASTER)
        for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
            h = nn.functional.mish(h, inplace=True)
            h = torch.baddbmm(bias.unsqueeze(1), h, weight.mT)
        return h

    def members_and_pullback(
        self, stacks: dict[str, torch.Tensor], X: torch.Tensor
    ) -> tuple[torch.Tensor, Callable[[torch.Tensor], None]]:
        """Outputs in training, and what sets the parameters' gradients from those of the outputs.

        Without autograd, whose bookkeeping costs as much as the products of a small batch.
        """
        parameters = self._parameters_of(stacks)
        with torch.no_grad():
            outputs, kept = _outputs(X, self._dropout, self._drawn(stacks), parameters)
        return outputs, functools.partial(_pull, kept, parameters)

    def _drawn(self, stacks: dict[str, torch.Tensor]) -> torch.Tensor | None:
        """What dropout multiplies the inputs of each network with; None: nothing."""
        first: Any = self.layers[0]
        return first.drawn(stacks["layers.0.columns"]) if first.dropout > 0 else None

    def _parameters_of(self, stacks: dict[str, torch.Tensor]) -> list[torch.Tensor]:
        """The factors of the inputs, and weight and bias of each layer in turn."""
        return [stacks[name] for name in self._names]


class _Members(torch.autograd.Function):
    """The same for autograd."""

    @staticmethod
    def forward(
        ctx: Any, X: torch.Tensor, dropout: float, dropped: Any, *parameters: torch.Tensor
    ) -> Any:
        outputs, ctx.kept = _outputs(X, dropout, dropped, parameters)
        ctx.parameters = parameters
        return outputs

    @staticmethod
    def backward(ctx: Any, *outputs: torch.Tensor) -> Any:
        _pull(ctx.kept, ctx.parameters, outputs[0])
        return None, None, None, *[None] * len(ctx.parameters)


class Kept(NamedTuple):
    """What the way back needs of the way forth."""

    #: Of each layer.
    inputs: list[torch.Tensor]
    #: Between the layers.
    slopes: list[torch.Tensor]
    #: What the first weights are multiplied with, and how much of it is no parameter.
    factor: torch.Tensor
    constant: Any


def _outputs(
    X: torch.Tensor,
    dropout: float,
    dropped: torch.Tensor | None,
    parameters: Sequence[torch.Tensor],
) -> tuple[torch.Tensor, Kept]:
    """Many perceptrons' outputs, and their layers' inputs and slopes, in few passes over memory.

    A batch is so small that what stands between the products costs more than they do, and torch's
    own Mish and dropout cost ten times what is written here.
    """
    scale, *parameters = parameters
    weights, biases = parameters[::2], parameters[1::2]
    inputs, slopes = [X], []
    masks: Any = [None] * len(weights)
    if dropout > 0 and len(weights) > 1:
        masks = _masks(X, [bias.shape[1] for bias in biases[:-1]], dropout)
    constant = _FASTER if dropped is None else dropped * _FASTER
    factor = (scale * constant).unsqueeze(1)
    h = torch.baddbmm(biases[0].unsqueeze(1), X, (weights[0] * factor).mT)
    for weight, bias, mask in zip(weights[1:], biases[1:], masks, strict=False):
        slope = _mish_(h)
        if mask is not None:
            h *= mask
            slope *= mask
        inputs.append(h)
        slopes.append(slope)
        h = torch.baddbmm(bias.unsqueeze(1), h, weight.mT)
    return h, Kept(inputs, slopes, factor, constant)


def _pull(kept: Kept, parameters: Sequence[torch.Tensor], g: torch.Tensor) -> None:
    """Add to the parameters' gradients what the outputs' gradients make of them."""
    scale, *parameters = parameters
    with torch.no_grad():
        for i in reversed(range(len(kept.inputs))):
            weight, bias = parameters[2 * i : 2 * i + 2]
            # Contiguous as the weights are: the fused optimizer copies all that is not.
            gradient = torch.bmm(g.mT, kept.inputs[i])
            _accumulate(bias, g.sum(dim=1))
            if i:
                g = torch.bmm(g, weight)
                g *= kept.slopes[i - 1]
            else:
                _accumulate(scale, (gradient * weight).sum(dim=1).mul_(kept.constant))
                gradient *= kept.factor
            _accumulate(weight, gradient)


def _accumulate(parameter: torch.Tensor, gradient: torch.Tensor) -> None:
    if parameter.requires_grad:
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def _mish_(h: torch.Tensor) -> torch.Tensor:
    """Overwrite `h` with ``h * tanh(softplus(h))``, and return the derivative.

    With one exponential: where ``n = exp(h) * (exp(h) + 2)``, the hyperbolic tangent is
    ``n / (n + 2)``. In place as far as it goes, since new memory is what takes the time.
    """
    clamped = h.clamp(max=20)  # beyond that the tangent is 1
    e = clamped.exp()
    tangent = (e + 2).mul_(e)
    inverse = (tangent + 2).reciprocal_()
    tangent *= inverse
    h *= tangent
    # e * (e + 1), squared out
    slope = e.add_(0.5).square_().sub_(0.25).mul_(inverse).mul_(inverse).mul_(clamped)
    return slope.mul_(4).add_(tangent)


def _masks(X: torch.Tensor, units: list[int], dropout: float) -> list[torch.Tensor]:
    """What dropout multiplies with in each layer: 0, or 1 divided by the share that is kept.

    Four units share one random number of 64 bits: drawing them is what dropout costs.
    """
    n_rows = X.shape[0] * X.shape[1]
    sizes = [n_rows * n for n in units]
    n = -(-sum(sizes) // 4)
    bits = torch.empty(n, dtype=torch.int64, device=X.device).random_(-(2**63), None)
    mask = torch.empty(4 * n, dtype=X.dtype, device=X.device)
    torch.ge(bits.view(torch.int16), round(dropout * 2**16) - 2**15, out=mask)
    parts = mask.mul_(1 / (1 - dropout))[: sum(sizes)].split(sizes)
    return [part.view(*X.shape[:2], n) for part, n in zip(parts, units, strict=True)]
