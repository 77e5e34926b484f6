"""The built-in network for tables."""

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from numbers import Integral, Real

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from ._nets.by_hand import COARSE_DROPOUT, mish, perceptrons, pull_back
from ._nets.generators import drawing_from
from ._nets.modules import Pullback
from ._types import State
from ._warnings import short

#: How much faster than a weight the factor of a column moves, under an optimizer whose steps do not
#: depend on the gradient's size.
_FASTER = 6.0

#: Up to so many rows the first weights are read once for each row, if there are so many weights.
_FEW_ROWS, _MANY_WEIGHTS = 4, 1 << 18


class Dense(nn.Linear):
    """A linear layer whose weights start with a variance of one divided by the number of inputs.

    Outputs then start with the variance of the inputs ([1]_, section 4.6); torch's own start gives
    a third of it. Biases start as torch's do.

    References
    ----------
    .. [1] Y. LeCun, L. Bottou, G. B. Orr and K.-R. Müller, "Efficient BackProp", in Neural
       Networks: Tricks of the Trade, 1998.
    """

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        own, n_inputs = drawing_from(self.weight.device), max(1, self.in_features)
        # The weights are drawn as torch draws them, and then again: the biases are the same as in a
        # layer of torch's from the same seed.
        nn.init.kaiming_uniform_(self.weight, a=5**0.5, generator=own)
        bound = min(1, self.in_features) / math.sqrt(n_inputs)
        nn.init.uniform_(self.bias, -bound, bound, generator=own)
        nn.init.normal_(self.weight, std=n_inputs**-0.5, generator=own)


class Dropout(nn.Dropout):
    """Dropout whose masks a fit draws from a generator of its own; the same masks as torch's."""

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return the outputs of a batch of rows."""
        return drop_units(X, self.p) if self.training else X


def drop_units(X: torch.Tensor, p: float) -> torch.Tensor:
    """Set units to 0 with the probability `p`, and divide the others by the share that is kept."""
    if p == 0:
        return X
    mask = torch.empty_like(X).bernoulli_(1 - p, generator=drawing_from(X.device))
    return X * mask.div_(1 - p)


class ScaledLinear(Dense):
    """A linear layer after a factor for each input, which is learned with it.

    The factors let the network find out soon which columns count: a factor moves the weights of all
    units at once. It starts at 1, and is kept divided by 6, so that it learns six times as fast as
    the weights do ([1]_, section 3).

    In training, columns may be dropped as dropout does with units ([2]_), each with all of its
    inputs, so that no prediction hangs on one of them. They are drawn once a batch, which is as
    good as once a row here, and costs next to nothing.

    Parameters
    ----------
    n_inputs, n_units : int
    dtype : torch.dtype, default=torch.float32
        Type of the parameters.
    columns : array-like of int of shape (n_inputs,), default=None
        The column that each input is made of, counted from 0. None: each input is a column.
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
        columns: ArrayLike | None = None,
        dropout: float = 0.0,
    ):
        _check_dropout("column_dropout", dropout)
        super().__init__(n_inputs, n_units, dtype=dtype)
        self.scale = nn.Parameter(torch.full((n_inputs,), 1 / _FASTER, dtype=dtype))
        self.dropout = dropout
        if dropout > 0:
            chosen = np.arange(n_inputs) if columns is None else np.asarray(columns)
            buffer = torch.tensor(chosen, dtype=torch.int64)
            self.register_buffer("columns", buffer, persistent=False)
            self.n_columns = int(chosen.max(initial=-1)) + 1

    def reset_parameters(self) -> None:
        """Draw the parameters anew, and set the factors to 1."""
        super().reset_parameters()
        if hasattr(self, "scale"):  # the parent's constructor calls this first
            nn.init.constant_(self.scale, 1 / _FASTER)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return the outputs of a batch of rows."""
        factor = self.scale * _FASTER
        if self.training and self.dropout > 0:
            factor = factor * self.column_mask(self.columns)
        return nn.functional.linear(X, self.weight * factor, self.bias)

    def column_mask(self, columns: torch.Tensor) -> torch.Tensor:
        """Draw the factors of dropout for the inputs of each layer whose columns are given."""
        shape = (*columns.shape[:-1], self.n_columns)
        # Always float32, whatever torch's default type is: each type draws other numbers. It is
        # too coarse where hardly anything is kept.
        dtype = torch.float32 if self.dropout <= COARSE_DROPOUT else torch.float64
        draws = torch.rand(
            shape, dtype=dtype, device=columns.device, generator=drawing_from(columns.device)
        )
        mask = (draws >= self.dropout).to(self.scale.dtype).div_(1 - self.dropout)
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
        Probability with which a hidden unit is dropped in training. Below 1.
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
        columns: ArrayLike | None = None,
        column_dropout: float = 0.0,
    ):
        _check_dropout("dropout", dropout)
        super().__init__()
        is_list = isinstance(hidden, Iterable) and not isinstance(hidden, str)
        if not is_list or not all(isinstance(n, Integral) and n > 0 for n in hidden):
            raise ValueError(
                f"Got hidden={short(hidden)}, but expected the numbers of units of the hidden "
                "layers, such as (128, 64)."
            )
        units = [*tuple(hidden), n_outputs]
        layers: list[nn.Module] = [ScaledLinear(n_inputs, units[0], dtype, columns, column_dropout)]
        for before, after in itertools.pairwise(units):
            layers += [nn.Mish(), Dropout(dropout), Dense(before, after, dtype=dtype)]
        self.layers = nn.Sequential(*layers)
        self._dropout = dropout
        linear = [name for name, part in self.named_modules() if isinstance(part, Dense)]
        weights = [name + part for name in linear for part in (".weight", ".bias")]
        self._names = [f"{linear[0]}.scale", *weights]
        self._columns_name = f"{linear[0]}.columns"

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return the raw scores or outputs of a batch of rows."""
        return self.layers(X)

    def forward_members(
        self, stacks: State, X: torch.Tensor, *, training: bool = False
    ) -> torch.Tensor:
        """Return the outputs of many such networks, one batched product a layer.

        Parameters
        ----------
        stacks : dict of Tensor
            This network's parameters by name, those of all members along the first axis.
        X : Tensor of shape (batch, n_inputs) or (members, batch, n_inputs)
            The same rows for all members, or some for each.
        training : bool, default=False
            Whether columns and hidden units are dropped, whatever the module's own mode.

        Returns
        -------
        outputs : Tensor of shape (members, batch, n_outputs)
        """
        scale, weight, bias, *others = self._parameters_of(stacks)
        is_inference = not (training or torch.is_grad_enabled())  # autograd needs h as it was
        if is_inference and _has_few_rows(X, weight):
            h = torch.stack([_first_outputs(x, scale, weight, bias) for x in X], dim=1)
        else:
            if training and self.first.dropout > 0:
                scale = scale * self.first.column_mask(stacks[self._columns_name])
            # The rows are scaled and not the weights, unlike in `perceptrons`: that costs little
            # for many rows.
            h = X.expand(len(scale), -1, -1) * scale.unsqueeze(1)
            h = torch.baddbmm(bias.unsqueeze(1), h, weight.mT, alpha=_FASTER)
        for weight, bias in zip(others[::2], others[1::2], strict=True):
            h = nn.functional.mish(h, inplace=is_inference)
            if training:
                h = drop_units(h, self._dropout)
            h = torch.baddbmm(bias.unsqueeze(1), h, weight.mT)
        return h

    @torch.no_grad()
    def forward_without(
        self,
        stacks: State,
        X: torch.Tensor,
        parts: Sequence[torch.Tensor],
        values: torch.Tensor,
    ) -> Iterator[torch.Tensor]:
        """Yield the outputs of many such networks, whole and with some inputs at other values.

        The products of the first layer are made once: of a part of the inputs only what it adds to
        them is.

        Parameters
        ----------
        stacks : dict of Tensor
            See :meth:`forward_members`.
        X : Tensor of shape (batch, n_inputs)
            The same rows for all members.
        parts : sequence of Tensor of int64
            Numbers of the inputs that are set to other values together.
        values : Tensor of shape (n_inputs,)
            These values.

        Yields
        ------
        outputs : Tensor of shape (members, batch, n_outputs)
            First those of X, then those without each part.
        """
        scale, weight, bias, *others = self._parameters_of(stacks)
        first = torch.baddbmm(bias.unsqueeze(1), X * scale.unsqueeze(1), weight.mT, alpha=_FASTER)
        yield _behind_first(first.clone(), others)
        for inputs in parts:
            change = (values[inputs] - X[:, inputs]) * scale[:, inputs].unsqueeze(1)
            without = torch.baddbmm(first, change, weight[:, :, inputs].mT, alpha=_FASTER)
            yield _behind_first(without, others)

    def members_and_pullback(self, stacks: State, X: torch.Tensor) -> tuple[torch.Tensor, Pullback]:
        """Return the outputs in training, and the function that sets the gradients of `stacks`.

        Parameters and outputs are those of :meth:`forward_members`. Autograd is not asked: its
        bookkeeping costs as much as the products of a small batch.
        """
        parameters = self._parameters_of(stacks)
        constant: torch.Tensor | float = _FASTER
        if self.first.dropout > 0:
            constant = self.first.column_mask(stacks[self._columns_name]) * _FASTER
        with torch.no_grad():
            outputs, kept = perceptrons(X, parameters, constant, self._dropout)
        return outputs, functools.partial(pull_back, kept, parameters)

    @property
    def first(self) -> ScaledLinear:
        """The layer that scales the inputs."""
        first = self.layers[0]
        assert isinstance(first, ScaledLinear)
        return first

    @property
    def drops_columns(self) -> bool:
        """Whether columns are dropped in training."""
        return self.first.dropout > 0

    def _parameters_of(self, stacks: State) -> list[torch.Tensor]:
        """Return the factors of the inputs, then weight and bias of each layer."""
        return [stacks[name] for name in self._names]


def _behind_first(h: torch.Tensor, others: list[torch.Tensor]) -> torch.Tensor:
    """Return what the other layers make of the products of the first one, which are lost."""
    for weight, bias in zip(others[::2], others[1::2], strict=True):
        h = torch.baddbmm(bias.unsqueeze(1), mish(h), weight.mT)
    return h


def _has_few_rows(X: torch.Tensor, weight: torch.Tensor) -> bool:
    """Tell whether reading the first weights takes longer than multiplying rows by them."""
    return (
        X.ndim == 2
        and len(X) <= _FEW_ROWS
        and weight.numel() >= _MANY_WEIGHTS
        and X.device.type == "cpu"
        and weight.mT.is_contiguous()
    )


def _first_outputs(
    x: torch.Tensor, scale: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
) -> torch.Tensor:
    """Return what the first layer of all members makes of one row, (members, units).

    Only weights of inputs that are not zero are read: pieces above a number are zero, and
    categories but one.
    """
    n_members, n_units, n_inputs = weight.shape
    inputs = x.nonzero().squeeze(1)
    values = scale.index_select(1, inputs).mul_(x[inputs]).mul_(_FASTER)
    member = torch.arange(n_members)
    h = nn.functional.embedding_bag(
        (member.unsqueeze(1) * n_inputs + inputs).view(-1),
        weight.mT.view(-1, n_units),
        member * len(inputs),
        mode="sum",
        per_sample_weights=values.view(-1),
    )
    return h.add_(bias)


def _check_dropout(name: str, dropout: object) -> None:
    """Refuse what is no probability of dropping some, but never all."""
    if not isinstance(dropout, Real) or not 0 <= float(dropout) < 1:
        raise ValueError(
            f"Got {name}={short(dropout)}, but expected from 0 to below 1. 0 drops nothing."
        )
