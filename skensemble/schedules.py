"""Where cycles begin and end, and the learning rate at every step.

These are pure functions of step numbers; nothing here knows of torch or of training. A new
schedule is one function of :class:`At`, registered in :data:`SHAPES`.
"""

import copy
import difflib
import inspect
from collections.abc import Callable, Iterator, Sequence
from numbers import Real
from typing import Any, NamedTuple, Self, TypeGuard, overload

import numpy as np
from numpy.typing import NDArray

from ._types import Floats, Schedule
from ._warnings import short


class At(NamedTuple):
    """The place in a run at which a schedule is asked for its rate.

    Attributes
    ----------
    step : int
        Steps taken since the first cycle began (burn-in not counted).
    cycle : int
        Number of the cycle, from 0.
    progress : float
        Part of the cycle that lies behind this step, in [0, 1).
    length : int
        Number of steps in the cycle.
    """

    step: int
    cycle: int
    progress: float
    length: int


def cosine(at: At) -> Any:
    """Follow half a cosine from 1 down to 0: SGDR (Loshchilov & Hutter 2017, eq. 5)."""
    return (1 + np.cos(np.pi * at.progress)) / 2


def triangular(at: At) -> Any:
    """Go linearly from 0 to 1 and back: CLR (Smith 2017, section 3.1).

    Steps are sampled in their middle, so that none trains at rate zero and a cycle of one step
    trains at the peak.
    """
    return 1 - np.abs(2 * (at.progress + 0.5 / at.length) - 1)


def triangular2(at: At) -> Any:
    """Halve the height of ``triangular`` with every cycle (Smith 2017, section 3.2)."""
    return triangular(at) * 0.5 ** np.asarray(at.cycle, dtype=float)


def exp_range(at: At, gamma: float = 1.0) -> Any:
    """Multiply the height of ``triangular`` by ``gamma ** step`` (Smith 2017, section 3.2)."""
    return triangular(at) * gamma ** np.asarray(at.step, dtype=float)


#: Values of ``schedule=``. A shape also takes arrays in the fields of `At`: all steps at once.
SHAPES: dict[str, Callable[..., Any]] = {
    "cosine": cosine,
    "triangular": triangular,
    "triangular2": triangular2,
    "exp_range": exp_range,
}


#: Steps whose rates a run computes together.
_AT_ONCE = 1024


def cycle_ends(n_steps: int, n_cycles: int, cycle_mult: float = 1.0) -> NDArray[np.int64]:
    """Return the steps done at the end of each cycle; the last is `n_steps`.

    Parameters
    ----------
    n_steps : int
        Steps of all cycles together, at least `n_cycles`.
    n_cycles : int
        Number of cycles.
    cycle_mult : float, default=1.0
        Each cycle is this many times as long as the one before: T_mult of SGDR.

    Returns
    -------
    ends : ndarray of int64 of shape (n_cycles,)
        Strictly increasing: every cycle has at least one step, which the longest ones give.

    Examples
    --------
    >>> from skensemble.schedules import cycle_ends
    >>> cycle_ends(10, 3)
    array([ 3,  7, 10])
    >>> cycle_ends(14, 3, cycle_mult=2.0)
    array([ 2,  6, 14])
    """
    # Exponents are shifted to end at 0, so that a large cycle_mult cannot overflow.
    exponents = np.arange(n_cycles) - (n_cycles - 1 if cycle_mult > 1 else 0)
    share = np.cumsum(float(cycle_mult) ** exponents)
    ends = np.rint(share / share[-1] * n_steps).astype(np.int64)
    lengths = np.diff(ends, prepend=0).clip(min=1)
    for _ in range(int(lengths.sum()) - n_steps):
        lengths[np.argmax(lengths)] -= 1
    return np.cumsum(lengths)


class Fractions:
    """The learning rate of every step as a fraction of the highest, computed as it is asked for.

    A run that early stopping is to end may have any number of steps. Those that it never takes
    cost nothing.

    Parameters
    ----------
    n_steps, n_cycles, schedule, cycle_mult
        See :func:`learning_rates`.
    floor : float, default=0.0
        Fraction at which a named schedule ends a cycle (``min_lr / lr``).
    burn_in_steps : int, default=0
        Steps at fraction 1 before the first cycle begins.
    cycle_decay : float, default=1.0
        Height of each cycle as a part of that of the one before. None is lower than `floor`.
    first_step, first_cycle : int, default=0
        First values of ``At.step`` and ``At.cycle``, where a run goes on.
    **options
        Arguments of the shape, such as ``gamma``; those it does not take are dropped.
    """

    def __init__(
        self,
        n_steps: int,
        n_cycles: int,
        *,
        schedule: Schedule = "cosine",
        cycle_mult: float = 1.0,
        floor: float = 0.0,
        burn_in_steps: int = 0,
        cycle_decay: float = 1.0,
        first_step: int = 0,
        first_cycle: int = 0,
        **options: float,
    ):
        self.n_steps, self.burn_in_steps = n_steps, burn_in_steps
        self.first_step, self.first_cycle = first_step, first_cycle
        self.schedule, self.floor, self.cycle_decay = schedule, floor, cycle_decay
        self.options = {}
        if isinstance(schedule, str):
            taken = inspect.signature(SHAPES[schedule]).parameters
            self.options = {name: value for name, value in options.items() if name in taken}
        #: Steps done at the end of each cycle, burn-in not counted.
        self.ends = cycle_ends(n_steps - burn_in_steps, n_cycles, cycle_mult)
        #: A step from which on its cycle goes on at another speed, burn-in not counted, and the
        #: part of the cycle that lies behind it.
        self.turn: tuple[int, float] | None = None

    def turned(self, burn_in_steps: int, ends: Sequence[int], turn: tuple[int, float]) -> Self:
        """Return these fractions for other lengths of the burn-in and of the cycles.

        The cycle of the step ``turn[0]`` may have begun, at another speed: ``turn[1]`` of it lies
        behind that step, and the rate falls from there to the cycle's end. What the result says of
        earlier steps means nothing. Steps are counted with the burn-in.
        """
        other = copy.copy(self)
        other.n_steps, other.burn_in_steps = int(ends[-1]), burn_in_steps
        other.ends = np.asarray(ends, np.int64) - burn_in_steps
        other.turn = (turn[0] - burn_in_steps, turn[1])
        return other

    def __len__(self) -> int:
        return self.n_steps

    @overload
    def __getitem__(self, step: int) -> float: ...

    @overload
    def __getitem__(self, step: slice) -> Floats: ...

    def __getitem__(self, step: int | slice) -> float | Floats:
        steps = np.arange(self.n_steps)[step] if isinstance(step, slice) else range(len(self))[step]
        values = self.at(np.atleast_1d(steps))
        return values if isinstance(step, slice) else float(values[0])

    def __iter__(self) -> Iterator[float]:
        return self.after(0)

    def after(self, step: int) -> Iterator[float]:
        """Yield the fractions that come after so many steps."""
        for start in range(step, self.n_steps, _AT_ONCE):
            yield from self.at(np.arange(start, min(start + _AT_ONCE, self.n_steps))).tolist()

    def at(self, steps: NDArray[np.int64]) -> Floats:
        """Return the fractions of some steps of the run.

        Raises
        ------
        ValueError
            If a callable returns something other than a finite number of at least 0.
        """
        values = np.ones(len(steps))
        in_cycles = steps >= self.burn_in_steps
        values[in_cycles] = self._in_cycles(steps[in_cycles] - self.burn_in_steps)
        return values

    def check(self) -> None:
        """Ask a callable for both ends and the middle of each cycle.

        A mistake in it shows before the training, and not in the middle of it.
        """
        if callable(self.schedule):
            lengths = np.diff(self.ends, prepend=0)
            starts = self.ends - lengths
            places = np.stack([starts, starts + lengths // 2, self.ends - 1], axis=1)
            self.at(self.burn_in_steps + np.unique(places))

    def _in_cycles(self, step: NDArray[np.int64]) -> Floats:
        """Return the fractions of steps that are counted from the first cycle on."""
        cycle = np.searchsorted(self.ends, step, side="right")
        lengths = np.diff(self.ends, prepend=0)
        progress, length = (step - (self.ends - lengths)[cycle]) / lengths[cycle], lengths[cycle]
        if self.turn is not None and 0 <= self.turn[0] < self.ends[-1]:
            begin, behind = self.turn
            turning = np.searchsorted(self.ends, begin, side="right")
            later, left = (cycle == turning) & (step >= begin), int(self.ends[turning]) - begin
            progress[later] = behind + (1 - behind) * (step[later] - begin) / left
            # As if the whole cycle had this speed: shapes ask for the length to know their step.
            length[later] = max(1, round(left / (1 - behind)))
        fields = (self.first_step + step, self.first_cycle + cycle, progress, length)
        if isinstance(self.schedule, str):
            at = At(*fields)  # type: ignore[arg-type]  # arrays
            shape = SHAPES[self.schedule](at, **self.options)
            values: Floats = self.floor + (self._heights(at.cycle) - self.floor) * shape
            return values
        # A user's own gets plain Python numbers, step by step.
        rows = zip(*(field.tolist() for field in fields), strict=True)
        return _evaluate(self.schedule, [At(*row) for row in rows])

    def _heights(self, cycle: Any) -> Any:
        """Return the highest fractions of cycles, as ``cycle_decay`` of timm's schedulers says."""
        if self.cycle_decay == 1:
            return 1
        return np.maximum(self.cycle_decay ** np.asarray(cycle, dtype=float), self.floor)


class Plan(NamedTuple):
    """The rate at every step of a run, and where its cycles end."""

    fractions: Fractions
    #: Steps of the run done at the end of each cycle, burn-in included.
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, n_steps: int, n_cycles: int, **arguments: Any) -> "Plan":
        """Plan a run; the arguments are those of :class:`Fractions`."""
        fractions = Fractions(n_steps, n_cycles, **arguments)
        return cls(fractions, fractions.burn_in_steps + fractions.ends)


def check_options(
    schedule: Schedule, *, lr: float, min_lr: object = 0.0, **options: object
) -> None:
    """Refuse a rate, or an option of a shape such as ``gamma``, that is out of range.

    A callable decides its own lowest and highest rates, and takes no `min_lr` or `cycle_decay`.
    """
    if not _is_number(lr) or not 0 < lr < np.inf:
        raise ValueError(f"Got lr={short(lr)}, but expected a number above 0.")
    if not _is_number(min_lr) or not 0 <= min_lr <= lr:
        raise ValueError(f"Got min_lr={short(min_lr)}, but expected a number from 0 to lr={lr!r}.")
    if min_lr and not isinstance(schedule, str):
        raise ValueError(
            f"Got min_lr={min_lr!r} with a callable schedule, but expected the callable to decide "
            "its own lowest rate."
        )
    for name, value in options.items():
        if not _is_number(value) or not 0 < value <= 1:
            raise ValueError(
                f"Got {name}={short(value)}, but expected a number above 0, at most 1."
            )
    decay = options.get("cycle_decay", 1.0)
    if decay != 1 and not isinstance(schedule, str):
        raise ValueError(
            f"Got cycle_decay={decay!r} with a callable schedule, but expected the callable to "
            "decide how high each cycle is: it is given at.cycle."
        )


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, Real) and not isinstance(value, bool) and not np.isnan(float(value))


def shape_options() -> set[str]:
    """Return the names of the options that one shape or another takes, such as ``gamma``."""
    taken = [list(inspect.signature(shape).parameters)[1:] for shape in SHAPES.values()]
    return {name for names in taken for name in names}


def _evaluate(schedule: Callable[[At], float], places: list[At]) -> Floats:
    try:
        values = [schedule(place) for place in places]
    except Exception as error:  # whatever a user's function raises
        names = ", ".join(sorted(inspect.signature(At).parameters))
        raise ValueError(
            f"Got schedule={short(schedule)}, but expected a function of one argument, such as "
            f"lambda at: 1 - at.progress, that returns a fraction of lr; at has {names}; it raised "
            f"{type(error).__name__}: {error}."
        ) from error
    for value, place in zip(values, places, strict=True):
        if not _is_number(value) or not 0 <= value < np.inf:
            raise ValueError(
                f"Got {short(value)} from schedule(at) for {place}, but expected a finite fraction "
                "of lr, at least 0. Return a number: 1.0 trains at lr."
            )
    return np.array(values, dtype=np.float64)


def learning_rates(
    n_steps: int,
    *,
    lr: float,
    n_cycles: int,
    schedule: Schedule = "cosine",
    cycle_mult: float = 1.0,
    min_lr: float = 0.0,
    gamma: float = 1.0,
    cycle_decay: float = 1.0,
    burn_in_steps: int = 0,
) -> Floats:
    """Return the learning rate of every step of a run, without training.

    Parameters
    ----------
    n_steps : int
        Optimizer steps of the run, burn-in included.
    lr : float
        Highest learning rate.
    n_cycles : int
        Number of cycles.
    schedule : {"cosine", "triangular", "triangular2", "exp_range"} or callable, \
            default="cosine"
        Shape of the rate within a cycle. A callable gets an object with ``step``, ``cycle``,
        ``progress`` (in [0, 1)) and ``length``, and returns a fraction of `lr`.
    cycle_mult : float, default=1.0
        Each cycle is this many times as long as the one before.
    min_lr : float, default=0.0
        Rate at which a named schedule ends its cycles.
    gamma : float, default=1.0
        Decay a step of ``"exp_range"``.
    cycle_decay : float, default=1.0
        Highest rate of a cycle of a named schedule as a part of that of the one before, as in
        timm's schedulers. It is never lower than `min_lr`.
    burn_in_steps : int, default=0
        Steps at `lr` before the first cycle begins.

    Returns
    -------
    rates : ndarray of float64 of shape (n_steps,)

    Raises
    ------
    ValueError
        If an argument is out of range, or if the steps are fewer than the cycles.

    References
    ----------
    .. [1] I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts",
       ICLR 2017, eq. 5.
    .. [2] Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017,
       section 3.
    .. [3] G. Huang et al., "Snapshot Ensembles: Train 1, Get M for Free", ICLR 2017, eq. 2.

    Examples
    --------
    >>> from skensemble import learning_rates
    >>> learning_rates(6, lr=0.1, n_cycles=2).round(3)
    array([0.1  , 0.075, 0.025, 0.1  , 0.075, 0.025])
    """
    counts = {
        "n_steps": (n_steps, 1),
        "n_cycles": (n_cycles, 1),
        "burn_in_steps": (burn_in_steps, 0),
    }
    for name, (value, least) in counts.items():
        is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not is_whole or value < least:
            raise ValueError(
                f"Got {name}={short(value)}, but expected an integer of at least {least}."
            )
    if n_steps - burn_in_steps < n_cycles:
        raise ValueError(
            f"Got n_cycles={n_cycles}, but expected at most {max(0, n_steps - burn_in_steps)}: "
            f"every cycle needs a step after the burn-in; n_steps={n_steps} and "
            f"burn_in_steps={burn_in_steps}."
        )
    if not callable(schedule) and not (isinstance(schedule, str) and schedule in SHAPES):
        near = difflib.get_close_matches(str(schedule), SHAPES, n=1)
        raise ValueError(
            f"Got schedule={short(schedule)}, but expected one of "
            f"{', '.join(map(repr, sorted(SHAPES)))} or a callable."
            + (f" Did you mean {near[0]!r}?" if near else "")
        )
    if not _is_number(cycle_mult) or not 0 < cycle_mult < np.inf:
        raise ValueError(f"Got cycle_mult={short(cycle_mult)}, but expected a number above 0.")
    check_options(schedule, lr=lr, min_lr=min_lr, gamma=gamma, cycle_decay=cycle_decay)
    rates = Fractions(
        n_steps,
        n_cycles,
        schedule=schedule,
        cycle_mult=cycle_mult,
        floor=min_lr / lr,
        burn_in_steps=burn_in_steps,
        cycle_decay=cycle_decay,
        gamma=gamma,
    )
    return lr * rates[:]
