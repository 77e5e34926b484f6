"""One call: what the user gave, and what it is to train once that is checked."""

from typing import NamedTuple

from numpy.typing import ArrayLike

from ._compat import has_callbacks
from ._data.folds import Chosen, choose_folds
from ._data.reading import Examples, Known, read_training, read_validation
from ._data.targets import Targets
from ._nets.generators import seed_of
from ._types import PathLike
from .fitted import Fitted
from .parameters import NetParameters, metrics_of
from .scoring import check_decision


class Given(NamedTuple):
    """What the user gave to one call, unchecked."""

    X: object
    y: ArrayLike | None = None
    sample_weight: ArrayLike | None = None
    groups: ArrayLike | None = None
    X_val: object = None
    y_val: ArrayLike | None = None
    sample_weight_val: ArrayLike | None = None
    classes: ArrayLike | None = None
    resume_from: PathLike | None = None
    #: Whether to train one cycle alone, as partial_fit does.
    is_one_cycle: bool = False
    #: What y means; None: what the estimator's parameters say.
    targets: Targets | None = None


class Call(NamedTuple):
    """One call, checked: what it is to train, and by which rows it is judged."""

    #: Its parameters count; nothing is written on it.
    estimator: NetParameters
    is_one_cycle: bool
    #: The ensemble to go on with; None: a new one.
    before: Fitted | None
    data: Examples
    #: Rows given to judge by; None: those that the chains leave out, if any.
    held: Examples | None
    known: Known
    seed: int
    chosen: Chosen

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and of columns, where X is a table; else 1."""
        return self.data.source.n_samples, self.known.intake.n_features or 1

    @property
    def n_before(self) -> int:
        """Cycles of earlier calls."""
        return 0 if self.before is None else self.before.n_cycles

    @property
    def is_heard(self) -> bool:
        """Whether somebody hears what is told of cycles."""
        return bool(self.estimator.verbose) or has_callbacks(self.estimator)

    @property
    def was_limited(self) -> bool:
        """Whether the time limit of an earlier call shortened that."""
        return self.before is not None and self.before.resume.is_time_limited


def read_call(estimator: NetParameters, given: Given, before: Fitted | None) -> Call:
    """Check parameters and rows, and decide which rows each chain leaves out."""
    if before is not None:
        estimator._check_unchanged(before.resume.made_of)
    estimator._check_parameters()
    data, known = read_training(
        estimator,
        given.X,
        given.y,
        given.sample_weight,
        targets=estimator._targets() if given.targets is None else given.targets,
        classes=given.classes,
        before=None if before is None else before.known,
    )
    check_decision(metrics_of(estimator)["decision"], known.targets)
    held = read_validation(estimator, given.X_val, given.y_val, given.sample_weight_val, known)
    seed = seed_of(estimator.random_state) if before is None else before.resume.seed
    chosen = choose_folds(
        estimator._asked_folds(),
        data.source,
        data.y,
        given.groups,
        seed,
        has_validation=held is not None,
        before=None if before is None else before.resume.chosen,
    )
    return Call(estimator, given.is_one_cycle, before, data, held, known, seed, chosen)
