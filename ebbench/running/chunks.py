"""What a scoring keeps on disk: finished chunks until the score is done, and 8-bit images permanently."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ebbench.storage import arrays

# Prefix of a sampler's diagnostics among the arrays of a chunk or an image file.
DIAGNOSTIC = "diagnostic."


class Chunks:
    """The finished chunks of one scoring in the folder `folder`; with None, nothing is kept."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def find(self, name: str, number: int) -> dict[str, np.ndarray] | None:
        """The arrays of a finished chunk; None if it is not finished. Raises StorageError."""
        path = self._path(name, number)
        return None if path is None else arrays.kept(path)

    def keep(self, name: str, number: int, values: Mapping[str, np.ndarray]) -> None:
        """Store the arrays of a finished chunk. Raises StorageError."""
        if (path := self._path(name, number)) is not None:
            arrays.keep(path, values, what="a chunk of scores")

    def done(self, name: str, count: int) -> int:
        """The number of finished chunks among `count`."""
        paths = [self._path(name, number) for number in range(count)]
        return sum(path is not None and path.exists() for path in paths)

    def _path(self, name: str, number: int) -> Path | None:
        return None if self._folder is None else self._folder / f"{name}-{number:05}.npz"


@dataclass(frozen=True)
class Images:
    """8-bit images, (n, *shape), and their cost: the number of samples drawn, and the seconds."""

    pixels: np.ndarray
    drawn: int
    seconds: float
    diagnostics: Mapping[str, float]


def image_file(path: Path, name: str, n: int) -> Path:
    """The file of `n` images of the draw `name`; `path` is the common prefix of a sampler's draws."""
    return path.with_name(f"{path.name}-{name}-{n}.npz")


class ImageStore:
    """The images of one draw in the file `path`, kept after the score; with None, nothing is kept."""

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def find(self, shape: tuple[int, ...]) -> Images | None:
        """The stored images; None if there are none, or if they are incomplete or not of `shape`."""
        stored = None if self.path is None else arrays.kept(self.path)
        if stored is None or not {"images", "drawn", "seconds"} <= stored.keys():
            return None
        pixels = stored["images"]
        if pixels.dtype != np.uint8 or pixels.shape != shape:
            return None
        return Images(pixels, int(stored["drawn"]), float(stored["seconds"]), diagnostics(stored))

    def keep(self, images: Images) -> None:
        """Store images. Raises StorageError."""
        if self.path is None:
            return
        told = {DIAGNOSTIC + name: np.asarray(value) for name, value in images.diagnostics.items()}
        cost = {"drawn": np.asarray(images.drawn), "seconds": np.asarray(images.seconds)}
        arrays.keep(self.path, {"images": images.pixels, **cost, **told}, what="the samples")


def diagnostics(values: Mapping[str, np.ndarray]) -> dict[str, float]:
    """The mean of each diagnostic among the arrays `values`, by name."""
    return {
        name.removeprefix(DIAGNOSTIC): float(array.mean())
        for name, array in values.items()
        if name.startswith(DIAGNOSTIC)
    }
