"""The out-of-distribution image sets, as bytes like the test images."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, pad
from torchvision.transforms.functional import gaussian_blur

Images = NDArray[np.uint8]

# Luma of ITU-R BT.601, the usual conversion to grey.
GREY = (0.299, 0.587, 0.114)
# Standard deviation of the blur in pixels, and the window size: three deviations to either side.
BLUR, WINDOW = 1.5, 9


def noise(shape: tuple[int, ...], rng: np.random.Generator) -> Images:
    """Independent uniform bytes, uint8 of `shape` (n, channels, h, w)."""
    return rng.integers(0, 256, shape, dtype=np.uint8)


def constant(shape: tuple[int, ...], rng: np.random.Generator) -> Images:
    """Images of one random colour each, uint8 of `shape` (n, channels, h, w)."""
    n, channels, *sides = shape
    colours = rng.integers(0, 256, (n, channels, 1, 1), dtype=np.uint8)
    return np.broadcast_to(colours, (n, channels, *sides)).copy()


def shuffled(images: Images, rng: np.random.Generator) -> Images:
    """Each image with its pixels randomly permuted; the channels of a pixel stay together."""
    n, channels, *sides = images.shape
    flat = images.reshape(n, channels, -1)
    order = rng.permuted(np.tile(np.arange(flat.shape[2]), (n, 1)), axis=1)
    return np.take_along_axis(flat, order[:, None], axis=2).reshape(n, channels, *sides)


def blurred(images: Images) -> Images:
    """Images under a Gaussian blur of `BLUR` pixels, with reflection at the border."""
    return _bytes(gaussian_blur(torch.from_numpy(images).float(), [WINDOW, WINDOW], [BLUR, BLUR]))


def as_digits(pictures: Images) -> Images:
    """Colour images (n, 3, 32, 32) converted to grey and resized, (n, 1, 28, 28)."""
    grey = (torch.from_numpy(pictures).float() * torch.tensor(GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return _bytes(interpolate(grey, size=(28, 28), mode="bilinear", antialias=True, align_corners=False))


def as_pictures(digits: Images) -> Images:
    """Digits (n, 1, 28, 28) with a black border of two pixels, repeated in three channels, (n, 3, 32, 32)."""
    return pad(torch.from_numpy(digits), (2, 2, 2, 2)).expand(-1, 3, -1, -1).contiguous().numpy()


def _bytes(values: Tensor) -> Images:
    return values.round().clamp(0, 255).to(torch.uint8).numpy()
