"""Metrics of ensembles, intervals, sets and quantiles, with the conventions of sklearn.metrics.

They are functions of arrays, and know nothing of the estimators.
"""

from ._ambiguity import AmbiguityDecomposition, ambiguity_decomposition
from ._calibration_error import expected_calibration_error
from ._deep_equivalent import DeepEnsembleEquivalent, deep_ensemble_equivalent
from ._diversity import (
    disagreement_score,
    error_correlation,
    kappa_statistic,
    q_statistic,
    residual_correlation,
)
from ._interval_scores import (
    crps_quantile_loss,
    interval_coverage_score,
    interval_score_loss,
    mean_interval_width,
    multi_quantile_loss,
)
from ._set_scores import mean_set_size, set_coverage_score

__all__ = [
    "AmbiguityDecomposition",
    "DeepEnsembleEquivalent",
    "ambiguity_decomposition",
    "crps_quantile_loss",
    "deep_ensemble_equivalent",
    "disagreement_score",
    "error_correlation",
    "expected_calibration_error",
    "interval_coverage_score",
    "interval_score_loss",
    "kappa_statistic",
    "mean_interval_width",
    "mean_set_size",
    "multi_quantile_loss",
    "q_statistic",
    "residual_correlation",
    "set_coverage_score",
]
