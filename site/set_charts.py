"""Charts of methods over data sets: critical differences, a heat map, the best against the others."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from ebbench.site import charts, svg
from markupsafe import Markup

from ebbench.board.across import Across
from ebbench.record.schema import Result

# Shades of the heat map. site.css has a class for each.
SHADES = 8
CELL, NAME = 30.0, 12.0
# The number of panels side by side, the size of one, and the space between two.
ABREAST, PANEL, APART = 6, 108.0, 26.0
# Space above the first panel, space between rows of panels, and the most letters of a panel's title.
TITLES, BETWEEN, LONGEST = 28.0, 52.0, 25


# Where a curve is drawn, from the start of a training (0) to its end (1).
SHARES = np.linspace(0, 1, 41)


def named(found: Across, metric: str, titles: Mapping[str, str]) -> Across:
    """The comparison with the metric's name in words, and a title in place of each method's label."""
    pairs = [replace(pair, a=titles[pair.a], b=titles[pair.b]) for pair in found.pairs]
    return replace(found, metric=metric, methods=[titles[one] for one in found.methods], pairs=pairs)


def learned(result: Result, series: str) -> list[float] | None:
    """The mean of a series over the parts of a result at each of `SHARES`; None if a part lacks the series.

    The trainings of the parts differ in length, so each is scaled to 0 to 1. The curve is a straight line
    between two evaluations.
    """
    curves = []
    for part in result.parts:
        seen = part.training.evaluations
        values = seen.series.get(series, ())
        known = [(step, value) for step, value in zip(seen.step, values, strict=False) if value is not None]
        if len(known) < 2:
            return None
        steps, heights = np.array(known).T
        curves.append(np.interp(SHARES, steps / steps[-1], heights))
    return [float(one) for one in np.mean(curves, axis=0)] if curves else None


def along(curves: Mapping[str, Sequence[Sequence[float]]], title: str, y_title: str) -> Markup:
    """Curves over `SHARES`, one colour per name: a faint line per seed, and their mean."""
    y = svg.Axis.around([value for lines in curves.values() for line in lines for value in line], 204, 4)
    x = svg.Axis(0, 1, charts.left_of(y), charts.WIDTH - 14)
    parts = [charts.frame(x, y, "share of the training", y_title)]
    at = [float(share) for share in SHARES]
    for colour, lines in enumerate(curves.values()):
        parts += [charts.line(colour, at, heights, x, y, kind="faint") for heights in lines]
    for colour, lines in enumerate(curves.values()):
        mean = [float(height) for height in np.mean(lines, axis=0)]
        parts.append(charts.line(colour, at, mean, x, y, kind="bold"))
    ends = "; ".join(f"{name} from {lines[0][0]:.3g} to {lines[0][-1]:.3g}" for name, lines in curves.items())
    return svg.drawing(charts.WIDTH, 242, title, f"{title}: {ends}", *parts)


def drawings(found: Across) -> Iterator[charts.Chart]:
    """The three charts of one comparison."""
    n = len(found.sets)
    yield charts.Chart(
        f"{found.metric}: average ranks over {n} data sets",
        "1 is the best; a bar joins ranks that differ by less than the critical difference (Nemenyi, 5 %)",
        lambda: critical_difference(found),
    )
    yield charts.Chart(
        f"{found.metric}: each data set",
        "the mean over the seeds; the stronger the colour, the better",
        lambda: heat_map(found),
    )
    yield charts.Chart(
        f"{found.metric}: {found.methods[0]} against each other method",
        f"one dot per data set; below the diagonal {found.methods[0]}, the best by average rank, has the "
        "greater value; each title counts the data sets where it is better, and where it is worse",
        lambda: against(found),
    )


def critical_difference(found: Across) -> Markup:
    """Average ranks on an axis. Bars join methods that do not differ significantly (Demsar, 2006)."""
    k = len(found.methods)
    top = 34 + 6.0 * len(found.alike)
    half = (k + 1) // 2
    bottom = top + 14.0 * (half + 1)
    side = max(130.0, 22 + charts.LETTER * max(len(f"{name} 10.00") for name in found.methods))
    x = svg.Axis(1, max(k, 2), side, charts.WIDTH - side)
    parts = [svg.line(x.start, 22, x.end, 22, "axis")]
    for value, words in charts.with_room(x, min(k, 10)):
        parts += [
            svg.line(x.at(value), 18, x.at(value), 22, "axis"),
            svg.text(x.at(value), 11, words, "at-middle"),
        ]
    for i, (name, rank) in enumerate(zip(found.methods, found.ranks, strict=True)):
        # The better half hangs to the left, the other to the right.
        left = i < half
        y = top + 14.0 * ((i if left else k - 1 - i) + 1)
        edge = x.start - 6 if left else x.end + 6
        parts.append(svg.path([(x.at(rank), 22), (x.at(rank), y), (edge, y)], "model"))
        parts.append(svg.text(edge + (-4 if left else 4), y, f"{name} {rank:.2f}", "at-end" if left else ""))
    for i, (first, last) in enumerate(found.alike):
        y = 30 + 6.0 * i
        parts.append(svg.line(x.at(found.ranks[first]) - 2, y, x.at(found.ranks[last]) + 2, y, "alike"))
    y, end = bottom + 8, x.start + found.critical * (x.end - x.start) / (max(k, 2) - 1)
    parts.append(svg.line(x.start, y, min(end, x.end), y, "alike"))
    parts.append(svg.text(min(end, x.end) + 6, y, f"critical difference {found.critical:.2f}"))
    described = ", ".join(f"{name} {rank:.2f}" for name, rank in zip(found.methods, found.ranks, strict=True))
    return svg.drawing(charts.WIDTH, bottom + 18, f"average ranks by {found.metric}", described, *parts)


def heat_map(found: Across) -> Markup:
    """One line per data set, one column per method, one value per cell. The shades span all values."""
    left = 10 + charts.LETTER * max(map(len, found.sets))
    top = 8 + charts.LETTER * max(map(len, found.methods))
    flat = [value for values in found.values for value in values]
    low, high = min(flat), max(flat)
    parts = []
    for i, name in enumerate(found.methods):
        at = left + CELL * (i + 0.5)
        upright = svg.text(0, 0, name)
        parts.append(
            svg.element(
                "g", upright, transform=f"translate({svg.place(at)} {svg.place(top - 6)}) rotate(-90)"
            )
        )
    for j, name in enumerate(found.sets):
        middle = top + NAME * (j + 0.5)
        parts.append(svg.text(left - 4, middle, name, "at-end"))
        for i, values in enumerate(found.values):
            share = (values[j] - low) / ((high - low) or 1)
            share = share if found.better == "higher" else 1 - share
            shade = min(int(share * SHADES), SHADES - 1)
            x = left + CELL * i
            parts.append(
                svg.element("rect", x=x, y=middle - NAME / 2, width=CELL, height=NAME, class_=f"heat-{shade}")
            )
            words = f"{values[j]:.2f}".removeprefix("0") if abs(values[j]) < 10 else f"{values[j]:.3g}"
            parts.append(svg.text(x + CELL / 2, middle, words, "at-middle key"))
    width = left + CELL * len(found.methods) + 6
    described = f"{found.metric} of {len(found.methods)} methods on {len(found.sets)} data sets"
    height = top + NAME * len(found.sets) + 6
    return svg.drawing(width, height, f"{found.metric} by data set", described, *parts, widest=1.4 * width)


def against(found: Across) -> Markup:
    """One panel for each other method: its values against those of the best, one dot per data set."""
    best, *others = range(len(found.methods))
    flat = [value for values in found.values for value in values]
    parts = []
    lines = -(-len(others) // ABREAST)
    for place, other in enumerate(others):
        left, top = 22 + (PANEL + APART) * (place % ABREAST), TITLES + (PANEL + BETWEEN) * (place // ABREAST)
        x, y = svg.Axis.around(flat, left, left + PANEL), svg.Axis.around(flat, top + PANEL, top)
        parts += [svg.line(x.start, y.start, x.end, y.end, "reference")]
        parts += [
            svg.line(x.start, y.start, x.end, y.start, "axis"),
            svg.line(x.start, y.start, x.start, y.end, "axis"),
        ]
        parts += [svg.text((x.start + x.end) / 2, y.start + 19, found.methods[best], "at-middle key")]
        for value, words in x.ticks(3):
            parts += [
                svg.line(x.at(value), y.start, x.at(value), y.start + 3, "axis"),
                svg.line(x.start - 3, y.at(value), x.start, y.at(value), "axis"),
                svg.text(x.at(value), y.start + 9, words, "at-middle key"),
                svg.text(x.start - 5, y.at(value), words, "at-end key"),
            ]
        dots = [
            svg.element("circle", svg.element("title", name), cx=x.at(a), cy=y.at(b), r=1.7, class_="dot")
            for name, a, b in zip(found.sets, found.values[best], found.values[other], strict=True)
        ]
        parts.append(svg.element("g", *dots, class_="model"))
        name = textwrap.shorten(found.methods[other], LONGEST, placeholder=" ...")
        parts.append(svg.text(left, top - 17, name, "key"))
        parts.append(svg.text(left, top - 8, _counted(found, best, other), "key"))
    described = "; ".join(f"{found.methods[o]}: {_counted(found, best, o)}" for o in others)
    width = 22 + (PANEL + APART) * min(len(others), ABREAST)
    title = f"{found.methods[best]} against each other method by {found.metric}"
    height = TITLES + (PANEL + BETWEEN) * lines
    return svg.drawing(width, height, title, described, *parts, widest=1.4 * width)


def _counted(found: Across, best: int, other: int) -> str:
    pair = next(p for p in found.pairs if {p.a, p.b} == {found.methods[best], found.methods[other]})
    wins, losses = (pair.wins, pair.losses) if pair.a == found.methods[best] else (pair.losses, pair.wins)
    return f"{wins} to {losses}"
