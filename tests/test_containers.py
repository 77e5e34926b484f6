"""Every container is read as the plain array of its numbers, or refused with its remedy."""

import copy
import datetime
import decimal
import pathlib
import re

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import scipy.sparse as sp
import torch
from conftest import Items
from skorch.dataset import Dataset as SkorchDataset
from skorch.helper import SliceDataset
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor

RNG = np.random.default_rng(0)
#: Whole numbers that every type holds.
X = np.where(RNG.random((40, 3)) < 0.3, 0, RNG.integers(0, 60, (40, 3))).astype(float)
y = (X[:, 0] > X[:, 1]).astype(int)
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])
TENSOR = torch.from_numpy(X)
DTYPES = ["f2", "f4", ">f8", "i1", "i4", "i8", "u1", "u8", "g"]


class Own(nn.Module):
    def __init__(self, n_inputs, n_outputs=1):
        super().__init__()
        self.layer = nn.Linear(n_inputs, n_outputs)

    def forward(self, X):
        return self.layer(X.float() / 60)


def containers(folder):
    """The same rows in every container that holds numbers."""
    mapped = np.memmap(folder / "X", dtype="f8", mode="w+", shape=X.shape)
    mapped[:] = X
    mapped.flush()
    names = list(FRAME.columns)
    arrays = {dtype: X.astype(dtype) for dtype in DTYPES}
    pandas = {
        dtype: FRAME.astype(dtype)
        for dtype in ["int64", "Int64", "UInt8", "Float32", "double[pyarrow]", "int32[pyarrow]"]
    }
    kinds = [sp.csr_array, sp.csr_matrix, sp.csc_array, sp.coo_array, sp.coo_matrix, sp.lil_array]
    kinds += [sp.dok_array, sp.dok_matrix, sp.bsr_array, sp.dia_array]
    floats = [torch.float16, torch.bfloat16, torch.float32, torch.uint8, torch.int64]
    return {
        "array": X,
        "list": X.tolist(),
        "tuple": tuple(map(tuple, X)),
        "list of arrays": list(X),
        "list of tensors": list(TENSOR),
        "fortran": np.asfortranarray(X),
        "memmap": np.memmap(folder / "X", dtype="f8", mode="r", shape=X.shape),
        "object": X.astype(object),
        "masked": np.ma.array(X),
        **arrays,
        "pandas": FRAME,
        **pandas,
        "pandas sparse": FRAME.astype(pd.SparseDtype("float64", 0.0)),
        "pandas object": FRAME.astype(object),
        "pandas mixed": FRAME.astype({"a": "int32", "b": "float32", "c": "Int16"}),
        "polars": pl.DataFrame(X, schema=names),
        "polars int": pl.DataFrame(X.astype(int), schema=names),
        "pyarrow": pa.table({name: X[:, i] for i, name in enumerate(names)}),
        **{kind.__name__: kind(X) for kind in kinds},
        "csr of integers": sp.csr_array(X.astype(int)),
        **{str(dtype): TENSOR.to(dtype) for dtype in floats},
        "gradient": TENSOR.clone().requires_grad_(),
        "negated view": torch.complex(TENSOR * 0, -TENSOR).conj().imag,
        "coo tensor": TENSOR.to_sparse(),
        "csr tensor": TENSOR.to_sparse_csr(),
        "coo of bfloat16": TENSOR.bfloat16().to_sparse(),
        "TensorDataset": TensorDataset(TENSOR, torch.from_numpy(y)),
        "skorch dataset": SkorchDataset(X, y),
        "SliceDataset": SliceDataset(Items(X, y)),
        "items": Items(X, y),
        "items of integers": Items(X.astype(int), y),
    }


@pytest.mark.filterwarnings("ignore")  # of names that are or are not there
@pytest.mark.parametrize("module", [None, Own])
def test_what_is_fitted_on_one_container_predicts_any_other(module, tmp_path):
    """Each pair: the predictions of the array, or a refusal that names the container."""
    parameters = {"n_cycles": 1, "max_epochs": 1, "n_chains": 1, "random_state": 0}
    make = SnapshotEnsembleClassifier(module, **parameters)
    known = containers(tmp_path)
    refused = [name for name in known if module is None and name.startswith("items")]
    rows = {name: data for name, data in known.items() if name not in refused}
    expected = make.fit(X, y).predict_proba(X)
    for name in refused:
        for call in (copy.deepcopy(make).fit, make.predict):
            with pytest.raises(ValueError, match=r"Got X of type .*Items.* takes no .* datasets"):
                call(known[name])
    n_pairs = 0
    for name, data in rows.items():
        model = copy.deepcopy(make)
        if isinstance(data, Dataset) and not isinstance(data, SliceDataset):
            model.fit(data)
        else:
            model.fit(data, y)
        for other, later in rows.items():
            got = model.predict_proba(later)
            np.testing.assert_allclose(got, expected, atol=1e-6, err_msg=f"{name} to {other}")
            n_pairs += 1
    assert n_pairs == len(rows) ** 2


@pytest.mark.parametrize(
    ("container", "remedy"),
    [
        (DataLoader(TensorDataset(TENSOR, torch.from_numpy(y))), r"DataLoader.*loader\.dataset"),
        (pl.LazyFrame(X), r"LazyFrame.*collect\(\)"),
        (FRAME["a"], r"Series.*to_frame"),
        (FRAME.iloc[0], r"Series.*iloc\[\[i\]\]"),
        (pl.Series(X[:, 0]), r"Series.*to_frame"),
        (X[0], r"1D array.*[Rr]eshape"),
        ((row for row in X), r"generator.*list"),
        ("table.csv", r"X='table.csv'.*read_csv"),
        (pathlib.Path("table.csv"), r"table\.csv.*read_csv"),
        (None, r"X=None"),
        ({1, 2}, r"set.*order"),
        (FRAME.to_records(), r"pandas\.DataFrame"),
        (FRAME.to_dict("records"), r"list.*pandas\.DataFrame"),
        (torch.empty(40, 3, device="meta"), r"meta tensor"),
        (np.ma.array(X.astype(str), mask=X > 9), r"MaskedArray.*filled"),
        ([[1, 2], [3]] * 20, r"rows of the lengths \[1, 2\]"),
        ([X, X], r"dict of arrays by the names of forward|dim 3"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
@pytest.mark.parametrize("module", [None, Own])
def test_a_container_that_cannot_be_read_is_named_with_its_remedy(container, remedy, module):
    make = SnapshotEnsembleClassifier(module, n_cycles=1, max_epochs=1, random_state=0)
    for call in (lambda: make.fit(container, y), lambda: make.fit(X, y).predict(container)):
        with pytest.raises((ValueError, TypeError), match=re.compile(remedy, re.DOTALL)):
            call()


def test_masked_values_are_missing_ones():
    masked = np.ma.array(X, mask=X > 30)
    model = SnapshotEnsembleClassifier(n_cycles=1, max_epochs=2, random_state=0)
    expected = model.fit(np.where(X > 30, np.nan, X), y).predict_proba(X)
    np.testing.assert_array_equal(model.fit(masked, y).predict_proba(X), expected)
    with pytest.raises(ValueError, match="contains NaN"):
        SnapshotEnsembleClassifier(Own, n_cycles=1, max_epochs=1).fit(masked, y)


# ----------------------------------------------------------------------- strange values


def with_value(value, dtype=object):
    array = X.astype(dtype)
    array[0, 0] = value
    return array


STRANGE_X = {
    "complex": X.astype(complex),
    "texts": X.astype(str),
    "dates": np.full(X.shape, np.datetime64("2020-01-01")),
    "void": np.zeros(X.shape, "V4"),
    "huge integer": with_value(10**400),
    "decimal": with_value(decimal.Decimal("Infinity")),
    "None": with_value(None),
    "NA": with_value(pd.NA),
    "text": with_value("a"),
    "dict": with_value({"a": 1}),
    "date": with_value(datetime.date(2020, 1, 1)),
    "nan": with_value(np.nan, float),
    "inf": with_value(np.inf, float),
    "1e308": with_value(1e308, float),
    "1e39": with_value(1e39, float),
    "long double": with_value(np.longdouble("1e4000"), np.longdouble),
    "no columns": X[:, :0],
    "no rows": X[:0],
    "five rows": X[:5],
    "more columns": np.c_[X, X],
    "empty list": [],
    "empty dict": {},
    "dict of columns": FRAME.to_dict("list"),
    "duplicate names": pd.DataFrame(np.c_[X, X], columns=[*"abcabc"]),
    "nested": pd.DataFrame({"a": [[1]] * 40, "b": [{}] * 40, "c": [object()] * 40}),
    "lists of None": [[None] * 3] * 40,
    "mixed list": [["a", 1.0, 2.0]] * 40,
    "complex tensor": TENSOR.to(torch.complex64).conj(),
    "number": 3.0,
    "object": object(),
    "function": len,
}
LABELS = ["a", "b"] * 19 + ["a"]
STRANGE_Y = {
    "None": None,
    "name": "target",
    "number": 1,
    "set": {1},
    "dict": {"a": y},
    "short": y[:3],
    "two columns": np.c_[y, y],
    "None inside": [None, *y[1:]],
    "nan": np.r_[np.nan, y[1:]],
    "nan among texts": np.array([np.nan, *LABELS], dtype=object),
    "NA among texts": pd.Series([None, *LABELS], dtype="string"),
    "NA": pd.Series([pd.NA, *y[1:]], dtype="Int64"),
    "inf": np.r_[np.inf, y[1:]],
    "huge integer": [10**400, *y[1:]],
    "mixed": ["a", 1] * 20,
    "ragged": [[1], [1, 2]] * 20,
    "complex": y + 0j,
    "dates": np.full(40, np.datetime64("2020-01-01")),
    "objects": [object()] * 40,
    "one class": np.zeros(40),
    "lazy": pl.LazyFrame({"y": y}),
    "sparse": sp.csr_array(y[:, None]),
    "meta": torch.empty(40, device="meta"),
    "bfloat16": torch.from_numpy(y).bfloat16(),
    "tuples": [(1, 2), (2, 3)] * 20,
    "empty": [],
}
STRANGE_WEIGHT = {
    "nan": np.nan,
    "nans": np.full(40, np.nan),
    "negative": -np.ones(40),
    "short": np.ones(3),
    "two columns": np.ones((40, 2)),
    "text": "balanced",
    "None inside": [None] * 40,
    "zeros": np.zeros(40),
    "dict": {0: 1},
    "complex": np.ones(40) * 1j,
    "huge integer": [10**400] * 40,
    "lazy": pl.LazyFrame({"w": y}),
    "largest": np.full(40, 1e308),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("module", [None, Own])
@pytest.mark.parametrize("kind", [SnapshotEnsembleClassifier, SnapshotEnsembleRegressor])
def test_strange_values_are_read_or_refused_by_name(kind, module):
    """Whatever comes in: nothing but ValueError and TypeError, with the argument's name."""
    make = kind(module, n_cycles=1, max_epochs=1, n_chains=1, random_state=0)
    by_array, by_frame = copy.deepcopy(make).fit(X, y), copy.deepcopy(make).fit(FRAME, y)

    def fresh():
        return copy.deepcopy(make)

    def again():
        return copy.deepcopy(by_array)

    calls = []
    for name, value in STRANGE_X.items():
        calls += [
            (f"fit {name}", "X|n_inputs", lambda v=value: fresh().fit(v, y)),
            (f"array, {name}", "X", lambda v=value: by_array.predict(v)),
            (f"frame, {name}", "X", lambda v=value: by_frame.predict(v)),
            (f"partial_fit {name}", "X", lambda v=value: again().partial_fit(v, y)),
            (f"refit {name}", "X", lambda v=value: again().refit_members(v, y)),
            (f"X_val {name}", "X_val", lambda v=value: fresh().fit(X, y, X_val=v, y_val=y)),
        ]
    for name, value in STRANGE_Y.items():
        calls += [
            (f"y {name}", "y", lambda v=value: fresh().fit(X, v)),
            (f"y {name} of a frame", "y", lambda v=value: fresh().fit(FRAME, v)),
            (f"refit y {name}", "y", lambda v=value: again().refit_members(X, v)),
            (f"y_val {name}", "y_val", lambda v=value: fresh().fit(X, y, X_val=X, y_val=v)),
            (f"groups {name}", "groups", lambda v=value: fresh().fit(X, y, groups=v)),
        ]
        if kind is SnapshotEnsembleClassifier:
            of_classes = lambda v=value: fresh().partial_fit(X, y, classes=v)  # noqa: E731
            calls.append((f"classes {name}", "classes|y", of_classes))
    for name, w in STRANGE_WEIGHT.items():
        calls += [
            (f"w {name}", "sample_weight", lambda w=w: fresh().fit(X, y, sample_weight=w)),
            (f"refit {name}", "sample_weight", lambda w=w: again().refit_members(X, y, w)),
        ]
    for label, argument, call in calls:
        try:
            result = call()
        except (ValueError, TypeError) as error:
            said = str(error)
        except Exception as error:
            raise AssertionError(f"{label}: {type(error).__name__}: {error}") from error
        else:
            is_float = isinstance(result, np.ndarray) and result.dtype.kind == "f"
            assert not is_float or np.isfinite(result).all(), label
            continue
        assert re.search(rf"\b({argument})\b", said), f"{label}: {said}"
