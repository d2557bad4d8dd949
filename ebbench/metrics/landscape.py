"""Compares samples and energies with a mixture of known centres and spread: pure functions on arrays.

A sample is of high quality if it lies within some standard deviations of its nearest centre (VEEGAN,
Srivastava et al. 2017). An energy E defines the density exp(-E) / Z; on a grid that covers the data, Z is a
sum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label, maximum_filter
from scipy.spatial import cKDTree
from scipy.special import logsumexp

Array = NDArray[np.floating]


def nearest(points: Array, centres: Array) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distance of `points` (n, d) to the nearest of `centres` (k, d), (n,), and that centre's index, (n,)."""
    distance, index = cKDTree(centres).query(points)
    return distance, index.astype(np.int64)


def sliced_wasserstein(one: Array, other: Array, directions: int = 180) -> float:
    """Mean 1-Wasserstein distance over projections of two planar samples of equal size, (n, 2).

    The `directions` are evenly spaced over the half circle. The result is in units of the points (Bonneel et
    al. 2015, with fixed instead of random directions). Raises ValueError for samples of different shapes.
    """
    if one.shape != other.shape:
        raise ValueError(f"samples of shapes {one.shape} and {other.shape} cannot be paired")
    angles = np.pi * (np.arange(directions) + 0.5) / directions
    axes = np.stack([np.cos(angles), np.sin(angles)])
    ordered = [np.sort(points @ axes, axis=0) for points in (one, other)]
    return float(np.abs(ordered[0] - ordered[1]).mean())


def grid(half_width: float, cells: int) -> tuple[NDArray[np.float64], float]:
    """Midpoints of `cells` x `cells` squares on [-half_width, half_width]^2, and the area of a square.

    The midpoints are (cells^2, 2), row by row from the bottom, x varying fastest.
    """
    width = 2 * half_width / cells
    axis = -half_width + width * (np.arange(cells) + 0.5)
    x, y = np.meshgrid(axis, axis)
    return np.stack([x.ravel(), y.ravel()], 1), width**2


def log_partition(energy: Array, area: float) -> float:
    """log of the integral of exp(-E) over the grid, by the midpoint rule."""
    return float(logsumexp(-np.asarray(energy, np.float64)) + np.log(area))


def masses(energy: Array) -> NDArray[np.float64]:
    """Probability of each cell of a grid under the normalised density; they sum to 1."""
    logs = -np.asarray(energy, np.float64)
    shares: NDArray[np.float64] = np.exp(logs - logsumexp(logs))
    return shares


def peaks(mass: Array, cells: int, least: float) -> NDArray[np.int64]:
    """Indices of the cells that are local maxima of the density, at least `least` times the highest.

    A local maximum is the largest value within two cells in each direction; a plateau of equal cells counts
    once, by its first cell.
    """
    square = np.asarray(mass).reshape(cells, cells)
    found = (square == maximum_filter(square, size=5, mode="nearest")) & (square >= least * square.max())
    plateaus, count = label(found, structure=np.ones((3, 3)))
    _, first = np.unique(plateaus.ravel(), return_index=True)
    cells_of: NDArray[np.int64] = first[-count:] if count else first[:0]
    return cells_of
