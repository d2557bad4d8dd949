"""Copies of samples: the same set in another order, with a little noise, or most of it.

A sketch of a set of samples is small and does not know their order: the quantiles of a few fixed projections.
Two sets that a sampler drew independently differ in them by sampling noise, however good the sampler is. A
copy differs by much less.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

PROJECTIONS, QUANTILES = 8, 31
# Mean difference of the quantiles, in units of what independent draws differ by. Independent sets have about
# 1 (.3 at the least, of laws with far modes), a shuffled copy 0, one with the last bit changed .13 at most.
COPY = 0.15
# Rows that are projected at once.
ROWS = 4096

Sketch = dict[str, Any]


def sketches(arrays: Mapping[str, np.ndarray]) -> dict[str, Sketch]:
    """A sketch of each array of samples, as JSON, by the array's name."""
    return {
        name: sketch(values)
        for name, values in arrays.items()
        if name.rpartition("/")[2].startswith("samples.") and len(values)
    }


def sketch(samples: np.ndarray) -> Sketch:
    """The quantiles of the projections of samples (n, ...)."""
    size = int(np.prod(samples.shape[1:]))
    axes = np.random.default_rng(size).standard_normal((size, PROJECTIONS)) / np.sqrt(max(1, size))
    parts = [
        samples[begin : begin + ROWS].reshape(-1, size).astype(np.float64) @ axes
        for begin in range(0, len(samples), ROWS)
    ]
    projected = np.concatenate(parts)
    at = np.linspace(0, 1, QUANTILES + 2)[1:-1]
    return {
        "n": len(samples),
        "spread": _short(projected.std(0)),
        "quantiles": [_short(column) for column in np.quantile(projected, at, axis=0).T],
    }


def likeness(one: Sketch, other: Sketch) -> float:
    """How far two sets differ, in units of sampling noise: about 1 for independent ones, 0 for a copy."""
    if len(one["quantiles"]) != len(other["quantiles"]):
        return float("inf")
    apart = np.abs(np.array(one["quantiles"]) - np.array(other["quantiles"])).mean()
    spread = (np.array(one["spread"]) + np.array(other["spread"])).mean() / 2
    # The mean absolute difference of a normal's quantiles is about as large as that of its mean.
    noise = spread * np.sqrt(1 / one["n"] + 1 / other["n"])
    return float(apart / noise) if noise > 0 else (0.0 if apart == 0 else float("inf"))


def is_copy(one: Mapping[str, Sketch], other: Mapping[str, Sketch]) -> bool:
    """Whether an array of samples of one result is a copy of the array of that name of the other."""
    return any(likeness(mine, other[name]) < COPY for name, mine in one.items() if name in other)


def _short(values: NDArray[np.floating]) -> list[float]:
    return [float(f"{value:.7g}") for value in values]
