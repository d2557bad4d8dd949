"""EBGAN's convolutional networks for images (Zhao, Mathieu, LeCun 2017, appendix, recalled).

With `width` 64 and 64x64 images they are the paper's networks for LSUN and CelebA. Other sizes add or drop
one layer per factor of 2.
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

    A linear layer to a 4x4 map with 16 * `width` channels, then 4x4 stride-2 transposed convolutions. Each
    halves the channels, down to at least `width`; the last one outputs the image. Batch norm and ReLU in
    between, tanh at the end.
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
        """Images for latent vectors `z`."""
        h = self.first(z).view(len(z), -1, 4, 4).contiguous(memory_format=torch.channels_last)
        images: Tensor = self.rest(h)
        return images


def encoder(channels: int, width: int, side: int) -> nn.Sequential:
    """Images (n, channels, side, side) -> codes (n, m, 8, 8): 4x4 stride-2 convolutions, LeakyReLU 0.2.

    The first layer has `width` channels, and each further layer doubles them, up to 8 * `width`. All layers
    but the first have batch norm.
    """
    layers: list[nn.Module] = []
    before = channels
    for i, wide in enumerate(_widths(width, side)):
        norm = [nn.BatchNorm2d(wide)] if i else []
        layers += [nn.Conv2d(before, wide, 4, 2, 1), *norm, nn.LeakyReLU(0.2)]
        before = wide
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def decoder(channels: int, width: int, side: int) -> nn.Sequential:
    """Codes of `encoder` -> images in (-1, 1): the mirrored network with transposed convolutions.

    Batch norm in all layers but the last, LeakyReLU 0.2 in between, tanh at the end.
    """
    widths = _widths(width, side)[::-1]
    layers: list[nn.Module] = []
    for wide, narrow in pairwise(widths):
        layers += [nn.ConvTranspose2d(wide, narrow, 4, 2, 1), nn.BatchNorm2d(narrow), nn.LeakyReLU(0.2)]
    layers += [nn.ConvTranspose2d(widths[-1], channels, 4, 2, 1), nn.Tanh()]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def deep_nets(data: DataSpec, z_dim: int, *, width: int) -> tuple[nn.Module, nn.Module, nn.Module]:
    """Encoder, decoder and generator for square images with a side in SIDES.

    Raises ContractError for other shapes.
    """
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
    """Channels after each halving of the side, down to an 8x8 map."""
    return [width * min(8, 2**i) for i in range(doublings(side) - 1)]
