"""Pictures of a fit, as scikit-learn's Displays; matplotlib is imported when they are drawn."""

from ._agreement import MembersDisplay
from ._cycle_curve import CycleCurveDisplay
from ._interpolation import InterpolationDisplay
from ._interval_plot import IntervalDisplay
from ._learning_rate import LearningRateDisplay
from ._lr_range import LRRangeDisplay

__all__ = [
    "CycleCurveDisplay",
    "InterpolationDisplay",
    "IntervalDisplay",
    "LRRangeDisplay",
    "LearningRateDisplay",
    "MembersDisplay",
]
