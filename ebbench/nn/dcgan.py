"""DCGAN networks for 28x28 (MNIST) and 32x32 images (CIFAR-10), as MEG's authors built them.

The 32x32 networks extend to 64x64, 128x128 and 256x256 by one layer, or pair of layers, per factor of 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from ebbench.errors import UsageError

# Sides of the feature maps of four stride-2 layers on 28x28 images.
_SIDES_28 = (2, 4, 7, 14, 28)
# Image sides that the other networks support: 4 * 2^k for k = 3 to 6.
SIDES = (32, 64, 128, 256)


class Generator28(nn.Module):
    """Latent vectors (n, z_dim) -> images (n, channels, 28, 28) in (-1, 1).

    A linear layer to a 2x2 map with 8 * `width` channels, then four stride-2 transposed convolutions. Batch
    norm and ReLU in between, tanh at the end. MEG's authors use `width` 64 and `kernel` 5. `hidden` sets the
    channels of the four maps before the image, instead of 8, 4, 2 and 1 times `width`.

    Raises UsageError if `hidden` has neither 0 nor 4 entries.
    """

    def __init__(
        self, z_dim: int, channels: int, width: int, kernel: int = 5, hidden: Sequence[int] = ()
    ) -> None:
        super().__init__()
        if len(hidden) not in (0, 4):
            raise UsageError(
                f"{len(hidden)} maps for a generator of 28x28 images",
                where="the model's settings",
                expected="the channels of its four hidden maps, or none",
                fix="give four numbers, as in --set generator_maps=[128,96,64,48]",
            )
        widths = (*(hidden or (8 * width, 4 * width, 2 * width, width)), channels)
        self.first = nn.Linear(z_dim, widths[0] * 4)
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for (small, large), (wide, narrow) in zip(pairwise(_SIDES_28), pairwise(widths), strict=True):
            size, padding = _fitting(kernel, large)
            # 2 -> 4, 7 -> 14 and 14 -> 28 double the side; 4 -> 7 does not, so it has another output padding.
            extra = large - ((small - 1) * 2 - 2 * padding + size)
            layers.append(nn.ConvTranspose2d(wide, narrow, size, 2, padding, output_padding=extra))
            if large < 28:
                layers += [nn.BatchNorm2d(narrow), nn.ReLU()]
        self.rest = nn.Sequential(*layers, nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        """Images for latent vectors `z`."""
        h = self.first(z).view(len(z), -1, 2, 2).contiguous(memory_format=torch.channels_last)
        images: Tensor = self.rest(h)
        return images


class Trunk28(nn.Sequential):
    """Images (n, channels, 28, 28) -> features (n, `features`): four stride-2 convolutions, LeakyReLU 0.2.

    It has no normalisation, because a gradient penalty acts on each example separately (Gulrajani et al.
    2017, section 4).
    """

    def __init__(self, channels: int, width: int, kernel: int = 5) -> None:
        layers: list[nn.Module] = []
        widths = (channels, width, 2 * width, 4 * width, 8 * width)
        for large, (narrow, wide) in zip(_SIDES_28[:0:-1], pairwise(widths), strict=True):
            size, padding = _fitting(kernel, large)
            layers += [nn.Conv2d(narrow, wide, size, 2, padding), nn.LeakyReLU(0.2)]
        super().__init__(*layers, nn.Flatten())
        self.features = 32 * width


class Generator(nn.Module):
    """Latent vectors (n, z_dim) -> images (n, channels, side, side) in (-1, 1), `side` one of SIDES.

    A linear layer to a 4x4 map with 8 * `width` channels and no batch norm, then 4x4 stride-2 transposed
    convolutions with batch norm and ReLU, then a 3x3 convolution and tanh. The channels are `width` at the
    image's side and double with each halving, up to 8 * `width`. MEG's code has `width` 64 and 32x32 images.
    """

    def __init__(self, z_dim: int, channels: int, width: int, side: int = 32) -> None:
        super().__init__()
        widths = _widths(width, side)[::-1]
        self.first = nn.Linear(z_dim, widths[0] * 16)
        layers: list[nn.Module] = []
        for wide, narrow in pairwise(widths):
            layers += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1), nn.BatchNorm2d(narrow), nn.ReLU()]
        self.rest = nn.Sequential(*layers, nn.Conv2d(width, channels, 3, padding=1), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        """Images for latent vectors `z`."""
        h = self.first(z).view(len(z), -1, 4, 4).contiguous(memory_format=torch.channels_last)
        images: Tensor = self.rest(h)
        return images


class Trunk(nn.Sequential):
    """Images (n, channels, side, side) -> features (n, `features`): convolutions with LeakyReLU 0.1.

    3x3 stride-1 and 4x4 stride-2 convolutions alternate down to a 4x4 map. The channels start at `width` and
    double with each halving, up to 8 * `width`. `width` 64 and `side` 32 give the energy of MEG's code on
    CIFAR-10.
    """

    def __init__(self, channels: int, width: int, side: int = 32) -> None:
        layers: list[nn.Module] = []
        before = channels
        *widths, last = _widths(width, side)
        for wide in widths:
            layers += [nn.Conv2d(before, wide, 3, padding=1), nn.LeakyReLU(0.1)]
            layers += [nn.Conv2d(wide, wide, 4, 2, 1), nn.LeakyReLU(0.1)]
            before = wide
        layers += [nn.Conv2d(before, last, 3, padding=1), nn.LeakyReLU(0.1)]
        super().__init__(*layers, nn.Flatten())
        self.features = last * 16


def doublings(side: int) -> int:
    """How many doublings lead from 4 to `side`, one of SIDES."""
    return (side // 4).bit_length() - 1


def _widths(width: int, side: int) -> list[int]:
    """Channels of the maps, from the image's side down to 4x4."""
    return [width * min(8, 2**i) for i in range(doublings(side) + 1)]


def _fitting(kernel: int, large: int) -> tuple[int, int]:
    """Kernel size and padding of the stride-2 layer whose larger side is `large`.

    An even kernel halves an even side exactly, but 7 <-> 4 needs an odd kernel.
    """
    size = kernel - 1 if large == 7 and kernel % 2 == 0 else kernel
    return size, (size - 1) // 2
