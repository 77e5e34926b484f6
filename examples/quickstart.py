"""
Quickstart
==========

Fit an ensemble, predict with it, and read its honest score. No module to write, nothing to scale.
"""

from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from skensemble import SnapshotEnsembleClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, random_state=0)
model = SnapshotEnsembleClassifier(random_state=0).fit(X_train, y_train)

print(f"accuracy: {model.score(X_test, y_test):.3f}")
print(f"log-loss: {log_loss(y_test, model.predict_proba(X_test)):.3f}")
print(f"log-loss out of fold, without a test set: {-model.validation_score_:.3f}")
