"""Intervals against the truth."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import is_regressor
from sklearn.utils.validation import check_is_fitted

from skensemble._types import Floats, Input, Options
from skensemble._warnings import short
from skensemble.metrics import interval_coverage_score
from skensemble.pipelines import Estimator, last_step, seen_by_last

from ._axes import Artist, Axes, Figure, merged, neutral, open_axes


class IntervalDisplay:
    """Intervals against the truth: which rows they cover, and how many.

    Make one by :meth:`from_estimator` or :meth:`from_predictions`. All parameters are stored as
    attributes.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,)
        True values.
    intervals : array-like of shape (n_samples, 2)
        Lower and upper ends, which may be infinite.
    coverage : float, default=None
        Share of rows that was to be covered.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the intervals.
    figure_ : matplotlib Figure
        Figure with the axes.
    intervals_ : matplotlib LineCollection
        The intervals.
    covered_ : matplotlib Line2D
        True values within their intervals.
    missed_ : matplotlib Line2D
        True values outside of them.
    share_ : float
        Share of rows that are covered.

    See Also
    --------
    skensemble.metrics.interval_coverage_score : The share of rows that are covered.
    skensemble.metrics.interval_score_loss : Rewards coverage and narrowness at once.

    Examples
    --------
    >>> from skensemble.display import IntervalDisplay
    >>> display = IntervalDisplay(y_true=[1.0, 2.0], intervals=[[0.5, 2.0], [2.1, 2.9]])
    >>> display = display.plot()
    """

    ax_: Axes
    figure_: Figure
    intervals_: Artist
    covered_: Artist
    missed_: Artist
    share_: float

    def __init__(self, *, y_true: ArrayLike, intervals: ArrayLike, coverage: float | None = None):
        self.y_true, self.intervals, self.coverage = y_true, intervals, coverage

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        X: Input,
        y: ArrayLike,
        *,
        coverage: float = 0.9,
        method: str | None = None,
        output: int | None = None,
        ax: Axes | None = None,
        interval_kw: Options | None = None,
    ) -> Self:
        """Draw what ``predict_interval`` says of rows whose truth is known.

        Parameters
        ----------
        estimator : SnapshotEnsembleRegressor or Pipeline
            A fitted regressor that left rows out, or a Pipeline that ends in one.
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows that no chain was trained on.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their target values.
        coverage : float, default=0.9
            Share of rows that is to be covered, between 0 and 1.
        method : {"cv+", "normalized", "cqr"} or None, default=None
            See ``predict_interval``.
        output : int, default=None
            Which of several outputs to draw.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        interval_kw : dict, default=None
            Arguments of the intervals, for matplotlib.

        Returns
        -------
        display : IntervalDisplay

        Raises
        ------
        ValueError
            If the estimator is a classifier or left no rows out, or for several outputs without
            `output`.
        """
        model = last_step(estimator)
        if not is_regressor(model):
            raise ValueError(
                f"Got estimator={short(model)}, but expected a regressor: a classifier's "
                "predict_set returns sets of classes."
            )
        check_is_fitted(model)
        intervals = model.predict_interval(
            seen_by_last(estimator, X), coverage=coverage, method=method
        )
        return cls.from_predictions(
            y, intervals, coverage=coverage, output=output, ax=ax, interval_kw=interval_kw
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        intervals: ArrayLike,
        *,
        coverage: float | None = None,
        output: int | None = None,
        ax: Axes | None = None,
        interval_kw: Options | None = None,
    ) -> Self:
        """Draw intervals of any origin.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,) or (n_samples, n_outputs)
            True values.
        intervals : array-like of shape (n_samples, 2) or (n_samples, 2, n_outputs)
            Lower and upper ends, which may be infinite.
        coverage : float, default=None
            Share of rows that was to be covered, for the title.
        output : int, default=None
            Which of several outputs to draw.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        interval_kw : dict, default=None
            Arguments of the intervals, for matplotlib.

        Returns
        -------
        display : IntervalDisplay

        Raises
        ------
        ValueError
            If there is not one interval for each row, or for several outputs without `output`.
        """
        y, ends = _of_output(y_true, intervals, output)
        return cls(y_true=y, intervals=ends, coverage=coverage).plot(ax, interval_kw=interval_kw)

    def plot(self, ax: Axes | None = None, *, interval_kw: Options | None = None) -> Self:
        """Draw the intervals, over their middles.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        interval_kw : dict, default=None
            Arguments of the intervals, for matplotlib.

        Returns
        -------
        self : IntervalDisplay
        """
        y, ends = _of_output(self.y_true, self.intervals, None)
        self.share_ = float(interval_coverage_score(y, ends))
        shown = np.clip(ends, *_span(y, ends))
        is_in = (ends[:, 0] <= y) & (y <= ends[:, 1])
        middle = shown.mean(axis=1)
        ax = open_axes(self, ax)
        wide = max(0.6, min(4.0, 300 / len(y)))
        color = ax.plot([], [])[0].get_color()  # the next of the style's
        given = merged({"color": color, "alpha": 0.35, "linewidth": wide}, interval_kw)
        self.intervals_ = ax.vlines(middle, *shown.T, **given)
        dot = {"linestyle": "", "color": neutral(ax), "zorder": 3}
        (self.covered_,) = ax.plot(
            middle[is_in], y[is_in], marker=".", markersize=4, label="covered", **dot
        )
        (self.missed_,) = ax.plot(
            middle[~is_in], y[~is_in], **{**dot, "color": _MISSED}, marker="x", label="missed"
        )
        asked = "" if self.coverage is None else f", {100 * self.coverage:.3g} % asked for"
        ax.set(
            xlabel="Middle of the interval",
            ylabel="True value",
            title=f"{100 * self.share_:.1f} % covered{asked}",
        )
        ax.legend(frameon=False, loc="upper left")  # the intervals go from below to the right
        return self


#: It stands out on a light and on a dark ground.
_MISSED = "tab:red"


def _span(y: Floats, ends: Floats) -> tuple[float, float]:
    """Return between what to draw: ends may be infinite."""
    finite = np.concatenate([y, ends[np.isfinite(ends)]])
    margin = 0.05 * float(np.ptp(finite))
    return float(finite.min()) - margin, float(finite.max()) + margin


def _of_output(
    y_true: ArrayLike, intervals: ArrayLike, output: int | None
) -> tuple[Floats, Floats]:
    """Return the true values and the intervals of one output."""
    y = np.asarray(y_true, dtype=np.float64)
    ends = np.asarray(intervals, dtype=np.float64)
    is_right = y.ndim in (1, 2) and y.size > 0 and ends.ndim in (2, 3)
    if is_right:
        y, ends = y.reshape(len(y), -1), ends.reshape(*ends.shape[:2], -1)
    if not is_right or ends.shape != (len(y), 2, y.shape[1]):
        raise ValueError(
            f"Got intervals of shape {np.shape(intervals)} for y of shape {np.shape(y_true)}, but "
            "expected (n_samples, 2), for several outputs (n_samples, 2, n_outputs): those of one "
            "coverage."
        )
    chosen: Sequence[int] = range(y.shape[1])
    if (output is None and len(chosen) > 1) or (output is not None and output not in chosen):
        raise ValueError(
            f"Got output={short(output)} for {len(chosen)} outputs, but expected one of "
            f"{list(chosen)}."
        )
    return y[:, output or 0], ends[:, :, output or 0]
