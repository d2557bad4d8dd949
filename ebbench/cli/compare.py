"""`ebbench compare`: two rows of a task against each other, seed by seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ebbench.board.row import Row
    from ebbench.contract import Metric


def compare(
    a: Annotated[str, typer.Argument(help="A row: MODEL, MODEL:VARIANT or MODEL@SAMPLER.")],
    b: Annotated[str, typer.Argument(help="The row that it is compared with.")],
    task: Annotated[str, typer.Option(help="A task's name, or the path of its folder.")],
    results: Annotated[Path, typer.Option(help="The folder with the results.")] = Path("results"),
    all_metrics: Annotated[
        bool, typer.Option("--all-metrics", help="Compare every metric, not the primary ones only.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two rows by a paired test over their common seeds, wherever both were run alike.

    Alike is: the same task version, options, data, protocol and budget.
    """
    from ebbench.board import labels
    from ebbench.board import table as tables
    from ebbench.errors import UsageError
    from ebbench.plugins import loader
    from ebbench.record.resultfiles import load_all

    plugin = loader.load("task", task)
    found, problems = load_all(results)
    rows = tables.rows(found, plugin.name, metrics=plugin.cls.metrics, published=plugin.cls.published)
    pairs = []
    for title, group in labels.groups(rows):
        one, other = _chosen(a, group, title), _chosen(b, group, title)
        if one and other:
            pairs.append((title, one, other))
    if not pairs:
        missing = [name for name in (a, b) if not any(_matches(name, row) for row in rows)]
        known = ", ".join(sorted({_label(row) for row in rows})) or "there are none"
        raise UsageError(
            f"no results of {' and of '.join(missing)}" if missing else f"{a} and {b} were never run alike",
            where=f"task '{plugin.name}' in {results}",
            expected=f"two of the rows that are there: {known}",
            fix="`ebbench table` shows which were run at which budget and protocol",
        )
    metrics = [m for m in plugin.cls.metrics if m.primary or all_metrics]
    compared = [
        _compared(title, one, other, metric)
        for title, one, other in pairs
        for metric in metrics
        if metric.name in one.metrics and metric.name in other.metrics
    ]
    if as_json:
        typer.echo(json.dumps(compared, indent=2, allow_nan=False))
    else:
        _print(compared)
    for problem in problems:
        typer.echo(f"left out: {problem.path}: {problem.reason}", err=True)
    if problems:
        raise typer.Exit(1)


def _label(row: Row) -> str:
    name = f"{row.model}:{row.variant}" if row.variant else row.model
    changed = "".join(f" {key}={value}" for key, value in sorted(row.overrides.items()))
    return name + (f"@{row.sampler}" if row.sampler else "") + changed


def _matches(name: str, row: Row) -> bool:
    label = _label(row)
    return name in (label, label.partition(" ")[0], label.partition("@")[0])


def _chosen(name: str, group: Sequence[Row], title: str) -> Row | None:
    """The row of that name; of several, the one that is called just so or has the plain sampler."""
    from ebbench.errors import UsageError

    able = [row for row in group if _matches(name, row)]
    exact = [row for row in able if _label(row) == name] or [
        row for row in able if not row.overrides and row.sampler in (None, "generator")
    ]
    if len(able) > 1 and len(exact) != 1:
        raise UsageError(
            f"'{name}' are {len(able)} rows",
            where=title,
            expected="one of " + ", ".join(_label(row) for row in able),
        )
    chosen = exact if len(able) > 1 else able
    return chosen[0] if chosen else None


def _compared(title: str, one: Row, other: Row, metric: Metric) -> dict[str, Any]:
    from ebbench.board import stats
    from ebbench.board.ranking import by_seed

    ours, theirs = by_seed(one, metric.name), by_seed(other, metric.name)
    seeds = sorted(ours.keys() & theirs.keys())
    paired = stats.paired(ours, theirs)
    spread = stats.interval([ours[s] - theirs[s] for s in seeds]) if len(seeds) > 1 else None
    mean_a, mean_b = one.metrics[metric.name].interval.mean, other.metrics[metric.name].interval.mean
    # As for the ranks: Welch's test where the seeds do not meet, none for a single value.
    if paired.p is None and min(len(ours), len(theirs)) < 2:
        verdict = "untested"
    elif stats.tie(ours, theirs):
        verdict = "tie"
    elif metric.better == "neither":
        verdict = ""
    else:
        verdict = _label(one if (mean_a > mean_b) == (metric.better == "higher") else other)
    return {
        "group": title,
        "metric": metric.name,
        "a": _label(one),
        "b": _label(other),
        "mean_a": mean_a,
        "mean_b": mean_b,
        "difference": paired.difference if seeds else mean_a - mean_b,
        "low": spread.low if spread else None,
        "high": spread.high if spread else None,
        "p": paired.p,
        "seeds": seeds,
        "verdict": verdict,
    }


def _print(compared: Sequence[dict[str, Any]]) -> None:
    from ebbench.board import labels

    title = ""
    for line in compared:
        if line["group"] != title:
            title = line["group"]
            typer.echo(title)
        half = None if line["low"] is None else (line["high"] - line["low"]) / 2
        p = "" if line["p"] is None else ", p < 0.001" if line["p"] < 1e-3 else f", p = {line['p']:.3f}"
        said = {"tie": "a tie", "": "neither is better", "untested": "not tested, for want of seeds"}
        verdict = said.get(line["verdict"], f"{line['verdict']} is better")
        common = f"{len(line['seeds'])} common seed{'s' * (len(line['seeds']) != 1)}"
        typer.echo(
            f"  {line['metric']}: {line['a']} {labels.spelled(line['mean_a'], None)}, "
            f"{line['b']} {labels.spelled(line['mean_b'], None)}; "
            f"difference {labels.spelled(line['difference'], half)} over {common}{p}: "
            f"{verdict}"
        )
