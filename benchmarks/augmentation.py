"""Augmentation of whole batches by ``transform=`` beside that of single images in a DataLoader."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from .convolution import loop, sets_of
from .image_sets import Images
from .image_ways import estimator
from .timing import interleaved, ratios

#: Most pixels by which an image is moved, in each direction.
MOST = 2


def shift_batch(X: torch.Tensor) -> torch.Tensor:
    """Move each image of a batch by a draw of its own; what comes in is black."""
    n, _, height, width = X.shape
    wide = nn.functional.pad(X, [MOST] * 4)
    windows = wide.unfold(2, height, 1).unfold(3, width, 1)
    down, right = torch.randint(0, 2 * MOST + 1, (2, n))
    return windows[torch.arange(n), :, down, right]


def shift_image(X: torch.Tensor) -> torch.Tensor:
    """Move one image in the same way."""
    _, height, width = X.shape
    wide = nn.functional.pad(X, [MOST] * 4)
    down, right = torch.randint(0, 2 * MOST + 1, (2,)).tolist()
    return wide[:, down : down + height, right : right + width]


def turn_batch(X: torch.Tensor) -> torch.Tensor:
    """Turn each image of a batch by up to ten degrees, by a draw of its own."""
    angle = math.radians(10) * (2 * torch.rand(len(X)) - 1)
    cos, sin, zero = torch.cos(angle), torch.sin(angle), torch.zeros(len(X))
    matrix = torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).reshape(-1, 2, 3)
    grid = nn.functional.affine_grid(matrix, list(X.shape), align_corners=False)
    return nn.functional.grid_sample(X, grid, align_corners=False)


def turn_image(X: torch.Tensor) -> torch.Tensor:
    """Turn one image in the same way."""
    return turn_batch(X[None])[0]


#: Of a batch, and of one image.
WAYS = {"shift": (shift_batch, shift_image), "turn": (turn_batch, turn_image)}


class Augmented(Dataset[Any]):
    """Images that are changed as they are read, as one writes it for a DataLoader."""

    def __init__(self, images: Images, change: Callable[[torch.Tensor], torch.Tensor]):
        self.X, self.y, self.change = *map(torch.from_numpy, (images.X, images.y)), change

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.change(self.X[i]), self.y[i]


def run(repeats: int, smallest: bool) -> list[dict[str, Any]]:
    """Return a row for each set of images: seconds of ours, and its ratios to two loaders."""
    rows = []
    sets = [images for images in sets_of(smallest, epochs=10) if images.X.ndim == 4]
    for images, (name, (of_batch, of_image)) in itertools.product(sets, WAYS.items()):
        data = Augmented(images, of_image)
        loader = DataLoader(data, images.batch_size, shuffle=True)
        ways = {
            "transform": lambda images=images, of_batch=of_batch: estimator(
                images, 0, transform=of_batch
            ).fit(images.X, images.y),
            "dataset": lambda images=images, data=data: estimator(images, 0).fit(data),
            "loop": lambda images=images, loader=loader: loop(images, loader),
            "none": lambda images=images: estimator(images, 0).fit(images.X, images.y),
        }
        seconds = interleaved(ways, repeats)
        row = {
            "images": images.name,
            "change": name,
            "transform=, s": float(np.median(seconds["transform"])),
        }
        for way, said in (
            ("dataset", "the same estimator with a dataset"),
            ("loop", "a loop by hand with a DataLoader"),
            ("none", "no augmentation"),
        ):
            row[f"transform= / {said}"] = ratios(seconds, way)["transform"]
        rows.append(row)
    return rows
