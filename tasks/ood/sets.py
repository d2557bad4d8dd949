"""Images that a model was not trained on: each set made of bytes, as the test images are."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, pad
from torchvision.transforms.functional import gaussian_blur

Images = NDArray[np.uint8]

# Luma of ITU-R BT.601, what "grey" usually means.
GREY = (0.299, 0.587, 0.114)
# Standard deviation of the blur in pixels, and the side of its window: three deviations to either side.
BLUR, WINDOW = 1.5, 9


def noise(shape: tuple[int, ...], rng: np.random.Generator) -> Images:
    """Every value an independent byte, uint8 of `shape` (n, channels, h, w)."""
    return rng.integers(0, 256, shape, dtype=np.uint8)


def constant(shape: tuple[int, ...], rng: np.random.Generator) -> Images:
    """Each image of one colour, every channel an independent byte."""
    n, channels, *sides = shape
    colours = rng.integers(0, 256, (n, channels, 1, 1), dtype=np.uint8)
    return np.broadcast_to(colours, (n, channels, *sides)).copy()


def shuffled(images: Images, rng: np.random.Generator) -> Images:
    """Each image's pixels in an order of its own; the channels of a pixel stay together."""
    n, channels, *sides = images.shape
    flat = images.reshape(n, channels, -1)
    order = rng.permuted(np.tile(np.arange(flat.shape[2]), (n, 1)), axis=1)
    return np.take_along_axis(flat, order[:, None], axis=2).reshape(n, channels, *sides)


def blurred(images: Images) -> Images:
    """Each image under a Gaussian of `BLUR` pixels, mirrored at its border."""
    return _bytes(gaussian_blur(torch.from_numpy(images).float(), [WINDOW, WINDOW], [BLUR, BLUR]))


def as_digits(pictures: Images) -> Images:
    """Colour images (n, 3, 32, 32) in grey and 28x28, (n, 1, 28, 28)."""
    grey = (torch.from_numpy(pictures).float() * torch.tensor(GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)
    return _bytes(interpolate(grey, size=(28, 28), mode="bilinear", antialias=True, align_corners=False))


def as_pictures(digits: Images) -> Images:
    """Digits (n, 1, 28, 28) with a black rim of two pixels, the same in three channels, (n, 3, 32, 32)."""
    return pad(torch.from_numpy(digits), (2, 2, 2, 2)).expand(-1, 3, -1, -1).contiguous().numpy()


def _bytes(values: Tensor) -> Images:
    return values.round().clamp(0, 255).to(torch.uint8).numpy()
