"""Samples and energies beside a mixture whose centres and spread are known: pure functions, arrays in.

High quality by VEEGAN (Srivastava et al. 2017): within some standard deviations of the nearest centre.
An energy E stands for the density exp(-E) / Z; on a grid that holds the data Z is a sum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label, maximum_filter
from scipy.spatial import cKDTree
from scipy.special import logsumexp

Array = NDArray[np.floating]


def nearest(points: Array, centres: Array) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distance to the nearest centre, (n,), and which it is, for `points` (n, d) and `centres` (k, d)."""
    distance, index = cKDTree(centres).query(points)
    return distance, index.astype(np.int64)


def sliced_wasserstein(one: Array, other: Array, directions: int = 180) -> float:
    """The 1-Wasserstein distance of two planar samples of one size, (n, 2), mean over the projections.

    The `directions` are spread evenly over the half circle; in the units of the points (Bonneel et al. 2015,
    with the directions fixed, not drawn).
    """
    if one.shape != other.shape:
        raise ValueError(f"samples of shapes {one.shape} and {other.shape} cannot be paired")
    angles = np.pi * (np.arange(directions) + 0.5) / directions
    axes = np.stack([np.cos(angles), np.sin(angles)])
    ordered = [np.sort(points @ axes, axis=0) for points in (one, other)]
    return float(np.abs(ordered[0] - ordered[1]).mean())


def grid(half_width: float, cells: int) -> tuple[NDArray[np.float64], float]:
    """The midpoints of `cells` x `cells` squares on [-half_width, half_width]^2, and a square's area.

    (cells^2, 2), row by row from below, x running fastest.
    """
    width = 2 * half_width / cells
    axis = -half_width + width * (np.arange(cells) + 0.5)
    x, y = np.meshgrid(axis, axis)
    return np.stack([x.ravel(), y.ravel()], 1), width**2


def log_partition(energy: Array, area: float) -> float:
    """log of the integral of exp(-E) over the grid, by the midpoint rule."""
    return float(logsumexp(-np.asarray(energy, np.float64)) + np.log(area))


def masses(energy: Array) -> NDArray[np.float64]:
    """The share of the normalised density in each cell of a grid; they add up to 1."""
    logs = -np.asarray(energy, np.float64)
    shares: NDArray[np.float64] = np.exp(logs - logsumexp(logs))
    return shares


def peaks(mass: Array, cells: int, least: float) -> NDArray[np.int64]:
    """Which cells are local maxima of the density, at least `least` of the highest.

    A maximum is one over the cells up to two away in each direction; of a plateau of equal cells the
    first one counts.
    """
    square = np.asarray(mass).reshape(cells, cells)
    found = (square == maximum_filter(square, size=5, mode="nearest")) & (square >= least * square.max())
    plateaus, count = label(found, structure=np.ones((3, 3)))
    _, first = np.unique(plateaus.ravel(), return_index=True)
    cells_of: NDArray[np.int64] = first[-count:] if count else first[:0]
    return cells_of
