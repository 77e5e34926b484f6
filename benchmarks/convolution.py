"""One convolutional network and five snapshots: our fit beside a loop by hand and TorchEnsemble."""

import math
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
    for make, package in SETS.values():
        if version_of([package]) is None or (smallest and make is not small_digits):
            continue
        images = make(0)
        few = 200 if smallest else len(images.X)
        images = images._replace(X=images.X[:few], y=images.y[:few], epochs=M if smallest else 20)
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


def loop(images: Images) -> list[dict[str, torch.Tensor]]:
    """Train as a user of PyTorch does by hand over tensors in memory; return the snapshots."""
    torch.manual_seed(0)
    rows, targets = torch.from_numpy(images.X), torch.from_numpy(images.y)
    module, criterion = images.network(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(
        module.parameters(), images.lr, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY
    )
    steps = math.ceil(len(rows) / images.batch_size)
    cycle, taken = images.epochs * steps // M, []
    for epoch in range(images.epochs):
        order = torch.randperm(len(rows))
        for i in range(steps):
            step = epoch * steps + i
            index = order[i * images.batch_size : (i + 1) * images.batch_size]
            for group in optimizer.param_groups:
                group["lr"] = images.lr / 2 * (1 + math.cos(math.pi * (step % cycle) / cycle))
            optimizer.zero_grad()
            criterion(module(rows[index]), targets[index]).backward()
            optimizer.step()
            if (step + 1) % cycle == 0:
                taken.append({k: value.clone() for k, value in module.state_dict().items()})
    return taken
