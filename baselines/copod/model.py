"""COPOD: Copula-Based Outlier Detection (Li, Zhao, Botta, Ionescu, Hu 2020)."""

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
        """Sum over columns of max(skewness-corrected surprise, mean of both tails' surprise), (n,).

        Surprise is the negative log tail probability (ebbench/nn/tails.py). The maximum is taken per column
        before the sum, as in pyod, which ADBench ran; the paper's Algorithm 1 sums over the columns first.
        """
        left, right, skewed = self.tails.surprise(x.flatten(1).double().cpu().numpy())
        return torch.from_numpy(np.maximum(skewed, (left + right) / 2).sum(1))
