"""Snapshot ensembles: fit once, predict with many."""

from .classifier import SnapshotEnsembleClassifier
from .persistence import load, prune_checkpoints
from .regressor import SnapshotEnsembleRegressor
from .schedules import learning_rates

__version__ = "0.1.0"

__all__ = [
    "SnapshotEnsembleClassifier",
    "SnapshotEnsembleRegressor",
    "learning_rates",
    "load",
    "prune_checkpoints",
]
