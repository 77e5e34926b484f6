"""The built-in network for tables."""

from collections.abc import Sequence

import torch
from torch import nn


class TableNetwork(nn.Module):
    """A multi-layer perceptron for centred and scaled columns.

    Parameters
    ----------
    n_inputs : int
        Number of columns.
    n_outputs : int
        Number of raw scores (classes) or of regression outputs.
    hidden : sequence of int, default=(128, 128)
        Units of each hidden layer.
    dropout : float, default=0.1
        Probability with which a hidden unit is dropped in training.
    dtype : torch.dtype, default=torch.float32
        Type of the parameters.

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
        dropout: float = 0.1,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        layers: list[nn.Module] = []
        for n_units in hidden:
            layers += [nn.Linear(n_inputs, n_units, dtype=dtype), nn.Mish(), nn.Dropout(dropout)]
            n_inputs = n_units
        self.layers = nn.Sequential(*layers, nn.Linear(n_inputs, n_outputs, dtype=dtype))
        self._dropout = dropout
        parts = self.named_modules()
        self._linear = [name for name, part in parts if isinstance(part, nn.Linear)]

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
        h = X
        for name in self._linear:
            if name != self._linear[0]:
                h = nn.functional.mish(h, inplace=not torch.is_grad_enabled())
                if training and self._dropout > 0:
                    h = nn.functional.dropout(h, self._dropout)
            weight = stacks[name + ".weight"]
            bias = stacks[name + ".bias"].unsqueeze(1)
            h = torch.baddbmm(bias, h.expand(len(weight), -1, -1), weight.mT)
        return h
