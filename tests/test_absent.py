"""Columns switched off: their inputs are at their means."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from torch import nn

from skensemble import SnapshotEnsembleClassifier
from skensemble._data.absent import switch_off

rng = np.random.default_rng(0)
SOLD = pd.Timestamp("2021-01-01") + pd.to_timedelta(rng.integers(0, 900, 300), unit="D")
FRAME = pd.DataFrame(
    {
        "sold": SOLD,
        "color": rng.choice(list("abc"), 300),
        "hole": np.where(rng.uniform(size=300) < 0.3, np.nan, rng.normal(size=300)),
        "plain": rng.normal(size=300),
    }
)
QUICK = {"max_epochs": 2, "n_cycles": 1, "random_state": 0}
y = np.arange(300) % 2


def switched_off(model, X, weight, columns, *, is_dropped=False):
    fitted = model._fitted_
    source, _ = fitted.intake.read(model, X)
    return (
        switch_off(fitted.intake, source, weight, columns, is_dropped=is_dropped),
        fitted.intake,
        source,
    )


def test_a_column_has_all_that_is_made_of_it():
    model = SnapshotEnsembleClassifier(**QUICK, n_chains=2).fit(FRAME, y)
    absent, intake, source = switched_off(model, FRAME, None, [3, 2, 1, 0])
    assert sorted(torch.cat(absent.inputs).tolist()) == list(range(intake.encoder.n_outputs_))
    whole = intake.rows(source)
    for inputs, name in zip(absent.inputs, reversed(FRAME.columns), strict=True):
        other = FRAME.copy()
        other[name] = FRAME[name].iloc[::-1].to_numpy()
        changed = intake.rows(intake.read(model, other)[0])
        differ = (changed != whole).any(dim=0)
        assert set(differ.nonzero().ravel().tolist()) <= set(inputs.tolist())
        assert differ[inputs].float().mean() > 0.9  # some parts of a date may repeat


def test_inputs_are_at_their_weighted_means(monkeypatch):
    monkeypatch.setattr("skensemble._data.absent._AT_ONCE", 70)
    model = SnapshotEnsembleClassifier(**QUICK, n_chains=2).fit(FRAME, y)
    weight = rng.uniform(size=300)
    absent, intake, source = switched_off(model, FRAME, weight, [0])
    expected = np.average(intake.rows(source).numpy(), axis=0, weights=weight)
    np.testing.assert_allclose(absent.values, expected, atol=1e-6)
    assert absent.values.dtype == torch.float32
    dropped, *_ = switched_off(model, FRAME, weight, [0], is_dropped=True)
    assert dropped.values.shape == absent.values.shape
    assert not dropped.values.any()


@pytest.mark.parametrize("is_sparse", [False, True])
def test_codes_of_a_module_of_the_users_stay_codes(is_sparse):
    X = rng.integers(5, size=(300, 2))
    X[:200, 1] = 4
    module = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.LazyLinear(2))
    model = SnapshotEnsembleClassifier(module, **QUICK, validation=0.2).fit(X, y)
    given = csr_matrix(X) if is_sparse else X
    weight = np.where(X[:, 0] == 3, 50, 1.0)
    absent, *_ = switched_off(model, given, weight, [0, 1])
    assert absent.values.tolist() == [3, 4]
    assert absent.values.dtype == torch.int64
    assert [inputs.tolist() for inputs in absent.inputs] == [[0], [1]]
    assert model.unseen_importance(given, y).importances_mean.shape == (2,)
