"""Our estimators by task."""

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor

ESTIMATORS = {
    "classification": SnapshotEnsembleClassifier,
    "regression": SnapshotEnsembleRegressor,
}
