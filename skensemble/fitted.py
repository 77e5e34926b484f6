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
from ._nets.inference import chunk_size, collect, first_not_finite, member_outputs
from ._nets.snapshots import Snapshots, module_of, plain_state
from ._training.net import SnapshotNet, mixed_net
from ._types import Batch, Options, State
from .members import average, cycle_weights
from .unseen import UnseenRows

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


class Verdict(NamedTuple):
    """What unseen rows say of the cycles."""

    #: Score after 1, 2, … cycles.
    cycle_scores: NDArray[np.float64]
    #: Weighted mean of the predictions for each row, where it is out of fold.
    predictions: NDArray[np.float64] | None
    #: R2 under the weights of all cycles; None for classes.
    r2: float | None = None


class Weighed(NamedTuple):
    """Snapshots, their weights, and what unseen rows say of them; fields of :class:`Fitted`."""

    snapshots: Snapshots
    stage_weights: NDArray[np.float64]
    verdict: Verdict | None


def weigh_cycles(
    gather: Callable[[Sequence[int]], Snapshots],
    n_cycles: int,
    n_chains: int,
    members: Any,
    unseen: UnseenRows | None,
    targets: Targets,
) -> Weighed:
    """Weigh the cycles, by unseen rows where there are some.

    Parameters
    ----------
    gather : callable
        Returns all snapshots, in the order of :class:`Fitted`. It is given the indices of those
        that are to lie next to each other.
    n_cycles, n_chains : int
    members : str, int or callable
        The rule for members where there are no unseen rows; unseen rows have their own.
    unseen : UnseenRows or None
        It has seen all cycles.
    targets : Targets
    """
    if unseen is None:
        by_cycle = [cycle_weights(members, m) for m in range(1, n_cycles + 1)]
    else:
        unseen.keep(n_cycles)
        by_cycle = [cycle.weights for cycle in unseen.cycles]
    stage_weights = np.zeros((n_cycles, n_cycles))
    for m, weights in enumerate(by_cycle):
        stage_weights[m, : m + 1] = weights
    # Those that predict lie side by side, so that they need not be copied for it.
    first = np.flatnonzero(_of_members(stage_weights[-1], n_chains)).tolist()
    verdict = None if unseen is None else _verdict(unseen, n_chains, targets)
    return Weighed(gather(first), stage_weights, verdict)


def _verdict(unseen: UnseenRows, n_chains: int, targets: Targets) -> Verdict:
    scores = np.array([cycle.score for cycle in unseen.cycles])
    # With one chain, or rows that no chain has seen, predictions are those of predict.
    is_out_of_fold = n_chains > 1 and not unseen.is_unseen_by_all
    predictions = targets.shape_unseen(unseen.combine()) if is_out_of_fold else None
    return Verdict(scores, predictions, unseen.r2())


def _of_members(by_cycle: NDArray[np.float64], n_chains: int) -> NDArray[np.float64]:
    """Turn weights of cycles into those of snapshots: all chains of a cycle share one."""
    return np.repeat(by_cycle / n_chains, n_chains, axis=-1)


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
    #: Chains of the first cycle, chains of the second, …
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
    def known(self) -> Known:
        """What is known of X and y."""
        return Known(self.intake, self.targets)

    @property
    def member_weights(self) -> NDArray[np.float64]:
        """Weight of each snapshot in the average."""
        return _of_members(self.stage_weights[-1], self.n_chains)

    def states(self, cycle: int) -> list[State]:
        """Return all chains at the end of a cycle, uncopied."""
        first = cycle * self.n_chains
        return self.snapshots.views(range(first, first + self.n_chains))

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
            self.targets.unseen_name: None if self.verdict is None else self.verdict.predictions,
            **self.targets.attributes(),
        }

    # ----------------------------------------------------------------------- predicting

    def ensemble(self, source: Source, pool: Pool = average) -> NDArray[np.float64]:
        """Combine the members by their weights, (n, k)."""
        return self._combine(source, self.member_weights[None, :], pool)[0]

    def stages(self, source: Source, pool: Pool = average) -> NDArray[np.float64]:
        """Combine the members as after 1, 2, … cycles, (n_cycles, n, k)."""
        return self._combine(source, _of_members(self.stage_weights, self.n_chains), pool)

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
            return _finite(collect(net, source.n_samples, size, of_rows))

    def _values(self, chunks: Iterator[Batch], members: NDArray[np.intp]) -> Iterator[torch.Tensor]:
        """Yield what these members say of the rows, a part after another: (members, rows, k)."""
        net = self.nets[0]
        device = torch.device(net.device or "cpu")
        if device.type != "cpu":
            chunks = (to_device(chunk, device) for chunk in chunks)
        for outputs in member_outputs(net, self.snapshots.to(device), members, chunks):
            yield self.targets.values(outputs.cpu())
