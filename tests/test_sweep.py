"""A run whose rate goes through given values once."""

import numpy as np
import pytest
from conftest import Mlp, Recurrent
from skorch.callbacks import Callback

from skensemble import SnapshotEnsembleClassifier
from skensemble._training.steps import train_lean
from skensemble._training.sweep import RateSweep

RATES = np.geomspace(1e-4, 1e-2, 7).tolist()


def swept(rows, module=Mlp, rates=RATES, callbacks=(), **parameters):
    """The sweep of a fit that it has ended."""
    sweep = RateSweep(rates)
    model = SnapshotEnsembleClassifier(
        module, n_cycles=1, max_epochs=len(rates), validation=None, batch_size=200,
        callbacks=[*callbacks, sweep], random_state=0, **parameters,
    )  # fmt: skip
    with pytest.raises(ValueError, match="Training diverged in the first cycle"):
        model.fit(*rows)
    assert not hasattr(model, "net_")
    return sweep


class RateLog(Callback):
    """Notes the rates of all parameter groups at each step."""

    def __init__(self, rates):
        self.rates = rates

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        if training:
            self.rates.append([group["lr"] for group in net.optimizer_.param_groups])


def test_each_step_trains_at_its_rate_and_groups_keep_their_ratio(digits):
    noted = []
    groups = [("output*", {"lr": 0.002})]
    sweep = swept(digits, callbacks=[RateLog(noted)], lr=0.02, optimizer__param_groups=groups)
    assert sweep.is_over
    # The step that ends the run is not told to callbacks after ours.
    assert len(noted) in (len(RATES) - 1, len(RATES))
    for step in noted:
        assert sorted(step) == pytest.approx(sorted([step[0], step[1]]))
        assert max(step) / min(step) == pytest.approx(10)
    expected = RATES[: len(noted)]
    np.testing.assert_allclose([max(step) for step in noted], expected, rtol=1e-12)


def test_the_run_has_as_many_steps_as_rates_within_an_epoch_and_over_several(digits):
    for n in (2, 5, 11):  # there are 3 steps in an epoch
        sweep = swept(digits, rates=RATES[:1] * n)
        assert len(sweep.losses()) == n


@pytest.mark.parametrize(("module", "n_records"), [(Mlp, 1), (Recurrent, 3)])
def test_chains_train_as_in_any_run(digits, module, n_records, monkeypatch):
    """As one where they can, on the lean path."""
    taken = []
    monkeypatch.setattr(
        "skensemble._training.net.train_lean",
        lambda *given: taken.append(1) or train_lean(*given),
    )
    sweep = swept(digits, module, n_chains=3)
    assert taken
    assert [record.n_chains for record in sweep.records] == [3 // n_records] * n_records
    assert len(sweep.losses()) == len(RATES)
    mean = np.mean([record.losses for record in sweep.records], axis=0)
    np.testing.assert_allclose(sweep.losses(), mean)


def test_a_chain_that_leaves_the_finite_numbers_ends_all_of_them_there(digits):
    rates = np.geomspace(1, 1e60, 12).tolist()
    sweep = swept(digits, Recurrent, rates=rates, n_chains=2, optimizer="sgd")
    lengths = [len(record.losses) for record in sweep.records]
    assert len(sweep.losses()) == min(lengths) < len(rates)
    assert np.isfinite(sweep.losses()).all()
    assert sweep.is_over


def test_nothing_is_there_before_a_run():
    sweep = RateSweep(RATES)
    assert not sweep.is_over
    assert len(sweep.losses()) == 0
