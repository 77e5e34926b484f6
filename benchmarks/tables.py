"""Real tables: read, split, and turned into numbers as one does by hand."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder

#: What scikit-learn ships, the quickest first.
SHIPPED: dict[str, tuple[str, Callable[..., Any]]] = {
    "breast_cancer": ("classification", load_breast_cancer),
    "wine": ("classification", load_wine),
    "digits": ("classification", load_digits),
    "diabetes": ("regression", load_diabetes),
}


class Table(NamedTuple):
    """A frame whose categorical columns are of pandas' dtype for them, and its target."""

    name: str
    task: str
    X: pd.DataFrame
    y: np.ndarray


def tables(folder: Path | None = None) -> Iterator[Table]:
    """Yield the tables that a folder's ``index.json`` lists, or those that scikit-learn ships."""
    if folder is None:
        for name, (task, load) in SHIPPED.items():
            X, y = load(return_X_y=True, as_frame=True)
            yield Table(name, task, X, y.to_numpy())
        return
    for name, about in json.loads((folder / "index.json").read_text()).items():
        kinds = dict.fromkeys(about["categorical"], "category")
        X = pd.read_csv(folder / about["file"], dtype=kinds)
        y = X.pop(about["target"]).to_numpy()
        yield Table(name, about["task"], X, y)


def split(
    table: Table, seed: int, n_train: int = 3_000, n_test: int = 10_000
) -> tuple[Table, Table]:
    """Draw rows to train on, three of four at most, and others to test on.

    Classes keep their shares. The same seed gives the same rows.
    """
    n_train = min(n_train, 3 * len(table.y) // 4)
    train, test = train_test_split(
        np.arange(len(table.y)),
        train_size=n_train,
        test_size=min(n_test, len(table.y) - n_train),
        stratify=table.y if table.task == "classification" else None,
        random_state=seed,
    )
    return (
        table._replace(X=table.X.iloc[train], y=table.y[train]),
        table._replace(X=table.X.iloc[test], y=table.y[test]),
    )


def encode(train: Table, test: Table) -> tuple[np.ndarray, np.ndarray]:
    """Return both parts as float32 numbers; only the training part decides how."""
    columns = encoder()
    return (
        columns.fit_transform(train.X).astype(np.float32),
        columns.transform(test.X).astype(np.float32),
    )


def one_hot() -> OneHotEncoder:
    """Return an encoder that gives each category a column.

    Categories of fewer than ten rows share a column, and unknown ones have none.
    """
    return OneHotEncoder(
        min_frequency=10, handle_unknown="ignore", sparse_output=False, dtype=np.float32
    )


def encoder(categories: Any = None) -> ColumnTransformer:
    """Return a transformer that turns a frame into numbers, with `categories` for the categories.

    Missing numbers become the median, and a further column says which were missing.
    """
    categories = one_hot() if categories is None else categories
    return make_column_transformer(
        (categories, make_column_selector(dtype_include="category")),
        (
            SimpleImputer(strategy="median", add_indicator=True),
            make_column_selector(dtype_exclude="category"),
        ),
    )
