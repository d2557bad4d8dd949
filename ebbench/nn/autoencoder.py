"""The convolutional nets of EBGAN for images (Zhao, Mathieu, LeCun 2017, appendix, recalled).

At `width` 64 and a side of 64 they are the paper's for LSUN and CelebA. Those of other sides have a layer
more or less for each doubling.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from ebbench.contract import DataSpec
from ebbench.errors import ContractError
from ebbench.nn.dcgan import SIDES, doublings


class DeepGenerator(nn.Module):
    """Latent vectors (n, z_dim) -> images (n, channels, side, side) in (-1, 1), `side` one of SIDES.

    Linear to 4x4 with 16 * `width` channels, then 4x4 stride-2 transposed convolutions. The channels halve at
    each, to no less than `width`; the last gives the image. Batch norm and ReLU between, tanh at the end.
    """

    def __init__(self, z_dim: int, channels: int, width: int, side: int) -> None:
        super().__init__()
        widths = [max(width, 16 * width // 2**i) for i in range(doublings(side))]
        self.first = nn.Linear(z_dim, widths[0] * 16)
        layers: list[nn.Module] = [nn.BatchNorm2d(widths[0]), nn.ReLU()]
        for wide, narrow in pairwise(widths):
            layers += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1), nn.BatchNorm2d(narrow), nn.ReLU()]
        self.rest = nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        """Images for the latent vectors `z`."""
        h = self.first(z).view(len(z), -1, 4, 4).contiguous(memory_format=torch.channels_last)
        images: Tensor = self.rest(h)
        return images


def encoder(channels: int, width: int, side: int) -> nn.Sequential:
    """Images (n, channels, side, side) -> codes (n, m, 8, 8): 4x4 convolutions of stride 2, LeakyReLU 0.2.

    `width` channels in the first, twice as many in each further one, up to 8 * `width`. Batch norm in all but
    the first.
    """
    layers: list[nn.Module] = []
    before = channels
    for i, wide in enumerate(_widths(width, side)):
        norm = [nn.BatchNorm2d(wide)] if i else []
        layers += [nn.Conv2d(before, wide, 4, 2, 1), *norm, nn.LeakyReLU(0.2)]
        before = wide
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def decoder(channels: int, width: int, side: int) -> nn.Sequential:
    """Codes of `encoder` -> images in (-1, 1): the same maps backwards, by transposed convolutions.

    Batch norm in all but the last, LeakyReLU 0.2 between, tanh at the end.
    """
    widths = _widths(width, side)[::-1]
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(widths):
        layers += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1), nn.BatchNorm2d(narrow), nn.LeakyReLU(0.2)]
    layers += [nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1), nn.Tanh()]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def deep_nets(data: DataSpec, z_dim: int, *, width: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Encoder, decoder and generator. Raises ContractError for what are no images of a side among SIDES."""
    match data.shape:
        case (channels, side, other) if side == other and side in SIDES:
            made = DeepGenerator(z_dim, channels, width, side)
            return encoder(channels, width, side), decoder(channels, width, side), made
    raise ContractError(
        f"a convolutional autoencoder for examples of shape {data.shape}",
        where="the model's settings",
        expected="images of 32x32, 64x64, 128x128 or 256x256",
        fix="leave nets=deep out",
    )


def _widths(width: int, side: int) -> list[int]:
    """Channels after each halving, down to a map of 8x8."""
    return [width * min(8, 2**i) for i in range(doublings(side) - 1)]
