"""Control: the number of bits that a PNG file needs for an image.

Serra et al., Input Complexity and Out-of-Distribution Detection with Likelihood-Based Generative Models
(2020): the likelihood of an image follows the size of its compressed file, and that size alone already
detects many of the out-of-distribution images that likelihoods detect.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from ebbench import ContractError, Data, DataSpec, Model, Run, score


class Complexity(Model):
    @dataclass(frozen=True)
    class Config:
        examples: int = 2000
        """Number of training images from which the score `deviation` takes its mean size."""

    keeps_state = False

    def __init__(self, data: DataSpec, config: Config) -> None:
        super().__init__(data, config)
        if len(data.shape) != 3 or data.shape[0] not in (1, 3) or data.low is None or data.high is None:
            raise ContractError(
                f"examples of shape {data.shape} in [{data.low}, {data.high}] are no images for PNG",
                where="complexity",
                expected="images (1, h, w) or (3, h, w) with a lowest and a highest value",
            )

    def train(self, data: Data, run: Run) -> None:
        some = torch.arange(min(self.config.examples, len(data)), device=data.device)
        self.mean = self.energy(data[some]).mean()

    def energy(self, x: Tensor) -> Tensor:
        """Size of each image as PNG, in bits per pixel, (n,): complex images get a high energy."""
        low, high = self.data.low, self.data.high
        assert low is not None and high is not None
        pixels = ((x - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8)
        pixels = pixels.permute(0, 2, 3, 1).cpu()
        return torch.tensor([_bits(image) for image in pixels], dtype=torch.float64)

    @score("deviation")
    def deviation(self, x: Tensor) -> Tensor:
        """|bits per pixel - their mean over training images|, (n,)."""
        return (self.energy(x) - self.mean).abs()


def _bits(image: Tensor) -> float:
    """Size of `image`, uint8 (h, w, 1 or 3), as PNG with its best compression, in bits per pixel."""
    array = image.squeeze(2) if image.shape[2] == 1 else image
    file = io.BytesIO()
    Image.fromarray(array.contiguous().numpy()).save(file, "png", optimize=True)
    height, width, _ = image.shape
    return 8 * file.tell() / (height * width)
