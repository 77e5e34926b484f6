"""How many chains there are, and which rows each leaves out.

:mod:`skensemble._data.assignment` puts rows into folds.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import BaseCrossValidator, TimeSeriesSplit
from sklearn.utils.validation import check_consistent_length

from skensemble._types import Array, Floats, Members, Validation
from skensemble._warnings import short, warn
from skensemble.defaults import SMALL, auto_n_chains
from skensemble.members import needs_unseen

from .assignment import Assignment, assign_folds, learn_folds
from .containers import naming, open_container
from .hashes import group_hashes, group_labels, row_hashes
from .rows import ChainRows
from .sources import Source

Rows = NDArray[np.integer[Any]]

#: By what rows are told apart, and in which way they are left out.
Way = tuple[str, Validation | None]

#: With one chain, "cross" leaves out the first of so many folds.
ONE_OF = 5


class Folds(NamedTuple):
    """For each chain the rows that it trains on, and those that it leaves out."""

    trained: list[Rows]
    left_out: list[Rows]
    #: None: a splitter decided.
    assignment: Assignment | None = None

    def weigh(self, weight: Floats | None, n_samples: int) -> Floats | None:
        """Weigh the rows of a fold of over twice the average size as one of average size.

        The chain that leaves out most rows is trained on few, so it says little of the others.
        The weights are as given, None too, where there is no such fold.
        """
        sizes = np.array([len(rows) for rows in self.left_out])
        large = np.flatnonzero(sizes > 2 * sizes.mean())
        if not len(large):
            return weight
        weight = np.ones(n_samples) if weight is None else weight.copy()
        for k in large:
            weight[self.left_out[k]] *= sizes.mean() / sizes[k]
        return weight


class Asked(NamedTuple):
    """What the estimator's parameters say of chains and folds."""

    validation: Validation | None
    n_chains: int | str
    members: Members
    #: Whether the built-in network trains, which "auto" gives several chains.
    is_table: bool
    is_classifier: bool
    #: Whether probabilities are to be calibrated, whatever it gains.
    is_calibrated: bool = False
    #: Parameters that ask a metric for unseen rows, and what they are; None where they do not.
    metrics: dict[str, Any] = {}  # noqa: RUF012


class Chosen(NamedTuple):
    """Chains, and the rows that each leaves out."""

    n_chains: int
    folds: Folds | None
    #: For later calls, which compare it with theirs.
    left_out_by: Way
    #: How rows came into folds, for later calls; None: they did not.
    assignment: Assignment | None = None

    def chain_rows(self, n_samples: int) -> list[ChainRows]:
        """Return the rows of each chain: in each epoch as many as a chain has on average."""
        if self.folds is None:
            return [ChainRows(n_samples)] * self.n_chains
        n = round(sum(len(rows) for rows in self.folds.trained) / self.n_chains)
        return [ChainRows(n, torch.from_numpy(rows)) for rows in self.folds.trained]


def choose_folds(
    asked: Asked,
    data: Source,
    y: Array,
    groups: ArrayLike | None,
    seed: int,
    *,
    has_validation: bool,
    before: Chosen | None,
) -> Chosen:
    """Decide how many chains there are, and which rows each leaves out.

    `y` are encoded targets. None are left out where other rows are given to judge by
    (`has_validation`). `before` is what an earlier call chose; its folds are not looked at.
    """
    n_chains = _count_chains(asked, data, y, groups) if before is None else before.n_chains
    if groups is not None:
        groups = open_container(groups, "groups")
        with naming("groups"):
            check_consistent_length(groups, np.empty(data.n_samples))
            group_labels(groups)
    how = asked.validation
    if how == "auto":
        how = "cross" if n_chains > 1 else None
    if has_validation:
        how = None
    way: Way = ("groups" if groups is not None else data.precision, how)
    if before is not None:
        how, way = _compare(way, has_validation, before)
    assignment = None if before is None else before.assignment
    chosen = folds(how, n_chains, data, y, groups, seed, assignment)
    if chosen is not None and len(chosen.left_out) != n_chains:
        raise ValueError(
            f"Got validation={short(how)} with {len(chosen.left_out)} splits for "
            f"{n_chains} chains, but expected as many: each chain leaves out one."
        )
    if chosen is None and how is not None and before is None:
        warn(
            f"Got validation={short(how)}, but the folds of these rows would leave a chain with "
            "none to train on, or leave out none at all: nothing is left out."
        )
    if how is None and not has_validation:
        _check_needs(asked, data.n_samples)
    if chosen is not None:
        assignment = chosen.assignment
    return Chosen(n_chains, chosen, way, assignment)


def _count_chains(asked: Asked, data: Source, y: Array, groups: ArrayLike | None) -> int:
    n, splitter = data.n_samples, asked.validation
    n_splits = _count_splits(splitter, n, y, groups)
    if n_splits > 1:
        if asked.n_chains not in ("auto", n_splits):
            raise ValueError(
                f"Got n_chains={asked.n_chains} and validation={short(splitter)} with "
                f"{n_splits} splits, but expected as many: each chain leaves out one. Leave "
                "n_chains at 'auto'."
            )
        return n_splits
    if asked.n_chains == "auto":
        return auto_n_chains(n, asked.is_classifier) if asked.is_table else 1
    return clip("n_chains", int(asked.n_chains), n, "rows")


def clip(name: str, wanted: int, available: int, what: str) -> int:
    """Return the number wanted, or with a warning the number that can be had."""
    if wanted <= available:
        return wanted
    one = name.removeprefix("n_").removesuffix("s")
    warn(
        f"Got {name}={wanted} for {available} {what}; every {one} needs one of them, so there "
        f"are {available} {one}s."
    )
    return available


def _compare(now: Way, has_validation: bool, before: Chosen) -> tuple[Validation | None, Way]:
    """Leave out nothing where earlier calls trained on what would count as unseen."""
    how = now[1]
    if how is not None and (now != before.left_out_by or hasattr(how, "get_n_splits")):
        warn(
            "Rows were left out in another way in an earlier call, so that none is known to be "
            "unseen by all its cycles: this call leaves out none, and only X_val and y_val "
            "would give it rows to weigh the cycles by."
        )
        return None, (now[0], None)
    return how, now if how is None and not has_validation else before.left_out_by


def _check_needs(asked: Asked, n_samples: int) -> None:
    """Refuse a rule for members that has no unseen rows to choose by."""
    is_few = asked.is_table and n_samples <= SMALL  # "auto" leaves nothing out of so few rows
    if asked.validation is not None and is_few:
        return
    if asked.is_calibrated:
        raise ValueError(
            "Got calibrate=True and no rows that are left out, but expected some to find the "
            "temperature by: set n_chains or validation, such as validation='cross', or give X_val "
            "and y_val."
        )
    for name, metric in asked.metrics.items():
        if metric is not None:
            raise ValueError(
                f"Got {name}={short(metric)} and no rows that are left out, but expected some to "
                "judge by: set n_chains or validation, such as validation='cross', or give X_val "
                "and y_val."
            )
    if needs_unseen(asked.members):
        raise ValueError(
            f"Got members={short(asked.members)} and no rows that are left out, but expected some "
            "to choose by: set n_chains or validation, such as validation='cross', or give X_val "
            "and y_val."
        )


def folds(
    validation: Validation | None,
    n_chains: int,
    data: Source,
    y: Array | None,
    groups: ArrayLike | None,
    seed: int,
    before: Assignment | None = None,
) -> Folds | None:
    """Fold the rows; None where nothing is left out, or a chain would have no rows left.

    With "cross" each chain leaves out its own fold, one chain the first of five. With a fraction
    all leave out the same rows, with "last" the last fifth. A splitter of scikit-learn gives a fold
    for each chain, and must leave out each row once; it is handed y. One of a single split, or a
    TimeSeriesSplit by its last one, says what all chains leave out. Rows of one group share a fold.
    `seed` salts the hashes. `before` is how an earlier call put rows into folds: copies join them.
    """
    n = data.n_samples
    if validation is None:
        return None
    n_splits = _count_splits(validation, n, y, groups)
    if validation == "last" or n_splits == 1:
        return _leave_out_one_part(validation, n_chains, data, y, groups)
    if n_splits:
        return _split(validation, data, y, groups)
    hashes = row_hashes(data, seed) if groups is None else group_hashes(groups, seed)
    is_cross = validation == "cross"
    n_folds = n_chains if n_chains > 1 else ONE_OF
    shares = np.full(n_folds, 1 / n_folds) if is_cross else np.array([validation, 1 - validation])
    assignment = before or learn_folds(hashes, shares, are_groups=groups is not None)
    fold = assign_folds(assignment, hashes, seed)
    out = [fold == (k if is_cross else 0) for k in range(n_chains)]
    if any(mask.all() for mask in out) or not any(mask.any() for mask in out):
        return None
    rows = np.arange(n)
    # They are kept through the fit, nearly as many for each chain as there are rows.
    short = rows.astype(np.int32) if n < 2**31 else rows
    return Folds([short[~mask] for mask in out], [short[mask] for mask in out], assignment)


def _count_splits(
    validation: Validation | None, n_samples: int, y: Array | None, groups: ArrayLike | None
) -> int:
    """Return how many folds a splitter makes; 1: all chains leave out the same rows, 0: it is none.

    Of a TimeSeriesSplit the last split counts alone: rows before it are no part of a test there.
    """
    if isinstance(validation, TimeSeriesSplit):
        return 1
    if validation is None or isinstance(validation, str | float):
        return 0
    with _naming_splitter(validation, groups):
        return int(validation.get_n_splits(np.empty((n_samples, 1)), y, groups))


@contextlib.contextmanager
def _naming_splitter(splitter: BaseCrossValidator, groups: ArrayLike | None) -> Iterator[None]:
    """Name the parameter in the errors of a splitter of the user's."""
    try:
        yield
    except ValueError as error:
        given = "and groups=None" if groups is None else "and groups"
        remedy = "groups=" if "groups" in str(error) and groups is None else "more rows or groups"
        raise ValueError(
            f"Got validation={short(splitter)} {given}, but expected what it can split: "
            f"{str(error).rstrip('.')}; give {remedy} to fit, or another splitter."
        ) from error


def _leave_out_one_part(
    validation: Validation,
    n_chains: int,
    data: Source,
    y: Array | None,
    groups: ArrayLike | None,
) -> Folds | None:
    """Let all chains leave out the same rows: the last ones, or those of a splitter's last split.

    Rows of neither part, such as the gap of a TimeSeriesSplit, are not looked at.
    """
    n = data.n_samples
    if validation != "last":
        assert not isinstance(validation, str | float)
        with _naming_splitter(validation, groups):
            train, test = list(validation.split(np.zeros((n, 1)), y, groups))[-1]
    elif groups is not None:
        raise ValueError(
            "Got groups with validation='last', but expected one of them: the last rows are left "
            "out, whatever their group. Give groups to validation='cross', or to a splitter."
        )
    else:
        train, test = np.split(np.arange(n), [n - round(n / ONE_OF)])
    if not len(train) or not len(test):
        return None
    return Folds([np.asarray(train)] * n_chains, [np.asarray(test)] * n_chains)


def _split(
    splitter: BaseCrossValidator, data: Source, y: Array | None, groups: ArrayLike | None
) -> Folds:
    X = getattr(data, "X", None)
    if not isinstance(X, np.ndarray):
        X = np.zeros((data.n_samples, 1))
    with _naming_splitter(splitter, groups):
        splits = list(splitter.split(X, y, groups))
    left_out = [np.asarray(test) for _, test in splits]
    if not np.array_equal(np.sort(np.concatenate(left_out)), np.arange(data.n_samples)):
        raise ValueError(
            f"Got validation={short(splitter)}, but expected a splitter that leaves out each row "
            "exactly once, such as KFold or GroupKFold, one of a single split, or a "
            "TimeSeriesSplit."
        )
    return Folds([np.asarray(train) for train, _ in splits], left_out)
