"""A fitted ensemble with other snapshots: fewer of them, their means, draws around these."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from skorch.utils import to_device
from torch.utils.data import DataLoader, Subset

from ._data.rows import DatasetRows, Features
from ._data.sources import DatasetInput
from ._nets.averages import has_statistics, renew_statistics
from ._nets.chains import Chains, join_chains, slices_of
from ._nets.generators import Generators, as_in_a_fit, chain_seed
from ._nets.modules import call_module
from ._nets.snapshots import Snapshots, load_state, module_of, state_of
from ._nets.transforms import at_home, augment
from ._training.net import SnapshotNet, copy_net
from ._types import Array, Batch, Floats, State, View
from .fitted import Fitted
from .weighing import of_members

#: Makes a state of those of one chain, given its number.
Make = Callable[[list[State], int], State]


def equal_stages(n_cycles: int) -> Floats:
    """Return weights of cycles, all alike after 1, 2, … of them."""
    counts = np.arange(1, n_cycles + 1)[:, None]
    weights: Floats = np.tril(np.ones((n_cycles, n_cycles))) / counts
    return weights


def with_snapshots(fitted: Fitted, states: Sequence[State], stage_weights: Floats) -> Fitted:
    """Return an ensemble of other snapshots, which no unseen row has judged.

    Its nets are copies that hold the last of them, from which training may go on.

    Parameters
    ----------
    fitted : Fitted
    states : sequence of dict of Tensor
        Snapshots of the first cycle, those of the second, …
    stage_weights : ndarray of float64 of shape (n_cycles, n_cycles)
        Weights of cycles after 1, 2, … of them.
    """
    n_chains, n_per_cycle = fitted.n_chains, len(states) // len(stage_weights)
    first = np.flatnonzero(of_members(stage_weights[-1], n_per_cycle)).tolist()
    return replace(
        fitted,
        nets=_filled(fitted.nets, states[-n_chains:]),
        snapshots=Snapshots(states, first),
        stage_weights=stage_weights,
        verdict=None,
    )


def _filled(nets: list[SnapshotNet], states: Sequence[State]) -> list[SnapshotNet]:
    """Return copies of nets with the states of all chains."""
    made = []
    for net, group in zip(nets, slices_of(len(states), len(nets)), strict=True):
        copy = copy_net(net)
        copy.resume()
        # A file without what training needs gives the net of the first chain alone.
        of_chains = isinstance(copy.module_, Chains)
        load_state(
            copy.module_, join_chains(list(states[group])) if of_chains else states[group][0]
        )
        copy.settle()
        made.append(copy)
    return made


def part_of(fitted: Fitted, cycles: Sequence[int]) -> Fitted:
    """Return an ensemble of some of the cycles; their weights keep their ratios."""
    states = [state for cycle in cycles for state in fitted.states(cycle)]
    weights = np.tril(np.tile(fitted.stage_weights[-1][list(cycles)], (len(cycles), 1)))
    total = weights.sum(axis=1, keepdims=True)
    equal = equal_stages(len(cycles))
    return with_snapshots(
        fitted, states, np.where(total > 0, weights / np.fmax(total, 1e-300), equal)
    )


def made_of_chains(
    fitted: Fitted, cycles: Sequence[int], makes: Sequence[Make], rows: "StatisticsRows | None"
) -> Fitted:
    """Return an ensemble whose cycles are made, chain by chain, of cycles of another.

    Each of `makes` makes one. Chains never lie in one mode, so that each keeps a network of its
    own. Statistics of batch normalisation are computed anew by `rows`, where the module has some.
    """
    by_cycle = [fitted.states(cycle) for cycle in cycles]
    states = []
    for make in makes:
        for k in range(fitted.n_chains):
            of_chain = [s for of_cycle in by_cycle for s in of_cycle[k :: fitted.n_chains]]
            state = make(of_chain, k)
            states.append(state if rows is None else rows.renew(fitted, state, k))
    return with_snapshots(fitted, states, equal_stages(len(makes)))


class StatisticsRows:
    """Rows by which statistics of batch normalisation are computed anew.

    They come in batches as in training, of the net's size and in an order drawn from the seed of
    the fit, on whose device they are moved.

    Parameters
    ----------
    X : Features
        All rows, as the module takes them.
    of_chain : sequence of ndarray
        For each chain the numbers of its rows.
    transform : callable, default=None
        What makes of a batch what the module sees in training.
    """

    def __init__(self, X: Features, of_chain: Sequence[Array], transform: View | None = None):
        self.X, self.of_chain, self.transform = X, of_chain, transform

    def renew(self, fitted: Fitted, state: State, chain: int) -> State:
        """Return a state of a chain with statistics that belong to its parameters."""
        net = fitted.nets[0]
        device = torch.device(net.device or "cpu")
        if not has_statistics(net.module_):
            return state
        module = module_of(net.module_, state).to(device)
        own = net.with_module(module)
        seed = chain_seed(fitted.resume.seed, chain)

        transform = at_home(self.transform, device)

        def call(X: Batch) -> object:
            X = X if transform is None else augment(transform, X, of_chains=False)
            return call_module(module, X) if net.infers_plainly() else own.infer(X)

        with as_in_a_fit(device, is_private=False):
            generators = Generators(device, seed)
            with generators.within():
                renew_statistics(module, self._batches(net, chain, generators.batches), call)
        there = {name: tensor.device for name, tensor in state.items()}
        return {name: tensor.to(there[name]) for name, tensor in state_of(module).items()}

    def _batches(self, net: SnapshotNet, chain: int, generator: torch.Generator) -> Iterator[Batch]:
        """Yield batches that differ by one row at most: one of a single row has no variance."""
        rows = torch.from_numpy(np.asarray(self.of_chain[chain]))
        order = rows[torch.randperm(len(rows), generator=generator)].to(torch.int64)
        parts = order.tensor_split(-(-len(order) // net.batch_size))
        if isinstance(self.X, DatasetInput):
            dataset = DatasetRows(self.X)
            for part in parts:
                whole = Subset(dataset, part.tolist())
                loader = DataLoader(whole, batch_size=len(part), generator=torch.Generator())
                yield to_device(next(iter(loader)), net.device)
            return
        for part in parts:
            yield to_device(self.X[part], net.device)
