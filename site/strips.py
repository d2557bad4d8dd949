"""Strips: one small chart for each row of a table, with its seeds, mean and interval on a shared axis.

A strip stands in the table's own row, so the table is the chart's legend. The numbers stand beside it, so
screen readers skip it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ebbench.site import charts, svg, wording
from markupsafe import Markup

from ebbench.board.row import Row
from ebbench.contract import Metric, Published

WIDTH, HEIGHT = 240.0, 22.0
# Of the strips of a card.
NARROW = 220.0
# To the left and the right of the axis.
MARGIN = 8.0
# Of the ruler's axis, for each of its ticks.
ROOM = 34.0


@dataclass(frozen=True)
class Scale:
    """The axis of a metric over some rows. `reference` is the control that does best, if there is one."""

    metric: Metric
    axis: svg.Axis
    reference: Row | None

    @property
    def name(self) -> str:
        """What the reference is called."""
        return wording.short(self.reference) if self.reference else ""


def scale(
    rows: Sequence[Row], metric: Metric, others: Sequence[float] = (), *, width: float = WIDTH
) -> Scale | None:
    """The scale of the rows that have the metric, and of `others`; None where no row has it."""
    shown = [row for row in rows if metric.name in row.metrics]
    if not shown:
        return None
    means = [row.metrics[metric.name].interval.mean for row in shown]
    values = [*charts.seen(shown, metric), *others]
    log = charts.spans_decades(metric, means)
    if log:
        # Bounds of an interval may lie at 0 or below: they reach to the start of the axis.
        least = min(value for value in [*means, *others] if value > 0)
        values = [max(value, least) for value in values]
    axis = svg.Axis.around(values, MARGIN, width - MARGIN, log=log)
    controls = [row for row in shown if row.kind == "control"]
    found = wording.better(metric, controls) if metric.better != "neither" else []
    return Scale(metric, axis, found[0] if found else None)


def strip(row: Row, on: Scale) -> Markup:
    """The strip of one row; empty where the row has no such metric."""
    if on.metric.name not in row.metrics:
        return Markup("")
    return _drawn(on, charts.marks(row, on.metric, on.axis, HEIGHT / 2))


def published(value: float, on: Scale) -> Markup:
    """The strip of a published number that no row is beside."""
    return _drawn(on, charts.cross(on.axis.at(value), HEIGHT / 2))


def _drawn(on: Scale, *marks: Markup) -> Markup:
    parts = list(marks)
    if on.reference:
        at = on.axis.at(on.reference.metrics[on.metric.name].interval.mean)
        parts.insert(0, svg.line(at, 0, at, HEIGHT, "reference"))
    return _svg(on, HEIGHT, *parts)


def ruler(on: Scale) -> Markup:
    """The axis itself, for the head of the table."""
    parts = [svg.line(on.axis.start, 16, on.axis.end, 16, "axis")]
    for value, words in charts.with_room(on.axis, int((on.axis.end - on.axis.start) / ROOM)):
        at = on.axis.at(value)
        parts += [svg.line(at, 13, at, 16, "axis"), svg.text(at, 6, words, "at-middle")]
    return _svg(on, 18, *parts)


def _svg(on: Scale, height: float, *parts: Markup) -> Markup:
    return svg.element(
        "svg",
        *parts,
        class_="strip",
        viewBox=f"0 0 {svg.place(on.axis.end + MARGIN)} {svg.place(height)}",
        aria_hidden="true",
    )


def best_published(found: Sequence[Published], metric: Metric, like: Row) -> tuple[Published, float] | None:
    """The best number in a paper for the metric, where protocol and options are those of the row `like`."""
    if metric.better == "neither":
        return None
    held = like.options | {"source": like.source}
    able = [
        (one, one.metrics[metric.name][0])
        for one in found
        if metric.name in one.metrics
        and one.protocol in ("", like.protocol)
        and all(held[key] == value for key, value in one.options.items() if key in held)
    ]
    sign = 1 if metric.better == "lower" else -1
    return min(able, key=lambda pair: sign * pair[1], default=None)
