"""Control: fresh real examples from the data's distribution, as a perfect model would give."""

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
        """Draw real examples that are not in the training pool: (n, *shape)."""
        # The seed comes from torch's global state, which the engine seeds.
        seed = int(torch.randint(2**62, (1,)))
        generator = torch.Generator(device=self.source.device).manual_seed(seed)
        return self.source.fresh(n, generator)
