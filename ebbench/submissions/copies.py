"""Copies of samples and scores: the same set in another order, with a little noise, or a part of it.

A sketch of an array is small (a few kB), so that a board needs no arrays to know copies by. Of samples it is

- the quantiles of a few fixed projections, which know no order. Two sets that a sampler drew independently
  differ in them by sampling noise, however good the sampler is; a copy by much less.
- the least of the fingerprints of its rows (a bottom-k sketch, Cohen and Kaplan, 2007), by which two sets are
  seen to share a part of their rows. A row's fingerprint is of its values, rounded on two grids; of an image,
  of averages over tiles. Noise much smaller than a cell moves few rows over an edge of both grids.

Of scores, which have the order of the examples, it is the ranks of a few of them: a score that grows with
another ranks alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

PROJECTIONS, QUANTILES = 8, 31
# Mean difference of the quantiles in standard errors, of which each counts as at most CUT.
COPY, CUT = 0.15, 5.0
# Rows that are projected at once.
ROWS = 4096
# Fingerprints that are kept, of either grid; the share of rows that two sets of one size may have in common.
# MNIST's digits, drawn without copies, have 6 % of such coarse rows in common; all else has less.
LEAST, SHARED = 64, 0.25
# Of vectors: how many significant digits a row has in all, with 3 to 6 a value. Six tell the samples of
# modes apart that are narrow in two dimensions; more are moved by the last bit of single precision.
DIGITS, FEWEST, MOST = 12, 3, 6
# Of a fingerprint, in hexadecimal digits.
WIDTH = 12
# Of images: tiles along a side, and levels of a tile.
TILES, LEVELS = 4, 16
# Ranks that are kept; the mean difference of two rankings, as a share of the length, that only a copy has.
RANKS, ALIKE = 256, 2e-4
# Of fewer different rows or scores nothing can be told: constant controls agree by nature.
TOLD_APART = 0.5

_Quantiles = Annotated[list[float], Field(min_length=QUANTILES, max_length=QUANTILES)]


class Sketch(BaseModel):
    """What is kept of one array; `rows` are of the two grids, WIDTH digits a row; `ranks` of scores."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    n: int = Field(ge=1)
    quantiles: list[_Quantiles] = []
    rows: list[str] = []
    ranks: list[float] = []


_SKETCHES = TypeAdapter(dict[str, Sketch])


def sketches(arrays: Mapping[str, np.ndarray]) -> dict[str, Sketch]:
    """A sketch of each array of samples or scores, by the array's name."""
    return {
        name: of_samples(values) if _kind(name) == "samples" else of_scores(values)
        for name, values in arrays.items()
        if len(values)
    }


def as_json(found: Mapping[str, Sketch]) -> dict[str, Any]:
    """Sketches as `verification.details` keeps them."""
    return {name: one.model_dump(exclude_defaults=True) for name, one in found.items()}


def from_json(raw: Any) -> dict[str, Sketch]:
    """The sketches that a result on a board has; none where it has none, or what is no sketch."""
    try:
        return _SKETCHES.validate_python(raw)
    except ValidationError:
        # Anybody's claim may stand on a board: a wrong one must not stop the check of others.
        return {}


def of_samples(samples: np.ndarray) -> Sketch:
    """The sketch of samples (n, ...)."""
    size = int(np.prod(samples.shape[1:]))
    axes = np.random.default_rng(size).standard_normal((size, PROJECTIONS)) / np.sqrt(max(1, size))
    projected, marks = [], [set[str](), set[str]()]
    for begin in range(0, len(samples), ROWS):
        rows = samples[begin : begin + ROWS]
        projected.append(rows.reshape(len(rows), size).astype(np.float64) @ axes)
        for found, grid in zip(marks, _grids(rows), strict=True):
            found |= _fingerprints(grid)
    whole = np.concatenate(projected)
    at = np.linspace(0, 1, QUANTILES + 2)[1:-1]
    told_apart = min(map(len, marks)) >= TOLD_APART * len(samples)
    return Sketch(
        n=len(samples),
        quantiles=[_short(column) for column in np.quantile(whole, at, axis=0).T],
        rows=["".join(sorted(found)[:LEAST]) for found in marks] if told_apart else [],
    )


def of_scores(scores: np.ndarray) -> Sketch:
    """The sketch of the scores of n examples, (n,), in the order of the examples."""
    n = len(scores)
    if len(np.unique(scores)) < TOLD_APART * n:
        return Sketch(n=n)
    ranks = np.empty(n)
    ranks[np.argsort(scores, kind="stable")] = np.arange(n)
    at = np.unique(np.linspace(0, n - 1, min(n, RANKS)).astype(int))
    return Sketch(n=n, ranks=_short(ranks[at] / n))


def likeness(one: Sketch, other: Sketch) -> float:
    """How far two sets differ, in units of sampling noise: about .8 for independent ones, 0 for a copy.

    The mean over projections and quantiles of |difference| / standard error, each cut off at `CUT`: sets of
    different laws differ anyway. A quantile's standard error is sqrt(p (1 - p) / n) / density, the density by
    the neighbouring quantiles, so that modes far apart do not hide how narrow they are.
    """
    first, second = np.array(one.quantiles), np.array(other.quantiles)
    if not first.size or first.shape != second.shape:
        return float("inf")
    p = np.linspace(0, 1, QUANTILES + 2)[1:-1]
    slope = (np.gradient(first, p, axis=1) + np.gradient(second, p, axis=1)) / 2
    error = np.abs(slope) * np.sqrt(p * (1 - p) * (1 / one.n + 1 / other.n))
    apart = np.abs(first - second)
    scaled = np.divide(apart, error, out=np.where(apart > 0, np.inf, 0.0), where=error > 0)
    return float(np.minimum(scaled, CUT).mean())


def shared(one: Sketch, other: Sketch) -> float:
    """The share of the smaller set's rows that the other has too, as far as the fingerprints tell."""
    found = 0.0
    for mine, theirs in zip(map(_split, one.rows), map(_split, other.rows), strict=False):
        k = min(LEAST, len(mine), len(theirs))
        least = sorted({*mine, *theirs})[:k]
        both = len({*mine} & {*theirs} & {*least})
        jaccard = both / k if k else 0.0
        # |A & B| = J |A or B| = J (|A| + |B|) / (1 + J)
        found = max(found, jaccard / (1 + jaccard) * (one.n + other.n) / min(one.n, other.n))
    return min(1.0, found)


def ranked_apart(one: Sketch, other: Sketch) -> float:
    """The mean difference of the ranks of the same examples, as a share of how many there are."""
    if one.n != other.n or not one.ranks or len(one.ranks) != len(other.ranks):
        return float("inf")
    return float(np.abs(np.array(one.ranks) - np.array(other.ranks)).mean())


def copied(one: Mapping[str, Sketch], other: Mapping[str, Sketch]) -> str:
    """In words what an array of one result has of the array of that name of the other; "" for nothing.

    One array that is a copy is enough, of samples. Of scores every one must be: a task asks for several, and
    one of them (a density, a distance to the mean) may be settled by the data.
    """
    for name, mine in one.items():
        theirs = other.get(name)
        if theirs is None or _kind(name) != "samples":
            continue
        if likeness(mine, theirs) < COPY:
            return "a copy"
        if (share := shared(mine, theirs)) > SHARED:
            return f"{share:.0%} of the rows"
    names = [name for name in one if name in other and _kind(name) == "scores"]
    apart = [ranked_apart(one[name], other[name]) for name in names]
    return "a copy" if apart and max(apart) < ALIKE else ""


def _kind(name: str) -> str:
    """ "samples" or "scores", of the array "8gaussians/samples.samples"."""
    return name.rpartition("/")[2].partition(".")[0]


def _grids(rows: np.ndarray) -> Iterable[NDArray[np.int64]]:
    """The rows (n, ...) on two grids, one half a cell off the other: (n, values)."""
    n = len(rows)
    if rows.dtype == np.uint8:
        scaled = _tiles(rows) * (LEVELS / 256)
        return (np.floor(scaled + half).astype(np.int64).reshape(n, -1) for half in (0.0, 0.5))
    values = rows.reshape(n, -1).astype(np.float64)
    digits = min(MOST, max(FEWEST, -(-DIGITS // max(1, values.shape[1]))))
    with np.errstate(divide="ignore"):
        power = np.floor(np.log10(np.abs(values)))
    power = np.where(np.isfinite(power), power, 0)
    cells = values / 10.0 ** (power - digits + 1)
    # The power goes along: 1.5 and 15 are different.
    return (np.concatenate([np.floor(cells + half), power], 1).astype(np.int64) for half in (0.0, 0.5))


def _tiles(images: np.ndarray) -> NDArray[np.float64]:
    """Images (n, channels, height, width) averaged over tiles, (n, channels, up to TILES, up to TILES)."""
    found = images.astype(np.float64)
    for axis in range(2, found.ndim):
        edges = np.unique(np.linspace(0, found.shape[axis], TILES + 1).astype(int)[:-1])
        counts = np.diff([*edges, found.shape[axis]])
        shape = [-1 if i == axis else 1 for i in range(found.ndim)]
        found = np.add.reduceat(found, edges, axis=axis) / counts.reshape(shape)
    return found


def _split(joined: str) -> list[str]:
    return [joined[at : at + WIDTH] for at in range(0, len(joined), WIDTH)]


def _fingerprints(grid: NDArray[np.int64]) -> set[str]:
    return {
        hashlib.blake2b(row.tobytes(), digest_size=WIDTH // 2).hexdigest()
        for row in np.ascontiguousarray(grid)
    }


def _short(values: NDArray[np.floating]) -> list[float]:
    return [float(f"{value:.7g}") for value in values]
