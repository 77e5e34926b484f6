"""The rates that are drawn are those that were trained at."""

import numpy as np
import pytest
from conftest import Mlp
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor, learning_rates
from skensemble.display import LearningRateDisplay


class RateLog(Callback):
    """Notes the rate of each step, and how many there were at each snapshot."""

    def __init__(self, rates):
        self.rates = rates

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        if training:
            self.rates.append(net.optimizer_.param_groups[0]["lr"])


def model_of(rates, **parameters):
    return SnapshotEnsembleClassifier(
        Mlp, callbacks=[RateLog(rates)], **{"max_epochs": 7, "random_state": 0, **parameters}
    )


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_cycles": 3},
        {"n_cycles": 4, "cycle_mult": 2.0, "schedule": "triangular2", "lr": 0.1},
        {"n_cycles": 2, "schedule__burn_in_epochs": 1.5, "schedule__min_lr": 1e-4},
        {"n_cycles": 3, "schedule": lambda at: 1 - at.progress},
        {"n_cycles": 3, "validation": 0.2, "batch_size": 50},
        {"n_cycles": 2, "n_chains": 1, "max_epochs": "auto", "lr": "auto", "batch_size": 100},
    ],
)
def test_rates_of_a_fit_are_those_of_its_steps(digits, parameters):
    X, y = digits
    noted = []
    model = model_of(noted, **parameters)
    model.fit(X[:200], y[:200])
    display = LearningRateDisplay.from_estimator(model)
    np.testing.assert_allclose(display.line_.get_ydata(), noted, rtol=1e-12)
    ends = np.asarray(display.cycle_ends)
    assert len(ends) == model.n_cycles_
    assert ends[-1] == len(noted)
    if parameters.get("schedule") != "triangular2":  # else each rises where it has fallen
        assert all(noted[end] > noted[end - 1] for end in ends[:-1])
    np.testing.assert_array_equal(display.snapshots_.get_xdata(), ends - 1)


def test_rates_of_a_run_that_was_stopped_are_its_beginning(cancer):
    model = SnapshotEnsembleClassifier(
        n_cycles=8, cycle_mult=1, lr=0.1, max_epochs=64, n_chains=4, random_state=0
    )
    model.fit(*cancer)
    assert model.n_cycles_ < 8  # early stopping
    display = LearningRateDisplay.from_estimator(model)
    per_epoch = display.steps_per_epoch
    n_steps = model.net_.max_epochs * per_epoch
    expected = learning_rates(n_steps, lr=0.1, n_cycles=8)
    done = display.cycle_ends[-1]
    np.testing.assert_allclose(display.line_.get_ydata(), expected[:done], rtol=1e-12)
    assert model.n_iter_ == -(-done // per_epoch)


def test_rates_of_calls_after_each_other_are_all_drawn(digits):
    X, y = digits
    noted = []
    model = model_of(noted, n_cycles=3, schedule="triangular2", batch_size=100, cycle_mult=2)
    for _ in range(3):
        model.partial_fit(X, y)
    display = LearningRateDisplay.from_estimator(model)
    np.testing.assert_allclose(display.line_.get_ydata(), noted, rtol=1e-12)
    assert len(display.cycle_ends) == 3

    noted.clear()
    model = model_of(noted, n_cycles=2, warm_start=True).fit(X, y)
    model.fit(X, y)
    display = LearningRateDisplay.from_estimator(model)
    np.testing.assert_allclose(display.line_.get_ydata(), noted, rtol=1e-12)
    assert len(display.cycle_ends) == 4


def test_the_axis_is_in_steps_or_epochs(diabetes):
    pipeline = make_pipeline(
        StandardScaler(), SnapshotEnsembleRegressor(n_cycles=2, max_epochs=6, random_state=0)
    ).fit(*diabetes)
    by_step = LearningRateDisplay.from_estimator(pipeline)
    steps = by_step.line_.get_xdata()
    by_epoch = LearningRateDisplay.from_estimator(pipeline, by="epoch")
    epochs = by_epoch.line_.get_xdata()
    np.testing.assert_array_equal(steps, np.arange(len(steps)))
    np.testing.assert_allclose(epochs * by_epoch.steps_per_epoch, steps)
    assert epochs[-1] < pipeline[-1].n_iter_
    assert by_epoch.ax_.get_xlabel() == "Epoch"


def test_an_array_of_rates_is_drawn():
    rates = learning_rates(40, lr=0.1, n_cycles=4)
    display = LearningRateDisplay(rates=rates).plot()
    np.testing.assert_array_equal(display.line_.get_ydata(), rates)
    assert display.snapshots_ is None
    for given, by, said in (
        ({"rates": []}, "step", r"Got rates=\[\], but expected a rate for each step"),
        ({"rates": rates}, "cycle", r"Got by='cycle', but expected one of \('step', 'epoch'\)\."),
        ({"rates": rates}, "epoch", "Got by='epoch' and steps_per_epoch=None, but expected"),
    ):
        with pytest.raises(ValueError, match=said):
            LearningRateDisplay(**given).plot(by=by)


def test_rates_that_nobody_knows_are_refused(digits):
    X, y = digits
    said = "Got an ensemble whose rates do not follow from its parameters, but expected one"
    model = SnapshotEnsembleClassifier(Mlp, n_cycles=2, max_epochs=4, random_state=0).fit(X, y)
    model.partial_fit(X, y)  # as many steps as three of its calls would have
    with pytest.raises(ValueError, match=said):
        LearningRateDisplay.from_estimator(model)
    model.fit(X, y)
    model.is_time_limited_ = True
    with pytest.raises(ValueError, match=said):
        LearningRateDisplay.from_estimator(model)
