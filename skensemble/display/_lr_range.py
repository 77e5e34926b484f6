"""The losses of a run whose rate rises, and the rate that they suggest."""

from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from skensemble._types import Input, Options
from skensemble._warnings import short
from skensemble.model_selection import LRRange, lr_range_test
from skensemble.pipelines import Estimator

from ._axes import Artist, Axes, Figure, merged, neutral, open_axes

#: Losses are drawn up to so much of their fall above the first one.
_ABOVE = 0.5


class LRRangeDisplay:
    """Losses of a run whose rate rises, and the rate that they suggest.

    Make one by :meth:`from_estimator` or :meth:`from_range`. All parameters are stored as
    attributes.

    Parameters
    ----------
    lrs : array-like of shape (n,)
        Rates, rising.
    losses : array-like of shape (n,)
        Loss at each rate.
    smoothed : array-like of shape (n,)
        Moving average of the losses.
    suggestion : float, default=None
        The rate to mark. None, or NaN: none is.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the losses.
    figure_ : matplotlib Figure
        Figure with the axes.
    losses_line_ : matplotlib Line2D
        The losses.
    line_ : matplotlib Line2D
        Their moving average.
    suggestion_line_ : matplotlib Line2D or None
        The suggestion.

    See Also
    --------
    skensemble.model_selection.lr_range_test : The run, and the rule of the suggestion.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skensemble import SnapshotEnsembleClassifier
    >>> from skensemble.display import LRRangeDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SnapshotEnsembleClassifier(random_state=0)
    >>> display = LRRangeDisplay.from_estimator(model, X, y, n_steps=60)
    """

    ax_: Axes
    figure_: Figure
    line_: Artist
    losses_line_: Artist
    suggestion_line_: Artist | None

    def __init__(
        self,
        *,
        lrs: ArrayLike,
        losses: ArrayLike,
        smoothed: ArrayLike,
        suggestion: float | None = None,
    ):
        self.lrs, self.losses, self.smoothed = lrs, losses, smoothed
        self.suggestion = suggestion

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X: Input,
        y: ArrayLike | None = None,
        *,
        min_lr: float = 1e-5,
        max_lr: float = 1.0,
        n_steps: int = 200,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        ax: Axes | None = None,
        line_kw: Options | None = None,
    ) -> Self:
        """Run the test on a clone of an estimator, and draw it.

        Parameters
        ----------
        estimator : SnapshotEnsembleClassifier, SnapshotEnsembleRegressor or Pipeline
            It need not be fitted.
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Class labels or target values. None: a dataset as `X` has its own.
        min_lr, max_lr, n_steps, sample_weight, groups
            See :func:`~skensemble.model_selection.lr_range_test`.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        line_kw : dict, default=None
            Arguments of the moving average, for matplotlib.

        Returns
        -------
        display : LRRangeDisplay
        """
        found = lr_range_test(
            estimator,
            X,
            y,
            min_lr=min_lr,
            max_lr=max_lr,
            n_steps=n_steps,
            sample_weight=sample_weight,
            groups=groups,
        )
        return cls.from_range(found, ax=ax, line_kw=line_kw)

    @classmethod
    def from_range(
        cls, found: LRRange, *, ax: Axes | None = None, line_kw: Options | None = None
    ) -> Self:
        """Draw the result of :func:`~skensemble.model_selection.lr_range_test`.

        Parameters
        ----------
        found : LRRange
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        line_kw : dict, default=None
            Arguments of the moving average, for matplotlib.

        Returns
        -------
        display : LRRangeDisplay
        """
        return cls(**found._asdict()).plot(ax, line_kw=line_kw)

    def plot(self, ax: Axes | None = None, *, line_kw: Options | None = None) -> Self:
        """Draw the losses, on a logarithmic axis of rates.

        Losses far above the first one are beyond the upper edge.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        line_kw : dict, default=None
            Arguments of the moving average, for matplotlib.

        Returns
        -------
        self : LRRangeDisplay

        Raises
        ------
        ValueError
            If there are no losses, or not one for each rate.
        """
        given = (self.lrs, self.losses, self.smoothed)
        lrs, losses, smoothed = (np.asarray(part, dtype=np.float64) for part in given)
        if not lrs.size or not lrs.shape == losses.shape == smoothed.shape:
            raise ValueError(
                f"Got lrs={short(self.lrs)}, but expected rates, with a loss and a smoothed loss "
                "for each, as lr_range_test returns them."
            )
        ax = open_axes(self, ax)
        (self.line_,) = ax.plot(
            lrs, smoothed, **merged({"label": "moving average", "zorder": 3}, line_kw)
        )
        (self.losses_line_,) = ax.plot(
            lrs, losses, color=self.line_.get_color(), alpha=0.4, linewidth=1, label="loss"
        )
        self.suggestion_line_ = None
        if self.suggestion is not None and np.isfinite(self.suggestion):
            self.suggestion_line_ = ax.axvline(
                self.suggestion,
                color=neutral(ax),
                linestyle="--",
                linewidth=1,
                label=f"suggestion: {self.suggestion:.2g}",
            )
        low, first = min(losses.min(), smoothed.min()), smoothed[0]
        top = max(first, losses[0]) + _ABOVE * (first - low)
        if top > low and max(losses.max(), smoothed.max()) > top:
            ax.set_ylim(low - 0.05 * (top - low), top)
        ax.set(xscale="log", xlabel="Learning rate", ylabel="Loss of the batch")
        ax.legend(frameon=False)
        return self
