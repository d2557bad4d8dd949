"""`ebbench table`: the results of one task, one row per model, configuration, sampler and budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ebbench.board.row import Row
    from ebbench.contract import Metric


def table(
    task: Annotated[str, typer.Option(help="A task's name, or the path of its folder.")],
    format_: Annotated[
        str,
        typer.Option("--format", help="rich, json, csv, markdown or latex; json and csv hold every metric."),
    ] = "rich",
    results: Annotated[Path, typer.Option(help="The folder with the results.")] = Path("results"),
    budget: Annotated[str, typer.Option(help="Only this budget.")] = "",
    protocol: Annotated[str, typer.Option(help="Only this protocol.")] = "",
    all_metrics: Annotated[
        bool, typer.Option("--all-metrics", help="Show every metric, not only the primary ones.")
    ] = False,
) -> None:
    """Show the results of a task: mean and interval over the seeds, beside the published numbers.

    If a result file cannot be read, stderr names it, the table leaves it out, and the exit code is 1.
    """
    from ebbench.api import select
    from ebbench.board import export, names
    from ebbench.errors import unknown
    from ebbench.plugins import loader
    from ebbench.record.resultfiles import load_all, results_to_read

    written = {
        "json": export.as_json,
        "csv": export.as_csv,
        "markdown": export.as_markdown,
        "latex": export.as_latex,
    }
    if format_ != "rich" and format_ not in written:
        raise unknown("format", format_, ["rich", *written], where="--format")
    plugin = loader.load("task", task)
    results_to_read(results)
    found, problems = load_all(results)
    rows = select(plugin, found, names=names.read(results), budget=budget, protocol=protocol)
    scored = {name for row in rows for name in row.metrics}
    metrics = [m for m in plugin.cls.metrics if m.name in scored or not rows]
    shown = [m for m in metrics if m.primary or all_metrics] or metrics
    if format_ == "rich":
        _rich(rows, shown)
    else:
        typer.echo(written[format_](rows, shown), nl=False)
    if not rows:
        there = "" if results.exists() else ": there is no such folder"
        typer.echo(f"no results of task '{plugin.name}' in {results}{there}", err=True)
    for problem in problems:
        typer.echo(f"left out: {problem.path}: {problem.reason}", err=True)
    if problems:
        raise typer.Exit(1)


def _rich(rows: Sequence[Row], metrics: Sequence[Metric]) -> None:
    from rich.table import Table
    from rich.text import Text

    from ebbench.board import labels
    from ebbench.cli.printing import for_tables

    console = for_tables()
    for title, group in labels.groups(rows):
        # Text, not str: the "[" of a setting would be read as markup.
        sheet = Table(title=Text(title), title_justify="left", title_style="bold")
        columns = labels.scored(group, metrics)
        for name, numeric in labels.header(group, columns):
            sheet.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
        for row in group:
            cells = [Text(cell) for cell in labels.cells(row, group, columns)]
            sheet.add_row(*cells, style="dim" if row.kind == "control" else "")
        console.print(sheet)
    for line in labels.footer(rows, metrics):
        console.print(Text(line))
