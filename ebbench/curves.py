"""The picture of a training's curves, and pixels as PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np


def draw(curves: Mapping[str, Any], title: str) -> np.ndarray:
    """The curves of one training, a panel a series, against steps: uint8 (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    series = curves["series"]
    rows = max(1, (len(series) + 1) // 2)
    figure = Figure(figsize=(9, 2.2 * rows + 0.5), dpi=80, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    figure.suptitle(title)
    for axis, (name, values) in zip(
        figure.subplots(rows, 2, squeeze=False).flat, series.items(), strict=False
    ):
        axis.plot(curves["step"], [np.nan if v is None else v for v in values], linewidth=0.9)
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("step", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
    for axis in figure.axes[len(series) :]:
        axis.set_visible(False)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def png(pixels: np.ndarray) -> bytes:
    """uint8 (height, width, 3) as a PNG file's bytes."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
