"""One convolutional network and five snapshots: our fit beside a loop by hand and TorchEnsemble."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from .image_sets import SETS, Images, small_digits
from .image_ways import MOMENTUM, WEIGHT_DECAY, M, estimator, fit_torch_ensemble
from .methods import version_of
from .timing import interleaved, ratios


def run(repeats: int, smallest: bool, peers: bool) -> list[dict[str, Any]]:
    """Return a row for each set of images: seconds of the loop, and the ratios of our fit."""
    rows = []
    for images in sets_of(smallest, epochs=20):
        ways = {
            "ours": lambda images=images: estimator(images, 0).fit(images.X, images.y),
            "loop": lambda images=images: loop(images),
        }
        if peers:
            ways["TorchEnsemble"] = lambda images=images: fit_torch_ensemble(images, 0)
        seconds = interleaved(ways, repeats)
        row = {"images": images.name, "loop, s": float(np.median(seconds["loop"]))}
        for way in ("loop", "TorchEnsemble"):
            if way in seconds:
                row[f"ours / {way}"] = ratios(seconds, way)["ours"]
        rows.append(row)
    return rows


def sets_of(smallest: bool, epochs: int) -> Iterator[Images]:
    """Yield the sets whose packages are installed, for so many epochs; or few rows of one."""
    for make, package in SETS.values():
        if version_of([package]) is None or (smallest and make is not small_digits):
            continue
        images = make(0)
        few = 200 if smallest else len(images.X)
        yield images._replace(X=images.X[:few], y=images.y[:few], epochs=M if smallest else epochs)


class Shuffled:
    """Batches of tensors in memory, in a new order each time."""

    def __init__(self, images: Images):
        self.X, self.y = torch.from_numpy(images.X), torch.from_numpy(images.y)
        self.batch_size = images.batch_size

    def __len__(self) -> int:
        return math.ceil(len(self.y) / self.batch_size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for index in torch.randperm(len(self.y)).split(self.batch_size):
            yield self.X[index], self.y[index]


def loop(images: Images, batches: Any = None) -> list[dict[str, torch.Tensor]]:
    """Train as a user of PyTorch does by hand, and return the snapshots.

    The batches are a DataLoader's; None: those of tensors in memory.
    """
    torch.manual_seed(0)
    batches = Shuffled(images) if batches is None else batches
    module, criterion = images.network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(
        module.parameters(), images.lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
    )
    cycle, step, taken = images.epochs * len(batches) // M, 0, []
    for _ in range(images.epochs):
        for X, y in batches:
            for group in optimizer.param_groups:
                group["lr"] = images.lr / 2 * (1 + math.cos(math.pi * (step % cycle) / cycle))
            optimizer.zero_grad()
            criterion(module(X), y).backward()
            optimizer.step()
            step += 1
            if step % cycle == 0:
                taken.append({k: value.clone() for k, value in module.state_dict().items()})
    return taken
