"""Charts as SVG that takes its colours from the page: dark mode, print and a phone need no second drawing."""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from ebbench.board import labels
from ebbench.board.row import Row
from ebbench.contract import Metric
from ebbench.record.schema import Result

# Stand-ins that no chart uses by chance; they become the page's own colours.
INK, RULE, MUTED, ACCENT, WARM = "#010203", "#010204", "#010205", "#010206", "#010207"
_VARIABLES = {INK: "--ink", RULE: "--rule", MUTED: "--muted", ACCENT: "--accent", WARM: "--warm"}
# Told apart by those who see no red or green, and on white and on black (Okabe and Ito's, less black).
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#999999")

# Of a line of a name beside a chart, in characters: more would leave the chart too little.
LONGEST_NAME = 36
# Beyond this factor between the greatest and the least value a linear axis shows one of them.
DECADES = 50.0

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ebbench",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": RULE,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "legend.frameon": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def intervals(rows: Sequence[Row], metric: Metric, label: str, key: str) -> Markup:
    """A line a row: each seed, the mean and its interval; what was published; controls muted."""
    shown = [row for row in rows if metric.name in row.metrics]
    with matplotlib.rc_context(_STYLE):
        names = [textwrap.fill(called(row), LONGEST_NAME) for row in reversed(shown)]
        # In rows of a name of one line.
        heights = [1 + 0.6 * name.count("\n") for name in names]
        places = [end - (height + 1) / 2 for end, height in zip(accumulate(heights), heights, strict=True)]
        figure = Figure(figsize=(7.2, height := 0.26 * sum(heights) + 0.9))
        # Margins by hand: a layout that measures the text takes as long as the drawing.
        left = 0.03 + 0.0112 * max(len(line) for name in names for line in name.split("\n"))
        figure.subplots_adjust(left=left, right=0.98, top=1 - 0.1 / height, bottom=0.55 / height)
        axes = figure.subplots()
        for at, row in zip(places, reversed(shown), strict=True):
            cell = row.metrics[metric.name]
            colour = MUTED if row.kind == "control" else ACCENT
            values = [value for value in cell.values if value is not None]
            axes.plot(values, [at] * len(values), "o", color=colour, markersize=2.5, alpha=0.5)
            low, high = cell.interval.low, cell.interval.high
            if low is not None and high is not None:
                axes.plot([low, high], [at, at], "-", color=colour, linewidth=1.4)
            axes.plot([cell.interval.mean], [at], "|", color=colour, markersize=9, markeredgewidth=2)
            if metric.name in row.published:
                axes.plot([row.published[metric.name].value], [at], "x", color=WARM, markersize=5)
        axes.set_yticks(places, names)
        axes.set_ylim(-0.7, sum(heights) - 0.3)
        values = [v for row in shown for v in row.metrics[metric.name].values if v is not None]
        if min(values) > 0 and spans_decades(metric, values):
            axes.set_xscale("log")
        arrow = {"lower": "  (lower is better)", "higher": "  (higher is better)"}.get(metric.better, "")
        axes.set_xlabel(f"{metric.name}{f', {metric.unit}' if metric.unit else ''}{arrow}")
        axes.grid(axis="x", linewidth=0.5)
        axes.tick_params(length=0)
        return _inline(figure, key, label)


def along(
    named: Mapping[str, Sequence[Result]], series: str, label: str, key: str, y: str = ""
) -> Markup | None:
    """One series along training, against steps and against seconds: a colour a name, a line a seed."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 2.4))
        right = 0.76 if len(named) > 1 else 0.98
        figure.subplots_adjust(left=0.1, right=right, top=0.96, bottom=0.2, wspace=0.08)
        drawn = False
        for panel, by in zip(figure.subplots(1, 2, sharey=True), ("step", "seconds"), strict=True):
            for colour, (name, results) in zip(LINES * 9, named.items(), strict=False):
                for i, result in enumerate(results):
                    training = result.training
                    curves = (
                        training.evaluations if series in training.evaluations.series else training.curves
                    )
                    if series not in curves.series:
                        continue
                    values = [math.nan if v is None else v for v in curves.series[series]]
                    at = getattr(curves, by)
                    panel.plot(
                        *_thinned(at, values), color=colour, linewidth=0.9, label=name if i == 0 else None
                    )
                    drawn = True
            panel.set_xlabel({"step": "steps", "seconds": "seconds"}[by])
            panel.grid(linewidth=0.5)
            panel.tick_params(length=0)
        figure.axes[0].set_ylabel(y or series)
        if len(named) > 1:
            figure.axes[1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
        return _inline(figure, key, label) if drawn else None


def precision_recall(named: Mapping[str, Mapping[str, Any]], label: str, key: str) -> Markup:
    """Precision against recall, a colour a name; each has "recall" and "precision", as the task drew them."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 3.4))
        figure.subplots_adjust(left=0.1, right=0.74, top=0.97, bottom=0.14)
        axes = figure.subplots()
        for colour, (name, drawn) in zip(LINES * 9, named.items(), strict=False):
            axes.plot(drawn["recall"], drawn["precision"], color=colour, linewidth=1.1, label=name)
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1.02)
        axes.grid(linewidth=0.5)
        axes.tick_params(length=0)
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
        return _inline(figure, key, label)


def counts(named: Mapping[str, Sequence[int]], label: str, key: str) -> Markup:
    """How many modes were met how often: entry i is the number of modes met i times, the last all above."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 2.8))
        figure.subplots_adjust(left=0.1, right=0.74, top=0.97, bottom=0.17)
        axes = figure.subplots()
        for colour, (name, often) in zip(LINES * 9, named.items(), strict=False):
            axes.step(range(len(often)), often, where="mid", color=colour, linewidth=1.0, label=name)
        axes.set_xlabel("samples of a mode")
        axes.set_ylabel("modes")
        axes.grid(linewidth=0.5)
        axes.tick_params(length=0)
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
        return _inline(figure, key, label)


def called(row: Row) -> str:
    """A row's model, variant, changed settings and sampler, in few words."""
    name = f"{row.model}:{row.variant}" if row.variant else row.model
    config, knobs = labels.changed(row)
    sampler = row.sampler if row.sampler and row.sampler != "generator" else ""
    return ", ".join(part for part in (name, f"{sampler} {knobs}".strip(), config) if part)


def spans_decades(metric: Metric, values: Sequence[float]) -> bool:
    """Whether values are better shown by their logarithms; a share of the whole never is."""
    positive = [value for value in values if value > 0]
    if metric.unit == "share" or not positive or min(values) < 0:
        return False
    return max(positive) / min(positive) > DECADES


def _thinned(x: Sequence[float], y: Sequence[float], most: int = 160) -> tuple[list[float], list[float]]:
    step = max(1, len(x) // most)
    return list(x[::step]), list(y[::step])


def _inline(figure: Figure, key: str, label: str) -> Markup:
    """The figure as an <svg> to be put into a page; `key` keeps its ids apart from another chart's."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Only what is referred to needs an id, and two charts of a page must not share one.
    used = set(re.findall(r'(?:url\(#|href="#)([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{key}-{m[1]}"' if m[1] in used else "", svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{key}-", svg)
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, f"var({variable})")
    svg = re.sub(r'(<svg [^>]*?)width="[^"]*pt"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg [^>]*?)height="[^"]*pt"', r"\1", svg, count=1)
    svg = svg.replace("<svg ", f'<svg class="chart" role="img" aria-label="{escape(label)}" ', 1)
    return Markup(svg)
