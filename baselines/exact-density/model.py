"""Control: the true density and exact samples, for data whose distribution is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from ebbench import ContractError, Data, Law, Model, Run


class ExactDensity(Model):
    keeps_state = False

    def train(self, data: Data, run: Run) -> None:
        density: Any = getattr(data, "log_density", None)
        if density is None:
            raise ContractError(
                f"the density of '{data.spec.name}' is not known",
                where="exact-density",
                expected="data with a method log_density(x)",
                fix="choose a task of synthetic data: gaussian or toy2d",
            )
        self.source = cast(Law, data)
        self.density: Callable[[Tensor], Tensor] = density

    def log_likelihood_bound(self, x: Tensor) -> Tensor:
        """log p(x), (n,), nats: the exact value."""
        return self.density(x)

    def energy(self, x: Tensor) -> Tensor:
        """-log p(x), (n,)."""
        return -self.density(x)

    def sample(self, n: int) -> Tensor:
        """Draw from the true distribution: (n, *shape)."""
        # The seed comes from torch's global state, which the engine seeds.
        seed = int(torch.randint(2**62, (1,)))
        return self.source.fresh(n, torch.Generator(device=self.source.device).manual_seed(seed))
