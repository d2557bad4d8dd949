"""Random numbers for Monte-Carlo estimates of a score."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def noise_of(examples: Tensor, draws: int, size: int) -> Tensor:
    """Standard normal numbers for each of `examples` (n, ...), seeded by the example: (draws, n, size).

    So a score repeats and depends on no other example, and the errors of different examples are
    independent, which numbers shared by all would not give: their error does not average out.
    """
    made = []
    for example in examples.detach().cpu():
        digest = hashlib.sha256(example.contiguous().numpy().tobytes()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        made.append(torch.randn(draws, size, generator=generator))
    return torch.stack(made, 1).to(examples.device)
