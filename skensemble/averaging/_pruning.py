"""Fewer members."""

import numpy as np
from numpy.typing import ArrayLike
from torch.utils.data import Dataset

from skensemble._types import Input
from skensemble.members import best_subset
from skensemble.reshaping import part_of

from ._asked import Ensemble, making_tensors, opened, read_again, whole, with_members


def prune(
    estimator: Ensemble,
    n_cycles: int,
    X: Input = None,
    y: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    *,
    groups: ArrayLike | None = None,
    rows: str = "training",
) -> Ensemble:
    """Keep the cycles that predict unseen rows best together, and drop the others from memory.

    They are found one by one: each is the one that lowers the loss of the mean most ([1]_, section
    2). Then they are weighed by the rule `members` of the estimator. With ``restart="star"`` the
    first cycle that is kept is the one from which later calls begin.

    Parameters
    ----------
    estimator : SnapshotEnsembleClassifier, SnapshotEnsembleRegressor or Pipeline
        A fitted one; it stays as it is. A Pipeline ends in one of the two, whose members are meant.
    n_cycles : int
        How many cycles to keep, each with all of its chains; all where there are fewer.
    X : array-like of shape (n_samples, n_features) or (n_samples, ...), default=None
        Rows of the training, each of which is judged by the chains that left it out. None: cycles
        are kept by their weights in the ensemble, which unseen rows gave them in `fit`.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        Their class labels or target values.
    sample_weight : array-like of shape (n_samples,), default=None
        Their weights, as in `fit`.
    groups : array-like of shape (n_samples,), default=None
        Those of `fit`.
    rows : {"training", "new"}, default="training"
        What X and y are: the rows of `fit`, whose folds are found again, or rows that no chain was
        trained on.

    Returns
    -------
    pruned : estimator of the same class
        With `n_cycles` cycles, in the order of time. Without X nothing is known of unseen rows:
        there is no ``validation_score_``. ``net_`` has the last cycle that is kept, from which
        `partial_fit` goes on.

    Raises
    ------
    ValueError
        If a parameter does not fit, or if the rows are not those that were left out.

    References
    ----------
    .. [1] R. Caruana et al., "Ensemble Selection from Libraries of Models", ICML 2004.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from skensemble import SnapshotEnsembleRegressor
    >>> from skensemble.averaging import prune
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = SnapshotEnsembleRegressor(
    ...     max_epochs=20, early_stopping=False, random_state=0
    ... ).fit(X, y)
    >>> pruned = prune(model, 2, X, y)
    >>> model.n_cycles_, pruned.n_cycles_
    (8, 2)
    """
    last, X = opened(estimator, X)
    fitted = last._fitted_
    n = min(whole("n_cycles", n_cycles), fitted.n_cycles)
    if X is None and (y is not None or groups is not None or sample_weight is not None):
        raise ValueError("Got y, sample_weight or groups without X, but expected X beside them.")
    if X is not None and y is None and not isinstance(X, Dataset):
        raise ValueError("Got X without y, but expected both, or none: give prune(…, X, y).")
    with making_tensors(fitted):
        if X is None:
            heaviest = np.argsort(-fitted.stage_weights[-1], kind="stable")[:n]
            return with_members(estimator, part_of(fitted, sorted(heaviest.tolist())))
        again = read_again(last, fitted, X, y, sample_weight, groups, rows)
        chosen = best_subset(again.ask(fitted, "all").shown(), n)
        return with_members(estimator, again.weigh(part_of(fitted, chosen)))
