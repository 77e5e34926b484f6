"""How sure the estimators are: intervals, sets of classes, and where doubt comes from."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if

from ._data.quantile_targets import QuantileTargets
from ._data.targets import squeeze_output
from ._types import Array, Floats, Input, RandomState
from ._uncertainty import conformal
from ._warnings import short
from .fitted import Fitted
from .intervals import choose_method, make_intervals, make_quantiles, quantile_shifts
from .predicting import ClassPredictions, ValuePredictions

#: What to do where no row says how far off predictions are.
_REMEDY = (
    "fit with rows that are left out (validation='cross' or several chains), give X_val and y_val, "
    "or call refit_members with rows that no chain was trained on"
)


class Uncertainty(NamedTuple):
    """How sure predictions are, an array for each part: total = aleatoric + epistemic."""

    #: Of the prediction as a whole.
    total: Floats
    #: What would stay with any number of rows.
    aleatoric: Floats
    #: In what the members disagree, which further rows would lower.
    epistemic: Floats


class ClassUncertainty(ClassPredictions):
    """Sets of classes that hold the true one, and where doubt comes from."""

    def predict_set(
        self,
        X: Input,
        coverage: float | Sequence[float] = 0.9,
        *,
        class_conditional: bool = False,
        random_state: RandomState | None = None,
    ) -> Array:
        """Classes among which the true one is, for so large a share of new rows.

        The sets are adaptive ([1]_): where the network is in doubt they hold more classes. They
        rest on rows that were left out. With a fold for each chain (CV+, [1]_, section 2.3), new
        rows are held against the chain that left each of those rows out. Where all chains left out
        the same rows, as with ``X_val``, they are held against the ensemble (split conformal).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.
        coverage : float or sequence of float, default=0.9
            Share of new rows whose class is to be in their set, between 0 and 1.
        class_conditional : bool, default=False
            Whether this share is to hold for the rows of each class, however rare it is.
        random_state : int, RandomState instance or None, default=None
            None: a class is held against the mass of the likelier ones alone. So the likeliest is
            in each set, none is empty, and easy tables are covered better than asked for. A seed
            draws how much of a class's own probability counts too ([1]_, eq. 5): the share is then
            met closely, and sets may be empty.

        Returns
        -------
        sets : ndarray of bool of shape (n_samples, n_classes)
            Columns in the order of ``classes_``. For several values of `coverage` they lie along a
            first axis. With several labels a row the shape is (n_samples, n_labels, 2): each label
            has a set of its own of what it may be, 0 or 1, and is covered for itself. These sets
            are the smallest ([2]_).

        Raises
        ------
        ValueError
            If `coverage` is not between 0 and 1, if no rows were left out, or if they are too few
            for it.

        Notes
        -----
        With rows that are exchangeable, split conformal sets hold the true class for at least the
        share asked for, and those of CV+ for at least 1 - 2 (1 - coverage); in practice they hold
        it for at least the share too, since the mean of chains errs less than one. `groups` leave
        out whole groups, and the share then means rows of new groups. With ``class_weight`` rows
        still count once each.

        References
        ----------
        .. [1] Y. Romano, M. Sesia and E. Candès, "Classification with Valid and Adaptive Coverage",
           NeurIPS 2020.
        .. [2] M. Sadinle, J. Lei and L. Wasserman, "Least Ambiguous Set-Valued Classifiers with
           Bounded Error Levels", Journal of the American Statistical Association 114, 2019.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skensemble import SnapshotEnsembleClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> model = SnapshotEnsembleClassifier(max_epochs=20, random_state=0).fit(X, y)
        >>> sets = model.predict_set(X, coverage=0.95)
        >>> sets.shape
        (150, 3)
        >>> bool(sets[range(150), y].mean() >= 0.95)
        True
        """
        coverages, is_single = _shares(coverage, "coverage")
        fitted, source = self._read(X)
        targets = fitted.targets
        if targets.has_sigmoids and random_state is not None:
            raise ValueError(
                f"Got random_state={short(random_state)} with several labels a row, but expected "
                "None: nothing is drawn for the sets of labels."
            )
        asked = targets.by_question(_conformity(fitted))
        for k, conformity in enumerate(asked):
            if not class_conditional:
                _check_enough(coverages, conformity.n_samples)
                continue
            n_answers = targets.n_outputs if len(asked) == 1 else 2
            for answer, n_samples in enumerate(conformity.count_by_class(n_answers)):
                _check_enough(coverages, n_samples, targets.word_answer(k, answer))
        found = fitted.judged(source)
        models = targets.questions(found)
        generator = None if random_state is None else check_random_state(random_state)
        rule = functools.partial(
            conformal.class_sets if class_conditional else conformal.sets,
            scored_by=targets.score_answers,
        )
        made = [_sets(*of, coverages, rule, generator) for of in zip(asked, models, strict=True)]
        if generator is None:
            for sets, p in zip(made, targets.questions(found.mean(axis=0)), strict=True):
                sets[:, np.arange(len(p)), p.argmax(axis=1)] = True
        whole = made[0] if len(made) == 1 else np.stack(made, axis=2)
        return whole[0] if is_single else whole

    def predict_uncertainty(self, X: Input) -> Uncertainty:
        """Where doubt about the class of each row comes from.

        The entropy of the mean probabilities is the mean entropy of the members (aleatoric) and
        what they disagree in (epistemic: the mutual information of class and member, [1]_).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.

        Returns
        -------
        uncertainty : namedtuple of ndarrays of shape (n_samples,) or (n_samples, n_labels)
            ``total``, ``aleatoric`` and ``epistemic``, in nats, from 0 to the logarithm of the
            number of classes; with several labels a row those of each label. Members are weighted
            by ``member_weights_``, before ``temperature_``.

        References
        ----------
        .. [1] S. Depeweg et al., "Decomposition of Uncertainty in Bayesian Deep Learning for
           Efficient and Risk-sensitive Learning", ICML 2018, eq. 4.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from skensemble import SnapshotEnsembleClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> model = SnapshotEnsembleClassifier(max_epochs=20, random_state=0).fit(X, y)
        >>> doubt = model.predict_uncertainty(X)
        >>> bool((doubt.total >= doubt.aleatoric).all())
        True
        """
        fitted, source = self._read(X)
        total, aleatoric = map(squeeze_output, fitted.entropies(source))
        return Uncertainty(total, aleatoric, np.maximum(total - aleatoric, 0))


def _sets(
    conformity: conformal.Conformity,
    models: Floats,
    coverages: list[float],
    rule: Callable[..., Array],
    generator: np.random.RandomState | None,
) -> Array:
    """Return sets for each coverage, (n_coverages, n, n_classes)."""
    draws = None
    if generator is not None:
        n_new = models.shape[1]
        draws = generator.uniform(size=conformity.n_samples), generator.uniform(size=n_new)
    return np.array([rule(conformity, models, share, draws) for share in coverages])


def _predicts_quantiles(estimator: Any) -> bool:
    """There are quantiles where the parameters ask for them."""
    if estimator.distribution == "quantiles":
        return True
    raise AttributeError(
        "Got distribution=None, but predict_quantiles needs distribution='quantiles'."
    )


class ValueUncertainty(ValuePredictions):
    """Intervals that hold the true value, and where doubt comes from."""

    def predict_interval(
        self, X: Input, coverage: float | Sequence[float] = 0.9, *, method: str | None = None
    ) -> Floats:
        """Intervals in which the true value lies, for so large a share of new rows.

        They rest on rows that were left out: chain k without fold k is the model that
        cross-conformal methods need, so nothing is fitted again. With a fold for each chain this is
        CV+ ([1]_, eq. 11). Where all chains left out the same rows, as with ``X_val``, it is split
        conformal prediction around :meth:`predict`.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.
        coverage : float or sequence of float, default=0.9
            Share of new rows whose value is to lie in its interval, between 0 and 1.
        method : {"cv+", "normalized", "cqr"} or None, default=None
            None: "cqr" with ``distribution="quantiles"``, else "cv+".
            "cv+": errors are as large everywhere, so that all intervals of a fold's model are as
            wide. "normalized": intervals lie around :meth:`predict`, and are wider where the
            network is in doubt: errors grow with the spread of a chain's later cycles, by a rule
            that is learned from the unseen rows. From the error of a chain is taken what the mean
            of chains saves at that row, ``(1 - 1/n_chains)`` times the variance of what they
            predict, but never more than half of its square.
            "cqr": between two of the predicted quantiles, moved by how far the values of unseen
            rows lie outside of theirs ([2]_, eq. 6, in the form of CV+). It needs quantiles, and
            with them "normalized" is the same, but for moves in proportion to that spread.

        Returns
        -------
        intervals : ndarray of float64 of shape (n_samples, 2)
            Lower and upper ends; (n_samples, 2, n_outputs) for several outputs, each of which is
            covered for itself. For several values of `coverage` they lie along a first axis.

        Raises
        ------
        ValueError
            If `coverage` is not between 0 and 1, if no rows were left out, or if they are too few
            for it; if `method` needs quantiles, and there are none.

        Notes
        -----
        With rows that are exchangeable, split conformal intervals hold the true value for at least
        the share asked for, and those of CV+ for at least 1 - 2 (1 - coverage). In practice CV+
        holds it for more than asked: its errors are those of single chains, and the mean of chains
        errs less. Intervals of "normalized" come closer to the share and are narrower, but nothing
        is proved of them. `groups` leave out whole groups, and the share then means rows of new
        groups. Rows count by their `sample_weight`.

        References
        ----------
        .. [1] R. F. Barber, E. J. Candès, A. Ramdas and R. J. Tibshirani, "Predictive inference
           with the jackknife+", The Annals of Statistics 49(1), 2021.
        .. [2] Y. Romano, E. Patterson and E. J. Candès, "Conformalized Quantile Regression",
           NeurIPS 2019.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from skensemble import SnapshotEnsembleRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = SnapshotEnsembleRegressor(max_epochs=20, random_state=0).fit(X, y)
        >>> low, high = model.predict_interval(X, coverage=0.9).T
        >>> bool(((low <= y) & (y <= high)).mean() >= 0.9)
        True
        """
        coverages, is_single = _shares(coverage, "coverage")
        fitted, source = self._read(X)
        method = choose_method(method, fitted.targets)
        conformity = _conformity(fitted)
        _check_enough(coverages, conformity.n_samples)
        each = make_intervals(fitted, source, conformity, coverages, method)
        made = squeeze_output(np.array(each))
        return made[0] if is_single else made

    @available_if(_predicts_quantiles)
    def predict_quantiles(
        self,
        X: Input,
        q: float | Sequence[float] | None = None,
        *,
        conformalize: bool | str = "auto",
    ) -> Floats:
        """Quantiles of the value of each row, those of the members averaged; they never cross.

        Only with ``distribution="quantiles"``. The average is that of quantiles, level by level,
        under ``member_weights_``, so that it keeps the members' width. Networks are often too sure;
        unseen rows tell by how much, and each quantile is moved so that as many of their values lie
        below it as are to ([1]_, theorem 2).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.
        q : float or sequence of float, default=None
            Levels above 0 and below 1, in any order. Between two levels of the network quantiles
            lie on a line; outside of its grid they are those of the nearest level. None:
            ``quantile_levels_``.
        conformalize : bool or "auto", default="auto"
            Whether quantiles are moved so. "auto": where rows were left out. :meth:`predict` is the
            mean of those that are not moved.

        Returns
        -------
        quantiles : ndarray of float64 of shape (n_samples, n_levels)
            In units of y; (n_samples, n_levels, n_outputs) for several outputs, as
            :func:`skensemble.metrics.crps_quantile_loss` takes them. A single number as `q` drops
            the axis of levels.

        Raises
        ------
        ValueError
            If `q` is not above 0 and below 1, or no rows were left out to conformalize by.

        References
        ----------
        .. [1] Y. Romano, E. Patterson and E. J. Candès, "Conformalized Quantile Regression",
           NeurIPS 2019.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from skensemble import SnapshotEnsembleRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = SnapshotEnsembleRegressor(
        ...     distribution="quantiles", max_epochs=20, random_state=0
        ... ).fit(X, y)
        >>> quartiles = model.predict_quantiles(X, [0.25, 0.5, 0.75])
        >>> quartiles.shape
        (442, 3)
        >>> bool((quartiles[:, 0] <= quartiles[:, 2]).all())
        True
        """
        asked, is_single = None, False
        if q is not None:
            asked, is_single = _shares(q, "q")
        fitted, source = self._read(X)
        targets = fitted.targets
        if not isinstance(targets, QuantileTargets):
            raise ValueError(
                "Got an ensemble that predicts no quantiles, but expected one that was fitted with "
                "distribution='quantiles': fit anew."
            )
        if conformalize not in (True, "auto", False):
            raise ValueError(
                f"Got conformalize={short(conformalize)}, but expected True, False or 'auto'."
            )
        if conformalize is True:
            _conformity(fitted)
        shifts = None
        if conformalize and fitted.verdict is not None:
            shifts = quantile_shifts(targets, fitted.verdict.conformity)
        levels = np.array(targets.levels if asked is None else asked)
        made = make_quantiles(targets, fitted.ensemble(source), levels, shifts)
        made = squeeze_output(np.swapaxes(made, 1, 2))
        return made[:, 0] if is_single else made

    def predict_uncertainty(self, X: Input) -> Uncertainty:
        """Where doubt about the value of each row comes from, as variances.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows to predict.

        Returns
        -------
        uncertainty : namedtuple of ndarrays of shape (n_samples,) or (n_samples, n_outputs)
            In squared units of y. ``epistemic`` is the variance of the members' predictions, under
            ``member_weights_``. ``aleatoric`` is the noise: the mean squared error of unseen rows,
            one number for all rows, and NaN where there are none; with
            ``distribution="quantiles"`` the variance of each row's distribution, the mean over the
            members. ``total`` is their sum.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from skensemble import SnapshotEnsembleRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> model = SnapshotEnsembleRegressor(max_epochs=20, random_state=0).fit(X, y)
        >>> model.predict_uncertainty(X).epistemic.shape
        (442,)
        """
        fitted, source = self._read(X)
        epistemic, aleatoric = fitted.variances(source)
        if not fitted.targets.levels:
            noise = np.full(epistemic.shape[1], np.nan)
            if fitted.verdict is not None and (found := fitted.verdict.conformity) is not None:
                residuals, _ = fitted.targets.residuals(found.scores)
                noise = np.average(residuals**2, axis=0, weights=found.weight)
            aleatoric = np.broadcast_to(noise, epistemic.shape).copy()
        return Uncertainty(
            *(squeeze_output(part) for part in (aleatoric + epistemic, aleatoric, epistemic))
        )


def _shares(given: float | Sequence[float], name: str) -> tuple[list[float], bool]:
    """Return shares as a list, and whether there was one alone; `name` is the argument."""
    asked: ArrayLike = given
    try:
        shares = np.asarray(asked, dtype=np.float64)
        is_right = shares.ndim < 2 and shares.size > 0 and bool(((shares > 0) & (shares < 1)).all())
    except (TypeError, ValueError):
        is_right = False
    if not is_right:
        raise ValueError(
            f"Got {name}={short(given)}, but expected shares between 0 and 1, such as 0.9."
        )
    return np.atleast_1d(shares).tolist(), shares.ndim == 0


def _conformity(fitted: Fitted) -> conformal.Conformity:
    """Return how far off predictions were, or refuse to say anything."""
    verdict = fitted.verdict
    if verdict is None:
        raise ValueError(
            f"Got an ensemble without rows that were left out, but expected some: {_REMEDY}."
        )
    if verdict.conformity is None:
        raise ValueError(
            "Got an ensemble that cannot say how far off its predictions are, but expected one "
            "whose outputs are on the scale of y, and no file of an earlier skensemble: use "
            "another criterion, or fit anew."
        )
    return verdict.conformity


def _check_enough(coverages: list[float], n_samples: int, whose: str = "") -> None:
    highest = max(coverages)
    least = conformal.least_rows(highest)
    if n_samples < least:
        raise ValueError(
            f"Got coverage={highest:g} and {n_samples} unseen rows{whose}, but expected at least "
            f"{least} for it: ask for less coverage, or fit on more rows."
        )
