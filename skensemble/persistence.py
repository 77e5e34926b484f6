"""Files of fitted estimators: :func:`load`."""

from collections.abc import Collection
from pathlib import Path

from ._persistence.checkpoints import prune
from ._persistence.loading import read_model
from ._types import ModuleLike, PathLike
from .base import BaseSnapshotEnsemble
from .classifier import SnapshotEnsembleClassifier
from .regressor import SnapshotEnsembleRegressor

#: Estimators by their names in a file.
_KINDS = {cls.__name__: cls for cls in (SnapshotEnsembleClassifier, SnapshotEnsembleRegressor)}


def prune_checkpoints(checkpoint_dir: PathLike, *, unfinished: bool = False) -> list[Path]:
    """Remove the files of finished fits from a folder given as `checkpoint_dir`.

    A model that is to be kept is written by ``save``, or was copied from there.

    Parameters
    ----------
    checkpoint_dir : path-like
        The folder. Other files in it stay.
    unfinished : bool, default=False
        Whether those of fits that were killed go too; these fits then begin anew.

    Returns
    -------
    removed : list of pathlib.Path
        The files that were removed.

    Raises
    ------
    NotADirectoryError
        If there is no such folder.

    Examples
    --------
    >>> import tempfile
    >>> import skensemble
    >>> from sklearn.datasets import load_iris
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model = skensemble.SnapshotEnsembleClassifier(
    ...         max_epochs=2, n_cycles=2, random_state=0, checkpoint_dir=folder
    ...     ).fit(*load_iris(return_X_y=True))
    ...     print(len(skensemble.prune_checkpoints(folder)))
    1
    """
    return list(prune(checkpoint_dir, unfinished=unfinished))


def load(
    path: PathLike,
    *,
    module: ModuleLike | None = None,
    trusted: str | Collection[str] = (),
) -> BaseSnapshotEnsemble:
    """Load a fitted estimator from a file that ``save`` wrote.

    The file is data: it is parsed, then checked whole, and only then anything is built. No code is
    imported or called but this package's, torch's layers and optimizers, skorch's callbacks that
    touch no files, scikit-learn's splitters, and what `module` and `trusted` name.

    Snapshots that take part in predictions are read at once, others when they are asked for.

    Parameters
    ----------
    path : str or path-like
        The file.
    module : type, callable or nn.Module, default=None
        The `module` that the estimator was made with, where that is your own. It stands in place of
        the one that the file names. A warning tells where its source has changed since.
    trusted : str or collection of str, default=()
        Names of your own code that the file may import and call, such as ``"mymodel.Net"``: a
        module, criterion, net, callback, or a function for `schedule` or `members`. The error for a
        name that misses says what to pass.

    Returns
    -------
    estimator : SnapshotEnsembleClassifier or SnapshotEnsembleRegressor
        It predicts to the bit what the saved one did. A model of a GPU that is not here is loaded
        on the CPU, with a warning.

    Raises
    ------
    ValueError
        If the file is damaged, of a newer format, or needs a name that is not trusted.
    OSError
        If the file cannot be opened.

    See Also
    --------
    SnapshotEnsembleClassifier.save : Write such a file.

    Examples
    --------
    >>> import tempfile
    >>> import skensemble
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> model = skensemble.SnapshotEnsembleClassifier(max_epochs=2, n_cycles=2).fit(X, y)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(f"{folder}/iris.model")
    ...     loaded = skensemble.load(f"{folder}/iris.model")
    >>> bool((loaded.predict_proba(X) == model.predict_proba(X)).all())
    True
    """
    loaded = read_model(path, kinds=_KINDS, module=module, trusted=trusted)
    assert isinstance(loaded.estimator, BaseSnapshotEnsemble)
    loaded.estimator._commit(loaded.fitted)
    return loaded.estimator
