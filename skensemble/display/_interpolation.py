"""The loss along lines between snapshots."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from skensemble._data.reading import Examples, read_later
from skensemble._nets.averages import has_statistics
from skensemble._nets.generators import on_named_device
from skensemble._nets.snapshots import Snapshots
from skensemble._types import Array, Floats, Input, Options, State
from skensemble._warnings import short
from skensemble.base import BaseSnapshotEnsemble
from skensemble.fitted import Fitted
from skensemble.measures import measure_of
from skensemble.pipelines import Estimator, last_step, seen_by_last
from skensemble.reshaping import StatisticsRows

from ._axes import Artist, Axes, Figure, merged, open_axes

#: Makes a loss of y and what is predicted for it.
Metric = Callable[..., float]


class InterpolationDisplay:
    r"""Loss along the line between two snapshots, or along a line with one bend.

    Make one by :meth:`from_estimator`. All parameters are stored as attributes.

    Parameters
    ----------
    positions : array-like of shape (n_points,)
        Where a point is on its line: 0 at one snapshot, 1 at the other.
    losses : array-like of shape (n_lines, n_points)
        Loss of the network at each point.
    labels : sequence of str, default=None
        Name of each line. None: there is no legend.
    loss_name : str, default="Loss"
        Name of the loss, for the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the lines.
    figure_ : matplotlib Figure
        Figure with the axes.
    lines_ : list of matplotlib Line2D
        One for each line in the space of parameters.

    Notes
    -----
    Of the snapshots :math:`w_0` and :math:`w_1`, the point at :math:`t` is
    :math:`(1 - t) w_0 + t w_1` ([1]_, figure 4). With a bend :math:`\theta` it is on the
    polygonal chain of [2]_, section 3.3: :math:`2 (t \theta + (0.5 - t) w_0)` for
    :math:`t \le 0.5`, and :math:`2 ((t - 0.5) w_1 + (1 - t) \theta)` from there on. The bend is
    given, not trained.

    References
    ----------
    .. [1] Gao Huang et al., "Snapshot Ensembles: Train 1, Get M for Free", ICLR 2017.
    .. [2] T. Garipov et al., "Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs",
       NeurIPS 2018.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skensemble import SnapshotEnsembleClassifier
    >>> from skensemble.display import InterpolationDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SnapshotEnsembleClassifier(n_cycles=3, max_epochs=9, random_state=0).fit(X, y)
    >>> display = InterpolationDisplay.from_estimator(model, X, y)
    """

    ax_: Axes
    figure_: Figure
    lines_: list[Artist]

    def __init__(
        self,
        *,
        positions: ArrayLike,
        losses: ArrayLike,
        labels: Sequence[str] | None = None,
        loss_name: str = "Loss",
    ):
        self.positions, self.losses = positions, losses
        self.labels, self.loss_name = labels, loss_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X: Input,
        y: ArrayLike,
        *,
        pairs: Sequence[tuple[int, int]] | None = None,
        bend: int | State | None = None,
        metric: Metric | None = None,
        loss_name: str | None = None,
        n_points: int = 21,
        X_train: Input = None,
        ax: Axes | None = None,
        line_kw: Options | None = None,
    ) -> Self:
        """Draw the loss along lines between snapshots of a fitted ensemble.

        Parameters
        ----------
        estimator : SnapshotEnsembleClassifier, SnapshotEnsembleRegressor or Pipeline
            A fitted ensemble, or a Pipeline that ends in one.
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to compute the loss of; best such that no chain was trained on.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their class labels or target values.
        pairs : sequence of (int, int), default=None
            Places in ``snapshots_`` of the two ends of each line. None: from each earlier snapshot
            of the first chain to its last one, as in figure 4 of Huang et al.; of a single cycle,
            from the first chain to the others.
        bend : int or dict of Tensor, default=None
            A place in ``snapshots_``, or a state dict, that a second line of each pair goes
            through. None: there are straight lines alone.
        metric : callable, default=None
            A function of ``(y, predicted)`` to draw; a classifier's `predicted` are probabilities
            of shape (n_samples, n_classes). None: the log-loss, or the mean squared error.
        loss_name : str, default=None
            Name of the loss. None: that of `metric`.
        n_points : int, default=21
            Number of points on each line, both ends included; at least 3.
        X_train : array-like of shape (n_train, n_features) or (n_train, ...), default=None
            Rows by which statistics of batch normalisation are computed anew at each point, the
            ends included, as ``torch.optim.swa_utils.update_bn`` does: those of the ends do not
            belong to what lies between them. None: `X`. Other buffers are interpolated, and whole
            numbers are those of the nearer end.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        line_kw : dict, default=None
            Arguments of all lines, for matplotlib.

        Returns
        -------
        display : InterpolationDisplay

        Raises
        ------
        ValueError
            If there is one snapshot alone, if there is no such snapshot, if a `bend` is of another
            network, or if the criterion's outputs are not on the scale of `y` and there is no
            `metric`.
        """
        model = last_step(estimator)
        check_is_fitted(model)
        fitted = model._fitted_
        if not isinstance(n_points, Integral) or n_points < 3:
            raise ValueError(
                f"Got n_points={short(n_points)}, but expected an integer of at least 3."
            )
        lines, labels = _lines(fitted, pairs, bend)
        positions = np.linspace(0, 1, int(n_points))
        with on_named_device(fitted.nets[0].device):
            data = read_later(model, seen_by_last(estimator, X), y, None, fitted.known)
            loss, name = _loss_of(fitted, data, y, metric)
            rows = _statistics_rows(model, data, estimator, X_train)
            losses = [_along(fitted, line, positions, data, loss, rows) for line in lines]
        display = cls(
            positions=positions,
            losses=np.array(losses),
            labels=labels,
            loss_name=name if loss_name is None else loss_name,
        )
        return display.plot(ax, line_kw=line_kw)

    def plot(self, ax: Axes | None = None, *, line_kw: Options | None = None) -> Self:
        """Draw the lines.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        line_kw : dict, default=None
            Arguments of all lines, for matplotlib.

        Returns
        -------
        self : InterpolationDisplay

        Raises
        ------
        ValueError
            If there is no line, or no loss for each position.
        """
        positions = np.asarray(self.positions, dtype=np.float64)
        losses = np.asarray(self.losses, dtype=np.float64)
        if losses.ndim != 2 or not losses.size or losses.shape[1:] != positions.shape:
            raise ValueError(
                f"Got losses of shape {losses.shape}, but expected (n_lines, n_points), with a "
                "loss for each of positions."
            )
        labels = [None] * len(losses) if self.labels is None else list(self.labels)
        ax = open_axes(self, ax)
        self.lines_ = []
        for own, label in zip(losses, labels, strict=True):
            style = {"label": label, "linestyle": "--" if label and _VIA in label else "-"}
            self.lines_ += ax.plot(positions, own, **merged(style, line_kw))
        ax.set(xlabel="Position on the line, from the first to the last", ylabel=self.loss_name)
        ax.margins(x=0.02)
        if self.labels is not None:
            ax.legend(frameon=False, title="snapshots")
        return self


#: What a label has of a line with a bend.
_VIA = " via "


def _lines(
    fitted: Fitted, pairs: Sequence[tuple[int, int]] | None, bend: int | State | None
) -> tuple[list[list[State]], list[str]]:
    """Return the corners of each line, and its name."""
    pairs = _usual_pairs(fitted) if pairs is None else pairs
    between, via = None, ""
    if bend is not None:
        between, via = _state_of(fitted, bend, "bend")
    lines, labels = [], []
    for pair in pairs:
        if len(tuple(pair)) != 2:
            raise ValueError(
                f"Got pairs with {short(pair)}, but expected two places in snapshots_ for each."
            )
        (first, one), (last, other) = (_state_of(fitted, index, "pairs") for index in pair)
        lines.append([first, last])
        labels.append(f"{one} to {other}")
        if between is not None:
            lines.append([first, between, last])
            labels.append(f"{one}{_VIA}{via} to {other}")
    if not lines:
        raise ValueError("Got pairs=[], but expected two places in snapshots_ for each line.")
    return lines, labels


def _usual_pairs(fitted: Fitted) -> list[tuple[int, int]]:
    """Return the pairs of the first chain with its last snapshot, or those of chains."""
    n_cycles, n_chains = fitted.n_cycles, fitted.n_chains
    if n_cycles == n_chains == 1:
        raise ValueError(
            "Got an ensemble of one snapshot, but expected at least two, with a line between "
            "them: set more n_cycles or n_chains."
        )
    if n_cycles == 1:
        return [(0, chain) for chain in range(1, n_chains)]
    ends = [(cycle + 1) * fitted.n_per_cycle - n_chains for cycle in range(n_cycles)]
    return [(end, ends[-1]) for end in ends[:-1]]


def _state_of(fitted: Fitted, which: int | State, name: str) -> tuple[State, str]:
    """Return a snapshot by its place, or a state dict that was checked; and its name."""
    n = len(fitted.snapshots)
    if isinstance(which, Integral) and not isinstance(which, bool):
        if not -n <= which < n:
            raise ValueError(
                f"Got {name} with {short(which)}, but expected places in snapshots_, from {-n} to "
                f"{n - 1}."
            )
        index = int(which) % n
        return fitted.snapshots[index], str(index)
    like = fitted.snapshots[0]
    is_state = isinstance(which, dict) and not which.keys() - like.keys()
    if not is_state or any(
        not isinstance(tensor, torch.Tensor) or tensor.shape != like[key].shape
        for key, tensor in which.items()  # type: ignore[union-attr]
    ):
        raise ValueError(
            f"Got {name}={short(which)}, but expected a place in snapshots_, or a state dict of "
            "such a network: tensors of the same names and shapes."
        )
    assert isinstance(which, dict)
    there = {key: which[key].detach().to(tensor) for key, tensor in like.items() if key in which}
    return {**like, **there}, "the bend"


def point_on(corners: Sequence[State], position: float) -> State:
    """Return the network at a place of the polygonal chain, from 0 to 1."""
    at = position * (len(corners) - 1)
    begin = min(int(at), len(corners) - 2)
    part = at - begin
    made = {}
    for name, first in corners[begin].items():
        last = corners[begin + 1][name]
        if first.is_floating_point() or first.is_complex():
            wide = torch.promote_types(first.dtype, torch.float64)
            mixed = torch.lerp(first.cpu().to(wide), last.cpu().to(wide), part)
            made[name] = mixed.to(first.device, first.dtype)
        else:
            made[name] = first if part < 0.5 else last
    return made


def _along(
    fitted: Fitted,
    corners: Sequence[State],
    positions: Floats,
    data: Examples,
    loss: Callable[[Floats], float],
    rows: StatisticsRows | None,
) -> list[float]:
    """Return the loss at each position of a line."""
    states = [point_on(corners, float(position)) for position in positions]
    if rows is not None:
        states = [rows.renew(fitted, state, 0) for state in states]
    there = replace(fitted, snapshots=Snapshots(states))
    return [loss(values) for values in there.each_member(data.source)]


def _loss_of(
    fitted: Fitted, data: Examples, y: ArrayLike, metric: Metric | None
) -> tuple[Callable[[Floats], float], str]:
    """Return the loss of what is predicted, and its name."""
    targets = fitted.targets
    is_of_classes = hasattr(targets, "classes") or targets.has_sigmoids
    if metric is not None:

        def own(values: Floats) -> float:
            return float(metric(y, values if is_of_classes else targets.decode(values)))

        return own, str(getattr(metric, "__name__", "Loss")).replace("_", " ").capitalize()
    if not targets.is_loss_known:
        raise ValueError(
            "Got an ensemble whose outputs are not on the scale of y, but expected metric=, a "
            "function of (y, predicted)."
        )
    truth: Array = targets.truth(data.y)
    measure = targets.measure or measure_of(truth)
    weight = np.ones(len(truth))

    def usual(values: Floats) -> float:
        return -measure.score(values[None], truth, weight, np.ones(1))

    return usual, measure.name[:1].upper() + measure.name[1:]


def _statistics_rows(
    model: BaseSnapshotEnsemble, data: Examples, estimator: Estimator, X_train: Input
) -> StatisticsRows | None:
    """Return the rows by which statistics are computed anew; None: the module keeps none."""
    fitted = model._fitted_
    if not has_statistics(fitted.nets[0].module_):
        return None
    source = data.source
    if X_train is not None:
        _, source = model._read(seen_by_last(estimator, X_train))
    X = fitted.intake.rows(source)
    everyone = [np.arange(len(X))] * fitted.n_chains
    return StatisticsRows(X, everyone, model._named("transform"))
