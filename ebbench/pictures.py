"""Pictures that are made of pixels: many small images on one sheet."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray


def png(pixels: np.ndarray) -> bytes:
    """uint8 (height, width, 3) as a PNG file's bytes."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


GAP, GREY = 2, 96


def sheet(tiles: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """Tiles (n, height, width, 3) row by row on one picture (H, W, 3), with grey lines between.

    Raises ValueError where n is no multiple of `columns`.
    """
    if len(tiles) % columns:
        raise ValueError(f"{len(tiles)} tiles do not fill rows of {columns}")
    framed = np.pad(tiles, ((0, 0), (GAP, 0), (GAP, 0), (0, 0)), constant_values=GREY)
    height, width = framed.shape[1:3]
    rows = framed.reshape(-1, columns, height, width, 3).transpose(0, 2, 1, 3, 4)
    picture = rows.reshape(len(tiles) // columns * height, columns * width, 3)
    return np.pad(picture, ((0, GAP), (0, GAP), (0, 0)), constant_values=GREY)
