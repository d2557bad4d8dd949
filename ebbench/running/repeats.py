"""Whether a sampler gives the same samples again under another seed: then most of a draw is copies."""

from __future__ import annotations

import hashlib
import random
from collections import Counter

import numpy as np
import torch
from torch import Tensor

from ebbench.errors import ContractError

# Two chunks that are equal with less probability than this are not equal by chance.
CHANCE = 1e-9


class Repeats:
    """The chunks of every draw so far, by their content.

    Two chunks of equal content are not yet wrong: a generator that has collapsed gives one image, whatever
    its noise. They are wrong in either of two cases:

    - Independent samples would hardly come out so twice. With the shares p_i of the chunk's different
      samples, a second chunk of n is the same by chance with the probability (sum of p_i^2)^n: 1 for one
      image over and over, next to nothing where the samples differ. This finds a fixed noise and a generator
      of the sampler's own too.
    - A random state after the one draw is that after the other. Before each draw all of them are seeded anew
      and differently, so the sampler set it: this finds what seeds itself even in chunks of one sample.
    """

    def __init__(self) -> None:
        self._seen: dict[tuple[str, bytes], tuple[int, dict[str, object]]] = {}

    def check(self, draw: str, number: int, values: Tensor, where: str) -> None:
        """Take note of chunk `number`, just drawn. Raises ContractError where it repeats another."""
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
            fix="take manual_seed() and the like out of the sampler: the engine seeds each chunk of a draw",
        )


def _states() -> dict[str, object]:
    """The random states that the engine seeds, to be compared."""
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
    """The probability that as many samples more, of the same shares, come out the same."""
    counts = Counter(sample.tobytes() for sample in content)
    return float(sum((count / len(content)) ** 2 for count in counts.values()) ** len(content))
