"""The standard convolutional generator of Miyato et al. (2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ebbench.contract import DataSpec
from ebbench.nn.nets import generator


def standard_generator(data: DataSpec, z_dim: int, *, width: int, layers: Sequence[int]) -> nn.Module:
    """Latent vectors (n, z_dim) -> examples (n, *data.shape), of images in (-1, 1).

    Miyato et al., Table 3a: linear to a small map, 4x4 transposed convolutions that double its side with
    batch norm and ReLU, 3x3 and tanh; channels halve at each and end at `width` (the paper: 64). Images of
    32x32 begin at 4x4, as in the paper, and so do those of 64, 128 and 256 pixels, whose first maps have no
    more channels; those of 28x28 begin at 7x7. `layers` are the hidden sizes for vectors.

    For methods without a gradient penalty: MEG's generator of 28x28, from maps of 2x2, falls to a single
    image under their discriminators within a hundred steps. Raises ContractError for other shapes.
    """
    match data.shape:
        case (channels, 28, 28):
            made: list[nn.Module] = [nn.Linear(z_dim, 4 * width * 7 * 7), nn.Unflatten(1, (4 * width, 7, 7))]
            for wide in (4 * width, 2 * width):
                made += [nn.ConvTranspose2d(wide, wide // 2, 4, 2, 1), nn.BatchNorm2d(wide // 2), nn.ReLU()]
            made += [nn.Conv2d(width, channels, 3, padding=1), nn.Tanh()]
            return nn.Sequential(*made).to(memory_format=torch.channels_last)
    # Of 32x32 it is the one that MEG's authors took.
    return generator(data, z_dim, width=width, kernel=4, layers=layers)
