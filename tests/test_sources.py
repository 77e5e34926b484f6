"""Every kind of input gives what the plain array gives, to the bit."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from conftest import Items, Mlp, probabilities
from sklearn.datasets import load_digits
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier
from skorch.dataset import Dataset as SkorchDataset
from skorch.helper import SliceDataset, SliceDict
from torch import nn
from torch.utils.data import IterableDataset, Subset, TensorDataset

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor


@pytest.mark.parametrize("module", [None, Mlp, "dict"])
def test_what_all_others_equal_reaches_the_score_of_an_mlp(digits, module):
    """The tests below compare with the plain array, to the bit; here is that array's score."""
    X, y = digits
    theirs = MLPClassifier((64,), max_iter=500, random_state=0).fit(X[:400], y[:400])
    parameters = {"max_epochs": 100, "random_state": 0}
    if module is Mlp:
        parameters |= {"module__n_hidden": 64, "lr": 0.002}
    model = SnapshotEnsembleClassifier(OneInput if module == "dict" else module, **parameters)
    ours = model.fit(X[:400], y[:400]).score(X[400:], y[400:])
    assert ours >= theirs.score(X[400:], y[400:]) - 0.01


# --------------------------------------------------------------------------- array-likes


@pytest.mark.parametrize("module", [None, Mlp])
@pytest.mark.parametrize(
    "convert",
    [
        lambda X: X.tolist(),
        lambda X: pd.DataFrame(X).add_prefix("c"),
        lambda X: pd.DataFrame(X).add_prefix("c").convert_dtypes(),
        lambda X: pd.DataFrame(X).add_prefix("c").astype({"c1": "Float64", "c2": "Int64"}),
        lambda X: pl.DataFrame(X, schema=[f"c{i}" for i in range(X.shape[1])]),
        torch.from_numpy,
        lambda X: torch.from_numpy(X).float().requires_grad_(),
        lambda X: X.astype(np.float16),
        lambda X: X.astype(">f8"),
        lambda X: X.astype(np.float32),
        lambda X: np.asfortranarray(X),
        lambda X: np.repeat(X, 2, axis=1)[:, ::2],
        lambda X: X[::-1].copy()[::-1],
    ],
    ids=[
        "list",
        "pandas",
        "nullable",
        "some-nullable",
        "polars",
        "tensor",
        "tensor-grad",
        "float16",
        "big-endian",
        "float32",
        "fortran",
        "strided",
        "reversed",
    ],
)
def test_array_likes_are_arrays(digits, module, convert):
    X, y = digits  # whole numbers up to 16, exact in every type
    np.testing.assert_array_equal(probabilities(convert(X), y, module), probabilities(X, y, module))


def test_a_read_only_memory_map_is_read(digits, tmp_path):
    X, y = digits
    np.save(tmp_path / "X.npy", X.astype(np.float32))
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    np.testing.assert_array_equal(probabilities(mapped, y, Mlp), probabilities(X, y, Mlp))


def test_columns_of_strings_are_refused_by_name(digits):
    X, y = digits
    frame = pd.DataFrame(X).add_prefix("c").assign(colour="red")
    with pytest.raises(ValueError, match="colour"):
        probabilities(frame, y, Mlp)
    with pytest.raises(ValueError, match="colour"):
        SnapshotEnsembleClassifier(categorical_features=None).fit(frame, y)


# --------------------------------------------------------------------------- sparse


@pytest.mark.parametrize("make", [sp.csr_array, sp.csc_matrix, sp.coo_array, sp.dok_array])
@pytest.mark.parametrize("module", [None, Mlp])
def test_sparse_matrices_are_arrays(digits, make, module):
    X, y = digits
    np.testing.assert_array_equal(probabilities(make(X), y, module), probabilities(X, y, module))


def test_sparse_text_is_never_densified_whole(monkeypatch):
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

    texts, y = [], []
    for label, load in enumerate((load_breast_cancer, load_diabetes, load_wine)):
        words = load().DESCR.split()
        texts += [" ".join(words[i : i + 12]) for i in range(0, len(words) - 12, 6)]
        y += [label] * (len(texts) - len(y))
    X = TfidfVectorizer().fit_transform(texts)
    limit = X.shape[0] * X.shape[1] // 4
    monkeypatch.setattr("skensemble._data.encoder._AT_ONCE", limit)
    monkeypatch.setattr("skensemble._nets.inference.STACKED_CHUNK", 32)
    monkeypatch.setattr("skensemble._data.batches._BLOCK_BYTES", 4 * limit)
    dense = type(X).toarray
    sizes = []

    def watched(self, *args, **kwargs):
        sizes.append(self.shape[0] * self.shape[1])
        return dense(self, *args, **kwargs)

    for kind in (type(X), type(X.tocsc())):
        monkeypatch.setattr(kind, "toarray", watched)
    scores = cross_val_score(
        SnapshotEnsembleClassifier(max_epochs=10, random_state=0, n_chains=1), X, np.array(y), cv=3
    )
    assert max(sizes) <= limit
    monkeypatch.undo()
    theirs = cross_val_score(MLPClassifier(random_state=0, max_iter=500), X, np.array(y), cv=3)
    assert scores.mean() >= theirs.mean() - 0.02


# --------------------------------------------------------------------------- dicts


class TwoInputs(nn.Module):
    def __init__(self, n_outputs=10):
        super().__init__()
        self.top = nn.Linear(32, 16)
        self.bottom = nn.Linear(32, 16)
        self.output = nn.Linear(32, n_outputs)

    def forward(self, top, bottom):
        return self.output(torch.relu(torch.cat([self.top(top), self.bottom(bottom)], dim=1)))


class OneInput(TwoInputs):
    def forward(self, X):
        return super().forward(X[:, :32], X[:, 32:])


@pytest.mark.parametrize("make", [dict, SliceDict])
def test_dicts_of_arrays_reach_modules_by_name(digits, make):
    X, y = digits
    halves = make(top=X[:, :32], bottom=pd.DataFrame(X[:, 32:]))
    weight = np.arange(len(y))
    expected = SnapshotEnsembleClassifier(OneInput, max_epochs=3, random_state=0)
    model = SnapshotEnsembleClassifier(TwoInputs, max_epochs=3, random_state=0)
    np.testing.assert_array_equal(
        model.fit(halves, y, sample_weight=weight).predict_proba(halves),
        expected.fit(X, y, sample_weight=weight).predict_proba(X),
    )
    with pytest.raises(ValueError, match=r"rows of shape .*'top': \(31,\)"):
        model.predict({"top": X[:, 1:32], "bottom": X[:, 32:]})
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit({"top": X[:10, :32], "bottom": X[:, 32:]}, y)
    with pytest.raises(ValueError, match="Input top contains NaN"):
        model.fit({"top": X[:, :32] * np.nan, "bottom": X[:, 32:]}, y)
    with pytest.raises(ValueError, match="the built-in network takes no dicts"):
        SnapshotEnsembleClassifier().fit(halves, y)


def test_a_grid_over_a_dict(digits):
    X, y = digits
    halves = SliceDict(top=X[:, :32], bottom=X[:, 32:])
    model = SnapshotEnsembleClassifier(TwoInputs, max_epochs=5, random_state=0)
    search = GridSearchCV(model, {"n_cycles": [1, 3]}, cv=2, error_score="raise").fit(halves, y)
    one_input = GridSearchCV(
        model.set_params(module=OneInput), {"n_cycles": [1, 3]}, cv=2, error_score="raise"
    ).fit(X, y)
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], one_input.cv_results_["mean_test_score"]
    )


# --------------------------------------------------------------------------- datasets


class WithTargets(Items):
    """As torchvision's datasets: the targets apart from the items."""

    @property
    def targets(self):
        return list(self.labels)


@pytest.mark.parametrize(
    "make",
    [
        SkorchDataset,
        lambda X, y: TensorDataset(torch.from_numpy(X), torch.from_numpy(y)),
        Items,
        WithTargets,
        lambda X, y: Subset(Items(np.repeat(X, 2, axis=0), y.repeat(2)), range(0, 2 * len(X), 2)),
        lambda X, y: Subset(
            WithTargets(np.repeat(X, 2, axis=0), y.repeat(2)), range(0, 2 * len(X), 2)
        ),
    ],
    ids=["skorch", "tensors", "items", "targets", "subset", "subset-targets"],
)
@pytest.mark.parametrize("weighted", [False, True])
def test_datasets_are_arrays(digits, make, weighted):
    X, y = digits
    X, y = X[:200], y[:200]
    weight = np.arange(len(y)) if weighted else None
    parameters = {"max_epochs": 3, "n_cycles": 2, "random_state": 0}
    expected = SnapshotEnsembleClassifier(Mlp, **parameters).fit(X, y, sample_weight=weight)
    model = SnapshotEnsembleClassifier(Mlp, **parameters)
    dataset = make(X, y)
    model.fit(dataset, sample_weight=weight)
    np.testing.assert_array_equal(model.classes_, expected.classes_)
    np.testing.assert_allclose(model.predict_proba(dataset), expected.predict_proba(X), atol=1e-6)
    np.testing.assert_array_equal(model.predict_proba(X), expected.predict_proba(X))
    assert model.partial_fit(dataset, None).n_cycles_ == 3


def test_a_dataset_of_dicts_and_labels_of_strings(digits):
    X, y = digits
    X, y = X[:200], y[:200]
    names = np.array(list("abcdefghij"))[y]
    items = [({"top": x[:32], "bottom": x[32:]}, label) for x, label in zip(X, names, strict=True)]
    dataset = Items([item[0] for item in items], names)
    model = SnapshotEnsembleClassifier(TwoInputs, max_epochs=3, n_cycles=2, random_state=0)
    one = SnapshotEnsembleClassifier(OneInput, max_epochs=3, n_cycles=2, random_state=0)
    np.testing.assert_array_equal(model.fit(dataset).predict(dataset), one.fit(X, names).predict(X))


def test_a_dataset_for_regression_is_scaled_as_an_array(diabetes):
    X, y = diabetes
    model = SnapshotEnsembleRegressor(Mlp, max_epochs=3, random_state=0)
    expected = model.fit(X, y).predict(X)
    np.testing.assert_allclose(model.fit(Items(X, y)).predict(Items(X, y)), expected, rtol=1e-6)


def test_a_loader_takes_options_by_prefix(digits):
    X, y = digits
    X, y = X[:200], y[:200]
    parameters = {"max_epochs": 2, "n_cycles": 2, "random_state": 0}
    plain = SnapshotEnsembleClassifier(Mlp, **parameters).fit(Items(X, y))
    worked = SnapshotEnsembleClassifier(Mlp, iterator_train__num_workers=1, **parameters)
    np.testing.assert_array_equal(worked.fit(Items(X, y)).predict_proba(X), plain.predict_proba(X))


def test_slices_of_a_dataset_go_through_a_search(digits):
    X, y = digits
    X, y = X[:200], y[:200]
    dataset = Items(X, y)
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=3, n_cycles=2, random_state=0)
    sliced = cross_val_score(
        model, SliceDataset(dataset), np.asarray(SliceDataset(dataset, idx=1)), cv=2
    )
    np.testing.assert_array_equal(sliced, cross_val_score(model, X, y, cv=2))


def test_datasets_that_cannot_be_used_say_why(digits):
    X, y = digits

    class Stream(IterableDataset):
        def __iter__(self):
            return iter(zip(X, y, strict=True))

    model = SnapshotEnsembleClassifier(Mlp, max_epochs=1)
    with pytest.raises(ValueError, match="Got X=Stream, but expected a dataset with a length"):
        model.fit(Stream())
    with pytest.raises(ValueError, match="expected its items to be"):
        model.fit(Items([1.0, 2.0], None).data and TensorDataset(torch.zeros(3, 64)))
    with pytest.raises(ValueError, match="Got y with 1 class"):
        model.fit(Items(X, np.zeros(len(X))))
    with pytest.raises(ValueError, match="takes no dicts and no datasets"):
        SnapshotEnsembleClassifier().fit(Items(X, y))


# --------------------------------------------------------------------------- images


def test_images_reach_a_convolution(digits):
    X, y = load_digits(return_X_y=True)
    images = X.reshape(-1, 1, 8, 8) / 16

    def convolution():
        return nn.Sequential(
            nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(288, 10)
        )

    model = SnapshotEnsembleClassifier(convolution, max_epochs=30, random_state=0)
    model.fit(images[:1200], y[:1200])
    theirs = MLPClassifier(random_state=0, max_iter=300).fit(X[:1200] / 16, y[:1200])
    assert model.score(images[1200:], y[1200:]) >= theirs.score(X[1200:] / 16, y[1200:])
    with pytest.raises(ValueError, match=r"rows of shape \(1, 9, 8\), but expected \(1, 8, 8\)"):
        model.predict(np.zeros((2, 1, 9, 8)))
