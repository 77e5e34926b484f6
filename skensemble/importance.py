"""How much each column is worth: the loss of unseen rows without it."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from ._data.absent import switch_off
from ._data.containers import naming, open_container
from ._data.hashes import group_labels
from ._data.reading import Examples, read_later
from ._data.sources import ArrayInput
from ._nets.generators import on_named_device
from ._types import Array, Floats, Input
from ._warnings import short
from .base import BaseSnapshotEnsemble
from .fitted import Fitted
from .keywords import nearest
from .removal import (
    Part,
    Removal,
    drops_columns,
    losses_then,
    mean_and_error,
    parts_left_out,
    parts_of_new,
)

#: Which rows are given.
_ROWS = ("training", "new")


class UnseenImportance(NamedTuple):
    """What columns are worth. The first two names are those of `permutation_importance`."""

    #: By how much the mean loss rises where the column is off.
    importances_mean: Floats
    #: Its standard error over the rows.
    importances_std: Floats
    #: Mean loss with all columns.
    loss: float
    #: Names of the columns.
    columns: tuple[object, ...]


class ColumnImportance(BaseSnapshotEnsemble):
    """What each column is worth."""

    def unseen_importance(
        self,
        X: Input,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
        rows: str = "training",
        columns: Sequence[object] | None = None,
    ) -> UnseenImportance:
        """Rise of the loss of unseen rows, for each column, where it is switched off.

        No fit and no permutation is needed: chain k has not seen fold k, and rows of the training
        are judged by the chain that left them out. A built-in classifier was trained with columns
        dropped (``module__column_dropout``), so that it can do without one: all inputs of a column
        that is off are 0, as they were then. Else they are at their means over the rows: numbers
        and their pieces, categories, and where values miss. In [1]_ that is removal by a default
        value. Whole numbers that a module of your own takes, which may be codes, are at the most
        frequent one.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of the training, which are not kept in the estimator, or new ones. Their folds are
            found again by their values. A row that is changed is a new one. Where fit left out rows
            by their place, all rows of the last call are needed in their order: with a splitter as
            `validation`, or where values repeat very often.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their class labels or target values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weight of each row in the mean. None: all equal.
        groups : array-like of shape (n_samples,), default=None
            Those of fit. Standard errors are then over groups, not rows.
        rows : {"training", "new"}, default="training"
            "training": rows of fit. Each is judged by the chain that leaves out its fold; where all
            chains leave out the same rows, these count alone. "new": rows that no chain has seen,
            such as test rows or ``X_val``, judged by the ensemble.
        columns : sequence of str or int, default=None
            Names or numbers of the columns to judge. None: all.

        Returns
        -------
        importance : namedtuple
            ``importances_mean``, an ndarray with the rise of the mean loss for each column, in the
            order of X or of `columns`: log-loss in nats, squared error in squared units of y, or
            another loss by which cycles are weighed (a metric is none); ``importances_std``, the
            standard error of each over the rows; ``loss``, the mean loss with all columns, which
            for the rows and weights of fit is ``-validation_score_``, unless that is of a metric;
            ``columns``, their names.

        Raises
        ------
        ValueError
            If X is no table, `columns` has none of its columns, no training rows were left out, or
            the rows that were cannot be told by those given.

        Notes
        -----
        A column counts as far as the network uses it. Of two columns that say the same each has a
        small importance, as with permutations ([2]_, section 10). A column below 0 does harm. A
        standard error holds for these networks; that of other fits is larger. Each column takes
        less time than predictions for the rows by one chain.

        References
        ----------
        .. [1] I. Covert, S. Lundberg and S.-I. Lee, "Explaining by Removing: A Unified Framework
           for Model Explanation", JMLR 22, 2021.
        .. [2] L. Breiman, "Random Forests", Machine Learning 45, 2001.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from skensemble import SnapshotEnsembleRegressor
        >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
        >>> model = SnapshotEnsembleRegressor(max_epochs=20, random_state=0).fit(X, y)
        >>> found = model.unseen_importance(X, y)
        >>> sorted(found.columns[i] for i in found.importances_mean.argsort()[-2:])
        ['bmi', 's5']
        """
        if rows not in _ROWS:
            raise ValueError(f"Got rows={short(rows)}, but expected one of {_ROWS}.")
        if X is None:
            raise ValueError(
                "Got X=None, but expected rows: an estimator keeps none of its training; give X "
                "and y of fit again, or new rows with rows='new'."
            )
        check_is_fitted(self)
        fitted = self._fitted_
        with on_named_device(fitted.nets[0].device):
            data = read_later(self, X, y, sample_weight, fitted.known)
            source = _check_is_table(data, fitted)
            chosen = _find_columns(columns, fitted)
            clusters = _read_groups(groups, source.n_samples)
            parts, weight = _find_parts(fitted, data, groups, rows)
            absent = switch_off(
                fitted.intake,
                source,
                data.sample_weight,
                chosen,
                is_dropped=drops_columns(fitted),
            )
            removal = Removal(fitted, data, parts, absent)
            known = losses_then(fitted, data) if rows == "training" else None
            loss, mean, error = _measure(removal, weight, clusters, known)
        names = fitted.intake._names()
        return UnseenImportance(mean, error, loss, tuple(names[j] for j in chosen))


def _measure(
    removal: Removal, weight: Floats, clusters: Array | None, known: Floats | None
) -> tuple[float, Floats, Floats]:
    """Return the mean loss, its rise without each column, and the standard errors of these."""
    judged = np.concatenate([part.rows for part in removal.parts])
    weight, clusters = weight[judged], None if clusters is None else clusters[judged]
    if not weight.any():
        raise ValueError(
            "Got sample_weight of 0 for all rows that were left out, but expected at least one "
            "above zero among them. None weighs all rows alike."
        )
    loss, means, errors = np.nan, [], []
    with np.errstate(over="ignore", invalid="ignore"):
        for block in removal.blocks():
            whole, *without = block[:, judged]
            loss = float(np.average(whole, weights=weight))
            if known is not None and not np.allclose(whole, known[judged], 1e-2, 1e-3 * abs(loss)):
                raise ValueError(
                    "Got X and y with other losses than the rows had in fit, which left them out "
                    "by their place, but expected all rows of the last call in their order."
                )
            rises = np.array(without).reshape(len(without), len(whole)) - whole
            mean, error = mean_and_error(rises, weight, clusters)
            means.append(mean)
            errors.append(error)
    return loss, np.concatenate(means), np.concatenate(errors)


def _find_parts(
    fitted: Fitted, data: Examples, groups: ArrayLike | None, rows: str
) -> tuple[list[Part], Floats]:
    """Return which model judges which rows, and the weights of all rows."""
    n = data.source.n_samples
    if rows == "new":
        return parts_of_new(fitted, n), np.ones(n) if data.loss_weight is None else data.loss_weight
    return parts_left_out(fitted, data, groups)


def _check_is_table(data: Examples, fitted: Fitted) -> ArrayInput:
    """Refuse an input without columns, and an ensemble whose rows have no loss."""
    source = data.source
    if not isinstance(source, ArrayInput) or len(source.X.shape) != 2:
        kind = type(source).__name__.removesuffix("Input").lower()
        is_array = isinstance(source, ArrayInput)
        shape = f"rows of shape {source.row_shape}" if is_array else f"a {kind}"
        raise ValueError(
            f"Got X as {shape}, but expected a table, whose columns can be switched off one by "
            "one: n_samples x n_features."
        )
    if fitted.views is not None:
        raise ValueError(
            f"Got views={short(fitted.views)}, but expected none: columns are switched off in rows "
            "as they are. sklearn.inspection.permutation_importance uses the views."
        )
    if not fitted.targets.is_loss_known:
        raise ValueError(
            "Got an ensemble whose outputs are not on the scale of y, so that rows have no loss, "
            "but expected another criterion: sklearn.inspection.permutation_importance takes a "
            "score of your own."
        )
    return source


def _find_columns(columns: Sequence[object] | None, fitted: Fitted) -> list[int]:
    """Return the numbers of the columns asked for."""
    names = list(fitted.intake._names())
    if columns is None:
        return list(range(len(names)))
    asked = [columns] if isinstance(columns, str | Integral) else list(columns)
    found = []
    for name in asked:
        if name in names:
            found.append(names.index(name))
        elif isinstance(name, Integral) and 0 <= int(name) < len(names):
            found.append(int(name))
        else:
            hint = nearest(name, [*map(str, names)]) if isinstance(name, str) else ""
            raise ValueError(
                f"Got columns={short(columns)}, but expected names or numbers of columns of X, "
                f"which has {len(names)}: {short(name)} is none.{hint}"
            )
    return found


def _read_groups(groups: ArrayLike | None, n_samples: int) -> Array | None:
    """Return the number of the group of each row."""
    if groups is None:
        return None
    with naming("groups"):
        labels = group_labels(open_container(groups, "groups"))
        if len(labels) != n_samples:
            raise ValueError(
                f"Got groups with {len(labels)} rows and X with {n_samples}, but expected as many."
            )
    return np.unique(labels, return_inverse=True)[1]
