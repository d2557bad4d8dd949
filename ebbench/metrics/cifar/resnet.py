"""The project's CIFAR-10 classifier, whose features replace Inception's if those are not available."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHTS = Path(__file__).parent / "weights" / "cifar-resnet.safetensors"
# Scores by different weights are not comparable: new weights require a new version of the task.
SHA256 = "ea299b5c9ede005a7dd7454cd05b7735f6b1e49ed4b18bd9928c3b44cf1a64e6"
NAME = "cifar-resnet"
WIDTHS = (24, 48, 96, 192)


class Residual(nn.Module):
    """Residual block x + f(x), f of two 3x3 convolutions with batch norm and ReLU (He et al. 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(*(layer for _ in range(2) for layer in convolution(width, width)))

    def forward(self, x: Tensor) -> Tensor:
        """The block's output, (n, width, h, w), for `x` of the same shape."""
        made: Tensor = x + self.convolutions(x)
        return made


class CifarResNet(nn.Module):
    """Uint8 images (n, 3, 32, 32) -> features (n, 192) and logits (n, 10).

    3x3 convolutions that double the width, max pooling that halves the side, two residual blocks, and the
    maximum over the last 4x4 map.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        first, second, third, last = widths
        self.body = nn.Sequential(
            *convolution(3, first),
            *convolution(first, second),
            nn.MaxPool2d(2),
            Residual(second),
            *convolution(second, third),
            nn.MaxPool2d(2),
            *convolution(third, last),
            nn.MaxPool2d(2),
            Residual(last),
        ).to(memory_format=torch.channels_last)
        self.out = nn.Linear(last, 10)
        # Channel means and deviations of the training images, set by the training.
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("deviation", torch.ones(3))

    def features(self, x: Tensor) -> Tensor:
        """The last hidden layer, (n, 192)."""
        x = (x.float() / 255 - self.mean[:, None, None]) / self.deviation[:, None, None]
        return F.adaptive_max_pool2d(self.body(x.contiguous(memory_format=torch.channels_last)), 1).flatten(1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features (n, 192) and logits (n, 10)."""
        features = self.features(x)
        return features, self.out(features)


def convolution(narrow: int, wide: int) -> list[nn.Module]:
    """A 3x3 convolution with batch norm and ReLU, as a list of layers."""
    return [nn.Conv2d(narrow, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU()]


def load(path: Path = WEIGHTS) -> CifarResNet:
    """The trained classifier, in eval mode and float32."""
    # On the meta device, since initialising weights would consume global random numbers.
    with torch.device("meta"):
        net = CifarResNet()
    state = {
        name: value.float() if value.is_floating_point() else value for name, value in load_file(path).items()
    }
    net.load_state_dict(state, assign=True)
    return net.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def digest(path: Path = WEIGHTS) -> str:
    """SHA-256 of the weights file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
