"""COPOD: outliers by the empirical copula (Li, Zhao, Botta, Ionescu, Hu 2020)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ebbench import Data, Model, Run
from ebbench.nn.tails import Tails


class COPOD(Model):
    keeps_state = False

    def train(self, data: Data, run: Run) -> None:
        self.tails = Tails(
            data[torch.arange(len(data), device=data.device)].flatten(1).double().cpu().numpy()
        )

    def energy(self, x: Tensor) -> Tensor:
        """The sum over the columns of the larger of two: the surprise by skewness, and the two tails' mean.

        The paper's Algorithm 1 sums over the columns first; pyod, which ADBench ran, takes the larger first.
        """
        left, right, skewed = self.tails.surprise(x.flatten(1).double().cpu().numpy())
        return torch.from_numpy(np.maximum(skewed, (left + right) / 2).sum(1))
