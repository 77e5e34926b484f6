"""Our estimators by task, and with other arguments of the encoder, which are no parameters."""

from typing import Any

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._data.encoder import TableEncoder

ESTIMATORS = {
    "classification": SnapshotEnsembleClassifier,
    "regression": SnapshotEnsembleRegressor,
}


def with_encoder(estimator: Any, **options: Any) -> Any:
    """Return a subclass of an estimator whose encoder gets these arguments."""

    class Encoded(estimator):
        """The arguments belong to the class, so that clones have them as well."""

        def _new_encoder(self) -> TableEncoder:
            return TableEncoder(**options)

    return Encoded
