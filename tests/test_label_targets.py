"""Several labels a row: what MLPClassifier does with them, by closed forms and by scikit-learn."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import torch
from conftest import QUICK, Mlp, Normalised
from scipy.special import expit, logit
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    hamming_loss,
    log_loss,
    roc_auc_score,
)
from sklearn.model_selection import KFold, cross_val_predict, cross_val_score
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback, EpochScoring
from torch import nn
from torch.utils.data import Dataset, TensorDataset

import skensemble
from skensemble import SnapshotEnsembleClassifier
from skensemble._data.label_targets import LabelTargets
from skensemble._nets.snapshots import load_state

X, Y = make_multilabel_classification(400, 8, n_classes=4, random_state=0)
TRAIN, TEST = slice(200), slice(200, None)
L = Y.shape[1]

SMALL = {**QUICK, "module__hidden": (16,), "n_chains": 2}


def new(module=None, **parameters):
    return SnapshotEnsembleClassifier(
        module, **{**(SMALL if module is None else QUICK), **parameters}
    )


def mean_log_loss(Y, P, weight=None):
    """Return the mean over labels of scikit-learn's."""
    each = zip(Y.T, P.T, strict=True)
    return np.mean([log_loss(y, p, labels=[0, 1], sample_weight=weight) for y, p in each])


@pytest.fixture(scope="module")
def model():
    return new(max_epochs=20, n_cycles=3).fit(X[TRAIN], Y[TRAIN])


@pytest.fixture(scope="module")
def theirs():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MLPClassifier(max_iter=5, random_state=0).fit(X[TRAIN], Y[TRAIN])


# -------------------------------------------------------------------------- like MLPClassifier


def test_classes_shapes_and_types_are_those_of_mlp_classifier(model, theirs):
    np.testing.assert_array_equal(model.classes_, theirs.classes_)
    assert model.classes_.dtype == theirs.classes_.dtype
    for method in ("predict", "predict_proba", "predict_log_proba"):
        ours, other = getattr(model, method)(X[TEST]), getattr(theirs, method)(X[TEST])
        assert (ours.shape, ours.dtype) == (other.shape, other.dtype), method
    assert not hasattr(model, "decision_function")


def test_predictions_are_the_probabilities_above_one_half(model):
    p = model.predict_proba(X[TEST])
    np.testing.assert_array_equal(model.predict(X[TEST]), (p > 0.5).astype(int))
    np.testing.assert_array_equal(model.predict_log_proba(X[TEST]), np.log(p))
    np.testing.assert_array_equal(LabelTargets().decode(np.array([[0.5, 0.51]])), [[0, 1]])
    assert model.score(X[TEST], Y[TEST]) == accuracy_score(Y[TEST], model.predict(X[TEST]))
    stages = [*model.staged_predict(X[TEST])]
    assert len(stages) == model.n_cycles_
    np.testing.assert_array_equal(stages[-1], model.predict(X[TEST]))
    np.testing.assert_allclose([*model.staged_predict_proba(X[TEST])][-1], p)


def test_it_learns_what_labels_hang_on(model):
    prior = np.broadcast_to(Y[TRAIN].mean(axis=0), Y[TEST].shape)
    p = model.predict_proba(X[TEST])
    assert mean_log_loss(Y[TEST], p) < 0.85 * mean_log_loss(Y[TEST], prior)


@pytest.mark.parametrize(
    "convert",
    [
        lambda Y: Y.astype(bool),
        lambda Y: Y.astype(np.float32),
        lambda Y: Y.astype(object),
        lambda Y: Y.tolist(),
        scipy.sparse.csr_matrix,
        scipy.sparse.coo_array,
        scipy.sparse.dok_matrix,
        lambda Y: pd.DataFrame(Y, columns=list("abcd")),
        lambda Y: pd.DataFrame(Y).astype({0: bool}),
        lambda Y: pd.DataFrame(Y).astype("boolean"),
        lambda Y: pd.DataFrame(Y).astype("category"),
        lambda Y: pl.DataFrame(Y.astype(bool)),
        lambda Y: pl.DataFrame(Y).with_columns(pl.col("column_0").cast(pl.Boolean)),
        torch.tensor,
        lambda Y: torch.tensor(Y).to_sparse(),
    ],
)
def test_tables_of_any_kind(convert):
    given = convert(Y[TRAIN][:60])
    expected = new(Mlp).fit(X[:60], Y[:60]).predict_proba(X[TEST])
    np.testing.assert_array_equal(new(Mlp).fit(X[:60], given).predict_proba(X[TEST]), expected)


class Pairs(Dataset):
    def __len__(self):
        return 60

    def __getitem__(self, i):
        return X[i].astype(np.float32), Y[i]


@pytest.mark.parametrize(
    "dataset", [TensorDataset(torch.tensor(X[:60]).float(), torch.tensor(Y[:60])), Pairs()]
)
def test_datasets_bring_their_own_labels(dataset):
    model = new(Mlp).fit(dataset, X_val=dataset)
    assert model.predict(X[TEST].astype(np.float32)).shape == (200, L)
    p = model.predict_proba(X[:60].astype(np.float32))
    assert model.validation_score_ == pytest.approx(-mean_log_loss(Y[:60], p), rel=1e-6)


# ------------------------------------------------------------------------------- the ensemble


@pytest.mark.parametrize("module", [Mlp, Normalised])
def test_probabilities_are_the_weighted_mean_of_the_members_sigmoids(module):
    model = new(module, n_chains=2).fit(X[TRAIN].astype(np.float32), Y[TRAIN])
    rows = torch.tensor(X[TEST], dtype=torch.float32)
    each = []
    for state in model.snapshots_:
        fresh = module(8, L).eval()
        load_state(fresh, state)
        with torch.no_grad():
            each.append(torch.sigmoid(fresh(rows).double()).numpy())
    np.testing.assert_allclose(model.predict_members(X[TEST]), each, atol=1e-6)
    expected = np.tensordot(model.member_weights_, np.array(each), axes=1)
    np.testing.assert_allclose(model.predict_proba(X[TEST]), expected, atol=1e-6)


def test_the_unseen_score_is_the_mean_log_loss_of_the_labels(model):
    p = model.oof_decision_function_
    assert p.shape == (200, L)
    assert model.validation_score_ == pytest.approx(-mean_log_loss(Y[TRAIN], p))
    last = np.argmax(model.cycle_scores_)
    assert model.cycle_scores_[last] >= model.cycle_scores_[0]
    assert model.temperature_ == 1
    assert not hasattr(model, "threshold_")


def test_each_row_is_predicted_by_the_chain_that_left_it_out():
    """The chains' own means, of which each row has one: no other explains what is told."""
    model = new(n_cycles=1).fit(X[TRAIN], Y[TRAIN])
    of_chains = model.predict_members(X[TRAIN])
    found = np.isclose(of_chains, model.oof_decision_function_, atol=1e-6).all(axis=2)
    np.testing.assert_array_equal(found.sum(axis=0), np.ones(200))


def test_one_step_is_plain_gradient_descent_on_the_cross_entropy_of_all_labels():
    weight = np.linspace(0.5, 2, 200)
    start = nn.Linear(8, L)
    model = SnapshotEnsembleClassifier(
        start, optimizer="sgd", lr=0.1, n_cycles=1, max_epochs=1, batch_size=200
    )
    model.fit(X[TRAIN].astype(np.float32), Y[TRAIN], sample_weight=weight)
    rows, y = torch.tensor(X[TRAIN]).float(), torch.tensor(Y[TRAIN]).float()
    w = torch.tensor(weight / weight.mean()).float()
    scores = start(rows)
    p = torch.sigmoid(scores)
    by_hand = -(y * p.log() + (1 - y) * (1 - p).log())
    gradient = torch.autograd.grad((w[:, None] * by_hand).mean(), start.weight)[0]
    found = model.snapshots_[0]["weight"]
    torch.testing.assert_close(found, start.weight - 0.1 * gradient, rtol=1e-4, atol=1e-6)


class Batches(Callback):
    """Looks at single batches, so that chains go one by one."""

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        pass


def test_chains_as_one_equal_chains_one_by_one():
    """Without dropout nothing is drawn in a step: only the lock-step differs."""
    weight = np.linspace(0.5, 2, 200)
    together = new(module__column_dropout=0.0)
    together.fit(X[TRAIN], Y[TRAIN], sample_weight=weight)
    alone = clone(together).set_params(callbacks=[Batches()])
    alone.fit(X[TRAIN], Y[TRAIN], sample_weight=weight)
    np.testing.assert_allclose(
        together.predict_members(X[TEST]), alone.predict_members(X[TEST]), atol=1e-4
    )


def test_a_row_of_weight_two_is_two_rows():
    """Up to 32 rows train in float64, to equal results."""
    counts = np.arange(10) % 3 + 1
    weighted = new(n_chains="auto").fit(X[:10], Y[:10], sample_weight=counts)
    repeated = new(n_chains="auto").fit(
        X[:10].repeat(counts, axis=0), Y[:10].repeat(counts, axis=0)
    )
    expected = repeated.predict_proba(X[TEST])
    np.testing.assert_allclose(weighted.predict_proba(X[TEST]), expected, atol=1e-7)


def test_weights_count_in_the_unseen_score():
    weight = np.linspace(0, 3, 200)
    model = new().fit(X[TRAIN], Y[TRAIN], sample_weight=weight)
    expected = -mean_log_loss(Y[TRAIN], model.oof_decision_function_, weight)
    assert model.validation_score_ == pytest.approx(expected)


def test_votes_are_counted_for_each_label():
    model = new(voting="hard", members="all").fit(X[TRAIN], Y[TRAIN])
    votes = (model.predict_members(X[TEST]) > 0.5).mean(axis=0)
    np.testing.assert_array_equal(model.predict(X[TEST]), (votes > 0.5).astype(int))
    assert (votes == 0.5).any(), "a tie is no majority"
    assert not hasattr(model, "predict_proba")
    assert len([*model.staged_predict(X[TEST])]) == model.n_cycles_


def test_a_label_that_all_rows_or_none_have():
    same = np.column_stack([Y[TRAIN][:, 0], np.zeros(200), np.ones(200)])
    model = new(max_epochs=20).fit(X[TRAIN], same)
    np.testing.assert_array_equal(model.predict(X[TEST])[:, 1:], np.tile([0, 1], (200, 1)))
    assert model.validation_score_ == pytest.approx(
        -mean_log_loss(same, model.oof_decision_function_)
    )


def test_one_column_is_a_problem_of_two_classes():
    with pytest.warns(UserWarning, match="column-vector y was passed"):
        model = new().fit(X[TRAIN], Y[TRAIN][:, :1])
    assert model.predict(X[TEST]).shape == (200,)
    assert model.predict_proba(X[TEST]).shape == (200, 2)


# --------------------------------------------------------------------------- how sure it is


def test_one_temperature_serves_all_labels():
    parameters = {"max_epochs": 150, "n_cycles": 1, "early_stopping": False}
    plain = new(**parameters).fit(X[TRAIN], Y[TRAIN])
    model = clone(plain).set_params(calibrate=True).fit(X[TRAIN], Y[TRAIN])
    np.testing.assert_array_equal(model.oof_decision_function_, plain.oof_decision_function_)
    t = model.temperature_
    assert t > 1.05, "so long a run is too sure"
    expected = expit(logit(plain.predict_proba(X[TEST])) / t)
    np.testing.assert_allclose(model.predict_proba(X[TEST]), expected)
    np.testing.assert_array_equal(model.predict(X[TEST]), plain.predict(X[TEST]))
    scores = logit(model.oof_decision_function_)

    def loss(temperature):
        return mean_log_loss(Y[TRAIN], expit(scores / temperature))

    assert loss(t) <= min(loss(0.98 * t), loss(1.02 * t))


def test_uncertainty_is_the_entropy_of_each_label(model):
    doubt = model.predict_uncertainty(X[TEST])
    p, each = model.predict_proba(X[TEST]), model.predict_members(X[TEST])

    def entropy(p):
        return -p * np.log(p) - (1 - p) * np.log(1 - p)

    np.testing.assert_allclose(doubt.total, entropy(p))
    aleatoric = np.tensordot(model.member_weights_, entropy(each), axes=1)
    np.testing.assert_allclose(doubt.aleatoric, aleatoric)
    np.testing.assert_allclose(doubt.epistemic, doubt.total - doubt.aleatoric, atol=1e-12)


def cover(sets, Y):
    return np.take_along_axis(sets, Y[:, :, None], axis=2)[:, :, 0]


@pytest.mark.parametrize("class_conditional", [False, True])
def test_the_set_of_each_label_covers_what_is_asked(model, class_conditional):
    sets = model.predict_set(X[TEST], [0.8, 0.9], class_conditional=class_conditional)
    assert sets.shape == (2, 200, L, 2)
    assert sets.any(axis=3).all()
    assert sets[0].sum() < sets[1].sum() < 2 * 200 * L
    for asked, found in zip([0.8, 0.9], sets, strict=True):
        assert (cover(found, Y[TEST]).mean(axis=0) > asked - 0.08).all()
        if class_conditional:
            assert cover(found, Y[TEST])[Y[TEST] == 1].mean() > asked - 0.06
    np.testing.assert_array_equal(
        model.predict_set(X[TEST], 0.9, class_conditional=class_conditional), sets[1]
    )


def test_sets_by_rows_given_are_split_conformal():
    """Sadinle, Lei and Wasserman 2019: what is as likely as the k-th least sure of the rows."""
    model = new().fit(X[TRAIN], Y[TRAIN], X_val=X[200:300], y_val=Y[200:300])
    p = model.predict_proba(X)
    of_true = np.where(Y == 1, p, 1 - p)
    rank = int(np.ceil(0.9 * 101))
    bound = np.sort(1 - of_true[200:300], axis=0)[rank - 1]
    expected = np.stack([1 - p, p], axis=-1)[300:] >= 1 - bound[:, None] - 1e-12
    likelier = np.stack([p <= 0.5, p > 0.5], axis=-1)[300:]
    np.testing.assert_array_equal(model.predict_set(X[300:], 0.9), expected | likelier)


def test_sets_of_too_few_rows_are_refused_with_the_label():
    rare = Y[TRAIN].copy()
    rare[3:, 1] = 0
    model = new().fit(X[TRAIN], rare)
    with pytest.raises(ValueError, match="whose label 1 is 1, but expected at least 9"):
        model.predict_set(X[TEST], class_conditional=True)
    with pytest.raises(ValueError, match="Got random_state=0 with several labels a row"):
        model.predict_set(X[TEST], random_state=0)


# ------------------------------------------------------------------------------- later calls


def test_later_calls_go_on_with_the_same_labels():
    model = new()
    for _ in range(3):
        model.partial_fit(X[TRAIN], Y[TRAIN], classes=range(L))
    assert model.n_cycles_ == 3
    one_more = model.set_params(warm_start=True).fit(X[TRAIN], Y[TRAIN].astype(bool))
    assert one_more.n_cycles_ == 3 + QUICK["n_cycles"]
    model.refit_members(X[TEST], pd.DataFrame(Y[TEST]))
    p = model.predict_proba(X[TEST])
    assert model.validation_score_ == pytest.approx(-mean_log_loss(Y[TEST], p))


WRONG_LATER = [
    (lambda m: m.partial_fit(X, Y[:, :3]), "Got y with 3 labels, but expected 4"),
    (lambda m: m.refit_members(X, Y[:, :3]), "Got y with 3 labels, but expected 4"),
    (lambda m: m.partial_fit(X, Y[:, 0]), r"Got y of shape \(400,\), but expected 0 or 1"),
    (lambda m: m.refit_members(X, Y[:, 0]), r"Got y of shape \(400,\), but expected 0 or 1"),
    (lambda m: m.partial_fit(X, Y, classes=[0, 1]), r"Got classes=\[0, 1\] and y of 4 labels"),
    (
        lambda m: m.set_params(class_weight="balanced").refit_members(X, Y),
        "Got class_weight='balanced' with several labels a row",
    ),
    (
        lambda m: new().partial_fit(X, Y[:, 0]).partial_fit(X, Y),
        "expected one label a row as in the first call",
    ),
    (
        lambda m: new().fit(X, Y[:, 0]).refit_members(X, Y),
        "expected one label a row as in the first call",
    ),
    (
        lambda m: new().fit(X, Y, X_val=X, y_val=Y[:, 0]),
        "Of X_val, y_val and sample_weight_val: Got y of shape",
    ),
]


@pytest.mark.parametrize(("call", "message"), WRONG_LATER)
def test_other_labels_later_are_refused(call, message):
    model = new(Mlp).partial_fit(X, Y)
    with pytest.raises(ValueError, match=message):
        call(model)
    assert model.n_cycles_ == 1


# ------------------------------------------------------------------------------ wrong y, losses


def _with_gap(Y):
    Y = Y.astype(float)
    Y[3, 1] = np.nan
    return Y


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_with_gap, "missing labels, the first in row 3, but expected 0 or 1"),
        (
            lambda Y: pd.DataFrame(_with_gap(Y)).astype("Int64"),
            "missing labels, the first in row 3",
        ),
        (lambda Y: Y + 1, r"with the values \[1, 2\], but expected 0 or 1.*y == 2"),
        (lambda Y: 2 * Y - 1, r"with the values \[-1, 1\]"),
        (lambda Y: 2 * scipy.sparse.csr_matrix(Y), r"with the values \[0, 2\]"),
        (lambda Y: Y + Y[:, ::-1], "'multiclass-multioutput'.*MultiOutputClassifier"),
        (lambda Y: Y + 0.5, "'continuous-multioutput'"),
        (lambda Y: np.where(Y, "yes", "no"), "'multiclass-multioutput'"),
        (lambda Y: [np.flatnonzero(row).tolist() for row in Y], "MultiLabelBinarizer"),
        (lambda Y: [{*np.flatnonzero(row)} for row in Y], "MultiLabelBinarizer"),
        (lambda Y: pd.Series([{*np.flatnonzero(row)} for row in Y]), "MultiLabelBinarizer"),
        (lambda Y: scipy.sparse.csr_matrix(Y[:, :1]), "0 and 1 in several columns"),
        (lambda Y: Y[:, :, None], "dim 3"),
        (lambda Y: Y[:-1], "inconsistent numbers of samples"),
    ],
)
def test_a_table_of_anything_else_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        new(Mlp).fit(X, change(Y))


@pytest.mark.parametrize("name", sorted(name for name in dir(nn) if name.endswith("Loss")))
def test_losses_of_torch_fit_or_are_refused(name):
    if name in ("BCEWithLogitsLoss", "MultiLabelSoftMarginLoss"):
        found = new(criterion=name).fit(X[TRAIN], Y[TRAIN]).predict_proba(X[TEST])
        expected = new().fit(X[TRAIN], Y[TRAIN]).predict_proba(X[TEST])
        np.testing.assert_allclose(found, expected, atol=1e-4)  # the two are one formula
        return
    with pytest.raises(ValueError, match=r"criterion=\w+"):
        new(criterion=name).fit(X[TRAIN], Y[TRAIN])


class Focal(nn.BCEWithLogitsLoss):
    def forward(self, scores, y):
        each = nn.functional.binary_cross_entropy_with_logits(scores, y, reduction="none")
        each = (1 - torch.exp(-each)) ** 2 * each
        return each if self.reduction == "none" else each.mean()


def test_weights_of_labels_and_losses_of_ones_own():
    plain = new(max_epochs=10).fit(X[TRAIN], Y[TRAIN]).predict(X[TEST])
    more = {"criterion": nn.BCEWithLogitsLoss, "criterion__pos_weight": torch.full((L,), 20.0)}
    eager = new(max_epochs=10, **more).fit(X[TRAIN], Y[TRAIN]).predict(X[TEST])
    assert eager.mean() > plain.mean() + 0.1
    focal = new(max_epochs=10, criterion=Focal).fit(X[TRAIN], Y[TRAIN])
    assert 0 < mean_log_loss(Y[TEST], focal.predict_proba(X[TEST])) < np.log(2)


def test_class_weight_is_refused():
    with pytest.raises(ValueError, match=r"Got class_weight=\{0: 2.0\} with several labels a row"):
        new(class_weight={0: 2.0}).fit(X, Y)


class Ending(Mlp):
    def __init__(self, n_inputs, n_outputs, last):
        super().__init__(n_inputs, n_outputs)
        self.last = last

    def forward(self, X):
        return self.last(super().forward(X))


@pytest.mark.parametrize("last", [torch.sigmoid, nn.Sigmoid(), nn.LogSigmoid(), nn.Softmax(dim=1)])
def test_a_module_that_returns_probabilities_is_refused(last):
    with pytest.raises(ValueError, match=r"returns probabilities \(it ends in a s"):
        new(Ending, module__last=last).fit(X, Y)
    assert new(Ending, module__last=nn.ReLU()).fit(X, Y).predict(X).shape == Y.shape


def test_a_module_of_another_width_is_refused():
    with pytest.raises(ValueError, match=r"returns shape \(8, 3\).*expected \(8, 4\)"):
        new(nn.Linear(8, 3)).fit(X, Y)


# ---------------------------------------------------------------------------- with scikit-learn


def test_scorers_and_pipelines_of_scikit_learn():
    model = make_pipeline(StandardScaler(), new())
    p = cross_val_predict(model, X, Y, cv=KFold(2), method="predict_proba")
    assert p.shape == Y.shape
    folds = [slice(200), slice(200, None)]
    for name, metric in {
        "roc_auc": roc_auc_score,
        "average_precision": average_precision_score,
    }.items():
        expected = [metric(Y[rows], p[rows]) for rows in folds]
        np.testing.assert_allclose(
            cross_val_score(model, X, Y, cv=KFold(2), scoring=name), expected
        )
    expected = [accuracy_score(Y[rows], p[rows] > 0.5) for rows in folds]
    np.testing.assert_allclose(cross_val_score(model, X, Y, cv=KFold(2)), expected)
    assert hamming_loss(Y, p > 0.5) < hamming_loss(Y, np.zeros_like(Y))


def test_a_metric_of_ones_own_chooses_the_cycles():
    model = new(scoring="average_precision").fit(X[TRAIN], Y[TRAIN])
    expected = average_precision_score(Y[TRAIN], model.oof_decision_function_)
    assert model.validation_score_ == pytest.approx(expected)


@pytest.mark.parametrize("n_labels", [2, 4])
def test_callbacks_see_probabilities_of_each_label(n_labels):
    callbacks = [
        EpochScoring(name, on_train=True, use_caching=False) for name in ("roc_auc", "accuracy")
    ]
    model = new(Mlp, callbacks=callbacks, max_epochs=1, n_cycles=1)
    model.fit(X[TRAIN], Y[TRAIN][:, :n_labels])
    p = model.net_.predict_proba(torch.tensor(X[TRAIN]).float())
    np.testing.assert_allclose(p, model.predict_proba(X[TRAIN]), atol=1e-6)
    last = model.history_[-1]
    assert last["roc_auc"] == pytest.approx(roc_auc_score(Y[TRAIN][:, :n_labels], p))
    assert last["accuracy"] == pytest.approx(model.score(X[TRAIN], Y[TRAIN][:, :n_labels]))


# -------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("parameters", [{}, {"calibrate": True}, {"voting": "hard"}])
def test_files_of_onnx_say_the_same(tmp_path, parameters):
    onnxruntime = pytest.importorskip("onnxruntime")
    model = new(**parameters, max_epochs=20).fit(X[TRAIN], Y[TRAIN])
    model.to_onnx(tmp_path / "several.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "several.onnx")
    label, *probabilities = session.run(None, {"X": X[TEST]})
    np.testing.assert_array_equal(label, model.predict(X[TEST]))
    assert label.dtype == np.int64
    if "voting" not in parameters:
        np.testing.assert_allclose(probabilities[0], model.predict_proba(X[TEST]), atol=1e-5)


def test_a_saved_model_knows_its_labels(tmp_path, model):
    model.save(tmp_path / "several.model", include=("unseen", "training"))
    loaded = skensemble.load(tmp_path / "several.model")
    for method in ("predict", "predict_proba", "predict_set"):
        np.testing.assert_array_equal(getattr(loaded, method)(X), getattr(model, method)(X))
    np.testing.assert_array_equal(loaded.oof_decision_function_, model.oof_decision_function_)
    assert loaded.partial_fit(X[TRAIN], Y[TRAIN]).n_cycles_ == model.n_cycles_ + 1
