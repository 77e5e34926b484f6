"""Ways to spend a budget of epochs on one network: cycles, restarts, averages, and other packages.

Each returns its members' probabilities for the test images, and the weights of their mean.
"""

import contextlib
import io
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from skensemble import SnapshotEnsembleClassifier

from .image_sets import Images

#: Probabilities of members, (members, n, classes), and their weights.
Members = tuple[np.ndarray, np.ndarray]

MOMENTUM = 0.9
WEIGHT_DECAY = 1e-4

#: Cycles of the ways that have a number of them.
M = 5


#: Makes another ensemble of one that is fitted to these images, with a seed.
Make = Callable[[Any, Images, int], Any]


class Way(NamedTuple):
    """A way to spend the budget."""

    #: Of the images and a seed.
    run: Callable[[Images, int], Members]
    #: The package that it needs.
    package: str = "skensemble"


def estimator(images: Images, seed: int, **parameters: Any) -> SnapshotEnsembleClassifier:
    """Return the textbook method: one chain, equal cycles, the mean of all snapshots."""
    given: dict[str, Any] = {
        "max_epochs": images.epochs,
        "batch_size": images.batch_size,
        "lr": images.lr,
        "n_cycles": M,
        "cycle_mult": 1.0,
        "optimizer": "SGD",
        "optimizer__momentum": MOMENTUM,
        "optimizer__weight_decay": WEIGHT_DECAY,
        "validation": None,
        "random_state": seed,
        **parameters,
    }
    return SnapshotEnsembleClassifier(images.network, **given)


def as_it_is(model: Any, images: Images, seed: int) -> Any:
    """Make nothing else of an ensemble."""
    return model


def fitted(
    build: Callable[[Images, int], SnapshotEnsembleClassifier],
    make: Make = as_it_is,
) -> Way:
    """Return a way that fits an estimator, and predicts with it or with what is made of it."""

    def run(images: Images, seed: int) -> Members:
        made = make(build(images, seed).fit(images.X, images.y), images, seed)
        return made.predict_members(images.X_test), made.member_weights_

    return Way(run)


def cycles(make: Make = as_it_is, **parameters: Any) -> Way:
    """Return a way that is a fit with these parameters; functions of the epochs are called."""

    def build(images: Images, seed: int) -> SnapshotEnsembleClassifier:
        asked = {k: v(images.epochs) if k == "max_epochs" else v for k, v in parameters.items()}
        return estimator(images, seed, **asked)

    return fitted(build, make)


def no_cycle(at: Any) -> float:
    """Return one cosine over all cycles: "NoCycle" snapshots of Huang et al. 2017, section 4.3."""
    return 0.5 * (1 + math.cos(math.pi * (at.cycle + at.progress) / M))


def averaged(model: Any, images: Images, seed: int) -> Any:
    """Average the weights of the last M cycles: SWA (Izmailov et al. 2018)."""
    from skensemble import averaging

    return averaging.average_weights(model, images.X, members=M)


def drawn(model: Any, images: Images, seed: int) -> Any:
    """Draw networks around that average: SWAG (Maddox et al. 2019)."""
    from skensemble import averaging

    return averaging.swag(model, images.X, members=M, random_state=seed)


def pruned(model: Any, images: Images, seed: int) -> Any:
    """Keep the three cycles that predict the rows best that were left out."""
    from skensemble import averaging

    return averaging.prune(model, 3, images.X, images.y)


def distilled(model: Any, images: Images, seed: int) -> Any:
    """Train one network on what the ensemble says of the training rows."""
    from skensemble import averaging

    return averaging.distill(model, images.X, n_cycles=1)


def short_cycles(burn_in: float, make: Make = as_it_is) -> Way:
    """Return a way that spends most of the budget as usual, the rest in short triangles."""

    def build(images: Images, seed: int) -> SnapshotEnsembleClassifier:
        from skensemble import averaging

        short = (1 - burn_in) * images.epochs / M
        made = estimator(images, seed)
        return averaging.fge(made, images.epochs, burn_in=burn_in, cycle_epochs=short)

    return fitted(build, make)


def loader(images: Images, seed: int) -> DataLoader[Any]:
    """Return batches as other packages take them."""
    data = TensorDataset(torch.from_numpy(images.X), torch.from_numpy(images.y))
    generator = torch.Generator().manual_seed(seed)
    return DataLoader(data, images.batch_size, shuffle=True, generator=generator)


@torch.no_grad()
def probabilities(modules: Sequence[nn.Module], X: np.ndarray) -> np.ndarray:
    """Return what modules that return scores say."""
    rows = torch.from_numpy(X)
    return np.array([torch.softmax(m.eval()(rows).double(), dim=1).numpy() for m in modules])


def fit_torch_ensemble(images: Images, seed: int) -> Any:
    """Fit TorchEnsemble's SnapshotEnsembleClassifier."""
    from torchensemble import SnapshotEnsembleClassifier as TheirEnsemble

    logging.disable()
    torch.manual_seed(seed)
    model = TheirEnsemble(estimator=images.network(), n_estimators=M, cuda=False)
    model.set_criterion(nn.CrossEntropyLoss())
    model.set_optimizer("SGD", lr=images.lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY)
    epochs = images.epochs - images.epochs % M  # it wants as many in each cycle
    with contextlib.redirect_stdout(io.StringIO()):  # it prints a line an epoch
        model.fit(loader(images, seed), epochs=epochs, save_model=False, log_interval=10**9)
    return model


def torch_ensemble(images: Images, seed: int) -> Members:
    """Return what TorchEnsemble's snapshots say."""
    model = fit_torch_ensemble(images, seed)
    return probabilities(list(model.estimators_), images.X_test), np.full(M, 1 / M)


def torch_uncertainty(images: Images, seed: int) -> Members:
    """Collect snapshots by torch-uncertainty's CheckpointCollector, in a loop by hand.

    The package has no cyclic rate of its own; the loop has torch's.
    """
    from torch_uncertainty.methods import CheckpointCollector

    torch.manual_seed(seed)
    epochs = images.epochs // M
    module = CheckpointCollector(
        images.network(), save_schedule=[epochs * (m + 1) for m in range(M)], use_final_model=False
    )
    batches = loader(images, seed)
    optimizer = torch.optim.SGD(
        module.core_model.parameters(), images.lr, MOMENTUM, weight_decay=WEIGHT_DECAY
    )
    rate = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, epochs * len(batches))
    criterion = nn.CrossEntropyLoss()
    for epoch in range(epochs * M):
        module.core_model.train()
        for X, y in batches:
            optimizer.zero_grad()
            criterion(module.core_model(X), y).backward()
            optimizer.step()
            rate.step()
        module.update_wrapper(epoch + 1)
    return probabilities(list(module.saved_models), images.X_test), np.full(M, 1 / M)


#: Ways by their names.
WAYS: dict[str, Way] = {
    "single network": cycles(n_cycles=1),
    "3 snapshots": cycles(n_cycles=3),
    "5 snapshots": cycles(),
    "5 snapshots, last 3": cycles(members=3),
    "8 snapshots": cycles(n_cycles=8),
    "8 snapshots, last 5": cycles(n_cycles=8, members=5),
    "5 snapshots, twice the rate": cycles(lr=0.2),
    "5 cycles, 3 snapshots each": cycles(snapshots_per_cycle=3),
    "5 snapshots without cycles": cycles(schedule=no_cycle),
    "5 cold restarts": cycles(restart="cold"),
    "5 star restarts": cycles(restart="star"),
    "5 snapshots, peaks fall by a fifth": cycles(schedule__cycle_decay=0.8),
    "3 of 8 snapshots, pruned by a fifth of the rows": cycles(
        pruned, n_cycles=8, validation=0.2, early_stopping=False
    ),
    "5 snapshots, distilled, 2 budgets": cycles(distilled),
    "SGDR, cycles twice as long": cycles(cycle_mult=2.0),
    "CLR, triangular": cycles(schedule="triangular"),
    "FGE": short_cycles(0.8),  # Garipov et al. 2018
    "SWA": short_cycles(0.75, averaged),
    "SWAG": short_cycles(0.75, drawn),
    "2 chains x 3 cycles, half the epochs": cycles(
        n_chains=2, n_cycles=3, max_epochs=lambda epochs: epochs // 2
    ),
    "deep ensemble, 5 budgets": cycles(n_chains=M, n_cycles=1),
    "5 chains x 3 cycles, 5 budgets": cycles(n_chains=M, n_cycles=3),
    "TorchEnsemble, 5 snapshots": Way(torch_ensemble, "torchensemble"),
    "torch-uncertainty, 5 snapshots": Way(torch_uncertainty, "torch-uncertainty"),
}
