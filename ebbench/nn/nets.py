"""Networks that fit the data's shape: convolutional for images, MLPs for vectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ebbench.contract import DataSpec
from ebbench.errors import ContractError
from ebbench.nn.dcgan import SIDES, Generator, Generator28, Trunk, Trunk28
from ebbench.nn.mlp import mlp


def generator(
    data: DataSpec,
    z_dim: int,
    *,
    width: int,
    kernel: int,
    layers: Sequence[int],
    maps: Sequence[int] = (),
) -> nn.Module:
    """A network that maps latent vectors (n, z_dim) to examples (n, *data.shape).

    `layers` are the hidden sizes for vectors. `maps` are the channels of the hidden layers for 28x28 images;
    empty derives them from `width`. Raises ContractError for shapes without a network.
    """
    match data.shape:
        case (size,):
            return mlp([z_dim, *layers, size], nn.ReLU())
        case (channels, 28, 28):
            return Generator28(z_dim, channels, width, kernel, maps)
        case (channels, side, other) if side == other and side in SIDES:
            return Generator(z_dim, channels, width, side)
    raise _unfit(data)


def trunk(data: DataSpec, *, width: int, kernel: int, layers: Sequence[int]) -> tuple[nn.Module, int]:
    """A network that maps examples (n, *data.shape) to features (n, m), and m.

    Convolutions are channels-last throughout. Raises ContractError for shapes without a network.
    """
    match data.shape:
        case (size,):
            return mlp([size, *layers], nn.LeakyReLU(0.2), last_linear=False), layers[-1]
        case (channels, 28, 28):
            narrow = Trunk28(channels, width, kernel)
            return narrow.to(memory_format=torch.channels_last), narrow.features
        case (channels, side, other) if side == other and side in SIDES:
            wide = Trunk(channels, width, side)
            return wide.to(memory_format=torch.channels_last), wide.features
    raise _unfit(data)


def initialise(net: nn.Module, std: float) -> nn.Module:
    """Initialise the weights of `net` in place and return it.

    A positive `std` draws convolution weights from N(0, std^2), as DCGAN and MEG's code do with 0.02, and
    leaves other layers at torch's default. `std` 0 initialises every layer as in He et al. (2015) (equation
    10 with fan-in; no factor 2 in the last layer). Shallow, narrow networks then start to learn far faster.
    """
    if std > 0:
        for module in net.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0.0, std)
                _no_bias(module)
        return net
    layers = [m for m in net.modules() if isinstance(m, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)]
    for layer in layers:
        fan_in: float = layer.weight[0].numel()
        if isinstance(layer, nn.ConvTranspose2d):
            # Each output of a transposed convolution uses only one in stride^2 of the kernel's weights.
            fan_in = layer.in_channels * layer.weight[0, 0].numel() / layer.stride[0] ** 2
        gain = 1.0 if layer is layers[-1] else 2.0
        nn.init.normal_(layer.weight, 0.0, (gain / fan_in) ** 0.5)
        _no_bias(layer)
    return net


def _no_bias(module: nn.Module) -> None:
    if isinstance(module.bias, torch.Tensor):
        nn.init.zeros_(module.bias)


def _unfit(data: DataSpec) -> ContractError:
    return ContractError(
        f"no net for examples of shape {data.shape}",
        where="ebbench/nn/nets.py",
        expected="vectors, or images of 28x28, 32x32, 64x64, 128x128 or 256x256 pixels",
        fix="give the model a net of its own for this shape",
    )
