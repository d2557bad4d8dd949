"""`ebbench grid`: run all combinations of settings of several methods, or a random part of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def grid(
    spec: Annotated[Path, typer.Argument(help="A TOML file; see docs/grid.md.")],
    sample: Annotated[
        list[str] | None,
        typer.Option(
            help="How many random settings of each method to run: N, all, or METHOD=N. "
            "May be given again for another method. Default: the numbers in the file."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The seed that draws the settings.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Runs at a time.")] = 1,
    threads: Annotated[
        int, typer.Option(min=0, help="Threads shared by the workers; 0 takes every core.")
    ] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    data_dir: Annotated[Path | None, typer.Option(help="Where the data sets lie.")] = None,
    results: Annotated[Path, typer.Option(help="The grid's rows go to grids/NAME in this folder.")] = Path(
        "results"
    ),
    time_limit: Annotated[
        str, typer.Option(help="Stop at a checkpoint after this time, such as 9m; the next call resumes.")
    ] = "",
    report: Annotated[
        Path | None, typer.Option(help="Run nothing; draw pictures of the existing rows into this folder.")
    ] = None,
) -> None:
    """Run the settings of a grid that have no row yet, and draw pictures at the end.

    The rows, the summary and the pictures are kept apart from the board's results. The exit codes are those
    of `ebbench sweep`. A training that diverged is an outcome, not a failure.
    """
    import os

    from ebbench.grids.report import Report
    from ebbench.grids.runs import ROWS, read_rows, run_grid
    from ebbench.grids.spec import read_grid, samples_of
    from ebbench.running.words import parse_duration
    from ebbench.storage.files import absolute

    # The environment before any plug-in is loaded: one plug-in's changes must not reach another's runs.
    environment = dict(os.environ)
    seconds = parse_duration(time_limit) if time_limit else None
    chosen = read_grid(spec)
    samples = samples_of(chosen, sample or [])
    folder = absolute(results, "--results") / "grids" / chosen.name
    if report is not None:
        out = absolute(report, "--report")
        _say(Report(chosen, read_rows(folder / ROWS), out).make())
        raise typer.Exit
    for method in chosen.methods:
        wanted = samples[method.name]
        part = method.size if wanted is None else min(wanted, method.size)
        typer.echo(f"{method.name}: {part:,} of {method.size:,} settings")
    summary = run_grid(
        chosen,
        chosen.settings(samples, seed),
        folder=folder,
        data_dir=data_dir,
        workers=workers,
        threads=threads,
        device=device,
        seconds=seconds,
        environment=environment,
    )
    typer.echo(summary.text())
    if rows := read_rows(folder / ROWS):
        _say(Report(chosen, rows, folder).make())
    raise typer.Exit(summary.exit_code)


def _say(made: list[Path]) -> None:
    from ebbench.errors import shown

    for path in made:
        typer.echo(f"wrote {shown(path)}")
