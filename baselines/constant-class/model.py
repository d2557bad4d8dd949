"""Control: predicts the most frequent label for every example; a tie goes to the lowest class."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from ebbench import Data, Labelled, Model, Run


class ConstantClass(Model):
    keeps_state = False

    def train(self, data: Data, run: Run) -> None:
        labels = cast(Labelled, data).labels
        self.answer = int(labels[labels >= 0].bincount().argmax())

    def classify(self, x: Tensor) -> Tensor:
        """The most frequent class, int64 (n,)."""
        return torch.full((len(x),), self.answer)
