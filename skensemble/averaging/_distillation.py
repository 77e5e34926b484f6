"""One network that learns what an ensemble says."""

from dataclasses import replace

from numpy.typing import ArrayLike
from sklearn.base import clone, is_classifier

from skensemble._data.label_targets import adopted
from skensemble._data.soft_targets import soft
from skensemble._types import Input, Options, Parameter
from skensemble._warnings import short
from skensemble.base import BaseSnapshotEnsemble
from skensemble.call import Given
from skensemble.members import at_most_one

from ._asked import Ensemble, opened, with_last


def distill(
    estimator: Ensemble,
    X: Input,
    sample_weight: ArrayLike | None = None,
    **parameters: Parameter,
) -> Ensemble:
    """Train one network on what an ensemble says, and not on labels ([1]_).

    A clone of the estimator is trained, with one chain and one cycle on all rows. A classifier's
    learns the probabilities of the ensemble by their cross-entropy, a regressor's the predictions
    by its own `criterion`.

    Parameters
    ----------
    estimator : SnapshotEnsembleClassifier, SnapshotEnsembleRegressor or Pipeline
        A fitted one; it stays as it is. A Pipeline ends in one of the two, whose members are meant.
    X : array-like of shape (n_samples, n_features) or (n_samples, ...)
        Rows to learn from, such as those of the training. They need no labels: further rows of the
        same kind are welcome.
    sample_weight : array-like of shape (n_samples,), default=None
        Their weights. None: all equal.
    **parameters : dict
        Parameters of the clone, such as ``module__hidden=(32,)`` for a smaller network, `lr`,
        `max_epochs`, or `n_cycles` for several snapshots of its chain.

    Returns
    -------
    student : estimator of the same class
        With one chain. Its classes are those of the ensemble. Nothing is left out in its training,
        so that there is no ``validation_score_``, no threshold of a `decision`, and no
        ``temperature_``: that of the ensemble is in its probabilities already.

    Raises
    ------
    ValueError
        If a parameter does not fit, or with ``distribution="quantiles"``.

    Notes
    -----
    `criterion` and ``class_weight`` of a classifier are in its probabilities, and are not asked
    again. The clone runs without the estimator's `callbacks`, which look at labels.

    References
    ----------
    .. [1] G. Hinton, O. Vinyals and J. Dean, "Distilling the Knowledge in a Neural Network",
       arXiv:1503.02531, 2015.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skensemble import SnapshotEnsembleClassifier
    >>> from skensemble.averaging import distill
    >>> X, y = load_iris(return_X_y=True)
    >>> model = SnapshotEnsembleClassifier(max_epochs=20, random_state=0).fit(X, y)
    >>> student = distill(model, X, module__hidden=(16,))
    >>> len(student.snapshots_)
    1
    >>> bool((student.predict(X) == model.predict(X)).mean() > 0.95)
    True
    """
    last, X = opened(estimator, X)
    student, fitted = _student(last, parameters), last._fitted_
    if not is_classifier(last):
        student.fit(X, last.predict(X), sample_weight)  # type: ignore[attr-defined]
        return with_last(estimator, student)
    _, source = last._read(X)
    p = at_most_one(fitted.targets.temper(fitted.ensemble(source), fitted.temperature))
    student._train(Given(X, p, sample_weight, targets=soft(fitted.targets)), None)
    # What they mean is the same; labels of later calls are plain ones again.
    targets = adopted(student._targets(), fitted.targets)
    student._commit(replace(student._fitted_, targets=targets))
    return with_last(estimator, student)


#: Parameters of one network that learns of an ensemble, and has no row to be judged by.
_OF_STUDENTS: Options = {
    "n_chains": 1,
    "validation": None,
    "members": "all",
    "scoring": None,
    "class_weight": None,
    "decision": None,
    "calibrate": False,
    "warm_start": False,
    "checkpoint_dir": None,
}


def _student(estimator: BaseSnapshotEnsemble, parameters: Options) -> BaseSnapshotEnsemble:
    """Return a clone that trains one network."""
    if refused := sorted(_OF_STUDENTS.keys() & parameters.keys()):
        raise ValueError(
            f"Got {refused[0]}={short(parameters[refused[0]])} for a network that learns of an "
            "ensemble, but expected none: it has one chain, and no rows that judge it."
        )
    if getattr(estimator, "distribution", None) is not None:
        raise ValueError(
            "Got distribution='quantiles' with distill, but expected None: a network that learns "
            "predictions learns one value a row. average_weights makes one network of quantiles."
        )
    student: BaseSnapshotEnsemble = clone(estimator)
    if hasattr(student, "set_callbacks"):
        student.set_callbacks()  # they look at labels
    left = ["callbacks__"]
    if is_classifier(estimator):
        left.append("criterion__")
        student.set_params(criterion=None)
    elif student.criterion == "quantile":  # the quantile of what is one already would lie beyond
        left.append("criterion__")
        student.set_params(criterion="absolute_error")
    keywords = student._keywords().items()
    student._kwargs = {k: v for k, v in keywords if not k.startswith(tuple(left))}
    own = student._get_param_names()
    fixed = {name: value for name, value in _OF_STUDENTS.items() if name in own}
    student.set_params(**{**fixed, "callbacks": None, "n_cycles": 1, **parameters})
    return student
