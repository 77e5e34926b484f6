"""Fast geometric ensembling: parameters of the estimators by which they train so."""

from numbers import Real

from sklearn.base import clone

from skensemble._warnings import short
from skensemble.pipelines import last_step

from ._asked import Ensemble, whole

#: Lowest rate of a cycle, as a part of the highest: 5e-4 and 5e-2 in the paper.
_LOWEST = 0.01


def fge(
    estimator: Ensemble,
    max_epochs: int,
    *,
    burn_in: float = 0.8,
    cycle_epochs: float = 4,
) -> Ensemble:
    """Set the parameters by which an estimator trains as Fast Geometric Ensembling does ([1]_).

    Most of the budget goes by at the high rate. Then short triangular cycles follow, with a
    snapshot at the end of each, where the rate is lowest. All of them have the same weight.

    Parameters
    ----------
    estimator : SnapshotEnsembleClassifier, SnapshotEnsembleRegressor or Pipeline
        It stays as it is. A Pipeline ends in one of the two, whose parameters are set.
    max_epochs : int
        The budget.
    burn_in : float, default=0.8
        Part of it that comes before the first cycle, from 0 to below 1.
    cycle_epochs : float, default=4
        Epochs of a cycle, 2 to 4 in [1]_.

    Returns
    -------
    estimator : estimator of the same class
        A clone that is not fitted, with ``schedule="triangular"``, a ``schedule__burn_in_epochs``,
        a ``schedule__min_lr`` of a hundredth of its `lr`, ``cycle_mult=1.0``, ``restart="warm"``,
        ``members="all"``, ``early_stopping=False``, and as many cycles as fit.

    Raises
    ------
    ValueError
        If a parameter does not fit.

    Notes
    -----
    In [1]_ the first part is trained as usual, its rate falling to the middle of the cycles; here
    it is constant. A cycle of [1]_ begins at its highest rate and takes its snapshot in the middle,
    at the lowest one; here cycles begin and end there, which are the same rates half a cycle later.

    References
    ----------
    .. [1] T. Garipov et al., "Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs",
       NeurIPS 2018, section 4.

    Examples
    --------
    >>> from skensemble import SnapshotEnsembleClassifier
    >>> from skensemble.averaging import fge
    >>> model = fge(SnapshotEnsembleClassifier(), max_epochs=100)
    >>> model.n_cycles, model.schedule__burn_in_epochs
    (5, 80)
    """
    made: Ensemble = clone(estimator)
    last = last_step(made)
    epochs = whole("max_epochs", max_epochs)
    if isinstance(burn_in, bool) or not isinstance(burn_in, Real) or not 0 <= float(burn_in) < 1:
        raise ValueError(f"Got burn_in={short(burn_in)}, but expected a number from 0 to below 1.")
    is_number = isinstance(cycle_epochs, Real) and not isinstance(cycle_epochs, bool)
    if not is_number or not 0 < float(cycle_epochs) <= epochs * (1 - burn_in) + 1e-9:
        raise ValueError(
            f"Got cycle_epochs={short(cycle_epochs)}, but expected a number above 0, and at most "
            f"{epochs * (1 - burn_in):g}: so many epochs are left after burn_in={burn_in:g}."
        )
    n_cycles = int(epochs * (1 - burn_in) / cycle_epochs + 1e-9)
    before = epochs - n_cycles * cycle_epochs
    last.set_params(
        max_epochs=epochs,
        n_cycles=n_cycles,
        cycle_mult=1.0,
        schedule="triangular",
        schedule__burn_in_epochs=int(before) if before == int(before) else float(before),
        schedule__min_lr=_LOWEST * last._highest_lr(),
        restart="warm",
        members="all",
        early_stopping=False,
    )
    if "schedule__cycle_decay" in last.get_params(deep=False):
        last.set_params(schedule__cycle_decay=1.0)
    return made
