"""Same seed, same bits; the global generators are left as found."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from conftest import Mlp
from conftest import same as states_equal
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from torch import nn

from skensemble import SnapshotEnsembleClassifier
from skensemble._nets.generators import Generators, chain_seed, drawing_from, seed_of
from skensemble.networks import TableNetwork

SCRIPT = """
import hashlib, torch
from sklearn.datasets import load_digits
from skensemble import SnapshotEnsembleClassifier
X, y = load_digits(return_X_y=True)
model = SnapshotEnsembleClassifier(module__dropout=0.3, max_epochs=2, random_state=5)
print(hashlib.sha256(model.fit(X[:600], y[:600]).predict_proba(X).tobytes()).hexdigest())
"""


def test_same_seed_same_bits_in_another_process(digits):
    import hashlib

    from sklearn.datasets import load_digits

    X, _ = load_digits(return_X_y=True)
    model = SnapshotEnsembleClassifier(module__dropout=0.3, max_epochs=2, random_state=5)
    here = hashlib.sha256(model.fit(*digits).predict_proba(X).tobytes()).hexdigest()
    there = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    assert there.stdout.strip() == here


@pytest.mark.filterwarnings("default")  # joblib's workers
def test_same_seed_same_scores_with_two_jobs(digits):
    model = SnapshotEnsembleClassifier(
        module__dropout=0.3, max_epochs=3, random_state=5, module__hidden=(32,)
    )
    one = cross_val_score(model, *digits, cv=3, scoring="neg_log_loss", n_jobs=1)
    two = cross_val_score(model, *digits, cv=3, scoring="neg_log_loss", n_jobs=2)
    np.testing.assert_array_equal(one, two)


def test_fits_in_threads_take_turns(digits):
    """Rule 9."""
    X, y = digits
    models = [SnapshotEnsembleClassifier(Mlp, max_epochs=3, random_state=seed) for seed in range(4)]
    threads = [threading.Thread(target=model.fit, args=(X, y)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, model in enumerate(models):
        alone = SnapshotEnsembleClassifier(Mlp, max_epochs=3, random_state=seed).fit(X, y)
        assert states_equal(model.snapshots_, alone.snapshots_)


@pytest.mark.parametrize(
    "options",
    [
        {"module__dropout": 0.3},
        {"n_chains": 1, "module__dropout": 0.3, "module__column_dropout": 0.2},
        {"restart": "cold"},
        {"module__dropout": 0.99, "groups": True},
    ],
    ids=["chains", "one chain", "cold", "hardly any unit"],
)
def test_a_thread_that_draws_moves_no_bit_and_is_not_moved(digits, options):
    """Promise 5, for the built-in network: it draws from generators of its own."""
    X, y = digits
    groups = np.arange(len(y)) % 5 if options.pop("groups", False) else None
    model = SnapshotEnsembleClassifier(max_epochs=4, n_cycles=3, random_state=3, **options)
    expected = clone(model).fit(X, y, groups=groups)
    torch.manual_seed(0)
    np.random.seed(0)
    drawn, is_done = [], threading.Event()

    def draw():
        while not is_done.is_set():
            drawn.append((float(torch.rand(())), float(np.random.rand())))

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        model.fit(X, y, groups=groups)
    finally:
        is_done.set()
        thread.join()
    assert states_equal(model.snapshots_, expected.snapshots_)
    torch.manual_seed(0)
    np.random.seed(0)
    assert drawn == [(float(torch.rand(())), float(np.random.rand())) for _ in drawn]


def test_private_generators_give_the_numbers_of_the_global_ones():
    cpu = torch.device("cpu")
    numbers = []
    for is_private in (False, True):
        own = Generators(cpu, 7, is_private=is_private)
        with own.within():
            network = TableNetwork(5, 2, (4,), dropout=0.5, column_dropout=0.5)
            outputs = network(torch.ones(3, 5))
        numbers.append([*network.state_dict().values(), outputs])
    assert all(map(torch.equal, *numbers))
    assert drawing_from(cpu) is None


@pytest.mark.parametrize("failing", [False, True])
def test_global_generators_are_left_as_found(digits, failing):
    X, y = digits
    module = nn.Linear(3, 3) if failing else Mlp
    model = SnapshotEnsembleClassifier(module, max_epochs=1, random_state=0)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    if failing:
        with pytest.raises(ValueError, match="a batch of shape"):
            model.fit(X, y)
    else:
        model.fit(X, y).predict(X)
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)


def test_numpys_generator_is_forked_as_torchs(digits):
    class Drawn(nn.Linear):
        def __init__(self, n_inputs, n_outputs):
            super().__init__(n_inputs, n_outputs)
            with torch.no_grad():
                self.weight.copy_(torch.from_numpy(np.random.normal(size=self.weight.shape)))

    model = SnapshotEnsembleClassifier(Drawn, max_epochs=1, random_state=0)
    before = np.random.get_state()[1].copy()
    one, two = model.fit(*digits).snapshots_, model.fit(*digits).snapshots_
    assert states_equal(one, two)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    model.set_params(random_state=None)
    assert not states_equal(model.fit(*digits).snapshots_, model.fit(*digits).snapshots_)


def test_a_generator_object_is_drawn_from(iris):
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, random_state=np.random.RandomState(0))
    one, two = model.fit(*iris).snapshots_, model.fit(*iris).snapshots_
    assert not states_equal(one, two)


def test_within_its_generators_a_chain_draws_what_it_would_draw_alone():
    cpu = torch.device("cpu")
    torch.manual_seed(7)
    expected = torch.rand(6)
    one, two = Generators(cpu, 7), Generators(cpu, 8)
    before = torch.get_rng_state()
    drawn = []
    for _ in range(3):
        with one.within(), one.within():
            drawn.append(torch.rand(2))
        with two.within():
            torch.rand(5)
    assert torch.equal(torch.cat(drawn), expected)
    assert torch.equal(torch.get_rng_state(), before)


def test_generators_go_on_from_their_state():
    cpu = torch.device("cpu")
    one = Generators(cpu, 3)
    with one.within():
        torch.rand(2), np.random.rand(2), torch.rand(2, generator=one.batches)
        inside = one.state()
    draws = []
    for start in (inside, one.state()):
        other = Generators(cpu, start)
        with other.within():
            numbers = torch.rand(2), np.random.rand(2), torch.rand(2, generator=other.batches)
        draws.append(np.concatenate(numbers))
    np.testing.assert_array_equal(*draws)


def test_seeds_of_chains_differ_and_the_first_has_the_fits_own():
    assert chain_seed(5, 0) == seed_of(5) == seed_of(np.int64(5)) == 5
    seeds = {chain_seed(seed, k) for seed in range(20) for k in range(1, 20)}
    assert len(seeds) == 20 * 19
    assert seed_of(np.random.RandomState(0)) == np.random.RandomState(0).randint(2**31 - 1)


@pytest.mark.parametrize("module", [None, Mlp])
def test_the_default_device_of_torch_counts_for_nothing(digits, module):
    """Torch's own optimizers make tensors of no named device, and so do modules."""

    def fit():
        model = SnapshotEnsembleClassifier(
            module, n_chains=2, n_cycles=2, max_epochs=2, optimizer=torch.optim.Adamax,
            random_state=0,
        ).fit(*digits)  # fmt: skip
        model.partial_fit(*digits)
        return [model.predict_proba(digits[0]), *model.predict_members(digits[0])]

    expected = fit()
    torch.set_default_device("meta")
    try:
        got = fit()
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_device(None)
    np.testing.assert_array_equal(got, expected)
