"""How a training can be followed: its history, and callbacks of scikit-learn's."""

from typing import Any, Self

from sklearn import __version__ as _sklearn_version
from sklearn.utils.metaestimators import available_if

from . import _compat
from ._compat import calling_back as calling_back
from ._training.fit_history import FitHistory
from ._warnings import short
from .fitted import Fitted
from .other_files import Picklable


def _has_callbacks(estimator: object) -> bool:
    """Tell whether scikit-learn calls callbacks."""
    if _compat.sklearn_callback is None:
        raise AttributeError(NEEDS_NEWER)
    return True


#: What is said where scikit-learn is too old.
NEEDS_NEWER = (
    f"Got scikit-learn {_sklearn_version}, but expected 1.9 or newer, which calls callbacks; "
    "install it, or give callbacks of skorch by callbacks=."
)


class Followed(_compat.CallbackSupport, Picklable):
    """An estimator whose fit is a task for scikit-learn's callbacks, and each cycle one in it."""

    @property
    def history_(self) -> FitHistory:
        """What skorch recorded of the training: a row for each epoch. It prints as a table."""
        return FitHistory(self.net_.history_)

    @available_if(_has_callbacks)
    def set_callbacks(self, *callbacks: Any) -> Self:
        """Set callbacks of scikit-learn, which are told of each cycle.

        Those of skorch are given by the parameter `callbacks`. This needs scikit-learn 1.9.

        Parameters
        ----------
        *callbacks : callback instances
            Such as ``sklearn.callback.ScoringMonitor(scoring="neg_log_loss")`` or
            :class:`skensemble.callbacks.CycleLogger`. They replace those that were set before.
            Without any, those that were set before are removed.

        Returns
        -------
        self : object

        Raises
        ------
        TypeError
            If one is no instance that follows the protocol ``sklearn.callback.FitCallback``.

        Notes
        -----
        A fit is one task, and each cycle a task in it. A hook that asks for ``fitted_estimator``
        gets a copy of the estimator that predicts with the cycles so far. A run ends after the
        cycle whose ``on_fit_task_end`` returns True. No callback changes what is trained.
        """
        for callback in callbacks:
            is_one = isinstance(callback, _compat.sklearn_callback.FitCallback)
            if not is_one or isinstance(callback, type):
                raise TypeError(
                    f"Got set_callbacks({short(callback)}), but expected instances that follow the "
                    "protocol sklearn.callback.FitCallback; those of skorch go to the parameter "
                    "callbacks=."
                )
        return super().set_callbacks(*callbacks)

    def _commit(self, fitted: Fitted) -> None:
        """Put the fitted attributes in place, all at once."""
        attributes = fitted.attributes()
        kept = {name: value for name, value in vars(self).items() if name not in attributes}
        there = {name: value for name, value in attributes.items() if value is not None}
        # One assignment: neither Ctrl-C nor another thread finds a half of them.
        self.__dict__ = {**kept, **there, "_fitted_": fitted}

    def _commit_so_far(self, fitted: Fitted) -> None:
        """Make this, a copy in the middle of a fit, an estimator whose fit has ended."""
        _compat.leave_fit_task(self)
        self._commit(fitted)

    #: Set by scikit-learn on a copy that it makes for callbacks.
    _fitted_so_far = property(None, _commit_so_far)
