"""What a run leaves."""

import numpy as np
import pytest
from conftest import Items, Mlp, same
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from test_checkpoints import Killed, kill_after

from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble.outcome import Outcome


@pytest.fixture
def outcomes(monkeypatch):
    """Collect what runs leave."""
    made, begin = [], Outcome.__init__

    def note(self, *args):
        begin(self, *args)
        made.append(self)

    monkeypatch.setattr(Outcome, "__init__", note)
    return made


def test_the_ensemble_of_the_cycles_so_far(iris, monkeypatch):
    model = SnapshotEnsembleClassifier(max_epochs=4, n_cycles=3, random_state=0)
    whole = clone(model).fit(*iris)
    finish, found = Outcome.finish, []

    def finish_after_one(self, generators):
        found.append(self._gather([], is_over=False))
        del self.run.states[1:], self.unseen.cycles[1:]
        return finish(self, generators)

    monkeypatch.setattr(Outcome, "finish", finish_after_one)
    one = model.fit(*iris)
    np.testing.assert_array_equal(found[0].member_weights, whole.member_weights_)
    assert same(found[0].state_dicts(), whole.snapshots_)
    assert found[0].resume.generators == []
    assert (one.n_cycles_, len(one.snapshots_)) == (1, whole.n_chains_)
    np.testing.assert_allclose(one.member_weights_, 1 / whole.n_chains_)
    assert same(one.snapshots_, whole.snapshots_[: whole.n_chains_])


def test_a_later_call_adds_to_the_cycles_before(iris, outcomes):
    model = SnapshotEnsembleClassifier(max_epochs=4, n_cycles=2, random_state=0)
    model.fit(*iris).partial_fit(*iris)
    assert (model.n_cycles_, outcomes[1].call.n_before) == (3, 2)
    assert len(model.snapshots_) == 3 * model.n_chains_


def test_a_budget_that_was_too_short_is_told(diabetes, outcomes):
    with pytest.warns(ConvergenceWarning, match="Got max_epochs=6 and n_cycles=3"):
        SnapshotEnsembleRegressor(
            max_epochs=6, n_cycles=3, lr=5e-4, random_state=0, early_stopping=False
        ).fit(*diabetes)
    outcomes[0].call = outcomes[0].call._replace(is_one_cycle=True)
    assert outcomes[0].messages() == []


def test_what_kept_the_run_from_being_written_is_raised_at_the_end(iris, outcomes):
    SnapshotEnsembleClassifier(max_epochs=4, n_cycles=3, random_state=0).fit(*iris)
    outcomes[0].run.failure = OSError(28, "No space left on device")
    with pytest.raises(OSError, match=r"No space left.*keeps the 3 cycles") as raised:
        outcomes[0].messages()
    assert raised.value.errno == 28


class Jittered(Items):
    """Items that noise is added to, from numpy's generator or one of their own."""

    def __init__(self, X, y, own=False):
        super().__init__(X.astype(np.float32), y)
        self.source = np.random.default_rng(3) if own else None

    def __getitem__(self, i):
        noise = np.random.normal() if self.source is None else self.source.normal()
        return self.data[i] + np.float32(noise), self.labels[i]


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("options", [{"n_chains": 3}, {"validation": 0.2}])
def test_a_dataset_that_draws_is_judged_alike(iris, tmp_path, monkeypatch, own, options):
    """In each fit, and in one that goes on: its file keeps what was judged."""

    def fit(folder=None):
        options["checkpoint_dir"] = folder
        model = SnapshotEnsembleClassifier(Mlp, max_epochs=6, n_cycles=4, random_state=0, **options)
        return model.fit(Jittered(*iris, own))

    np.random.seed(1)
    whole = fit()
    np.random.seed(2)  # what was drawn before changes nothing
    again = fit()
    kill_after(monkeypatch, 2)
    with pytest.raises(Killed):
        fit(tmp_path)
    monkeypatch.undo()
    for model in (again, fit(tmp_path)):
        assert same(model.snapshots_, whole.snapshots_)
        np.testing.assert_array_equal(model.cycle_scores_, whole.cycle_scores_)
        np.testing.assert_array_equal(model.member_weights_, whole.member_weights_)
