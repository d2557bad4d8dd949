"""The standard convolutional generator of Miyato et al. (2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ebbench.contract import DataSpec
from ebbench.nn.nets import generator


def standard_generator(data: DataSpec, z_dim: int, *, width: int, layers: Sequence[int]) -> nn.Module:
    """A network that maps latent vectors (n, z_dim) to examples (n, *data.shape), images in (-1, 1).

    Miyato et al. (2018), Table 3a: a linear layer to a small map, 4x4 transposed convolutions with batch norm
    and ReLU that double its side, then a 3x3 convolution and tanh. The channels halve at each layer and end
    at `width` (the paper: 64). 32x32 images start from a 4x4 map, as in the paper; so do 64x64 to 256x256
    images, whose first maps have no more channels than that; 28x28 images start from 7x7. `layers` are the
    hidden sizes for vectors.

    Meant for methods without a gradient penalty: under their discriminators, MEG's 28x28 generator, which
    starts from 2x2 maps, collapses to a single image within a hundred steps. Raises ContractError for other
    shapes.
    """
    match data.shape:
        case (channels, 28, 28):
            made: list[nn.Module] = [nn.Linear(z_dim, 4 * width * 7 * 7), nn.Unflatten(1, (4 * width, 7, 7))]
            for wide in (4 * width, 2 * width):
                made += [nn.ConvTranspose2d(wide, wide // 2, 4, 2, 1), nn.BatchNorm2d(wide // 2), nn.ReLU()]
            made += [nn.Conv2d(width, channels, 3, padding=1), nn.Tanh()]
            return nn.Sequential(*made).to(memory_format=torch.channels_last)
    # For 32x32 images this is also the generator of MEG's authors.
    return generator(data, z_dim, width=width, kernel=4, layers=layers)
