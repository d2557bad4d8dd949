"""ECOD: empirical cumulative distribution functions (Li, Zhao, Hu, Botta, Ionescu, Chen 2022)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ebbench import Data, Model, Run
from ebbench.nn.tails import Tails


class ECOD(Model):
    keeps_state = False

    def train(self, data: Data, run: Run) -> None:
        self.tails = Tails(
            data[torch.arange(len(data), device=data.device)].flatten(1).double().cpu().numpy()
        )

    def energy(self, x: Tensor) -> Tensor:
        """Sum over columns of the largest of three surprises: left, right, and by skewness, (n,).

        Surprise is the negative log tail probability (ebbench/nn/tails.py). The maximum is taken per column
        before the sum, as in pyod; the paper's Algorithm 1 first sums each of the three over the columns.
        """
        surprise = self.tails.surprise(x.flatten(1).double().cpu().numpy())
        return torch.from_numpy(np.max(surprise, axis=0).sum(1))
