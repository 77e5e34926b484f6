"""What a fit leaves: snapshots with weights, which predict."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Self, SupportsIndex

import numpy as np
import torch
from numpy.typing import NDArray
from skorch import NeuralNet
from skorch.utils import to_device
from torch import nn

from ._data.folds import Chosen
from ._data.intake import Intake as Intake
from ._data.reading import Known
from ._data.sources import DatasetInput
from ._data.sources import Source as Source
from ._data.targets import Targets
from ._nets.generators import on_named_device
from ._nets.inference import (
    chunk_size,
    collect,
    drawing_nothing,
    first_not_finite,
    is_known,
    member_values,
)
from ._nets.snapshots import Snapshots, module_of, plain_state
from ._training.net import SnapshotNet, mixed_net
from ._types import Batch, Floats, Options, State, Views
from .members import average
from .weighing import Verdict, of_each_chain, of_members, show_threshold

#: Combines the values of members, (M, n, k), by rows of weights, (S, M), to (S, n, k).
Pool = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Resume(NamedTuple):
    """What a later call needs to go on."""

    #: Where the generators of each chain have come to.
    generators: list[dict[str, Any]]
    seed: int
    #: Chains and the way in which rows were left out; the folds themselves are forgotten.
    chosen: Chosen
    #: Steps done, burn-in not counted.
    n_steps: int
    #: Parameters that the nets are made of.
    made_of: dict[str, Any]
    highest_lr: float
    #: Whether a time limit has shortened a call.
    is_time_limited: bool = False


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return predictions, all of them finite; rows along the second axis."""
    row = first_not_finite(values)
    if row is not None:
        raise ValueError(
            f"Got X with the row {row}, for which the network predicts no finite values, but "
            "expected rows of a size as in fit: look at its columns, or scale them before."
        )
    return values


class BoxedNet:
    """Stands for a net in a state to be written; comes back as the net.

    A class that skensemble mixed from a user's cannot be found by its name, which is all that some
    formats write.
    """

    net: SnapshotNet

    def __new__(cls, kind: type[NeuralNet], state: Options) -> SnapshotNet:  # type: ignore[misc]
        """Make the net that was written."""
        made = object.__new__(mixed_net(kind))
        made.__setstate__(state)
        return made

    @classmethod
    def around(cls, net: SnapshotNet) -> Self:
        """Put a net in its box."""
        box = object.__new__(cls)
        box.net = net
        return box

    def __reduce__(self) -> tuple[object, ...]:
        kind = getattr(type(self.net), "_mixed_into", type(self.net))
        return BoxedNet, (kind, self.net.__getstate__())

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[object, ...]:
        # Pickle sets the state last: a callback may refer to the net.
        return self.net.__reduce__()


@dataclass(frozen=True)
class Fitted:
    """Snapshots with their weights, and what X and y mean.

    Everything that predicts, is saved, exported or averaged rests on it. It never changes: a later
    call makes another one.
    """

    #: One that trained all chains as one, or one for each chain.
    nets: list[SnapshotNet]
    #: Chains of the first cycle, chains of the second, …; of a cycle with several snapshots those
    #: at the first of them, at the second, …
    snapshots: Snapshots
    #: Weight of each cycle (second axis) after 1, 2, … cycles (first axis).
    stage_weights: NDArray[np.float64]
    #: None: no rows were left out, or given to judge by.
    verdict: Verdict | None
    intake: Intake
    targets: Targets
    resume: Resume

    def __getstate__(self) -> Options:
        """Hold the nets in a form for files."""
        nets = [BoxedNet.around(net) for net in self.nets]
        return {**vars(self), "nets": nets, "snapshots": self.snapshots.in_memory()}

    def as_made_of(self, made_of: Options) -> Self:
        """Return the same with other parameters in place of those that the nets are made of."""
        return replace(self, resume=self.resume._replace(made_of=made_of))

    @property
    def n_chains(self) -> int:
        """Number of chains."""
        return self.resume.chosen.n_chains

    @property
    def n_cycles(self) -> int:
        """Number of cycles."""
        return len(self.stage_weights)

    @property
    def n_per_cycle(self) -> int:
        """Number of snapshots of all chains in each cycle."""
        return len(self.snapshots) // self.n_cycles

    @property
    def views(self) -> Views | None:
        """In what views rows are predicted; None: as they are."""
        return self.resume.made_of.get("views")

    @property
    def known(self) -> Known:
        """What is known of X and y."""
        return Known(self.intake, self.targets)

    @property
    def temperature(self) -> float:
        """Temperature of probabilities."""
        return 1.0 if self.verdict is None else self.verdict.temperature

    @property
    def member_weights(self) -> NDArray[np.float64]:
        """Weight of each snapshot in the average."""
        return of_members(self.stage_weights[-1], self.n_per_cycle)

    def states(self, cycle: int) -> list[State]:
        """Return all snapshots of a cycle, uncopied: those of all chains at once, in order."""
        n = self.n_per_cycle
        return self.snapshots.views(range(cycle * n, (cycle + 1) * n))

    def all_states(self) -> list[State]:
        """Return all snapshots, uncopied."""
        return self.snapshots.views(range(len(self.snapshots)))

    def regrouped(self, first: Sequence[int]) -> Snapshots:
        """Return copies of all snapshots, those at the indices `first` next to each other."""
        return Snapshots(self.all_states(), first)

    def state_dicts(self) -> list[State]:
        """Return copies of all snapshots, each as its module's ``state_dict`` has it."""
        return [plain_state(self.nets[0].module_, state) for state in self.snapshots[:]]

    def module_of(self, index: int) -> nn.Module:
        """Return a module of its own with the tensors of one snapshot."""
        with on_named_device("cpu"):
            return module_of(self.nets[0].module_, self.snapshots[index])

    def attributes(self) -> dict[str, Any]:
        """Return the fitted attributes of the estimator; None for those that are not there."""
        scores = None if self.verdict is None else self.verdict.cycle_scores
        return {
            "n_features_in_": self.intake.n_features,
            "feature_names_in_": self.intake.feature_names,
            "net_": self.nets[0],
            "n_iter_": len(self.nets[0].history_),
            "is_time_limited_": self.resume.is_time_limited,
            "n_cycles_": self.n_cycles,
            "n_chains_": self.n_chains,
            "member_weights_": self.member_weights,
            "cycle_scores_": scores,
            "validation_score_": None if scores is None else float(scores[-1]),
            "validation_r2_": None if self.verdict is None else self.verdict.r2,
            "temperature_": self.targets.show_temperature(self.temperature),
            "threshold_": show_threshold(self.targets, self.verdict),
            "quantile_levels_": np.array(self.targets.levels) if self.targets.levels else None,
            self.targets.unseen_name: None if self.verdict is None else self.verdict.predictions,
            **self.targets.attributes(),
        }

    # ----------------------------------------------------------------------- predicting

    def ensemble(self, source: Source, pool: Pool = average) -> NDArray[np.float64]:
        """Combine the members by their weights, (n, k)."""
        return self._combine(source, self.member_weights[None, :], pool)[0]

    def stages(self, source: Source, pool: Pool = average) -> NDArray[np.float64]:
        """Combine the members as after 1, 2, … cycles, (n_cycles, n, k)."""
        return self._combine(source, of_members(self.stage_weights, self.n_per_cycle), pool)

    def judged(
        self, source: Source, of: Callable[[Floats], Floats] = lambda values: values
    ) -> NDArray[np.float64]:
        """Return what the models whose errors are known say, (n_models, n, k).

        These are the chains, each with the weights of its cycles, or the ensemble as a whole. `of`
        makes of their values what is kept: grids of quantiles are many numbers a row.
        """

        def pool(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(of(average(values, weights).numpy()))

        return self._combine(source, _of_models(self), pool)

    def judged_with_spread(
        self, source: Source, first: int, of: Callable[[Floats], Floats]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return what :meth:`judged` does, and how far the cycles from `first` on are apart.

        That is the standard deviation of each model over them, (n_models, n, k); of the ensemble
        it is the one of the means over chains.
        """
        n_late, weights = self.n_cycles - first, _of_models(self)
        late = np.arange(first * self.n_per_cycle, len(self.snapshots))
        members = np.union1d(np.flatnonzero(weights.any(axis=0)), late)
        chosen = torch.from_numpy(weights[:, members])

        def both(values: torch.Tensor) -> torch.Tensor:
            by_cycle = values[-len(late) :].unflatten(0, (n_late, -1, self.n_chains)).mean(dim=1)
            if not _is_judged_by_chain(self):
                by_cycle = by_cycle.mean(dim=1, keepdim=True)
            spread = by_cycle.std(dim=0, correction=0)
            pooled = torch.from_numpy(of(average(values, chosen).numpy()))
            return torch.cat([pooled, spread], dim=-1)

        made = self._gather(source, members, both)
        n_spreads = self.targets.n_outputs
        return made[..., :-n_spreads], made[..., -n_spreads:]

    def variances(self, source: Source) -> NDArray[np.float64]:
        """Return the variance of the members' predictions, and the mean of those within, (2, n, k).

        The latter is that of the distributions that they predict; 0 where they predict none.
        """
        targets = self.targets

        def pool(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
            within = torch.from_numpy(targets.noise(values.numpy()))
            means = torch.from_numpy(targets.means(values.numpy()))
            between = average((means - average(means, weights)) ** 2, weights)
            return torch.cat([between, average(within, weights)])

        return self._combine(source, self.member_weights[None], pool)

    def entropies(self, source: Source) -> NDArray[np.float64]:
        """Return the entropies of the members' mean and the means of theirs, (2, n, k).

        There is one for each distribution: k is 1 for classes that exclude each other.
        """
        entropy = self.targets.entropy

        def pool(values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
            total = entropy(average(values, weights))
            return torch.cat([total, average(entropy(values), weights)])

        return self._combine(source, self.member_weights[None], pool)

    def each_member(self, source: Source) -> NDArray[np.float64]:
        """Return the values of every snapshot, whatever its weight, (M, n, k)."""
        return self._gather(source, np.arange(len(self.snapshots)), lambda values: values)

    def _combine(
        self, source: Source, weights: NDArray[np.float64], pool: Pool
    ) -> NDArray[np.float64]:
        """Combine members by (S, M) weights to (S, n, k); those of weight 0 are not computed."""
        members = np.flatnonzero(weights.any(axis=0))
        chosen = torch.from_numpy(weights[:, members])
        return self._gather(source, members, lambda values: pool(values, chosen))

    def _gather(
        self,
        source: Source,
        members: NDArray[np.intp],
        combine: Callable[[torch.Tensor], torch.Tensor],
    ) -> NDArray[np.float64]:
        """Collect what is made of the members' values, all rows along the second axis."""
        net = self.nets[0]
        size = net.batch_size if isinstance(source, DatasetInput) else chunk_size(net)

        def of_rows(start: int, stop: int) -> Iterator[torch.Tensor]:
            chunks = self.intake.chunks(source, size, start, stop)
            return map(combine, self._values(chunks, members))

        with on_named_device(net.device):
            is_safe = self.views is None and is_known(net)
            with drawing_nothing(self.views, net.device):
                return _finite(collect(source.n_samples, size, of_rows, is_safe=is_safe))

    def _values(self, chunks: Iterator[Batch], members: NDArray[np.intp]) -> Iterator[torch.Tensor]:
        """Yield what these members say of the rows, a part after another: (members, rows, k)."""
        net = self.nets[0]
        device = torch.device(net.device or "cpu")
        if device.type != "cpu":
            chunks = (to_device(chunk, device) for chunk in chunks)
        snapshots, values_of = self.snapshots.to(device), self.targets.values
        yield from member_values(net, snapshots, members, chunks, values_of, self.views)


def chain_weights(fitted: Fitted) -> NDArray[np.float64]:
    """Return the weights of the snapshots in each chain alone, (n_chains, M)."""
    return of_each_chain(fitted.stage_weights[-1], fitted.n_chains, fitted.n_per_cycle)


def _is_judged_by_chain(fitted: Fitted) -> bool:
    conformity = None if fitted.verdict is None else fitted.verdict.conformity
    return conformity is not None and conformity.fold is not None


def _of_models(fitted: Fitted) -> NDArray[np.float64]:
    """Return the weights of the snapshots in each model whose errors are known."""
    is_by_chain = _is_judged_by_chain(fitted)
    return chain_weights(fitted) if is_by_chain else fitted.member_weights[None]
