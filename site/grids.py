"""The grids of a task, each as a histogram of the rows that `ebbench grid` wrote (docs/grid.md)."""

from __future__ import annotations

import json
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ebbench.site import charts, svg, wording
from ebbench.site.views import TaskView
from markupsafe import Markup

# Bars of a histogram.
BINS = 24


@dataclass(frozen=True)
class Grid:
    """A grid with rows: the values of its metric by method, and the number of trainings that diverged."""

    name: str
    task: str
    metric: str
    threshold: float | None
    values: Mapping[str, Sequence[float]]
    diverged: int


def read(results: Path) -> list[Grid]:
    """The grids with a file in `plans/grids` and rows in `grids`. A grid that cannot be read is left out."""
    found = []
    for plan in sorted((results / "plans" / "grids").glob("*.toml")):
        try:
            spec = tomllib.loads(plan.read_text(encoding="utf-8"))
            name = str(spec.get("name", plan.stem))
            text = (results / "grids" / name / "runs.jsonl").read_text(encoding="utf-8")
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
            found.append(_grid(name, spec, rows))
        # A grid without rows has nothing to show. `ebbench grid` reports what is wrong with a broken one.
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def _grid(name: str, spec: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Grid:
    done = [row for row in rows if row["outcome"] == "done"]
    metric = str(spec.get("metric") or next(iter(done[0]["metrics"]), "") if done else "")
    values: dict[str, list[float]] = defaultdict(list)
    for row in done:
        if metric in row["metrics"]:
            values[str(row["method"])].append(float(row["metrics"][metric]))
    threshold = spec.get("threshold")
    return Grid(
        name,
        str(spec["task"]),
        metric,
        None if threshold is None else float(threshold),
        values,
        len(rows) - len(done),
    )


def drawings(task: TaskView, grids: Sequence[Grid]) -> Iterator[charts.Chart]:
    """A histogram for each grid of the task."""
    metrics = {metric.name: metric for metric in task.metrics}
    for grid in grids:
        if grid.task != task.name or not any(grid.values.values()):
            continue
        runs = sum(map(len, grid.values.values()))
        one = metrics.get(grid.metric)
        words = wording.metric(one) if one else grid.metric
        at = "" if grid.threshold is None else f"; dashed: the threshold {grid.threshold:g}"
        yield charts.Chart(
            f"Grid {grid.name}: {words} of {runs} settings",
            f"share of each method's runs, one colour per method{at}; {grid.diverged} trainings diverged",
            partial(histogram, grid, words),
            _named(grid),
        )


def _named(grid: Grid) -> list[str]:
    return [f"{name}, {len(values)} runs" for name, values in grid.values.items()]


def histogram(grid: Grid, words: str) -> Markup:
    """A step histogram: the share of each method's runs in each bin of the metric."""
    flat = [value for values in grid.values.values() for value in values]
    low, high = min(flat), max(flat)
    width = (high - low) / BINS or 1.0
    shares = {}
    for name, values in grid.values.items():
        counts = [0] * BINS
        for value in values:
            counts[min(int((value - low) / width), BINS - 1)] += 1
        shares[name] = [count / max(1, len(values)) for count in counts]
    y = svg.Axis(0, 1.05 * max(max(share) for share in shares.values()), 164, 4)
    x = svg.Axis(low, low + width * BINS, charts.left_of(y), charts.WIDTH - 14)
    parts = [charts.frame(x, y, words, "share of runs")]
    if grid.threshold is not None and low <= grid.threshold <= high:
        at = x.at(grid.threshold)
        parts.append(svg.line(at, y.start, at, y.end, "reference"))
    for colour, share in enumerate(shares.values()):
        stairs = [
            (x.at(low + width * (i + side)), y.at(one)) for i, one in enumerate(share) for side in (0, 1)
        ]
        parts.append(svg.path(stairs, charts.colour_of(colour)))
    described = f"{words} of the runs of each method: {', '.join(_named(grid))}"
    return svg.drawing(charts.WIDTH, 202, f"grid {grid.name}", described, *parts)
