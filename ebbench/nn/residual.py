"""Residual nets for images of 32x32, as Gulrajani et al. (2017) and Miyato et al. (2018) built them."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu

from ebbench.contract import DataSpec
from ebbench.errors import ContractError


class Up(nn.Module):
    """(n, wide, s, s) -> (n, width, 2s, 2s): batch norm, ReLU, twice the side, 3x3, and once more, plus x."""

    def __init__(self, wide: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(wide), nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(wide, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Conv2d(wide, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        h = self.conv1(_twice(relu(self.norm1(x))))
        made: Tensor = self.conv2(relu(self.norm2(h))) + self.shortcut(_twice(x))
        return made


class Down(nn.Module):
    """(n, narrow, s, s) -> (n, width, s/2, s/2), or the same side: ReLU, 3x3, ReLU, 3x3, mean of 2x2, plus x.

    No normalisation. The `first` block begins with its convolution: an image has nothing to rectify.
    """

    def __init__(self, narrow: int, width: int, *, halves: bool, first: bool = False) -> None:
        super().__init__()
        self.halves, self.first = halves, first
        self.conv1 = nn.Conv2d(narrow, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Conv2d(narrow, width, 1) if halves else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        h = self.conv2(relu(self.conv1(x if self.first else relu(x))))
        if not self.halves:
            made: Tensor = h + self.shortcut(x)
            return made
        # A mean and a 1x1 convolution commute: the cheaper order is the mean first.
        made = avg_pool2d(h, 2) + self.shortcut(avg_pool2d(x, 2))
        return made


class ResidualGenerator32(nn.Module):
    """Latent vectors (n, z_dim) -> images (n, channels, 32, 32) in (-1, 1): linear to 4x4, three blocks."""

    def __init__(self, z_dim: int, channels: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.first = nn.Linear(z_dim, 16 * width)
        self.blocks = nn.Sequential(*(Up(width, width) for _ in range(3)))
        self.norm = nn.BatchNorm2d(width)
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        self.to(memory_format=torch.channels_last)

    def forward(self, z: Tensor) -> Tensor:
        """Images for the latent vectors `z`."""
        h = self.first(z).view(len(z), self.width, 4, 4).contiguous(memory_format=torch.channels_last)
        images: Tensor = self.last(relu(self.norm(self.blocks(h)))).tanh()
        return images


class ResidualTrunk32(nn.Module):
    """Images (n, channels, 32, 32) -> features (n, width): four blocks, two of which halve the side.

    The last map is summed over its places (Miyato et al.) or averaged (Gulrajani et al.).
    """

    def __init__(self, channels: int, width: int, pool: Literal["sum", "mean"]) -> None:
        super().__init__()
        self.pool = pool
        self.features = width
        self.blocks = nn.Sequential(
            Down(channels, width, halves=True, first=True),
            Down(width, width, halves=True),
            Down(width, width, halves=False),
            Down(width, width, halves=False),
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """The features of images `x`."""
        h = relu(self.blocks(x.contiguous(memory_format=torch.channels_last)))
        return h.sum((2, 3)) if self.pool == "sum" else h.mean((2, 3))


def residual_nets(
    data: DataSpec, z_dim: int, *, width: int, generator_width: int, pool: Literal["sum", "mean"]
) -> tuple[ResidualTrunk32, ResidualGenerator32]:
    """The trunk of a critic and a generator for images of 32x32. Raises ContractError for other shapes."""
    if data.shape[1:] != (32, 32):
        raise ContractError(
            f"residual nets for examples of shape {data.shape}",
            where="the model's settings",
            expected="images of 32x32",
            fix="leave nets=residual out",
        )
    channels = data.shape[0]
    return ResidualTrunk32(channels, width, pool), ResidualGenerator32(z_dim, channels, generator_width)


def _twice(x: Tensor) -> Tensor:
    return interpolate(x, scale_factor=2.0, mode="nearest")
