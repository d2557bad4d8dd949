"""Residual networks for images, following Gulrajani et al. (2017) and Miyato et al. (2018).

For 32x32 images all maps have the same number of channels (both papers, CIFAR-10). From 64x64 on, the
channels double with each halving of the side, up to a factor of 16 (Miyato et al., 128x128 ImageNet).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu

from ebbench.contract import DataSpec
from ebbench.errors import ContractError
from ebbench.nn.dcgan import SIDES, doublings


class Up(nn.Module):
    """Residual block (n, wide, s, s) -> (n, width, 2s, 2s) that doubles the side.

    Batch norm, ReLU, upsampling, 3x3 convolution, batch norm, ReLU, 3x3 convolution, plus the shortcut.
    """

    def __init__(self, wide: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(wide), nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(wide, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Conv2d(wide, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output, (n, width, 2s, 2s)."""
        h = self.conv1(_twice(relu(self.norm1(x))))
        made: Tensor = self.conv2(relu(self.norm2(h))) + self.shortcut(_twice(x))
        return made


class Down(nn.Module):
    """Residual block (n, narrow, s, s) -> (n, width, s/2, s/2), or the same side without `halves`.

    ReLU, 3x3 convolution, ReLU, 3x3 convolution, 2x2 mean pooling, plus the shortcut; no normalisation. The
    `first` block has no leading ReLU, because its input is the image.
    """

    def __init__(self, narrow: int, width: int, *, halves: bool, first: bool = False) -> None:
        super().__init__()
        self.halves, self.first = halves, first
        self.conv1 = nn.Conv2d(narrow, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Conv2d(narrow, width, 1) if halves else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """The block's output, (n, width, s/2, s/2) or (n, width, s, s)."""
        h = self.conv2(relu(self.conv1(x if self.first else relu(x))))
        if not self.halves:
            made: Tensor = h + self.shortcut(x)
            return made
        # Mean pooling and a 1x1 convolution commute; pooling first is cheaper.
        made = avg_pool2d(h, 2) + self.shortcut(avg_pool2d(x, 2))
        return made


class ResidualGenerator(nn.Module):
    """Latent vectors (n, z_dim) -> images (n, channels, side, side) in (-1, 1).

    A linear layer to a 4x4 map, then blocks that double the side. `width` is the number of channels of the
    last block, and of all blocks if `side` is 32.
    """

    def __init__(self, z_dim: int, channels: int, width: int, side: int = 32) -> None:
        super().__init__()
        widths = _widths(width, side)[::-1]
        self.width = widths[0]
        self.first = nn.Linear(z_dim, 16 * widths[0])
        self.blocks = nn.Sequential(*(Up(wide, narrow) for wide, narrow in pairwise(widths)))
        self.norm = nn.BatchNorm2d(width)
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        self.to(memory_format=torch.channels_last)

    def forward(self, z: Tensor) -> Tensor:
        """Images for latent vectors `z`."""
        h = self.first(z).view(len(z), self.width, 4, 4).contiguous(memory_format=torch.channels_last)
        images: Tensor = self.last(relu(self.norm(self.blocks(h)))).tanh()
        return images


class ResidualTrunk(nn.Module):
    """Images (n, channels, side, side) -> features (n, `features`), the channels of the last map.

    For 32x32 images: four blocks of `width` channels, the first two halving the side. From 64x64 on: blocks
    that halve the side down to 4x4, starting at `width` channels, and one more. The last map is summed over
    positions (Miyato et al.) or averaged (Gulrajani et al.).
    """

    def __init__(self, channels: int, width: int, pool: Literal["sum", "mean"], side: int = 32) -> None:
        super().__init__()
        self.pool = pool
        # (channels, halves the side) of each block.
        made = [(width, True), (width, True), (width, False), (width, False)]
        if side > 32:
            widths = _widths(width, side)[:-1]
            made = [*((wide, True) for wide in widths), (widths[-1], False)]
        self.features = made[-1][0]
        blocks, before = [], channels
        for i, (wide, halves) in enumerate(made):
            blocks.append(Down(before, wide, halves=halves, first=i == 0))
            before = wide
        self.blocks = nn.Sequential(*blocks)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """The features of images `x`."""
        h = relu(self.blocks(x.contiguous(memory_format=torch.channels_last)))
        return h.sum((2, 3)) if self.pool == "sum" else h.mean((2, 3))


def residual_nets(
    data: DataSpec, z_dim: int, *, width: int, generator_width: int, pool: Literal["sum", "mean"]
) -> tuple[ResidualTrunk, ResidualGenerator]:
    """A critic's trunk and a generator for square images with a side in SIDES.

    Raises ContractError for other shapes.
    """
    match data.shape:
        case (channels, side, other) if side == other and side in SIDES:
            return (
                ResidualTrunk(channels, width, pool, side),
                ResidualGenerator(z_dim, channels, generator_width, side),
            )
    raise ContractError(
        f"residual nets for examples of shape {data.shape}",
        where="the model's settings",
        expected="images of 32x32, 64x64, 128x128 or 256x256",
        fix="leave nets=residual out",
    )


def _widths(width: int, side: int) -> list[int]:
    """Channels of the maps, from the image's side down to 4x4."""
    return [width * (1 if side == 32 else min(16, 2**i)) for i in range(doublings(side) + 1)]


def _twice(x: Tensor) -> Tensor:
    return interpolate(x, scale_factor=2.0, mode="nearest")
