"""A drawing of where the values of each kind of examples lie, for tasks that write their quantiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from ebbench.site import charts, svg, wording
from ebbench.site.views import TaskView
from markupsafe import Markup

from ebbench.board.row import Row

# What a task writes of each kind: the quantiles 0, 0.05, 0.25, 0.5, 0.75, 0.95 and 1.
QUANTILES = 7
# Below the drawing: the numbers and the title of its axis.
FOOT = 36.0


def drawings(
    task: TaskView, best: Sequence[Row], width: float, height: float
) -> Iterator[tuple[str, Callable[[], Markup]]]:
    """What the drawing shows, and the function that draws it, for the best row whose result has quantiles."""
    for row in best:
        found = task.results_of(row)[0].details.get("quantiles")
        if isinstance(found, dict) and found:
            called = wording.called(row, task.headline)
            said = f"{called}, the first seed: median, half (thick) and 90 % (thin) of each kind"
            yield said, partial(drawn, found, _named(task), width, height)
            return


def _named(task: TaskView) -> str:
    """What the quantiles are of, with its unit: the task's metric "bound", else nothing is known."""
    bound = next((one for one in task.metrics if one.name == "bound"), None)
    return f"{wording.metric(bound)}, {bound.unit}" if bound else ""


def drawn(quantiles: Mapping[str, Sequence[float]], x_title: str, width: float, height: float) -> Markup:
    """A line for each kind, the one with the greatest median first.

    Raises ValueError where a kind has another number of quantiles.
    """
    for kind, values in quantiles.items():
        if len(values) != QUANTILES:
            raise ValueError(f"{kind} has {len(values)} quantiles, not {QUANTILES}")
    kinds = sorted(quantiles, key=lambda kind: -quantiles[kind][3])
    left = 14 + charts.LETTER * max(map(len, kinds))
    inner = [value for kind in kinds for value in quantiles[kind][1:6]]
    x = svg.Axis.around(inner, left, width - 14)
    bottom = height - FOOT
    parts = [charts.frame(x, svg.Axis(0, 1, bottom, 8), x_title, most=4, y_shows="nothing")]
    for i, kind in enumerate(kinds):
        _, low, quarter, middle, upper, high, _ = quantiles[kind]
        y = 8 + (bottom - 8) * (i + 0.5) / len(kinds)
        parts.append(svg.text(left - 6, y, kind.replace("_", " "), "at-end"))
        marks = [
            svg.line(x.at(low), y, x.at(high), y, "interval"),
            svg.line(x.at(quarter), y, x.at(upper), y, "half"),
            svg.line(x.at(middle), y - 6, x.at(middle), y + 6, "mean"),
        ]
        parts.append(svg.element("g", *marks, class_="model"))
    described = "; ".join(f"{kind}: median {quantiles[kind][3]:.4g}" for kind in kinds)
    return svg.drawing(width, height, x_title or "quantiles of each kind", described, *parts)
