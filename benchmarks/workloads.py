"""The three workloads, and the ways to train on them: ours, by hand, and the field's peers."""

import contextlib
import io
import math
import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.datasets import make_classification
from sklearn.neural_network import MLPClassifier
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from skensemble import SnapshotEnsembleClassifier


class Workload(NamedTuple):
    """A table, a network and a batch size; the loop by hand is fastest with so many threads."""

    n_samples: int
    n_features: int
    hidden: tuple[int, ...]
    batch_size: int
    threads: int
    epochs: int

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Return columns of numbers and seven classes."""
        X, y = make_classification(
            self.n_samples,
            self.n_features,
            n_informative=min(15, self.n_features),
            n_classes=7,
            random_state=0,
        )
        return X.astype(np.float32), y


WORKLOADS = {
    "W1": Workload(20_000, 54, (128, 128), 128, 1, 16),
    "W2": Workload(20_000, 54, (256, 256), 1024, 2, 16),
    "W3": Workload(1_000, 20, (64, 64), 32, 1, 100),
}

SMALLEST = {
    "W1": Workload(600, 54, (128, 128), 128, 1, 2),
    "W2": Workload(600, 54, (256, 256), 256, 2, 2),
    "W3": Workload(200, 20, (64, 64), 32, 1, 2),
}


class Perceptron(nn.Sequential):
    """The network that all ways train."""

    def __init__(self, n_inputs: int, n_outputs: int, hidden: tuple[int, ...]):
        layers: list[nn.Module] = []
        for n_units in hidden:
            layers += [nn.Linear(n_inputs, n_units), nn.ReLU()]
            n_inputs = n_units
        super().__init__(*layers, nn.Linear(n_inputs, n_outputs))


SGD = {"momentum": 0.9, "nesterov": True}


class Epochs(Callback):
    """A callback that looks at epochs alone."""

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        net.history.record("seen", True)


def ours(work: Workload, X: Any, y: Any, n_cycles: int = 5, callbacks: Any = None) -> Any:
    """Fit our estimator, with its own defaults for callbacks."""
    return SnapshotEnsembleClassifier(
        Perceptron,
        module__hidden=work.hidden,
        n_cycles=n_cycles,
        max_epochs=work.epochs,
        batch_size=work.batch_size,
        lr=0.05,
        optimizer=torch.optim.SGD,
        callbacks=callbacks,
        random_state=0,
        **{f"optimizer__{name}": value for name, value in SGD.items()},
    ).fit(X, y)


def loop(work: Workload, X: Any, y: Any) -> nn.Module:
    """Train as a user of PyTorch does by hand over tensors in memory."""
    threads = torch.get_num_threads()
    torch.set_num_threads(work.threads)
    torch.manual_seed(0)
    rows, targets = torch.from_numpy(X), torch.from_numpy(y)
    module = Perceptron(X.shape[1], 7, work.hidden)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, **SGD)
    criterion = nn.CrossEntropyLoss()
    steps = math.ceil(len(X) / work.batch_size)
    total, step = work.epochs * steps, 0
    for _ in range(work.epochs):
        order = torch.randperm(len(X))
        for i in range(steps):
            index = order[i * work.batch_size : (i + 1) * work.batch_size]
            for group in optimizer.param_groups:
                group["lr"] = 0.025 * (1 + math.cos(math.pi * step / total))
            optimizer.zero_grad()
            loss = criterion(module(rows[index]), targets[index])
            loss.backward()
            optimizer.step()
            step += 1
    torch.set_num_threads(threads)
    return module


def skorch(work: Workload, X: Any, y: Any) -> Any:
    """Fit a skorch net as shipped, without a validation split or output."""
    return NeuralNetClassifier(
        Perceptron,
        module__n_inputs=X.shape[1],
        module__n_outputs=7,
        module__hidden=work.hidden,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        lr=0.05,
        max_epochs=work.epochs,
        batch_size=work.batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
        **{f"optimizer__{name}": value for name, value in SGD.items()},
    ).fit(X, y)


def mlp(work: Workload, X: Any, y: Any) -> Any:
    """Fit scikit-learn's network with stochastic gradient descent."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return MLPClassifier(
            work.hidden,
            solver="sgd",
            learning_rate_init=0.05,
            batch_size=work.batch_size,
            max_iter=work.epochs,
            n_iter_no_change=work.epochs + 1,
            random_state=0,
        ).fit(X, y)


def torchensemble(work: Workload, X: Any, y: Any) -> Any:
    """Fit TorchEnsemble's snapshot ensemble with as many epochs."""
    from torchensemble import SnapshotEnsembleClassifier as Theirs

    loader = DataLoader(
        TensorDataset(torch.from_numpy(X), torch.from_numpy(y)),
        batch_size=work.batch_size,
        shuffle=True,
    )
    arguments = {"n_inputs": X.shape[1], "n_outputs": 7, "hidden": work.hidden}
    with contextlib.redirect_stdout(io.StringIO()):
        model = Theirs(estimator=Perceptron, n_estimators=2, estimator_args=arguments, cuda=False)
        model.set_optimizer("SGD", lr=0.05, **SGD)
        model.fit(loader, epochs=work.epochs, log_interval=10**9, save_model=False)
    return model
