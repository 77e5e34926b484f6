"""Snapshot ensembles: fit once, predict with many."""

from .estimators import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from .schedules import learning_rates

__version__ = "0.1.0"

__all__ = ["SnapshotEnsembleClassifier", "SnapshotEnsembleRegressor", "learning_rates"]
