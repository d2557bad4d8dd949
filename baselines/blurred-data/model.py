"""Control: blurred training images. Their content and diversity are right, their sharpness is not."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from ebbench import ContractError, Data, Model, Run


class BlurredData(Model):
    @dataclass(frozen=True)
    class Config:
        deviation: float = 1.0
        """Standard deviation of the Gaussian blur, in pixels."""

    keeps_state = False

    def train(self, data: Data, run: Run) -> None:
        if len(data.spec.shape) != 3:
            raise ContractError(
                f"examples of shape {data.spec.shape} cannot be blurred",
                where="baselines/blurred-data",
                expected="images, (channels, height, width)",
            )
        self.source = data

    def sample(self, n: int) -> Tensor:
        """Draw training images with replacement and blur them: (n, channels, height, width)."""
        data, deviation = self.source, self.config.deviation
        x = data[torch.randint(len(data), (n,), device=data.device)]
        reach = max(1, round(3 * deviation))
        at = torch.arange(-reach, reach + 1, device=x.device)
        weights = torch.exp(-(at**2) / (2 * deviation**2))
        kernel = (weights / weights.sum()).expand(x.shape[1], 1, 1, -1)
        wide = pad(x, [reach] * 4, mode="reflect")
        once = conv2d(wide, kernel, groups=x.shape[1])
        return conv2d(once, kernel.transpose(2, 3), groups=x.shape[1])
