"""The user's own metric on rows that the chains have not seen: ``scoring=`` and ``decision=``.

A scorer of scikit-learn's asks an estimator. What stands in its place here knows the predictions of
those rows already, and takes the numbers of rows for X.
"""

import inspect
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import check_scoring
from sklearn.utils.metadata_routing import get_routing_for_object

from ._compat import metric_of
from ._data.targets import ClassTargets, RealTargets, Targets, squeeze_output
from ._types import Array, Floats, Scoring
from ._warnings import own_filters, short
from .measures import Loss, Measure, SquaredError, _weighted_mean
from .members import at_most_one

#: Thresholds that are tried at a time: first all over the scores, then about the best.
_THRESHOLDS = 40

#: What a class is predicted at unless a metric decides.
EVEN = 0.5

#: Values of a trial lie so much nearer to their mean than the truth: no metric is at its end there.
_NEARER = 0.1


class _Values(RegressorMixin, BaseEstimator):
    """Stands for a regressor."""

    def __init__(self, values: Array):
        self.values = values

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, X: Array) -> Array:
        """Return the values of the rows with these numbers."""
        return self.values[np.asarray(X)[:, 0]]


class _Labels(ClassifierMixin, BaseEstimator):
    """Stands for a classifier of which a metric is to see the labels alone."""

    def __init__(self, labels: Array, classes_: Array):
        self.labels, self.classes_ = labels, classes_

    def predict(self, X: Array) -> Array:
        """Return the labels of the rows with these numbers."""
        return self.labels[np.asarray(X)[:, 0]]


class _Probabilities(_Labels):
    """Stands for a classifier."""

    def __init__(self, labels: Array, classes_: Array, probabilities: Floats):
        super().__init__(labels, classes_)
        self.probabilities = probabilities

    def predict_proba(self, X: Array) -> Floats:
        """Return the probabilities of the rows with these numbers."""
        return self.probabilities[np.asarray(X)[:, 0]]

    def predict_log_proba(self, X: Array) -> Floats:
        """Return the logarithms of those."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))


class Judge:
    """A scorer that is asked about predictions.

    Parameters
    ----------
    given : str or callable
        The name of a scorer, or one.
    targets : Targets
        What y means.
    name : str
        The parameter of the estimator.
    """

    def __init__(self, given: Scoring, targets: Targets, name: str = "scoring"):
        self.given, self.name, self.targets = given, name, targets
        try:
            # It only has to have a method fit.
            self.scorer: Callable[..., Any] = check_scoring(DummyClassifier(), scoring=given)
        except ValueError as error:
            raise self._error(error) from error
        self.takes_weight = _takes_weight(self.scorer)
        self.classes = targets.attributes().get("classes_")
        if self._is_renamed():
            self.classes = np.arange(2)
        elif self.classes is not None and not isinstance(targets, ClassTargets):
            # A table of 0 and 1 is how scikit-learn tells that these are labels, also if only two.
            self.classes = np.tile(np.arange(2), (targets.n_outputs, 1))

    def _is_renamed(self) -> bool:
        """Tell whether two classes are called 0 and 1.

        Metrics such as F1 look for the class 1 where nothing else is said. Of two classes without
        such a label the second is the positive one.
        """
        is_binary = is_of_two_classes(self.targets)
        return is_binary and isinstance(self.given, str) and 1 not in self.targets.labels.tolist()  # type: ignore[attr-defined]

    def truth(self, y: Array) -> Array:
        """Return encoded targets as the metric sees them."""
        if self.classes is None:
            return squeeze_output(y)
        return self.classes[y] if y.ndim == 1 else y

    def stand_in(self, combined: Floats) -> BaseEstimator:
        """Return what predicts these combined values, (n, k)."""
        if self.classes is None:
            return _Values(self.targets.decode(combined))
        combined = at_most_one(combined)
        if isinstance(self.targets, ClassTargets):
            labels = self.classes[combined.argmax(axis=1)]
        else:
            labels = self.targets.decode(combined)
        return _Probabilities(labels, self.classes, combined)

    def score(self, stand_in: BaseEstimator, truth: Array, weight: Floats | None) -> float:
        """Ask the scorer; rows of weight 0 are none, and other weights it gets if it takes any.

        Raises
        ------
        ValueError
            If it raises an error, or answers no finite number.
        """
        rows = np.arange(len(truth))[:, None]
        if weight is not None and weight.min() == weight.max() > 0:
            weight = None
        if weight is not None and not weight.all():
            rows, truth, weight = rows[weight > 0], truth[weight > 0], weight[weight > 0]
        given = {} if weight is None or not self.takes_weight else {"sample_weight": weight}
        try:
            with own_filters():
                warnings.simplefilter("ignore", UndefinedMetricWarning)
                score = float(self.scorer(stand_in, rows, truth, **given))
        except Exception as error:
            raise self._error(error) from error
        if not np.isfinite(score):
            raise ValueError(
                f"Got {self.name}={short(self.given)}, but expected a scorer that returns a finite "
                f"number for the unseen rows; it returned {score}: give a metric that is defined "
                "for them, or more rows."
            )
        return score

    def try_on(self, y: Array, weight: Floats | None) -> None:
        """Ask about predictions that are nearly right, before anything is trained."""
        truth = self.truth(y)
        if self.classes is None:
            values = (1 - _NEARER) * y + _NEARER * y.mean(axis=0)
            self.score(_Values(squeeze_output(values)), truth, weight)
            return
        k = self.targets.n_outputs
        right = np.eye(k)[y] if y.ndim == 1 else y
        self.score(self.stand_in((1 - _NEARER) * right + _NEARER / k), truth, weight)

    def _error(self, error: Exception) -> ValueError:
        return ValueError(
            f"Got {self.name}={short(self.given)}, but expected a scorer(estimator, X, y), or its "
            "name, that can judge predictions of unseen rows; it ended in "
            f"{type(error).__name__}: {str(error).rstrip('.')}. The estimator knows predictions "
            "alone, and its X has row numbers; make_scorer makes a scorer of a metric."
        )


class Decision(Judge):
    """A scorer of labels, which is to be highest at the threshold of two classes."""

    def __init__(self, given: Scoring, targets: Targets):
        check_decision(given, targets)
        super().__init__(given, targets, "decision")

    def stand_in(self, combined: Floats) -> BaseEstimator:
        """Return what predicts the likelier class, and nothing else."""
        assert self.classes is not None
        return _Labels(self.classes[combined.argmax(axis=1)], self.classes)

    def find_threshold(self, p: Floats, y: Array, weight: Floats | None) -> float:
        """Return the probability of the second class above which predicting it scores highest.

        Candidates lie half way between scores that follow each other, as many as are worth the
        time. Of several that are as good, the one next to 0.5 is taken.
        """
        values = np.unique(p)
        middles = (values[1:] + values[:-1]) / 2
        truth = self.truth(y)
        found = self._best(thin(middles), p, truth, weight)
        if len(middles) > _THRESHOLDS:
            width = -(-len(middles) // _THRESHOLDS)
            place = int(np.searchsorted(middles, found))
            near = middles[max(0, place - width) : place + width + 1]
            found = self._best(np.append(thin(near), found), p, truth, weight)
        return found

    def _best(self, thresholds: Floats, p: Floats, truth: Array, weight: Floats | None) -> float:
        tried = np.append(thresholds, EVEN)
        assert self.classes is not None
        scores = np.array(
            [
                self.score(_Labels(self.classes[(p > t).astype(int)], self.classes), truth, weight)
                for t in tried
            ]
        )
        best = tried[scores == scores.max()]
        return float(best[np.abs(best - EVEN).argmin()])


def thin(values: Floats) -> Floats:
    """Return some of the values, which lie as evenly among them as may be."""
    n = min(len(values), _THRESHOLDS)
    return values[np.linspace(0, len(values) - 1, n).round().astype(int)]


class ScorerMeasure(Measure):
    """A scorer's value for the weighted mean of predictions."""

    is_convex = False

    def __init__(self, judge: Judge, usual: Measure | None = None):
        self.judge, self.usual = judge, usual
        #: Numbers of the rows in each part by which a gain is told from chance; empty: it is not.
        self.parts: list[Array] = []

    def score(self, predictions: Array, y: Array, sample_weight: Floats, weights: Floats) -> float:
        """Return what the scorer says."""
        combined = _weighted_mean(weights, predictions)
        truth = self.judge.truth(y)
        return self.judge.score(self.judge.stand_in(combined), truth, sample_weight)

    def loss_of_weights(self, predictions: Array, y: Array, share: Floats) -> Loss:
        """Return the negative of it, which has no gradient."""
        truth = self.judge.truth(y)
        weight = share if share.strides == (0,) else share * len(share)  # of mean 1

        def loss(weights: Floats) -> tuple[float, Floats]:
            stand_in = self.judge.stand_in(_weighted_mean(weights, predictions))
            return -self.judge.score(stand_in, truth, weight), np.zeros(0)

        return loss

    def prefers(
        self, weights: Floats, other: Floats, predictions: Array, y: Array, sample_weight: Floats
    ) -> bool:
        """Tell whether weights score higher, and by more than the standard error of that.

        The error is the one over the parts. One chain predicts all rows of a part: that chains are
        not equally sure of themselves spoils a ranking of all rows, and not those of the parts.
        """
        if not super().prefers(weights, other, predictions, y, sample_weight):
            return False
        both = [_weighted_mean(w, predictions) for w in (weights, other)]
        gains = [self._gain(both, y, sample_weight, part) for part in self.parts]
        known = [gain for gain in gains if gain is not None]
        error = np.std(known, ddof=1) / np.sqrt(len(known)) if len(known) > 1 else 0.0
        return not known or bool(np.mean(known) > error)

    def _gain(self, both: list[Floats], y: Array, weight: Floats, part: Array) -> float | None:
        """Return by how much the first of two scores higher; None where rows are too few for it."""
        truth = self.judge.truth(y[part])
        try:
            one, other = (
                self.judge.score(self.judge.stand_in(combined[part]), truth, weight[part])
                for combined in both
            )
        except ValueError:
            return None
        return one - other


class SquareMeasure(ScorerMeasure):
    """A scorer that is highest where a squared error is least, which is convex."""

    is_convex = True

    def loss_of_weights(self, predictions: Array, y: Array, share: Floats) -> Loss:
        """Return the squared error of values, or of probabilities (Brier)."""
        right = np.eye(predictions.shape[2])[y] if y.ndim == 1 else y
        return SquaredError().loss_of_weights(predictions, right, share)


def measure_by(scoring: Scoring, targets: Targets) -> Measure | None:
    """Return the measure of a scorer; None is that of the targets by themselves."""
    judge, usual = Judge(scoring, targets), targets.measure
    squares = set()
    if usual is None and isinstance(targets, ClassTargets):
        if scoring == "neg_log_loss":
            return None
        squares = {"neg_brier_score"}
    elif usual is None and isinstance(targets, RealTargets):
        squares = {"neg_mean_squared_error"}
        if targets.n_outputs == 1:
            squares |= {"neg_root_mean_squared_error", "r2"}
    is_square = isinstance(scoring, str) and scoring in squares
    return (SquareMeasure if is_square else ScorerMeasure)(judge, usual)


def is_of_two_classes(targets: Targets) -> bool:
    """Tell whether there is one threshold."""
    return isinstance(targets, ClassTargets) and targets.n_outputs == 2


def check_decision(decision: Scoring | None, targets: Targets) -> None:
    """Refuse a threshold where there are more classes than two."""
    if decision is not None and not is_of_two_classes(targets):
        raise ValueError(
            f"Got decision={short(decision)} and a y that does not have two classes, but expected "
            "two: only between two is there one threshold. Leave decision at None."
        )


def _takes_weight(scorer: Callable[..., Any]) -> bool:
    """Tell whether a scorer is given the weights of rows: if it can take them, or requests them."""
    if get_config()["enable_metadata_routing"]:
        requests = get_routing_for_object(scorer).score.requests
        return requests.get("sample_weight") is True
    try:
        # One made of a metric takes any weights, and hands them on to a metric that may not.
        return "sample_weight" in inspect.signature(metric_of(scorer)).parameters
    except (TypeError, ValueError):
        return False
