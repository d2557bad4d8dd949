"""Calibrates a critic's values to log odds by logistic regression."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ebbench.contract import Data

CHUNK = 1000


class Calibration(nn.Module):
    """The affine map d -> scale * d + shift from a critic's values to logits; initially the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.shift = nn.Parameter(torch.zeros(()))

    def forward(self, d: Tensor) -> Tensor:
        """The calibrated logit, (n,)."""
        return self.scale * d + self.shift

    def fit(self, real: Tensor, made: Tensor) -> None:
        """Fit by logistic regression of values at real examples, (n,), against values at samples, (m,).

        With n = m the calibrated value estimates log p_data - log p_G, as far as an affine function of d can.
        """
        d = torch.cat([real, made])
        target = torch.cat([torch.ones_like(real), torch.zeros_like(made)])
        # The fit uses standardised values and is rescaled afterwards: critics' scales differ by factors of
        # thousands.
        mean, std = d.mean(), d.std().clamp_min(1e-12)
        standardised = (d - mean) / std
        optimiser = torch.optim.LBFGS(self.parameters(), max_iter=200, line_search_fn="strong_wolfe")

        def loss() -> Tensor:
            optimiser.zero_grad()
            value = binary_cross_entropy_with_logits(self(standardised), target)
            value.backward()
            return value

        optimiser.step(loss)
        with torch.no_grad():
            self.scale.div_(std)
            self.shift.sub_(self.scale * mean)


@torch.no_grad()
def values_to_fit(
    logit: Callable[[Tensor], Tensor], draw: Callable[[int], Tensor], data: Data, n: int
) -> tuple[Tensor, Tensor]:
    """`logit` at `n` random training examples and at `n` samples from `draw(n)`: two tensors (n,)."""
    generator = torch.Generator(device=data.device)
    generator.manual_seed(int(torch.randint(2**62, (1,))))
    counts = [min(CHUNK, n - begin) for begin in range(0, n, CHUNK)]
    real = [
        logit(data[torch.randint(len(data), (count,), generator=generator, device=data.device)])
        for count in counts
    ]
    made = [logit(draw(count)) for count in counts]
    return torch.cat(real), torch.cat(made)
