"""Control: real examples drawn anew from the data's distribution, what a perfect model would give."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from ebbench import Data, Law, Model, Run


class RealData(Model):
    keeps_state = False

    def train(self, data: Data, run: Run) -> None:
        self.source = cast(Law, data)

    def sample(self, n: int) -> Tensor:
        """(n, *shape), real and not from the training pool."""
        # One number from the global state, which the engine seeds, seeds the draw.
        seed = int(torch.randint(2**62, (1,)))
        generator = torch.Generator(device=self.source.device).manual_seed(seed)
        return self.source.fresh(n, generator)
