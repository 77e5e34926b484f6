"""What classifier and regressor share: fit, and the attributes that it leaves."""

from __future__ import annotations

import sys
from typing import Self

from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted
from skorch.history import History

from ._compat import uncompiled
from ._data.encoder import TableEncoder
from ._data.fitted_columns import FittedColumns
from ._data.sources import Source
from ._nets.generators import on_named_device
from ._training.interrupts import Interrupts
from ._types import Input, Options, State
from ._warnings import InconsistentVersionWarning, warn
from .fitted import Fitted
from .fitting import Given, choose_members, fit_members
from .keywords import INSTEAD_OF, naming_strangers
from .parameters import NetParameters

#: Fitted attributes that hang on rows that were left out.
_OF_UNSEEN = ("validation_score_", "cycle_scores_", "oof_decision_function_", "oof_prediction_")

#: Where a pickle keeps the version that wrote it.
_VERSION = "_skensemble_version"


def version() -> str:
    """Return the version of this package."""
    return sys.modules[__package__].__version__


class BaseSnapshotEnsemble(NetParameters):
    """Trains chains of a network over several cycles and keeps a snapshot of each.

    A child says what its targets mean, by :meth:`_targets`, and turns what the members say into
    predictions.
    """

    # Where scikit-learn's HTML representation links to.
    _doc_link_module = "skensemble"
    _doc_link_template = (
        "https://skensemble.readthedocs.io/en/stable/generated/skensemble.{estimator_name}.html"
    )

    #: Everything that a fit leaves behind. All fitted attributes come from it.
    _fitted_: Fitted

    @naming_strangers
    def fit(
        self,
        X: Input,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
        X_val: Input = None,
        y_val: ArrayLike | None = None,
        sample_weight_val: ArrayLike | None = None,
    ) -> Self:
        """Train all chains through all cycles and keep a snapshot of each.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Training rows. The built-in network takes tables; a module of your own takes what its
            ``forward`` does, floats as float32 and integers as int64.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels or target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the loss, in the statistics of the columns and in the scores of
            unseen rows. None: all equal.
        groups : array-like of shape (n_samples,), default=None
            Rows of one group are left out together: handed to the splitter given as `validation`,
            or hashed in place of the row.
        X_val : array-like of shape (n_val, n_features) or (n_val, ...), default=None
            Rows to weigh and score the cycles by, in place of those that `validation` leaves out:
            all chains train on all of X.
        y_val : array-like of shape (n_val,) or (n_val, n_outputs), default=None
            Their class labels or target values.
        sample_weight_val : array-like of shape (n_val,), default=None
            Their weights. None: all equal.

        Returns
        -------
        self : object
            With ``warm_start=True`` and a fitted ensemble, a full budget of cycles is added to it.

        Raises
        ------
        ValueError
            If a parameter, the data or the module does not fit; the estimator is then as before.
        """
        given = Given(X, y, sample_weight, groups, X_val, y_val, sample_weight_val)
        return self._train(given, self._before() if self.warm_start else None)

    def _partial_fit(
        self,
        X: Input,
        y: ArrayLike,
        sample_weight: ArrayLike | None,
        classes: ArrayLike | None = None,
    ) -> Self:
        given = Given(X, y, sample_weight, classes=classes, is_one_cycle=True)
        return self._train(given, self._before())

    def _before(self) -> Fitted | None:
        """Return what an earlier call left, for this one to go on with."""
        return self._fitted_ if self.__sklearn_is_fitted__() else None

    def _train(self, given: Given, before: Fitted | None) -> Self:
        with Interrupts() as interrupts, on_named_device(self.device):
            fitted, messages = fit_members(self, given, before, interrupts)
            self._commit(fitted)
            for message, category in messages():
                warn(message, category)
            # Within the block: after it Ctrl-C would be raised as if nothing had been fitted.
            return self

    def _commit(self, fitted: Fitted) -> None:
        """Put the fitted attributes in place, all at once."""
        attributes = fitted.attributes()
        kept = {name: value for name, value in vars(self).items() if name not in attributes}
        there = {name: value for name, value in attributes.items() if value is not None}
        # One assignment: neither Ctrl-C nor another thread finds a half of them.
        self.__dict__ = {**kept, **there, "_fitted_": fitted}

    def _read(self, X: Input) -> tuple[Fitted, Source]:
        """Check rows to be predicted.

        What was fitted is read once: another thread may replace it by a fit of its own.
        """
        check_is_fitted(self)
        fitted = self._fitted_
        with on_named_device(self.device):
            return fitted, fitted.intake.read(self, X)[0]

    def _new_encoder(self) -> TableEncoder:
        """Return what is to learn a table for the built-in network."""
        return TableEncoder(**self._by_prefix("table"))

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there are snapshots to predict with."""
        return "_fitted_" in vars(self)

    def _word_missing(self, name: str) -> str:
        is_fitted = self.__sklearn_is_fitted__()
        if name.endswith("_") and name not in INSTEAD_OF and not is_fitted:
            return ": call fit before."
        if name in _OF_UNSEEN:
            return ": it is there where rows are left out, by validation= or by n_chains=."
        return super()._word_missing(name)

    def __getstate__(self) -> Options:
        """Add the version that writes a pickle."""
        return {**super().__getstate__(), _VERSION: version()}

    def __setstate__(self, state: Options) -> None:
        """Take over a state, with a warning where another version wrote it."""
        written, here = state.get(_VERSION), version()
        if written != here:
            writer = "an older skensemble" if written is None else f"skensemble {written}"
            warn(
                f"Got a pickle of {type(self).__name__} that {writer} wrote, but "
                f"expected one of skensemble {here}: with another version predictions may differ "
                "or fail; load it with the version that wrote it, or fit anew.",
                InconsistentVersionWarning,
            )
        super().__setstate__({name: value for name, value in state.items() if name != _VERSION})

    def refit_members(self, X: Input, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Choose the members again, by other rows and the `members` of now, without training.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, ...)
            Rows that no chain was trained on.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels or target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row. None: all equal.

        Returns
        -------
        self : object
            With new ``member_weights_``, ``cycle_scores_`` and ``validation_score_``.
        """
        check_is_fitted(self)
        with on_named_device(self.device):
            fitted = choose_members(self, self._fitted_, X, y, sample_weight)
        self._commit(fitted)
        return self

    @property
    def history_(self) -> History:
        """What skorch recorded of the training: a row for each epoch."""
        return self.net_.history_

    @property
    def columns_(self) -> FittedColumns:
        """What became of each column of X: a row for each, of the built-in network alone."""
        table = self._fitted_.intake.describe() if self.__sklearn_is_fitted__() else None
        if table is None:
            raise AttributeError(f"{type(self).__name__} has no columns_ without its own network.")
        return table

    @property
    def snapshots_(self) -> list[State]:
        """Copies of the parameters and buffers of each cycle; each loads into a fresh module."""
        if not self.__sklearn_is_fitted__():
            raise AttributeError(f"{type(self).__name__} has no snapshots_ before fit.")
        fitted = self._fitted_
        kept = uncompiled(fitted.nets[0].module_).state_dict()
        return [{k: v for k, v in s.items() if k in kept} for s in fitted.snapshots[:]]
