"""Random states: derived per purpose, captured and restored completely."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from ebbench.storage.hashing import derive_seed

# Returns the seed for a purpose: `derive_seed` of the run's seed, or an answer of another process that knows
# it.
Derive = Callable[..., int]


def derived(seed: int | Derive) -> Derive:
    """The function that derives a run's seeds from its seed; a function is returned as it is."""
    return seed if callable(seed) else partial(derive_seed, seed)


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch (CPU and all GPUs)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def capture() -> dict[str, Any]:
    """The random states of Python, NumPy, torch CPU and CUDA, as a tree that `ebbench.state` can store."""
    name, keys, *rest = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": (name, np.asarray(keys, dtype=np.int64), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore(states: dict[str, Any]) -> None:
    """Restore the states from `capture`. GPU states are restored only with the same number of GPUs."""
    random.setstate(states["python"])
    name, keys, *rest = states["numpy"]
    np.random.set_state((name, keys.astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"].cpu())
    if torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
