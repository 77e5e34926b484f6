"""What the estimators answer for new rows: classes and probabilities, or values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.utils.metaestimators import available_if

from ._types import Array, Floats, Input
from .base import BaseSnapshotEnsemble
from .fitted import Fitted, Pool
from .members import at_most_one, average
from .weighing import decide


def _votes_softly(estimator: Any) -> bool:
    """Probabilities exist where they, not votes, are averaged."""
    if estimator.voting != "hard":
        return True
    raise AttributeError("Got voting='hard', but probabilities need voting='soft'.")


class ClassPredictions(BaseSnapshotEnsemble):
    """Classes, and their probabilities."""

    voting: str

    def predict(self, X: Input) -> Array:
        """Class of each row: that with the highest mean probability, or with most votes.

        Of several labels a row, 1 for those with more than one half, and 0 for the others.
        Members of weight 0 are not computed. With a `decision` the second of two classes is
        predicted where its probability is above ``threshold_``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_labels)
        """
        fitted, source = self._read(X)
        combined = fitted.ensemble(source, self._pool(fitted))
        return decide(fitted.targets, fitted.verdict, combined)

    @available_if(_votes_softly)
    def predict_proba(self, X: Input) -> Floats:
        """Weighted mean of the members' class probabilities (Huang et al. 2017, section 3).

        The weights are ``member_weights_``; members of weight 0 are not computed. Where
        ``temperature_`` is not 1, means are raised to the power of its inverse, and scaled to
        sum to 1.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.

        Returns
        -------
        p : ndarray of float64 of shape (n_samples, n_classes)
            Columns in the order of ``classes_``; rows sum to 1. With several labels a row there is
            a column for each label, and rows sum to anything.
        """
        fitted, source = self._read(X)
        return at_most_one(fitted.targets.temper(fitted.ensemble(source), fitted.temperature))

    @available_if(_votes_softly)
    def predict_log_proba(self, X: Input) -> Floats:
        """Logarithm of :meth:`predict_proba`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.

        Returns
        -------
        log_p : ndarray of float64 of shape (n_samples, n_classes)
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def staged_predict(self, X: Input) -> Iterator[Array]:
        """Classes predicted after 1, 2, … M cycles of all chains.

        Each stage has the weights that the rule `members` gives to its cycles alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.

        Yields
        ------
        y : ndarray of shape (n_samples,) or (n_samples, n_labels)
        """
        fitted, source = self._read(X)
        for stage in fitted.stages(source, self._pool(fitted)):
            yield decide(fitted.targets, fitted.verdict, stage)

    @available_if(_votes_softly)
    def staged_predict_proba(self, X: Input) -> Iterator[Floats]:
        """Class probabilities predicted after 1, 2, … M cycles of all chains.

        Each stage has the weights that the rule `members` gives to its cycles alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.

        Yields
        ------
        p : ndarray of float64 of shape (n_samples, n_classes)
        """
        fitted, source = self._read(X)
        stages = fitted.targets.temper(fitted.stages(source), fitted.temperature)
        yield from at_most_one(stages)

    def predict_members(self, X: Input) -> Floats:
        """Class probabilities of every snapshot, whatever its weight.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.

        Returns
        -------
        p : ndarray of float64 of shape (n_snapshots, n_samples, n_classes)
            In the order of ``snapshots_``.
        """
        fitted, source = self._read(X)
        return fitted.each_member(source)

    def _pool(self, fitted: Fitted) -> Pool:
        """Return how members are combined: by their probabilities or by their votes."""
        return fitted.targets.vote if self.voting == "hard" else average


class ValuePredictions(BaseSnapshotEnsemble):
    """Values."""

    def predict(self, X: Input) -> Floats:
        """Weighted mean of the members' predictions.

        The weights are ``member_weights_``; members of weight 0 are not computed. With
        ``distribution="quantiles"`` it is the mean of the distribution that these quantiles are of:
        between two levels they lie on a line, and beyond the outermost ones they stay as there.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.

        Returns
        -------
        y : ndarray of float64 of shape (n_samples,) or (n_samples, n_outputs)
        """
        fitted, source = self._read(X)
        return fitted.targets.decode(fitted.ensemble(source))

    def staged_predict(self, X: Input) -> Iterator[Floats]:
        """Values predicted after 1, 2, … M cycles of all chains, as :meth:`predict` returns them.

        Each stage has the weights that the rule `members` gives to its cycles alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.

        Yields
        ------
        y : ndarray of float64 of shape (n_samples,) or (n_samples, n_outputs)
        """
        fitted, source = self._read(X)
        yield from fitted.targets.decode(fitted.stages(source))

    def predict_members(self, X: Input) -> Floats:
        """Predictions of every snapshot, whatever its weight, as :meth:`predict` returns them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.

        Returns
        -------
        y : ndarray of float64 of shape (n_snapshots, n_samples) or \
                (n_snapshots, n_samples, n_outputs)
            In the order of ``snapshots_``.
        """
        fitted, source = self._read(X)
        return fitted.targets.decode(fitted.each_member(source))
