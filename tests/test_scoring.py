"""The user's metric of unseen rows, against scikit-learn's scorers asked by hand."""

import itertools

import numpy as np
import pytest
import sklearn
import torch
from conftest import QUICK, Mlp, serve
from sklearn import metrics
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import get_scorer, make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import scale
from sklearn.utils.metadata_routing import get_routing_for_object

import skensemble
from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._data.targets import ClassTargets, RealTargets
from skensemble.members import greedy, stacked
from skensemble.model_selection import cycle_curve
from skensemble.scoring import Decision, Judge, ScorerMeasure, measure_by, thin
from skensemble.unseen import Patience

#: Its fit takes no time, and its cycles differ.
SMALL = {
    "n_chains": 2, "n_cycles": 3, "max_epochs": 8, "random_state": 0, "early_stopping": False,
    "module__hidden": (16,),
}  # fmt: skip


@pytest.fixture(scope="module")
def noisy(cancer):
    """Two classes with a sixth of the labels wrong, and weights of rows."""
    X, y = cancer[0][:400, :6], cancer[1][:400]
    random = np.random.default_rng(0)
    return X, np.where(random.random(len(y)) < 0.17, 1 - y, y), random.uniform(0.5, 2, len(y))


def classify(data, **parameters):
    """Fit a classifier; a parameter of None is left out."""
    if parameters.get("module"):
        parameters["module__hidden"] = None
    parameters = {name: p for name, p in {**SMALL, **parameters}.items() if p is not None}
    return SnapshotEnsembleClassifier(**parameters).fit(*data)


class Known(SnapshotEnsembleClassifier):
    """Predicts what it did for rows that it had not seen, for scorers asked by hand."""

    def predict_proba(self, X):
        return self.oof_decision_function_

    def predict(self, X):
        return self.classes_[self.oof_decision_function_.argmax(axis=1)]


def own(estimator, X, y, sample_weight=None):
    """Score ranks, in another class than scikit-learn's."""
    return metrics.roc_auc_score(y, estimator.predict_proba(X)[:, 1], sample_weight=sample_weight)


# ------------------------------------------------------------------------------------- the score

NAMES = ["roc_auc", "average_precision", "f1", "accuracy", "neg_brier_score", "neg_log_loss"]


@pytest.mark.parametrize("scoring", [*NAMES, own])
@pytest.mark.parametrize("is_weighted", [False, True])
def test_the_score_is_the_scorers_of_unseen_predictions(noisy, scoring, is_weighted):
    X, y, weight = noisy
    weights = {"sample_weight": weight} if is_weighted else {}
    model = Known(scoring=scoring, **SMALL).fit(X, y, **weights)
    scorer = get_scorer(scoring) if isinstance(scoring, str) else scoring
    assert model.validation_score_ == pytest.approx(scorer(model, X, y, **weights), rel=1e-9)
    assert model.cycle_scores_.shape == (3,)
    assert model.cycle_scores_[-1] == model.validation_score_


@pytest.mark.parametrize(
    "scoring", ["r2", "neg_mean_absolute_error", "neg_root_mean_squared_error", "max_error"]
)
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_the_score_of_values(diabetes, scoring, n_outputs):
    X, y = diabetes
    scoring = {"max_error": "neg_max_error"}.get(scoring, scoring)
    if n_outputs == 2:
        if scoring == "neg_max_error":
            return
        y = np.c_[y, 1e3 * y[::-1]]

    class Given(SnapshotEnsembleRegressor):
        def predict(self, X):
            return self.oof_prediction_

    model = Given(scoring=scoring, **SMALL).fit(X, y)
    assert model.validation_score_ == pytest.approx(get_scorer(scoring)(model, X, y), rel=1e-9)


def test_the_score_of_rows_given_to_judge_by(noisy):
    """All stages are what the scorer says of the estimator itself."""
    X, y, _ = noisy
    X = scale(X)
    model = SnapshotEnsembleClassifier(Mlp, scoring="roc_auc", **QUICK)
    model.fit(X[200:], y[200:], X_val=X[:200], y_val=y[:200])
    stages = [metrics.roc_auc_score(y[:200], p[:, 1]) for p in model.staged_predict_proba(X[:200])]
    np.testing.assert_allclose(model.cycle_scores_, stages, rtol=1e-9)
    before = model.validation_score_
    model.set_params(scoring="accuracy").refit_members(X[:200], y[:200])
    assert model.validation_score_ == model.score(X[:200], y[:200]) != before


@pytest.mark.parametrize("name", ["f1", "average_precision", "roc_auc", "neg_brier_score"])
def test_labels_of_any_kind_are_scored_alike(name):
    """Of two classes without a 1 the second is the positive one, as in ``classes_``."""
    predictions, y = cycles(1)
    p, weight = predictions[0], np.broadcast_to(1.0, len(y))
    metric = {"f1": (metrics.f1_score, p[:, 1] > 0.5)}
    for kind in ("average_precision", "roc_auc"):
        metric[kind] = getattr(metrics, f"{kind}_score"), p[:, 1]
    of, seen = metric.get(name, (lambda *args: -metrics.brier_score_loss(*args), p[:, 1]))
    for labels in (["no", "yes"], [2, 3], [0, 1], [False, True], [-1, 1]):
        measure = measure_by(name, ClassTargets(classes=np.array(labels)))
        found = measure.score(predictions, y, weight, np.ones(1))
        assert found == pytest.approx(of(y, seen), rel=1e-12)
    # A scorer of the user's says itself what is positive, and sees the labels as they are.
    scorer = make_scorer(metrics.f1_score, pos_label="no")
    measure = measure_by(scorer, ClassTargets(classes=np.array(["no", "yes"])))
    found = measure.score(predictions, y, weight, np.ones(1))
    assert found == pytest.approx(metrics.f1_score(1 - y, p[:, 1] <= 0.5))


def test_several_classes_and_several_labels(iris):
    model = classify(iris, scoring="roc_auc_ovr")
    p = model.oof_decision_function_
    expected = metrics.roc_auc_score(iris[1], p, multi_class="ovr")
    assert model.validation_score_ == pytest.approx(expected)
    X, Y = make_multilabel_classification(200, n_classes=2, random_state=0)
    targets = classify((X, Y), scoring="roc_auc")
    expected = metrics.roc_auc_score(Y, targets.oof_decision_function_)
    assert targets.validation_score_ == pytest.approx(expected)


def test_rows_of_weight_zero_are_none_and_classes_do_not_weigh(noisy):
    X, y, _ = noisy
    weight = np.where(np.arange(len(y)) % 3, 1.0, 0.0)
    model = SnapshotEnsembleClassifier(
        scoring=make_scorer(accuracy_of_all), class_weight={0: 1, 1: 7}, **SMALL
    ).fit(X, y, sample_weight=weight)
    right = model.oof_decision_function_.argmax(axis=1) == y
    assert model.validation_score_ == pytest.approx(right[weight > 0].mean())


def accuracy_of_all(y, found):
    """It takes no weights."""
    return (y == found).mean()


# ----------------------------------------------------------------------------------- the weights


def cycles(n_cycles, n=400, seed=0):
    """Return probabilities of two classes that get better and surer, and the truth."""
    random = np.random.default_rng(seed)
    y = random.integers(2, size=n)
    scores = random.normal(size=(n_cycles, n)) + 0.4 * (2 * y - 1)
    p = 1 / (1 + np.exp(-scores * np.arange(1, n_cycles + 1)[:, None]))
    return np.stack([1 - p, p], axis=-1), y


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["roc_auc", "average_precision", "balanced_accuracy"])
def test_weights_are_nearly_the_best_on_a_grid(name, seed):
    predictions, y = cycles(3, seed=seed)
    measure = measure_by(name, ClassTargets(classes=np.arange(2)))
    weight = np.ones(len(y))

    def score(weights):
        return measure.score(predictions, y, weight, np.asarray(weights))

    grid = [np.array(w) / 20 for w in itertools.product(range(21), repeat=3) if sum(w) == 20]
    best = max(map(score, grid))
    found = score(stacked(predictions, y, weight, measure))
    assert found > best - 0.02
    usual = stacked(predictions, y, weight)
    others = [*np.eye(3), np.full(3, 1 / 3), usual]
    assert found >= max(map(score, others))
    assert score(greedy(predictions, y, weight, measure)) >= max(map(score, others[:-1]))


@pytest.mark.parametrize(
    ("scoring", "loss"),
    [("neg_brier_score", metrics.brier_score_loss), ("neg_log_loss", metrics.log_loss)],
)
def test_convex_metrics_have_their_minimum(scoring, loss):
    predictions, y = cycles(3)
    found = stacked(
        predictions, y, np.ones(len(y)), measure_by(scoring, ClassTargets(classes=np.arange(2)))
    )
    grid = [np.array(w) / 20 for w in itertools.product(range(21), repeat=3) if sum(w) == 20]
    losses = [loss(y, np.tensordot(w, predictions, 1)[:, 1]) for w in [found, *grid]]
    assert losses[0] <= min(losses[1:])


def test_losses_that_are_ours_give_the_same_bits(noisy, diabetes):
    X, y, _ = noisy
    one, other = (classify((X, y), scoring=asked) for asked in (None, "neg_log_loss"))
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
    np.testing.assert_array_equal(one.cycle_scores_, other.cycle_scores_)
    model = SnapshotEnsembleRegressor(**SMALL)
    for asked in ("neg_mean_squared_error", "neg_root_mean_squared_error", "r2"):
        one, other = (clone(model).set_params(scoring=s).fit(*diabetes) for s in (None, asked))
        np.testing.assert_array_equal(one.member_weights_, other.member_weights_)


def test_a_gain_is_told_from_chance_over_parts():
    """Of so few rows the best of many cycles is often so by chance alone."""
    outcomes = set()
    for seed in range(6):
        predictions, y = cycles(6, n=60, seed=seed)
        weight = np.ones(60)
        measure = measure_by("roc_auc", ClassTargets(classes=np.arange(2)))
        usual, plain = stacked(predictions, y, weight), stacked(predictions, y, weight, measure)
        measure.parts = np.array_split(np.arange(60), 5)
        of_both = [np.tensordot(w, predictions, 1)[:, 1] for w in (plain, usual)]
        gains = [
            np.subtract(*(metrics.roc_auc_score(y[part], p[part]) for p in of_both))
            for part in measure.parts
        ]
        is_sure = np.mean(gains) > np.std(gains, ddof=1) / np.sqrt(5)
        expected = plain if is_sure else usual
        np.testing.assert_array_equal(stacked(predictions, y, weight, measure), expected)
        # Parts in which the metric is not defined, such as those of one class, say nothing.
        measure.parts = [np.flatnonzero(y == 0), np.flatnonzero(y == 1)]
        np.testing.assert_array_equal(stacked(predictions, y, weight, measure), plain)
        outcomes.add(bool(is_sure))
    assert outcomes == {False, True}


def test_a_run_goes_on_while_the_loss_gains(noisy):
    """The metric does not move; without it the run has as many cycles."""
    X, y, _ = noisy
    plain = SnapshotEnsembleClassifier(**{**SMALL, "early_stopping": True})
    model = clone(plain).set_params(scoring=constant).fit(X, y)
    assert model.n_cycles_ == plain.fit(X, y).n_cycles_ > 2
    np.testing.assert_array_equal(model.member_weights_, plain.member_weights_)
    assert model.cycle_scores_.tolist() == [0.5] * model.n_cycles_


def constant(estimator, X, y):
    return 0.5


def test_a_cycle_end_asks_few_times():
    predictions, y = cycles(8)
    asked = []

    def counting(estimator, X, y):
        asked.append(X)
        return own(estimator, X, y)

    measure = measure_by(counting, ClassTargets(classes=np.arange(2)))
    stacked(predictions, y, np.ones(len(y)), measure)
    assert 8 < len(asked) <= 60


def test_a_metric_ends_a_run(noisy):
    """The score is above 0, so the loss is below."""
    X, y, _ = noisy
    model = SnapshotEnsembleClassifier(
        n_chains=2, n_cycles=6, max_epochs=60, random_state=0, scoring="accuracy"
    )
    whole = clone(model).set_params(early_stopping=False).fit(X, y)
    short = model.fit(X, y)
    assert short.n_cycles_ < 6
    np.testing.assert_array_equal(short.cycle_scores_, whole.cycle_scores_[: short.n_cycles_])
    assert short.cycle_scores_[-1] <= short.cycle_scores_[:-1].max() + 5e-4


def test_a_gain_of_a_share_is_a_part_of_what_it_lacks():
    """At an accuracy of 0.99 a thousandth is a tenth of all that may come."""

    def is_over(*scores):
        return Patience(1, [10, 20, 40, 80]).is_over([-score for score in scores])

    assert not is_over(0.99, 0.990006)
    assert is_over(0.99, 0.990004)
    assert is_over(0.5, 0.5002)
    assert not is_over(0.5, 0.5003)
    assert is_over(0.5, 0.49)
    assert not is_over(0.0, 0.01)
    assert is_over(100.0, 100.04)
    assert not is_over(100.0, 100.06)
    assert not is_over(-1.0, -0.99)
    assert is_over(-1.0, -0.9996)
    assert is_over(1.0, 1.0)


def test_a_curve_of_folds_has_the_scoring_and_the_decision_of_the_estimator(noisy):
    X, y, _ = noisy
    y = np.where(np.arange(len(y)) % 3 == 0, y, 0)
    model = SnapshotEnsembleClassifier(scoring="f1", decision="f1", calibrate=True, **SMALL)
    curve = cycle_curve(model, X, y, cv=[(np.arange(200), np.arange(200, 400))])
    model.fit(X[:200], y[:200])
    assert model.threshold_ != 0.5
    stages = [metrics.f1_score(y[200:], found) for found in model.staged_predict(X[200:])]
    np.testing.assert_array_equal(curve.scores[:, 0], stages)


def test_a_regressor_whose_loss_is_not_known_is_judged(diabetes):
    """Outputs of the criterion are logarithms; the user's metric knows what to make of them."""
    X, y = diabetes

    def score(estimator, X, y):
        return -metrics.mean_poisson_deviance(y, np.exp(estimator.predict(X)))

    model = SnapshotEnsembleRegressor(criterion=torch.nn.PoissonNLLLoss, scoring=score, **SMALL)
    model.fit(X, y / 100)
    assert not np.allclose(model.member_weights_, model.member_weights_[0])
    expected = -metrics.mean_poisson_deviance(y / 100, np.exp(model.oof_prediction_))
    assert model.validation_score_ == pytest.approx(expected)


# ------------------------------------------------------------------------------------- refusals


def no_scorer(estimator, X, y):
    raise KeyError("column 'age'")


def nothing(estimator, X, y):
    return np.nan


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"scoring": "roc"}, r"Got scoring='roc', but expected a name of sklearn.metrics.get_sc"),
        ({"scoring": "roc_aucc"}, r"or a callable or None. Did you mean 'roc_auc'\?"),
        ({"scoring": 3}, "or a callable or None. Give a name, or make_scorer of a metric"),
        ({"scoring": metrics.f1_score}, "Got scoring=<function f1_score.*make_scorer"),
        ({"scoring": no_scorer}, "Got scoring=.* it ended in KeyError: .*'age'"),
        ({"scoring": nothing}, "Got scoring=.* returns a finite number .* returned nan"),
        ({"scoring": "roc_auc", "voting": "hard"}, "scoring='roc_auc' with voting='hard'"),
        ({"decision": "f1", "voting": "hard"}, "decision='f1' with voting='hard'"),
        ({"decision": "roc_auc"}, "Got decision='roc_auc', but expected .*AttributeError"),
        (
            {"decision": "f1_weight"},
            r"Got decision='f1_weight', but .* Did you mean 'f1_weighted'\?",
        ),
        ({"scoring": "roc_auc", "n_chains": 1}, "scoring='roc_auc' and no rows that are left out"),
        ({"decision": "f1", "n_chains": 1}, "decision='f1' and no rows that are left out"),
    ],
)
def test_what_cannot_judge_is_refused_by_name(noisy, parameters, text):
    X, y, _ = noisy
    with pytest.raises(ValueError, match=text):
        classify((X, y), **parameters)


def test_a_metric_that_is_not_for_such_predictions_is_refused(diabetes, iris):
    X, y = diabetes
    with pytest.raises(ValueError, match="Got scoring='neg_mean_squared_log_error', but"):
        SnapshotEnsembleRegressor(scoring="neg_mean_squared_log_error", **SMALL).fit(X, y - 200)
    with pytest.raises(ValueError, match=r"Got scoring='f1', but expected .* multiclass"):
        classify(iris, scoring="f1")
    with pytest.raises(ValueError, match="Got decision='f1' and a y that does not have two"):
        classify(iris, decision="f1")
    with pytest.raises(ValueError, match="Got decision='f1' and a y that does not have two"):
        classify((iris[0][::5], iris[1][::5]), decision="f1")  # leaves out nothing


def test_so_few_rows_leave_out_none_and_are_not_refused(cancer):
    X, y = (part[:30] for part in cancer)
    model = classify((X, y), n_chains="auto", scoring="roc_auc", decision="f1")
    assert not hasattr(model, "validation_score_")
    assert model.threshold_ == 0.5


# ------------------------------------------------------------------------- beside scikit-learn


def test_a_search_tries_scorings(noisy):
    X, y, _ = noisy
    grid = {"scoring": [None, "roc_auc", own]}
    search = GridSearchCV(SnapshotEnsembleClassifier(**SMALL, members=1), grid, cv=2).fit(X, y)
    assert len(set(search.cv_results_["mean_test_score"])) == 1
    assert clone(search.best_estimator_.set_params(scoring=own)).get_params()["scoring"] is own


def test_weights_go_to_scorers_that_request_them(noisy):
    X, y, weight = noisy
    with sklearn.config_context(enable_metadata_routing=True):
        asking = get_scorer("roc_auc").set_score_request(sample_weight=True)
        for scorer in ("roc_auc", asking, own):
            model = Known(scoring=scorer, **SMALL).set_fit_request(sample_weight=True)
            asked = get_routing_for_object(model).consumes("fit", ["sample_weight"])
            assert asked == {"sample_weight"}
            model.fit(X, y, sample_weight=weight)
            given = {"sample_weight": weight} if scorer is asking else {}
            expected = metrics.roc_auc_score(y, model.oof_decision_function_[:, 1], **given)
            assert model.validation_score_ == pytest.approx(expected)
        routing = get_routing_for_object(SnapshotEnsembleClassifier(scoring=asking))
        assert routing.consumes("fit", ["sample_weight"]) == {"sample_weight"}
        assert not get_routing_for_object(SnapshotEnsembleClassifier()).consumes("fit", ["w"])
        search = GridSearchCV(
            model.set_score_request(sample_weight=False), {"scoring": [asking]}, cv=2
        )
        search.fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("scoring", ["roc_auc", make_scorer(metrics.f1_score, pos_label=0)])
def test_a_file_keeps_metric_and_threshold(noisy, scoring, tmp_path):
    X, y, _ = noisy
    model = classify((X, y), scoring=scoring, decision="balanced_accuracy", members=1)
    model.save(tmp_path / "a.model")
    trusted = [] if isinstance(scoring, str) else [
        "sklearn.metrics._scorer._Scorer", "sklearn.metrics._classification.f1_score",
    ]  # fmt: skip
    loaded = skensemble.load(tmp_path / "a.model", trusted=trusted)
    assert loaded.threshold_ == model.threshold_ != 0.5
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert repr(loaded.scoring) == repr(scoring)
    loaded.refit_members(X, y)


# --------------------------------------------------------------------------------- the threshold


@pytest.mark.parametrize(
    ("decision", "calibrate"),
    [("balanced_accuracy", False), ("f1", True), (make_scorer(metrics.jaccard_score), False)],
)
def test_the_threshold_is_the_best_by_brute_force(noisy, decision, calibrate):
    X, y, weight = noisy
    y = np.where(np.arange(len(y)) % 3 == 0, y, 0)  # a rarer second class
    plain = SnapshotEnsembleClassifier(calibrate=calibrate, **SMALL)
    model = clone(plain).set_params(decision=decision).fit(X, y, sample_weight=weight)
    logits = np.log(model.oof_decision_function_) / model.temperature_
    p = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    metric = {"balanced_accuracy": metrics.balanced_accuracy_score, "f1": metrics.f1_score}
    metric = metric[decision] if isinstance(decision, str) else metrics.jaccard_score

    def score(threshold):
        return metric(y, p > threshold, sample_weight=weight)

    best = max(map(score, np.sort(p)[::4]))
    assert score(model.threshold_) > best - 0.01
    assert score(model.threshold_) > score(0.5)
    second = model.predict_proba(X)[:, 1] > model.threshold_
    np.testing.assert_array_equal(model.predict(X), second.astype(int))
    np.testing.assert_array_equal([*model.staged_predict(X)][-1], model.predict(X))
    plain.fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(plain.predict_proba(X), model.predict_proba(X))
    assert plain.threshold_ == 0.5


def test_of_thresholds_as_good_the_one_next_to_a_half_is_taken():
    targets = ClassTargets(classes=np.array(["a", "b"]))
    p, y = np.array([0.1, 0.2, 0.6, 0.9]), np.array([0, 0, 1, 1])
    judge = Decision("accuracy", targets)
    assert judge.find_threshold(p, y, None) == 0.5
    assert judge.find_threshold(p / 2, y, None) == pytest.approx(0.2)
    assert judge.find_threshold(np.full(4, 0.3), y, None) == 0.5
    assert judge.find_threshold(p, 1 - y, None) != 0.5  # nothing to gain, and no error


def test_many_rows_ask_for_few_thresholds():
    random = np.random.default_rng(0)
    y = random.random(5_000) < 0.1
    p = 1 / (1 + np.exp(3 - random.normal(size=5_000) - 2 * y))
    asked = []

    def counting(estimator, X, y):
        asked.append(X)
        return metrics.f1_score(y, estimator.predict(X))

    targets = ClassTargets(classes=np.arange(2))
    found = Decision(counting, targets).find_threshold(p, y.astype(int), None)
    assert len(asked) < 90
    best = max(metrics.f1_score(y, p > t) for t in np.sort(p)[4_000::20])
    assert metrics.f1_score(y, p > found) > best - 0.01


def test_a_threshold_is_exported(noisy, tmp_path):
    X, y, _ = noisy
    y = np.where(np.arange(len(y)) % 3 == 0, y, 0)
    for calibrate in (False, True):
        labels = np.array(["no", "yes"])[y]
        model = classify((X, labels), decision="balanced_accuracy", calibrate=calibrate)
        assert model.threshold_ < 0.4
        found = serve(model, X, tmp_path / "a.onnx")
        assert found["label"].shape == y.shape
        near = np.abs(model.predict_proba(X)[:, 1] - model.threshold_) < 1e-5
        assert (found["label"] == model.predict(X))[~near].all()


def test_a_threshold_of_rows_given_later(noisy):
    X, y, _ = noisy
    X = scale(X)
    model = classify((X[:300], y[:300]), module=Mlp, n_chains=1)
    assert model.threshold_ == 0.5
    model.set_params(decision=make_scorer(metrics.fbeta_score, beta=3))
    model.refit_members(X[300:], y[300:])
    assert model.threshold_ < 0.5
    before = model.threshold_
    model.set_params(decision=None).refit_members(X[300:], y[300:])
    assert model.threshold_ == 0.5 != before


def test_only_two_classes_have_a_threshold(iris, diabetes):
    assert not hasattr(classify(iris), "threshold_")
    assert not hasattr(SnapshotEnsembleRegressor(**QUICK).fit(*diabetes), "threshold_")


# -------------------------------------------------------------------------------------- by parts


def test_values_lie_evenly_among_many():
    assert thin(np.arange(7.0)).tolist() == [*range(7)]
    assert thin(np.empty(0)).size == 0
    some = thin(np.arange(1_000.0))
    assert (len(some), some[0], some[-1]) == (40, 0, 999)


def test_convex_or_not():
    two, values = ClassTargets(classes=np.arange(2)), RealTargets.of(None)
    values = values.learn(np.arange(5.0), None)[0]
    assert measure_by("neg_log_loss", two) is None
    assert measure_by("neg_brier_score", two).is_convex
    assert measure_by("r2", values).is_convex
    assert not measure_by("roc_auc", two).is_convex
    assert not measure_by("neg_mean_absolute_error", values).is_convex
    assert isinstance(measure_by(own, two), ScorerMeasure)
    assert Judge(own, two).takes_weight
    assert not Judge("neg_max_error", values).takes_weight
