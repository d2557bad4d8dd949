"""Detects copies of training images among samples: exact, compressed, mirrored, or nearly identical."""

from __future__ import annotations

import torch
from torch import Tensor

# Number of samples to compare with the training images, spread evenly over all samples.
CHECKED = 1000
# Images are compared by their means over an 8x8 grid of squares, so that noise and compression hide no copy.
SQUARES = 8


def share_memorised(samples: Tensor, train: Tensor, copy: float) -> float:
    """The share of samples that copy a training image or its mirror image.

    Both arguments are uint8 (n, channels, s, s). An image is a copy if the Euclidean distance between the two
    images' `coarse` means is below `copy`.
    """
    step = max(1, len(samples) // CHECKED)
    some = samples[::step][:CHECKED]
    known = coarse(train)
    nearest = torch.minimum(distances(coarse(some), known), distances(coarse(some.flip(-1)), known))
    return float((nearest < copy).float().mean())


def coarse(images: Tensor) -> Tensor:
    """Means over an 8x8 grid of squares of images uint8 (n, channels, s, s): (n, channels * 64) in [0, 1]."""
    square = images.shape[-1] // SQUARES
    parts = [torch.nn.functional.avg_pool2d(part.float() / 255, square) for part in images.split(1000)]
    return torch.cat(parts).flatten(1)


def distances(one: Tensor, other: Tensor, k: int = 1) -> Tensor:
    """Distance of each row of `one` to its k-th nearest row of `other`, (n,)."""
    parts = [torch.cdist(part, other).topk(k, 1, largest=False).values[:, -1] for part in one.split(250)]
    return torch.cat(parts)
