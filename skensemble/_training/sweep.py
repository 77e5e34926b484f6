"""A run whose rate goes through given values once, and whose losses are noted."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import Callback

from skensemble._types import Floats, Options

from .hooks import Diverged


class Record:
    """The losses of a net's steps, up to the first that is not finite."""

    def __init__(self, n_chains: int):
        self.n_chains = n_chains
        self.losses: list[float] = []
        self.is_over = False


class RateSweep(Callback):
    """Trains a step at each of some rates, and ends the run with the last of them.

    It hears no single batch, so that the steps are those of any run: chains that train as one still
    do. A net ends early at a loss that is not finite. The run leaves no snapshot, which ``fit``
    takes for divergence.

    Parameters
    ----------
    rates : sequence of float
        Rates of the steps; parameter groups with rates of their own keep their ratio to the highest
        rate of the net.
    """

    def __init__(self, rates: Sequence[float]):
        self.rates = rates
        #: One for each net. Copies of this callback share the list.
        self.records: list[Record] = []

    def get_params(self, deep: bool = True) -> Options:
        """Return the constructor's arguments."""
        return {"rates": self.rates}

    def on_train_begin(self, net: NeuralNet, **_: object) -> None:
        """Take the place of the schedule, and note the losses from here on."""
        session = net.session_
        record = Record(len(session.generators))
        self.records.append(record)
        session.rate.follow(iter(np.divide(self.rates, net.lr).tolist()))

        def note(loss: torch.Tensor) -> None:
            value = float(loss)
            record.is_over = not math.isfinite(value)
            if not record.is_over:
                record.losses.append(value)
                record.is_over = len(record.losses) == len(self.rates)
            if record.is_over:
                # Chains of other nets still go through their rates after this.
                raise Diverged

        session.recorder.on_step = note

    @property
    def is_over(self) -> bool:
        """Whether each net has gone through its rates, or left the finite numbers."""
        return bool(self.records) and all(record.is_over for record in self.records)

    def losses(self) -> Floats:
        """Return the mean loss of all chains at each step, as far as each has one."""
        n_steps = min((len(record.losses) for record in self.records), default=0)
        losses = [record.losses[:n_steps] for record in self.records]
        weights = [record.n_chains for record in self.records]
        if not losses:
            return np.empty(0)
        return np.asarray(np.average(losses, axis=0, weights=weights), dtype=np.float64)
