"""scikit-learn's two photographs, cut into squares: images that are always available, for a first look."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

Images = NDArray[np.uint8]
# A temple in China and a flower, 640x427 pixels each.
NAMES = ("china.jpg", "flower.jpg")
# Squares start at every eighth pixel and overlap. None crosses the column BORDER: those left of it are for
# training, those right of it are held out. A square of 256 pixels still fits there.
STRIDE, BORDER = 8, 384


def hashes() -> dict[str, str]:
    """SHA-256 of each file, by name."""
    return {name: hashlib.sha256(_file(name).read_bytes()).hexdigest() for name in NAMES}


def patches(size: int) -> tuple[Images, Images]:
    """Squares of `size` <= 256 pixels for training, and held-out ones, uint8 (n, 3, size, size)."""
    kept: tuple[list[Images], list[Images]] = ([], [])
    for name in NAMES:
        picture = _pixels(name)
        for part, into in zip((picture[:, :, :BORDER], picture[:, :, BORDER:]), kept, strict=True):
            windows = sliding_window_view(part, (size, size), axis=(1, 2))[:, ::STRIDE, ::STRIDE]
            into.append(windows.transpose(1, 2, 0, 3, 4).reshape(-1, 3, size, size))
    train, held_out = (np.concatenate(found) for found in kept)
    return train, held_out


def _file(name: str) -> Path:
    # Located without importing scikit-learn, which takes seconds.
    found = find_spec("sklearn")
    assert found is not None and found.origin is not None
    return Path(found.origin).parent / "datasets" / "images" / name


@cache
def _pixels(name: str) -> Images:
    with Image.open(_file(name)) as picture:
        return np.asarray(picture.convert("RGB")).transpose(2, 0, 1)
