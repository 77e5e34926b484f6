"""Data and small networks that many tests share."""

import os

# scikit-learn skips some of its own checks without it, and scipy reads it when it is imported.
os.environ["SCIPY_ARRAY_API"] = "1"

import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from torch import nn


@pytest.fixture(scope="session")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="session")
def digits():
    X, y = load_digits(return_X_y=True)
    return X[:600], y[:600]


@pytest.fixture(scope="session")
def cancer():
    return load_breast_cancer(return_X_y=True)


@pytest.fixture(scope="session")
def diabetes():
    return load_diabetes(return_X_y=True)


@pytest.fixture(autouse=True)
def _seeded():
    """What a test draws itself is the same in every run."""
    torch.manual_seed(0)


class Mlp(nn.Module):
    """What a user writes: dropout between two linear layers, raw scores."""

    def __init__(self, n_inputs, n_outputs, n_hidden=16, dropout=0.2):
        super().__init__()
        self.hidden = nn.Linear(n_inputs, n_hidden)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(n_hidden, n_outputs)

    def forward(self, X):
        return self.output(self.dropout(torch.relu(self.hidden(X))))


class Normalised(nn.Module):
    """Batch normalisation: a network with buffers."""

    def __init__(self, n_inputs, n_outputs):
        super().__init__()
        self.hidden = nn.Linear(n_inputs, 16)
        self.norm = nn.BatchNorm1d(16)
        self.output = nn.Linear(16, n_outputs)

    def forward(self, X):
        return self.output(torch.relu(self.norm(self.hidden(X))))


class Flat(nn.Module):
    """A regression module that returns shape (n,)."""

    def __init__(self, n_inputs):
        super().__init__()
        self.layer = nn.Linear(n_inputs, 1)

    def forward(self, X):
        return self.layer(X)[:, 0]
