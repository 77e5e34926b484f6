"""What is compared on tables: ours and its variants, and the field's, each on raw frames.

Every method is an estimator of scikit-learn's kind that takes a frame with categories and missing
values, at its defaults. Where it takes only numbers, it comes with the steps that one writes then.
"""

import functools
import hashlib
import math
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from torch.utils.data import DataLoader, TensorDataset

import skensemble
from skensemble.defaults import auto_batch_size, auto_lr, auto_max_epochs
from skensemble.networks import TableNetwork

from .estimators import ESTIMATORS
from .tables import Table, encoder


class Method(NamedTuple):
    """A way to learn a table."""

    label: str
    #: "ours", "variant" (of ours), "trees" or "network".
    kind: str
    #: Makes the estimator from the training rows, a seed, a number of threads and options.
    make: Callable[..., Any]
    #: Distributions that it may come from; one of them has to be installed.
    distributions: tuple[str, ...]
    #: Options that make it quick, to see that it runs. Methods without any are not run then.
    smallest: dict[str, Any] | None = None
    #: Seeds at most, where a fit takes long.
    splits: int | None = None

    def version(self) -> str | None:
        """Return the version of the installed distribution, or None if there is none."""
        return version_of(self.distributions)

    def settings(self, train: Table, options: dict[str, Any]) -> dict[str, Any]:
        """Return what the results depend on beside the rows and the seed."""
        settings = {"version": self.version(), **options}
        if self.kind in ("ours", "variant"):
            estimator = self.make(train, seed=None, threads=1, **options)
            settings = {"source": source_digest(), **estimator.get_params()}
        elif self.make is torchensemble:
            settings |= {**torchensemble_options(train), "network": str(TableNetwork(2, 2))}
        return settings


def version_of(distributions: Sequence[str]) -> str | None:
    """Return the version of the first of these that is installed, or None if none is."""
    for name in distributions:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


@functools.cache
def source_digest() -> str:
    """Return a digest of the package's source files: other code is another method."""
    digest = hashlib.sha256()
    for file in sorted(Path(skensemble.__file__).parent.rglob("*.py")):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:16]


# Ours


def ours(train: Table, seed: int | None, threads: int, **options: Any) -> Any:
    """Return our estimator, for the raw frame."""
    return ESTIMATORS[train.task](random_state=seed, **options)


#: No row is left out, so that no unseen rows choose weights or stop the fit.
ALL_ROWS = {"validation": None, "early_stopping": False}


def one_chain_last(train: Table, seed: int | None, threads: int, **options: Any) -> Any:
    """Return a single network, as its run leaves it."""
    return ours(train, seed, threads, n_chains=1, members=1, **ALL_ROWS, **options)


def without_chains(train: Table, seed: int | None, threads: int, **options: Any) -> Any:
    """Return a single network whose cycles are weighted by one fold of the rows."""
    return ours(train, seed, threads, n_chains=1, validation="cross", **options)


def mean_of_all(train: Table, seed: int | None, threads: int, **options: Any) -> Any:
    """Return the plain mean of the cycles of all chains."""
    return ours(train, seed, threads, members="all", **ALL_ROWS, **options)


def deep_ensemble(train: Table, seed: int | None, threads: int, **options: Any) -> Any:
    """Return eight networks of one cycle each.

    They take as many steps as ours over seven folds of eight, where ours may stop before.
    """
    n, batch_size = len(train.y), auto_batch_size(len(train.y), is_built_in=True)
    share = math.ceil(7 / 8 * n / batch_size) / math.ceil(n / batch_size)
    options = {
        "max_epochs": round(share * auto_max_epochs(n, is_built_in=True)),
        **options,
        "n_cycles": 1,
    }
    return ours(train, seed, threads, n_chains=8, members="all", **ALL_ROWS, **options)


# Trees


def hist(train: Table, seed: int, threads: int, **options: Any) -> Any:
    """Return scikit-learn's gradient boosting; its threads are those of OpenMP."""
    boosting = _by_task(train, HistGradientBoostingClassifier, HistGradientBoostingRegressor)
    return boosting(categorical_features="from_dtype", random_state=seed, **options)


def forest(train: Table, seed: int, threads: int, **options: Any) -> Any:
    """Return scikit-learn's random forest over encoded columns."""
    trees = _by_task(train, RandomForestClassifier, RandomForestRegressor)
    return make_pipeline(encoder(), trees(n_jobs=threads, random_state=seed, **options))


def catboost(train: Table, seed: int, threads: int) -> Any:
    """Return CatBoost with its own treatment of categories, which have to be strings."""
    from catboost import CatBoostClassifier, CatBoostRegressor

    trees = _by_task(train, CatBoostClassifier, CatBoostRegressor)(
        cat_features=_categorical(train.X),
        random_seed=seed,
        thread_count=threads,
        verbose=False,
        allow_writing_files=False,
    )
    return make_pipeline(FunctionTransformer(_categories_as_strings), trees)


def xgboost(train: Table, seed: int, threads: int) -> Any:
    """Return XGBoost with its own treatment of categories."""
    from xgboost import XGBClassifier, XGBRegressor

    trees = _by_task(train, XGBClassifier, XGBRegressor)
    return trees(enable_categorical=True, tree_method="hist", random_state=seed, n_jobs=threads)


def lightgbm(train: Table, seed: int, threads: int) -> Any:
    """Return LightGBM with its own treatment of categories."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    trees = _by_task(train, LGBMClassifier, LGBMRegressor)
    return trees(random_state=seed, n_jobs=threads, verbose=-1)


# Networks


def mlp(train: Table, seed: int, threads: int, **options: Any) -> Any:
    """Return scikit-learn's network over standardised columns; its threads are those of BLAS."""
    network = _by_task(train, MLPClassifier, MLPRegressor)(random_state=seed, **options)
    return _standardised(train, network)


def torchensemble(train: Table, seed: int, threads: int) -> Any:
    """Return TorchEnsemble's snapshot ensemble of our network, over standardised columns."""
    network = TorchEnsemble(train.task, seed, **torchensemble_options(train))
    return _standardised(train, network)


def torchensemble_options(train: Table) -> dict[str, Any]:
    """Return our rate and budget, since TorchEnsemble has no defaults for them.

    The epochs make whole cycles.
    """
    n_snapshots, n = 5, len(train.y)
    return {
        "n_snapshots": n_snapshots,
        "epochs": n_snapshots * round(auto_max_epochs(n, is_built_in=True) / n_snapshots),
        "batch_size": auto_batch_size(n, is_built_in=True),
        "lr": auto_lr(n, is_built_in=True, is_classifier=train.task == "classification"),
    }


class TorchEnsemble(BaseEstimator):
    """TorchEnsemble as an estimator of scikit-learn's kind."""

    def __init__(
        self, task: str, seed: int, n_snapshots: int, epochs: int, batch_size: int, lr: float
    ):
        self.task = task
        self.seed = seed
        self.n_snapshots = n_snapshots
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr

    def fit(self, X: np.ndarray, y: np.ndarray) -> "TorchEnsemble":
        """Train over the rows in memory."""
        import torchensemble

        torch.manual_seed(self.seed)
        if self.task == "classification":
            kind, n_outputs = torchensemble.SnapshotEnsembleClassifier, int(y.max()) + 1
            target = torch.as_tensor(y, dtype=torch.int64)
        else:
            kind, n_outputs = torchensemble.SnapshotEnsembleRegressor, 1
            target = torch.as_tensor(y, dtype=torch.float32).reshape(-1, 1)
        rows = TensorDataset(torch.as_tensor(X, dtype=torch.float32), target)
        self.model_ = kind(
            estimator=TableNetwork,
            n_estimators=self.n_snapshots,
            estimator_args={"n_inputs": X.shape[1], "n_outputs": n_outputs},
            cuda=False,
        )
        self.model_.set_optimizer("AdamW", lr=self.lr)
        loader = DataLoader(rows, batch_size=self.batch_size, shuffle=True)
        self.model_.fit(loader, epochs=self.epochs, log_interval=10**9, save_model=False)
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Return the mean probabilities of the snapshots."""
        with torch.no_grad():
            return self.model_.predict(torch.as_tensor(X, dtype=torch.float32)).numpy()

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return the mean outputs of the snapshots."""
        return self.predict_proba(X)[:, 0]


def realmlp(train: Table, seed: int, threads: int) -> Any:
    """Return RealMLP-TD-S of Holzmüller et al. 2024."""
    from pytabkit import RealMLP_TD_S_Classifier, RealMLP_TD_S_Regressor

    network = _by_task(train, RealMLP_TD_S_Classifier, RealMLP_TD_S_Regressor)
    return _imputed(network(device="cpu", random_state=seed, n_threads=threads))


def tabm(train: Table, seed: int, threads: int) -> Any:
    """Return TabM of Gorishniy et al. 2025, in pytabkit's defaults."""
    from pytabkit import TabM_D_Classifier, TabM_D_Regressor

    network = _by_task(train, TabM_D_Classifier, TabM_D_Regressor)
    return _imputed(network(device="cpu", random_state=seed, n_threads=threads))


def bde(train: Table, seed: int, threads: int) -> Any:
    """Return Bayesian deep ensembles over standardised columns; their threads are those of jax."""
    from bde import BdeClassifier, BdeRegressor

    return _standardised(train, _by_task(train, BdeClassifier, BdeRegressor)(seed=seed))


# Steps before them


def _by_task(train: Table, classifier: Any, regressor: Any) -> Any:
    return classifier if train.task == "classification" else regressor


def _categorical(X: pd.DataFrame) -> list[str]:
    return list(X.select_dtypes("category").columns)


def _categories_as_strings(X: pd.DataFrame) -> pd.DataFrame:
    """Turn categories into strings; missing ones become a category of their own."""
    kinds = _categorical(X)
    return X.assign(**{name: X[name].astype(object).fillna("missing") for name in kinds})


def _standardised(train: Table, network: Any) -> Any:
    """Return the network over columns, and a target, of mean 0 and variance 1."""
    pipeline = make_pipeline(encoder(), StandardScaler(), network)
    if train.task == "classification":
        return pipeline
    return TransformedTargetRegressor(pipeline, transformer=StandardScaler())


def _imputed(network: Any) -> Any:
    """Return the network after an imputer: it knows categories, but no missing numbers."""
    return make_pipeline(encoder("passthrough").set_output(transform="pandas"), network)


#: By the names that ``--methods`` takes.
METHODS = {
    "ours": Method("skensemble", "ours", ours, ("skensemble",), {"max_epochs": 4, "n_cycles": 3}),
    "last": Method(
        "ours: one chain, last cycle",
        "variant",
        one_chain_last,
        ("skensemble",),
        {"max_epochs": 4, "n_cycles": 3},
    ),
    "deep": Method(
        "ours: deep ensemble", "variant", deep_ensemble, ("skensemble",), {"max_epochs": 4}
    ),
    "mean": Method("ours: mean of all", "variant", mean_of_all, ("skensemble",), {"max_epochs": 4}),
    "single": Method(
        "ours: without chains", "variant", without_chains, ("skensemble",), {"max_epochs": 4}
    ),
    "catboost": Method("CatBoost", "trees", catboost, ("catboost",)),
    "hist": Method("HistGradientBoosting", "trees", hist, ("scikit-learn",), {"max_iter": 5}),
    "xgboost": Method("XGBoost", "trees", xgboost, ("xgboost", "xgboost-cpu")),
    "lightgbm": Method("LightGBM", "trees", lightgbm, ("lightgbm",)),
    "forest": Method("RandomForest", "trees", forest, ("scikit-learn",), {"n_estimators": 5}),
    "mlp": Method("scikit-learn's MLP", "network", mlp, ("scikit-learn",), {"max_iter": 5}),
    "realmlp": Method("RealMLP-TD-S", "network", realmlp, ("pytabkit",), splits=3),
    "tabm": Method("TabM", "network", tabm, ("pytabkit",), splits=1),
    "bde": Method("bde", "network", bde, ("sklearn-contrib-bde",), splits=1),
    "torchensemble": Method("TorchEnsemble", "network", torchensemble, ("torchensemble",)),
}
