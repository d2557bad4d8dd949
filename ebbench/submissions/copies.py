"""Detect copied samples and scores: the same set reordered, with a little noise, or partially copied.

The sketch of an array is small (a few kB). A board keeps sketches, so it can detect copies without the
arrays. For samples a sketch holds

- the quantiles of a few fixed projections, which ignore order. Independent draws of a sampler differ
  in them by sampling noise, however good the sampler is. A copy differs by much less.
- the smallest fingerprints of its rows (a bottom-k sketch, Cohen and Kaplan, 2007), which show whether two
  sets share some rows. A fingerprint is the hash of a row's rounded values, or of an image's averages over
  tiles. Rows are rounded on two grids: noise much smaller than a cell moves few rows across a cell edge in
  both.

Scores are in the order of the examples. Their sketch holds the ranks of a few of them, because monotone
transformations keep the ranks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

PROJECTIONS, QUANTILES = 8, 31
# Threshold on the mean difference of quantiles in standard errors, each cut off at CUT.
COPY, CUT = 0.15, 5.0
# Rows to project at a time.
ROWS = 4096
# Number of fingerprints kept per grid, and the share of rows that two sets of the same size may have in
# common. Independent draws of MNIST digits have 6 % of such coarse rows in common; all other data have less.
LEAST, SHARED = 64, 0.25
# For vectors: significant digits of a row in total, with 3 to 6 per value. Six digits distinguish samples of
# narrow modes in two dimensions. More would depend on the last bit of single precision.
DIGITS, FEWEST, MOST = 12, 3, 6
# Length of a fingerprint in hexadecimal digits.
WIDTH = 12
# For images: tiles per side, and levels of a tile.
TILES, LEVELS = 4, 16
# Number of ranks kept, and the mean rank difference (as a share of the length) below which it is a copy.
RANKS, ALIKE = 256, 2e-4
# Minimum share of distinct rows or scores. Below it, arrays are not compared: constant controls always agree.
TOLD_APART = 0.5

_Quantiles = Annotated[list[float], Field(min_length=QUANTILES, max_length=QUANTILES)]


class Sketch(BaseModel):
    """The sketch of one array.

    `quantiles` has one list per projection. `rows` has one string per grid: the fingerprints one after
    another, `WIDTH` digits each. `ranks` is filled for scores only.
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    n: int = Field(ge=1)
    quantiles: list[_Quantiles] = []
    rows: list[str] = []
    ranks: list[float] = []


_SKETCHES = TypeAdapter(dict[str, Sketch])


def sketches(arrays: Mapping[str, np.ndarray]) -> dict[str, Sketch]:
    """The sketch of each array of samples or scores, by the array's name."""
    return {
        name: of_samples(values) if _kind(name) == "samples" else of_scores(values)
        for name, values in arrays.items()
        if len(values)
    }


def as_json(found: Mapping[str, Sketch]) -> dict[str, Any]:
    """Sketches in the form that `verification.details` keeps."""
    return {name: one.model_dump(exclude_defaults=True) for name, one in found.items()}


def from_json(raw: Any) -> dict[str, Sketch]:
    """The sketches of a result on a board; empty if there are none or they are invalid."""
    try:
        return _SKETCHES.validate_python(raw)
    except ValidationError:
        # A board may hold untrusted claims: an invalid one must not block the check of others.
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
    """The difference of two sets in units of sampling noise: about .8 for independent ones, 0 for a copy.

    This is the mean of |difference| / standard error over projections and quantiles. Each term is cut off at
    `CUT`, since sets from different distributions differ anyway. The standard error of a quantile is
    sqrt(p (1 - p) / n) / density. The density is estimated from neighbouring quantiles, so that distant modes
    do not hide how narrow they are.
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
    """The share of the smaller set's rows that are also in the other set, estimated from the fingerprints."""
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
    """The mean rank difference of the same examples, as a share of their number."""
    if one.n != other.n or not one.ranks or len(one.ranks) != len(other.ranks):
        return float("inf")
    return float(np.abs(np.array(one.ranks) - np.array(other.ranks)).mean())


def copied(one: Mapping[str, Sketch], other: Mapping[str, Sketch]) -> str:
    """Say in words what one result shares with another ("a copy", "30% of the rows"); "" for nothing.

    Only arrays of the same name are compared. For samples, one copied array is sufficient. For scores, every
    array must be copied: a task asks for several, and the data alone may determine one of them (a density, a
    distance to the mean).
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
    """The kind of an array by its name: "samples" for "8gaussians/samples.samples", else "scores"."""
    return name.rpartition("/")[2].partition(".")[0]


def _grids(rows: np.ndarray) -> Iterable[NDArray[np.int64]]:
    """The rows (n, ...) on two grids, shifted by half a cell: (n, values)."""
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
    # Includes the power of ten, since 1.5 and 15 differ.
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
