import json
import pickle
import subprocess
import sys

import numpy as np
import onnx
import pandas as pd
import polars as pl
import pytest
from conftest import Items, Mlp, serve
from onnxruntime import InferenceSession
from scipy.sparse import csr_matrix
from sklearn.exceptions import NotFittedError
from skorch import NeuralNetClassifier

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble import export as export_module
from skensemble._export.graph import OPSET

QUICK = {"max_epochs": 4, "n_cycles": 2, "random_state": 0}


def raw_frame(n=300):
    """Columns of every kind; a tenth of the values misses."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "double": rng.normal(size=n),
            "single": rng.normal(size=n).astype(np.float32),
            "whole": rng.integers(-5, 5, n),
            "flag": rng.random(n) < 0.5,
            "text": rng.choice(["red", "green", "blue", "rare grün"], n, p=[0.4, 0.3, 0.29, 0.01]),
            "few digits": rng.choice(["1", "2", "30"], n),
            "declared": pd.Categorical(rng.choice(["x", "y"], n)),
            "listed": rng.choice([1.5, 2.0, 3.0], n),
            "nullable": pd.array(rng.integers(0, 9, n), dtype="Int64"),
            "nullable flag": pd.array(rng.random(n) < 0.5, dtype="boolean"),
            "day": pd.Timestamp("2021-01-01") + pd.to_timedelta(rng.integers(0, 900, n), "D"),
            "moment": pd.Timestamp("2021-01-01", tz="UTC")
            + pd.to_timedelta(rng.integers(0, 10**7, n), "s"),
            "took": pd.to_timedelta(rng.integers(0, 999, n), "s"),
        }
    )
    for name in X.columns.drop(["whole", "flag"]):
        X.loc[rng.random(n) < 0.1, name] = None
    return X


def later_frame():
    """Rows that fit has not seen: unseen categories, later dates, far values, all missing."""
    X = raw_frame(60)
    X["declared"] = X["declared"].astype(object)
    X.loc[:9, ["text", "few digits", "declared"]] = ["mauve", "31", "z"]
    X.loc[10:19, "few digits"] = "30.0"
    X["day"] += pd.Timedelta(days=2_000)
    X["double"] *= 1e6
    X.iloc[50:, :2] = np.nan
    return X


@pytest.fixture(scope="module")
def classifier():
    X = raw_frame()
    y = np.where(X["double"].fillna(0) + (X["text"] == "red") > 0.3, "yes", "no")
    listed = ["text", "few digits", "declared", "listed"]
    return X, SnapshotEnsembleClassifier(categorical_features=listed, **QUICK).fit(X, y)


def test_a_raw_frame_is_predicted_as_here(classifier, tmp_path):
    X, model = classifier
    for rows in (X, later_frame(), X[:1]):
        found = serve(model, rows, tmp_path / "raw.onnx")
        assert np.abs(found["probabilities"] - model.predict_proba(rows)).max() < 1e-5
        assert found["label"].tolist() == model.predict(rows).tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["raw.onnx"]


def test_every_column_counts(classifier, tmp_path):
    """A column that the file left out would show as no difference at all."""
    X, model = classifier
    model.to_onnx(tmp_path / "raw.onnx")
    whole = serve(model, X, tmp_path / "raw.onnx")["probabilities"]
    for name in X.columns:
        other = X.copy()
        other[name] = X[name].to_numpy(copy=True)[::-1]
        other[name] = other[name].astype(X[name].dtype)
        assert not np.array_equal(
            serve(model, other, tmp_path / "raw.onnx")["probabilities"], whole
        ), name


def test_a_polars_frame_and_strings_that_are_numbers(tmp_path):
    rng = np.random.default_rng(0)
    X = pl.DataFrame(
        {
            "price": [f"${value:,}" for value in rng.integers(1, 10**6, 200).tolist()],
            "when": [f"20{year}-03-04" for year in rng.integers(10, 25, 200).tolist()],
            "flag": rng.random(200) < 0.5,
        }
    )
    model = SnapshotEnsembleRegressor(**QUICK)
    with pytest.warns(UserWarning, match="strings that are numbers or dates"):
        model.fit(X, rng.normal(size=200) + X["flag"].to_numpy())
    model.to_onnx(tmp_path / "polars.onnx")
    session = InferenceSession(tmp_path / "polars.onnx")
    price = [float(text[1:].replace(",", "")) for text in X["price"]]
    when = [np.datetime64(text, "s").astype(int) for text in X["when"]]
    columns = {"price": price, "when": when, "flag": X["flag"].to_list()}
    feeds = {name: np.array(values, float)[:, None] for name, values in columns.items()}
    assert np.allclose(session.run(None, feeds)[0][:, 0], model.predict(X), atol=1e-5)
    said = json.loads(session.get_modelmeta().custom_metadata_map["columns"])
    assert [column.get("read_from") for column in said] == [
        "strings that are numbers in '$'", "strings that are dates", None
    ]  # fmt: skip


@pytest.mark.parametrize("make", [np.asarray, csr_matrix, Items], ids=["array", "sparse", "items"])
def test_a_table_without_names_is_one_input(cancer, make, tmp_path):
    X, y = cancer[0][:100], cancer[1][:100]
    if make is Items:
        X = X.astype(np.float32)
        model = SnapshotEnsembleClassifier(Mlp, **QUICK, module__n_inputs=30)
        model.fit(Items(X, y), None)
    else:
        model = SnapshotEnsembleClassifier(**QUICK).fit(make(X), y)
    found = serve(model, X, tmp_path / "table.onnx")
    assert np.abs(found["probabilities"] - model.predict_proba(X)).max() < 1e-5
    assert found["label"].dtype == np.int64


def test_categories_in_an_array_and_a_fit_of_a_few_rows(tmp_path):
    """Up to 32 rows training is in float64."""
    rng = np.random.default_rng(0)
    X = np.c_[rng.integers(0, 3, 30), rng.normal(size=30)]
    X[:3, 0] = np.nan
    model = SnapshotEnsembleRegressor(categorical_features=[0], **QUICK).fit(X, X[:, 1])
    X = np.concatenate([X, [[7, 1.0]]])
    assert np.allclose(
        serve(model, X, tmp_path / "few.onnx")["variable"][:, 0], model.predict(X), atol=1e-12
    )


def test_several_outputs_in_their_units(diabetes, tmp_path):
    X, y = diabetes
    y = np.c_[y, 1e6 + 1e3 * X[:, 0], np.full(len(y), 3.0)]
    model = SnapshotEnsembleRegressor(**QUICK).fit(X, y)
    found = serve(model, X, tmp_path / "several.onnx")["variable"]
    assert (np.abs(found - model.predict(X)) < 1e-5 * np.maximum(y.std(axis=0), 1)).all()
    assert np.allclose(found[:, 2], 3, rtol=1e-15)


def test_hard_votes_have_labels_alone(iris, tmp_path):
    model = SnapshotEnsembleClassifier(voting="hard", **QUICK).fit(*iris)
    found = serve(model, iris[0], tmp_path / "hard.onnx")
    assert list(found) == ["label"]
    assert found["label"].tolist() == model.predict(iris[0]).tolist()


def test_members_without_weight_are_left_out(iris, tmp_path):
    parameters = {"n_chains": 2, "max_epochs": 4, "n_cycles": 4, "random_state": 0}
    sizes = {}
    for members in ("all", 1):
        model = SnapshotEnsembleClassifier(members=members, validation=None, **parameters)
        model.fit(*iris)
        path = tmp_path / f"{members}.onnx"
        found = serve(model, iris[0], path)["probabilities"]
        assert np.abs(found - model.predict_proba(iris[0])).max() < 1e-5
        sizes[members] = path.stat().st_size
        metadata = InferenceSession(path).get_modelmeta().custom_metadata_map
        assert metadata["members"] == str(np.count_nonzero(model.member_weights_))
    assert sizes[1] < 0.3 * sizes["all"]


def test_an_unpickled_ensemble_writes_the_same_file(classifier, tmp_path):
    _, model = classifier
    model.to_onnx(tmp_path / "one.onnx")
    pickle.loads(pickle.dumps(model)).to_onnx(tmp_path / "other.onnx")
    one, other = ((tmp_path / name).read_bytes() for name in ("one.onnx", "other.onnx"))
    assert one == other


def test_the_file_says_what_it_is(classifier, tmp_path):
    X, model = classifier
    path = tmp_path / "raw.onnx"
    model.to_onnx(path)
    made = onnx.load(path)
    assert {entry.domain: entry.version for entry in made.opset_import} == {
        "": OPSET, "ai.onnx.ml": 4
    }  # fmt: skip
    metadata = {entry.key: entry.value for entry in made.metadata_props}
    assert metadata["estimator"] == "SnapshotEnsembleClassifier"
    assert metadata["skensemble"] == export_module.version()
    assert json.loads(metadata["classes"]) == ["no", "yes"]
    columns = json.loads(metadata["columns"])
    assert [column["name"] for column in columns] == list(X.columns)
    assert columns[4]["kind"] == "categories"
    assert [given.name for given in made.graph.input] == list(X.columns)


def test_the_file_is_served_without_torch_and_without_this_package(iris, tmp_path):
    X, y = iris
    model = SnapshotEnsembleClassifier(**QUICK).fit(X, y)
    model.to_onnx(tmp_path / "iris.onnx")
    script = (
        "import sys, numpy as np, onnxruntime\n"
        "row = np.array([[5.1, 3.5, 1.4, 0.2]])\n"
        f"session = onnxruntime.InferenceSession({str(tmp_path / 'iris.onnx')!r})\n"
        "print(session.run(None, {'X': row})[1][0].tolist())\n"
        "assert not {'torch', 'sklearn', 'skensemble'} & set(sys.modules)\n"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert np.allclose(json.loads(out.stdout), model.predict_proba(X[:1])[0], atol=1e-5)


class Own(NeuralNetClassifier):
    def infer(self, x, **fit_params):
        return super().infer(x, **fit_params) * 2


@pytest.mark.parametrize(
    ("make", "kind", "text"),
    [
        (
            lambda X, y: SnapshotEnsembleClassifier(Mlp, net=Own, **QUICK).fit(X, y),
            NotImplementedError,
            "Got net=Own, which predicts by an infer",
        ),
        (
            lambda X, y: SnapshotEnsembleClassifier(**QUICK).fit(
                pd.DataFrame({"label": y * 1.0, "": y * 2.0, "probabilities": y * 3.0}), y
            ),
            ValueError,
            r"Got X with columns called \['label', '', 'probabilities'\]",
        ),
        (
            lambda X, y: SnapshotEnsembleRegressor(**QUICK).fit(
                pd.DataFrame({"t": pd.date_range("2020", periods=len(y), tz="Asia/Tokyo")}), y
            ),
            NotImplementedError,
            "Got dates of the time zone 'Asia/Tokyo' in column 't'",
        ),
    ],
    ids=["net", "names", "zone"],
)
def test_what_onnx_cannot_say_is_refused_before_a_file_is_written(make, kind, text, iris, tmp_path):
    model = make(*iris)
    path = tmp_path / "model.onnx"
    path.write_bytes(b"an older file")
    with pytest.raises(kind, match="^" + text):
        model.to_onnx(path)
    assert path.read_bytes() == b"an older file"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_too_large_for_protobuf_is_refused(iris, tmp_path, monkeypatch):
    model = SnapshotEnsembleClassifier(**QUICK).fit(*iris)
    monkeypatch.setattr(export_module, "_LARGEST", 1000)
    with pytest.raises(ValueError, match=r"^Got \d+ members of 0\.\d GB, but expected less than 2"):
        model.to_onnx(tmp_path / "large.onnx")


@pytest.mark.parametrize(("module", "package"), [(None, "onnx"), (Mlp, "onnxscript")])
def test_a_missing_package_is_named(module, package, iris, tmp_path, monkeypatch):
    model = SnapshotEnsembleClassifier(module, **QUICK).fit(*iris)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ImportError,
        match=rf"^Got to_onnx without the package {package} .*pip install skensemble\[onnx\]",
    ):
        model.to_onnx(tmp_path / "model.onnx")


def test_before_fit_there_is_nothing_to_write(tmp_path):
    with pytest.raises(NotFittedError):
        SnapshotEnsembleClassifier().to_onnx(tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_an_error_of_the_system(iris, tmp_path):
    model = SnapshotEnsembleClassifier(**QUICK).fit(*iris)
    with pytest.raises(FileNotFoundError):
        model.to_onnx(tmp_path / "nowhere" / "model.onnx")


def test_paths_are_those_of_save(iris, tmp_path):
    model = SnapshotEnsembleClassifier(max_epochs=2, n_cycles=1).fit(*iris)
    for path, kind in ((3, TypeError), ("", ValueError), (tmp_path, IsADirectoryError)):
        with pytest.raises(kind, match="Got"):
            model.to_onnx(path)
    model.to_onnx(bytes(tmp_path / "iris.onnx"))
    with pytest.raises(FileNotFoundError, match=r"there/iris.onnx"):
        model.to_onnx(tmp_path / "there" / "iris.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["iris.onnx"]
