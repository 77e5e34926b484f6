"""The lean loop: the steps of an epoch with nothing but torch's calls between them.

``SnapshotNet.run_single_epoch`` takes it where nobody listens to batches. What it leaves out is one
notification a callback and batch, a row of history a batch, and a wait for the loss of every batch.

Its steps have the bits of skorch's own: they call the same operations of torch in the same order.
Where torch or :mod:`~skensemble._nets.by_hand` spell an operation in two ways, tests hold the two
together. One difference is of form alone: skorch hands the optimizer a closure with the forward and
the backward pass, which all of torch's optimizers but LBFGS call once and first of all.
"""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet
from skorch.utils import to_device

from skensemble._compat import optimizers_of, set_training, step_optimizer
from skensemble._data.batches import BatchIterator, Budgeted, InFirstView
from skensemble._data.rows import RowsOfChains
from skensemble._nets.by_hand import bare_step, gradient_by_hand
from skensemble._nets.chains import Chains
from skensemble._nets.losses import differentiate
from skensemble._nets.modules import call_module, first_output
from skensemble._types import Batch

from .session import Session

#: Losses that are read together. A GPU would wait for each one; thousands of small tensors between
#: large ones keep the memory of these from being used again.
_READ_AT_ONCE = 100


def train_lean(net: NeuralNet, session: Session, iterator: Budgeted, prefix: str) -> None:
    """Take the steps of an epoch, and record their mean loss."""
    losses: list[float] = []
    sizes: list[int] = []
    steps = _take_steps(net, session, iterator)
    while taken := list(itertools.islice(steps, _READ_AT_ONCE)):
        losses += torch.stack([loss for loss, _ in taken]).tolist()
        sizes += [size for _, size in taken]
    if losses:
        _record(net, prefix, losses, sizes)


def validate_chains(net: NeuralNet, rows: RowsOfChains, prefix: str) -> None:
    """Record the loss of chains that train as one, each on the rows that it leaves out."""
    losses, sizes = [], []
    set_training(net, False)  # the criterion too: weights of rows do not count here
    with torch.no_grad():
        for k, own in enumerate(rows):
            if len(own):
                for X, y in InFirstView(BatchIterator(own, net.batch_size), net.session_.views):
                    losses.append(net.criterion_(net.module_.of_chain(k, X), y))
                    sizes.append(len(y))
    _record(net, prefix, torch.stack(losses).tolist(), sizes)


def _record(net: NeuralNet, prefix: str, losses: list[float], sizes: list[int]) -> None:
    """Add a row for the epoch where skorch has one a batch: its callbacks average over rows."""
    net.history.new_batch()
    net.history.record_batch(prefix + "_loss", float(np.average(losses, weights=sizes)))
    net.history.record_batch(prefix + "_batch_size", sum(sizes))
    net.history.record(prefix + "_batch_count", len(sizes))


def _take_steps(
    net: NeuralNet, session: Session, iterator: Budgeted
) -> Iterator[tuple[torch.Tensor, int]]:
    """Take a step for each batch; yield its loss and its number of rows."""
    rate, recorder = session.rate, session.recorder
    n_redraws = None
    for X, y in iterator:
        # At first, and after a cold restart, which makes modules and optimizers anew. With the
        # first batch and not before: an empty epoch sets no mode.
        if recorder.n_redraws != n_redraws:
            set_training(net, True)
            step, groups = _make_step(net, iterator), rate.groups_of(net)
            of_chains = isinstance(net.module_, Chains)
            n_redraws = recorder.n_redraws
        rate.set_rate(groups)
        loss = step(X, y)
        recorder.after_step(net, loss)
        yield loss, y.shape[1] if of_chains else len(y)


def _make_step(net: NeuralNet, iterator: Budgeted) -> Callable[[Batch, torch.Tensor], torch.Tensor]:
    """Return the function that takes one step on a batch and returns its loss.

    What a step would look up each time is looked up here, once an epoch.
    """
    optimizers = list(optimizers_of(net).values())
    if len(optimizers) != 1 or not _needs_no_closure(optimizers[0]):
        return functools.partial(_step_with_closure, net)
    module, criterion, device = net.module_, net.criterion_, net.device
    is_there = isinstance(iterator.iterator, BatchIterator)
    parameters = [p for group in optimizers[0].param_groups for p in group["params"]]
    update = bare_step(optimizers[0])
    outputs_of = first_output if net.takes_first_ else _unchanged
    loss_and_gradient = gradient_by_hand(criterion) or functools.partial(differentiate, criterion)

    def step_together(X: Batch, y: torch.Tensor) -> torch.Tensor:
        for parameter in parameters:
            parameter.grad = None
        outputs, pull = module.each_and_pullback(X)
        # The gradient is that of the sum over chains, so that each learns as if it were alone; the
        # loss recorded is their mean.
        loss, gradient = loss_and_gradient(outputs, y)
        pull(gradient)
        update()
        return loss / len(y)

    def step_alone(X: Batch, y: torch.Tensor) -> torch.Tensor:
        for parameter in parameters:
            parameter.grad = None
        if not is_there:
            X, y = to_device(X, device), to_device(y, device)
        loss: torch.Tensor = criterion(outputs_of(call_module(module, X)), y)
        loss.backward()
        update()
        return loss.detach()

    return step_together if isinstance(module, Chains) else step_alone


def _unchanged(outputs: Any) -> Any:
    return outputs


def _needs_no_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Tell whether a step after the backward pass equals one with a closure around that.

    It does for torch's own optimizers but LBFGS; of others nobody can know.
    """
    is_torchs = type(optimizer).__module__.startswith("torch.optim.")
    return is_torchs and not isinstance(optimizer, torch.optim.LBFGS)


def _step_with_closure(net: NeuralNet, X: Batch, y: torch.Tensor) -> torch.Tensor:
    """Let an optimizer that asks for the loss itself, such as LBFGS, take a step."""
    losses = []

    def closure() -> torch.Tensor:
        loss: torch.Tensor = net.get_loss(net.infer(X), y, X=X, training=True)
        loss.backward()
        losses.append(loss.detach())
        return loss

    step_optimizer(net, closure)
    return losses[0]
