"""Training curves and their picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    pass
import numpy as np


@dataclass
class Curves:
    """The values of `run.log`, averaged over windows of steps: one point per window."""

    step: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    series: dict[str, list[float | None]] = field(default_factory=dict)

    def add(self, step: int, seconds: float, means: Mapping[str, float]) -> None:
        """Append one window's means. Series that start late or pause are padded with None."""
        for name in means:
            self.series.setdefault(name, [None] * len(self.step))
        self.step.append(step)
        self.seconds.append(round(seconds, 3))
        for name, values in self.series.items():
            values.append(means.get(name))


def draw(curves: Mapping[str, Any], title: str) -> np.ndarray:
    """The curves of one training against steps, one panel per series: uint8 (height, width, 3)."""
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
