"""
Choose the number of cycles by grid search
==========================================

The budget, ``max_epochs``, is the same for every number of cycles, so a grid search over
``n_cycles`` compares like with like. It shows into how many cycles to divide the budget. The
estimator is the last step of a pipeline whose first step changes the number of columns. That number
is in the grid too: the network is built anew for the columns that reach it.
"""

# %%
# A pipeline, and a grid over both steps
# --------------------------------------
# The features are selected within each fold, so the rows that are scored have no influence on the
# selection.

from sklearn.datasets import load_breast_cancer
from sklearn.feature_selection import SelectKBest
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.pipeline import Pipeline

from skensemble import SnapshotEnsembleClassifier

N_FEATURES = [5, 15, 30]
N_CYCLES = [1, 3, 6]

X, y = load_breast_cancer(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, stratify=y, random_state=0)

pipeline = Pipeline(
    [
        ("select", SelectKBest()),
        ("network", SnapshotEnsembleClassifier(max_epochs=30, random_state=0)),
    ]
)
search = GridSearchCV(
    pipeline,
    {"select__k": N_FEATURES, "network__n_cycles": N_CYCLES},
    scoring="neg_log_loss",
    cv=StratifiedKFold(3, shuffle=True, random_state=0),
    n_jobs=1,
)
search.fit(X_train, y_train)

# %%
# The table of results
# --------------------
# The column for one cycle is ordinary training of eight networks (chains), which predict with their
# mean.

loss = {
    (params["select__k"], params["network__n_cycles"]): -score
    for params, score in zip(
        search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
    )
}
print("Log-loss, mean of 3 folds; * the lowest")
print(f"{'cycles':<12}" + "".join(f"{m:>11d} " for m in N_CYCLES))
lowest = min(loss, key=loss.get)
for k in N_FEATURES:
    cells = (f"{loss[k, m]:.3f}{'*' if (k, m) == lowest else ' '}" for m in N_CYCLES)
    print(f"{f'{k} features':<12}" + "".join(f"{cell:>12}" for cell in cells))

# %%
# The rows that the search has not seen
# -------------------------------------
# A test part of 171 rows is small. It checks that nothing went wrong, but it is no measurement.

print(f"\nBest: {search.best_params_}")
best_loss = log_loss(y_test, search.predict_proba(X_test))
print(f"Test part: accuracy {search.best_estimator_.score(X_test, y_test):.3f}, ", end="")
print(f"log-loss {best_loss:.3f}")
