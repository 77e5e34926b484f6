"""The named parameters, checked and put to use."""

import copy

import numpy as np
import pytest
import torch
from conftest import Mlp, Normalised
from skorch.callbacks import Callback
from torch import nn

from skensemble import SnapshotEnsembleClassifier


def test_the_automatic_optimizer_is_adamw_and_keywords_change_it(iris):
    changed = SnapshotEnsembleClassifier(
        max_epochs=2, n_chains=1, optimizer__betas=(0.8, 0.9), optimizer__eps=1e-6, random_state=0
    ).fit(*iris)
    optimizer = changed.net_.optimizer_
    assert type(optimizer) is torch.optim.AdamW
    group = optimizer.param_groups[0]
    assert (group["betas"], group["weight_decay"], group["eps"]) == ((0.8, 0.9), 0, 1e-6)
    named = SnapshotEnsembleClassifier(
        optimizer=torch.optim.AdamW, max_epochs=2, n_chains=1, random_state=0
    ).fit(*iris)
    group, own = named.net_.optimizer_.param_groups[0], torch.optim.AdamW([torch.zeros(1)])
    assert group["betas"] == own.defaults["betas"]
    assert group["weight_decay"] == own.defaults["weight_decay"]


def test_what_a_net_is_made_of_cannot_change_while_it_goes_on(digits):
    model = SnapshotEnsembleClassifier(Mlp, module__n_hidden=8, max_epochs=2, n_cycles=2)
    model.fit(*digits)
    for name, value in [
        ("module", Normalised),
        ("module__n_hidden", 9),
        ("optimizer", torch.optim.SGD),
        ("optimizer__weight_decay", 0.5),
        ("criterion", nn.MultiMarginLoss),
    ]:
        with pytest.raises(ValueError, match=rf"Got {name}=.* for an ensemble that goes on"):
            copy.deepcopy(model).set_params(**{name: value}).partial_fit(*digits)
    model.set_params(schedule="triangular", batch_size=50, members=1, max_epochs=4)
    assert copy.deepcopy(model).partial_fit(*digits).n_cycles_ == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_chains", 3),
        ("n_chains", "auto"),
        ("categorical_features", None),
        ("categorical_features", [1]),
        ("table__max_categories", 9),
    ],
)
def test_chains_and_columns_cannot_change_while_it_goes_on(iris, name, value):
    X, y = iris
    model = SnapshotEnsembleClassifier(n_chains=2, max_epochs=2, n_cycles=2, random_state=0)
    before = model.fit(X, y).predict_proba(X)
    changed = copy.deepcopy(model).set_params(**{name: value})
    message = rf"Got {name}=.* for an ensemble that goes on, but expected .* warm_start=False"
    with pytest.raises(ValueError, match=message):
        changed.partial_fit(X, y)
    with pytest.raises(ValueError, match=message):
        changed.set_params(warm_start=True).fit(X, y)
    assert changed.n_cycles_ == 2
    np.testing.assert_array_equal(changed.predict_proba(X), before)
    assert changed.set_params(warm_start=False).fit(X, y).n_cycles_ == 2


def test_optimizer_lr_counts_before_lr(digits):
    rates = []

    class Watch(Callback):
        def on_batch_begin(self, net, batch=None, training=None, **kwargs):
            rates.append(net.optimizer_.param_groups[0]["lr"])

    model = SnapshotEnsembleClassifier(
        Mlp, max_epochs=1, n_cycles=1, optimizer__lr=0.1, callbacks=[Watch()]
    ).fit(*digits)
    model.set_params(lr=0.5).partial_fit(*digits)
    assert max(rates) == 0.1
    model.set_params(optimizer__lr=0.2).partial_fit(*digits)
    assert max(rates) == 0.2


WRONG_PARAMETERS = [
    ({"n_cycles": 0}, r"Got n_cycles=0, but expected an integer of at least 1\."),
    ({"n_cycles": 2.5}, r"Got n_cycles=2\.5, but expected an integer of at least 1\."),
    ({"cycle_mult": 0}, r"Got cycle_mult=0, but expected a number above 0 or 'auto'\."),
    ({"lr": -1.0}, r"Got lr=-1\.0, but expected a number above 0 or 'auto'\."),
    ({"max_epochs": 0}, r"Got max_epochs=0, but expected an integer of at least 1 or"),
    ({"batch_size": "big"}, r"Got batch_size='big', but expected an integer of at least 1"),
    ({"schedule": "linear"}, r"Got schedule='linear', but expected one of .*cosine"),
    ({"restart": "hot"}, r"Got restart='hot', but expected one of .*warm"),
    ({"members": 0}, r"Got members=0, but expected"),
    ({"members": "best"}, r"Got members='best', but expected"),
    ({"voting": "loud"}, r"Got voting='loud', but expected one of .*hard"),
    ({"class_weight": "fair"}, r"Got class_weight='fair', but expected"),
    ({"device": "gpu"}, r"Got device='gpu', but expected a device of torch"),
    ({"net": int}, r"Got net=<class 'int'>, but expected a subclass of skorch\.NeuralNet"),
    ({"module": "mlp"}, r"Got module='mlp', but expected a callable or None"),
    ({"schedule__min_lr": 9.0}, r"Got min_lr=9\.0, but expected a number from 0 to lr="),
    ({"schedule__gamma": 0}, r"Got gamma=0, but expected a number above 0"),
    ({"schedule__cycle_decay": 2}, r"Got cycle_decay=2, but expected .* by schedule__cycle_decay="),
    (
        {"schedule": lambda at: 1.0, "schedule__cycle_decay": 0.5},
        r"Got cycle_decay=0\.5 with a callable schedule",
    ),
    ({"schedule__burn_in_epochs": -1}, r"Got schedule__burn_in_epochs=-1, but expected"),
    ({"schedule__burn_in_epochs": 99}, r"Got schedule__burn_in_epochs=99, which are \d+ steps"),
    (
        {"schedule": lambda at: 1.0, "schedule__min_lr": 0.001},
        r"Got min_lr=0\.001 with a callable schedule",
    ),
    ({"schedule": lambda at: -1.0}, r"Got -1\.0 from schedule\(at\)"),
    ({"module_hidden": (3,)}, r"parameter module_hidden=.*,.* Did you mean module__hidden\?"),
    ({"module__hiden": (3,)}, r"parameter module__hiden=.*,.* Did you mean module__hidden\?"),
    ({"optimizer__momentun": 1}, r"parameter optimizer__momentun=1,.* optimizer__\* takes .*betas"),
    ({"criterion__label_smooth": 1}, r"Did you mean criterion__label_smoothing\?"),
    ({"schedule__min_rate": 1}, r"parameter schedule__min_rate=.*,"),
    ({"net__compiled": True}, r"Did you mean net__compile\?"),
    ({"net__lr": 1}, r"Got net__lr, but expected it as lr=\."),
    ({"net__module__hidden": 1}, r"Got net__module__hidden, but expected it as module__hidden=\."),
    ({"hidden_": 3}, r"unexpected parameter hidden_=.*,"),
    ({"n_cycles": True}, r"Got n_cycles=True, but expected an integer of at least 1\."),
    ({"optimizer__lr": 0}, r"Got lr=0, but expected a number above 0"),
    ({"module__hidden": 5}, r"The net could not be made.*Got hidden=5, but expected"),
    ({"callbacks": [3]}, r"Got callbacks with 3, but expected callbacks of skorch"),
    ({"schedule": lambda at: None}, r"Got None from schedule\(at\)"),
    (
        {"iterator_train__drop_last": True, "iterator_train__batch_size": 500},
        r"Got an iterator with no batch for 150 rows",
    ),
    ({"net__train_split": 1}, r"Got net__train_split, but expected none"),
    ({"kwargs": 1}, r"Got an unexpected parameter kwargs=.*,"),
    ({"iterator_train__shufle": True}, r"Did you mean iterator_train__shuffle\?"),
]


@pytest.mark.parametrize(("wrong", "message"), WRONG_PARAMETERS)
def test_wrong_parameters_are_named_and_harm_nothing(iris, wrong, message):
    """Rule 6: after an error all is as before."""
    X, y = iris
    model = SnapshotEnsembleClassifier(max_epochs=3, n_cycles=2, random_state=0).fit(X, y)
    before, fitted = model.predict_proba(X), {k for k in vars(model) if k.endswith("_")}
    broken = copy.copy(model)
    broken.__init__(**{**model.get_params(), **wrong})
    with pytest.raises(ValueError, match=message):
        broken.fit(X, y)
    assert {k for k in vars(broken) if k.endswith("_")} == fitted
    if "voting" not in wrong:
        np.testing.assert_array_equal(broken.predict_proba(X), before)
