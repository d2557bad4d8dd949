"""Random numbers for Monte Carlo estimates of a score."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def noise_of(examples: Tensor, draws: int, size: int) -> Tensor:
    """Standard normal numbers (draws, n, size) for `examples` (n, ...), seeded by each example's content.

    A score is then reproducible and independent of the other examples, and errors of different examples are
    independent. With numbers shared by all examples, the errors would not average out.
    """
    made = []
    for example in examples.detach().cpu():
        digest = hashlib.sha256(example.contiguous().numpy().tobytes()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        made.append(torch.randn(draws, size, generator=generator))
    return torch.stack(made, 1).to(examples.device)
