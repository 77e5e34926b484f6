"""How often members agree: chains against cycles, as a matrix."""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from skensemble._types import Array, Floats, Input, Options
from skensemble._warnings import short
from skensemble.metrics import disagreement_score, error_correlation, residual_correlation
from skensemble.pipelines import Estimator, last_step, seen_by_last

from ._axes import Artist, Axes, Figure, merged, neutral, open_axes

#: By what members stand next to each other.
_ORDERS = ("chain", "cycle")


class MembersDisplay:
    """Agreement of all pairs of members, chains against cycles.

    Make one by :meth:`from_estimator` or :meth:`from_predictions`. All parameters are stored as
    attributes.

    Parameters
    ----------
    agreement : array-like of shape (n_members, n_members)
        A value for each pair, in the order of ``snapshots_``: the chains of the first cycle, those
        of the second, …
    n_chains : int, default=1
        Number of chains.
    name : str, default="Agreement"
        What the values are, for the bar of colours.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the matrix.
    figure_ : matplotlib Figure
        Figure with the axes.
    im_ : matplotlib AxesImage
        The matrix.
    colorbar_ : matplotlib Colorbar or None
        The bar of colours.

    See Also
    --------
    skensemble.metrics.disagreement_score : How often two members differ.
    skensemble.metrics.error_correlation : Whether they err at the same rows.
    skensemble.metrics.residual_correlation : The same for values.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skensemble import SnapshotEnsembleClassifier
    >>> from skensemble.display import MembersDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SnapshotEnsembleClassifier(n_cycles=3, max_epochs=9, random_state=0).fit(X, y)
    >>> display = MembersDisplay.from_estimator(model, X)
    """

    ax_: Axes
    figure_: Figure
    im_: Artist
    colorbar_: Artist | None

    def __init__(self, *, agreement: ArrayLike, n_chains: int = 1, name: str = "Agreement"):
        self.agreement, self.n_chains, self.name = agreement, n_chains, name

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X: Input,
        y: ArrayLike | None = None,
        *,
        by: str = "chain",
        ax: Axes | None = None,
        colorbar: bool = True,
        im_kw: Options | None = None,
    ) -> Self:
        """Draw how often the snapshots of a fitted ensemble agree, whatever their weights are.

        Parameters
        ----------
        estimator : SnapshotEnsembleClassifier, SnapshotEnsembleRegressor or Pipeline
            A fitted ensemble, or a Pipeline that ends in one.
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to compare the snapshots by; best such that none was trained on.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Class labels or target values. None: a pair of a classifier has the share of rows for
            which it predicts the same class, a pair of a regressor the correlation of what it
            predicts. With `y` a pair has the correlation of its mistakes, or of its residuals.
        by : {"chain", "cycle"}, default="chain"
            Whether the snapshots of one chain, or those of one cycle, stand next to each other.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        colorbar : bool, default=True
            Whether to draw a bar of colours.
        im_kw : dict, default=None
            Arguments of the image, such as ``cmap``, for matplotlib.

        Returns
        -------
        display : MembersDisplay

        Raises
        ------
        ValueError
            If there is one snapshot alone.
        """
        model = last_step(estimator)
        check_is_fitted(model)
        return cls.from_predictions(
            model.predict_members(seen_by_last(estimator, X)),
            y,
            labels=model.classes_ if is_classifier(model) else None,
            n_chains=model.n_chains_,
            by=by,
            ax=ax,
            colorbar=colorbar,
            im_kw=im_kw,
        )

    @classmethod
    def from_predictions(
        cls,
        members: ArrayLike,
        y_true: ArrayLike | None = None,
        *,
        labels: ArrayLike | None = None,
        n_chains: int = 1,
        by: str = "chain",
        ax: Axes | None = None,
        colorbar: bool = True,
        im_kw: Options | None = None,
    ) -> Self:
        """Draw how often members agree, from what they predict.

        Parameters
        ----------
        members : array-like of shape (n_members, n_samples, n_classes) or (n_members, n_samples)
            Predictions as ``predict_members`` returns them: probabilities with `labels`, else
            values, for several outputs of shape (n_members, n_samples, n_outputs).
        y_true : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Class labels or target values; see :meth:`from_estimator`.
        labels : array-like of shape (n_classes,), default=None
            The classes, in the order of the columns of `members`. None: they are values.
        n_chains : int, default=1
            Number of chains: members are those of the first cycle, those of the second, …
        by : {"chain", "cycle"}, default="chain"
            Whether the members of one chain, or those of one cycle, stand next to each other.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        colorbar : bool, default=True
            Whether to draw a bar of colours.
        im_kw : dict, default=None
            Arguments of the image, such as ``cmap``, for matplotlib.

        Returns
        -------
        display : MembersDisplay

        Raises
        ------
        ValueError
            If there is one member alone.
        """
        predicted = np.asarray(members)
        if predicted.ndim < 2 or len(predicted) < 2:
            raise ValueError(
                f"Got members of shape {predicted.shape}, but expected at least two members to "
                "compare: set more n_cycles or n_chains."
            )
        if labels is None:
            agreement, name = _of_values(predicted, y_true)
        else:
            agreement, name = _of_classes(predicted, y_true, np.asarray(labels))
        display = cls(agreement=agreement, n_chains=n_chains, name=name)
        return display.plot(ax, by=by, colorbar=colorbar, im_kw=im_kw)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        by: str = "chain",
        colorbar: bool = True,
        im_kw: Options | None = None,
    ) -> Self:
        """Draw the matrix.

        Colours span the values of different members; the diagonal has its own, 1.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        by : {"chain", "cycle"}, default="chain"
            Whether the members of one chain, or those of one cycle, stand next to each other.
        colorbar : bool, default=True
            Whether to draw a bar of colours.
        im_kw : dict, default=None
            Arguments of the image, such as ``cmap``, for matplotlib.

        Returns
        -------
        self : MembersDisplay

        Raises
        ------
        ValueError
            If the members are not those of whole cycles, or `by` is not known.
        """
        matrix = self._checked(by)
        ax = open_axes(self, ax)
        ax.spines[:].set_visible(True)
        apart = matrix[~np.eye(len(matrix), dtype=bool)]
        apart = apart[np.isfinite(apart)]
        span = {"vmin": apart.min(), "vmax": apart.max()} if len(apart) else {}
        self.im_ = ax.imshow(matrix, **merged({"cmap": "viridis", **span}, im_kw))
        self._name_blocks(ax, by)
        self.colorbar_ = None
        if colorbar:
            self.colorbar_ = ax.figure.colorbar(self.im_, ax=ax, label=self.name)
        return self

    def _checked(self, by: str) -> Floats:
        """Return the matrix, in the order to be drawn."""
        matrix = np.asarray(self.agreement, dtype=np.float64)
        n = len(matrix)
        if by not in _ORDERS:
            raise ValueError(f"Got by={short(by)}, but expected one of {_ORDERS}.")
        if matrix.shape != (n, n) or n < 2 or self.n_chains < 1 or n % self.n_chains:
            raise ValueError(
                f"Got agreement of shape {matrix.shape} and n_chains={short(self.n_chains)}, but "
                "expected a value for each pair of members, as many members in each chain."
            )
        order = np.arange(n)
        if by == "chain":
            order = order.reshape(-1, self.n_chains).T.ravel()
        return matrix[np.ix_(order, order)]

    def _name_blocks(self, ax: Axes, by: str) -> None:
        """Name the chains or cycles along both axes, and draw lines between them."""
        n, n_blocks = len(np.asarray(self.agreement)), self.n_chains
        if by == "cycle":
            n_blocks = n // n_blocks
        size = n // n_blocks
        other = "cycle" if by == "chain" else "chain"
        if size == 1 or n_blocks == 1:  # nothing stands next to each other
            by, n_blocks, size = (other if n_blocks == 1 else by), n, 1
        every = max(1, -(-n_blocks // 12))
        places = (np.arange(n_blocks) * size + (size - 1) / 2)[::every]
        names = [str(k + 1) for k in range(0, n_blocks, every)]
        ax.set_xticks(places, labels=names)
        ax.set_yticks(places, labels=names)
        within = "" if size == 1 else f" (within: {other}s 1 to {size})"
        ax.set(xlabel=f"{by.capitalize()}{within}", ylabel=by.capitalize())
        ax.tick_params(length=0)
        if size > 1:
            for edge in np.arange(1, n_blocks) * size - 0.5:
                ax.axhline(edge, color=_ground(ax), linewidth=1)
                ax.axvline(edge, color=_ground(ax), linewidth=1)
        for spine in ax.spines.values():
            spine.set_color(neutral(ax))


def _ground(ax: Axes) -> object:
    """Return the colour behind the axes."""
    return ax.get_facecolor()


def _of_classes(members: Array, y: ArrayLike | None, labels: Array) -> tuple[Floats, str]:
    """Return how often pairs predict the same class, or the correlation of their mistakes."""
    if y is not None:
        has_labels = np.ndim(y) == 2 and np.shape(y)[1] > 1
        given = {} if has_labels else {"labels": labels}
        matrix = error_correlation(y, members, average=None, **given)
        return np.asarray(matrix), "Correlation of mistakes"
    sums = members.sum(axis=-1)
    if members.ndim == 3 and not np.allclose(sums, 1, atol=1e-2):  # a probability for each label
        members = (members > 0.5).astype(np.int64).reshape(len(members), -1)
        return 1 - np.asarray(disagreement_score(members, average=None)), "Same label"
    return 1 - np.asarray(disagreement_score(members, average=None)), "Same class"


def _of_values(members: Array, y: ArrayLike | None) -> tuple[Floats, str]:
    """Return the correlation of what pairs predict, or of their residuals; the mean of outputs."""
    shape = members.shape[1:2]
    truth = np.zeros(shape) if y is None else np.asarray(y, dtype=np.float64)
    truth = truth.reshape(len(truth), -1)
    by_output = members.reshape(len(members), shape[0], -1)
    k = by_output.shape[2]
    truth = np.broadcast_to(truth, (shape[0], k)) if y is None else truth
    # The residuals of a truth of 0 are the predictions.
    matrices = [
        residual_correlation(truth[:, j], by_output[:, :, j], average=None) for j in range(k)
    ]
    name = "Correlation of predictions" if y is None else "Correlation of residuals"
    return np.mean(np.asarray(matrices), axis=0), name
