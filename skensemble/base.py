"""What classifier and regressor share: fit, and the attributes that it leaves."""

from __future__ import annotations

from collections.abc import Collection
from numbers import Integral
from typing import Self

from numpy.typing import ArrayLike
from sklearn.base import is_classifier
from sklearn.metrics import get_scorer
from sklearn.utils.metadata_routing import MetadataRequest, MetadataRouter, MethodMapping
from sklearn.utils.validation import check_is_fitted
from torch import nn

from ._data.fitted_columns import FittedColumns
from ._nets.generators import on_named_device
from ._persistence.saving import INCLUDES, write_model
from ._training.interrupts import Interrupts
from ._types import Input, PathLike, State
from ._warnings import short, warn
from .call import Given
from .choosing import choose_members
from .fitted import Fitted, Source
from .fitting import fit_members
from .followed import Followed, calling_back
from .keywords import INSTEAD_OF, naming_strangers

#: Fitted attributes that hang on rows that were left out, and which estimators have them.
_OF_UNSEEN = {
    "validation_score_": "both",
    "cycle_scores_": "both",
    "oof_decision_function_": "a classifier",
    "oof_prediction_": "a regressor",
    "validation_r2_": "a regressor",
}


class BaseSnapshotEnsemble(Followed):
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
        resume_from: PathLike | None = None,
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
        resume_from : path-like, default=None
            A file that a fit of the same data and parameters wrote to `checkpoint_dir`, and that is
            to be gone on from. None: the one that is found in `checkpoint_dir`, if any.

        Returns
        -------
        self : object
            With ``warm_start=True`` and a fitted ensemble, a full budget of cycles is added to it.

        Raises
        ------
        ValueError
            If a parameter, the data or the module does not fit, or `resume_from` is of another fit;
            the estimator is then as before.
        OSError
            If `checkpoint_dir` cannot be written to. The estimator keeps the cycles that were
            finished before.
        """
        given = Given(
            X, y, sample_weight, groups, X_val, y_val, sample_weight_val, resume_from=resume_from
        )
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
        if not self.__sklearn_is_fitted__():
            return None
        fitted = self._fitted_
        if not fitted.resume.generators:
            raise ValueError(
                "Got an ensemble that was loaded without what training needs, but expected one "
                'that can go on: save it with include=("training",), or fit anew with '
                "warm_start=False."
            )
        return fitted

    def _train(self, given: Given, before: Fitted | None) -> Self:
        # A wrong device is refused in its turn, with the other parameters.
        device = self._device() if self.device == "auto" else self.device
        with calling_back(self), Interrupts() as interrupts, on_named_device(device):
            fitted, messages = fit_members(self, given, before, interrupts)
            self._commit(fitted)
            for message, category in messages():
                warn(message, category)
            # Within the block: after it Ctrl-C would be raised as if nothing had been fitted.
            return self

    def _read(self, X: Input) -> tuple[Fitted, Source]:
        """Check rows to be predicted.

        What was fitted is read once: another thread may replace it by a fit of its own.
        """
        if not self.__sklearn_is_fitted__():
            check_is_fitted(self)  # which takes a tenth of a small call
        fitted = self._fitted_
        source = fitted.intake.read_plain(X)
        if source is None:
            with on_named_device(fitted.nets[0].device):
                source = fitted.intake.read(self, X)[0]
        return fitted, source

    def __sklearn_is_fitted__(self) -> bool:
        """Whether there are snapshots to predict with."""
        return "_fitted_" in vars(self)

    def _word_missing(self, name: str) -> str:
        is_fitted = self.__sklearn_is_fitted__()
        kind = "a classifier" if is_classifier(self) else "a regressor"
        if _OF_UNSEEN.get(name, "both") not in ("both", kind):
            return f": only {_OF_UNSEEN[name]} has it."
        if name.endswith("_") and name not in INSTEAD_OF and not is_fitted:
            return ": call fit before."
        if name in _OF_UNSEEN:
            kept = " A file has it where save(include='unseen') kept it." if "oof" in name else ""
            return f": it is there where rows are left out, by validation= or by n_chains=.{kept}"
        return super()._word_missing(name)

    def save(self, path: PathLike, *, include: str | Collection[str] = ()) -> None:
        """Write the fitted ensemble to a file of plain data, for :func:`skensemble.load`.

        The file holds the parameters, what was learned of X and y, the snapshots, their weights and
        scores. Rows of the training are never in it. It is written beside its place and then put
        there, so that it is whole at any moment.

        Parameters
        ----------
        path : str or path-like
            The file. Its folder must exist; a file of the name is replaced.
        include : str or collection of str, default=()
            What to keep beside: "unseen" for the predictions of rows that were left out
            (``oof_decision_function_`` or ``oof_prediction_``, one for each training row),
            "training" for what a later :meth:`partial_fit`, or `fit` with ``warm_start=True``,
            needs to go on.

        Raises
        ------
        ValueError
            If a parameter holds what no file can keep, such as a lambda, or there is no such
            `include`.
        OSError
            If the file cannot be written; a file of the name stays as it was.

        See Also
        --------
        skensemble.load : Read the file.

        Examples
        --------
        >>> import tempfile
        >>> import skensemble
        >>> from sklearn.datasets import load_iris
        >>> X, y = load_iris(return_X_y=True)
        >>> model = skensemble.SnapshotEnsembleClassifier(max_epochs=2, n_cycles=2).fit(X, y)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(f"{folder}/iris.model", include="training")
        ...     skensemble.load(f"{folder}/iris.model").partial_fit(X, y).n_cycles_
        3
        """
        check_is_fitted(self)
        asked = (include,) if isinstance(include, str) else include
        if not isinstance(asked, Collection) or any(name not in INCLUDES for name in asked):
            raise ValueError(
                f"Got include={short(include)}, but expected some of {INCLUDES}: what to keep "
                "beside what predicts."
            )
        write_model(path, self, self._fitted_, include=asked)

    def refit_members(self, X: Input, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Choose the members again, by other rows and the parameters of now, without training.

        These are `members`, `scoring`, `decision` and `views`.

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
            With new ``member_weights_``, ``cycle_scores_`` and ``validation_score_``, and all else
            that rests on unseen rows.
        """
        check_is_fitted(self)
        before = self._fitted_
        with on_named_device(before.nets[0].device):
            fitted = choose_members(self, before, X, y, sample_weight)
        self._commit(fitted)
        return self

    def get_metadata_routing(self) -> MetadataRequest | MetadataRouter:
        """Get what metadata this estimator requests, and what its `scoring` does.

        Returns
        -------
        routing : MetadataRequest or MetadataRouter
            A router where `scoring` is given: `fit` hands ``sample_weight`` to a scorer that
            requests it.
        """
        if self.scoring is None:
            return super().get_metadata_routing()
        scorer = get_scorer(self.scoring) if isinstance(self.scoring, str) else self.scoring
        mapping = MethodMapping().add(caller="fit", callee="score")
        router = MetadataRouter(owner=self).add_self_request(self)
        return router.add(scorer=scorer, method_mapping=mapping)

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
        return self._fitted_.state_dicts()

    def snapshot_module(self, index: int) -> nn.Module:
        """Return a new module with the weights of one snapshot, to use without the estimator.

        Parameters
        ----------
        index : int
            Place of the snapshot in ``snapshots_``, whose order is told there. Negative ones count
            from the end, as in a list.

        Returns
        -------
        module : nn.Module
            A copy, in eval mode and on the CPU, that shares nothing with the estimator. It returns
            raw scores, or the outputs of a regressor. The built-in network takes the encoded table,
            a module of your own what its ``forward`` does. Parameters that were frozen are frozen.

        Raises
        ------
        IndexError
            If there is no such snapshot.
        TypeError
            If `index` is no integer.

        Examples
        --------
        >>> import torch
        >>> from sklearn.datasets import load_iris
        >>> from skensemble import SnapshotEnsembleClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> model = SnapshotEnsembleClassifier(
        ...     torch.nn.LazyLinear, module__out_features=3, n_cycles=2, max_epochs=2
        ... ).fit(X, y)
        >>> module = model.snapshot_module(-1)
        >>> module(torch.tensor(X, dtype=torch.float32)).shape
        torch.Size([150, 3])
        """
        check_is_fitted(self)
        fitted = self._fitted_
        n = len(fitted.snapshots)
        if not isinstance(index, Integral) or isinstance(index, bool):
            raise TypeError(
                f"Got index={short(index)}, but expected an integer from {-n} to {n - 1}: a place "
                "in snapshots_."
            )
        if not -n <= index < n:
            raise IndexError(
                f"Got index={short(index)}, but expected an integer from {-n} to {n - 1}: there "
                f"are {n} snapshots."
            )
        return fitted.module_of(int(index))
