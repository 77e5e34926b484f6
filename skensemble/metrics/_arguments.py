"""Arguments that the metrics share: read, checked, and brought to one shape."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from skensemble._types import Array, Floats
from skensemble._warnings import short

#: Probabilities of a row may miss a sum of 1 by so much: they may be of float32, or of float16.
_SUM_TOLERANCE = 1e-2


def check_choice(name: str, value: object, allowed: Sequence[str | None]) -> None:
    """Refuse a value that is none of those allowed."""
    if not any(value is one or (isinstance(value, str) and value == one) for one in allowed):
        listed = ", ".join(map(repr, allowed))
        raise ValueError(f"Got {name}={short(value)}, but expected one of {listed}.")


def check_weights(name: str, weights: ArrayLike | None, n: int) -> Floats:
    """Return n weights: 1 each where there are none."""
    if weights is None:
        return np.ones(n)
    checked = check_array(column_or_1d(weights), ensure_2d=False, dtype=np.float64, input_name=name)
    if len(checked) != n:
        raise ValueError(f"Got {name} of length {len(checked)}, but expected {n}.")
    if checked.min() < 0 or checked.max() == 0:
        raise ValueError(
            f"Got {name}={short(weights)}, but expected numbers of at least 0 with a sum above 0."
        )
    # Counts stay as they are, so that means of whole numbers are exact; but sums must be finite.
    is_count = checked.max() < 2**53 and np.array_equal(checked, np.round(checked))
    return checked if is_count else checked / checked.max()


def check_shares(name: str, weights: ArrayLike | None, n: int) -> Floats:
    """Return n weights that sum to 1."""
    checked = check_weights(name, weights, n)
    return checked / checked.sum()


def check_values(
    name: str, values: ArrayLike, ndims: Sequence[int], *, allow_inf: bool = False
) -> Floats:
    """Return an array of float64 that has one of these numbers of axes, and no NaN."""
    checked = check_array(
        values,
        ensure_2d=False,
        allow_nd=True,
        dtype=np.float64,
        ensure_all_finite=not allow_inf,
        input_name=name,
    )
    if checked.ndim not in ndims:
        axes = " or ".join(map(str, ndims))
        raise ValueError(f"Got {name} of shape {checked.shape}, but expected {axes} axes.")
    if np.isnan(checked).any():
        raise ValueError(f"Got {name} with NaN, but expected numbers.")
    return checked


def check_targets(y_true: ArrayLike) -> Floats:
    """Return targets of regression, of shape (n_samples, n_outputs)."""
    y = check_values("y_true", y_true, (1, 2))
    return y[:, None] if y.ndim == 1 else y


def check_predicted(
    name: str, values: ArrayLike, y_true: ArrayLike, *, allow_inf: bool = False
) -> tuple[Floats, Floats]:
    """Return targets of shape (n, q), and for each row a list of values: of shape (n, m, q).

    Without an axis for outputs there is one output.
    """
    y = check_targets(y_true)
    predicted = check_values(name, values, (2, 3), allow_inf=allow_inf)
    if predicted.ndim == 2:
        predicted = predicted[:, :, None]
    check_consistent_length(y, predicted)
    if predicted.shape[2] != y.shape[1]:
        raise ValueError(
            f"Got {name} of {predicted.shape[2]} outputs, but expected {y.shape[1]}, as y_true has."
        )
    return y, predicted


def check_member_values(y_true: ArrayLike, members: ArrayLike) -> tuple[Floats, Floats]:
    """Return targets of shape (n, q), and what members predict: of shape (n_members, n, q)."""
    y = check_values("y_true", y_true, (1, 2))
    predicted = check_values("members", members, (2, 3))
    if predicted.shape[1:] not in (y.shape, (*y.shape, 1)):
        raise ValueError(
            f"Got members of shape {predicted.shape}, but expected (n_members, "
            f"{', '.join(map(str, y.shape))}): the shape of y_true for each member."
        )
    return y.reshape(len(y), -1), predicted.reshape(len(predicted), len(y), -1)


def check_probabilities(name: str, values: ArrayLike) -> Floats:
    """Return probabilities that sum to 1 over the last axis."""
    p = check_values(name, values, (2, 3))
    if p.min() < 0 or p.max() > 1 or np.abs(p.sum(axis=-1) - 1).max() > _SUM_TOLERANCE:
        remedy = "; give several labels as (members > 0.5).reshape(len(members), -1)."
        raise ValueError(
            f"Got {name} of shape {p.shape}, but expected probabilities whose last axis sums to 1"
            + (remedy if p.ndim == 3 else ".")
        )
    return p


def encode(y_true: ArrayLike, labels: ArrayLike | None, k: int) -> tuple[Array, Array]:
    """Return the column of each row's class, and the classes of the k columns."""
    y = column_or_1d(y_true)
    classes = np.unique(y) if labels is None else column_or_1d(labels)
    if len(classes) != k:
        name = "y_true" if labels is None else "labels"
        raise ValueError(
            f"Got {name} with {len(classes)} classes, but expected {k}, one for each column; "
            "give labels=, in the order of the columns."
        )
    order = np.argsort(classes)
    ordered = classes[order]
    if (ordered[1:] == ordered[:-1]).any():
        raise ValueError(f"Got labels={short(labels)}, but expected each class once.")
    at = np.minimum(np.searchsorted(ordered, y), k - 1)
    if not np.all(ordered[at] == y):
        other = y[ordered[at] != y].tolist()[0]
        raise ValueError(f"Got y_true with {short(other)}, but expected classes of labels.")
    return order[at], classes


def check_labels(members: ArrayLike) -> Array:
    """Return labels of shape (n_members, n_samples), of probabilities the column of the largest."""
    given = np.asarray(members)
    if given.ndim == 3:
        return check_probabilities("members", given).argmax(axis=2)
    if given.ndim != 2 or not given.size:
        raise ValueError(
            f"Got members of shape {given.shape}, but expected labels of shape (n_members, "
            "n_samples) or probabilities of shape (n_members, n_samples, n_classes)."
        )
    is_real = given.dtype.kind == "f" and not np.array_equal(given, np.round(given))
    if is_real:
        value = given[given != np.round(given)][0]
        raise ValueError(f"Got members with {value}, but expected labels of classes.")
    return given


def is_multilabel(y_true: ArrayLike) -> bool:
    """Tell whether rows have several labels."""
    y = np.asarray(y_true)
    return y.ndim == 2 and y.shape[1] > 1


def check_indicators(y_true: ArrayLike) -> Array:
    """Return bool of shape (n_samples, n_labels)."""
    y = check_values("y_true", y_true, (2,))
    if not ((y == 0) | (y == 1)).all():
        raise ValueError(
            f"Got y_true of shape {y.shape}, but expected classes of shape (n_samples,), or 0 and "
            "1 for each of several labels."
        )
    return y == 1


def check_decisions(
    y_true: ArrayLike, members: ArrayLike, labels: ArrayLike | None
) -> tuple[Array, Array]:
    """Return true labels of shape (n,), and those of members, of shape (n_members, n).

    Each label of a multilabel row is a row of its own.
    """
    y, given = np.asarray(y_true), np.asarray(members)
    if is_multilabel(y):
        if given.shape[1:] != y.shape:
            raise ValueError(
                f"Got members of shape {given.shape}, but expected (n_members, {y.shape[0]}, "
                f"{y.shape[1]}): the shape of y_true for each member."
            )
        decided = check_values("members", given, (3,)) > 0.5
        return check_indicators(y).ravel(), decided.reshape(len(given), -1)
    decided = check_labels(given)
    if given.ndim == 3:
        y = encode(y, labels, given.shape[2])[0]
    y = column_or_1d(y)
    check_consistent_length(y, decided.T)
    if isinstance(y[0], str) != isinstance(decided[0, 0], str):
        member, true = decided[0].tolist()[0], y.tolist()[0]
        raise ValueError(
            f"Got members with {short(member)}, but expected labels as those of y_true, such as "
            f"{short(true)}."
        )
    return y, decided


def over_pairs(matrix: Floats, average: str | None) -> float | Floats:
    """Return the mean over all pairs for which there is a value, or the matrix."""
    if average is None:
        return matrix
    values = matrix[np.triu_indices(len(matrix), 1)]
    values = values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def over_rows(values: Floats, weights: Floats) -> Floats:
    """Return the weighted mean of rows; a row of no weight may be infinite."""
    counts = weights > 0
    return np.average(values[counts], axis=0, weights=weights[counts])


def over_outputs(values: Floats, multioutput: str | ArrayLike) -> float | Floats:
    """Return one value, or one for each output, as scikit-learn's metrics of regression do."""
    if isinstance(multioutput, str):
        check_choice("multioutput", multioutput, ("raw_values", "uniform_average"))
        return values if multioutput == "raw_values" else float(values.mean())
    weights = check_weights("multioutput", multioutput, len(values))
    return float(over_rows(values, weights))
