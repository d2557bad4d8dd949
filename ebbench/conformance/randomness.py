"""Check that code leaves the global random states alone. The engine seeds them."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch

from ebbench.errors import ContractError

States = dict[str, object]


def states() -> States:
    """The random states of torch, NumPy and Python, in a form that can be compared."""
    _, keys, *rest = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "NumPy": (np.asarray(keys).tobytes(), *rest),
        "Python": random.getstate(),
    }


def check_left_alone(what: str, after: Sequence[States], where: str) -> None:
    """Raise ContractError if code that ran with two seeds left the same random state `after` each.

    Drawing numbers takes two different states to two different states. The states can only be equal if the
    code itself set a seed or a state.
    """
    one, another = after
    same = [name for name, state in one.items() if state == another[name]]
    if same:
        raise ContractError(
            f"{what} sets the random state of {' and '.join(same)} to a state of its own",
            where=where,
            expected="unchanged global random states: the engine seeds them",
            fix="remove the call of seed() or manual_seed(); if the draws must be fixed, use a separate "
            "torch.Generator for them",
        )
