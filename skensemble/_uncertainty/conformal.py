"""Intervals and sets from what chains predict for rows that they left out (CV+).

A model that left out fold k predicts a new row, and its errors on fold k say how far off it may be.
All folds vote together. Where all chains left out the same rows there is one model, the ensemble,
and this is split conformal prediction.
"""

from collections.abc import Callable
from typing import NamedTuple, Self

import numpy as np

from skensemble._types import Array, Floats

#: From probabilities to two parts of a score, of which a draw multiplies the second.
Scores = Callable[[Floats], tuple[Floats, Floats]]

#: Values that may lie between the bounds of a search when it ends; they are gone through by one.
_FEW = 4

#: Halvings of a search: then its bounds differ by rounding.
_HALVINGS = 64


class Conformity(NamedTuple):
    """How far off the models were, for each unseen row: sorted, so that no row can be told."""

    #: Number of the model that predicted each row; None: all were predicted by the ensemble.
    fold: Array | None
    #: Of shape (n, d): what there is for each output, or of each class that was right.
    scores: Floats
    #: Class of each row; None: values.
    labels: Array | None = None
    #: Weight of each row, of mean 1; None: all are 1.
    weight: Floats | None = None

    @classmethod
    def of(
        cls,
        fold: Array | None,
        scores: Floats,
        labels: Array | None = None,
        weight: Floats | None = None,
    ) -> Self:
        """Sort the rows, and leave out those without weight."""
        by_fold = np.zeros(len(scores), np.int64) if fold is None else fold
        order = np.lexsort([*scores.T[::-1], by_fold])
        if weight is not None:
            order = order[weight[order] > 0]
            weight = weight[order] / weight[order].mean()
        fold = None if fold is None else fold[order]
        return cls(fold, scores[order], None if labels is None else labels[order], weight)

    @property
    def n_samples(self) -> int:
        """Rows that count."""
        return len(self.scores)

    def count_by_class(self, n_classes: int) -> list[int]:
        """Return the number of rows of each class."""
        assert self.labels is not None
        return np.bincount(self.labels, minlength=n_classes).tolist()

    def of_class(self, label: int) -> Self:
        """Return the rows of one class."""
        assert self.labels is not None
        keep = self.labels == label
        weight = None if self.weight is None else self.weight[keep] / self.weight[keep].mean()
        fold = None if self.fold is None else self.fold[keep]
        return self._replace(
            fold=fold, scores=self.scores[keep], labels=self.labels[keep], weight=weight
        )

    def by_fold(self, scores: Floats, n_folds: int) -> "list[Sorted]":
        """Sort scores, one for each row, within each fold."""
        weight = np.ones(len(scores)) if self.weight is None else self.weight
        if self.fold is None:
            return [Sorted.of(scores, weight)]
        chosen = [self.fold == k for k in range(n_folds)]
        return [Sorted.of(scores[rows], weight[rows]) for rows in chosen]


class Sorted(NamedTuple):
    """Scores of a fold from the least on."""

    scores: Floats
    #: Weight of those before each place, and of all: one more than there are scores.
    before: Floats

    @classmethod
    def of(cls, scores: Floats, weight: Floats) -> Self:
        """Sort scores and their weights."""
        order = np.argsort(scores, kind="stable")
        return cls(scores[order], np.concatenate([[0.0], np.cumsum(weight[order])]))


def least_rows(coverage: float) -> int:
    """Return how many rows a coverage asks for: with fewer, intervals would have no ends."""
    return int(np.ceil(coverage / (1 - coverage) - 1e-9))


def rank_of(coverage: float, n_samples: int) -> float:
    """Return the rank of the score that bounds an interval; ranks are counted from 1."""
    # Less a rounding error, or .9 of 10 rows would be the tenth and not the ninth.
    return float(np.ceil(coverage * (n_samples + 1) - 1e-9))


def order_statistic(folds: list[Sorted], centers: Floats, scales: Floats, rank: float) -> Floats:
    """Return the value of a rank among ``centers[k] + scales[k] * score`` over all folds' scores.

    Parameters
    ----------
    folds : list of Sorted
        The scores of each fold.
    centers, scales : ndarray of shape (n_folds, n)
        For each of n new rows.
    rank : float
        Above 0, at most the weight of all scores.

    Returns
    -------
    values : ndarray of shape (n,)
        Exact: one of those numbers. Memory does not grow with the number of scores times n.
    """
    pooled = Sorted.of(
        np.concatenate([fold.scores for fold in folds]),
        np.concatenate([np.diff(fold.before) for fold in folds]),
    )
    # Whatever the folds say, they agree on this one where their centers are alike.
    bound = pooled.scores[_place_of(pooled, rank)]
    is_filled = [len(fold.scores) > 0 for fold in folds]
    ends = (centers + scales * bound)[is_filled]
    low, high = ends.min(axis=0), ends.max(axis=0)
    low -= np.abs(low) * 1e-12 + np.finfo(np.float64).tiny  # that bound itself may be the answer
    n_low, n_high = (
        _up_to(folds, centers, scales, bounds)[1].sum(axis=0) for bounds in (low, high)
    )
    for _ in range(_HALVINGS):
        middle = low + (high - low) / 2
        weight, places = _up_to(folds, centers, scales, middle)
        is_below, n_middle = weight < rank, places.sum(axis=0)
        low, high = np.where(is_below, middle, low), np.where(is_below, high, middle)
        n_low, n_high = np.where(is_below, n_middle, n_low), np.where(is_below, n_high, n_middle)
        if (n_high - n_low <= _FEW).all():
            break
    return _next_of_rank(folds, centers, scales, low, rank)


def _place_of(pooled: Sorted, rank: float) -> int:
    place = int(np.searchsorted(pooled.before[1:], rank - 1e-9))
    return min(place, len(pooled.scores) - 1)


def _up_to(
    folds: list[Sorted], centers: Floats, scales: Floats, bounds: Floats
) -> tuple[Floats, Array]:
    """Return the weight of what lies up to the bounds, and how many scores of each fold do."""
    total, places = np.zeros(len(bounds)), np.empty(centers.shape, np.int64)
    for fold, center, scale, place in zip(folds, centers, scales, places, strict=True):
        place[:] = np.searchsorted(fold.scores, (bounds - center) / scale, side="right")
        total += fold.before[place]
    return total + 1e-9, places  # sums of weights are rounded


def _next_of_rank(
    folds: list[Sorted], centers: Floats, scales: Floats, low: Floats, rank: float
) -> Floats:
    """Go on from bounds below the rank, one value after another, until it is reached."""
    total, places = _up_to(folds, centers, scales, low)
    # Behind the last score of a fold there is one that is never reached.
    scores = [np.append(fold.scores, np.inf) for fold in folds]
    weights = [np.append(np.diff(fold.before), 0.0) for fold in folds]
    found, columns = low, np.arange(len(low))
    for _ in range(_FEW + 1):
        is_open = total < rank
        if not is_open.any():
            break
        following = np.array([of[place] for of, place in zip(scores, places, strict=True)])
        values = centers + scales * following
        chosen = values.argmin(axis=0)
        found = np.where(is_open, values[chosen, columns], found)
        for k, of_fold in enumerate(weights):
            taken = is_open & (chosen == k)
            total[taken] += of_fold[places[k, taken]]
            places[k, taken] += 1
    return found


# ------------------------------------------------------------------------------- intervals


def intervals(
    conformity: Conformity, centers: Floats, coverage: float, scales: Floats | None = None
) -> Floats:
    """Return intervals of CV+ around the predictions of the fold models.

    Parameters
    ----------
    conformity : Conformity
        Its scores are absolute residuals, (n_unseen, k), in units of their scales.
    centers : ndarray of shape (n_folds, n, k)
        What the model of each fold predicts.
    coverage : float
    scales : ndarray of shape (n_folds, n, k), default=None
        Scales of the errors of new rows, above 0; None: all are 1.

    Returns
    -------
    intervals : ndarray of shape (n, 2, k)
        Barber, Candès, Ramdas and Tibshirani 2021, eq. (11): for one fold, split conformal.
    """
    return intervals_around(conformity, centers, centers, coverage, scales)


def intervals_around(
    conformity: Conformity,
    lows: Floats,
    highs: Floats,
    coverage: float,
    scales: Floats | None = None,
) -> Floats:
    """Return :func:`intervals` around two quantiles, of shape (n_folds, n, k) each.

    Scores are how far values lie outside of the two, below 0 where they lie within (Romano,
    Patterson and Candès 2019, eq. 6).
    """
    n_folds, n, k = lows.shape
    rank = rank_of(coverage, conformity.n_samples)
    if scales is None:
        scales = np.broadcast_to(1.0, lows.shape)
    made = np.empty((n, 2, k))
    for j in range(k):
        folds = conformity.by_fold(conformity.scores[:, j], n_folds)
        scale = scales[:, :, j]
        made[:, 1, j] = order_statistic(folds, highs[:, :, j], scale, rank)
        made[:, 0, j] = -order_statistic(folds, -lows[:, :, j], scale, rank)
    # Below a coverage of one half ends may cross, where folds disagree: neither is cut short.
    return np.sort(made, axis=1)


def shifts(conformity: Conformity, above: Floats, levels: Floats) -> Floats:
    """Return by how much to move predicted quantiles, so that as many values lie below as asked.

    Parameters
    ----------
    conformity : Conformity
        Its weights count.
    above : ndarray of shape (n_unseen, k, n_levels)
        How far the quantile of each level lies above the value of each unseen row.
    levels : ndarray of shape (n_levels,)

    Returns
    -------
    shifts : ndarray of shape (k, n_levels)
        Romano, Patterson and Candès 2019, theorem 2: a bound from above where the level is one half
        or more, else one from below. Of too few rows for a level it is the outermost score.
    """
    weight = np.ones(conformity.n_samples) if conformity.weight is None else conformity.weight
    moves = np.empty(above.shape[1:])
    for (j, i), _ in np.ndenumerate(moves):
        level, sign = (float(levels[i]), -1) if levels[i] >= 0.5 else (float(1 - levels[i]), 1)
        ordered = Sorted.of(sign * above[:, j, i], weight)
        moves[j, i] = -sign * ordered.scores[_place_of(ordered, rank_of(level, len(weight)))]
    return moves


# ------------------------------------------------------------------------------------ sets


def masses(probabilities: Floats) -> tuple[Floats, Floats]:
    """Return for each class the mass of those that are likelier, and its own.

    Classes stand along the last axis; of two that are as likely the first counts as likelier.
    """
    order = np.argsort(-probabilities, axis=-1, kind="stable")
    sorted_own = np.take_along_axis(probabilities, order, axis=-1)
    likelier = np.empty_like(probabilities)
    np.put_along_axis(likelier, order, np.cumsum(sorted_own, axis=-1) - sorted_own, axis=-1)
    return likelier, probabilities


def gaps(probabilities: Floats) -> tuple[Floats, Floats]:
    """Return for each answer what its probability lacks to 1, and nothing of its own.

    Of two answers this says more than :func:`masses`, where the unlikelier one always has 1: sets
    are the smallest (Sadinle, Lei and Wasserman 2019).
    """
    return 1 - probabilities, np.zeros_like(probabilities)


def sets(
    conformity: Conformity,
    probabilities: Floats,
    coverage: float,
    draws: tuple[Floats, Floats] | None,
    scored_by: Scores = masses,
) -> Array:
    """Return adaptive prediction sets of the fold models.

    Parameters
    ----------
    conformity : Conformity
        Its scores are the mass of likelier classes and that of the true one, (n_unseen, 2).
    probabilities : ndarray of shape (n_folds, n, k)
        What the model of each fold predicts.
    coverage : float
    draws : tuple of ndarrays of shape (n_unseen,) and (n,), or None
        Uniform numbers of the unseen and the new rows, by which a part of a class's own mass counts
        (Romano, Sesia and Candès 2020, eq. 5). None: nothing of it, so that the likeliest class is
        always in. With all of it, sets of sure networks would hold most classes: the mass up to
        the true class is nearly 1 for nearly all rows then, and so is that up to any other.
    scored_by : callable, default=masses
        How `conformity` was made of probabilities.

    Returns
    -------
    sets : ndarray of bool of shape (n, k)
        Romano, Sesia and Candès 2020, eq. 14 (CV+); of one fold eq. 11.
    """
    likelier, own = conformity.scores.T
    part, new_part = (np.zeros(1), np.zeros(1)) if draws is None else draws
    folds = conformity.by_fold(likelier + part * own, len(probabilities))
    worse = np.zeros(probabilities.shape[1:])
    for fold, of_fold in zip(folds, probabilities, strict=True):
        likelier, own = scored_by(of_fold)
        new = likelier + new_part[:, None] * own
        worse += fold.before[np.searchsorted(fold.scores, new, side="left")]
    return worse < coverage * (conformity.n_samples + 1) - 1e-9


def class_sets(
    conformity: Conformity,
    probabilities: Floats,
    coverage: float,
    draws: tuple[Floats, Floats] | None,
    scored_by: Scores = masses,
) -> Array:
    """Return sets as :func:`sets`, each class held against the unseen rows of its own."""
    assert conformity.labels is not None
    _, n, n_classes = probabilities.shape
    made = np.empty((n, n_classes), bool)
    for label in range(n_classes):
        of_class = None
        if draws is not None:
            of_class = draws[0][conformity.labels == label], draws[1]
        part = conformity.of_class(label)
        made[:, label] = sets(part, probabilities, coverage, of_class, scored_by)[:, label]
    return made
