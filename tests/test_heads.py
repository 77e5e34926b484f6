"""What is made of members' probabilities: of classes that exclude each other, and of labels."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from skensemble._data.label_targets import LabelTargets
from skensemble._data.targets import ClassTargets

P = torch.tensor(np.random.default_rng(0).dirichlet(np.ones(3), size=(2, 5)))


def test_entropy_is_that_of_each_distribution():
    np.testing.assert_allclose(ClassTargets().entropy(P)[..., 0], entropy(P.numpy(), axis=-1))
    two = np.stack([1 - P.numpy(), P.numpy()])
    np.testing.assert_allclose(LabelTargets().entropy(P), entropy(two, axis=0))


def test_votes_are_those_of_scikit_learn(iris):
    X, y = iris
    models = [("a", LogisticRegression(max_iter=5)), ("b", KNeighborsClassifier(1))]
    with pytest.warns(UserWarning, match="failed to converge"):
        theirs = VotingClassifier(models, weights=[2, 1]).fit(X, y)
    values = torch.tensor(np.stack([m.predict_proba(X) for m in theirs.estimators_]))
    votes = ClassTargets().vote(values, torch.tensor([[2 / 3, 1 / 3]]).double())[0]
    np.testing.assert_array_equal(votes.argmax(dim=1), theirs.predict(X))


def test_at_a_tie_a_label_is_not_there():
    values = torch.tensor([[[0.9, 0.9, 0.5]], [[0.2, 0.6, 0.9]]]).double()
    votes = LabelTargets().vote(values, torch.full((1, 2), 0.5).double())[0].numpy()
    np.testing.assert_array_equal(votes, [[0.5, 1, 0.5]])
    np.testing.assert_array_equal(LabelTargets().decode(votes), [[0, 1, 0]])


def test_only_labels_ask_for_a_loss_of_sigmoids():
    ClassTargets().check_loss(nn.MSELoss)
    for criterion in (nn.BCEWithLogitsLoss, nn.MultiLabelSoftMarginLoss(), nn.Module):
        LabelTargets().check_loss(criterion)
    with pytest.raises(ValueError, match="Got criterion=MSELoss with several labels a row"):
        LabelTargets().check_loss(nn.MSELoss())
