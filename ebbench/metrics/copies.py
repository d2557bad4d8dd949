"""Copies of training images among samples: exact, compressed, mirrored, or nearly so."""

from __future__ import annotations

import torch
from torch import Tensor

# Samples that are compared with the training images, spread evenly over all of them.
CHECKED = 1000
# Images are compared by the means of so many squares a side, so that noise and compression hide no copy.
SQUARES = 8


def share_memorised(samples: Tensor, train: Tensor, copy: float) -> float:
    """The share of samples that copy training images, mirrored ones too; both uint8 (n, channels, s, s).

    `copy` is the distance of their `coarse` means below which an image is a copy of another.
    """
    step = max(1, len(samples) // CHECKED)
    some = samples[::step][:CHECKED]
    known = coarse(train)
    nearest = torch.minimum(distances(coarse(some), known), distances(coarse(some.flip(-1)), known))
    return float((nearest < copy).float().mean())


def coarse(images: Tensor) -> Tensor:
    """The means of 8x8 squares, (n, channels * 64) in [0, 1], of images uint8 (n, channels, s, s)."""
    square = images.shape[-1] // SQUARES
    parts = [torch.nn.functional.avg_pool2d(part.float() / 255, square) for part in images.split(1000)]
    return torch.cat(parts).flatten(1)


def distances(one: Tensor, other: Tensor, k: int = 1) -> Tensor:
    """The distance of each row of `one` to the k-th nearest of `other`, (n,)."""
    parts = [torch.cdist(part, other).topk(k, 1, largest=False).values[:, -1] for part in one.split(250)]
    return torch.cat(parts)
