"""From a later X to tensors, by what fit learned."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import Mlp, probabilities
from torch import nn

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._data.encoder import TableEncoder


@pytest.mark.parametrize("module", [None, Mlp, lambda: nn.Linear(64, 10)])
def test_torchs_default_type_may_be_float64(digits, module):
    X, y = digits
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        wide = probabilities(X, y, module)
        regressor = SnapshotEnsembleRegressor(None if module is None else nn.Linear(64, 1))
        regressor.set_params(max_epochs=1).fit(X, y).predict(X)
    finally:
        torch.set_default_dtype(before)
    np.testing.assert_allclose(wide.sum(axis=1), 1)
    if module is None:  # whose own type is float32 all the same
        np.testing.assert_array_equal(wide, probabilities(X, y, module))


def test_a_module_of_another_type_gets_that(digits):
    X, y = digits
    assert probabilities(X, y, nn.Linear(64, 10).double()).shape == (600, 10)
    assert probabilities(X, y, nn.Linear(64, 10).to(torch.bfloat16)).shape == (600, 10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_quick_look_misses_no_value_that_is_not_finite(digits, dtype, value):
    X, y = digits
    model = SnapshotEnsembleClassifier(max_epochs=1, n_cycles=1).fit(X, y)
    bad = X.astype(dtype)
    bad[3, 5] = value
    if np.isnan(value):  # missing
        assert np.isfinite(model.predict_proba(bad)).all()
        model = SnapshotEnsembleClassifier(Mlp, max_epochs=1, n_cycles=1).fit(X, y)
    with pytest.raises(ValueError, match="Input X contains"):
        model.predict(bad)


def test_a_sum_that_overflows_is_no_reason_to_refuse(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(max_epochs=1, n_cycles=1).fit(X, y)
    assert np.isfinite(model.predict_proba(np.full((9, 64), np.finfo(np.float64).max))).all()


@pytest.mark.parametrize("X", [np.zeros((2, 63)), np.zeros((0, 64)), np.zeros(64)])
def test_the_quick_look_leaves_shapes_to_scikit_learn(digits, X):
    model = SnapshotEnsembleClassifier(max_epochs=1, n_cycles=1).fit(*digits)
    with pytest.raises(ValueError, match=r"features|0 sample|2D array"):
        model.predict(X)


def test_names_known_from_fit_are_asked_for(digits):
    X, y = digits
    frame = pd.DataFrame(X).add_prefix("c")
    model = SnapshotEnsembleClassifier(max_epochs=1, n_cycles=1).fit(frame, y)
    with pytest.warns(UserWarning, match="valid feature names"):
        model.predict(X)


def test_the_small_regime_is_float64_without_dropout(iris):
    """Rule 1."""
    X, y = iris
    order = np.random.default_rng(0).permutation(150)
    small = SnapshotEnsembleClassifier(module__dropout=0.5, random_state=0)
    assert (
        small.fit(X[order[:32]], y[order[:32]]).net_.module_.layers[0].weight.dtype == torch.float64
    )
    assert all(part.p == 0 for part in small.net_.module_.layers if isinstance(part, nn.Dropout))
    assert (
        small.fit(X[order[:33]], y[order[:33]]).net_.module_.layers[0].weight.dtype == torch.float32
    )
    batches = small.set_params(batch_size=8).fit(X[order[:32]], y[order[:32]])
    assert batches.net_.module_.layers[0].weight.dtype == torch.float32


def test_weights_are_repeats_in_the_small_regime(diabetes):
    X, y = diabetes
    X, y = X[:12], y[:12]
    weight = np.array([0, 1, 2, 3] * 3)
    model = SnapshotEnsembleRegressor(random_state=0)
    weighted = model.fit(X, y, sample_weight=weight).predict(X)
    repeated = model.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight)).predict(X)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-7)


def test_unseen_shapes_are_refused_at_predict(iris):
    X, y = iris
    model = SnapshotEnsembleClassifier(max_epochs=2, n_chains=1).fit(X, y)
    with pytest.raises(ValueError, match="X has 3 features"):
        model.predict(X[:, :3])

    images = np.zeros((40, 1, 4, 4), dtype=np.float32)
    labels = np.arange(40) % 2
    module = nn.Sequential(nn.Flatten(), nn.LazyLinear(2))
    model = SnapshotEnsembleClassifier(module, n_cycles=2, max_epochs=1).fit(images, labels)
    with pytest.raises(ValueError, match=r"rows of shape \(1, 4, 5\), but expected \(1, 4, 4\)"):
        model.predict(np.zeros((3, 1, 4, 5), dtype=np.float32))


@pytest.mark.parametrize("module", [None, Mlp])
def test_rows_and_chunks_are_what_the_encoder_makes_of_them(digits, module):
    X, y = digits
    model = SnapshotEnsembleClassifier(module, max_epochs=1, n_cycles=1).fit(X, y)
    intake = model._fitted_.intake
    expected = X if module else TableEncoder().fit(X).transform(X, np.float32)
    source, _ = intake.read(model, X[:100].tolist())
    for got in (intake.rows(source)[:], torch.cat(list(intake.chunks(source, 30)))):
        assert got.dtype == torch.float32
        np.testing.assert_array_equal(got.numpy(), expected[:100].astype(np.float32))


def test_a_later_table_is_read_as_that_of_fit_was(iris):
    frame = pd.DataFrame(iris[0], columns=list("abcd"))
    model = SnapshotEnsembleClassifier(max_epochs=1, n_cycles=1).fit(frame, iris[1])
    before = vars(model).copy()
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame[list("dcba")])
    assert vars(model).keys() == before.keys()
    assert model._fitted_.intake.sizes()["n_inputs"] == model.net_.module_.layers[0].in_features
