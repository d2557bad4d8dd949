"""The charts: rows and curves as SVG. Colours are classes of site.css."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Literal

from ebbench.site import svg, wording
from markupsafe import Markup

from ebbench.board import labels
from ebbench.board.row import Cell, Row
from ebbench.contract import Metric
from ebbench.record.resultfiles import Problem
from ebbench.record.schema import Curves, Result

WIDTH = 520.0
# The height of a row beside a chart, and of one line of its name.
ROW, NAME_LINE = 19.0, 11.0
# The most characters in a line of a name: more would leave too little width for the chart.
LONGEST_NAME = 36
# The width assumed for a character. Most letters of most fonts are narrower.
LETTER = 5.4
# Lines of different colours; site.css has as many.
COLOURS = 8
# Beyond this ratio of the greatest to the least value, a linear axis would no longer show the small ones.
DECADES = 50.0
# The most ticks of a vertical axis.
HEIGHTS = 5
# The most points of a line: more would be closer than a pixel.
MOST_POINTS = 160

# What a chart shows of its vertical axis: nothing, the grid alone, or the grid and the numbers.
Shows = Literal["nothing", "grid", "numbers"]


@dataclass(frozen=True)
class Chart:
    """A chart of a page: its title, what its marks mean, and the function that draws it.

    `draw` returns None where there is nothing to draw.
    """

    title: str
    said: str
    draw: Callable[[], Markup | None]
    # The names of its lines, in the order of their colours. The page makes a legend of them, and a script
    # lets the reader pick among them.
    lines: Sequence[str] = ()


Charts = Iterable[Chart]


def drawn(charts: Charts, page: str) -> tuple[list[tuple[Chart, Markup]], list[Problem]]:
    """The charts of a page with their SVG, and those that could not be drawn."""
    made, problems = [], []
    for chart in charts:
        try:
            if picture := chart.draw():
                made.append((chart, picture))
        # Charts are drawn from results, and results may come from anyone. A bad one must not break its page.
        except Exception as error:
            reason = f"the chart '{chart.title}' cannot be drawn: {type(error).__name__}: {error}"
            problems.append(Problem(Path(page), reason))
    return made, problems


def intervals(rows: Sequence[Row], metric: Metric, title: str) -> Markup:
    """A chart with a line for each row: its seeds, its mean and interval, and the published number.

    Controls are muted.
    """
    shown = [row for row in rows if metric.name in row.metrics]
    names = [textwrap.wrap(wording.called(row, rows), LONGEST_NAME) or [""] for row in shown]
    heights = [ROW + NAME_LINE * (len(name) - 1) for name in names]
    left = 14 + LETTER * max(len(line) for name in names for line in name)
    bottom = sum(heights) + 4
    x = svg.Axis.around(seen(shown, metric), left, WIDTH - 14, log=by_logarithm(shown, metric))
    unit = f" ({words})" if (words := wording.unit(metric)) else ""
    parts = [frame(x, svg.Axis(0, 1, bottom, 2), f"{wording.metric(metric)}{unit}", y_shows="nothing")]
    for end, height, name, row in zip(accumulate(heights), heights, names, shown, strict=True):
        middle = end - height / 2 + 2
        for i, words in enumerate(name):
            parts.append(svg.text(left - 6, middle + NAME_LINE * (i - (len(name) - 1) / 2), words, "at-end"))
        parts.append(marks(row, metric, x, middle))
    described = "; ".join(
        f"{wording.called(row, rows)} {labels.spelled(cell.interval.mean, cell.interval.half_width)}"
        for row in shown
        for cell in [row.metrics[metric.name]]
    )
    return svg.drawing(WIDTH, bottom + 34, title, described, *parts)


def seen(rows: Sequence[Row], metric: Metric) -> list[float]:
    """Every value of a metric that its chart shows: seeds, means, bounds of intervals, published numbers."""
    values: list[float] = []
    for row in rows:
        cell = row.metrics[metric.name]
        found = [*cell.values, cell.interval.mean, *bounds(cell, metric)]
        values += [value for value in found if value is not None]
        if metric.name in row.published:
            values.append(row.published[metric.name].value)
    return values


def bounds(cell: Cell, metric: Metric) -> tuple[float | None, float | None]:
    """The ends of an interval as a chart shows them. Those of a share stay within 0 and 1.

    The interval of Student's t does not know these limits. With few seeds it can pass them by far.
    """
    low, high = cell.interval.low, cell.interval.high
    if metric.unit != "share" or low is None or high is None:
        return low, high
    return max(low, 0.0), min(high, 1.0)


def by_logarithm(rows: Sequence[Row], metric: Metric) -> bool:
    """Whether the values of a metric are all above 0 and better shown on a logarithmic axis."""
    scored = [v for row in rows for v in row.metrics[metric.name].values if v is not None]
    return min(seen(rows, metric)) > 0 and spans_decades(metric, scored)


def marks(row: Row, metric: Metric, x: svg.Axis, y: float) -> Markup:
    """The marks of a row at the height `y`: seeds (dots), mean (bar), interval (line), published (cross)."""
    cell = row.metrics[metric.name]
    (low, high), mean = bounds(cell, metric), x.at(cell.interval.mean)
    parts = [
        svg.element("circle", cx=x.at(value), cy=y, r=1.6, class_="seed")
        for value in cell.values
        if value is not None
    ]
    if low is not None and high is not None:
        parts.append(svg.line(x.at(low), y, x.at(high), y, "interval"))
    parts.append(svg.line(mean, y - 4.5, mean, y + 4.5, "mean"))
    if metric.name in row.published:
        parts.append(cross(x.at(row.published[metric.name].value), y))
    return svg.element("g", *parts, class_="control" if row.kind == "control" else "model")


def cross(at: float, y: float) -> Markup:
    """The mark of a published number."""
    return Markup().join(svg.line(at - 3, y + end, at + 3, y - end, "published") for end in (-3, 3))


def along(named: Mapping[str, Sequence[Result]], series: str, title: str, y_title: str = "") -> Markup | None:
    """A series along training, against steps and against seconds; None where no result has the series.

    One colour per name, and one line per seed.
    """
    found = [
        (colour, name, curves)
        for colour, (name, results) in enumerate(named.items())
        for result in results
        if (curves := _curves_with(result, series)) is not None
    ]
    values = [value for _, _, curves in found for value in curves.series[series] if value is not None]
    if not values:
        return None
    right = WIDTH - 14
    y = svg.Axis.around(values, 140, 4)
    left = left_of(y)
    middle = (left + right) / 2
    parts = []
    for start, end, by in ((left, middle - 6, "step"), (middle + 6, right, "seconds")):
        drawn = [(colour, getattr(curves, by), curves.series[series]) for colour, _, curves in found]
        x = svg.Axis.around([at for _, places, _ in drawn for at in places], start, end)
        if by == "step":
            parts.append(frame(x, y, "steps", y_title or series, most=4))
        else:
            # The chart beside it shows the numbers of the shared vertical axis.
            parts.append(frame(x, y, "seconds", most=4, y_shows="grid"))
        parts += [line(colour, places, heights, x, y) for colour, places, heights in drawn]
    described = f"{series} against steps and seconds, one line per seed: {', '.join(named)}"
    return svg.drawing(WIDTH, 178, title, described, *parts)


def _curves_with(result: Result, series: str) -> Curves | None:
    training = result.training
    for curves in (training.evaluations, training.curves):
        if series in curves.series and curves.step:
            return curves
    return None


def precision_recall(named: Mapping[str, Mapping[str, Any]], title: str) -> Markup:
    """A chart of precision against recall, a colour for each name.

    Each value of `named` holds "recall" and "precision", as the task wrote them.
    """
    y = svg.Axis(0, 1.02, 204, 4)
    x = svg.Axis(0, 1, left_of(y), WIDTH - 14)
    parts = [frame(x, y, "recall", "precision")]
    for colour, drawn in enumerate(named.values()):
        parts.append(line(colour, drawn["recall"], drawn["precision"], x, y))
    described = f"precision against recall, one line each: {', '.join(named)}"
    return svg.drawing(WIDTH, 242, title, described, *parts)


def counts(named: Mapping[str, Sequence[int]], title: str) -> Markup:
    """A chart of how many modes were met how often.

    Entry i of a sequence is the number of modes met i times; the last entry also counts all modes met more
    often.
    """
    y = svg.Axis.around([0, *(number for often in named.values() for number in often)], 164, 4)
    x = svg.Axis.around([0, max(len(often) - 1 for often in named.values())], left_of(y), WIDTH - 14)
    parts = [frame(x, y, "samples in a mode", "number of modes")]
    for colour, often in enumerate(named.values()):
        stairs = [(x.at(i + side), y.at(number)) for i, number in enumerate(often) for side in (-0.5, 0.5)]
        # The first and the last step would reach beyond the chart: cut them off at its edges.
        inside = [(min(max(at, x.start), x.end), height) for at, height in stairs]
        parts.append(svg.path(inside, colour_of(colour)))
    described = f"modes by the number of their samples, one line each: {', '.join(named)}"
    return svg.drawing(WIDTH, 202, title, described, *parts)


def declared_curve(result: Result) -> Mapping[str, Any] | None:
    """The precision and recall of the declared score; None where the task did not write them."""
    curves = result.details.get("drawn")
    chosen = curves.get(result.score) if isinstance(curves, dict) else None
    return chosen if isinstance(chosen, dict) and {"recall", "precision"} <= set(chosen) else None


def spans_decades(metric: Metric, values: Sequence[float]) -> bool:
    """Whether values are better shown on a logarithmic axis. A share of the whole never is."""
    positive = [value for value in values if value > 0]
    if metric.unit == "share" or not positive or min(values) < 0:
        return False
    return max(positive) / min(positive) > DECADES


def frame(
    x: svg.Axis, y: svg.Axis, x_title: str, y_title: str = "", *, most: int = 6, y_shows: Shows = "numbers"
) -> Markup:
    """The axes, with at most `most` ticks on `x`; `y_shows` says what is shown of `y`."""
    parts = []
    for value, words in with_room(x, most):
        at = x.at(value)
        parts.append(svg.line(at, y.start, at, y.end, "grid"))
        parts.append(svg.text(at, y.start + 9, words, "at-middle"))
    for value, words in y.ticks(HEIGHTS) if y_shows != "nothing" else ():
        at = y.at(value)
        parts.append(svg.line(x.start, at, x.end, at, "grid"))
        if y_shows == "numbers":
            parts.append(svg.text(x.start - 4, at, words, "at-end"))
    parts.append(svg.line(x.start, y.start, x.end, y.start, "axis"))
    parts.append(svg.line(x.start, y.start, x.start, y.end, "axis"))
    parts.append(svg.text((x.start + x.end) / 2, y.start + 25, x_title, "at-middle"))
    if y_title:
        upright = svg.text(0, 0, y_title, "at-middle")
        where = f"translate(8 {svg.place((y.start + y.end) / 2)}) rotate(-90)"
        parts.append(svg.element("g", upright, transform=where))
    return svg.element("g", *parts)


def with_room(axis: svg.Axis, most: int) -> list[tuple[float, str]]:
    """The ticks of a horizontal axis: as many as have room for their texts, at most `most`."""
    for fewer in range(most, 1, -1):
        ticks = axis.ticks(fewer)
        if all(
            axis.at(right) - axis.at(left) > (len(words) + len(others)) / 2 * LETTER + 4
            for (left, words), (right, others) in pairwise(ticks)
        ):
            return ticks
    return _thinned(axis, axis.ticks(most))


def _thinned(axis: svg.Axis, ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """The first tick, and each further one that has room beside the last one kept."""
    kept = list(ticks[:1])
    for value, words in ticks[1:]:
        before, others = kept[-1]
        if axis.at(value) - axis.at(before) > (len(words) + len(others)) / 2 * LETTER + 4:
            kept.append((value, words))
    return kept


def left_of(y: svg.Axis) -> float:
    """Where the plot begins: the numbers of `y` and its title stand to the left of it."""
    return 22 + LETTER * max((len(words) for _, words in y.ticks(HEIGHTS)), default=0)


def line(
    colour: int,
    at: Sequence[float],
    heights: Sequence[float | None],
    x: svg.Axis,
    y: svg.Axis,
    most: int = MOST_POINTS,
    kind: str = "",
) -> Markup:
    """A line through the points (at, heights) in a colour; it shows every k-th point if there are many.

    `kind` is a further class, such as "faint".
    """
    every = max(1, -(-len(at) // most))
    points = list(zip(at, heights, strict=True))
    # The last point is where training ended.
    thinned = [*points[:-1:every], *points[-1:]]
    return svg.path(
        ((x.at(a), None if h is None else y.at(h)) for a, h in thinned),
        f"{colour_of(colour)} {kind}".rstrip(),
    )


def colour_of(number: int) -> str:
    """The CSS class of a line in the colour of this number."""
    return f"line line-{number % COLOURS}"
