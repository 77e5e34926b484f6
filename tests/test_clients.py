"""scikit-learn's clients, on real data: each gives what direct calls give, and a score that
scikit-learn's own MLP reaches there."""

import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.impute import SimpleImputer
from sklearn.inspection import PartialDependenceDisplay, permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    KFold,
    StratifiedKFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    learning_curve,
    train_test_split,
)
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor


@pytest.fixture
def classifier():
    return SnapshotEnsembleClassifier(
        module__hidden=(32,), n_cycles=3, max_epochs=15, random_state=0
    )


@pytest.fixture
def regressor():
    return SnapshotEnsembleRegressor(
        module__hidden=(32,), n_cycles=3, max_epochs=15, random_state=0
    )


@pytest.fixture(scope="module")
def cancer_split():
    X, y = load_breast_cancer(return_X_y=True)
    return train_test_split(X, y, random_state=0, stratify=y)


@pytest.fixture(scope="module")
def diabetes_split():
    X, y = load_diabetes(return_X_y=True)
    return train_test_split(X, y, random_state=0)


@pytest.fixture(scope="module")
def mlp_accuracy(cancer_split):
    X_train, X_test, y_train, y_test = cancer_split
    mlp = make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=1000, random_state=0))
    return mlp.fit(X_train, y_train).score(X_test, y_test)


@pytest.fixture(scope="module")
def mlp_r2(diabetes_split):
    X_train, X_test, y_train, y_test = diabetes_split
    mlp = MLPRegressor(hidden_layer_sizes=(32,), max_iter=500, random_state=0)
    mlp = TransformedTargetRegressor(mlp, transformer=StandardScaler())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return make_pipeline(StandardScaler(), mlp).fit(X_train, y_train).score(X_test, y_test)


# ------------------------------------------------------------------------- composition


def test_column_transformer_on_a_frame(classifier):
    X, y = load_iris(return_X_y=True, as_frame=True)
    X = X.assign(kind=np.where(X["petal width (cm)"] > 0.8, "wide", "narrow"))
    numbers = [c for c in X if c != "kind"]
    columns = ColumnTransformer(
        [("scale", StandardScaler(), numbers), ("code", OneHotEncoder(), ["kind"])]
    )
    classifier.set_params(max_epochs=60)
    model = make_pipeline(columns, classifier).fit(X, y)
    Z = columns.fit_transform(X)
    np.testing.assert_array_equal(
        model.predict_proba(X), clone(classifier).fit(Z, y).predict_proba(Z)
    )
    mlp = make_pipeline(columns, MLPClassifier((32,), max_iter=1000, random_state=0))
    assert model.score(X, y) >= mlp.fit(X, y).score(X, y) - 0.02


@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "temperature"])
def test_calibration(classifier, cancer_split, mlp_accuracy, method):
    X_train, X_test, y_train, y_test = cancer_split
    cv = StratifiedKFold(3)
    model = CalibratedClassifierCV(classifier, method=method, cv=cv).fit(X_train, y_train)
    for fold, (train, _) in zip(
        model.calibrated_classifiers_, cv.split(X_train, y_train), strict=True
    ):
        direct = clone(classifier).fit(X_train[train], y_train[train])
        np.testing.assert_array_equal(
            fold.estimator.predict_proba(X_test), direct.predict_proba(X_test)
        )
    assert model.score(X_test, y_test) >= mlp_accuracy - 0.03
    assert log_loss(y_test, model.predict_proba(X_test)) < 0.3


def test_stacking_and_voting_of_classifiers(classifier, cancer_split, mlp_accuracy):
    X_train, X_test, y_train, y_test = cancer_split
    others = [("ours", classifier), ("line", make_pipeline(StandardScaler(), LogisticRegression()))]
    direct = clone(classifier).fit(X_train, y_train).predict_proba(X_test)
    stack = StackingClassifier(others, cv=3).fit(X_train, y_train)
    np.testing.assert_array_equal(stack.named_estimators_["ours"].predict_proba(X_test), direct)
    vote = VotingClassifier(others, voting="soft").fit(X_train, y_train)
    line = clone(others[1][1]).fit(X_train, y_train).predict_proba(X_test)
    np.testing.assert_allclose(vote.predict_proba(X_test), (direct + line) / 2)
    for model in (stack, vote):
        assert model.score(X_test, y_test) >= mlp_accuracy - 0.03


def test_stacking_and_voting_of_regressors(regressor, diabetes_split, mlp_r2):
    X_train, X_test, y_train, y_test = diabetes_split
    others = [("ours", regressor), ("line", Ridge())]
    direct = clone(regressor).fit(X_train, y_train).predict(X_test)
    stack = StackingRegressor(others, cv=3).fit(X_train, y_train)
    np.testing.assert_array_equal(stack.named_estimators_["ours"].predict(X_test), direct)
    vote = VotingRegressor(others).fit(X_train, y_train)
    line = Ridge().fit(X_train, y_train).predict(X_test)
    np.testing.assert_allclose(vote.predict(X_test), (direct + line) / 2)
    for model in (stack, vote):
        assert model.score(X_test, y_test) >= mlp_r2


def test_bagging_and_boosting_by_weights(
    classifier, regressor, cancer_split, diabetes_split, mlp_accuracy, mlp_r2
):
    """Bagging hands bootstrap counts as weights, a third of them zero; AdaBoost's sum to 1."""
    X_train, X_test, y_train, y_test = cancer_split
    bag = BaggingClassifier(classifier, n_estimators=3, random_state=0).fit(X_train, y_train)
    first, rows = bag.estimators_[0], bag.estimators_samples_[0]
    counts = np.bincount(rows, minlength=len(y_train)).astype(float)
    assert 0.2 < (counts == 0).mean() < 0.5
    direct = clone(first).fit(X_train, y_train, sample_weight=counts)
    np.testing.assert_array_equal(first.predict_proba(X_test), direct.predict_proba(X_test))
    boost = AdaBoostClassifier(classifier, n_estimators=3, random_state=0).fit(X_train, y_train)
    equal = clone(boost.estimators_[0]).fit(X_train, y_train)
    np.testing.assert_array_equal(
        boost.estimators_[0].predict_proba(X_test), equal.predict_proba(X_test)
    )
    for model in (bag, boost):
        assert model.score(X_test, y_test) >= mlp_accuracy - 0.03

    X_train, X_test, y_train, y_test = diabetes_split
    for model in (
        BaggingRegressor(regressor, n_estimators=3, random_state=0),
        AdaBoostRegressor(regressor, n_estimators=3, random_state=0),
    ):
        assert model.fit(X_train, y_train).score(X_test, y_test) >= max(mlp_r2, 0.25)


def test_a_tuned_threshold(classifier, cancer_split, mlp_accuracy):
    X_train, X_test, y_train, y_test = cancer_split
    model = TunedThresholdClassifierCV(classifier, cv=3, scoring="accuracy").fit(X_train, y_train)
    direct = clone(classifier).fit(X_train, y_train).predict_proba(X_test)[:, 1]
    np.testing.assert_array_equal(model.predict(X_test), direct >= model.best_threshold_)
    assert model.score(X_test, y_test) >= mlp_accuracy - 0.03


def test_several_targets(classifier, regressor, cancer_split, diabetes_split):
    X_train, X_test, y_train, _ = diabetes_split
    Y = np.stack([y_train, -y_train], axis=1)
    model = MultiOutputRegressor(regressor).fit(X_train, Y)
    direct = clone(regressor).fit(X_train, y_train).predict(X_test)
    np.testing.assert_array_equal(model.predict(X_test)[:, 0], direct)

    X_train, X_test, y_train, y_test = cancer_split
    Y = np.stack([y_train, X_train[:, 0] > 14], axis=1).astype(int)
    truth = np.stack([y_test, X_test[:, 0] > 14], axis=1)
    direct = clone(classifier).fit(X_train, y_train)
    several = MultiOutputClassifier(classifier).fit(X_train, Y)
    np.testing.assert_array_equal(several.predict(X_test)[:, 0], direct.predict(X_test))
    chain = ClassifierChain(classifier).fit(X_train, Y)
    np.testing.assert_array_equal(chain.predict(X_test)[:, 0], direct.predict(X_test))
    assert (chain.predict(X_test) == truth).mean() > 0.93


def test_self_training(classifier, cancer_split, mlp_accuracy):
    X_train, X_test, y_train, y_test = cancer_split
    partly = np.where(np.arange(len(y_train)) % 3, -1, y_train)
    model = SelfTrainingClassifier(classifier, max_iter=2).fit(X_train, partly)
    direct = clone(classifier).fit(X_train, model.transduction_)
    assert model.score(X_test, y_test) >= mlp_accuracy - 0.04
    assert direct.score(X_test, y_test) > 0.9


def test_a_transformed_target(regressor, diabetes_split, mlp_r2):
    X_train, X_test, y_train, y_test = diabetes_split
    model = TransformedTargetRegressor(regressor, func=np.log, inverse_func=np.exp)
    direct = clone(regressor).fit(X_train, np.log(y_train))
    np.testing.assert_allclose(
        model.fit(X_train, y_train).predict(X_test), np.exp(direct.predict(X_test))
    )
    assert model.score(X_test, y_test) >= mlp_r2 - 0.05


# ------------------------------------------------------------------------- searches


def test_halving_with_epochs_as_the_resource(classifier, cancer_split, mlp_accuracy):
    X_train, X_test, y_train, y_test = cancer_split
    search = HalvingGridSearchCV(
        classifier,
        {"n_cycles": [1, 2, 4], "lr": [0.001, 0.01]},
        resource="max_epochs",
        min_resources=4,
        max_resources=12,
        cv=2,
        random_state=0,
    ).fit(X_train, y_train)
    assert search.best_estimator_.max_epochs == search.n_resources_[-1]
    assert search.best_estimator_.n_iter_ == search.n_resources_[-1]
    assert search.score(X_test, y_test) >= mlp_accuracy - 0.03


def test_permutation_importance_and_partial_dependence(classifier, regressor, cancer_split):
    X, _, y, _ = cancer_split
    X = X[:, :4]
    model = classifier.fit(X, y)
    mlp = make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=1000, random_state=0))
    assert model.score(X, y) >= mlp.fit(X, y).score(X, y) - 0.02
    one, two = (
        permutation_importance(model, X, y, n_repeats=2, random_state=0, n_jobs=n) for n in (1, 2)
    )
    np.testing.assert_array_equal(one.importances, two.importances)
    pytest.importorskip("matplotlib").use("Agg")
    display = PartialDependenceDisplay.from_estimator(model, X, [0, (0, 1)], grid_resolution=5)
    average = display.pd_results[0]["average"][0]
    for value, expected in zip(display.pd_results[0]["grid_values"][0], average, strict=True):
        changed = X.copy()
        changed[:, 0] = value
        assert model.predict_proba(changed)[:, 1].mean() == pytest.approx(expected)
    PartialDependenceDisplay.from_estimator(regressor.fit(X, y), X, [0], grid_resolution=5)


def test_a_learning_curve_by_partial_fit(classifier, cancer_split, mlp_accuracy):
    X, _, y, _ = cancer_split
    classifier = clone(classifier).set_params(max_epochs=30)
    sizes, _, scores = learning_curve(
        classifier,
        X,
        y,
        cv=KFold(2),
        train_sizes=[0.3, 1.0],
        exploit_incremental_learning=True,
        scoring="neg_log_loss",
    )
    train, test = next(KFold(2).split(X))
    train = train[: sizes[-1]]
    direct = clone(classifier)
    for rows in np.split(train, sizes)[:-1]:
        direct.partial_fit(X[rows], y[rows], classes=[0, 1])
    expected = -log_loss(y[test], direct.predict_proba(X[test]))
    assert scores[-1][0] == pytest.approx(expected, rel=1e-12)
    assert direct.score(X[test], y[test]) >= mlp_accuracy - 0.05  # of half the rows


@pytest.mark.filterwarnings("default")  # joblib's own
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_joblibs_backends_give_the_same_scores(classifier, cancer_split, mlp_accuracy, backend):
    X, X_test, y, y_test = cancer_split
    grid = {"n_cycles": [1, 3]}
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if backend == "loky" else threads)  # as many as a worker has
    alone = GridSearchCV(classifier, grid, cv=2, scoring="neg_log_loss").fit(X, y)
    torch.set_num_threads(threads)
    with joblib.parallel_config(backend, n_jobs=2):
        together = GridSearchCV(classifier, grid, cv=2, scoring="neg_log_loss").fit(X, y)
    for key in ("split0_test_score", "split1_test_score"):
        np.testing.assert_array_equal(together.cv_results_[key], alone.cv_results_[key])
    assert together.best_estimator_.score(X_test, y_test) >= mlp_accuracy - 0.03


def test_weights_are_routed_through_pipeline_and_search(classifier, cancer_split, mlp_accuracy):
    X, X_test, y, y_test = cancer_split
    weight = np.random.default_rng(0).random(len(y))
    with sklearn.config_context(enable_metadata_routing=True):
        asking = clone(classifier).set_fit_request(sample_weight=True)
        asking.set_score_request(sample_weight=True)
        pipeline = Pipeline([("scale", StandardScaler()), ("net", asking)])
        pipeline[0].set_fit_request(sample_weight=False)
        search = GridSearchCV(pipeline, {"net__n_cycles": [1, 2]}, cv=2)
        search.fit(X, y, sample_weight=weight)
        best = search.best_estimator_
    Z = StandardScaler().fit_transform(X)
    direct = clone(classifier).set_params(n_cycles=best[-1].n_cycles)
    np.testing.assert_array_equal(
        best.predict_proba(X), direct.fit(Z, y, sample_weight=weight).predict_proba(Z)
    )
    assert best.score(X_test, y_test) >= mlp_accuracy - 0.03


def test_a_pipeline_with_a_memory(classifier, cancer_split, mlp_accuracy, tmp_path):
    X, X_test, y, y_test = cancer_split
    steps = [("scale", StandardScaler()), ("net", classifier)]
    remembered = Pipeline(steps, memory=str(tmp_path))
    first = remembered.fit(X, y).predict_proba(X)
    np.testing.assert_array_equal(remembered.fit(X, y).predict_proba(X), first)
    np.testing.assert_array_equal(Pipeline(steps).fit(X, y).predict_proba(X), first)
    assert remembered.score(X_test, y_test) >= mlp_accuracy - 0.03


# --------------------------------------------------------------- under every configuration


@pytest.mark.parametrize("output", ["pandas", "polars"])
@pytest.mark.parametrize("wide", [False, True])
def test_configurations_change_no_prediction(classifier, output, wide):
    """transform_output and torch's default type, warnings being errors."""
    X, y = load_digits(return_X_y=True)
    X, y = X[:300], y[:300]
    expected = make_pipeline(StandardScaler(), classifier).fit(X, y).predict_proba(X)
    stack = StackingClassifier([("ours", classifier)], cv=2)
    folds = cross_val_predict(classifier, X, y, cv=2, method="predict_proba")
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64 if wide else torch.float32)
        with sklearn.config_context(transform_output=output), warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", ConvergenceWarning)  # of so small a budget
            model = make_pipeline(StandardScaler(), classifier).fit(X, y)
            assert hasattr(model[-1], "feature_names_in_")
            np.testing.assert_array_equal(model.predict_proba(X), expected)
            again = cross_val_predict(classifier, X, y, cv=2, method="predict_proba")
            np.testing.assert_array_equal(again, folds)
            # StackingClassifier warns of names that only its own final estimator lacks.
            warnings.filterwarnings("ignore", "X has feature names, but LogisticRegression")
            assert stack.fit(X, y).score(X, y) > 0.9
    finally:
        torch.set_default_dtype(before)


def test_names_of_columns_are_learned_and_compared(classifier):
    X, y = load_iris(return_X_y=True, as_frame=True)
    model = classifier.set_params(max_epochs=60).fit(X, y)
    assert list(model.feature_names_in_) == list(X.columns)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(X.rename(columns={X.columns[0]: "other"}))
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X.to_numpy())
    text = FunctionTransformer(lambda Z: pd.DataFrame(Z, columns=X.columns))
    assert make_pipeline(text, model).fit(X.to_numpy(), y).score(X, y) > 0.9
    assert cross_val_score(model, X, y, cv=3).mean() > 0.9


def test_skrubs_pipeline_leaves_missing_values_to_us():
    """It reads the tags: a learner that takes missing values gets no imputer before it."""
    skrub = pytest.importorskip("skrub")
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"size": rng.normal(size=300), "kind": rng.choice(["a", "b", "c"], 300)})
    y = np.where((X["size"] > 0) ^ (X["kind"] == "b"), "yes", "no")
    X.loc[::7, "size"] = np.nan
    model = skrub.tabular_pipeline(SnapshotEnsembleClassifier(max_epochs=30, random_state=0))
    assert not any(isinstance(step, SimpleImputer) for _, step in model.steps)
    model.fit(X[:200], y[:200])
    known = X["size"].notna()[200:]
    assert model.score(X[200:][known], y[200:][known]) > 0.85
