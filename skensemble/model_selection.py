"""How good an ensemble is after 1, 2, … cycles, and at which rates it learns.

The curve over cycles is from one fit, or from one fit for each fold.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone, is_classifier
from sklearn.metrics import check_scoring, get_scorer_names, log_loss, mean_squared_error
from sklearn.model_selection import check_cv
from sklearn.utils import Tags, get_tags, indexable
from sklearn.utils.metaestimators import available_if
from sklearn.utils.parallel import Parallel, delayed

from ._compat import safe_indexing
from ._data.containers import naming
from ._types import Array, Floats, Input, Parameter
from ._warnings import short
from .base import BaseSnapshotEnsemble
from .keywords import nearest
from .pipelines import Estimator, fit_last, last_step, seen_by_last
from .rate_range import LRRange, lr_range_test
from .weighing import decide

__all__ = ["CycleCurve", "LRRange", "cycle_curve", "lr_range_test"]

#: Scores what an estimator says of X against y.
Scorer = Callable[[Parameter, Input, ArrayLike], float]


class CycleCurve(NamedTuple):
    """Scores after 1, 2, … cycles, as :func:`cycle_curve` returns them.

    Attributes
    ----------
    n_cycles : ndarray of int of shape (M,)
        1, 2, … M.
    scores : ndarray of float64 of shape (M,) or (M, n_splits)
        Score of the ensemble after so many cycles, the higher the better; with `cv` a column for
        each fold. A fold whose fit ended earlier than others keeps its last score.
    estimator : estimator or None
        The fitted clone; None with `cv`, whose fits are not kept.
    """

    n_cycles: NDArray[np.int64]
    scores: Floats
    estimator: Estimator | None


def cycle_curve(
    estimator: Estimator,
    X: Input,
    y: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    cv: Parameter = None,
    scoring: str | Scorer | None = None,
    n_jobs: int | None = None,
) -> CycleCurve:
    """Score an ensemble after 1, 2, … M cycles of one run.

    Without `cv` the scores come from one fit, by the rows that it leaves out; with `cv` they come
    from one fit for each fold. There is never a fit for each number of cycles.

    Parameters
    ----------
    estimator : SnapshotEnsembleClassifier, SnapshotEnsembleRegressor or Pipeline
        A Pipeline ends in one of the two. A clone is fitted, the estimator stays as it is.
    X : array-like of shape (n_samples, n_features) or (n_samples, ...)
        Training rows.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        Class labels or target values.
    groups : array-like of shape (n_samples,), default=None
        Rows of one group are left out together, by the chains and by `cv`.
    cv : int, cross-validation generator or iterable, default=None
        Folds whose test rows are scored. None: one fit on all rows, whose ``cycle_scores_`` are
        returned.
    scoring : str or callable, default=None
        A scorer of scikit-learn's, or a function of ``(estimator, X, y)``, for the test rows of
        each fold; it needs `cv`. None: that of the estimator, else the negative log-loss or mean
        squared error.
    n_jobs : int, default=None
        How many folds are fitted at the same time. None: one, unless within a
        ``joblib.parallel_config``.

    Returns
    -------
    curve : CycleCurve
        With ``n_cycles``, ``scores`` and ``estimator``.

    Raises
    ------
    ValueError
        If neither the estimator nor `cv` leaves rows out, or if a parameter does not fit.

    See Also
    --------
    sklearn.model_selection.validation_curve : Scores for the values of any parameter.

    Notes
    -----
    The first m cycles of a run of M are a run of m cycles with the part of the budget that they
    took, not one of m longer cycles with the whole budget. With early stopping, M may be less than
    the `n_cycles` of the estimator; for the whole curve set ``early_stopping=False``.

    The two curves differ a little. Without `cv` a row is predicted by the chains that left it out;
    with `cv` by all chains, which were trained on fewer rows. Without `cv` the weights of
    ``members="stacked"`` are chosen by the rows that are scored, so that a further cycle hardly
    ever lowers the score, and class weights count in it. Without `cv` the first steps of a
    Pipeline have seen all rows: give `cv` if one of them looks at y.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skensemble import SnapshotEnsembleRegressor
    >>> from skensemble.model_selection import cycle_curve
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = SnapshotEnsembleRegressor(
    ...     n_cycles=4, max_epochs=8, early_stopping=False, random_state=0
    ... )
    >>> curve = cycle_curve(model, X, y)
    >>> curve.n_cycles
    array([1, 2, 3, 4])
    >>> bool(curve.scores[-1] == curve.estimator.validation_score_)
    True
    >>> cycle_curve(model, X, y, cv=3, scoring="r2").scores.shape
    (4, 3)
    """
    last = last_step(estimator)
    if not (scoring is None or isinstance(scoring, str) or callable(scoring)):
        raise ValueError(
            f"Got scoring={short(scoring)}, but expected the name of one scorer, or one. Call "
            "cycle_curve for each."
        )
    if cv is None:
        if scoring is not None:
            raise ValueError(
                f"Got scoring={short(scoring)} without cv, but expected cv=, such as cv=5: what a "
                "fit says of its unseen rows is their log-loss or squared error, or the scoring of "
                "the estimator."
            )
        return _fit_all_rows(clone(estimator), X, y, groups)
    scoring = last.scoring if scoring is None else scoring
    if scoring is None and is_classifier(last) and not hasattr(last, "predict_proba"):
        raise ValueError(
            "Got scoring=None with voting='hard', but expected scoring=, such as 'accuracy': "
            "votes have no log-loss."
        )
    scorer = _score_by_loss if scoring is None else _find_scorer(estimator, scoring)
    with naming("y"):
        X, y, groups = indexable(X, y, groups)
    splits = _split(cv, X, y, groups, is_classifier=is_classifier(last))
    curves = Parallel(n_jobs=n_jobs)(
        delayed(_score_fold)(clone(estimator), X, y, groups, train, test, scorer)
        for train, test in splits
    )
    n_cycles = max(map(len, curves))
    # Where a fit ended early, more cycles to go through would have given the same ensemble.
    columns = [curve + curve[-1:] * (n_cycles - len(curve)) for curve in curves]
    return CycleCurve(np.arange(1, n_cycles + 1), np.array(columns).T, None)


def _find_scorer(estimator: Estimator, scoring: str | Scorer) -> Scorer:
    """Return a scorer by its name, or refuse a name that is none."""
    if isinstance(scoring, str) and scoring not in get_scorer_names():
        raise ValueError(
            f"Got scoring={short(scoring)}, but expected the name of a scorer, one of "
            f"sklearn.metrics.get_scorer_names().{nearest(scoring, get_scorer_names())}"
        )
    return check_scoring(estimator, scoring=scoring)


def _split(
    cv: Parameter, X: Input, y: ArrayLike, groups: ArrayLike | None, *, is_classifier: bool
) -> list[tuple[Array, Array]]:
    """Return the rows of each fold, or name `cv` where there are none."""
    try:
        return list(check_cv(cv, y, classifier=is_classifier).split(X, y, groups))
    except ValueError as error:
        remedy = "give groups=" if "groups" in str(error) else "such as cv=5"
        raise ValueError(
            f"Got cv={short(cv)}, but expected a number of folds of at least 2, or a splitter for "
            f"these rows: {str(error).rstrip('.')}; {remedy}."
        ) from error


def _fit_all_rows(
    estimator: Estimator, X: Input, y: ArrayLike, groups: ArrayLike | None
) -> CycleCurve:
    """Return what the fit of all rows says of those that it left out."""
    last = last_step(estimator)
    is_single = last.n_chains == 1 or (last.n_chains == "auto" and last.module is not None)
    if last.validation is None or (is_single and last.validation == "auto"):
        raise ValueError(_NOTHING_LEFT_OUT)  # before the fit, which may be long
    fit_last(estimator, X, y, groups=groups)
    if not hasattr(last, "cycle_scores_"):  # so few rows that none was left out
        raise ValueError(_NOTHING_LEFT_OUT)
    return CycleCurve(np.arange(1, last.n_cycles_ + 1), last.cycle_scores_.copy(), estimator)


def _score_fold(
    estimator: Estimator,
    X: Input,
    y: ArrayLike,
    groups: ArrayLike | None,
    train: Array,
    test: Array,
    scorer: Scorer,
) -> list[float]:
    """Fit on the rows of one fold, and score every stage on the others."""
    own_groups = None if groups is None else safe_indexing(groups, train)
    fit_last(estimator, safe_indexing(X, train), safe_indexing(y, train), groups=own_groups)
    X_test, y_test = safe_indexing(X, test), safe_indexing(y, test)
    return [float(scorer(stage, X_test, y_test)) for stage in _stages(estimator, X_test)]


class Stage:
    """A fitted ensemble as it was after some of its cycles, for the rows `X` of one fold.

    Scorers take it for an estimator. `predicted` and `probabilities`, where there are some, are
    what the stage says of the rows.
    """

    def __init__(
        self, model: BaseSnapshotEnsemble, X: Input, predicted: Array, probabilities: Array | None
    ):
        self.model, self.X = model, X
        self._predicted, self._probabilities = predicted, probabilities

    @property
    def classes_(self) -> Array:
        """Class labels of a classifier."""
        return self.model.classes_

    def predict(self, X: Input) -> Array:
        """Return the labels or values of the rows that there are."""
        self._check_rows(X)
        return self._predicted

    @available_if(lambda self: self._probabilities is not None)
    def predict_proba(self, X: Input) -> Array | None:
        """Return the class probabilities of the rows that there are."""
        self._check_rows(X)
        return self._probabilities

    def _check_rows(self, X: Input) -> None:
        if X is not self.X:
            raise ValueError("Got other rows than those of the fold, but expected these in scoring")

    def __sklearn_tags__(self) -> Tags:
        return get_tags(self.model)

    def __sklearn_is_fitted__(self) -> bool:
        return True


def _stages(estimator: Estimator, X: Input) -> Iterator[Stage]:
    """Yield all stages, from one pass of the rows through the members."""
    last, seen = last_step(estimator), seen_by_last(estimator, X)
    if hasattr(last, "staged_predict_proba"):
        verdict = last._fitted_.verdict
        if verdict is not None:  # the temperature is in the probabilities
            verdict = verdict._replace(temperature=1.0)
        for probabilities in last.staged_predict_proba(seen):
            predicted = decide(last._fitted_.targets, verdict, probabilities)
            yield Stage(last, X, predicted, probabilities)
    else:
        for predicted in last.staged_predict(seen):
            yield Stage(last, X, predicted, None)


def _score_by_loss(stage: Stage, X: Input, y: ArrayLike) -> float:
    """Return the negative log-loss or mean squared error, as the score of unseen rows."""
    if is_classifier(stage):
        return -float(log_loss(y, stage.predict_proba(X), labels=stage.classes_))
    return -float(mean_squared_error(y, stage.predict(X)))


_NOTHING_LEFT_OUT = (
    "Got cv=None and an estimator that leaves no rows out, but expected validation=, such as "
    "validation='cross', or cv=, such as cv=5."
)
