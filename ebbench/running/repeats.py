"""Detects a sampler that repeats its samples under different seeds, so that most of a draw is copies."""

from __future__ import annotations

import hashlib
import random
from collections import Counter

import numpy as np
import torch
from torch import Tensor

from ebbench.errors import ContractError

# Equal chunks with a lower probability than this are not equal by chance.
CHANCE = 1e-9


class Repeats:
    """The chunks of all draws so far, by content.

    Equal chunks alone are not an error: a collapsed generator gives one image whatever its noise. They are an
    error in either of two cases:

    - The chance of equal chunks is negligible for independent samples. If p_i are the shares of the chunk's
      distinct samples, a second chunk of n is equal with probability (sum of p_i^2)^n: 1 for a single
      repeated image, almost 0 for varied samples. This also finds fixed noise and a sampler's own generator.
    - A random state after one draw equals that after the other. All states are seeded differently before
      each draw, so the sampler must have set it: this finds samplers that seed themselves, even in chunks of
      one sample.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, bytes], tuple[int, dict[str, object]]] = {}

    def check(self, draw: str, number: int, values: Tensor, where: str) -> None:
        """Record chunk `number`, just drawn. Raises ContractError if it repeats another."""
        states = _states()
        content = np.ascontiguousarray(values.cpu().numpy())
        key = (draw, hashlib.sha256(content.data.cast("B")).digest())
        earlier, before = self._seen.setdefault(key, (number, states))
        if earlier == number:
            return
        reset = [name for name, state in states.items() if state == before.get(name)]
        if not reset and _chance(content) > CHANCE:
            return
        raise ContractError(
            f"chunks {earlier} and {number} of a draw hold the same {len(content):,} samples: "
            "the sampler seeds itself" + (f" ({', '.join(reset)})" if reset else " or has a fixed noise"),
            where=where,
            expected="other samples at each call, by the random states of torch, NumPy and Python",
            fix="remove manual_seed() and the like from the sampler: the engine seeds each chunk of a draw",
        )


def _states() -> dict[str, object]:
    """The random states that the engine seeds, in comparable form."""
    _, keys, *rest = np.random.get_state(legacy=True)
    found: dict[str, object] = {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "NumPy": (np.asarray(keys).tobytes(), *rest),
        "Python": random.getstate(),
    }
    if torch.cuda.is_initialized():
        for number, state in enumerate(torch.cuda.get_rng_state_all()):
            found[f"CUDA {number}"] = state.numpy().tobytes()
    return found


def _chance(content: np.ndarray) -> float:
    """The probability that as many further samples with the same shares are identical."""
    counts = Counter(sample.tobytes() for sample in content)
    return float(sum((count / len(content)) ** 2 for count in counts.values()) ** len(content))
