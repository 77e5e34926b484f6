"""Members predict as their snapshots do, whatever the way."""

import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from conftest import Mlp, Normalised, outputs_of_snapshots
from scipy.sparse import csr_matrix
from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from skensemble import SnapshotEnsembleClassifier, networks
from skensemble._nets import inference


def test_chunks_change_no_prediction(monkeypatch, digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, max_epochs=2, n_cycles=3).fit(X, y)
    whole = model.predict_proba(X)
    monkeypatch.setattr("skensemble._nets.inference.CHUNK", 70)
    np.testing.assert_allclose(model.predict_proba(X), whole, atol=1e-6)


class Kept(nn.Module):
    """Recurrent layers keep their tensors in a second place, and some modules their last batch."""

    def __init__(self, n_outputs):
        super().__init__()
        self.layer = nn.GRU(8, 6, batch_first=True)
        self.output = nn.Linear(6, n_outputs)

    def forward(self, X):
        self.last = X.reshape(len(X), 8, 8)
        return self.output(self.layer(self.last)[0][:, -1])


@pytest.mark.parametrize("module", [Kept, None])
def test_members_are_their_snapshots_whatever_way_they_predict(digits, module):
    """Through copies of a module that holds tensors twice, and through batched products."""
    X, y = digits
    model = SnapshotEnsembleClassifier(module, n_cycles=3, max_epochs=3, members=2).fit(X, y)
    scores = outputs_of_snapshots(model, model._fitted_.intake.tensor(X))
    expected = [torch.softmax(output, dim=1).numpy() for output in scores]
    # Scores are sums of hundreds of float32 pieces, each in another order.
    np.testing.assert_allclose(model.predict_members(X), expected, atol=3e-6)
    last = expected[-2 * model.n_chains_ :]
    np.testing.assert_allclose(model.predict_proba(X), np.mean(last, axis=0), atol=1e-6)


class Residual(nn.Sequential):
    """Activations whose input is read again, or kept by a hook."""

    def __init__(self, n_inputs, n_outputs):
        act = nn.ReLU()
        super().__init__(
            nn.Linear(n_inputs, 16), act, Skip(16), nn.Linear(16, 16), nn.Mish(),
            nn.Dropout(0.5), act, nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, n_outputs),
        )  # fmt: skip
        self[7].register_forward_hook(_doubled)


class Skip(nn.Module):
    def __init__(self, n_units):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(n_units, n_units), nn.SiLU())

    def forward(self, X):
        h = self.layers[0](X)
        return self.layers(X) + h + self.layers[1](h)


def _doubled(module, args, output):
    return 2 * output


def test_activations_in_place_change_no_member(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(Residual, n_cycles=2, max_epochs=2, random_state=0)
    model.fit(X, y)
    outputs = outputs_of_snapshots(model, torch.from_numpy(X).float())
    expected = [torch.softmax(output, dim=1).numpy() for output in outputs]
    np.testing.assert_allclose(model.predict_members(X), expected, atol=1e-6)
    assert model.net_.module_[1].inplace is False


def test_threads_may_predict_at_once(digits):
    X, y = digits
    for module in (Mlp, Kept, None):
        model = SnapshotEnsembleClassifier(module, n_cycles=3, max_epochs=2).fit(X, y)
        expected = model.predict_proba(X)
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(model.predict_proba, [X] * 8))
        for result in results:
            np.testing.assert_allclose(result, expected, atol=1e-6)


def test_dropout_is_off_at_prediction(digits):
    X, y = digits
    model = SnapshotEnsembleClassifier(Mlp, module__dropout=0.9, max_epochs=1).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), model.predict_proba(X))


class InPlace(nn.Sequential):
    """Begins with an activation that a linear layer would let overwrite its input."""

    def __init__(self, n_inputs, n_outputs):
        super().__init__(nn.Tanh(), nn.Linear(n_inputs, 8), nn.ReLU(), nn.Linear(8, n_outputs))


@pytest.mark.parametrize("module", [InPlace, Mlp, Normalised, None])
def test_a_prediction_changes_neither_rows_nor_module(digits, module):
    X, y = digits[0].astype(np.float32), digits[1]
    model = SnapshotEnsembleClassifier(module, n_cycles=2, max_epochs=1).fit(X, y)
    before, state = X.copy(), {k: v.clone() for k, v in model.net_.module_.state_dict().items()}
    model.net_.module_.train()
    model.predict(X)
    np.testing.assert_array_equal(X, before)
    assert model.net_.module_.training
    for name, value in model.net_.module_.state_dict().items():
        assert torch.equal(value, state[name])


def test_hooks_of_a_layer_and_of_all_modules_are_called(digits):
    seen, everywhere = [], []

    def hooked():
        module = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
        module[0].register_forward_hook(lambda *_: seen.append(1))
        return module

    model = SnapshotEnsembleClassifier(hooked, n_cycles=3, max_epochs=1).fit(*digits)
    seen.clear()
    expected = model.predict_proba(digits[0])
    assert len(seen) == 3
    handle = register_module_forward_hook(lambda layer, *_: everywhere.append(type(layer)))
    try:
        np.testing.assert_array_equal(model.predict_proba(digits[0]), expected)
    finally:
        handle.remove()
    assert everywhere.count(nn.Linear) == 6
    assert everywhere.count(nn.ReLU) == 3


class Plain(nn.Sequential):
    """All that is computed is torch's."""

    def __init__(self, n_inputs, n_outputs):
        super().__init__(nn.Linear(n_inputs, 12), nn.ReLU(), nn.Linear(12, n_outputs))


@pytest.fixture
def use_threads(monkeypatch):
    """Let predictions go to a number of threads, few rows at a time; count those that were used."""
    whole = inference.in_threads
    asked = []

    def use(n_threads):
        monkeypatch.setattr(inference, "usable_cpus", lambda: n_threads)
        monkeypatch.setattr(inference, "CHUNK", 30)
        monkeypatch.setattr(inference, "STACKED_CHUNK", 30)
        monkeypatch.setattr(
            inference,
            "in_threads",
            lambda tasks, n: asked.append((len(tasks), n)) or whole(tasks, n),
        )
        return asked

    return use


@pytest.mark.parametrize("module", [None, Plain])
def test_any_number_of_threads_predicts_the_same_bits(digits, use_threads, module):
    X, y = digits
    model = SnapshotEnsembleClassifier(module, n_cycles=2, max_epochs=1).fit(X, y)
    sparse = csr_matrix(X)
    calls = [
        lambda: model.predict_proba(X),
        lambda: model.predict_proba(sparse),
        lambda: model.predict_members(X[:200]),
        lambda: np.stack(list(model.staged_predict_proba(X[:31]))),
    ]
    asked = use_threads(1)
    expected = [call() for call in calls]
    np.testing.assert_allclose(expected[0], expected[1], atol=1e-6)
    assert {n for _, n in asked} == {1}
    for n_threads in (2, 3):
        asked = use_threads(n_threads)
        asked.clear()
        for call, bits in zip(calls, expected, strict=True):
            np.testing.assert_array_equal(call(), bits)
        groups = [4 * n_threads] * 2 + [7, 2]
        assert asked == [(min(4 * n_threads, g), n_threads) for g in groups]


def test_code_of_the_users_runs_in_no_thread_of_ours(digits, use_threads):
    """Nobody knows whether a forward, or a hook, is safe beside itself."""
    asked = use_threads(2)
    hooked = Plain(64, 10)
    hooked[1].register_forward_hook(_doubled)
    for module in (Mlp, Residual, hooked):
        model = SnapshotEnsembleClassifier(module, n_cycles=2, max_epochs=1).fit(*digits)
        asked.clear()
        model.predict_proba(digits[0])
        assert not asked


@pytest.mark.parametrize("n_threads", [1, 2])
def test_an_error_in_a_thread_reaches_the_caller(digits, use_threads, monkeypatch, n_threads):
    X, y = digits
    use_threads(n_threads)
    model = SnapshotEnsembleClassifier(Plain, n_cycles=2, max_epochs=1).fit(X, y)
    far = X.copy()
    far[-1, 5] = 1e300
    with pytest.raises(ValueError, match="that float32 can hold"):
        model.predict(far)
    whole = inference.member_outputs

    def interrupted(*args):
        yield next(whole(*args))
        raise KeyboardInterrupt

    monkeypatch.setattr("skensemble._nets.inference.member_outputs", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.predict(X)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_no_more_chunks_are_in_memory_than_threads(digits, use_threads, monkeypatch, n_threads):
    X, y = digits
    use_threads(n_threads)
    model = SnapshotEnsembleClassifier(n_cycles=2, max_epochs=1).fit(X, y)
    alive, most = set(), [0]
    whole = inference.member_outputs

    def counted(net, snapshots, members, chunks):
        for outputs in whole(net, snapshots, members, chunks):
            alive.add(id(outputs))
            weakref.finalize(outputs, alive.discard, id(outputs))
            most[0] = max(most[0], len(alive))
            yield outputs
            del outputs

    monkeypatch.setattr("skensemble._nets.inference.member_outputs", counted)
    model.predict(np.tile(X, (3, 1)))  # 60 chunks
    assert 1 <= most[0] <= 2 * n_threads


@pytest.mark.parametrize("n_rows", [1, 20, 200])
def test_no_intra_op_threads_meet_in_a_prediction(digits, use_threads, monkeypatch, n_rows):
    """One that is not scheduled would hold the other at every product."""
    X, y = digits
    use_threads(2)
    model = SnapshotEnsembleClassifier(n_cycles=2, max_epochs=1).fit(X, y)
    seen, before = [], torch.get_num_threads()
    monkeypatch.setattr(
        type(model.net_.module_),
        "forward_members",
        _watched(type(model.net_.module_).forward_members, seen),
    )
    torch.set_num_threads(2)
    try:
        model.predict(X[:n_rows])
        assert set(seen) == {1}
        assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(before)


def _watched(forward, seen):
    def watched(*args, **kwargs):
        seen.append(torch.get_num_threads())
        return forward(*args, **kwargs)

    return watched


@pytest.mark.parametrize("n_rows", [1, 3])
def test_a_row_alone_is_predicted_as_among_others(digits, monkeypatch, n_rows):
    """A few rows read only those of the first weights whose inputs are not zero."""
    X, y = digits
    model = SnapshotEnsembleClassifier(n_cycles=2, max_epochs=1).fit(X, y)
    whole, read = model.predict_members(X[:100]), []
    few = networks._first_outputs
    monkeypatch.setattr(networks, "_first_outputs", lambda x, *a: read.append(1) or few(x, *a))
    monkeypatch.setattr(networks, "_MANY_WEIGHTS", 0)
    for start in range(0, 12, n_rows):
        rows = slice(start, start + n_rows)
        np.testing.assert_allclose(model.predict_members(X[rows]), whole[:, rows], atol=1e-6)
    assert len(read) == 12
    nothing = model._fitted_.intake.tensor(X[:1]).zero_()
    stacks = model._fitted_.snapshots.stacks(range(len(model.snapshots_)))
    with torch.inference_mode():
        outputs = model.net_.module_.forward_members(stacks, nothing)[:, 0]
    expected = [output[0] for output in outputs_of_snapshots(model, nothing)]
    torch.testing.assert_close(outputs.double(), torch.stack(expected), atol=1e-5, rtol=1e-5)
    scores = outputs_of_snapshots(model, model._fitted_.intake.tensor(X[:1]))
    expected = [torch.softmax(output, dim=1).numpy() for output in scores]
    np.testing.assert_allclose(model.predict_members(X[:1]), expected, atol=1e-6)


@pytest.mark.parametrize("module", [None, Kept, Mlp])
def test_outputs_without_inputs_are_those_of_other_rows(digits, module):
    """By products made once, member by member, and by a user's module that computes all at once."""
    X, y = digits
    model = SnapshotEnsembleClassifier(module, n_cycles=2, max_epochs=2).fit(X, y)
    fitted, net = model._fitted_, model.net_
    rows = fitted.intake.tensor(X[:40])
    parts = [torch.tensor([3, 20]), torch.tensor([30])]
    values = torch.full((rows.shape[1],), 7.0)
    variants = [rows]
    for part in parts:
        changed = rows.clone()
        changed[:, part] = 7
        variants.append(changed)
    expected = list(inference.member_outputs(net, fitted.snapshots, [0, 1], variants))
    batches = [rows[:25], rows[25:]]
    found = [
        list(outputs)
        for outputs in inference.outputs_without(
            net, fitted.snapshots, [0, 1], batches, parts, values
        )
    ]
    for variant, both in zip(expected, zip(*found, strict=True), strict=True):
        torch.testing.assert_close(torch.cat(both, dim=1), variant, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(rows, variants[0])
