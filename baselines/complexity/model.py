"""Control: how many bits a file format needs for an image.

Serra et al., Input Complexity and Out-of-Distribution Detection with Likelihood-Based Generative Models
(2020): likelihoods follow the size of the compressed image, and much of what they detect, the size does.
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
        """Training images whose mean size `deviation` compares with."""

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
        """Bits a pixel of the image as PNG: what is complex is called untypical."""
        low, high = self.data.low, self.data.high
        assert low is not None and high is not None
        pixels = ((x - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8)
        pixels = pixels.permute(0, 2, 3, 1).cpu()
        return torch.tensor([_bits(image) for image in pixels], dtype=torch.float64)

    @score("deviation")
    def deviation(self, x: Tensor) -> Tensor:
        """How far the bits a pixel are from the training images' mean."""
        return (self.energy(x) - self.mean).abs()


def _bits(image: Tensor) -> float:
    """Bits a pixel of `image`, uint8 (h, w, 1 or 3), as PNG at its best compression."""
    array = image.squeeze(2) if image.shape[2] == 1 else image
    file = io.BytesIO()
    Image.fromarray(array.contiguous().numpy()).save(file, "png", optimize=True)
    height, width, _ = image.shape
    return 8 * file.tell() / (height * width)
