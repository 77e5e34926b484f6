"""The score of unseen rows over cycles, beside the weights of the cycles."""

from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import is_classifier
from sklearn.utils.validation import check_is_fitted

from skensemble._types import Array, Floats, Options, Scoring
from skensemble._warnings import short
from skensemble.base import BaseSnapshotEnsemble
from skensemble.measures import LogLoss, SquaredError
from skensemble.model_selection import CycleCurve
from skensemble.pipelines import Estimator, last_step

from ._axes import Artist, Axes, Figure, merged, neutral, open_axes


class CycleCurveDisplay:
    """Score of the ensemble after 1, 2, … cycles, beside the weights of the cycles.

    Make one by :meth:`from_estimator`, :meth:`from_curve` or :meth:`from_predictions`. All
    parameters are stored as attributes.

    Parameters
    ----------
    n_cycles : array-like of int of shape (M,)
        Numbers of cycles.
    scores : array-like of shape (M,) or (M, n_splits)
        Score after so many cycles, with a column for each fold where there are several.
    weights : array-like of shape (M,), default=None
        Weight of each cycle in the ensemble. None: no bars are drawn.
    score_name : str, default="Score"
        Name of the score, for the axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes with the curve.
    figure_ : matplotlib Figure
        Figure with the axes.
    line_ : matplotlib Line2D
        The curve; of several folds their mean.
    fill_between_ : matplotlib PolyCollection or None
        One standard deviation over the folds to each side.
    ax_weights_ : matplotlib Axes or None
        Axes of the weights, on the right.
    bars_ : matplotlib BarContainer or None
        The weights.

    See Also
    --------
    skensemble.model_selection.cycle_curve : Scores of one fit, or of a fit for each fold.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skensemble import SnapshotEnsembleClassifier
    >>> from skensemble.display import CycleCurveDisplay
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SnapshotEnsembleClassifier(n_cycles=3, max_epochs=9, random_state=0).fit(X, y)
    >>> display = CycleCurveDisplay.from_estimator(model)
    """

    ax_: Axes
    figure_: Figure
    line_: Artist
    fill_between_: Artist | None
    ax_weights_: Axes | None
    bars_: Artist | None

    def __init__(
        self,
        *,
        n_cycles: ArrayLike,
        scores: ArrayLike,
        weights: ArrayLike | None = None,
        score_name: str = "Score",
    ):
        self.n_cycles, self.scores, self.weights = n_cycles, scores, weights
        self.score_name = score_name

    @classmethod
    def from_estimator(
        cls,
        estimator: Estimator,
        *,
        ax: Axes | None = None,
        negate_score: bool = False,
        score_name: str | None = None,
        line_kw: Options | None = None,
        bar_kw: Options | None = None,
    ) -> Self:
        """Draw what a fit says of the rows that it left out.

        Parameters
        ----------
        estimator : SnapshotEnsembleClassifier, SnapshotEnsembleRegressor or Pipeline
            A fitted ensemble, or a Pipeline that ends in one. It has ``cycle_scores_``.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        negate_score : bool, default=False
            Whether to draw the negative of the score: of a negative loss, the loss.
        score_name : str, default=None
            Name of the score. None: that of the estimator's `scoring`.
        line_kw, bar_kw : dict, default=None
            Arguments of the curve and of the bars, for matplotlib.

        Returns
        -------
        display : CycleCurveDisplay

        Raises
        ------
        ValueError
            If no rows were left out, so that there is no score.
        """
        model = last_step(estimator)
        check_is_fitted(model)
        if not hasattr(model, "cycle_scores_"):
            raise ValueError(
                "Got an ensemble without cycle_scores_, but expected one that left rows out: fit "
                "with validation='cross' or several chains, give X_val and y_val, or draw the "
                "result of cycle_curve(..., cv=5) by from_curve."
            )
        display = cls(
            n_cycles=np.arange(1, model.n_cycles_ + 1),
            scores=model.cycle_scores_.copy(),
            weights=_weights_of_cycles(model),
            score_name=_name_of(model.scoring, model),
        )
        return display.plot(
            ax, negate_score=negate_score, score_name=score_name, line_kw=line_kw, bar_kw=bar_kw
        )

    @classmethod
    def from_curve(
        cls,
        curve: CycleCurve,
        *,
        ax: Axes | None = None,
        negate_score: bool = False,
        score_name: str | None = None,
        line_kw: Options | None = None,
        fill_between_kw: Options | None = None,
        bar_kw: Options | None = None,
    ) -> Self:
        """Draw the result of :func:`~skensemble.model_selection.cycle_curve`.

        Parameters
        ----------
        curve : CycleCurve
            Of several folds the mean is drawn, with a band of one standard deviation.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        negate_score : bool, default=False
            Whether to draw the negative of the score: of a negative loss, the loss.
        score_name : str, default=None
            Name of the score. None: that of the `scoring` of the fit; with folds "Score".
        line_kw, fill_between_kw, bar_kw : dict, default=None
            Arguments of the curve, of its band and of the bars, for matplotlib.

        Returns
        -------
        display : CycleCurveDisplay
        """
        weights, name = None, "Score"
        if curve.estimator is not None:
            model = last_step(curve.estimator)
            weights = _weights_of_cycles(model)
            name = _name_of(model.scoring, model)
        display = cls(
            n_cycles=curve.n_cycles, scores=curve.scores, weights=weights, score_name=name
        )
        return display.plot(
            ax,
            negate_score=negate_score,
            score_name=score_name,
            line_kw=line_kw,
            fill_between_kw=fill_between_kw,
            bar_kw=bar_kw,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        stages: Iterable[Array],
        *,
        metric: Callable[..., float],
        ax: Axes | None = None,
        score_name: str | None = None,
        line_kw: Options | None = None,
    ) -> Self:
        """Draw a metric of predictions after 1, 2, … cycles.

        Parameters
        ----------
        y_true : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels or target values, such as those of test rows.
        stages : iterable of ndarray
            What ``staged_predict`` or ``staged_predict_proba`` yield for these rows.
        metric : callable
            A function of ``(y_true, predicted)``, such as ``sklearn.metrics.log_loss``.
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        score_name : str, default=None
            Name of the metric. None: that of the function.
        line_kw : dict, default=None
            Arguments of the curve, for matplotlib.

        Returns
        -------
        display : CycleCurveDisplay

        Raises
        ------
        ValueError
            If there is no stage.
        """
        scores = [float(metric(y_true, predicted)) for predicted in stages]
        if not scores:
            raise ValueError(
                "Got stages=[], but expected predictions after 1, 2, … cycles, such as "
                "model.staged_predict(X)."
            )
        name = _name_of(metric) if score_name is None else score_name
        display = cls(n_cycles=np.arange(1, len(scores) + 1), scores=scores, score_name=name)
        return display.plot(ax, line_kw=line_kw)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        negate_score: bool = False,
        score_name: str | None = None,
        line_kw: Options | None = None,
        fill_between_kw: Options | None = None,
        bar_kw: Options | None = None,
    ) -> Self:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw. None: a new figure.
        negate_score : bool, default=False
            Whether to draw the negative of the score.
        score_name : str, default=None
            Name of the score. None: that of the display.
        line_kw, fill_between_kw, bar_kw : dict, default=None
            Arguments of the curve, of its band and of the bars, for matplotlib.

        Returns
        -------
        self : CycleCurveDisplay
        """
        n_cycles, scores, weights = self._checked()
        ax = open_axes(self, ax)
        scores = -scores if negate_score else scores
        name = self.score_name if score_name is None else score_name
        if negate_score and score_name is None:
            name = _negated(name)
        mean, spread = scores.mean(axis=1), scores.std(axis=1)
        (self.line_,) = ax.plot(n_cycles, mean, **merged({"marker": "o"}, line_kw))
        self.fill_between_ = None
        if scores.shape[1] > 1:
            given = merged({"alpha": 0.25, "color": self.line_.get_color()}, fill_between_kw)
            self.fill_between_ = ax.fill_between(n_cycles, mean - spread, mean + spread, **given)
        ax.set(xlabel="Cycles", ylabel=name)
        ax.xaxis.get_major_locator().set_params(integer=True)
        self.ax_weights_ = self.bars_ = None
        if weights is not None:
            self._draw_weights(ax, n_cycles, weights, bar_kw)
        return self

    def _checked(self) -> tuple[Array, Floats, Floats | None]:
        """Return the numbers to be drawn, scores with a column for each fold."""
        n_cycles = np.asarray(self.n_cycles)
        scores = np.asarray(self.scores, dtype=np.float64)
        scores = scores[:, None] if scores.ndim == 1 else scores
        weights = None if self.weights is None else np.asarray(self.weights, dtype=np.float64)
        lengths = {len(scores), *([] if weights is None else [len(weights)])}
        if n_cycles.ndim != 1 or not len(n_cycles) or lengths != {len(n_cycles)}:
            raise ValueError(
                f"Got n_cycles={short(self.n_cycles)}, but expected numbers of cycles, as many as "
                "there are scores and weights."
            )
        return n_cycles, scores, weights

    def _draw_weights(
        self, ax: Axes, n_cycles: Array, weights: Floats, bar_kw: Options | None
    ) -> None:
        """Draw bars behind the curve, with a scale of their own on the right."""
        beside = self.ax_weights_ = ax.twinx()
        beside.set_zorder(ax.get_zorder() - 1)
        ax.patch.set_visible(False)
        given = merged({"color": neutral(ax), "alpha": 0.2, "width": 0.6}, bar_kw)
        self.bars_ = beside.bar(n_cycles, weights, **given)
        beside.set_ylim(0, max(1.0, float(weights.max())))
        beside.set_ylabel("Weight of the cycle")
        beside.spines["top"].set_visible(False)


def _weights_of_cycles(model: BaseSnapshotEnsemble) -> Floats:
    """Return the weight of each cycle, all its chains together."""
    weights: Floats = model.member_weights_.reshape(model.n_cycles_, -1).sum(axis=1)
    return weights


def _negated(name: str) -> str:
    """Return the name of a score that is drawn negated."""
    short_name = name.removeprefix("Negative ")
    if short_name == name:
        return f"Negative {name[:1].lower()}{name[1:]}"
    return short_name[:1].upper() + short_name[1:]


def _name_of(scoring: Scoring | None, model: Any = None) -> str:
    """Return the name of a score, as scikit-learn's displays word it."""
    if scoring is None:
        measure = model._fitted_.targets.measure
        usual = LogLoss if is_classifier(model) else SquaredError
        return f"Negative {(measure or usual).name}"
    if not isinstance(scoring, str):
        scoring = str(getattr(scoring, "__name__", "Score"))
    if scoring.startswith("neg_"):
        return "Negative " + scoring.removeprefix("neg_").replace("_", " ")
    text = scoring.replace("_", " ")
    return text[:1].upper() + text[1:]
