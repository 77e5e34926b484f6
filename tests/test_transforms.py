"""Augmentation of training batches, and predictions in several views."""

import functools
import pickle

import numpy as np
import pytest
import torch
from conftest import Mlp, noisy, same
from scipy.special import softmax
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback, EarlyStopping, EpochScoring
from torch import nn
from torch.utils.data import TensorDataset

import skensemble
from skensemble import SnapshotEnsembleClassifier, SnapshotEnsembleRegressor
from skensemble._nets.transforms import augment
from skensemble.averaging import average_weights, swag
from skensemble.display import InterpolationDisplay

#: Functions here that a file may name.
NAMED = [*(f"{__name__}.{name}" for name in ("flip", "left", "right")), "conftest.noisy"]

QUICK = {"max_epochs": 4, "n_cycles": 2, "batch_size": 64, "random_state": 0}


@pytest.fixture(scope="module")
def images(digits):
    X, y = digits
    return (X[:300] / 16).astype(np.float32).reshape(-1, 1, 8, 8), y[:300]


class Convolutions(nn.Module):
    def __init__(self, n_outputs=10):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.LazyLinear(n_outputs)
        )

    def forward(self, X):
        return self.layers(X)


def network():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10)
    )


def flip(X):
    """Mirror images."""
    return X.flip(-1)


class Shift(nn.Module):
    """As the transforms of torchvision's v2: a module, of one draw a batch, with a buffer."""

    def __init__(self, most=1):
        super().__init__()
        self.most = most
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, X):
        self.calls += 1
        return torch.roll(X, int(torch.randint(-self.most, self.most + 1, ())), -1)


def fit(images, **parameters):
    return SnapshotEnsembleClassifier(network, **{**QUICK, **parameters}).fit(*images)


# --------------------------------------------------------------------------------------- training


class EveryBatch(Callback):
    def on_batch_end(self, net, **_):
        pass


class OwnStep(NeuralNetClassifier):
    def train_step_single(self, batch, **kwargs):
        return super().train_step_single(batch, **kwargs)


LOOPS = {
    "lean": {},
    "weights": {"class_weight": {0: 2.0}},
    "chains together": {"n_chains": 3},
    "chains in turn": {"n_chains": 2, "optimizer": "LBFGS", "lr": 0.01, "max_epochs": 2},
    "callbacks of batches": {"callbacks": [EveryBatch()]},
    "a net of the user's": {"net": OwnStep, "criterion": nn.CrossEntropyLoss},
    "a DataLoader": {"iterator_train__shuffle": True},
    "cold": {"restart": "cold"},
}


@pytest.mark.parametrize("options", LOOPS.values(), ids=LOOPS)
def test_every_loop_trains_on_what_the_transform_makes(images, options):
    X, y = images
    one = fit(images, transform=flip, validation=None, **options)
    other = fit((flip(torch.from_numpy(X)), y), validation=None, **options)
    assert same(one.snapshots_, other.snapshots_)
    plain = fit(images, validation=None, **options)
    assert not same(one.snapshots_, plain.snapshots_)


def test_the_augmented_run_is_plain_torch(images):
    """The noise of each batch is drawn where a loop by hand draws it."""
    X, y = map(torch.from_numpy, images)
    made = fit(
        images, transform=noisy, n_cycles=1, schedule=lambda at: 1.0, optimizer="SGD", lr=0.1
    )
    torch.manual_seed(0)
    module = network()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    batches = made._fitted_.resume  # permutations are of a generator of their own
    derived = np.random.SeedSequence([batches.seed, 1]).generate_state(1, np.uint64)
    own = torch.Generator().manual_seed(int(derived[0] >> np.uint64(1)))
    for _ in range(QUICK["max_epochs"]):
        for index in torch.tensor_split(torch.randperm(len(X), generator=own), 5):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(noisy(X[index])), y[index]).backward()
            optimizer.step()
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(made.snapshots_[0][name], tensor, rtol=1e-6, atol=1e-6)


def test_same_seed_same_bits_and_generators_are_left_as_found(images):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one, two = (fit(images, transform=noisy, n_chains=2) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(one.snapshots_, two.snapshots_)
    # Each chain is given its own rows and draws.
    assert not np.allclose(one.snapshots_[-1]["0.weight"], one.snapshots_[-2]["0.weight"])


@pytest.mark.parametrize("kind", ["tensor", "dict"])
def test_each_chain_is_given_to_the_transform_by_itself(kind):
    X = torch.arange(24.0).reshape(2, 4, 3)
    seen = []

    def note(batch):
        seen.append(batch)
        return {name: x + 1 for name, x in batch.items()} if kind == "dict" else batch + 1

    made = augment(note, X if kind == "tensor" else {"a": X, "b": -X}, of_chains=True)
    assert len(seen) == 2
    if kind == "dict":
        assert torch.equal(made["a"], X + 1)
        assert torch.equal(made["b"], 1 - X)
        made, seen = made["a"], [batch["a"] for batch in seen]
    assert torch.equal(made, X + 1)
    assert [batch.tolist() for batch in seen] == X.tolist()


def test_inputs_of_a_dict_and_datasets(images):
    X, y = images

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = network()

        def forward(self, image, other):
            return self.layers(image) + other.mean()

    # Folds go by hashes of rows.
    given = {"n_chains": 2, "validation": None, **QUICK}
    inputs = {"image": X, "other": X[:, 0, 0]}
    turned = {**inputs, "image": X[..., ::-1].copy()}
    one = SnapshotEnsembleClassifier(
        Two, transform=lambda X: {**X, "image": flip(X["image"])}, **given
    ).fit(inputs, y)
    other = SnapshotEnsembleClassifier(Two, **given).fit(turned, y)
    assert same(one.snapshots_, other.snapshots_)
    rows = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    mirrored = TensorDataset(flip(rows.tensors[0]), rows.tensors[1])
    one, other = (
        SnapshotEnsembleClassifier(network, **QUICK, **options).fit(given, None)
        for given, options in ((rows, {"transform": flip}), (mirrored, {}))
    )
    assert same(one.snapshots_, other.snapshots_)


def test_a_module_is_copied_and_not_trained(images):
    shift = Shift()
    model = fit(images, transform=shift)
    assert shift.calls == 0
    assert model.get_params()["transform"] is shift
    function = fit(images, transform=functools.partial(_shifted, most=1))
    assert same(model.snapshots_, function.snapshots_)


def _shifted(X, most):
    return torch.roll(X, int(torch.randint(-most, most + 1, ())), -1)


def test_unseen_rows_are_predicted_as_they_are(images):
    X, y = images
    model = SnapshotEnsembleClassifier(network, transform=lambda X: 0 * X, **QUICK)
    model.fit(X[:200], y[:200], X_val=X[200:], y_val=y[200:])
    assert model.validation_score_ == pytest.approx(
        -log_loss(y[200:], model.predict_proba(X[200:]))
    )


# ---------------------------------------------------------------------------------------- views


def test_members_predict_the_mean_over_views(images):
    """By fresh modules of plain torch."""
    X, y = images
    model = fit((X[:200], y[:200]), views=[None, flip], n_chains=2, validation="cross")
    expected = []
    for state in model.snapshots_:
        module = network()
        module.load_state_dict(state)
        with torch.no_grad():
            rows = torch.from_numpy(X[200:])
            views = [module(seen).double().numpy() for seen in (rows, rows.flip(-1))]
        expected.append(np.mean([softmax(view, axis=1) for view in views], axis=0))
    np.testing.assert_allclose(model.predict_members(X[200:]), expected, atol=1e-6)
    mean = np.average(expected, axis=0, weights=model.member_weights_)
    np.testing.assert_allclose(model.predict_proba(X[200:]), mean, atol=1e-6)
    np.testing.assert_allclose([*model.staged_predict_proba(X[200:])][-1], mean, atol=1e-6)
    # Rows in any other order of chunks are predicted alike.
    many = np.tile(X[200:], (40, 1, 1, 1))
    np.testing.assert_allclose(model.predict_proba(many)[-100:], mean, atol=1e-6)


def test_unseen_rows_are_predicted_in_views(images):
    X, _ = images
    given = {"n_chains": 3, "validation": "cross", "early_stopping": False}
    model = fit(images, views=[None, flip], **given)
    plain = fit(images, **given)
    assert same(model.snapshots_, plain.snapshots_)  # training is not touched
    assert model.validation_score_ != plain.validation_score_
    # A fit asks each row of the chain that left it out, in both views.
    members = model.predict_members(X).reshape(2, 3, len(X), 10)
    weights = model.member_weights_.reshape(2, 3).sum(axis=1)
    by_chain = np.tensordot(weights, members, axes=1)
    near = np.abs(by_chain - model.oof_decision_function_).max(axis=2)
    assert near.min(axis=0).max() < 1e-6


def test_members_are_chosen_again_in_other_views(images):
    X, y = images
    plain = fit((X[:200], y[:200]))
    both = (plain.predict_members(X) + plain.predict_members(X[..., ::-1].copy())) / 2
    plain.set_params(views=[None, flip])
    one_view = plain.predict_members(X)
    plain.refit_members(X[200:], y[200:])
    np.testing.assert_allclose(plain.predict_members(X), both, atol=1e-6)
    assert not np.allclose(one_view, both, atol=1e-3)
    plain.partial_fit(X[:200], y[:200])  # they are those of now


def test_a_regressor_averages_values(diabetes):
    X, y = diabetes[0].astype(np.float32), diabetes[1]
    model = SnapshotEnsembleRegressor(Mlp, views=[None, torch.neg], **QUICK).fit(X, y)
    plain = SnapshotEnsembleRegressor(Mlp, **QUICK).fit(X, y)
    expected = (plain.predict(X) + plain.predict(-X)) / 2
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-5)


def test_what_the_module_is_given_may_have_another_shape(images, tmp_path):
    """A crop: the module never sees whole images."""
    model = fit_crops(images)
    assert model.predict_proba(images[0][:5]).shape == (5, 10)
    model.save(tmp_path / "crops")
    again = skensemble.load(tmp_path / "crops", module=Convolutions, trusted=NAMED)
    np.testing.assert_array_equal(again.predict(images[0]), model.predict(images[0]))
    assert again.get_params()["views"] == [left, right]


def left(X):
    return X[..., :6]


def right(X):
    return X[..., 2:]


def double_in_place(X):
    return X.mul_(2)


def test_a_view_that_works_in_place_changes_no_row(images):
    X, y = images
    given = X.copy()
    model = fit((X, y), views=[double_in_place, None], validation=0.3)
    model.predict(X)
    np.testing.assert_array_equal(X, given)
    plain = fit((X, y), views=[double, None], validation=0.3)
    np.testing.assert_allclose(model.predict_proba(X), plain.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"validation": "cross", "n_chains": 2}])
def test_a_view_that_draws_moves_no_training(images, options):
    given = {"transform": noisy, "early_stopping": False, **options}
    one, other = fit(images, views=[noisy, None], **given), fit(images, **given)
    assert same(one.snapshots_, other.snapshots_)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    one.predict(images[0])
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


@pytest.mark.parametrize("options", [{"validation": "last"}, {"validation": KFold(2)}])
def test_monitored_rows_are_seen_in_the_first_view(images, options):
    """Those of the loss of unseen rows after each epoch, and a callback's own predictions."""
    X, y = images
    scoring = EpochScoring("accuracy", name="accuracy", use_caching=False)
    given = {"callbacks": [EarlyStopping(patience=99), ("own", scoring)], **options}
    one = fit((X, y), transform=double, views=[double], **given)
    other = fit((2 * X, y), **given)
    for name in ("valid_loss", "accuracy"):
        np.testing.assert_allclose(one.history_[:, name], other.history_[:, name], rtol=1e-5)
    crops = fit_crops(images, callbacks=[EarlyStopping()], **options)
    assert np.isfinite(crops.history_[:, "valid_loss"]).all()


def double(X):
    return 2 * X


def fit_crops(images, network=Convolutions, **parameters):
    model = SnapshotEnsembleClassifier(
        network, transform=left, views=[left, right], **QUICK, **parameters
    )
    return model.fit(*images)


class Normalised(Convolutions):
    def __init__(self):
        super().__init__()
        self.layers.insert(1, nn.BatchNorm2d(4))


def test_statistics_are_those_of_augmented_rows(images):
    X, y = images
    for make in (average_weights, functools.partial(swag, n_samples=2, random_state=0)):
        given = {"members": 2}
        one = make(fit_crops(images, Normalised), X, **given)
        cut = np.ascontiguousarray(X[..., :6])
        plain = SnapshotEnsembleClassifier(Normalised, **QUICK).fit(cut, y)
        other = make(plain, cut, **given)
        assert same(one.snapshots_, other.snapshots_)
    model = fit_crops(images, Normalised)
    assert np.isfinite(InterpolationDisplay.from_estimator(model, X, y, n_points=3).losses).all()


@pytest.mark.parametrize(
    "transform",
    [
        lambda X: X[..., : int(torch.randint(5, 8, ()))],
        lambda X: {"X": X} if X[0, 0, 0, 0] == X.max() else {"X": X, "Z": X},
    ],
)
def test_chains_together_need_one_shape(transform):
    X = torch.randn(6, 5, 1, 8, 8)
    X[::2, 0, 0, 0, 0] = 99.0
    said = r"Got transform=.*, which made batches of different shapes for chains that train"
    with pytest.raises(ValueError, match=said):
        augment(transform, X, of_chains=True)


def test_chains_together_may_come_as_dicts():
    X = {"a": torch.randn(2, 5, 3), "b": torch.randn(2, 5, 3)}
    assert torch.equal(augment(lambda X: X["a"], X, of_chains=True), X["a"])
    made = augment(lambda X: {"c": X}, X["a"], of_chains=True)
    assert torch.equal(made["c"], X["a"])


def test_votes_are_taken_over_views(images):
    model = fit(images, views=[None, flip], voting="hard")
    soft = model.predict_members(images[0]).argmax(axis=2)
    counts = np.array([np.bincount(row, minlength=10) for row in soft.T])
    np.testing.assert_array_equal(model.predict(images[0]), counts.argmax(axis=1))


# ------------------------------------------------------------------------------- as a parameter


def test_an_estimator_with_a_transform_is_no_transformer(images):
    model = SnapshotEnsembleClassifier(network, transform=flip, **QUICK)
    assert not hasattr(model, "transform")
    assert not hasattr(model, "fit_transform")
    assert clone(model).get_params()["transform"] is flip
    assert "transform=" in repr(model)
    model.set_params(transform=noisy)
    assert model.get_params()["transform"] is noisy
    assert pickle.loads(pickle.dumps(model)).get_params()["transform"] is noisy
    assert SnapshotEnsembleClassifier().get_params()["transform"] is None
    pipeline = make_pipeline(FunctionTransformer(), model)
    assert not hasattr(pipeline, "transform")
    grid = {"snapshotensembleclassifier__transform": [None, flip]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(*images)
    assert hasattr(search.best_estimator_, "predict_proba")
    assert not hasattr(search, "transform")


class Drawing(nn.Module):
    """As some transforms of torchvision: they draw by a `get_params` of their own."""

    @staticmethod
    def get_params(most, size):
        return int(torch.randint(-most, most + 1, ())) % size

    def forward(self, X):
        return torch.roll(X, self.get_params(1, X.shape[-1]), -1)


def test_a_transform_with_get_params_of_its_own_is_no_estimator(images):
    model = SnapshotEnsembleClassifier(network, transform=Drawing(), views=[None, Drawing()])
    model.set_params(**QUICK)
    copy = clone(model)
    assert isinstance(copy.get_params()["transform"], Drawing)
    assert copy.get_params()["transform"] is not model.get_params()["transform"]
    assert isinstance(copy.views[1], Drawing)
    assert model.get_params()["transform"] is not None
    assert "transform__most" not in make_pipeline(model).get_params()
    assert "transform" in model._repr_html_()
    assert GridSearchCV(model, {"n_cycles": [1, 2]}, cv=2).fit(*images).best_score_ > 0


def test_a_further_call_may_have_other_views(images):
    model = fit(images, views=(None, flip))
    model.set_params(views=[None], transform=noisy).partial_fit(*images)
    assert model.n_cycles_ == 3
    plain = fit(images)
    plain.set_params(transform=noisy).partial_fit(*images)
    np.testing.assert_array_equal(model.predict_proba(images[0]), plain.predict_proba(images[0]))
    model.views.append(flip)  # until the next call
    np.testing.assert_array_equal(model.predict_proba(images[0]), plain.predict_proba(images[0]))


def test_files_and_checkpoints(images, tmp_path):
    model = fit(images, transform=Shift(), checkpoint_dir=tmp_path / "runs")
    file = tmp_path / "model.skens"
    fit(images, transform=noisy, views=[None, flip]).save(file)
    again = skensemble.load(file, module=network, trusted=NAMED)
    assert again.get_params()["transform"] is noisy
    other = fit(images, transform=Shift(2), checkpoint_dir=tmp_path / "runs")
    assert not same(model.snapshots_, other.snapshots_)
    assert len([*(tmp_path / "runs").iterdir()]) == 2


# ------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"transform": lambda X: X[:-1]}, r"Got transform=.*, which made \d+ rows of a batch of"),
        ({"transform": lambda X: None}, r"Got transform=.*, which made NoneType of a batch of"),
        ({"transform": 3}, "Got transform=3, but expected a callable or None"),
        ({"transform": [flip]}, "Give one function"),
        ({"views": flip}, r"Got views=<function flip.*Make a list of functions"),
        ({"views": []}, "expected a list of functions, one at least"),
        ({"views": [None, "flip"]}, "expected a list of functions, one at least"),
        ({"views": [lambda X: X[1:]]}, r"Got views=.*, which made \d+ rows of a batch of"),
        ({"module": None, "transform": flip}, "Got transform=.* with module=None, but expected a"),
        ({"module": None, "views": [None]}, "Got views=.* with module=None, but expected a module"),
    ],
)
def test_mistakes_are_named(images, parameters, said):
    X, y = images
    X = X.reshape(len(X), -1) if "module" in parameters else X
    model = SnapshotEnsembleClassifier(**{"module": network, **QUICK, **parameters})
    with pytest.raises(ValueError, match=said):
        model.fit(X, y)


def test_what_cannot_heed_views_says_so(iris, tmp_path):
    model = SnapshotEnsembleClassifier(Mlp, views=[None], validation="cross", n_chains=2, **QUICK)
    X = iris[0].astype(np.float32)
    model.fit(X, iris[1])
    with pytest.raises(NotImplementedError, match=r"Got views=.*, but expected none: the file"):
        model.to_onnx(tmp_path / "model.onnx")
    with pytest.raises(ValueError, match=r"Got views=.*, but expected none: columns are switched"):
        model.unseen_importance(X, iris[1])
