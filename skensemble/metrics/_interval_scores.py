"""Scores of intervals and quantiles of a regression."""

import numpy as np
from numpy.typing import ArrayLike

from skensemble._types import Floats
from skensemble._warnings import short

from ._arguments import check_predicted, check_values, check_weights, over_outputs, over_rows


def interval_coverage_score(
    y_true: ArrayLike,
    intervals: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: str | ArrayLike = "uniform_average",
) -> float | Floats:
    """Measure in which part of the rows the true value is within its interval.

    It is best near the coverage asked for; 1 for intervals without end. Ends are within.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_outputs)
        True values.
    intervals : array-like of shape (n_samples, 2) or (n_samples, 2, n_outputs)
        Lower and upper ends, which may be infinite.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.
    multioutput : {"raw_values", "uniform_average"} or array-like of shape (n_outputs,), \
            default="uniform_average"
        How outputs are averaged, as in scikit-learn.

    Returns
    -------
    score : float or ndarray of float64 of shape (n_outputs,)
        From 0 to 1.

    Raises
    ------
    ValueError
        If a lower end is above its upper one.

    See Also
    --------
    interval_score_loss : Rewards coverage and narrowness at once.

    Examples
    --------
    >>> from skensemble.metrics import interval_coverage_score
    >>> interval_coverage_score([1.0, 2.0, 3.0, 4.0], [[0, 1], [0, 1], [2, 4], [4, 5]])
    0.75
    """
    y, ends = _check_intervals(y_true, intervals)
    weights = check_weights("sample_weight", sample_weight, len(y))
    is_in = ((ends[:, 0] <= y) & (y <= ends[:, 1])).astype(np.float64)
    return over_outputs(over_rows(is_in, weights), multioutput)


def mean_interval_width(
    intervals: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: str | ArrayLike = "uniform_average",
) -> float | Floats:
    """Measure how wide intervals are in the mean.

    Parameters
    ----------
    intervals : array-like of shape (n_samples, 2) or (n_samples, 2, n_outputs)
        Lower and upper ends, which may be infinite.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.
    multioutput : {"raw_values", "uniform_average"} or array-like of shape (n_outputs,), \
            default="uniform_average"
        How outputs are averaged, as in scikit-learn.

    Returns
    -------
    width : float or ndarray of float64 of shape (n_outputs,)
        In the unit of the ends.

    Raises
    ------
    ValueError
        If a lower end is above its upper one.

    Examples
    --------
    >>> from skensemble.metrics import mean_interval_width
    >>> mean_interval_width([[0, 1], [2, 4]])
    1.5
    """
    given = check_values("intervals", intervals, (2, 3), allow_inf=True)
    outputs = given.shape[2] if given.ndim == 3 else 1
    _, ends = _check_intervals(np.zeros((len(given), outputs)), given)
    weights = check_weights("sample_weight", sample_weight, len(ends))
    return over_outputs(over_rows(ends[:, 1] - ends[:, 0], weights), multioutput)


def interval_score_loss(
    y_true: ArrayLike,
    intervals: ArrayLike,
    *,
    coverage: float = 0.9,
    sample_weight: ArrayLike | None = None,
    multioutput: str | ArrayLike = "uniform_average",
) -> float | Floats:
    """Measure intervals by their width and by how far the true values are outside.

    The loss of an interval is its width, plus :math:`2 / (1 - coverage)` times the distance of a
    true value outside of it. In expectation it is lowest for the two quantiles that leave out
    :math:`(1 - coverage) / 2` on either side.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_outputs)
        True values.
    intervals : array-like of shape (n_samples, 2) or (n_samples, 2, n_outputs)
        Lower and upper ends, which may be infinite.
    coverage : float, default=0.9
        Coverage that the intervals are for, from 0 to below 1.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.
    multioutput : {"raw_values", "uniform_average"} or array-like of shape (n_outputs,), \
            default="uniform_average"
        How outputs are averaged, as in scikit-learn.

    Returns
    -------
    loss : float or ndarray of float64 of shape (n_outputs,)
        In the unit of the ends, the lower the better: the name is as of ``brier_score_loss``.

    Raises
    ------
    ValueError
        If a lower end is above its upper one, or if `coverage` is out of range.

    References
    ----------
    .. [1] T. Gneiting and A. E. Raftery, "Strictly Proper Scoring Rules, Prediction, and
       Estimation", Journal of the American Statistical Association 102, 2007, eq. 43.

    Examples
    --------
    >>> from skensemble.metrics import interval_score_loss
    >>> interval_score_loss([0.5, 3.0], [[0, 1], [0, 2]], coverage=0.5)
    3.5
    """
    is_number = isinstance(coverage, float | int | np.number) and not isinstance(coverage, bool)
    if not is_number or not 0 <= coverage < 1:
        raise ValueError(
            f"Got coverage={short(coverage)}, but expected a number from 0 to below 1."
        )
    y, ends = _check_intervals(y_true, intervals)
    weights = check_weights("sample_weight", sample_weight, len(y))
    outside = np.maximum(ends[:, 0] - y, 0) + np.maximum(y - ends[:, 1], 0)
    losses = ends[:, 1] - ends[:, 0] + 2 / (1 - coverage) * outside
    return over_outputs(over_rows(losses, weights), multioutput)


def multi_quantile_loss(
    y_true: ArrayLike,
    quantiles: ArrayLike,
    levels: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: str | ArrayLike = "uniform_average",
) -> float | Floats:
    """Average the pinball loss over a grid of quantiles.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_outputs)
        True values.
    quantiles : array-like of shape (n_samples, n_levels) or (n_samples, n_levels, n_outputs)
        Predicted quantiles.
    levels : array-like of shape (n_levels,)
        Their levels, increasing, from 0 to 1.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.
    multioutput : {"raw_values", "uniform_average"} or array-like of shape (n_outputs,), \
            default="uniform_average"
        How outputs are averaged, as in scikit-learn.

    Returns
    -------
    loss : float or ndarray of float64 of shape (n_outputs,)
        In the unit of `y_true`, the lower the better.

    Raises
    ------
    ValueError
        If the levels do not increase from 0 to 1, or do not fit the quantiles.

    See Also
    --------
    sklearn.metrics.mean_pinball_loss : The loss at one level.
    crps_quantile_loss : Each level weighed by the part of the distribution it stands for.

    Notes
    -----
    CatBoost names it MultiQuantile.

    References
    ----------
    .. [1] R. Koenker and G. Bassett, "Regression Quantiles", Econometrica 46, 1978.

    Examples
    --------
    >>> from skensemble.metrics import multi_quantile_loss
    >>> multi_quantile_loss([1.0], [[0, 1, 3]], [0.25, 0.5, 0.75])
    0.25
    """
    y, predicted, at = _check_quantiles(y_true, quantiles, levels)
    weights = check_weights("sample_weight", sample_weight, len(y))
    losses = _pinball(y, predicted, at).mean(axis=1)
    return over_outputs(over_rows(losses, weights), multioutput)


def crps_quantile_loss(
    y_true: ArrayLike,
    quantiles: ArrayLike,
    levels: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    multioutput: str | ArrayLike = "uniform_average",
) -> float | Floats:
    """Approximate the continuous ranked probability score of a grid of quantiles.

    The score is twice the integral of the pinball loss over all levels [1]_; the integral is taken
    by the trapezoid rule.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, n_outputs)
        True values.
    quantiles : array-like of shape (n_samples, n_levels) or (n_samples, n_levels, n_outputs)
        Predicted quantiles.
    levels : array-like of shape (n_levels,)
        Their levels, increasing, from 0 to 1.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows.
    multioutput : {"raw_values", "uniform_average"} or array-like of shape (n_outputs,), \
            default="uniform_average"
        How outputs are averaged, as in scikit-learn.

    Returns
    -------
    loss : float or ndarray of float64 of shape (n_outputs,)
        In the unit of `y_true`, the lower the better.

    Raises
    ------
    ValueError
        If the levels do not increase from 0 to 1, or do not fit the quantiles.

    See Also
    --------
    multi_quantile_loss : The plain mean over the levels.

    Notes
    -----
    Below the lowest level and above the highest, the outermost quantiles stand for the tails. So
    one quantile is scored as a point forecast, by the absolute error, and so is a distribution that
    lies in one point. The rule is exact for these; else its error falls with the square of the
    distance of levels, apart from the tails. Compare values for the same levels alone.

    References
    ----------
    .. [1] T. Gneiting and R. Ranjan, "Comparing Density Forecasts Using Threshold- and
       Quantile-Weighted Scoring Rules", Journal of Business & Economic Statistics 29, 2011.

    Examples
    --------
    >>> from skensemble.metrics import crps_quantile_loss
    >>> crps_quantile_loss([1.0, 2.0], [[0, 1, 3], [0, 1, 3]], [0.25, 0.5, 0.75])
    0.5
    """
    y, predicted, at = _check_quantiles(y_true, quantiles, levels)
    weights = check_weights("sample_weight", sample_weight, len(y))
    ends = np.concatenate([predicted[:, :1], predicted, predicted[:, -1:]], axis=1)
    grid = np.concatenate([[0.0], at, [1.0]])
    losses = 2 * np.trapezoid(_pinball(y, ends, grid), grid, axis=1)
    return over_outputs(over_rows(losses, weights), multioutput)


def _check_intervals(y_true: ArrayLike, intervals: ArrayLike) -> tuple[Floats, Floats]:
    """Return targets of shape (n, q), and ends of shape (n, 2, q)."""
    y, ends = check_predicted("intervals", intervals, y_true, allow_inf=True)
    if ends.shape[1] != 2:
        raise ValueError(
            f"Got intervals with {ends.shape[1]} columns, but expected 2: lower and upper ends."
        )
    is_wrong = (ends[:, 0] > ends[:, 1]).any(axis=1)
    if is_wrong.any():
        row = int(is_wrong.argmax())
        raise ValueError(
            f"Got intervals with a lower end above the upper one in row {row}, but expected "
            "lower ends first."
        )
    return y, ends


def _check_quantiles(
    y_true: ArrayLike, quantiles: ArrayLike, levels: ArrayLike
) -> tuple[Floats, Floats, Floats]:
    """Return targets of shape (n, q), quantiles of shape (n, n_levels, q), and levels."""
    y, predicted = check_predicted("quantiles", quantiles, y_true)
    at = check_values("levels", levels, (1,))
    if len(at) != predicted.shape[1] or at[0] < 0 or at[-1] > 1 or (np.diff(at) <= 0).any():
        raise ValueError(
            f"Got levels={short(levels)}, but expected {predicted.shape[1]} increasing numbers "
            "from 0 to 1, one for each column of quantiles."
        )
    return y, predicted, at


def _pinball(y: Floats, quantiles: Floats, levels: Floats) -> Floats:
    """Return the loss of each quantile, of shape (n, n_levels, q)."""
    over = y[:, None] - quantiles
    at = levels[None, :, None]
    return np.maximum(at * over, (at - 1) * over)
